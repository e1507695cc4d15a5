"""The whole thing on one machine: a real broker, real sales, a simulated B1 that fights back, and the proof at the end.

Two workers and a connector run as they would anywhere, as processes of the same commands. Meanwhile the sales come in a
piece at a time (`inputs.py`): as the files of a shop and of a warehouse, or at several vendors at once. B1 loses
replies, people hold items, and one worker is killed. When all is worked off, everything is stopped and the books are
compared with what went in (`lab/proof`). Every wait has an end, and says what it was for.
"""

import asyncio
import signal
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from lab.demo.demo import Demo
from lab.demo.inputs import DemoInput, FileInput
from lab.demo.processes import ProcessError
from lab.demo.result import DemoResult
from lab.demo.screen import ProgressScreen, Snapshot, draw
from lab.demo.vendors.source import VendorInput
from lab.feed.build import build_feed
from lab.feed.company import ZONE
from lab.feed.feed import Feed
from lab.feed.rows import SLICE, read_rows
from lab.kafka.errors import KafkaSetupError
from streams.cli import shell

T = TypeVar("T")


def run(
    *,
    data: Path | None = None,
    seconds: float | None = None,
    keep: Path | None = None,
    picture: Path | None = None,
    vendors: bool = False,
    day: date | None = None,
    as_json: bool = False,
) -> int:
    """Run the demo.

    Args:
        data: The data set, or a part of it; by default the week that comes with us.
        seconds: In how long the sales come in; longer where the pipeline is slower.
        keep: A folder for configuration, files, logs and ledger; by default a temporary one, removed at the end.
        picture: Where to put the last screen as SVG.
        vendors: The sales come from vendors instead of files.
        day: The local day that the run takes for today; the data end at the latest the day before.
        as_json: Print one JSON object; what happens is told on stderr.

    Returns:
        0 when the books balance and everything ended in order, else 1.

    Raises:
        CommandError: It could not be run.
    """
    console = Console(stderr=as_json, highlight=False)
    with ProgressScreen(console) as screen:
        try:
            result = asyncio.run(_until_signal(_run(screen, data, seconds, keep, vendors, day), screen.message))
        except (KafkaSetupError, ProcessError) as error:
            raise shell.CommandError(str(error), "fix that, then run it again; --keep FOLDER keeps all logs") from error
        last_screen = screen.screen
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_text(draw(last_screen, result.rendered), encoding="utf-8")
    if as_json:
        shell.print_json(result.as_json())
    else:
        console.print(result.rendered)
    return 0 if result.ok else 1


async def _until_signal(work: Awaitable[T], say: Callable[[str], None]) -> T:
    """Do the work; a signal that asks us to end lets it clean up, and a second one does not disturb it at that."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    asked: list[int] = []

    def cancel(number: int) -> None:
        if not asked:
            say(f"{signal.Signals(number).name}: ending everything that was started")
            task.cancel()
        asked.append(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, cancel, number)
    try:
        return await task
    except asyncio.CancelledError:
        if asked:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _run(
    screen: ProgressScreen, data: Path | None, seconds: float | None, keep: Path | None, vendors: bool, day: date | None
) -> DemoResult:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(_folder(keep))
        screen.update(Snapshot(phase="reading the sales"))
        try:
            made = await asyncio.to_thread(_make_feed, data, day)
        except (OSError, ValueError) as error:
            raise shell.CommandError(f"{data}: {error}", "name a .csv or .csv.xz of the data set", 2) from error
        source: DemoInput = await asyncio.to_thread(VendorInput if vendors else FileInput, made, folder)
        screen.message(source.about)
        return await Demo(screen, made, source, folder, stack, seconds).play()


def _make_feed(data: Path | None, day: date | None) -> Feed:
    return build_feed(read_rows(data or SLICE), day or datetime.now(ZONE).date())


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """A folder for everything: a new one that somebody named and keeps, or a temporary one.

    Raises:
        CommandError: The one they named has something in it.
    """
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="b1-streams-demo-", ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    folder = keep.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise shell.CommandError(f"{keep} is there and not empty", "name a folder that is not there yet", 2)
    folder.mkdir(parents=True, exist_ok=True)
    yield folder

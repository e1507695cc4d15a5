"""`python -m tests.clock`: a part of the suite on five days, each in another time zone and locale.

Exit 1 when one fails.

Each run begins half a minute before its day's odd moment and goes over it. The seed of the random order is printed by
each; `TEST_CLOCK=... TZ=... LC_ALL=... python -m pytest --randomly-seed=...` repeats one.
"""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from dataclasses import dataclass

#: What reads clocks, dates, files and texts. Not: the codec, Kafka (a broker keeps the real time), the long forms.
PART = ("tests/connectors", "tests/flows", "tests/lab", "tests/streams", "tests/clock")
#: What makes dates, months and texts of times; enough for a day on which only the calendar is odd.
CALENDAR = (
    *("tests/connectors/base", "tests/connectors/ims", "tests/connectors/sap_b1", "tests/flows", "tests/clock"),
    *("tests/streams/config", "tests/streams/notices", "tests/streams/query", "tests/streams/dead_letters"),
)
#: Sizes and crashes on virtual time: it begins at a fixed moment, whatever day it is.
VIRTUAL = (
    "tests/flows/test_ambiguous_outcomes.py",
    "tests/flows/test_backfill_at_size.py",
    "tests/flows/test_commands_and_crashes.py",
    "tests/flows/test_neighbours.py",
    "tests/flows/test_replay_at_size.py",
    "tests/streams/posting/test_back_pressure.py",
    "tests/streams/windows/test_partition.py",
)
TOGETHER = 2


@dataclass(frozen=True, slots=True)
class Day:
    """One run: when it begins, where it takes itself to be, how its texts are encoded when nobody says, and of what."""

    name: str
    begins: str
    zone: str
    locale: str
    utf8: bool = True
    part: tuple[str, ...] = PART


DAYS = (
    Day("year's end", "2026-12-31T23:59:30+00:00", "Pacific/Kiritimati", "C.UTF-8", part=CALENDAR),
    Day("leap day", "2028-02-28T23:59:30+00:00", "America/St_Johns", "C", part=CALENDAR),
    Day("London's clocks go forward", "2027-03-28T00:59:30+00:00", "Europe/London", "C.UTF-8"),
    Day("London's clocks go back", "2027-10-31T00:59:30+00:00", "Europe/London", "POSIX", part=CALENDAR),
    Day("an ordinary day, ASCII", "2026-06-17T12:00:00+00:00", "Asia/Kathmandu", "C", utf8=False),
)


def environ(day: Day) -> dict[str, str]:
    """The environment of a run: not even Python's own rescue from an ASCII locale where `utf8` is false."""
    kept = {name: text for name, text in os.environ.items() if name != "LANG" and not name.startswith("LC_")}
    found = {**kept, "TEST_CLOCK": day.begins, "TZ": day.zone, "LC_ALL": day.locale}
    return found if day.utf8 else {**found, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


async def run(day: Day, arguments: list[str], turn: asyncio.Semaphore) -> int:
    """Run the part on that day and print what pytest said; its exit code."""
    command = [sys.executable, "-m", "pytest", "-m", "not kafka and not long", "-p", "no:cacheprovider"]
    command += [f"--ignore={path}" for path in VIRTUAL]
    async with turn:
        process = await asyncio.create_subprocess_exec(
            *command, *(arguments or day.part), env=environ(day), stdout=PIPE, stderr=STDOUT
        )
        said, _ = await process.communicate()
    lines = said.decode(errors="replace").splitlines()
    shown = (
        lines if process.returncode else [line for line in lines if line.startswith("Using --randomly")] + lines[-1:]
    )
    print(f"{day.name} ({day.begins}, TZ={day.zone}, LC_ALL={day.locale})", *shown, sep="\n  ", flush=True)  # noqa: T201
    return process.returncode or 0


async def main(arguments: list[str]) -> int:
    """All five days, two at a time."""
    turn = asyncio.Semaphore(TOGETHER)
    return max(await asyncio.gather(*(run(day, arguments, turn) for day in DAYS)))


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))

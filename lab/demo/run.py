"""The whole thing on one machine: a real broker, real sales, a simulated B1 that fights back, and the proof at the end.

Two workers and a connector run as they would anywhere, as processes of the same commands. Meanwhile the sales come in a
piece at a time (`inputs.py`): as the files of a shop and of a warehouse, or at several vendors at once. B1 loses replies,
people hold items, and one worker is killed. When all is worked off, everything is stopped and the books are compared with
what went in (`proof.py`). Every wait has an end, and says what it was for.
"""

import asyncio
import json
import os
import secrets
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from rich.console import Console, Group, RenderableType
from rich.text import Text

from connectors.base.errors import LogError
from lab.demo.inputs import DemoInput, FileInput
from lab.demo.processes import Child, ProcessError, ask, ask_json, bounded
from lab.demo.screen import Show, Snapshot, draw
from lab.demo.vendors.source import VendorInput
from lab.feed.build import build_feed
from lab.feed.company import ZONE
from lab.feed.feed import Feed
from lab.feed.rows import SLICE, read_rows
from lab.kafka.broker import Kafka, check_reachable
from lab.kafka.errors import KafkaSetupError
from lab.kafka.jars import install
from lab.proof.dead_letters import read_dead_letters
from lab.proof.documents import read_document
from lab.proof.render import render
from lab.proof.run import prove
from lab.proof.terms import Terms
from lab.proof.verdict import Proof
from schemas.letters import OPEN_STATES
from streams.cli import shell
from streams.cli.examination import examine
from streams.config.load import Config
from streams.kafka import topics
from streams.kafka.log import Log
from streams.query import status
from streams.query.dead_letters import standing
from streams.query.status import Status

T = TypeVar("T")

SPEED = 0.2
LOST_REPLIES = 0.03
SECONDS = 60.0  # in which the sales come in, unless the pipeline is slower
_STEP_S = 1.0
_STEP_LINES = 25  # at most
# So many may be on their way before more come in: enough for every lane, few enough for a year to leave memory flat.
_OPEN = 500
_LOOK_S, _LOOK_SHARE = 1.5, 2
_RATE_S = 6.0  # over which rates are shown
_READY_S = 90.0
_STOP_S = 35.0  # the contract gives them 30
_STUCK_S = 120.0
_PAGE = 500  # documents
_LOOK_MAX_S, _SETUP_S, _PROOF_S, _HEARD_S, _BROKER_S = 60.0, 180.0, 900.0, 90.0, 60.0
_PARKED_S = 15.0  # for which letters still parked must have stood before we call it the end
_HOT_ITEMS = 20
# An order has 30 lines, and one in two names a hot item; whoever waits for one item keeps the queues of the others.
_LOCKED_S, _BETWEEN_S = (1.5, 4.0), (3.0, 6.0)
_PEOPLE = ("Ann", "Ben", "Cleo")
_USERS = ("streams-1", "streams-2", "streams-3")
_METRICS = ("b1streams_window_epochs_sealed_total", "b1streams_item_lanes_active", "b1streams_item_lanes_blocked",
            "b1streams_erp_sessions_active")  # fmt: skip


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
    with Show(console) as show:
        try:
            result = asyncio.run(_until_signal(_run(show, data, seconds, keep, vendors, day), show.say))
        except (KafkaSetupError, ProcessError) as error:
            raise shell.CommandError(str(error), "mend that, then again; --keep FOLDER keeps all logs") from error
        screen = show.screen
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_text(draw(screen, result.rendered), encoding="utf-8")
    if as_json:
        shell.print_json(result.as_json())
    else:
        console.print(result.rendered)
    return 0 if result.ok else 1


@dataclass(frozen=True, slots=True)
class Result:
    """How it ended.

    Attributes:
        last: The last screen.
        exit_codes: Of the processes that were asked to stop.
        sessions_left: Sessions in B1 of processes that had time to log out.
        sessions_orphaned: Of the killed one: B1 ends them after its timeout.
        seconds: Phase -> how long it took.
    """

    proof: Proof
    last: Snapshot
    exit_codes: Mapping[str, int]
    sessions_left: int
    sessions_orphaned: int
    seconds: Mapping[str, float]

    @property
    def ok(self) -> bool:
        return self.proof.ok and not any(self.exit_codes.values()) and not self.sessions_left

    @property
    def rendered(self) -> RenderableType:
        bad = ", ".join(f"{name} with {code}" for name, code in self.exit_codes.items() if code)
        ended = f"Stopped with SIGTERM: {bad or 'all with exit code 0'}; B1 sessions left open: {self.sessions_left}"
        orphans = f" ({self.sessions_orphaned} of the killed worker, which B1 ends in time)"
        took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.seconds.items())
        return Group(
            render(self.proof),
            Text(ended + (orphans if self.sessions_orphaned else ""), style="" if self.ok else "red"),
            Text(f"It took: {took}", style="dim"),
        )

    def as_json(self) -> dict[str, Any]:
        proof, last = self.proof, self.last
        return {
            "ok": self.ok,
            "lost": proof.count("lost"),
            "double": proof.count("double"),
            "discrepancies": [
                {"kind": one.kind, "where": one.where, "expected": one.expected, "found": one.found}
                for one in proof.discrepancies
            ],
            "flows": {
                name: {
                    "received": ends.received, "posted": ends.posted, "no_op": ends.no_op, "parked": ends.parked,
                    "dead": ends.dead, "unaccounted": ends.unaccounted,
                }
                for name, ends in proof.flows.items()
            },
            "letters": dict(proof.reasons),
            "units": {"files": str(proof.units_expected), "b1": str(proof.units_posted)},
            "money": {
                "ordered": str(proof.ordered), "invoiced": str(proof.invoiced), "credited": str(proof.credited),
            },
            "erp": {
                "calls": proof.calls, "document_sets": proof.document_sets, "previews": proof.previews,
                "refused": proof.refused, "documents": proof.documents,
                "calls_one_per_document": proof.naive_writes, "stock_events": proof.stock_events,
                "stock_documents": proof.stock_documents, "lock_waits_people": last.waits_people,
                "lock_waits_own": last.waits_own,
            },
            "faults": {"replies_lost": last.replies_lost, "locks": last.locks, "workers_killed": last.killed},
            "exit_codes": dict(self.exit_codes),
            "sessions": {"left_open": self.sessions_left, "of_the_killed": self.sessions_orphaned},
            "seconds": {name: round(seconds, 1) for name, seconds in self.seconds.items()},
        }  # fmt: skip


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
    show: Show, data: Path | None, seconds: float | None, keep: Path | None, vendors: bool, day: date | None
) -> Result:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(_folder(keep))
        show.update(Snapshot(phase="reading the sales"))
        try:
            made = await asyncio.to_thread(_make_feed, data, day)
        except (OSError, ValueError) as error:
            raise shell.CommandError(f"{data}: {error}", "name a .csv or .csv.xz of the data set", 2) from error
        source: DemoInput = await asyncio.to_thread(VendorInput if vendors else FileInput, made, folder)
        show.say(source.about)
        return await Demo(show, made, source, folder, stack, seconds).play()


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


class Demo:
    """One demo in one folder. Lifecycle: `play` once; what it starts is ended by the stack."""

    def __init__(
        self, show: Show, made: Feed, source: DemoInput, folder: Path, stack: AsyncExitStack, seconds: float | None
    ) -> None:
        self._show, self._feed, self._input, self._folder, self._stack = show, made, source, folder, stack
        self._seconds = SECONDS if seconds is None else seconds
        self._now = Snapshot(phase="starting", lines=source.lines)
        self._took: dict[str, float] = {}
        self._b1_url = ""
        self._children: list[Child] = []
        self._workers: list[Child] = []
        self._connect: Child | None = None
        self._urls: dict[str, str] = {}  # of the metrics, by process
        self._metrics: dict[str, Counter[str]] = {}  # as last read, also of processes that are gone
        self._killed: str | None = None
        self._locks = 0
        self._locked: list[str] = []
        self._history: deque[tuple[float, Mapping[str, status.FlowStatus], int]] = deque()

    async def play(self) -> Result:
        """All of it, up to the verdict."""
        servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
        if servers:
            await asyncio.to_thread(check_reachable, servers)
        else:
            await _in_thread(lambda: install(self._show.say))  # as long as the network takes
        async with bounded("Kafka, B1 and what the sales come from", _SETUP_S):
            config = await self._start()
        async with bounded("a connection to Kafka", _LOOK_MAX_S):
            log = await self._stack.enter_async_context(self._open_log(config))
        async with bounded("the topics, and the doctor", _SETUP_S):
            await self._prepare(log, config)
        await self._start_pipeline()
        self._lap("start")
        await self._feed_and_watch(log, config)
        codes, sessions = await self._stop()
        self._lap("stop")
        proof = await self._prove(config)
        self._lap("proof")
        self._took["all"] = self._show.elapsed_s
        return Result(proof, self._now, codes, *sessions, self._took)

    # ---- before -------------------------------------------------------------------------------------------------

    async def _start(self) -> Config:
        """Kafka and B1, and the configuration that names them."""
        password, folder = secrets.token_urlsafe(18), self._folder
        b1 = self._input.simulator(password=password, speed=SPEED, lost_replies=LOST_REPLIES)
        b1["users"] = dict.fromkeys(("streams", *_USERS), password)
        (folder / "simulator.json").write_text(json.dumps(b1), encoding="utf-8")
        (folder / "password").write_text(password, encoding="utf-8")
        (folder / "password").chmod(0o600)
        await self._input.open(self._child)
        command = [sys.executable, "-m", "lab.simulators", "sap_b1", "--port", "0", "--config", "simulator.json"]
        simulator = await self._child("b1", command)
        servers, prefix = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", ""), ""
        if servers:
            prefix = f"demo-{secrets.token_hex(4)}-"
            self._show.say(f"Kafka at {servers}, topics {prefix}...")
        else:
            broker = Kafka(folder / "kafka")
            self._stack.push_async_callback(asyncio.to_thread, broker.close)
            await _in_thread(broker.start)
            servers = broker.bootstrap_servers
            self._show.say(f"Apache Kafka at {servers}, process {broker.pid}")
        port = await simulator.says(r"listening on (\d+)", _READY_S)
        self._b1_url = f"http://127.0.0.1:{port}"
        self._show.say(
            f"SAP Business One (simulated) on port {port}, process {simulator.pid}; its service times are "
            f"a {_FRACTIONS.get(SPEED, SPEED)} of a real one's; {LOST_REPLIES:.0%} of its replies get lost"
        )
        text = self._input.configuration(
            bootstrap_servers=servers,
            service_layer_url=f"{self._b1_url}/b1s/v2",
            password="file:password",  # noqa: S106 -- a reference
            topic_prefix=prefix,
        )
        (folder / "streams.toml").write_text(text, encoding="utf-8")
        config = shell.read_config(folder / "streams.toml")
        if prefix:
            self._stack.push_async_callback(self._remove_topics, config)
        return config

    async def _remove_topics(self, config: Config) -> None:
        """Leave somebody else's cluster as we found it."""
        admin: Any = AIOKafkaAdminClient(bootstrap_servers=config.kafka.bootstrap_servers, **config.kafka.security())
        try:
            async with bounded(f"Kafka to remove the topics {config.kafka.topic_prefix}...", _BROKER_S):
                try:
                    await admin.start()
                    there = set(await admin.list_topics())
                    await admin.delete_topics([topic.name for topic in topics.wanted(config) if topic.name in there])
                finally:
                    await admin.close()
        except ProcessError as error:
            self._show.say(f"{error}; remove them by hand", is_fault=True)

    @asynccontextmanager
    async def _open_log(self, config: Config) -> AsyncIterator[Log]:
        opened = shell.open_log(config, 30)
        log = await opened.__aenter__()
        try:
            yield log
        finally:
            try:
                async with bounded("the connection to Kafka to close", _BROKER_S):
                    await opened.__aexit__(None, None, None)
            except ProcessError as error:
                self._show.say(str(error), is_fault=True)  # what was to be found out has been found out

    async def _prepare(self, log: Log, config: Config) -> None:
        """`streams topics apply` and `streams doctor --install`."""
        made = await topics.apply(log, config)
        found = [one for findings in (await examine(config, install=True)).values() for one in findings]
        bad = [f"{one.name}: {one.detail}" for one in found if not one.ok]
        if bad:
            raise shell.CommandError("; ".join(bad), "run it again; when it stays, tell b1-streams' maintainers")
        self._show.say(f"{len(made)} topics made; the doctor installed the claim table in B1 and proved it")

    async def _start_pipeline(self) -> None:
        self._connect = await self._streams("connect")
        for number in (1, 2):
            self._workers.append(await self._streams("worker", number))
        self._stack.callback(self._ask_to_stop)  # in an emergency, all at once; then each is waited for
        for child in (self._connect, *self._workers):
            await self._wait_ready(child)
        told = ", ".join(f"{child.name} ({child.pid})" for child in (*self._workers, self._connect))
        self._show.say(f"running: {told}")
        await self._input.connect(await self._door())

    async def _door(self) -> str:
        """Where webhooks go to, where there are some."""
        assert self._connect is not None  # noqa: S101 -- just started
        if "[webhooks]" not in (self._folder / "streams.toml").read_text(encoding="utf-8"):
            return ""
        return await self._connect.says(r'(?m)^(?=.*webhooks_listening).*"url": ?"(http[^"]+)"', _READY_S)

    def _ask_to_stop(self) -> list[Child]:
        """SIGTERM to every process of ours that runs; these."""
        living = [child for child in (self._connect, *self._workers) if child is not None and child.ended is None]
        for child in living:
            child.ask_to_stop()
        return living

    async def _streams(self, command: str, number: int = 0) -> Child:
        """A `streams` process; each worker is a B1 user of its own, so that its sessions can be told from others'."""
        environ = dict(os.environ)
        if number:
            environ["STREAMS__COMPANIES__ACME__USERNAME"] = _USERS[number - 1]
        name = f"{command}-{number}" if number else command
        streams = [sys.executable, "-c", "from streams.cli import main; main()"]  # the script need not be on the PATH
        return await self._child(name, [*streams, command, "-c", "streams.toml"], environ)

    async def _child(self, name: str, command: list[str], environ: Mapping[str, str] | None = None) -> Child:
        child = await Child.start(name, command, self._folder, environ)
        self._stack.push_async_callback(child.close)
        self._children.append(child)
        return child

    async def _wait_ready(self, child: Child) -> None:
        self._urls[child.name] = await child.says(r"metrics and health on (\S+)", _READY_S)
        deadline = time.monotonic() + _READY_S
        while (await ask(self._urls[child.name], "GET", "/readyz"))[0] != 200:
            child.check()
            if time.monotonic() > deadline:
                raise ProcessError(f"{child.name} is not ready after {_READY_S:.0f} s:\n{child.tail()}")
            await asyncio.sleep(0.2)

    # ---- meanwhile ----------------------------------------------------------------------------------------------

    async def _feed_and_watch(self, log: Log, config: Config) -> None:
        writing, killing = asyncio.create_task(self._write()), asyncio.create_task(self._kill_one())
        tasks = [writing, killing, asyncio.create_task(self._hold_items())]
        try:
            await self._watch(log, config, tasks, lambda: writing.done() and killing.done())
        finally:
            for task in tasks:
                task.cancel()
            async with bounded("the end of what was done meanwhile", _LOOK_MAX_S + _STOP_S):
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self) -> None:
        """Let the sales come in, evenly, but no faster than the pipeline takes them."""
        steps = max(1, round(self._seconds / _STEP_S), -(-self._input.lines // _STEP_LINES))
        began = time.monotonic()
        for number, upto in enumerate(self._input.moments(steps), 1):
            await self._input.write(upto)
            await asyncio.sleep(max(0.0, began + number * self._seconds / steps - time.monotonic()))
            while self._open() > _OPEN:  # noqa: ASYNC110 -- it changes when somebody looks
                await asyncio.sleep(_STEP_S / 4)
        self._lap("feed")

    def _open(self) -> int:
        """What is on its way: what was when somebody looked last, and what has gone in since."""
        return self._now.total("in_flight") + self._input.lines - self._input.left - self._now.written

    async def _hold_items(self) -> None:
        """People open the items that sell best, for seconds, and close them again; B1 lets nobody else write them."""
        random, hot = Random(1), _hot_items(self._feed)  # noqa: S311 -- not a secret
        while hot:
            asked = {"items": random.sample(hot, min(len(hot), random.randint(1, 2))), "holder": random.choice(_PEOPLE)}
            try:
                self._locked = (await self._b1("POST", "lock", asked))["locked"]
                self._locks += len(self._locked)
                await asyncio.sleep(random.uniform(*_LOCKED_S))
            finally:
                self._locked = []
                await asyncio.shield(self._b1("POST", "unlock", asked))
            await asyncio.sleep(random.uniform(*_BETWEEN_S))

    async def _kill_one(self) -> None:
        """SIGKILL the worker that posts to B1 when half of the files are there, and start another one."""
        # Nobody tells us when half of it has come in, or when a worker has logged in.
        while self._input.left * 2 > self._input.lines:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        async with bounded("a worker to log in to B1", _STUCK_S):
            while (poster := self._poster()) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        await poster.kill()
        self._killed = poster.name
        self._show.say(f"SIGKILL to {poster.name} ({poster.pid}) while it posts to B1", is_fault=True)
        self._workers.append(await self._streams("worker", 3))
        self._show.say(f"worker-3 ({self._workers[-1].pid}) is started in its place")
        await self._wait_ready(self._workers[-1])
        self._show.say("worker-3 takes part")

    def _poster(self) -> Child | None:
        """The worker that has B1 sessions: the company's queue is its."""
        return next((w for w in self._workers if self._metrics.get(w.name, Counter())[_METRICS[3]]), None)

    async def _watch(
        self, log: Log, config: Config, tasks: list[asyncio.Task[None]], is_written: Callable[[], bool]
    ) -> None:
        """Look at everything again and again, until all is worked off."""
        moved_at = written_at = time.monotonic()
        before = list[tuple[int, ...]]()
        missing = "all of it"
        while True:
            for child in self._children:
                child.check()
            for task in tasks:
                if task.done():
                    task.result()
            written, began = is_written(), time.monotonic()
            async with bounded("Kafka and B1 to say where everything stands", _LOOK_MAX_S):
                found = await self._look(log, config, "working off the rest" if written else "selling")
                if written and missing and found is not None:
                    missing = await self._input.missing({name: flow.received for name, flow in found.flows.items()})
            now = time.monotonic()
            written_at = written_at if written else now
            if missing and now - written_at > _HEARD_S:
                self._show.say(f"the connectors have not seen everything: {missing}", is_fault=True)
                missing = ""  # the proof will tell what that means
            if found is not None and (counts := _counts(found)) != before:
                moved_at, before = now, counts
            if written and not missing and found is not None and found.idle:
                parked = sum(flow.parked for flow in found.flows.values())
                if not parked or now - moved_at > _PARKED_S:
                    self._lap("rest")
                    return
            if now - moved_at > _STUCK_S:
                logs = "\n".join(f"{each.name}: {each.tail(3)}" for each in self._workers if each.ended is None)
                waits = f"the connectors to see {missing}" if written and missing else "what is on its way to end"
                raise ProcessError(f"nothing has moved for {_STUCK_S:.0f} s of waiting for {waits}:\n{logs}")
            # Looking is reading all letters: where they are many, look more seldom.
            await asyncio.sleep(max(_LOOK_S, _LOOK_SHARE * (now - began)))

    async def _look(self, log: Log, config: Config, phase: str) -> Status | None:
        """Read and show where everything stands; None where Kafka could not tell right now."""
        codec = shell.codec_of(config)
        written = self._input.lines - self._input.left
        await asyncio.gather(*(self._scrape(child) for child in self._workers if child.ended is None))
        counters = await self._b1("GET", "counters")
        try:
            found = await status.read(log, config, codec, int(time.time() * 1000))
            letters = await standing(log, config, codec)
        except LogError:
            return None
        b1 = next(iter(counters["companies"].values()))
        sums: Counter[str] = Counter()
        for name, metrics in self._metrics.items():
            sums[_METRICS[0]] += metrics[_METRICS[0]]
            if name != self._killed:
                sums.update({key: metrics[key] for key in _METRICS[1:]})
        rates, documents_per_s = self._rate(found.flows, int(b1["documents"]))
        self._now = Snapshot(
            elapsed_s=self._show.elapsed_s,
            phase=phase,
            written=written,
            lines=self._input.lines,
            flows=found.flows,
            rates=rates,
            reasons=Counter(each.reason for each in letters.values() if each.state in OPEN_STATES),
            windows=sums[_METRICS[0]],
            lanes=sums[_METRICS[1]],
            queued=sums[_METRICS[2]],
            documents=int(b1["documents"]),
            documents_per_s=documents_per_s,
            calls=int(b1["calls"]),
            waits_people=int(b1["lock_waits_people"]),
            waits_own=int(b1["lock_waits_own"]),
            replies_lost=int(counters["faults"].get("lost_reply_after_commit", 0)),
            locked=tuple(self._locked),
            locks=self._locks,
            killed=int(self._killed is not None),
        )
        self._show.update(self._now)
        return found

    def _rate(
        self, flows: Mapping[str, status.FlowStatus], documents: int
    ) -> tuple[dict[str, tuple[float, float]], float]:
        """Per second, over the last seconds: events received and posted by flow, and documents."""
        now = self._show.elapsed_s
        self._history.append((now, flows, documents))
        while len(self._history) > 2 and self._history[1][0] <= now - _RATE_S:
            self._history.popleft()
        then, before, had = self._history[0]
        passed = max(now - then, 0.001)
        rates = {
            name: (
                max(0, flow.received - before[name].received) / passed,
                max(0, flow.posted - before[name].posted) / passed,
            )
            for name, flow in flows.items()
            if name in before
        }
        return rates, (documents - had) / passed

    async def _scrape(self, child: Child) -> None:
        """Read a worker's metrics; one that is going away or coming up is left as it was."""
        url = self._urls.get(child.name)
        if url is None:
            return
        with suppress(OSError):
            _, body = await ask(url, "GET", "/metrics")
            found: Counter[str] = Counter()
            for row in body.decode().splitlines():
                name = row.partition("{")[0]
                if name in _METRICS:
                    found[name] += int(float(row.rpartition(" ")[2]))
            self._metrics[child.name] = found

    # ---- after --------------------------------------------------------------------------------------------------

    async def _stop(self) -> tuple[dict[str, int], tuple[int, int]]:
        """SIGTERM to all; their exit codes, and the sessions left open by them and by the killed worker."""
        living = self._ask_to_stop()
        self._show.say(f"all is worked off; SIGTERM to {', '.join(child.name for child in living)}")
        codes = await asyncio.gather(*(child.wait(_STOP_S) for child in living))
        users = (await self._b1("GET", "counters"))["users"]
        opened = {name: int(user["sessions_open"]) for name, user in users.items()}
        killed = next((each.name for each in self._workers if each.name == self._killed), "")
        orphaned = opened.pop(killed.replace("worker", "streams"), 0)
        left = {child.name: code for child, code in zip(living, codes, strict=True)}
        return left, (sum(opened.values()), orphaned)

    async def _prove(self, config: Config) -> Proof:
        self._now = replace(
            self._now,
            phase="comparing the books with what went in",
            elapsed_s=self._show.elapsed_s,
            lanes=0,
            queued=0,
            rates={},
        )
        self._show.update(self._now)
        async with bounded("B1's ledger", _PROOF_S):
            ledger = await self._ledger()
        async with bounded("Kafka's dead-letter topics", _SETUP_S):
            letters = await read_dead_letters(
                config.kafka.bootstrap_servers, config.kafka.topic_prefix, **config.kafka.security()
            )
        async with bounded("what the sales came from", _SETUP_S):
            evidence, terms = await self._input.evidence(), _terms(self._folder / "streams.toml")
        proof = await asyncio.to_thread(
            prove, evidence.files, ledger, letters, terms, evidence.vendor_events, evidence.shelves
        )
        self._now = replace(self._now, phase="done", elapsed_s=self._show.elapsed_s, locked=())
        self._show.update(self._now)
        return proof

    async def _ledger(self) -> dict[str, Any]:
        """B1's books, a page of documents at a time: a year of them is a gigabyte."""
        ledger: dict[str, Any] = await self._b1("GET", "ledger?documents=0")
        documents: list[dict[str, Any]] = []
        after = 0
        with (self._folder / "ledger.jsonl").open("w", encoding="utf-8") as file:
            file.write(json.dumps(ledger) + "\n")
            while page := await self._b1("GET", f"documents?after={after}&limit={_PAGE}"):
                file.writelines(json.dumps(document) + "\n" for document in page)
                documents += map(read_document, page)
                after = page[-1]["sequence"]
        return {**ledger, "documents": documents}

    # ---- small parts --------------------------------------------------------------------------------------------

    def _lap(self, phase: str) -> None:
        self._took[phase] = self._show.elapsed_s - sum(self._took.values())

    async def _b1(self, method: str, what: str, body: Mapping[str, Any] | None = None) -> Any:
        return await ask_json("the simulated B1", self._b1_url, method, f"/_simulator/{what}", body)


_FRACTIONS = {0.2: "fifth", 0.25: "quarter", 0.5: "half"}


def _counts(found: Status) -> list[tuple[int, ...]]:
    """What grows when something moves. What is tried again and again, and parked each time, does not."""
    return [(each.received, each.posted, each.no_op, each.dead) for each in found.flows.values()]


def _hot_items(made: Feed) -> list[str]:
    """The ItemCodes that most lines of the shop name, hottest first."""
    sold: Counter[str] = Counter()
    for entry in made.shop:
        with suppress(ValueError):  # the line that was cut off
            sold.update(line["sku"] for line in json.loads(entry.line).get("lines", ()))
    return list(dict.fromkeys(made.items.get(sku, sku) for sku, _ in sold.most_common(_HOT_ITEMS)))


def _terms(path: Path) -> Terms:
    """What the configuration says, read as any reader would."""
    settings = tomllib.loads(path.read_text(encoding="utf-8"))
    company, connectors = settings["companies"]["acme"], settings["connectors"]
    places = {each["location"]: code for code, each in company["warehouses"].items()}
    for connector in connectors.values():
        places |= connector.get("locations", {})
    accounts = {reason: code for each in company["warehouses"].values() for reason, code in each["gl_account"].items()}
    defaults = {name: each["orders"]["warehouse"] for name, each in connectors.items() if "orders" in each}
    return Terms(company["items"], places, accounts, defaults, company["timezone"])


async def _in_thread(work: Callable[[], object]) -> None:
    """Blocking work that must not be left half done: when we are cancelled, it ends first."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        with suppress(KafkaSetupError):
            await task
        raise

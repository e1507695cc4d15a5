"""The whole thing on one machine: a real broker, real sales, a simulated B1 that fights back, and the proof at the end.

Two workers and a connector run as they would anywhere, as processes of the same commands. Meanwhile the files of the
shop and of the warehouse are written a piece at a time, B1 loses replies, people hold items, and one worker is killed.
When all is worked off, everything is stopped and the books are compared with the files (`proof.py`).
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
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from typing import Any, TypeVar
from urllib.parse import urlsplit

from aiokafka.admin import AIOKafkaAdminClient
from rich.console import Console, Group, RenderableType
from rich.text import Text

from schemas.letters import OPEN_STATES
from streams import status, topics, trail
from streams.cli import shell
from streams.cli.doctor import examine
from streams.config import Config
from streams.demo import feed as feeding
from streams.demo import proof as proving
from streams.demo.feed import Feed, Writer
from streams.demo.kafka import Kafka, KafkaSetupError
from streams.demo.processes import Child, ProcessError
from streams.demo.proof import Proof
from streams.demo.screen import Show, Snapshot, draw
from streams.log import Log, LogError
from streams.status import Status

T = TypeVar("T")

SPEED = 0.2
LOST_REPLIES = 0.03
SECONDS = 60.0  # of writing the files, at least; a week of the shop
_LINES_PER_S = 25  # where there is more; a year takes half an hour
_STEP_S = 1.0
_LOOK_S = 1.5
_RATE_S = 6.0  # over which rates are shown
_READY_S = 90.0
_STOP_S = 35.0  # the contract gives them 30
_STUCK_S = 120.0
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
    as_json: bool = False,
) -> int:
    """Run the demo.

    Args:
        data: The data set, or a part of it; by default the week that comes with us.
        seconds: For how long the files are written.
        keep: A folder for configuration, files, logs and ledger; by default a temporary one, removed at the end.
        picture: Where to put the last screen as SVG.
        as_json: Print one JSON object; what happens is told on stderr.

    Returns:
        0 when the books balance and everything ended in order, else 1.

    Raises:
        CommandError: It could not be run.
    """
    console = Console(stderr=as_json, highlight=False)
    with Show(console) as show:
        try:
            result = asyncio.run(_until_signal(_run(show, data, seconds, keep), show.say))
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
            proving.render(self.proof),
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
                "calls": proof.calls, "writes": proof.change_sets, "documents": proof.documents,
                "writes_one_per_event": proof.naive_writes, "stock_events": proof.stock_events,
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


async def _run(show: Show, data: Path | None, seconds: float | None, keep: Path | None) -> Result:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(_folder(keep))
        show.update(Snapshot(phase="reading the sales"))
        try:
            made = await asyncio.to_thread(_make_feed, data)
        except (OSError, ValueError) as error:
            raise shell.CommandError(f"{data}: {error}", "name a .csv or .csv.xz of the data set", 2) from error
        show.say(
            f"{made.events:,} lines of {made.counts['order_placed']:,} orders and what followed, "
            f"{made.first} to {made.last} (shifted by whole weeks)"
        )
        return await Demo(show, made, folder, stack, seconds).play()


def _make_feed(data: Path | None) -> Feed:
    return feeding.build(feeding.read(data or feeding.SLICE), datetime.now(feeding.ZONE).date())


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

    def __init__(self, show: Show, made: Feed, folder: Path, stack: AsyncExitStack, seconds: float | None) -> None:
        self._show, self._feed, self._folder, self._stack = show, made, folder, stack
        self._seconds = max(SECONDS, made.events / _LINES_PER_S) if seconds is None else seconds
        self._writer = Writer(made, folder / "in")
        self._now = Snapshot(phase="starting", lines=made.events)
        self._took: dict[str, float] = {}
        self._simulator_port = 0
        self._children: list[Child] = []
        self._workers: list[Child] = []
        self._connect: Child | None = None
        self._urls: dict[str, str] = {}  # of the metrics, by process
        self._metrics: dict[str, Counter[str]] = {}  # as last read, also of processes that are gone
        self._killed: str | None = None
        self._locks = 0
        self._locked: list[str] = []
        self._history: deque[tuple[float, Mapping[str, status.Flow], int]] = deque()

    async def play(self) -> Result:
        """All of it, up to the verdict."""
        config = await self._start()
        log = await self._stack.enter_async_context(shell.open_log(config, 30))
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
        b1 = feeding.simulator(self._feed, password=password, speed=SPEED, lost_replies=LOST_REPLIES)
        b1["users"] = dict.fromkeys(("streams", *_USERS), password)
        (folder / "simulator.json").write_text(json.dumps(b1), encoding="utf-8")
        (folder / "password").write_text(password, encoding="utf-8")
        (folder / "password").chmod(0o600)
        for name in (feeding.SHOP, feeding.WAREHOUSE):
            (folder / "in" / name).mkdir(parents=True)
        command = [sys.executable, "-m", "connectors.simulators", "sap_b1", "--port", "0", "--config", "simulator.json"]
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
        self._simulator_port = int(await simulator.says(r"listening on (\d+)", _READY_S))
        self._show.say(
            f"SAP Business One (simulated) on port {self._simulator_port}, process {simulator.pid}; its service times are "
            f"a {_FRACTIONS.get(SPEED, SPEED)} of a real one's; {LOST_REPLIES:.0%} of its replies get lost"
        )
        text = feeding.configuration(
            self._feed,
            bootstrap_servers=servers,
            service_layer_url=f"http://127.0.0.1:{self._simulator_port}/b1s/v2",
            password="file:password",  # noqa: S106 -- a reference
            topic_prefix=prefix,
        )
        (folder / "streams.toml").write_text(text, encoding="utf-8")
        config = shell.read_config(folder / "streams.toml")
        if prefix:
            self._stack.push_async_callback(_remove_topics, config)
        return config

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
        for child in (self._connect, *self._workers):
            await self._wait_ready(child)
        self._stack.callback(self._ask_to_stop)  # in an emergency, all at once; then each is waited for
        told = ", ".join(f"{child.name} ({child.pid})" for child in (*self._workers, self._connect))
        self._show.say(f"running: {told}")

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
        while (await self._get(self._urls[child.name], "/readyz"))[0] != 200:
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
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self) -> None:
        """Write the files, evenly."""
        steps = max(1, round(self._seconds / _STEP_S))
        began = time.monotonic()
        for number, upto in enumerate(self._feed.moments(steps), 1):
            await asyncio.to_thread(self._writer.write, upto)
            await asyncio.sleep(max(0.0, began + number * self._seconds / steps - time.monotonic()))
        self._lap("feed")

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
        # Nobody tells us when a worker has logged in.
        while self._writer.left * 2 > self._feed.events or (poster := self._poster()) is None:  # noqa: ASYNC110
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
        moved_at, before = time.monotonic(), list[tuple[int, ...]]()
        while True:
            for child in self._children:
                child.check()
            for task in tasks:
                if task.done():
                    task.result()
            written = is_written()
            found = await self._look(log, config, "working off the rest" if written else "selling")
            now = time.monotonic()
            if found is not None and (counts := _counts(found)) != before:
                moved_at, before = now, counts
            if written and found is not None and found.idle:
                parked = sum(flow.parked for flow in found.flows.values())
                if not parked or now - moved_at > _PARKED_S:
                    self._lap("rest")
                    return
            if now - moved_at > _STUCK_S:
                logs = "\n".join(f"{each.name}: {each.tail(3)}" for each in self._workers if each.ended is None)
                raise ProcessError(f"nothing has moved for {_STUCK_S:.0f} s:\n{logs}")
            await asyncio.sleep(_LOOK_S)

    async def _look(self, log: Log, config: Config, phase: str) -> Status | None:
        """Read and show where everything stands; None where Kafka could not tell right now."""
        codec = shell.codec_of(config)
        await asyncio.gather(*(self._scrape(child) for child in self._workers if child.ended is None))
        counters = await self._b1("GET", "counters")
        try:
            found = await status.read(log, config, codec, int(time.time() * 1000))
            letters = await trail.letters(log, config, codec)
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
            written=self._feed.events - self._writer.left,
            lines=self._feed.events,
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

    def _rate(self, flows: Mapping[str, status.Flow], documents: int) -> tuple[dict[str, tuple[float, float]], float]:
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
            _, body = await self._get(url, "/metrics")
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
            phase="comparing the books with the files",
            elapsed_s=self._show.elapsed_s,
            lanes=0,
            queued=0,
            rates={},
        )
        self._show.update(self._now)
        ledger = await self._b1("GET", "ledger")
        (self._folder / "ledger.json").write_text(json.dumps(ledger), encoding="utf-8")
        letters = await proving.read_letters(
            config.kafka.bootstrap_servers, config.kafka.topic_prefix, **config.kafka.security()
        )
        files = feeding.inputs(self._folder / "in")
        proof = await asyncio.to_thread(proving.prove, files, ledger, letters, _terms(self._folder / "streams.toml"))
        self._now = replace(self._now, phase="done", elapsed_s=self._show.elapsed_s, locked=())
        self._show.update(self._now)
        return proof

    # ---- small parts --------------------------------------------------------------------------------------------

    def _lap(self, phase: str) -> None:
        self._took[phase] = self._show.elapsed_s - sum(self._took.values())

    async def _b1(self, method: str, what: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            answer = await _ask("127.0.0.1", self._simulator_port, method, f"/_simulator/{what}", body)
        except OSError as error:
            raise ProcessError(f"the simulated B1 does not answer: {error}") from error
        return json.loads(answer[1])

    @staticmethod
    async def _get(url: str, path: str) -> tuple[int, bytes]:
        place = urlsplit(url)
        return await _ask(place.hostname or "", place.port or 0, "GET", path)


_FRACTIONS = {0.2: "fifth", 0.25: "quarter", 0.5: "half"}


def _counts(found: Status) -> list[tuple[int, ...]]:
    """What changes when something moves; ages do always."""
    return [(each.posted, each.no_op, each.parked, each.dead, each.in_flight) for each in found.flows.values()]


def _hot_items(made: Feed) -> list[str]:
    """The ItemCodes that most lines of the shop name, hottest first."""
    sold: Counter[str] = Counter()
    for entry in made.shop:
        with suppress(ValueError):  # the line that was cut off
            sold.update(line["sku"] for line in json.loads(entry.line).get("lines", ()))
    return list(dict.fromkeys(made.items.get(sku, sku) for sku, _ in sold.most_common(_HOT_ITEMS)))


def _terms(path: Path) -> proving.Terms:
    """What the configuration says, read as any reader would."""
    settings = tomllib.loads(path.read_text(encoding="utf-8"))
    company, shop = settings["companies"]["acme"], settings["connectors"][feeding.SHOP]
    places = {each["location"]: code for code, each in company["warehouses"].items()}
    accounts = {reason: code for each in company["warehouses"].values() for reason, code in each["gl_account"].items()}
    return proving.Terms(company["items"], places, accounts, shop["orders"]["warehouse"], company["timezone"])


async def _ask(
    host: str, port: int, method: str, path: str, body: Mapping[str, Any] | None = None
) -> tuple[int, bytes]:
    """One request on loopback, past any proxy of the environment; status and body."""

    def ask() -> tuple[int, bytes]:
        connection = HTTPConnection(host, port, timeout=60)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    return await asyncio.to_thread(ask)


async def _in_thread(work: Callable[[], None]) -> None:
    """Blocking work that must not be left half done: when we are cancelled, it ends first."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        with suppress(KafkaSetupError):
            await task
        raise


async def _remove_topics(config: Config) -> None:
    """Leave somebody else's cluster as we found it."""
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=config.kafka.bootstrap_servers, **config.kafka.security())
    try:
        await admin.start()
        there = set(await admin.list_topics())
        await admin.delete_topics([topic.name for topic in topics.wanted(config) if topic.name in there])
    finally:
        await admin.close()

"""One chaos run on real processes: start everything, let it go wrong by a seed, heal, drain, stop, judge."""

import asyncio
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx

from lab.kafka.broker import Kafka
from lab.kafka.errors import KafkaSetupError
from tests.chaos import generator
from tests.chaos.checker import check
from tests.chaos.evidence import Ended, Evidence, Monitor, read_records
from tests.chaos.generator import Generator, Line, Writer
from tests.chaos.invariants.verdict import Verdict

ROOT = Path(__file__).parents[2]
EVIDENCE = "evidence.pickle"
DATABASE, PASSWORD = "SBO_CHAOS", "not a secret"
SESSION_LIMIT = 2
_USERS = 100
_STREAMS = Path(sys.executable).parent / "streams"

_CONFIGURATION = """\
[kafka]
bootstrap_servers = "{bootstrap_servers}"
partitions = 4
company_partitions = 4
replication_factor = 1
local = true
[metrics]
port = 0
[companies.acme]
partition = 0
service_layer_url = "{service_layer_url}"
company_db = "{database}"
username = "streams"
password = "env:CHAOS_B1_PASSWORD"
timezone = "Europe/London"
currency = "GBP"
session_limit = {session_limit}
in_flight = 8
[companies.acme.window]
length_s = 2
[companies.acme.customers]
policy = "account"
card_code = "C-WEB"
[companies.acme.tax]
field = "VatGroup"
[companies.acme.tax.codes]
"GB-20" = "O1"
[companies.acme.freight]
expense_code = 1
[companies.acme.invoices]
on = "dispatch"
{warehouses}
[connectors.shop]
kind = "ims"
company = "acme"
inbox = "in/shop"
poll_interval_s = 0.2
orders = {{ warehouse = "LON1" }}
[connectors.warehouse]
kind = "ims"
company = "acme"
inbox = "in/warehouse"
poll_interval_s = 0.2
order_source = "shop"
"""

_WAREHOUSE = """
[companies.acme.warehouses.{code}]
owner = "warehouse"
location = "{name}"
sellable_on = ["shop"]
returns_by = "refund"
gl_account = {{ damaged = "5100", lost = "5100", found = "4900", count = "4900" }}
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """How much of everything a run has; the times are the generator's, without start and drain.

    Attributes:
        seconds: How long lines are written and faults are played.
        per_second: Lines.
        connects: `streams connect` processes; `streams worker` are always two.
        kills: SIGKILLs of a random process.
        pauses: SIGSTOPs of a worker, longer than the session timeout.
        terms: SIGTERMs under load.
        broker_kills: SIGKILLs of the broker.
        outages: times that B1 is away for some seconds.
        drain_s: How long the backlog may take after healing.
    """

    seconds: float
    per_second: float
    connects: int
    kills: int
    pauses: int
    terms: int
    broker_kills: int
    outages: int
    drain_s: float


SHORT = Shape(45, 12, 1, 6, 1, 1, 1, 0, 180)


def long(minutes: float) -> Shape:
    """The long form, for so many minutes of faults; 20 kills at any length."""
    return Shape(minutes * 60, 12, 2, 20, 2, 2, 2, 1, 240)


#: Longer than the 10 s after which the group takes a silent member for dead.
_PAUSE_S = (13.0, 18.0)
_FAULTS: Mapping[str, object] = {
    "rates": {
        "lost_reply_before_commit": 0.01,
        "lost_reply_after_commit": {"rate": 0.03},
        "late_commit": {"rate": 0.01, "after_s": 4},
        "html_502": 0.01,
        "session_kill": 0.003,
        "truncated_batch": 0.005,
        "locked": 0.005,
    }
}


@dataclass(slots=True)
class Process:
    """One process of ours, ended by its pid only.

    Every start has a B1 user of its own, so that sessions can be told apart.
    """

    name: str
    user: str
    popen: subprocess.Popen[bytes]
    log: Path
    asked_at: float | None = None
    paused: bool = False

    @property
    def listens(self) -> bool:
        """Whether it has got so far as to take a SIGTERM; before that the signal ends Python while it imports."""
        return b"metrics and health on" in self.log.read_bytes()


@dataclass(slots=True)
class Report:
    """What a run showed; `folder` is kept when something is wrong."""

    seed: int
    verdict: Verdict
    timeline: list[str]
    folder: Path
    kills: int
    self_exits: int
    drained_s: float | None
    seconds: float
    figures: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.verdict.ok and self.drained_s is not None

    def __str__(self) -> str:
        verdict = self.verdict
        drained = "NOT DRAINED" if self.drained_s is None else f"drained in {self.drained_s:.0f} s"
        numbers = ", ".join(f"{name} {count}" for name, count in self.figures.items())
        head = (
            f"seed {self.seed}: {verdict.events} lines, {self.kills} kills, {verdict.count('lost')} lost, "
            f"{verdict.count('double')} double, {len(verdict.discrepancies)} discrepancies, {drained}, "
            f"{verdict.published_again} facts published again, {self.self_exits} processes ended by themselves, "
            f"{verdict.samples} looks, {self.seconds:.0f} s; {numbers}"
        )
        if self.ok:
            return head
        wrong = [f"  {one}" for one in verdict.discrepancies[:20]]
        return "\n".join(
            [head, f"kept: {self.folder}", "faults:", *(f"  {line}" for line in self.timeline), "wrong:", *wrong]
        )


async def run(seed: int, shape: Shape, say: Callable[[str], None] = lambda _: None) -> Report:
    """Play one seed; its folder is removed when all is well."""
    folder = Path(tempfile.mkdtemp(prefix=f"b1-streams-chaos-{seed}-"))
    chaos = Chaos(seed, shape, folder, say)
    try:
        report = await chaos.play()
    except BaseException:
        say(f"seed {seed}: kept: {folder}")
        raise
    finally:
        await chaos.end()
    (folder / "report.txt").write_text(str(report) + "\n", encoding="utf-8")
    if report.ok:
        shutil.rmtree(folder, ignore_errors=True)
    return report


class Chaos:
    """Lifecycle: `play` once, `end` always."""

    def __init__(self, seed: int, shape: Shape, folder: Path, say: Callable[[str], None]) -> None:
        self._seed, self._shape, self._folder, self._say = seed, shape, folder, say
        self._random = Random(f"faults {seed}")
        self._started = time.monotonic()
        self._kafka = Kafka(folder / "kafka")
        self._simulator: subprocess.Popen[str] | None = None
        self._url = ""
        self._processes: dict[str, Process] = {}
        self._starts = 0
        self._self_exits = 0
        self._kills = 0
        self._ended: list[Ended] = []
        self._timeline: list[str] = []
        self._written = asyncio.Event()  # wakes who waits for the next files
        self._beside: set[asyncio.Task[None]] = set()

    # ---- the run

    async def play(self) -> Report:
        """The whole of it, up to the verdict."""
        lines = Generator(self._seed, seconds=self._shape.seconds, per_second=self._shape.per_second).make()
        await asyncio.to_thread(self._kafka.start)
        self._start_simulator()
        self._configure()
        await asyncio.to_thread(self._command, "topics", "apply")
        names = ["worker-0", "worker-1", *(f"connect-{number}" for number in range(self._shape.connects))]
        for name in names:
            self._start(name)
        monitor = Monitor(self._kafka.bootstrap_servers, self._url, self._elapsed)
        watching = asyncio.create_task(monitor.run())
        keeping = asyncio.create_task(self._keep(names))
        try:
            await self._storm(lines)
            drained = await self._drain(lines)
            await asyncio.sleep(1)
            status = await asyncio.to_thread(self._status)
        finally:
            keeping.cancel()
            watching.cancel()
            stopped = await asyncio.gather(keeping, watching, return_exceptions=True)
        broken = [one for one in stopped if isinstance(one, Exception)]
        if broken:
            raise broken[0]
        await asyncio.gather(*(self._term(process) for process in list(self._processes.values())))
        evidence = await self._evidence(lines, status, monitor)
        (self._folder / EVIDENCE).write_bytes(pickle.dumps(evidence))  # before anything in it can trip the checker
        verdict = check(evidence)
        figures = dict(evidence.ledger["counters"])
        wanted = ("documents", "calls", "change_sets", "logins", "lock_waits_ours")
        return Report(
            self._seed,
            verdict,
            self._timeline,
            self._folder,
            self._kills,
            self._self_exits,
            drained,
            self._elapsed(),
            {name: int(figures[name]) for name in wanted if name in figures},
        )

    async def end(self) -> None:
        """Nothing stays behind, whatever happened."""
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        for process in self._processes.values():
            self._kill(process)
        if self._simulator is not None:
            self._simulator.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._simulator.wait(5)
            if self._simulator.poll() is None:
                self._simulator.kill()
                self._simulator.wait()
            if self._simulator.stdout is not None:
                self._simulator.stdout.close()
        await asyncio.to_thread(self._kafka.stop)

    async def _storm(self, lines: tuple[Line, ...]) -> None:
        """Write the lines while the faults are played."""
        faults = sorted(self._plan(), key=lambda fault: fault[0])
        writer = Writer(lines, self._folder / "in")
        began = self._elapsed()
        lock_at = 1.0
        while (now := self._elapsed() - began) < self._shape.seconds:
            if writer.write(now):
                self._written.set()
                self._written.clear()
            while faults and faults[0][0] <= now:
                _, name, play = faults.pop(0)
                self._note(name)
                self._spawn(play())
            if lock_at <= now:
                lock_at = now + self._random.uniform(3, 8)
                self._spawn(self._lock())
            await asyncio.sleep(0.5)
        writer.write(float("inf"))
        await asyncio.gather(*self._beside)
        await self._post("faults", {"clear": True})
        self._note("healed")

    def _plan(self) -> list[tuple[float, str, Callable[[], Any]]]:
        """When what goes wrong: every kind at times drawn evenly, none in the first seconds."""
        shape, plan = self._shape, list[tuple[float, str, Callable[[], Any]]]()
        kinds: list[tuple[int, str, Callable[[], Any]]] = [
            (shape.kills, "SIGKILL", self._kill_one),
            (shape.pauses, "SIGSTOP", self._pause_one),
            (shape.terms, "SIGTERM", self._term_one),
            (shape.broker_kills, "broker SIGKILL", self._kill_broker),
            (shape.outages, "B1 away", self._outage),
        ]
        for count, name, play in kinds:
            plan += [(self._random.uniform(4, shape.seconds - 2), name, play) for _ in range(count)]
        return plan

    async def _drain(self, lines: tuple[Line, ...]) -> float | None:
        """Seconds until nothing is in flight and nothing waits that need not."""
        began = self._elapsed()
        waits = sum(1 for line in lines if line.expected == generator.PARKED)
        while self._elapsed() - began < self._shape.drain_s:
            status = await asyncio.to_thread(self._status)
            if status:
                parked = sum(flow["parked"] for flow in status["flows"].values())
                in_flight = sum(flow["in_flight"] for flow in status["flows"].values())
                self._say(f"{self._elapsed():.0f} s: in flight {in_flight}, parked {parked} ({waits} must)")
                if status["idle"] and parked <= waits:
                    return self._elapsed() - began
            await asyncio.sleep(2)
        return None

    # ---- faults

    async def _kill_one(self) -> None:
        """SIGKILL: a connector in the middle of a file, where its work is; a worker always has some."""
        process = self._victim("")
        if process is not None and process.name.startswith("connect"):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._written.wait(), 2)
            await asyncio.sleep(self._random.uniform(0, 0.4))
        if process is None or process.popen.poll() is not None:
            return
        self._note(f"SIGKILL {process.name} ({process.user})")
        self._kills += 1
        self._kill(process)

    async def _pause_one(self) -> None:
        process = self._victim("worker")
        if process is None:
            return
        seconds = self._random.uniform(*_PAUSE_S)
        self._note(f"SIGSTOP {process.name} ({process.user}) for {seconds:.0f} s")
        process.paused = True
        process.popen.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        process.popen.send_signal(signal.SIGCONT)
        process.paused = False
        self._note(f"SIGCONT {process.name} ({process.user})")

    async def _term_one(self) -> None:
        process = self._victim("")
        if process is not None and not process.paused:
            await self._term(process)

    async def _kill_broker(self) -> None:
        self._note(f"broker SIGKILL ({self._kafka.pid})")
        await asyncio.to_thread(self._kafka.kill)
        await asyncio.sleep(self._random.uniform(0.5, 4))
        while True:
            try:
                await asyncio.to_thread(self._kafka.start)
            except KafkaSetupError as error:  # somebody's connection may have got its port meanwhile
                self._note(f"broker does not come back yet: {str(error)[:100]}")
                await asyncio.sleep(1)
            else:
                break
        self._note("broker back")

    async def _outage(self) -> None:
        mode = self._random.choice(("html_503", "drop"))
        await self._post("outage", {"on": True, "mode": mode})
        await asyncio.sleep(self._random.uniform(4, 10))
        await self._post("outage", {"on": False})
        self._note("B1 back")

    async def _lock(self) -> None:
        """A person keeps an item open."""
        item, holder = self._random.choice(generator.ITEMS[:5]), f"person {self._random.random()}"
        seconds = self._random.uniform(1, 7)
        await self._post("lock", {"items": [item], "holder": holder})
        await asyncio.sleep(seconds)
        await self._post("unlock", {"items": [item], "holder": holder})

    def _victim(self, prefix: str) -> Process | None:
        living = [
            process
            for process in self._processes.values()
            if process.name.startswith(prefix)
            and process.popen.poll() is None
            and process.asked_at is None
            and (not prefix or not process.paused)
        ]
        return self._random.choice(living) if living else None

    # ---- processes

    def _start_simulator(self) -> None:
        config = {
            "seed": self._seed,
            "speed": 0.2,
            "timezone": "Europe/London",
            "users": {"streams": PASSWORD, **{f"streams-{number}": PASSWORD for number in range(_USERS)}},
            "faults": _FAULTS,
            "companies": {DATABASE: {"with_claims": True, "master_data": generator.master_data()}},
        }
        path = self._folder / "simulator.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        with (self._folder / "simulator.log").open("wb") as log:
            self._simulator = subprocess.Popen(
                [sys.executable, "-m", "lab.simulators", "sap_b1", "--port", "0", "--config", str(path)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                start_new_session=True,
            )
        assert self._simulator.stdout is not None
        self._url = f"http://127.0.0.1:{int(self._simulator.stdout.readline().split()[-1])}"

    def _configure(self) -> None:
        warehouses = "".join(_WAREHOUSE.format(code=code, name=name) for name, code in generator.PLACES.items())
        text = _CONFIGURATION.format(
            bootstrap_servers=self._kafka.bootstrap_servers,
            service_layer_url=f"{self._url}/b1s/v2",
            database=DATABASE,
            session_limit=SESSION_LIMIT,
            warehouses=warehouses,
        )
        (self._folder / "streams.toml").write_text(text, encoding="utf-8")

    def _environment(self, user: str = "streams") -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAMS_")}
        return {**kept, "CHAOS_B1_PASSWORD": PASSWORD, "STREAMS__COMPANIES__ACME__USERNAME": user}

    def _start(self, name: str) -> None:
        user = f"streams-{self._starts}"
        self._starts += 1
        path = self._folder / f"{name}.{user}.log"
        with path.open("wb") as log:
            popen = subprocess.Popen(
                [str(_STREAMS), name.partition("-")[0], "-c", str(self._folder / "streams.toml")],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self._environment(user),
                cwd=ROOT,
                start_new_session=True,
            )
        self._processes[name] = Process(name, user, popen, path)

    async def _keep(self, names: list[str]) -> None:
        """Replace what has ended, a moment later; a process that ended by itself is noted."""
        while True:
            for name in names:
                process = self._processes[name]
                code = process.popen.poll()
                if code is None:
                    continue
                if code != -signal.SIGKILL and process.asked_at is None:
                    self._self_exits += 1
                    self._note(f"{name} ({process.user}) ended by itself with {code}")
                await asyncio.sleep(self._random.uniform(0.3, 2))
                self._start(name)
            await asyncio.sleep(0.2)

    async def _term(self, process: Process) -> None:
        while not process.listens and process.popen.poll() is None:  # noqa: ASYNC110 -- another process
            await asyncio.sleep(0.1)
        self._note(f"SIGTERM {process.name} ({process.user})")
        began = process.asked_at = time.monotonic()
        process.popen.send_signal(signal.SIGTERM)
        try:
            code: int | None = await asyncio.to_thread(process.popen.wait, 45)
        except subprocess.TimeoutExpired:
            code = None
        seconds = time.monotonic() - began
        # Whoever is killed or paused while it ends, ends otherwise; that is no fault of its own.
        if code != -signal.SIGKILL:
            self._ended.append(Ended(f"{process.name} ({process.user})", process.user, code, seconds))
        self._note(f"{process.name} ({process.user}) ended with {code} after {seconds:.1f} s")

    @staticmethod
    def _kill(process: Process) -> None:
        process.popen.kill()
        process.popen.wait()

    # ---- small parts

    def _command(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(_STREAMS), *arguments, "-c", str(self._folder / "streams.toml")],
            capture_output=True,
            text=True,
            env=self._environment(),
            check=False,
            timeout=120,
        )
        if done.returncode != 0:
            raise RuntimeError(f"streams {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def _status(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._command("status", "--json"))
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            self._note(f"no status: {str(error)[:200]}")
            return {}
        return found

    async def _post(self, route: str, body: Mapping[str, object]) -> None:
        async with httpx.AsyncClient(base_url=self._url, trust_env=False, timeout=30) as client:
            (await client.post(f"/_simulator/{route}", json=dict(body))).raise_for_status()

    async def _evidence(self, lines: tuple[Line, ...], status: Mapping[str, Any], monitor: Monitor) -> Evidence:
        async with httpx.AsyncClient(base_url=self._url, trust_env=False, timeout=60) as client:
            counters = (await client.get("/_simulator/counters")).json()
            ledger = (await client.get("/_simulator/ledger")).json()
        records = await read_records(self._kafka.bootstrap_servers)
        return Evidence(lines, records, ledger, status, monitor.samples, counters["users"], self._ended, SESSION_LIMIT)

    def _spawn(self, play: Any) -> None:
        task = asyncio.ensure_future(play)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    def _elapsed(self) -> float:
        return time.monotonic() - self._started

    def _note(self, text: str) -> None:
        line = f"{self._elapsed():6.1f} s  {text}"
        self._timeline.append(line)
        self._say(line)

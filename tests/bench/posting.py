"""The poster against one document per key and window: 50 stock events a second into a simulated B1, in virtual time.

Both get what the real windows seal of the same events, and both write through the real sink, sessions and change sets
to the real simulator at a real installation's service times. Time is virtual: minutes cost seconds, and are the same on
every machine.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import httpx
from aiokafka.structs import ConsumerRecord
from faust.types import TP

from connectors.base.log import Outgoing
from connectors.base.settings import Secret
from connectors.sap_b1.claims import Claim
from connectors.sap_b1.client import HttpServiceLayer
from connectors.sap_b1.documents import stock
from connectors.sap_b1.master_data import MasterDataCache
from connectors.sap_b1.sink import B1Sink
from lab.simulators.sap_b1.app import build_app
from lab.simulators.sap_b1.settings import ServiceLayerSettings
from lab.simulators.sap_b1.state.company import Company
from schemas.codec import Codec, embedded_codec
from schemas.records import Posting, StockBatch, StockDocument
from streams.chain.keys import document_key
from streams.config.load import Config
from streams.faust_host.batch import FetchedBatch
from streams.faust_host.watermarks import Progress
from streams.flow_control.circuit_breaker import CircuitBreaker
from streams.flow_control.lanes import Lanes
from streams.flow_control.slots import Slots
from streams.ports import Ports
from streams.posting.erp import Erp
from streams.telemetry.metrics import Metrics
from streams.worker.pipeline import ERP_STOCK, SEALED, STOCK, Pipeline
from tests.bench import corpus, world
from tests.bench.corpus import Sums
from tests.bench.harness import Bar, Check, Figure, Outcome, SumsDifferError
from tests.bench.world import World
from tests.simulation.loop import VirtualLoop
from tests.streams.fakes import MemoryLog

RATE = 50  # events a second
ITEMS = 2_000
SESSIONS, IN_FLIGHT = 4, 8
_START = datetime(2026, 3, 14, 9, tzinfo=UTC)
_TICK_S = 0.05


@dataclass(frozen=True, slots=True)
class VirtualClock:
    loop: VirtualLoop

    def now(self) -> datetime:
        return _START + timedelta(seconds=self.loop.time())

    def monotonic(self) -> float:
        return self.loop.time()


@dataclass(slots=True)
class Erp1:
    """A simulated B1 with real service times, and what it counted."""

    company: Company
    service_layer: HttpServiceLayer
    calls: Counter[str]  # of the Service Layer over HTTP, by operation; a $batch is one, however much is in it

    @classmethod
    def make(cls, clock: VirtualClock) -> "Erp1":
        company = Company("SBO_ACME", clock=clock.now, with_claims=True, master_data=world.master_data(ITEMS))
        app = build_app(
            company,
            users={"streams": world.PASSWORD},
            clock=clock.now,
            random=Random(1),
            settings=ServiceLayerSettings(speed=1.0),
        )
        calls: Counter[str] = Counter()

        def count(operation: str, _code: str, _seconds: float) -> None:
            calls[operation] += 1

        service_layer = HttpServiceLayer(
            "https://b1.example/b1s/v2",
            "SBO_ACME",
            "streams",
            Secret("env:ACME_B1_PASSWORD", world.PASSWORD),
            session_limit=SESSIONS,
            transport=httpx.ASGITransport(app),
            clock=clock,
            random=Random(1),
            on_call=count,
        )
        return cls(company, service_layer, calls)


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a run: the simulator's counters, and how long the slowest batch waited."""

    counters: Mapping[str, float]
    calls_by: Mapping[str, int]
    behind_s: float  # from the last event's seal to the last document
    units: Mapping[str, int]

    @property
    def calls(self) -> int:
        return sum(count for operation, count in self.calls_by.items() if operation not in ("login", "logout"))

    @property
    def reads(self) -> int:
        return self.calls - self.calls_by.get("change_set", 0)


class Feed:
    """Hands the records of a log to the pipeline as a transport would, in order, one batch of a partition at a time."""

    def __init__(self, log: MemoryLog, config: Config) -> None:
        self._log, self._config = log, config
        self._places: dict[tuple[str, int], tuple[int, Progress]] = {}

    async def batch(self, name: str, partition: int) -> FetchedBatch | None:
        topic = self._config.topic(name)
        at, progress = self._places.get((name, partition), (0, Progress(0)))
        records: list[Any] = []
        async for some in self._log.read(topic, partition, at):
            records += [
                ConsumerRecord(
                    topic,
                    partition,
                    one.offset,
                    one.timestamp_ms,
                    0,
                    one.key,
                    one.value,
                    None,
                    len(one.key or b""),
                    len(one.value or b""),
                    tuple(one.headers),
                )
                for one in some
            ]
        if not records:
            return None
        self._places[name, partition] = at + len(records), progress
        return FetchedBatch(lambda _tp: None, TP(topic, partition), records, progress)

    def finished(self, name: str, partition: int) -> int:
        place = self._places.get((name, partition))
        return 0 if place is None else place[1].next or 0


class Windows:
    """The real windows of all partitions, fed at the rate of the benchmark."""

    def __init__(self, config: Config, ports: Ports, log: MemoryLog, seconds: int) -> None:
        self.pipeline, self.feed = Pipeline(config, ports), Feed(log, config)
        self._config, self._ports, self._log, self._seconds = config, ports, log, seconds
        self.sums = Sums()
        self.fed = False
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        for number in range(corpus.PARTITIONS):
            partition = self.pipeline.stock_partition(number)
            await partition.open(None, 0)
            self._tasks.append(asyncio.create_task(partition.run()))
        self._tasks.append(asyncio.create_task(self._feed()))
        self._tasks.append(asyncio.create_task(self._route()))

    async def _feed(self) -> None:
        clock, topic = self._ports.clock, self._config.topic(STOCK)
        made = corpus.make(
            self._ports.codec,
            RATE * self._seconds,
            self.sums,
            seed=5,
            items=ITEMS,
            now=clock.now() + timedelta(hours=1),
        )
        start, sent = clock.monotonic(), 0
        while not self.fed:
            await asyncio.sleep(_TICK_S)
            due = int((clock.monotonic() - start) * RATE) - sent
            some = [one for _, one in zip(range(due), made, strict=False)]
            sent += len(some)
            self.fed = sent == RATE * self._seconds
            await self._log.send_many([Outgoing(topic, one.key, one.value, one.partition) for one in some])
            for number in {one.partition for one in some}:
                batch = await self.feed.batch(STOCK, number)
                if batch is not None:
                    await self.pipeline.take(STOCK, number, batch)

    async def _route(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            for number in range(corpus.PARTITIONS):
                batch = await self.feed.batch(SEALED, number)
                if batch is not None:
                    await self.pipeline.take(SEALED, number, batch)

    async def sealed(self) -> bool:
        """Everything is fed, sealed and queued."""
        for number in range(corpus.PARTITIONS):
            for name in (STOCK, SEALED):
                _, end = await self._log.bounds(self._config.topic(name), number)
                if self.feed.finished(name, number) < end:
                    return False
        return self.fed

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended


async def ours(windows: Windows, config: Config, erp: Erp1) -> Callable[[], Awaitable[bool]]:
    """The real poster on the company's queue."""
    poster = await windows.pipeline.open_poster(0, {}, 0)
    assert poster is not None

    async def settled() -> bool:
        while (batch := await windows.feed.batch(ERP_STOCK, 0)) is not None:
            await windows.pipeline.take(ERP_STOCK, 0, batch)
        _, end = await windows._log.bounds(config.topic(ERP_STOCK), 0)
        if poster.failed.done():
            poster.failed.result()
        return windows.feed.finished(ERP_STOCK, 0) == end

    return settled


class DocumentEach:
    """The rival: every key of every window becomes a document of its own, as many at a time as ours.

    With the same lanes and claims.
    """

    def __init__(self, windows: Windows, config: Config, ports: Ports, erp: Erp1) -> None:
        self.windows, self.config, self.ports = windows, config, ports
        self.tasks: set[asyncio.Task[None]] = set()
        self._lanes, self._map = Lanes(), config.maps[corpus.COMPANY]
        breaker = CircuitBreaker(corpus.COMPANY, erp.service_layer.ping, ports.clock, ports.random)
        self._erp = Erp(B1Sink(erp.service_layer), breaker, Slots(IN_FLIGHT), ports)
        self._master = MasterDataCache(erp.service_layer, ports.clock, tax_field="VatGroup")

    async def settled(self) -> bool:
        codec: Codec = self.ports.codec
        while (batch := await self.windows.feed.batch(ERP_STOCK, 0)) is not None:
            for record in batch.open():
                posting = codec.decode(record.value or b"", Posting)
                task = asyncio.create_task(self._post(codec.decode(posting.value, StockBatch), batch, record.offset))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
        _, end = await self.windows._log.bounds(self.config.topic(ERP_STOCK), 0)
        return self.windows.feed.finished(ERP_STOCK, 0) == end

    async def _post(self, batch: StockBatch, of: FetchedBatch, offset: int) -> None:
        if batch.net:
            codes = stock.codes_needed(batch, self._map)
            master = await self._erp.ask(lambda: self._master.get(codes))
            resolved = stock.resolve(batch, self._map, master)
            lines = stock.merge([resolved])
            k = document_key(corpus.COMPANY, offset, bytes(16), lines, [str(offset)])
            document = StockDocument(
                number=offset,
                prev_digest=bytes(16),
                k=k,
                company=corpus.COMPANY,
                direction=resolved.direction,
                posting_date=resolved.posting_date,
                account=resolved.account,
                lines=lines,
                batch_ks=(str(offset),),
                sealed_at=self.ports.clock.now(),
                config_version="bench",
            )
            plan = stock.build(document, self._map, master)
            claim = Claim(k, "stock_document", hashlib.sha256(k.encode()).digest()[:16], "1 bench")
            async with self._lanes.hold({resolved.item_code}):
                await self._erp.write([claim], plan.requests, lock_patience_s=60, stock=True)
        of.finish(offset)


def measure(seconds: int, window_s: float, *, rival: bool) -> Ended:
    """Run one side for so many virtual seconds, and until all is posted.

    Raises:
        SumsDifferError: B1's stock is not what the events come to.
    """
    loop = VirtualLoop()
    loop.set_exception_handler(lambda loop_, context: loop_.default_exception_handler(context))

    async def go() -> Ended:
        clock = VirtualClock(loop)
        data = world.settings(
            "127.0.0.1:1", "posting-", window={"length_s": window_s}, session_limit=SESSIONS, in_flight=IN_FLIGHT
        )
        config = world.config(data)
        log, erp = MemoryLog.of(config), Erp1.make(clock)
        log.now_ms = int(_START.timestamp() * 1000)
        ports = Ports(log, embedded_codec(), clock, Random(1), Metrics(config), lambda _company: erp.service_layer)
        windows = Windows(config, ports, log, seconds)
        await windows.open()
        settled: Callable[[], Awaitable[bool]]
        if rival:
            settled = DocumentEach(windows, config, ports, erp).settled
        else:
            settled = await ours(windows, config, erp)
        sealed_at = 0.0
        while True:
            await asyncio.sleep(_TICK_S)
            done = await settled()
            if not sealed_at and await windows.sealed():
                sealed_at = clock.monotonic()
            if sealed_at and done:
                break
        units = world.on_hand(erp.company, ITEMS)
        if units != {sku: moved for sku, moved in windows.sums.units.items() if moved}:
            raise SumsDifferError("B1's stock is not what the events come to")
        await windows.pipeline.release(range(corpus.PARTITIONS), [0])
        await windows.close()
        await erp.service_layer.close()
        return Ended(dict(erp.company.counters), dict(erp.calls), clock.monotonic() - sealed_at, units)

    try:
        return _run(loop, go())
    finally:
        loop.end()


def _run(loop: VirtualLoop, work: Coroutine[Any, Any, Ended]) -> Ended:
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(work)
    finally:
        asyncio.set_event_loop(None)


def run(place: World) -> Outcome:
    """One try: both sides on windows of 5 s (the harder case: little has come together) and on the default length."""
    figures: list[Figure] = []
    checks: list[Check] = []
    for seconds, window_s in ((40, 5.0),) if place.quick else ((180, 5.0), (300, 60.0)):
        place.progress(
            f"posting: {seconds} s at {RATE} events/s, windows of {window_s:g} s, one document per key and window"
        )
        theirs = measure(seconds, window_s, rival=True)
        place.progress("posting: the same, by the poster")
        own = measure(seconds, window_s, rival=False)
        if own.units != theirs.units:
            raise SumsDifferError("the two sides have moved different units")
        what = f"windows of {window_s:g} s"
        for name, ended in (("ours", own), ("a document each", theirs)):
            counters = ended.counters
            note = (
                f"{counters['change_sets']:.0f} change sets, {ended.reads} reads, {counters['lock_waits_own']:.0f} "
                "own lock waits, "
                f"{ended.behind_s:.1f} s behind at the end"
            )
            figures.append(Figure(f"ERP calls, {what}: {name}", "calls/s", (ended.calls / seconds,), note))
        checks += [
            Check(f"fewer ERP calls, {what}", theirs.calls / own.calls, "x", Bar("at least", 5), "reads included"),
            Check(f"own lock waits, {what}", own.counters["lock_waits_own"], "waits", Bar("is", 0)),
        ]
    return Outcome(tuple(figures), tuple(checks))

"""What the app does beside Faust: a stock partition is opened where its chain says, or waits for a person."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from connectors.base.errors import LogRefusedError, LogUnavailableError
from streams.chain.loss import ACCEPTED
from streams.faust_host import streams_app
from streams.faust_host.app import FaustApp
from streams.faust_host.streams_app import StreamsApp
from streams.faust_host.watermarks import Start
from streams.ports import none_is_fatal
from streams.posting.foreign import check_queue, queue_of
from streams.telemetry.metrics import Metrics
from streams.windows.partition import InputLostError
from streams.worker.failures import Failures
from streams.worker.fuse import Fuse
from streams.worker.pipeline import INPUTS
from tests.streams.fakes import config
from tests.streams.virtual import Clock, Loop

STOCK, SEALED = TP("stock-adjusted", 0), TP("stock-sealed", 0)


class Room:
    """Opens at `start`, once a person has decided."""

    def __init__(self, start: int, accepted: int = 0) -> None:
        self.start, self.accepted, self.no_ops = start, accepted, 7
        self.decided = True
        self.asked: list[Any] = []

    async def open(self, committed: int | None, routed: int, accepted: int) -> int:
        self.asked.append((committed, routed, accepted))
        if not self.decided:
            raise InputLostError("it is gone")
        return self.start

    async def run(self) -> None: ...


async def _settled(_tps: Any) -> None:
    """Their logs are those that were read."""


class Worker:
    """Faust's part of a `StreamsApp`; its first rewinds come before its reading has begun."""

    _open_stock, _decided, _seal = StreamsApp._open_stock, StreamsApp._decided, StreamsApp._seal

    def __init__(self, partition: Room, committed: Start | None, early: int = 0) -> None:
        self.pipeline = SimpleNamespace(stock_partition=lambda _number: partition)
        self._logs = SimpleNamespace(settle=_settled)
        self.committed, self.early = committed, early
        self.waits: dict[str, str] = {}
        self.said: list[Any] = []
        self._ports = SimpleNamespace(
            metrics=SimpleNamespace(
                vitals=SimpleNamespace(expect=self.waits.__setitem__, ready=lambda name: self.waits.pop(name, None))
            )
        )

    def watermark(self, tp: TP) -> Start | None:
        return self.committed if tp == STOCK else Start(3, {})

    async def rewind(self, tp: TP, start: Start) -> bool:
        self.early -= 1
        if self.early < 0:
            self.said.append((start.offset, start.counts))
        return self.early < 0

    def pause(self, tp: TP) -> None: ...

    def resume(self, tp: TP) -> None:
        self.said.append(tp.topic)

    def _start(self, coroutine: Any) -> None:
        coroutine.close()


def play(worker: Worker, partition: Room, meanwhile: Any = None) -> None:
    async def go() -> None:
        opening = asyncio.create_task(worker._open_stock(STOCK, SEALED))  # type: ignore[misc]  # a worker played
        if meanwhile is not None:
            await meanwhile(worker, partition)
        await opening

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(go())


def test_a_partition_is_read_from_where_its_chain_ends() -> None:
    partition = Room(start=9)
    worker = Worker(partition, Start(5, {("stock_adjusted", "no_op"): 1}))
    play(worker, partition)
    assert partition.asked == [(5, 3, 0)]
    assert worker.said == [(9, {("stock_adjusted", "no_op"): 7}), "stock-adjusted", "stock-sealed"]


def test_a_partition_that_is_lost_is_not_ready_and_is_read_when_a_person_has_decided() -> None:
    partition = Room(start=0, accepted=4)
    partition.decided = False
    worker = Worker(partition, Start(100, {}), early=3)

    async def decide(worker: Worker, partition: Room) -> None:
        await asyncio.sleep(3 * streams_app.DECISION_POLL_S)
        assert worker.waits == {"stock-adjusted/0": "it is gone"}
        assert worker.said == []
        partition.decided = True

    play(worker, partition, decide)
    assert worker.waits == {}
    # Backwards, and only once reading has begun: what is committed is of a log that is gone
    assert worker.said == [(0, {("stock_adjusted", "no_op"): 7, ACCEPTED: 4}), "stock-adjusted", "stock-sealed"]


def test_a_commit_that_follows_the_acceptance_is_left_alone() -> None:
    partition = Room(start=12, accepted=4)
    worker = Worker(partition, Start(12, {ACCEPTED: 4}))
    play(worker, partition)
    assert partition.asked == [(12, 3, 4)]
    assert worker.said == ["stock-adjusted", "stock-sealed"]


def test_a_partition_that_goes_to_somebody_else_keeps_nobody_from_being_ready() -> None:
    partition = Room(start=0)
    partition.decided = False
    worker = Worker(partition, None)

    async def go() -> None:
        opening = asyncio.create_task(worker._open_stock(STOCK, SEALED))  # type: ignore[misc]  # a worker played
        await asyncio.sleep(1)
        assert worker.waits
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(go())
    assert worker.waits == {}


class Failing:
    """A worker whose partitions fail; `said` is what was paused, rewound and resumed, in order."""

    _take, _hold, _try_again, _watch, _seal = (
        StreamsApp._take,
        StreamsApp._hold,
        StreamsApp._try_again,
        StreamsApp._watch,
        StreamsApp._seal,
    )

    def __init__(self, error: Exception) -> None:
        self.metrics = Metrics(config())
        self._failures = Failures(self.metrics.components, Clock())
        self._held: set[Any] = set()
        self._fuse = Fuse(self, none_is_fatal)  # type: ignore[arg-type]
        self._config = SimpleNamespace(name_of=str)
        self._logs = SimpleNamespace(settle=_settled)
        self._names = {TP(name, 0): TP(name, 0) for name in INPUTS}
        self.said: list[str] = []
        self.tasks: list[Any] = []
        self.pipeline = SimpleNamespace(
            take=self._fail,
            company_of=lambda _partition: "acme",
            release=self._release,
            drop=lambda numbers: self.said.append(f"drop {numbers}"),
        )
        self.error = error

    async def _fail(self, *_arguments: Any) -> None:
        raise self.error

    async def _release(self, _stock: Any, companies: Any) -> None:
        self.said.append(f"release {companies}")

    def pause(self, tp: TP) -> None:
        self.said.append(f"pause {tp.topic}")

    def resume(self, tp: TP) -> None:
        self.said.append(f"resume {tp.topic}")

    def watermark(self, _tp: TP) -> Start:
        return Start(7, {})

    async def rewind(self, tp: TP, start: Start) -> bool:
        self.said.append(f"rewind {tp.topic} {start.offset}")
        return True

    async def _open_poster(self, _names: Any, partition: int) -> bool:
        self.said.append(f"open {partition}")
        return True

    async def _open_stock(self, stock: TP, sealed: TP, *, again: bool) -> None:
        self.said.append(f"walk {stock.topic} {sealed.topic} {again}")

    def _start(self, coroutine: Any) -> None:
        self.tasks.append(asyncio.create_task(coroutine))


@pytest.mark.parametrize(
    ("topic", "kind", "name", "said"),
    [
        (
            "order-placed",
            "partition",
            "order-placed/0",
            ["pause order-placed", "rewind order-placed 7", "resume order-placed"],
        ),
        (
            "erp-stock",
            "company",
            "acme",
            [
                "pause erp-orders",
                "pause erp-stock",
                "release (0,)",
                "rewind erp-orders 7",
                "rewind erp-stock 7",
                "open 0",
                "resume erp-orders",
                "resume erp-stock",
            ],
        ),
        (
            "stock-sealed",
            "partition",
            "stock-adjusted/0",
            [
                "pause stock-adjusted",
                "pause stock-sealed",
                "drop (0,)",
                "rewind stock-sealed 7",
                "walk stock-adjusted stock-sealed True",
            ],
        ),
    ],
)
def test_what_fails_is_held_alone_said_and_tried_again(topic: str, kind: str, name: str, said: list[str]) -> None:
    async def go() -> None:
        worker, batch = Failing(LogRefusedError("too large")), SimpleNamespace(partition=0, tp=TP("order-placed", 0))
        for _ in range(2):  # the second is of the same failure
            await worker._take(topic, batch)  # type: ignore[misc, arg-type]  # a worker played
        (state,) = worker.metrics.components.not_working()
        assert (state.kind, state.name, state.reason, state.owner) == (kind, name, "failed", "platform")
        assert len(worker.tasks) == 1
        await asyncio.sleep(29)
        assert not any(each.startswith(("rewind", "resume", "open", "walk")) for each in worker.said)
        await worker.tasks[0]
        assert worker.said == said
        assert not worker.metrics.components.not_working()
        began = asyncio.get_running_loop().time()
        await worker._take(topic, batch)  # type: ignore[misc, arg-type]
        await worker.tasks[1]
        assert asyncio.get_running_loop().time() - began == pytest.approx(60)

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(go())


class Foreign(Failing):
    """Its queue has been another company's until a person has ended that one."""

    _open_poster = StreamsApp._open_poster  # type: ignore[assignment]
    retired: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__(LogRefusedError("too large"))
        self.pipeline.open_poster = self._checked
        self._stamp = StreamsApp._stamp
        self.add = FaustApp.add

    def watermark(self, tp: TP) -> Start:
        return Start(7, queue_of("other") if tp.topic == "erp-orders" else {})

    async def _checked(self, partition: int, counts: Any, *_hooks: Any) -> Any:
        check_queue("acme", partition, counts, self.retired)
        self.said.append(f"open {partition}")
        return SimpleNamespace(failed=asyncio.get_running_loop().create_future())


def test_a_company_whose_queue_is_anothers_is_held_alone_and_goes_on_once_that_one_is_ended() -> None:
    async def go() -> None:
        worker = Foreign()
        assert not await worker._open_poster(worker._names, 0)  # type: ignore[misc, arg-type]  # a worker played
        assert worker.said == ["pause erp-orders", "pause erp-stock", "release (0,)"]
        await asyncio.sleep(31)
        (state,) = worker.metrics.components.not_working()
        assert (state.kind, state.name, state.reason, state.owner) == (
            "company",
            "acme",
            "foreign_partition",
            "platform",
        )
        assert "streams company retire other" in (state.detail or "")
        worker.retired = ("other",)
        await asyncio.sleep(61)
        assert not worker.metrics.components.not_working()
        assert worker.said[-3:] == ["open 0", "resume erp-orders", "resume erp-stock"]

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(go())


async def test_kafka_away_ends_the_process_and_a_poster_or_a_seal_that_fails_does_not() -> None:
    worker = Failing(LogUnavailableError("no broker"))
    with pytest.raises(LogUnavailableError):
        await worker._take("order-placed", SimpleNamespace(partition=0, tp=TP("order-placed", 0)))  # type: ignore[misc, arg-type]
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    failed.set_exception(TypeError("a bug"))
    await worker._watch(0, failed)  # type: ignore[misc]

    async def run() -> None:
        raise LogRefusedError("too large")

    await worker._seal(SimpleNamespace(partition=0, run=run))  # type: ignore[misc, arg-type]
    assert {state.name for state in worker.metrics.components.not_working()} == {"acme", "stock-adjusted/0"}
    for task in worker.tasks:
        task.cancel()

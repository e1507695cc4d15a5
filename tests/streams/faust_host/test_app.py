"""What the app does beside Faust: a stock partition is opened where its chain says, or waits for a person."""

import asyncio
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from streams.chain.loss import ACCEPTED
from streams.faust_host import streams_app
from streams.faust_host.app import FaustApp
from streams.faust_host.streams_app import StreamsApp
from streams.faust_host.watermarks import Start
from streams.posting.foreign import check_queue, queue_of
from streams.windows.partition import InputLostError
from tests.streams.virtual import Loop

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

    _open_stock, _decided = StreamsApp._open_stock, StreamsApp._decided

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


async def _opened(owner: str) -> tuple[dict[str, str], set[TP], list[int]]:
    """Two companies' posters are opened; what the commit of the first one's queue names is `owner`."""
    orders = {number: TP("erp-orders", number) for number in (0, 1)}
    stock = {number: TP("erp-stock", number) for number in (0, 1)}
    waits, paused, opened = dict[str, str](), set[TP](), list[int]()

    async def open_poster(partition: int, counts: Any, *_hooks: Any) -> Any:
        check_queue("acme", partition, counts)
        opened.append(partition)
        return SimpleNamespace(failed=asyncio.get_running_loop().create_future())

    worker = SimpleNamespace(
        pipeline=SimpleNamespace(open_poster=open_poster),
        watermark=lambda tp: Start(0, queue_of(owner) if tp == orders[0] else {}),
        pause=paused.add,
        _start=lambda coroutine: coroutine.close(),
        _stamp=StreamsApp._stamp,
        add=FaustApp.add,
        _watch=StreamsApp._watch,
        _ports=SimpleNamespace(metrics=SimpleNamespace(vitals=SimpleNamespace(expect=waits.__setitem__))),
    )
    names: Any = {tp: tp for tp in (*orders.values(), *stock.values())}
    await asyncio.gather(*(StreamsApp._open_poster(worker, names, number) for number in (0, 1)))  # type: ignore[arg-type]  # a worker played
    return waits, paused, opened


async def test_a_company_whose_queue_is_anothers_is_held_alone() -> None:
    waits, paused, opened = await _opened("other")
    assert opened == [1]
    assert paused == {TP("erp-orders", 0), TP("erp-stock", 0)}
    assert "streams company retire other" in waits["erp-orders/0"]
    assert await _opened("acme") == ({}, set(), [0, 1])

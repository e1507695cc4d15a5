"""What of the transport can be shown without a broker; the rest is in tests/integration/test_transport.py."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka.consumer.fetcher import FetchResult, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import ConsumerRecord, TopicPartition
from faust.types import TP

from streams.faust_host.assignment import Assignment
from streams.faust_host.commits import Commits
from streams.faust_host.consumer import Consumer
from streams.faust_host.consumer_thread import RawFetches
from streams.faust_host.starts import Starts
from streams.faust_host.watermarks import Start

TPS = {TP("a", 0)}


class Group:
    """A consumer whose partitions come and go, and its app; an assignment begins when `on_assigned` is entered."""

    def __init__(self) -> None:
        self.began = 0
        self.let_go = asyncio.Event()  # a cancelled assignment closes what it has opened, which takes time
        self.should_stop, self.consumer_generation_id, self.drain_timeout = False, 1, 5.0
        held = Assignment()
        commits = Commits(held, self._commit_as, lambda: 1, lambda _done: None)
        self.starts = Starts(held, commits, self, self, lambda: 1)
        self.consumer: Any = Consumer.__new__(Consumer)
        self.consumer.__dict__.update(
            app=self,
            held=held,
            starts=self.starts,
            assignment=lambda: TPS,
            _releasing=asyncio.Lock(),
            stop_flow=lambda: None,
            maybe_wait_for_commit_to_finish=self._nothing,
            commit=self._nothing,
        )
        self.flow_control = self

    def suspend(self) -> None: ...

    def clear(self) -> None: ...

    async def _nothing(self) -> None: ...

    async def _commit_as(self, _watermarks: Any, _generation: int) -> bool:
        return True

    async def crash(self, error: BaseException) -> None:
        raise error

    async def committed(self, _tps: set[TP]) -> Mapping[TP, Any]:
        return {}

    async def earliest(self, tps: list[TP]) -> Mapping[TP, int]:
        return dict.fromkeys(tps, 0)

    async def seek_all(self, offsets: Mapping[TP, int | None]) -> None: ...

    async def positions(self, _tps: set[TP]) -> Mapping[TP, Start]:
        return {}

    async def on_assigned(self, _tps: set[TP]) -> None:
        self.began += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await self.let_go.wait()
            raise


async def test_partitions_are_not_given_back_before_the_assignment_under_way_has_let_go_of_them() -> None:
    group = Group()
    finding = asyncio.create_task(group.consumer._find_starts())
    await asyncio.sleep(0.01)
    giving = asyncio.create_task(group.consumer.quiesce(TPS))
    await asyncio.sleep(0.05)
    assert (group.began, giving.done()) == (1, False)
    group.let_go.set()
    await asyncio.gather(giving, finding)
    assert not group.starts.under_way


async def test_an_assignment_that_ends_late_does_not_hide_the_next_one() -> None:
    group = Group()
    first = asyncio.create_task(group.consumer._find_starts())
    await asyncio.sleep(0.01)
    group.drain_timeout = 0.01
    await group.consumer.quiesce(TPS)
    second = asyncio.create_task(group.consumer._find_starts())
    await asyncio.sleep(0.01)
    under_way = group.starts._finding
    group.let_go.set()
    await first
    assert group.began == 2
    assert group.starts._finding is under_way is not None
    await group.consumer.quiesce(TPS)
    await second
    assert under_way.cancelled()


def test_fetched_records_stay_as_they_were_decoded() -> None:
    builder = DefaultRecordBatchBuilder(2, 0, 0, 0, 0, 0, 1_000_000)
    builder.append(0, 1_000, b"key", b"value", [("name", b"x")])
    tp = TopicPartition("t", 0)
    fetched = PartitionRecords(tp, MemoryRecords(bytes(builder.build())), [], 0, None, None, True, 0)
    RawFetches()[tp] = FetchResult(tp, assignment=None, partition_records=fetched, backoff=0)
    (record,) = fetched
    assert not isinstance(record, ConsumerRecord)
    assert (record.offset, record.key, record.value, list(record.headers)) == (0, b"key", b"value", [("name", b"x")])
    assert fetched.next_fetch_offset == 1

"""What is fetched, delivered, committed and read from where: each rule of the host by itself, without Faust."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from streams.faust_host.assignment import Assignment
from streams.faust_host.batch import FetchedBatch
from streams.faust_host.commits import Commits
from streams.faust_host.consumer import Consumer
from streams.faust_host.consumer_thread import ConsumerThread
from streams.faust_host.starts import Starts
from streams.faust_host.watermarks import Counts, Progress, Start
from tests.streams.records import raw

A, B = TP("a", 0), TP("b", 0)
COUNTS = {("stock_adjusted", "no_op"): 3}


def batch(progress: Progress, *offsets: int, tp: TP = A, size: int = 1) -> FetchedBatch:
    return FetchedBatch(lambda _: None, tp, [raw(tp.topic, offset, b"x" * size) for offset in offsets], progress)


class Group:
    """Two partitions, what the broker has of them, and what it is asked for."""

    def __init__(self, committed: Mapping[TP, OffsetAndMetadata] | None = None) -> None:
        self.generation, self.takes, self.at_broker = 1, True, dict(committed or {})
        self.sought: dict[TP, int | None] = {}
        self.starts_at: dict[TP, Start] = {}
        self.asked: list[tuple[Mapping[TP, OffsetAndMetadata], int]] = []
        self.held = Assignment()
        self.commits = Commits(self.held, self.commit_as, lambda: self.generation, lambda done: None)
        self.starts = Starts(self.held, self.commits, self, self, lambda: self.generation)

    async def commit_as(self, watermarks: Mapping[TP, OffsetAndMetadata], generation: int) -> bool:
        self.asked.append((watermarks, generation))
        return self.takes

    async def committed(self, tps: set[TP]) -> Mapping[TP, OffsetAndMetadata]:
        return {tp: at for tp, at in self.at_broker.items() if tp in tps}

    async def earliest(self, tps: list[TP]) -> Mapping[TP, int]:
        return dict.fromkeys(tps, 0)

    async def seek_all(self, offsets: Mapping[TP, int | None]) -> None:
        self.sought.update(offsets)

    async def positions(self, tps: set[TP]) -> Mapping[TP, Start]:
        return self.starts_at

    async def on_assigned(self, tps: set[TP]) -> None: ...

    async def crash(self, reason: BaseException) -> None:
        raise reason

    async def assigned(self, *tps: TP) -> None:
        await self.starts.find(set(tps))
        await self.starts.seek(set(tps))


# ---- back-pressure


def test_a_partition_that_reaches_its_cap_is_fetched_again_when_half_of_it_is_finished() -> None:
    held, progress = Assignment(), Progress(0)
    held.progress = {A: progress, B: Progress(0)}
    taken = progress.take(range(10))
    assert held.wanted({A, B}, 10, 10**9) == {B}
    for offset in range(4):
        progress.finish(taken, offset)
    assert held.wanted({A, B}, 10, 10**9) == {B}
    progress.finish(taken, 4)
    assert held.wanted({A, B}, 10, 10**9) == {A, B}


def test_too_many_bytes_stop_every_partition_that_has_some_open_until_half_of_them_are_finished() -> None:
    """One that has nothing open is fetched all the same: what stands on others does not starve it."""
    held, progress, other = Assignment(), Progress(0), Progress(0)
    held.progress = {A: progress, B: other}
    taken = [progress.take([n], 400) for n in range(3)]
    assert held.wanted({A, B}, 99, 1_000) == {B}
    other.take([0], 1)
    assert held.wanted({A, B}, 99, 1_000) == set()
    progress.finish(taken[0], 0)
    assert held.wanted({A, B}, 99, 1_000) == set()
    progress.finish(taken[1], 1)
    assert held.wanted({A, B}, 99, 1_000) == {A, B}


def test_neither_a_paused_partition_is_fetched_nor_one_whose_batch_nobody_has_opened() -> None:
    held = Assignment()
    held.progress = {A: Progress(0), B: Progress(0)}
    held.pause(A)
    assert held.wanted({A, B}, 99, 10**9) == {B}
    held.resume(A)
    held.unopened[B] = batch(held.progress[B], 0, tp=B)
    assert held.wanted({A, B}, 99, 10**9) == {A}


def test_a_batch_of_before_a_restart_is_dead_and_counts_for_nothing() -> None:
    held, old = Assignment(), Progress(0)
    held.progress = {A: old}
    fetched = batch(old, 0, 1)
    held.restart(A, Progress(7))
    assert fetched.open() == ()
    assert not fetched.live
    assert held.progress[A].next == 7


def test_gaps_between_offsets_are_nothing_that_has_to_be_finished() -> None:
    progress = Progress(0)
    fetched = batch(progress, 1, 3)
    for record in fetched.open():
        fetched.finish(record.offset)
    assert (progress.next, progress.open_records) == (4, 0)


# ---- what a fetch brought


@pytest.mark.parametrize("happens", ["nothing", "rewound", "given back", "flow stopped"])
async def test_what_was_fetched_before_a_rebalance_is_not_delivered_after_it(happens: str) -> None:
    held = Assignment()
    held.progress = {A: Progress(0)}
    consumer: Any = Consumer.__new__(Consumer)

    async def fetch(tps: set[TP], wait_s: float) -> Any:
        if happens == "rewound":
            held.restart(A, Progress(0))
        elif happens == "given back":
            held.progress[A].live = False
        elif happens == "flow stopped":
            consumer.flow_active = False
        return {A: [raw("a", 0, b"x")]}

    consumer.__dict__.update(
        app=SimpleNamespace(max_open=99, max_open_bytes=10**9, consumer_generation_id=1),
        held=held,
        starts=SimpleNamespace(reads=True, fetching=asyncio.Lock()),
        stalls=SimpleNamespace(delivered=lambda tp, end: None),
        flow_active=True,
        _getmany=fetch,
        _get_active_partitions=lambda: {A},
    )
    delivered = [tp async for tp, _ in consumer.getmany(1.0)]
    assert delivered == ([A] if happens == "nothing" else [])
    assert bool(held.unopened) == (happens == "nothing")


# ---- commits


async def test_a_commit_that_the_group_refuses_is_due_again() -> None:
    group = Group()
    await group.assigned(A)
    fetched = batch(group.held.progress[A], 0, 1)
    fetched.open()
    fetched.finish_through(1)
    group.takes = False
    assert not await group.commits.commit([A])
    assert group.commits.is_due(A)
    group.takes = True
    assert await group.commits.commit([A])
    assert not group.commits.is_due(A)


async def test_a_commit_that_is_answered_after_a_rebalance_is_of_another_assignment() -> None:
    group = Group()
    await group.assigned(A)
    group.held.progress[A].note({("term", ""): 1})
    answer = asyncio.Event()
    commit = group.commit_as

    async def slow(watermarks: Mapping[TP, OffsetAndMetadata], generation: int) -> bool:
        await answer.wait()
        return await commit(watermarks, generation)

    group.commits._commit_as = slow
    committing = asyncio.create_task(group.commits.commit([A]))
    await asyncio.sleep(0)
    group.generation = 2
    group.commits.clear()
    answer.set()
    assert await committing
    assert group.asked[-1][1] == 1
    assert group.commits.is_due(A)


async def test_a_commit_is_decided_when_the_one_before_it_is_through() -> None:
    """aiokafka tries one again after a pause, and would put its older watermark over the newer one."""
    group = Group({A: OffsetAndMetadata(0, "")})
    await group.assigned(A)
    progress, answers = group.held.progress[A], [asyncio.Event(), asyncio.Event()]
    taken = progress.take(range(2))
    at_broker: list[int] = []

    async def tried_again(watermarks: Mapping[TP, OffsetAndMetadata], generation: int) -> bool:
        group.asked.append((watermarks, generation))
        await answers[len(group.asked) - 1].wait()
        at_broker.append(watermarks[A].offset)
        return True

    group.commits = Commits(group.held, tried_again, lambda: group.generation, lambda done: None)
    progress.finish(taken, 0)
    first = asyncio.create_task(group.commits.stamp(A, {("fuse", "open"): 1}))
    await asyncio.sleep(0)
    progress.finish(taken, 1)
    second = asyncio.create_task(group.commits.commit([A]))
    for answer in reversed(answers):
        answer.set()
        await asyncio.sleep(0)
    assert await first
    assert await second
    assert at_broker == [1, 2]
    assert not group.commits.is_due(A)


async def test_nothing_is_committed_with_another_membership_than_it_was_decided_in() -> None:
    sent: list[Any] = []

    async def commit(offsets: Any) -> None:
        sent.append(offsets)

    for membership, taken in ((7, True), (8, False), (-1, False)):
        client = SimpleNamespace(_coordinator=SimpleNamespace(generation=membership), commit=commit)
        thread: Any = ConsumerThread.__new__(ConsumerThread)
        thread.__dict__["_ensure_consumer"] = lambda client=client: client
        assert await thread.commit_watermarks({A: OffsetAndMetadata(3, "")}, 7) is taken
    assert len(sent) == 1


# ---- where reading starts


async def test_the_apps_start_counts_and_offset_take_the_place_of_the_commits() -> None:
    group = Group({A: OffsetAndMetadata(5, '{"stock_adjusted":{"no_op":1}}'), B: OffsetAndMetadata(9, "")})
    group.starts_at = {A: Start(12, COUNTS)}
    await group.assigned(A, B)
    assert group.sought == {A: 12, B: 9}
    assert group.held.progress[A].counts == COUNTS
    assert group.commits.is_due(A)
    assert not group.commits.is_due(B)


async def test_a_start_without_counts_keeps_those_of_the_commit() -> None:
    group = Group({A: OffsetAndMetadata(5, '{"stock_adjusted":{"no_op":1}}')})
    group.starts_at = {A: Start(4)}
    await group.assigned(A)
    counts: Counts = group.held.progress[A].counts
    assert (group.sought[A], counts) == (4, {("stock_adjusted", "no_op"): 1})


async def test_a_rewind_leaves_alone_what_is_being_given_back_or_is_not_read_yet() -> None:
    group = Group()
    await group.assigned(A)
    assert await group.starts.rewind(A, Start(3))
    group.held.progress[A].live = False
    assert not await group.starts.rewind(A, Start(9))
    other = Group()
    await other.starts.find({A})
    assert not await other.starts.rewind(A, Start(9))
    assert (group.sought[A], other.sought) == (3, {})

"""What ends whoever reads it is refused after two processes; kills refuse nothing, and one costs nothing."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest
from faust.types import TP

from streams.faust_host.watermarks import Start
from streams.ports import Counts
from streams.worker import fuse
from streams.worker.fuse import MAX_DEATHS, Fuse
from streams.worker.pipeline import REFUSABLE
from tests.streams.records import FakeBatch, raw


class ProcessEnded(BaseException):
    """As by a signal: nothing in the process handles it."""


class Group:
    """What is committed of one partition, over the lives of its processes.

    `fatal` records end whoever reads them; at those of `killed_at` somebody kills the process, when it has handed over
    what lies before and on that offset.
    """

    def __init__(self, count: int, *fatal: int, topic: str = "order-placed", stays_open: int = 0) -> None:
        self.count, self.fatal, self.tp, self.stays_open = count, fatal, TP(topic, 0), stays_open
        self.killed_at: set[int] = set()
        self.at, self.counts = 0, dict[tuple[str, str], int]()
        self.handed_over: list[int] = []
        self.refused: list[int] = []
        self.trials: list[int] = []
        self.commits = 0

    async def first_fatal(self, topic: str, values: Sequence[bytes]) -> int | None:
        assert topic == self.tp.topic
        self.trials.append(len(values))
        return next((index for index, value in enumerate(values) if int(value) in self.fatal), None)

    def watermark(self, _tp: TP) -> Start:
        return Start(self.at, dict(self.counts))

    async def stamp_all(self, tps: Collection[TP], counts: Mapping[TP, Counts]) -> bool:
        for tp in tps:
            self.counts.update(counts[tp])
        self.commits += 1
        return True

    async def _end_of(self, _tp: TP) -> int:
        return self.count

    async def live(self, *, batch_size: int = 5_000) -> bool:
        """One process, from its start to its end; whether that was in order."""
        own = Fuse(self, self.first_fatal)
        await own.begin([self.tp], self._end_of)
        try:
            for start in range(self.at, self.count, batch_size):
                end = min(start + batch_size, self.count)
                batch = FakeBatch([raw(self.tp.topic, n, b"%d" % n) for n in range(start, end)])
                if own.is_careful(self.tp):
                    await own.take(self.tp, self.tp.topic, batch, self._hand_over, self._refuse)
                else:
                    await self._hand_over(batch)
        except ProcessEnded:
            return False
        self.at = self.count
        self.counts.update(own.end([self.tp])[self.tp])
        return True

    async def _hand_over(self, batch: Any) -> None:
        offsets = [record.offset for record in batch.open()]
        if any(offset in self.fatal for offset in offsets):
            raise ProcessEnded
        for offset in offsets:
            self.handed_over.append(offset)
            batch.finish(offset)
            self.at = max(self.at, offset + 1 - self.stays_open)
            if offset in self.killed_at:
                raise ProcessEnded

    async def _refuse(self, single: Any, error: str) -> None:
        assert "2 processes" in error
        self.refused.append(single.record.offset)
        single.finish(single.record.offset)


@pytest.mark.parametrize("topic", REFUSABLE)
@pytest.mark.parametrize(("count", "fatal"), [(1, 0), (200, 0), (200, 7), (200, 199)])
async def test_what_ends_whoever_reads_it_is_refused_after_two_processes(topic: str, count: int, fatal: int) -> None:
    group = Group(count, fatal, topic=topic)
    assert [await group.live() for _ in range(MAX_DEATHS + 1)] == [False, False, True]
    assert group.refused == [fatal]
    assert set(group.handed_over) == set(range(count)) - {fatal}
    assert await group.live()
    assert not any(group.counts.values())


async def test_one_is_found_among_several_fetches() -> None:
    group = Group(900, 450)
    assert [await group.live(batch_size=100) for _ in range(MAX_DEATHS + 1)] == [False, False, True]
    assert group.refused == [450]
    assert group.trials == [100, 49, 100, 100, 100, 100]


async def test_several_of_them_are_found_at_once() -> None:
    group = Group(50, 3, 4, 30, 49)
    assert [await group.live() for _ in range(3)] == [False, False, True]
    assert group.refused == [3, 4, 30, 49]
    assert len(group.handed_over) == 46


@pytest.mark.parametrize("topic", REFUSABLE)
@pytest.mark.parametrize("kills", [2, 6])
async def test_kills_at_a_record_that_was_passed_on_refuse_nothing(topic: str, kills: int) -> None:
    group = Group(100, topic=topic, stays_open=20)
    group.killed_at = {30}
    assert not any([await group.live() for _ in range(kills)])
    group.killed_at = set()
    assert await group.live()
    assert group.handed_over.count(30) == kills + 1
    assert group.refused == []


async def test_kills_of_idle_processes_make_no_suspects() -> None:
    group = Group(0)
    for count in range(1, 9):
        group.count = count  # it gets a record, which ends well; then it is killed
        group.killed_at = {count - 1}
        assert not await group.live()
    assert group.trials == []


async def test_suspects_stay_suspects_though_their_partition_is_given_back_before_they_are_read() -> None:
    group = Group(10, 4)
    assert [await group.live() for _ in range(2)] == [False, False]
    for _ in range(3):
        own = Fuse(group, group.first_fatal)
        await own.begin([group.tp], group._end_of)
        assert own.is_careful(group.tp)
        group.counts.update(own.end([group.tp])[group.tp])
    assert await group.live()
    assert group.refused == [4]


async def test_a_partition_that_went_to_somebody_else_meanwhile_is_left_to_them() -> None:
    group = Group(10, 4)
    assert [await group.live() for _ in range(2)] == [False, False]
    batch = FakeBatch([raw("order-placed", n, b"%d" % n) for n in range(10)])

    async def slow(topic: str, values: Sequence[bytes]) -> int | None:
        batch.live = False
        return await group.first_fatal(topic, values)

    own = Fuse(group, slow)
    await own.begin([group.tp], group._end_of)
    await own.take(group.tp, "order-placed", batch, group._hand_over, group._refuse)
    assert group.refused == group.handed_over == []


async def test_what_came_after_the_last_start_is_no_suspect() -> None:
    group = Group(3, 0)
    assert [await group.live() for _ in range(2)] == [False, False]
    group.fatal, third = (), Fuse(group, group.first_fatal)
    await third.begin([group.tp], group._end_of)
    for records in ([raw("order-placed", n, b"%d" % n) for n in range(2)], [raw("order-placed", 2, b"2")]):
        assert third.is_careful(group.tp)
        await third.take(group.tp, "order-placed", FakeBatch(records), group._hand_over, group._refuse)
    assert not third.is_careful(group.tp)
    assert group.trials == [2, 1]


async def test_a_process_that_ends_in_order_and_one_after_a_kill_cost_one_commit() -> None:
    group = Group(100, stays_open=50)
    for number in range(1, 4):
        assert await group.live()
        assert group.commits == number
        group.count += 100
    group.killed_at = {350}
    assert not await group.live()
    group.killed_at = set()
    assert await group.live()
    assert group.commits == 5
    assert await group.live()
    assert group.trials == []
    assert not any(group.counts.values())


async def test_deaths_that_are_far_from_each_other_make_no_suspects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuse, "MAX_SUSPECTS", 100)
    group = Group(400)
    for killed_at in (20, 150, 280):
        group.killed_at = {killed_at}
        assert not await group.live()
    assert group.trials == []

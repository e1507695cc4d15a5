"""A record that ends whoever reads it is refused after two processes; on the ordinary way the fuse costs nothing."""

from collections.abc import Collection, Mapping
from typing import Any

import pytest
from faust.types import TP

from streams.faust_host.watermarks import Start
from streams.ports import Counts
from streams.worker.fuse import FETCHED_RECORDS, FEW_RECORDS, MAX_TRIES, Fuse
from tests.streams.records import FakeBatch, raw

FACTS = TP("order-placed", 0)


class ProcessEnded(BaseException):
    """As by a signal: nothing in the process handles it."""


class Group:
    """What is committed of one partition, over the lives of its processes; each record is committed when it is done."""

    def __init__(self, count: int, *killers: int) -> None:
        self.count, self.killers = count, killers
        self.at, self.counts = 0, dict[tuple[str, str], int]()
        self.handled: list[int] = []
        self.refused: list[int] = []
        self.commits = 0
        self.tried: list[bytes] = []

    async def ends_its_reader(self, type_name: str, value: bytes) -> bool:
        assert type_name == "order_placed"
        self.tried.append(value)
        return int(value) in self.killers

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
        fuse = Fuse(self, self.ends_its_reader)
        await fuse.begin([FACTS], self._end_of)
        try:
            while self.at < self.count:
                batch = FakeBatch(
                    [raw("order-placed", n, b"%d" % n) for n in range(self.at, min(self.at + batch_size, self.count))]
                )
                if fuse.is_careful(FACTS):
                    await fuse.take(FACTS, "order_placed", batch, self._hand_over, self._refuse)
                else:
                    await self._hand_over(batch)
        except ProcessEnded:
            return False
        self.counts.update(fuse.end([FACTS])[FACTS])
        return True

    async def _hand_over(self, batch: Any) -> None:
        records = batch.open()
        if any(record.offset in self.killers for record in records):
            raise ProcessEnded
        for record in records:
            batch.finish(record.offset)
            self.handled.append(record.offset)
            self.at = record.offset + 1

    async def _refuse(self, single: Any, error: str) -> None:
        assert "2 processes" in error
        self.refused.append(single.record.offset)
        self.at = single.record.offset + 1


@pytest.mark.parametrize(("count", "killer", "deaths"), [(1, 0, 2), (200, 0, 3), (200, 7, 3), (200, 199, 3)])
async def test_the_record_that_ends_processes_is_refused_and_all_others_are_handled_once(
    count: int, killer: int, deaths: int
) -> None:
    group = Group(count, killer)
    ended = 0
    while not await group.live():
        ended += 1
        assert ended < 9
    assert group.refused == [killer]
    assert group.handled == [n for n in range(count) if n != killer]
    assert ended == deaths
    assert not any(group.counts.values())


async def test_two_such_records_are_both_found() -> None:
    group = Group(50, 3, 30)
    for _ in range(9):
        if await group.live():
            break
    assert group.refused == [3, 30]
    assert len(group.handled) == 48


async def test_a_process_that_ends_in_order_leaves_nothing_behind_and_commits_once() -> None:
    group = Group(10_000)
    for _ in range(3):
        assert await group.live()
    assert group.commits == 3
    assert not any(group.counts.values())


async def test_after_a_kill_only_a_few_records_are_taken_one_by_one_where_work_went_on() -> None:
    group = Group(10_000)
    group.killers = (6_000,)  # somebody's signal, when it had handled a whole fetch
    assert not await group.live()
    group.killers, group.commits = (), 0
    assert await group.live()
    assert group.commits == 1 + FEW_RECORDS
    assert group.handled == list(range(10_000))
    assert not group.refused


async def test_where_nothing_was_finished_a_whole_fetch_is_taken_one_by_one() -> None:
    group = Group(10_000, 20)
    assert not await group.live()
    group.killers, group.commits = (), 0
    assert await group.live()
    assert group.commits == 1 + FETCHED_RECORDS


async def test_kills_that_hit_different_records_refuse_none() -> None:
    group = Group(100, 5)
    assert not await group.live()
    for killer in (5, 6, 7, 8):
        group.killers = (killer,)
        assert not await group.live()
    group.killers = ()
    assert await group.live()
    assert not group.refused
    assert MAX_TRIES == 2


async def test_kills_that_hit_one_record_again_and_again_refuse_it_no_more_than_others() -> None:
    group = Group(3, 0)
    reads_well = group.ends_its_reader

    async def killed_by_somebody(type_name: str, value: bytes) -> bool:
        await reads_well(type_name, value)
        return False

    group.ends_its_reader = killed_by_somebody  # type: ignore[method-assign]
    for _ in range(6):
        assert not await group.live()
    group.killers = ()
    assert await group.live()
    assert not group.refused
    assert group.handled == [0, 1, 2]
    assert set(group.tried) == {b"0"}

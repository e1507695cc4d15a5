"""What two workers, a full window and a restart may not change of a partition: every event once, none left out."""

from datetime import timedelta
from decimal import Decimal

import pytest

from schemas.records import SealedEpoch, StockBatch
from streams.windows.epoch import REPLAY_HEADER
from tests.streams.fakes import MemoryLog
from tests.streams.virtual import NOW, Clock
from tests.streams.windows.test_epoch import event
from tests.streams.windows.test_partition import CODEC, STOCK, Worker, configured, epochs, put, queued, walk


@pytest.fixture
async def clock() -> Clock:
    return Clock()


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog.of(configured())


def counted(log: MemoryLog) -> Decimal:
    return sum((batch.net for epoch in walk(log) for batch in epoch.batches), Decimal(0))


async def test_the_first_event_behind_anothers_seal_is_sealed_and_none_before_it_again(
    log: MemoryLog, clock: Clock
) -> None:
    # offsets   0 1 2 3 4 5 6
    # zombie    [      )            seals first, while the owner has not fetched 2 yet
    # owner         [ fetch )       2 and 3 are the zombie's, 4 is the first of ours
    zombie, owner = Worker(log, clock), Worker(log, clock)
    for worker in (zombie, owner):
        await worker.partition.open(None, 0)
    await put(log, *(event(f"e{n}", "1") for n in range(7)))
    await zombie.read(0, 4)
    await zombie.partition.seal("length")
    await owner.route()
    batch = await owner.read(2)
    assert owner.partition.open_events == 3
    await owner.partition.seal("length")
    assert batch.all_finished
    assert counted(log) == 7
    assert not [skip for epoch in epochs(log) for skip in epoch.skipped]


async def test_what_another_sealed_since_the_last_look_is_routed(log: MemoryLog, clock: Clock) -> None:
    owner, other = Worker(log, clock), Worker(log, clock)
    for worker in (owner, other):
        await worker.partition.open(None, 0)
    await put(log, event("a", "2"))
    await other.read(0)
    await other.partition.seal("length")
    batch = await owner.route()
    assert batch.all_finished
    assert [CODEC.decode(posting.value, StockBatch).net for posting in queued(log)] == [2]


async def test_epochs_of_one_group_know_each_others_events(log: MemoryLog, clock: Clock) -> None:
    worker = Worker(log, clock, max_members=2)
    await worker.partition.open(None, 0)
    await put(log, event("a"), event("b"), event("a"), event("c"))
    await worker.read(0)
    assert [len(epoch.batches) for epoch in walk(log)] != []
    assert counted(log) == 3
    assert [skip.why for epoch in walk(log) for skip in epoch.skipped] == ["repeat"]


async def test_what_a_window_held_when_its_partition_went_is_forgotten(log: MemoryLog, clock: Clock) -> None:
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    await put(log, event("a"))
    await worker.read(0)
    log.away = "gone"
    await worker.partition.release()
    log.away = None
    assert worker.partition.open_events == 0
    await worker.partition.open(None, 0)
    await worker.read(0)
    await worker.partition.seal("length")
    (epoch,) = walk(log)
    assert (counted(log), epoch.skipped) == (1, ())


async def test_a_refused_event_is_replayed_after_a_restart_and_a_counted_one_never(
    log: MemoryLog, clock: Clock
) -> None:
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    refused, accepted = event("r", location="NOWHERE"), event("c")
    await put(log, refused, accepted)
    await worker.read(0)
    await worker.partition.seal("length")
    later = Worker(log, clock)
    start = await later.partition.open(None, 0)
    for one in (refused, accepted):
        await log.send(STOCK, 0, b"key", CODEC.encode(one), headers=[(REPLAY_HEADER, b"x")])
    await later.read(start)
    await later.partition.seal("length")
    assert [skip.why for skip in _last(log).skipped] == ["unmapped_location", "repeat"]


async def test_the_same_identity_with_other_content_is_said_and_the_first_stands(log: MemoryLog, clock: Clock) -> None:
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    await put(log, event("a", "2"), event("a", "3"))
    await worker.read(0)
    await worker.partition.seal("length")
    assert counted(log) == 2
    assert [skip.why for skip in _last(log).skipped] == ["id_reuse"]


async def test_movements_of_two_days_are_two_batches(log: MemoryLog, clock: Clock) -> None:
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    days = [NOW - timedelta(days=1), NOW]
    await put(log, *(event(f"e{n}", occurred_at=day, reason="found") for n, day in enumerate(days)))
    await worker.read(0)
    await worker.partition.seal("length")
    assert [batch.posting_date for batch in _last(log).batches] == [day.date() for day in days]


async def test_a_no_op_is_counted_with_its_own_seal_and_with_no_later_one(log: MemoryLog, clock: Clock) -> None:
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    await put(log, event("a"), event("a"), event("b"), event("b"))
    for start in (0, 2):
        await worker.read(start, start + 2)
        await worker.partition.seal("length")
    said = [counts for batch in worker.batches for counts in batch.finished.values()]
    assert sum(counts.get(("stock_adjusted", "no_op"), 0) for counts in said) == 2


async def test_movements_of_two_reasons_are_two_batches(log: MemoryLog, clock: Clock) -> None:
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    await put(log, event("a", "2", reason="found"), event("b", "-1", reason="damaged"))
    await worker.read(0)
    await worker.partition.seal("length")
    assert [(batch.reason, batch.net) for batch in _last(log).batches] == [("found", 2), ("damaged", -1)]


def _last(log: MemoryLog) -> SealedEpoch:
    return walk(log)[-1]

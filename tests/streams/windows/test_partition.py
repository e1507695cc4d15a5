"""A partition of stock on its worker: seals, losers, rebuilds, and the road on to the company's queue."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from functools import cache
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base.errors import LogError
from connectors.base.log import Outgoing, Sent
from schemas.codec import embedded_codec
from schemas.events import StockAdjusted
from schemas.records import DeadLetterState, Posting, SealedEpoch, StockBatch
from streams.chain.log import ANCHORS, Anchors
from streams.chain.loss import Disagreement, OvertakenError, accept
from streams.chain.rule import ChainRootError
from streams.config.load import parse
from streams.dead_letters.publisher import DeadLetterPublisher
from streams.ports import Ports
from streams.telemetry.metrics import Metrics
from streams.windows.epoch import Composer
from streams.windows.partition import InputLostError, StockPartition
from streams.windows.rules import StockRules
from streams.windows.window import MAX_BYTES
from tests.streams.fakes import ENVIRON, ROOT, MemoryLog, example
from tests.streams.records import FakeBatch, raw_of
from tests.streams.virtual import Clock, run
from tests.streams.windows.test_epoch import event

CODEC = embedded_codec()
STOCK, SEALED, QUEUE = "stock-adjusted", "stock-sealed", "erp-stock"


@cache
def configured(**window: Any) -> Any:
    data = example()
    data["kafka"] |= {"partitions": 2, "company_partitions": 2}
    data["companies"]["acme"]["window"] = {"length_s": 60, "max_members": 1000, **window}
    return parse(data, ROOT, ENVIRON)


class Worker:
    """One worker's partition 0."""

    def __init__(self, log: MemoryLog, clock: Clock, crash_point: Any = None, **window: Any) -> None:
        config, self.log, self.clock = configured(**window), log, clock
        self.metrics = Metrics(config)
        points = {"crash_point": crash_point} if crash_point else {}
        ports = Ports(log, CODEC, clock, Random(1), self.metrics, lambda _: None, **points)  # type: ignore[arg-type, return-value]
        rules = StockRules(config.maps)
        letters = DeadLetterPublisher(log, CODEC, config.topic, lambda _: 0, clock, self.metrics)
        limits = config.companies["acme"].window
        self.partition = StockPartition(
            0,
            config,
            ports,
            Composer(CODEC, rules, config.version),
            rules,
            letters,
            Anchors(log, CODEC, ANCHORS),
            lambda _: limits,
        )
        self.batches: list[FakeBatch] = []

    async def read(self, start: int, end: int | None = None) -> FakeBatch:
        """Hand it what lies in the input from an offset on."""
        records = [raw_of(one) for one in self.log._records[STOCK, 0][start:end]]
        batch = FakeBatch(records)
        self.batches.append(batch)
        self.partition.take(batch)
        await self.partition.seal_due()
        return batch

    async def route(self, start: int = 0) -> FakeBatch:
        batch = FakeBatch([raw_of(one) for one in self.log._records[SEALED, 0][start:]])
        await self.partition.route(batch)
        return batch


async def put(log: MemoryLog, *events: StockAdjusted | bytes) -> None:
    for one in events:
        await log.send(STOCK, 0, b"key", one if isinstance(one, bytes) else CODEC.encode(one))


def epochs(log: MemoryLog) -> list[SealedEpoch]:
    return [CODEC.decode(one.value or b"", SealedEpoch) for one in log._records[SEALED, 0]]


def queued(log: MemoryLog) -> list[Posting]:
    return [CODEC.decode(one.value or b"", Posting) for one in log._records[QUEUE, 0]]


@pytest.fixture
async def clock() -> Clock:
    return Clock()


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog.of(configured())


# ---- when a window is sealed


async def test_a_window_is_sealed_when_its_length_has_passed_since_its_first_event(
    log: MemoryLog, clock: Clock
) -> None:
    # seconds   0        40       59 60
    # offset 0  [---------------------]   opens the window
    # offset 1           [------------]   joins it, and does not prolong it
    # sealed                          ^ [0, 2) "length"
    worker = Worker(log, clock, length_s=60)
    assert await worker.partition.open(None, 0) == 0
    running = asyncio.create_task(worker.partition.run())
    await put(log, event("a"), event("b"))
    first = await worker.read(0, 1)
    await asyncio.sleep(40)
    second = await worker.read(1)
    await asyncio.sleep(19)
    assert not epochs(log)
    assert not first.finished
    await asyncio.sleep(2)
    assert [(epoch.start, epoch.end, epoch.cause) for epoch in epochs(log)] == [(0, 2, "length")]
    assert first.all_finished
    assert second.all_finished
    running.cancel()


@pytest.mark.parametrize(("members", "causes"), [(3, ["members", "members"]), (7, ["members"]), (8, [])])
async def test_a_full_window_is_sealed_at_once_in_pieces_of_at_most_its_members(
    log: MemoryLog, clock: Clock, members: int, causes: list[str]
) -> None:
    # offsets          0 1 2 3 4 5 6     read as one batch
    # max_members = 3  [    )[    )[)    sealed at once, no epoch larger than its members
    # max_members = 8  [                 still open
    worker = Worker(log, clock, max_members=members)
    await worker.partition.open(None, 0)
    await put(log, *(event(f"e{n}") for n in range(7)))
    await worker.read(0)
    sealed = epochs(log)
    assert {epoch.cause for epoch in sealed} == set(causes)
    assert all(epoch.end - epoch.start <= members for epoch in sealed)
    assert sum(epoch.end - epoch.start for epoch in sealed) == (7 if causes else 0)


async def test_a_window_of_many_bytes_is_sealed_and_no_epoch_is_larger_than_the_broker_takes(
    log: MemoryLog, clock: Clock
) -> None:
    worker = Worker(log, clock, max_members=100_000)
    await worker.partition.open(None, 0)
    note = "n" * 4000
    await put(log, *(event(f"e{n}", note=note, location="NOWHERE") for n in range(300)))
    await worker.read(0)
    assert sum(epoch.end - epoch.start for epoch in epochs(log)) == 300
    assert max(len(one.value or b"") for one in log._records[SEALED, 0]) < MAX_BYTES * 2


async def test_releasing_seals_what_is_open_and_a_broker_that_is_away_leaves_it_unfinished(
    log: MemoryLog, clock: Clock
) -> None:
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    await put(log, event("a"))
    batch = await worker.read(0)
    log.away = "gone"
    await worker.partition.release()
    assert not batch.finished
    log.away = None
    other = Worker(log, clock)
    assert await other.partition.open(None, 0) == 0
    again = await other.read(0)
    await other.partition.release()
    assert again.all_finished
    assert [epoch.cause for epoch in epochs(log)] == ["shutdown"]


async def test_what_is_finished_is_counted_as_no_op_where_the_window_ended_it(log: MemoryLog, clock: Clock) -> None:
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    await put(log, event("a"), event("a"), event("r", reason="return"), event("b"))
    batch = await worker.read(0)
    await worker.partition.seal("length")
    assert {
        key: sum(counts.get(key, 0) for counts in batch.finished.values()) for key in [("stock_adjusted", "no_op")]
    } == {("stock_adjusted", "no_op"): 2}


# ---- losers


async def test_a_lost_seal_adopts_the_winners_view_and_counts_nothing_twice(log: MemoryLog, clock: Clock) -> None:
    """w4, architecture section 15.8: a zombie's range overlaps.

    What lies behind the winner's end is sealed from there.
    """
    # offsets   0 1 2 3 4 5
    # owner     [      )            seals first: number 0
    # zombie    [          )        names the head before it: counts for nobody
    # zombie            [  )        composed again from the winner's end: number 1
    zombie, owner = Worker(log, clock), Worker(log, clock)
    for worker in (zombie, owner):
        await worker.partition.open(None, 0)
    await put(log, *(event(f"e{n}", "1") for n in range(6)))
    stale = await zombie.read(0, 6)
    await owner.read(0, 4)
    await owner.partition.seal("length")
    await zombie.partition.seal("length")
    assert stale.all_finished
    accepted = [(epoch.number, epoch.start, epoch.end) for epoch in walk(log)]
    assert accepted == [(0, 0, 4), (1, 4, 6)]
    assert sum(batch.net for epoch in walk(log) for batch in epoch.batches) == 6
    assert zombie.partition.end == 6
    late = await owner.read(4)  # the zombie's seal has overtaken the owner: route tells it
    await owner.route()
    assert late.all_finished or owner.partition.end == 6


def walk(log: MemoryLog) -> list[SealedEpoch]:
    """The accepted epochs, by the rule alone."""
    from streams.chain.rule import Head

    head, accepted = Head(), []
    for record in log._records[SEALED, 0]:
        epoch = CODEC.decode(record.value or b"", SealedEpoch)
        if head.accepts(epoch.number, epoch.prev_digest):
            head = head.after(record.value or b"")
            accepted.append(epoch)
    return accepted


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["read", "read", "seal", "restart", "route"])), max_size=30)
)
@settings(max_examples=40, deadline=None)
def test_any_interleaving_of_workers_seals_every_event_exactly_once(steps: list[tuple[int, str]]) -> None:
    async def play() -> None:
        log, clock = MemoryLog.of(configured()), Clock()
        await put(log, *(event(f"e{n % 9}", "1", "AB"[n % 2]) for n in range(24)))
        workers = [Worker(log, clock) for _ in range(3)]
        places = [await worker.partition.open(None, 0) for worker in workers]
        for number, step in steps:
            worker = workers[number]
            match step:
                case "read":
                    until = min(24, places[number] + 5)
                    if until > places[number]:
                        await worker.read(places[number], until)
                        places[number] = until
                case "seal":
                    await worker.partition.seal("length")
                case "restart":
                    workers[number] = Worker(log, clock)
                    places[number] = await workers[number].partition.open(None, 0)
                case "route":
                    await worker.route()
        last = Worker(log, clock)
        start = await last.partition.open(None, 0)
        await last.read(start)
        await last.partition.seal("length")
        accepted = walk(log)
        assert [epoch.start for epoch in accepted] == [0, *(epoch.end for epoch in accepted)][: len(accepted)]
        assert accepted[-1].end == 24
        assert sum(batch.net for epoch in accepted for batch in epoch.batches) == len(
            {(n % 9, n % 2) for n in range(24)}
        )

    run(play())


# ---- coming and going


async def test_reading_starts_where_the_chain_ends_whatever_is_committed(log: MemoryLog, clock: Clock) -> None:
    # offsets   0 1 2 3 4
    # sealed    [    )
    # commit 1        ^ read from 3: the chain is ahead of the commit
    # commit 5            ^ read from 5: the commit is ahead of the chain
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    await put(log, *(event(f"e{n}") for n in range(5)))
    await worker.read(0, 3)
    await worker.partition.seal("length")
    assert await Worker(log, clock).partition.open(1, 0) == 3
    assert await Worker(log, clock).partition.open(5, 0) == 5


async def test_what_was_counted_is_known_after_a_restart_and_let_go_of_behind_the_horizon(
    log: MemoryLog, clock: Clock
) -> None:
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    await put(log, event("a"), event("b", location="NOWHERE"))
    await worker.read(0)
    await worker.partition.seal("length")
    later = Worker(log, clock)
    await later.partition.open(2, 0)
    await put(log, event("a"), event("b", location="NOWHERE"))
    await later.read(2)
    await later.partition.seal("length")
    assert [skip.why for skip in epochs(log)[1].skipped] == ["repeat", "repeat"]
    assert len(later.partition._seen) == 2
    await asyncio.sleep(timedelta(days=38).total_seconds())
    much_later = Worker(log, clock)
    await much_later.partition.open(4, 0)
    assert len(much_later.partition._seen) == 0
    running = asyncio.create_task(later.partition.run())
    await asyncio.sleep(3601)
    assert len(later.partition._seen) == 0
    running.cancel()


async def test_an_input_that_lost_records_is_not_read(log: MemoryLog, clock: Clock) -> None:
    # chain     sealed up to |
    # input                  |  lost  [ first that is left ....    nobody may decide alone that nothing was there
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    await put(log, *(event(f"e{n}") for n in range(5)))
    await worker.read(0, 3)
    await worker.partition.seal("length")
    await log.delete_records(STOCK, 0, 4)
    with pytest.raises(InputLostError, match="holds offsets 4 to 5, its chain is sealed up to 3"):
        await Worker(log, clock).partition.open(None, 0)


async def test_an_input_that_was_made_anew_is_not_read(log: MemoryLog, clock: Clock) -> None:
    """w8."""
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    await put(log, event("a"), event("b"))
    await worker.read(0)
    await worker.partition.seal("length")
    log._records[STOCK, 0].clear()
    with pytest.raises(InputLostError):
        await Worker(log, clock).partition.open(2, 0)


async def accepted(worker: Worker, why: str = "a disk was lost") -> Disagreement | None:
    return await accept(worker.log, configured(), CODEC, worker.clock, 0, by="ann", why=why)


async def test_an_input_that_lost_records_is_read_again_when_a_person_has_accepted_it(
    log: MemoryLog, clock: Clock
) -> None:
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    assert await accepted(worker) is None
    await put(log, *(event(f"e{n}") for n in range(6)))
    await worker.read(0, 3)
    await worker.partition.seal("length")
    await log.delete_records(STOCK, 0, 5)
    waiting = Worker(log, clock)
    with pytest.raises(InputLostError, match="streams topics accept stock-adjusted/0"):
        await waiting.partition.open(3, 0)
    found = await accepted(waiting)
    assert found is not None
    assert (found.log_start, found.log_end, found.reached, found.lost) == (5, 6, 3, 2)
    assert (epochs(log)[-1].cause, epochs(log)[-1].sealed_at) == ("accepted by ann: a disk was lost", clock.now())
    assert await waiting.partition.open(3, 0) == 5
    assert (waiting.partition.no_ops, waiting.partition.accepted) == (2, 2)
    await waiting.read(5)
    await waiting.partition.seal("length")
    await waiting.route()
    assert [one.event_ids for posting in queued(log) for one in [CODEC.decode(posting.value, StockBatch)]] == [
        ("e0", "e1", "e2"),
        ("e5",),
    ]
    assert await accepted(worker) is None


async def test_an_input_that_was_made_anew_is_read_from_its_beginning_when_a_person_has_accepted_it(
    log: MemoryLog, clock: Clock
) -> None:
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    await put(log, event("a"), event("b"))
    await worker.read(0)
    await worker.partition.seal("length")
    log._records[STOCK, 0].clear()
    await put(log, event("b"))
    log.commit(configured().group, STOCK, 0, 2)
    found = await accepted(worker)
    assert found is not None
    assert (found.log_start, found.log_end, found.reached, found.lost) == (0, 1, 2, 0)
    await put(log, event("c"), event("d"))
    later = Worker(log, clock)
    assert await later.partition.open(2, 0, accepted=0) == 0
    await later.read(0)
    await later.partition.seal("length")
    assert [batch.event_ids for epoch in epochs(log) for batch in epoch.batches] == [("a", "b"), ("c", "d")]
    # Before its commit has arrived, and after
    assert await Worker(log, clock).partition.open(2, 0, accepted=0) == 3
    assert await Worker(log, clock).partition.open(3, 0, accepted=2) == 3
    assert await Worker(log, clock).partition.open(1, 0, accepted=2) == 3


async def test_what_is_accepted_must_be_what_was_looked_at(log: MemoryLog, clock: Clock) -> None:
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    await put(log, event("a"), event("b"))
    await worker.read(0, 1)
    await worker.partition.seal("length")
    await log.delete_records(STOCK, 0, 2)
    send = log.send_many

    async def after_another(records: Sequence[Outgoing]) -> list[Sent]:
        log.send_many = send  # type: ignore[method-assign]
        assert await accepted(worker, "it was me") is not None
        return await send(records)

    log.send_many = after_another  # type: ignore[method-assign]
    with pytest.raises(OvertakenError):
        await accepted(worker, "too late")
    assert await worker.partition.open(1, 0) == 2
    assert [epoch.cause for epoch in epochs(log)[1:]] == ["accepted by ann: it was me", "accepted by ann: too late"]
    assert (worker.partition.accepted, worker.partition.no_ops) == (2, 1)


async def test_a_chain_that_lost_its_root_is_not_walked(log: MemoryLog, clock: Clock) -> None:
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    await put(log, event("a"), event("b"))
    for n in range(2):
        await worker.read(n, n + 1)
        await worker.partition.seal("length")
    log._records[ANCHORS, 0].clear()
    await log.delete_records(SEALED, 0, 1)
    with pytest.raises(ChainRootError):
        await Worker(log, clock).partition.open(2, 0)


async def test_a_silent_partition_keeps_its_tail_alive_once_a_week(log: MemoryLog, clock: Clock) -> None:
    # days      0        7       14       21
    # chain     [0,1)    [1,1)   [1,1)    [1,1)    empty records: the tail never expires, so the root is never lost
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    await put(log, event("a"))
    await worker.read(0)
    await worker.partition.seal("length")
    running = asyncio.create_task(worker.partition.run())
    await asyncio.sleep(timedelta(days=22).total_seconds())
    running.cancel()
    assert [epoch.cause for epoch in epochs(log)] == ["length", "tail", "tail", "tail"]
    assert {(epoch.start, epoch.end) for epoch in epochs(log)[1:]} == {(1, 1)}
    anchors = await Anchors(log, CODEC, ANCHORS).of(SEALED, 0)
    assert {anchor.end for anchor in anchors} == {0, 1}
    await log.delete_records(SEALED, 0, 3)
    assert await Worker(log, clock).partition.open(None, 4) == 1


# ---- the way on


async def test_an_accepted_epoch_becomes_postings_and_letters_and_is_finished_after_them(
    log: MemoryLog, clock: Clock
) -> None:
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    await put(log, event("a", "2"), event("b", "3", "B"), event("c", location="NOWHERE"), b"rubbish", event("a", "2"))
    await worker.read(0)
    await worker.partition.seal("length")
    batch = await worker.route()
    assert batch.all_finished
    assert [
        (posting.kind, posting.index, posting.topic, posting.offset, posting.company) for posting in queued(log)
    ] == [
        ("stock_batch", 0, SEALED, 0, "acme"),
        ("stock_batch", 1, SEALED, 0, "acme"),
    ]
    nets = [CODEC.decode(posting.value, StockBatch).net for posting in queued(log)]
    assert nets == [Decimal(2), Decimal(3)]
    letters = log._records["stock-adjusted-dead-letter", 0]
    states = [CODEC.decode(one.value or b"", DeadLetterState) for one in log._records["dead-letter-state", 0]]
    assert [(state.reason, state.offset) for state in states] == [("unmapped_location", 2), ("unreadable", 3)]
    assert [one.value for one in letters] == [log._records[STOCK, 0][offset].value for offset in (2, 3)]


async def test_a_losers_epoch_is_passed_over(log: MemoryLog, clock: Clock) -> None:
    # stock-sealed   [owner 0]  [zombie 0]  [owner 0 again]
    # routed          yes        no          no
    zombie, owner = Worker(log, clock), Worker(log, clock)
    for worker in (zombie, owner):
        await worker.partition.open(None, 0)
    await put(log, event("a"))
    await zombie.read(0)
    await owner.read(0)
    await owner.partition.seal("length")
    record = log._records[SEALED, 0][0]
    await zombie.partition.seal("length")
    await log.send(SEALED, 0, b"0", record.value)  # a producer's retry
    late = Worker(log, clock)
    await late.partition.open(None, 0)
    batch = await late.route()
    assert batch.all_finished
    assert len(queued(log)) == 1


async def test_when_the_queue_cannot_be_reached_nothing_is_finished_and_it_is_routed_again(
    log: MemoryLog, clock: Clock
) -> None:
    """w5: some are queued already; the poster knows them by their place."""
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    await put(log, event("a"))
    await worker.read(0)
    await worker.partition.seal("length")
    log.away = "gone"
    batch = FakeBatch([raw_of(one) for one in log._records[SEALED, 0]])
    with pytest.raises(LogError):
        await worker.partition.route(batch)
    assert not batch.finished
    log.away = None
    again = Worker(log, clock)
    await again.partition.open(1, 0)
    assert (await again.route()).all_finished
    assert len(queued(log)) == 1


async def test_epochs_that_were_routed_before_are_not_routed_again_after_a_restart(
    log: MemoryLog, clock: Clock
) -> None:
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    await put(log, event("a"), event("b"))
    for n in range(2):
        await worker.read(n, n + 1)
        await worker.partition.seal("length")
    again = Worker(log, clock)
    await again.partition.open(2, 1)
    await again.route(1)
    assert [posting.offset for posting in queued(log)] == [1]


async def test_a_crash_between_seal_and_commit_is_nothing(log: MemoryLog, clock: Clock) -> None:
    """w3: the seal is durable, its offsets are not committed."""

    async def dies(point: str) -> None:
        if point == "w2":
            raise RuntimeError("killed")

    worker = Worker(log, clock, dies)
    await worker.partition.open(None, 0)
    await put(log, event("a"), event("b"))
    batch = await worker.read(0)
    with pytest.raises(RuntimeError):
        await worker.partition.seal("length")
    assert not batch.finished
    again = Worker(log, clock)
    assert await again.partition.open(0, 0) == 2
    await again.route()
    assert sum(CODEC.decode(posting.value, StockBatch).net for posting in queued(log)) == 2

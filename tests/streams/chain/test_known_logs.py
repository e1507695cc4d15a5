"""A committed offset is one of a certain log; another log of that name is not read until a person accepts it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from faust.types import TP

from schemas.codec import embedded_codec
from schemas.records import KnownLog
from streams.chain.known_logs import NUMBER, KnownLogs, LogMismatch, LogMismatchError, judge
from streams.faust_host.watermarks import Start, encode_counts
from streams.kafka.log import Committed
from streams.posting.admission import InputPositions
from streams.telemetry.metrics import Metrics
from streams.worker import input_logs
from streams.worker.input_logs import InputLogs
from tests.streams.fakes import MemoryLog, config
from tests.streams.virtual import run

CODEC, CONFIG = embedded_codec(), config()
NOW = datetime(2026, 11, 24, tzinfo=UTC)
PLACE = ("order-placed", 0)
POSTED = ("order_placed", "posted")


def known(number: int = 0, start: int = 0, log_id: str = "one") -> KnownLog:
    return KnownLog(topic="order-placed", partition=0, log_id=log_id, number=number, start=start, at=NOW)


def commit(offset: int, number: int = 0) -> Committed:
    return Committed(offset, encode_counts({POSTED: 3, NUMBER: number}))


@pytest.mark.parametrize(
    ("what", "committed", "bounds", "read"),
    [
        (known(), commit(5), (0, 9), 5),
        (known(), commit(5), (5, 9), 5),
        (known(), commit(9), (0, 9), 9),
        (known(), commit(5), (6, 9), "1 records"),
        (known(), commit(10), (0, 9), "lost its end"),
        (known(), None, (0, 9), 0),
        (known(start=4), None, (2, 9), 2),
        (known(start=4), None, (6, 9), "2 records"),
        (known(start=4), None, (0, 3), "lost its end"),
        (known(log_id="two"), commit(5), (0, 9), "another log"),
        (known(log_id="two"), None, (0, 0), "another log"),
        (known(log_id=""), commit(5), (0, 9), 5),
        (known(number=1, start=2), commit(500), (2, 9), 2),
        (known(number=1, start=2), commit(7, number=1), (2, 9), 7),
        (known(number=1, start=2), None, (2, 9), 2),
        (known(number=1, start=2), None, (3, 9), "1 records"),
        (known(number=2, start=0), commit(7, number=1), (0, 9), 0),
    ],
)
def test_where_a_partition_is_read_from_or_why_it_is_not(
    what: KnownLog, committed: Committed | None, bounds: tuple[int, int], read: int | str
) -> None:
    found = judge(what, "one", committed, *bounds)
    if isinstance(read, int):
        assert isinstance(found, Start)
        assert found.offset == read
        assert (found.counts or {}).get(NUMBER, 0) == what.number
        assert (found.counts or {}).get(POSTED, 0) == (3 if committed else 0)
    else:
        assert isinstance(found, LogMismatch)
        assert read in str(found)
        assert "streams topics accept order-placed/0" in str(found)
        assert found.lost == (int(read[0]) if read[0].isdigit() else None)


class DayClock:
    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return 0.0


def logs(log: MemoryLog, clock: Any = None) -> KnownLogs:
    return KnownLogs(log, CODEC, CONFIG, clock or DayClock())


async def publish(log: MemoryLog, count: int) -> None:
    for n in range(count):
        await log.send(*PLACE, b"k", str(n).encode())


async def test_a_topic_that_was_made_anew_is_not_read_until_it_is_accepted() -> None:
    log = MemoryLog.of(CONFIG)
    await publish(log, 5)
    assert await logs(log).examine([PLACE]) == {PLACE: Start(0, {})}
    log.commit(CONFIG.group, *PLACE, 5)
    log.make_anew("order-placed")  # Kafka forgets what was committed of it, too
    await publish(log, 3)
    found = (await logs(log).examine([PLACE]))[PLACE]
    assert isinstance(found, LogMismatch)
    assert (found.is_another, found.lost) == (True, None)
    holding = logs(log)
    await holding.examine([PLACE])
    assert holding.number(*PLACE) == -1
    # A cancellation must not take what was admitted of the log before for what lies in this one
    assert InputPositions({("order-placed", "0"): 101}, holding.number).reached(*PLACE) == 0
    assert isinstance((await logs(log).examine([PLACE]))[PLACE], LogMismatch)  # looking again accepts nothing
    accepted = await logs(log).accept(*PLACE, 0, None, by="jo", why="restored")
    assert (accepted.number, accepted.by, accepted.why) == (1, "jo", "restored")
    worker = logs(log)
    assert await worker.examine([PLACE]) == {PLACE: Start(0, {NUMBER: 1})}
    assert worker.number(*PLACE) == 1


async def test_a_topic_that_was_made_anew_and_has_grown_beyond_the_commit_is_not_read_from_its_middle() -> None:
    log = MemoryLog.of(CONFIG)
    await publish(log, 5)
    await logs(log).examine([PLACE])
    log.make_anew("order-placed")
    log.commit(CONFIG.group, *PLACE, 5)  # by a worker that has seen nothing of it
    await publish(log, 50)
    assert isinstance((await logs(log).examine([PLACE]))[PLACE], LogMismatch)


async def test_what_retention_removed_before_it_was_read_is_counted() -> None:
    log = MemoryLog.of(CONFIG)
    await publish(log, 10)
    await logs(log).examine([PLACE])
    log.commit(CONFIG.group, *PLACE, 5)
    await log.delete_records(*PLACE, 8)
    found = (await logs(log).examine([PLACE]))[PLACE]
    assert isinstance(found, LogMismatch)
    assert found.lost == 3


async def test_nothing_is_missed_when_the_group_has_forgotten_its_commits_meanwhile() -> None:
    log, clock = MemoryLog.of(CONFIG), DayClock()
    await publish(log, 10)
    worker = logs(log, clock)
    await worker.examine([PLACE])
    await worker.refresh({PLACE: 4})  # too early: it is a day old at most
    assert len(log._records["known-logs", 0]) == 1
    clock.at += timedelta(days=1)
    await worker.refresh({PLACE: 6})
    await log.delete_records(*PLACE, 6)
    assert await logs(log).examine([PLACE]) == {PLACE: Start(6, {})}
    await log.delete_records(*PLACE, 7)
    assert isinstance((await logs(log).examine([PLACE]))[PLACE], LogMismatch)


async def test_without_known_logs_the_number_of_the_commit_stands() -> None:
    log = MemoryLog.of(CONFIG)
    await publish(log, 10)
    log.commit(CONFIG.group, *PLACE, 5, encode_counts({NUMBER: 2}))
    worker = logs(log)
    assert await worker.examine([PLACE]) == {PLACE: Start(5, {NUMBER: 2})}
    assert worker.number(*PLACE) == 2


class ReadingOfOne:
    """A worker's reading of one partition; a first rewind comes before it has begun."""

    def __init__(self, offset: int) -> None:
        self.at = Start(offset, {})
        self.rewound: list[Start] = []

    def watermark(self, _tp: TP) -> Start:
        return self.at

    async def rewind(self, _tp: TP, start: Start) -> bool:
        self.rewound.append(start)
        if len(self.rewound) > 1:
            self.at = start
        return len(self.rewound) > 1


def input_logs_of(log: MemoryLog, metrics: Metrics, reading: ReadingOfOne) -> InputLogs:
    return InputLogs(reading, logs(log), CONFIG, metrics.vitals, metrics.components)


def test_a_partition_waits_for_a_person_says_so_and_is_read_from_where_the_new_log_begins() -> None:
    async def play() -> None:
        log, tp, metrics = MemoryLog.of(CONFIG), TP(*PLACE), Metrics(CONFIG)
        await logs(log).examine([PLACE])
        await publish(log, 7)
        log.make_anew("order-placed")
        await publish(log, 3)
        reading = ReadingOfOne(0)
        inputs = input_logs_of(log, metrics, reading)
        assert await inputs.examine([tp]) == {tp}
        settling = asyncio.create_task(inputs.settle([tp]))
        await asyncio.sleep(3 * input_logs.DECISION_POLL_S)
        assert "another log" in metrics.vitals.waiting()["order-placed/0"]
        (state,) = metrics.components.not_working()
        assert (state.kind, state.name, state.state, state.reason) == (
            "partition",
            "order-placed/0",
            "held",
            "log_lost",
        )
        assert not reading.rewound
        await logs(log).accept(*PLACE, 0, None, by="jo", why="restored")
        await settling
        assert "order-placed/0" not in metrics.vitals.waiting()
        assert not metrics.components.not_working()
        assert reading.rewound == [Start(0, {NUMBER: 1})] * 2
        assert await inputs.examine([tp]) == set()

    run(play())


def test_a_topic_that_is_made_anew_while_it_is_read_ends_the_reading() -> None:
    async def play() -> None:
        log, tp = MemoryLog.of(CONFIG), TP(*PLACE)
        inputs = input_logs_of(log, Metrics(CONFIG), ReadingOfOne(0))
        await inputs.examine([tp])
        watching = asyncio.create_task(inputs.watch([tp]))
        await asyncio.sleep(3 * input_logs.WATCH_INTERVAL_S)
        log.away = "no broker"
        await asyncio.sleep(3 * input_logs.WATCH_INTERVAL_S)
        log.away = None
        assert not watching.done()
        log.make_anew("order-placed")
        with pytest.raises(LogMismatchError, match="order-placed was deleted and made again"):
            await watching

    run(play())


def test_facts_that_are_accepted_as_lost_end_as_no_ops_once() -> None:
    accepted = KnownLog(topic="order-placed", partition=0, log_id="one", number=1, start=8, lost=3, at=NOW)
    found = judge(accepted, "one", commit(5), 8, 10, "order_placed")
    assert found == Start(8, {POSTED: 3, ("order_placed", "no_op"): 3, NUMBER: 1})
    again = judge(accepted, "one", Committed(8, encode_counts(found.counts or {})), 8, 10, "order_placed")
    assert again == found


async def test_a_chain_of_stock_documents_that_was_made_anew_holds_its_company_and_one_that_expires_does_not() -> None:
    log, metrics, tp = MemoryLog.of(CONFIG), Metrics(CONFIG), TP("erp-documents", 0)
    for n in range(5):
        await log.send("erp-documents", 0, b"k", str(n).encode())
    inputs = input_logs_of(log, metrics, ReadingOfOne(0))
    assert await inputs.examine([tp]) == set()
    await log.delete_records("erp-documents", 0, 4)
    assert await inputs.examine([tp]) == set()
    log.make_anew("erp-documents")
    assert await inputs.examine([tp]) == {tp}
    found = (await logs(log).examine([("erp-documents", 0)]))["erp-documents", 0]
    assert "could be written twice" in str(found)

"""A chain as it lies in Kafka: walked, appended to, anchored."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from connectors.base.errors import LogError, LogUnavailableError
from connectors.base.log import Outgoing, Sent
from schemas.codec import UnreadableError, embedded_codec
from schemas.records import Anchor
from streams.chain.log import ANCHORS, Anchors, ChainLog
from streams.chain.rule import ChainRootError
from streams.kafka.topics import wanted
from tests.streams.fakes import MemoryLog, config

TOPIC = "stock-sealed"


@dataclass(frozen=True)
class Entry:
    number: int
    prev_digest: bytes
    text: str


def encode(entry: Entry) -> bytes:
    return f"{entry.number} {entry.prev_digest.hex()} {entry.text}".encode()


def decode(value: bytes) -> Entry:
    try:
        number, digest, text = value.decode().split(" ")
        return Entry(int(number), bytes.fromhex(digest), text)
    except ValueError as error:
        raise UnreadableError(str(error)) from error


@dataclass
class Owner:
    """Somebody who keeps what the chain says."""

    visited: list[tuple[int, str]] = field(default_factory=list)
    restored: Anchor | None = None

    def restore(self, anchor: Anchor) -> None:
        self.restored = anchor

    def visit(self, offset: int, record: Entry) -> None:
        self.visited.append((offset, record.text))

    def reached(self) -> tuple[int, int]:
        return 10 * len(self.visited), len(self.visited)


@dataclass
class Process:
    log: MemoryLog
    owner: Owner
    chain: ChainLog[Entry]
    anchors: Anchors
    now: datetime = datetime(2026, 11, 21, 12, tzinfo=UTC)

    async def write(self, *texts: str) -> bool:
        head, records = self.chain.head, []
        for text in texts:
            entry = Entry(head.number, head.digest, text)
            records.append((encode(entry), entry))
            head = head.after(encode(entry))
        return await self.chain.append(records)


def process(log: MemoryLog) -> Process:
    owner, anchors = Owner(), Anchors(log, embedded_codec(), ANCHORS)
    chain = ChainLog(log, TOPIC, 0, decode, owner, anchors, lambda: one.now)
    one = Process(log, owner, chain, anchors)
    return one


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(wanted(config()))


async def test_what_is_appended_stands_and_is_visited_once(log: MemoryLog) -> None:
    one = process(log)
    await one.chain.open()
    assert await one.write("a")
    assert await one.write("b", "c")
    assert one.owner.visited == [(0, "a"), (1, "b"), (2, "c")]
    assert (one.chain.head.number, one.chain.position) == (3, 3)


async def test_whoever_comes_second_has_lost_and_sees_what_won(log: MemoryLog) -> None:
    # log      [first: 0 <- genesis]  [second: 0 <- genesis]
    # counts    yes                    no: the head is the first's by then
    one, two = process(log), process(log)
    await one.chain.open()
    await two.chain.open()
    assert await one.write("a")
    assert not await two.write("b", "c")
    assert two.owner.visited == [(0, "a")]
    assert two.chain.head == one.chain.head
    assert await two.write("d")
    await one.chain.catch_up()
    assert one.owner.visited == two.owner.visited == [(0, "a"), (3, "d")]


async def test_a_record_that_was_sent_twice_counts_once(log: MemoryLog) -> None:
    # log      [0 <- genesis]  [the same bytes]  ...
    # counts    yes             no: it names a head that is gone
    one = process(log)
    await one.chain.open()
    await one.write("a")
    await log.send_many([type_outgoing(log, 0)])
    assert await one.write("b")
    later = process(log)
    await later.chain.open()
    assert later.owner.visited == [(0, "a"), (2, "b")]


def type_outgoing(log: MemoryLog, offset: int) -> object:
    return Outgoing(topic=TOPIC, partition=0, key=None, value=log._records[TOPIC, 0][offset].value)


async def test_bytes_that_nobody_can_read_are_passed_over_by_every_reader_alike(log: MemoryLog) -> None:
    # log      [rubbish]  [no value]  [0 <- genesis]
    # counts    no         no          yes
    await log.send(TOPIC, 0, None, b"rubbish and more rubbish than that")
    await log.send(TOPIC, 0, None, None)
    one = process(log)
    await one.chain.open()
    assert one.chain.position == 2
    assert await one.write("a")
    later = process(log)
    await later.chain.open()
    assert later.owner.visited == one.owner.visited == [(2, "a")]


async def test_when_the_brokers_answer_is_lost_the_next_walk_tells(log: MemoryLog) -> None:
    one = process(log)
    await one.chain.open()
    send = log.send_many

    async def lost(records: object) -> object:
        await send(records)  # type: ignore[arg-type]
        raise LogUnavailableError("no answer")

    log.send_many = lost  # type: ignore[assignment, method-assign]
    with pytest.raises(LogError):
        await one.write("a")
    log.send_many = send  # type: ignore[method-assign]
    assert one.owner.visited == []
    assert not await one.write("a again")
    assert one.owner.visited == [(0, "a")]


async def test_an_anchor_a_day_lets_the_log_forget_its_beginning(log: MemoryLog) -> None:
    one = process(log)
    await one.chain.open()
    for day in range(4):
        await one.write(f"{day}a", f"{day}b")
        await one.chain.anchor()
        await one.chain.anchor()
        one.now += timedelta(days=1)
    known = await one.anchors.of(TOPIC, 0)
    assert [(anchor.offset, anchor.number, anchor.end, anchor.no_ops) for anchor in known] == [
        (2, 2, 20, 2),
        (4, 4, 40, 4),
        (6, 6, 60, 6),
        (8, 8, 80, 8),
    ]
    await log.delete_records(TOPIC, 0, 3)
    later = process(log)
    await later.chain.open()
    assert later.owner.restored == known[1]
    assert later.owner.visited == [(4, "2a"), (5, "2b"), (6, "3a"), (7, "3b")]
    assert later.chain.head == one.chain.head
    later.now += timedelta(days=10)
    await later.chain.anchor()
    assert [anchor.offset for anchor in await later.anchors.of(TOPIC, 0)] == [4, 6, 8, 8]


async def test_without_an_anchor_inside_a_shortened_log_nothing_is_read(log: MemoryLog) -> None:
    one = process(log)
    await one.chain.open()
    await one.write("a", "b")
    await log.delete_records(TOPIC, 0, 1)
    with pytest.raises(ChainRootError):
        await process(log).chain.open()


async def test_anchors_of_other_chains_are_not_mixed_up(log: MemoryLog) -> None:
    one = process(log)
    await one.chain.open()
    await one.write("a")
    await one.chain.anchor()
    for other in ((TOPIC, 10), ("stock-sealed-old", 0), ("erp-documents", 0)):
        assert await one.anchors.of(*other) == []


class Interleaved(MemoryLog):
    """Two produce requests of one group, and another process's record between them."""

    between: bytes | None = None

    async def send_many(self, records: Sequence[Outgoing]) -> list[Sent]:
        if self.between is None or len(records) < 2:
            return await super().send_many(records)
        first = await super().send_many(records[:1])
        value, self.between = self.between, None
        await super().send(TOPIC, 0, None, value)
        return [*first, *await super().send_many(records[1:])]


async def test_a_record_between_two_of_a_group_shifts_the_second() -> None:
    # log      [0 <- genesis]  [zombie: 0 <- genesis]  [1 <- 0]
    # counts    yes             no                      yes, at offset 2
    log = Interleaved(wanted(config()))
    one = process(log)
    await one.chain.open()
    log.between = encode(Entry(0, bytes(16), "zombie"))
    assert await one.write("a", "b")
    assert one.owner.visited == [(0, "a"), (2, "b")]
    assert one.chain.position == 3

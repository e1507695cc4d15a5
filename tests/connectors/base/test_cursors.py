from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from connectors.base.cursors import (
    Cursors,
    LostRaceError,
    Position,
    backfill_name,
    connector_of,
    cursor_key,
    level_key,
    owner_of,
    partition_of,
)
from connectors.base.errors import FatalError
from connectors.base.levels import Level, Pending
from connectors.base.source import TimeRange
from schemas.events import StockAdjusted, digest_of

TOPIC = "connector-cursors"
AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


@pytest.fixture
def make(broker, codec, clock):
    return lambda name="shop": Cursors(name, broker, codec, clock, topic=TOPIC, partition=0)


def pending(event_id, delta, sequence):
    event = StockAdjusted(
        source="shop",
        company="acme",
        event_id=event_id,
        occurred_at=AT,
        observed_at=AT,
        digest=b"",
        sku="A",
        location="MAIN",
        delta=Decimal(delta),
        reason="count",
    )
    return Pending(sequence, replace(event, digest=digest_of(event)))


async def test_what_was_written_is_read_back_by_the_next_process(make):
    one = make()
    await one.load()
    await one.advance(Position("line 7", no_op={"stock_adjusted": 2}, refused={"inbox": 1}))
    two = make()
    await two.load()
    assert (two.position.cursor, two.position.no_op, two.position.refused) == (
        "line 7",
        {"stock_adjusted": 2},
        {"inbox": 1},
    )


async def test_a_process_that_was_taken_over_cannot_write_an_older_cursor_and_knows_it(make):
    zero, one, two = make(), make(), make()
    await zero.load()
    await one.load()
    await one.advance(Position("line 7"))
    await two.load()
    await two.advance(Position("line 9"))
    with pytest.raises(LostRaceError):
        await one.advance(Position("line 8"))
    with pytest.raises(LostRaceError):
        await zero.write_levels({("A", "MAIN"): Level(1, Decimal(5))})
    three = make()
    await three.load()
    assert three.position.cursor == "line 9"
    assert three.levels == {}


async def test_of_two_that_take_over_at_once_one_wins(make, broker):
    one, two = make(), make()
    await one.load()
    one_send = broker.send_many

    async def send_in_between(records):
        broker.send_many = one_send
        await two.load()
        return await one_send(records)

    broker.send_many = send_in_between
    with pytest.raises(LostRaceError):
        await one.load()
    await two.advance(Position("mine"))


async def test_connectors_of_one_partition_do_not_disturb_each_other(make):
    one, two = make("shop"), make("shop2")
    await one.load()
    await two.load()
    await one.advance(Position("a"))
    await two.advance(Position("b"))
    await one.advance(Position("c"))
    again = make("shop")
    await again.load()
    assert again.position.cursor == "c"


async def test_levels_wait_for_the_cursor_to_be_confirmed(make):
    one = make()
    await one.load()
    change = {("A", "MAIN"): Level(2, Decimal(14), (pending("e2", 4, 2),))}
    await one.write_levels(change)
    two = make()
    await two.load()
    assert two.levels == change
    assert [event.event_id for event in two.unconfirmed] == ["e2"]
    await two.advance(Position("line 2"))
    assert two.unconfirmed == []
    three = make()
    await three.load()
    assert three.unconfirmed == []
    assert three.levels == change


@pytest.mark.parametrize("end", range(14))
async def test_compaction_changes_nothing(make, broker, end):
    for step in range(3):
        cursors = make()
        await cursors.load()
        await cursors.write_levels({("A", "MAIN"): Level(step, Decimal(step)), ("B", "MAIN"): Level(step, Decimal(1))})
        await cursors.advance(Position(f"line {step}"))
    await cursors.write_levels({("A", "MAIN"): Level(9, Decimal(9), (pending("e9", 7, 9),))})
    broker.compact(TOPIC, 0, end)
    again = make()
    await again.load()
    assert again.position.cursor == "line 2"
    assert {place: each.level for place, each in again.levels.items()} == {("A", "MAIN"): 9, ("B", "MAIN"): 1}
    assert [event.event_id for event in again.unconfirmed] == ["e9"]
    await again.advance(Position("line 9"))


async def test_a_level_that_a_paused_process_has_overwritten_is_written_again(make, broker):
    one, two = make(), make()
    await one.load()
    await one.write_levels({("A", "MAIN"): Level(1, Decimal(5))})
    await one.advance(Position("1"))
    await two.load()
    with pytest.raises(LostRaceError):
        await one.write_levels({("A", "MAIN"): Level(7, Decimal(70))})
    await two.advance(Position("2"))
    broker.compact(TOPIC, 0, 1000)
    three = make()
    await three.load()
    assert three.levels == {("A", "MAIN"): Level(1, Decimal(5))}
    assert three.position.cursor == "2"


async def test_a_cursor_that_cannot_be_read_needs_a_person(make, broker):
    await make().load()
    log = broker.logs[TOPIC, 0]
    log[0] = replace(log[0], value=b"\0\0\0\0\xff")
    with pytest.raises(FatalError, match="connector-cursors/0/0"):
        await make().load()


def test_keys_of_levels_never_run_into_one_another():
    assert level_key("c", "a / b", "d") != level_key("c", "a", "b / d")
    assert connector_of(level_key("c", 'x"]', "é")) == "c"
    assert connector_of(b"\xff") is None


def test_a_connector_has_one_partition_for_ever():
    assert [partition_of(name, 12) for name in ("shop", "warehouse")] == [6, 8]


async def test_what_lies_directly_behind_is_known_and_what_others_wrote_between_is_read(make, broker):
    one, other = make(), make("another")
    await one.load()
    reads = []
    broker.before = lambda what: reads.append(what) if what.startswith("read") else None
    await one.advance(Position("line 1"))
    await one.write_levels({("A", "MAIN"): Level(1, Decimal(5)), ("B", "MAIN"): Level(1, Decimal(5))})
    assert (one.position.cursor, len(one.levels), reads) == ("line 1", 2, [])
    await other.load()
    assert len(reads) == 1
    await one.advance(Position("line 2"))
    assert len(reads) == 2
    assert one.position.cursor == "line 2"


def test_a_back_fill_has_a_cursor_of_its_own_and_belongs_to_its_connector():
    name = backfill_name("shop", TimeRange(AT, AT.replace(month=12)))
    assert name == "shop/backfill/2026-11-21T09:30:00+00:00/2026-12-21T09:30:00+00:00"
    assert (owner_of(name), owner_of("shop"), connector_of(cursor_key(name))) == ("shop", "shop", name)

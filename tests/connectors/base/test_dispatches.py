"""Counts that fall with each dispatch: their units are taken off, once, whatever is read first."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from connectors.base.dispatches import KNOWN_MS, MAX_KNOWN, NO_DISPATCHES, Dispatches
from connectors.base.levels import resolve
from connectors.base.source import StockLevel
from schemas.events import DispatchConfirmed, DispatchLine

START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
EPOCH = datetime.fromtimestamp(0, UTC)


def at(minute):
    return START + timedelta(minutes=minute)


def level(sequence, quantity, minute, sku="A", location="MAIN"):
    return StockLevel(
        source="wms",
        company="acme",
        event_id=f"l{sequence}",
        occurred_at=at(minute),
        observed_at=at(minute),
        sku=sku,
        location=location,
        level=Decimal(quantity),
        sequence=sequence,
        reason="count",
    )


def dispatch(shipment_id, quantity, minute, sku="A", location="MAIN"):
    return DispatchConfirmed(
        source="wms",
        company="acme",
        event_id=shipment_id,
        occurred_at=at(minute),
        observed_at=at(minute),
        digest=b"",
        shipment_id=shipment_id,
        order_id="1",
        location=location,
        lines=(DispatchLine(sku=sku, quantity=Decimal(quantity)),),
    )


def changes(*items, known=None, net_since=EPOCH):
    """The deltas that items come to, each read in a batch of its own, and the places' last states."""
    states, found = dict(known or {}), []
    for item in items:
        resolved = resolve([item], states, net_since=net_since)
        states |= resolved.changes
        found += [event.delta for event in resolved.items if event.event_id.startswith("l")]
    return found, states


def test_what_a_dispatch_took_is_no_change_of_the_count():
    assert changes(level(1, 100, 0), dispatch("d1", 4, 10), level(2, 96, 20))[0] == []
    assert changes(level(1, 100, 0), dispatch("d1", 4, 10), level(2, 95, 20))[0] == [-1]


def test_counts_that_know_nothing_of_dispatches_are_not_netted():
    assert changes(level(1, 100, 0), dispatch("d1", 4, 10), level(2, 96, 20), net_since=None)[0] == [-4]


def test_a_dispatch_that_is_read_late_is_made_up_for_by_the_next_count():
    assert changes(level(1, 100, 0), level(2, 96, 20), dispatch("d1", 4, 10), level(3, 96, 30))[0] == [-4, 4]


def test_a_dispatch_after_the_count_waits_for_the_next_one():
    read = (level(1, 100, 0), dispatch("d1", 4, 30), level(2, 100, 20), level(3, 96, 40))
    assert changes(*read)[0] == []


def test_a_dispatch_before_the_baseline_is_in_it():
    assert changes(dispatch("d1", 4, -10), level(1, 100, 0), level(2, 100, 20))[0] == []
    assert changes(level(1, 100, 0), dispatch("d1", 4, -10), level(2, 100, 20))[0] == []


def test_a_repeated_dispatch_is_taken_off_once_however_often_it_comes():
    first = dispatch("d1", 4, 10)
    read = (level(1, 100, 0), first, first, level(2, 96, 20), first, level(3, 96, 30), first, level(4, 95, 40))
    assert changes(*read)[0] == [-1]


def test_only_its_own_sku_and_place_is_touched():
    read = (level(1, 100, 0), dispatch("d1", 4, 10, sku="B"), dispatch("d2", 4, 10, location="EAST"), level(2, 96, 20))
    assert changes(*read)[0] == [-4]


def test_what_was_dispatched_before_the_start_moves_nothing_in_b1_and_is_not_taken_off():
    read = (level(1, 100, 0), dispatch("d1", 4, 10), level(2, 96, 20))
    assert changes(*read, net_since=at(15))[0] == [-4]


def test_a_batch_that_is_read_again_says_the_same():
    items = [level(1, 100, 0), dispatch("d1", 4, 10), level(2, 95, 20), dispatch("d2", 1, 25), level(3, 90, 30)]
    first = resolve(items, {}, net_since=EPOCH)
    again = resolve(items, first.changes, net_since=EPOCH)
    assert again.items == first.items
    assert again.changes == {}
    for cut in range(len(items)):
        part = resolve(items[:cut], first.changes, net_since=EPOCH)
        assert part.items == first.items[: len(part.items)]


@given(
    st.lists(
        st.tuples(st.sampled_from(["move", "dispatch", "count"]), st.integers(1, 9), st.integers(0, 3)), max_size=40
    ),
    st.randoms(use_true_random=False),
)
def test_b1_and_the_warehouse_agree_after_the_last_count_whatever_order_the_reports_come_in(steps, random):
    """Reports of one kind come in their order; the kinds' files are read in any."""
    stock, minute, sequence = Decimal(100), 0, 1
    counts, dispatches, shipped = [level(1, 100, 0)], [], Decimal(0)
    for what, quantity, repeats in steps:
        minute += 1
        if what == "move":
            stock += quantity - 5
        elif what == "count":
            sequence += 1
            counts.append(level(sequence, stock, minute))
        else:
            stock -= quantity
            shipped += quantity
            dispatches += [dispatch(f"d{minute}", quantity, minute)] * (1 + repeats)
    queues = [list(reversed(counts[1:])), list(reversed(dispatches))]
    read = [counts[0]]
    while any(queues):
        queue = random.choice([queue for queue in queues if queue])
        read.append(queue.pop())
    found, _ = changes(*read, level(sequence + 1, stock, minute + 1))
    assert 100 + sum(found, Decimal(0)) - shipped == stock


def test_the_state_is_read_back_as_it_was_written():
    known = NO_DISPATCHES.begin(5)
    for number in range(300):
        known = known.add(f"s{number}", 1000 + number, Decimal("1.5"))
    units, known = known.take_off(1100)
    assert units == Decimal("1.5") * 101
    assert Dispatches.from_text(known.to_text()) == known
    assert len(known.to_text()) < 300 * 30


def test_what_is_remembered_is_bounded_and_nothing_open_is_lost():
    known = NO_DISPATCHES
    for number in range(3 * MAX_KNOWN):
        known = known.add(f"s{number}", number, Decimal(1))
        assert len(known.known) <= MAX_KNOWN + 1
    assert known.take_off(10**9)[0] == 3 * MAX_KNOWN
    assert known.add("s1", 1, Decimal(1)) is known
    _, settled = known.take_off(10**9)
    assert len(settled.add("new", 2 * KNOWN_MS, Decimal(1)).known) == 1

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from connectors.base.levels import resolve
from connectors.base.source import StockLevel

AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def level(event_id, sequence, quantity, sku="A", location="MAIN"):
    return StockLevel(
        source="wms",
        company="acme",
        event_id=event_id,
        occurred_at=AT,
        observed_at=AT,
        sku=sku,
        location=location,
        level=Decimal(quantity),
        sequence=sequence,
        reason="count",
    )


def deltas(resolved):
    return [(event.event_id, event.delta) for event in resolved.items]


def test_the_first_is_the_baseline_and_stale_and_unchanged_ones_are_no_ops():
    seen = [level("e1", 1, 10), level("e2", 3, 14), level("e3", 2, 99), level("e4", 4, 14), level("e5", 5, 11)]
    resolved = resolve(seen, {})
    assert deltas(resolved) == [("e2", 4), ("e5", -3)]
    assert resolved.no_ops == 3
    assert resolved.changes["A", "MAIN"].level == 11


def test_places_do_not_mix():
    resolved = resolve([level("e1", 1, 10), level("e1", 2, 12, location="B"), level("e1", 3, 7, sku="B")], {})
    assert deltas(resolved) == []
    assert len(resolved.changes) == 3


def test_a_batch_read_again_gives_the_same_deltas_even_when_it_is_cut_elsewhere():
    seen = [level("e1", 1, 10), level("e2", 2, 14), level("e3", 3, 9)]
    first = resolve(seen, {})
    known = dict(first.changes)
    for cut in range(4):
        again = resolve(seen[:cut], known)
        assert deltas(again) == deltas(first)[: max(0, cut - 1)]
        assert again.changes == {}
    longer = resolve([*seen, level("e4", 4, 20)], known)
    assert deltas(longer) == [("e2", 4), ("e3", -5), ("e4", 11)]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(-50, 50), st.sampled_from("AB")), max_size=30), st.data())
def test_the_sum_of_the_deltas_is_the_last_level_less_the_first_wherever_a_crash_makes_us_read_again(reports, data):
    seen = [level(f"e{n}", sequence, quantity, sku) for n, (sequence, quantity, sku) in enumerate(reports)]
    known, published, place = {}, {}, 0
    for _ in range(200):
        if place >= len(seen):
            break
        size = data.draw(st.integers(1, 4))
        resolved = resolve(seen[place : place + size], known)
        known |= resolved.changes
        for event in resolved.items:
            assert published.setdefault((event.event_id, event.sku), event) == event
        if data.draw(st.booleans()):
            place += size
    if place < len(seen):
        return
    for sku in "AB":
        best, first, last = -1, None, None
        for each in seen:
            if each.sku == sku and each.sequence > best:
                first = each.level if first is None else first
                best, last = each.sequence, each.level
        assert sum((e.delta for e in published.values() if e.sku == sku), Decimal(0)) == (last or 0) - (first or 0)


def test_an_unchanged_level_is_remembered_so_that_an_older_one_does_not_count():
    resolved = resolve([level("e1", 1, 10), level("e2", 5, 10), level("e3", 3, 12)], {})
    assert deltas(resolved) == []
    assert resolved.changes["A", "MAIN"].sequence == 5

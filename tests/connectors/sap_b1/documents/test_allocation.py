from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base.errors import Refusal
from connectors.sap_b1.documents.allocation import OpenLine, Want, fill

QUANTITY = st.decimals("0.001", 20, places=3)
PLACES = st.lists(st.tuples(st.sampled_from("AB"), QUANTITY | st.just(Decimal(0))), min_size=1, max_size=6)
WANTS = st.lists(st.tuples(st.sampled_from("AB"), st.none() | st.integers(0, 5), QUANTITY), min_size=1, max_size=6)


@given(PLACES, WANTS)
def test_quantities_are_conserved_and_never_above_what_is_free(
    places: list[tuple[str, Decimal]], wants: list[tuple[str, int | None, Decimal]]
) -> None:
    there = [OpenLine(str(n), sku, free) for n, (sku, free) in enumerate(places)]
    asked = [
        Want(
            i, None if n is None else str(n % len(places)), places[n % len(places)][0] if n is not None else sku, "", q
        )
        for i, (sku, n, q) in enumerate(wants)
    ]
    asked = [Want(w.position, w.line_id, w.sku, w.sku, w.quantity) for w in asked]
    try:
        pieces = fill(asked, there, "over_delivered", "open")
    except Refusal as refusal:
        assert refusal.reason == "over_delivered"
        too_much = [
            sku
            for sku in "AB"
            if sum(w.quantity for w in asked if w.sku == sku) > sum(p.free for p in there if p.item_code == sku)
        ]
        named = [
            n for n, place in enumerate(there) if sum(w.quantity for w in asked if w.line_id == str(n)) > place.free
        ]
        assert too_much or named, "refused only when it cannot fit"
        return
    for i, want in enumerate(asked):
        assert sum(p.quantity for p in pieces if p.want == i) == want.quantity
        assert all(there[p.place].suits(want) for p in pieces if p.want == i)
    for n, place in enumerate(there):
        assert sum(p.quantity for p in pieces if p.place == n) <= place.free
    assert all(p.quantity > 0 for p in pieces)
    assert [(p.want, p.place) for p in pieces] == sorted((p.want, p.place) for p in pieces)


def test_a_refusal_says_how_much_there_is() -> None:
    with pytest.raises(Refusal, match="3 asked for and 2 open"):
        fill([Want(0, None, "A", "A", Decimal(3))], [OpenLine("1", "A", Decimal(2))], "over_delivered", "open")


def test_who_names_its_line_is_served_before_who_takes_any() -> None:
    wants = [Want(0, None, "A", "A", Decimal(1)), Want(1, "1", "A", "A", Decimal(1))]
    places = [OpenLine("1", "A", Decimal(1)), OpenLine("2", "A", Decimal(1))]
    assert [(p.want, p.place) for p in fill(wants, places, "over_delivered", "open")] == [(0, 1), (1, 0)]


def test_units_that_one_line_took_are_no_longer_free_for_the_next() -> None:
    wants = [Want(n, None, "A", "A", Decimal(2)) for n in range(2)]
    with pytest.raises(Refusal, match="2 asked for and 1 open"):
        fill(wants, [OpenLine("1", "A", Decimal(3))], "over_delivered", "open")

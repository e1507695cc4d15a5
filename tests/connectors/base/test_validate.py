"""What is no event is named by its field, and never by its value."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base.validate import exactly, violation_of
from schemas.codec import UnencodableError, embedded_codec
from schemas.events import (
    BatchQuantity,
    DispatchConfirmed,
    DispatchLine,
    OrderLine,
    OrderPlaced,
    Shipping,
    StockAdjusted,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HEAD = {"source": "shop", "company": "acme", "event_id": "e", "occurred_at": NOW, "observed_at": NOW, "digest": b""}
LINE = OrderLine(line_id="1", sku="A", quantity=Decimal(1), unit_price=Decimal(2), discount=Decimal(0))
ORDER = OrderPlaced(**HEAD, order_id="o", currency="GBP", lines=(LINE,), shipping=Shipping(amount=Decimal(-1)))
DISPATCH = DispatchConfirmed(
    **HEAD,
    shipment_id="s",
    order_id="o",
    location="MAIN",
    lines=(
        DispatchLine(
            sku="A", quantity=Decimal(1), batches=(BatchQuantity(number="L", quantity=Decimal(1)),), serials=("S",)
        ),
    ),
)
NAMELESS = BatchQuantity(number="\n", quantity=Decimal(1))
MOVE = StockAdjusted(**HEAD, sku="A", location="MAIN", delta=Decimal(-3), reason="count")


def with_line(**changes: object) -> OrderPlaced:
    return replace(ORDER, lines=(replace(LINE, **changes),))


def test_what_is_an_event_has_no_fault():
    assert [violation_of(each) for each in (ORDER, DISPATCH, MOVE)] == [None] * 3


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (replace(ORDER, occurred_at=NOW + timedelta(days=1, seconds=1)), "occurred_at is more than a day ahead"),
        (replace(ORDER, occurred_at=datetime(1969, 12, 31, tzinfo=UTC)), "before 1970"),
        (replace(ORDER, lines=(LINE, LINE)), "two lines have the same line_id"),
        (replace(ORDER, order_id=" "), "order_id is empty"),
        (replace(ORDER, order_id="x" * 101), "order_id has more than 100 characters"),
        (with_line(sku="A\x00"), "lines[0].sku has a control character"),
        (with_line(sku="\ud800"), "lines[0].sku has a control character or half"),
        (with_line(quantity=Decimal(0)), "lines[0].quantity is not above 0"),
        (with_line(unit_price=Decimal(-1)), "lines[0].unit_price is below 0"),
        (with_line(discount=Decimal("1E13")), "lines[0].discount does not fit"),
        (with_line(tax_amount=Decimal("0.0000001")), "lines[0].tax_amount does not fit"),
        (replace(ORDER, shipping=Shipping(amount=Decimal("NaN"))), "shipping.amount does not fit"),
        (replace(DISPATCH, lines=(replace(DISPATCH.lines[0], serials=("S", "")),)), "lines[0].serials[1] is empty"),
        (
            replace(DISPATCH, lines=(replace(DISPATCH.lines[0], batches=(NAMELESS,)),)),
            "lines[0].batches[0].number is empty",
        ),
        (replace(MOVE, delta=Decimal("-1E13")), "delta does not fit"),
    ],
)
def test_a_fault_is_told_by_its_field(event, words):
    found = violation_of(event)
    assert found is not None
    assert words in found


@given(st.decimals(allow_nan=True, allow_infinity=True))
def test_a_number_has_a_fault_just_when_it_cannot_be_written(number):
    event = replace(ORDER, grand_total=number)
    try:
        embedded_codec().encode(event)
    except UnencodableError:
        assert violation_of(event) is not None
    else:
        assert violation_of(event) is None


def test_reckoning_keeps_every_digit_of_two_numbers():
    most = Decimal("9999999999999.999999")
    product = exactly(lambda: most * most)()
    assert product == Decimal("99999999999999999980000000.000000000001")
    assert exactly(lambda: product.quantize(Decimal("0.000001")))()

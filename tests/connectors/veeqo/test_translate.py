"""Veeqo's amounts become B1's to the penny: the lines and the delivery add up to what the customer paid."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base.context import EventContext
from connectors.base.errors import RecordError
from connectors.veeqo.records import VeeqoOrder, validate
from connectors.veeqo.settings import VeeqoSettings
from connectors.veeqo.translate.orders import order_placed
from lab.simulators.veeqo.state import Account, Line
from schemas.events import OrderPlaced

AT = datetime(2026, 11, 21, 9, tzinfo=UTC)


def placed(*lines: Line, tax_code: str = "{country}-{rate}", **fields: Any) -> OrderPlaced:
    account = Account(lambda: AT)
    account.add_warehouse(11, "Main")
    for sku in {line.sku for line in lines}:
        account.add_product(sku)
    table = {"kind": "veeqo", "company": "acme", "api_key": "env:K", "tax_code": tax_code}
    return event_of(account.orders[account.place_order(*lines, **fields)], **table)


def event_of(row: Any, **settings: Any) -> OrderPlaced:
    table = {"kind": "veeqo", "company": "acme", "api_key": "env:K", **settings}
    checked = VeeqoSettings.model_validate(table, context={"environ": {"K": "k"}})
    return order_placed(validate(VeeqoOrder, row), EventContext("vq", "acme", checked, AT))


def field(name: str, **changes: Any) -> Any:
    """A row as Veeqo was found to answer it."""
    path = Path(__file__).parent / "field" / f"{name}.json"
    return {**json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal), **changes}


def rounded(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), "ROUND_HALF_UP")


def net(line: Any) -> Decimal:
    """As B1's side reckons it (contract section 2)."""
    return rounded(line.quantity * line.unit_price - (line.discount or 0))


def sums(event: OrderPlaced) -> tuple[Decimal, Decimal]:
    shipping = event.shipping
    freight, freight_tax = (
        (shipping.amount, shipping.tax_amount or Decimal(0)) if shipping else (Decimal(0), Decimal(0))
    )
    tax = sum((line.tax_amount for line in event.lines), Decimal(0)) + freight_tax
    return sum((net(line) for line in event.lines), Decimal(0)) + freight + tax, tax


def test_the_published_sample_order():
    event = placed(Line("TEA-250", 2, "20.0", "0.2", "2.0"), delivery_cost=Decimal("3.0"), number="P-2201")
    (line,) = event.lines
    assert (line.quantity, line.unit_price, line.discount) == (2, 20, 4)
    assert (line.tax_code, line.tax_rate, line.tax_amount) == ("GB-20", 20, Decimal("7.20"))
    assert event.shipping is not None
    assert (event.shipping.method, event.shipping.amount) == ("Next day", 3)
    assert (event.shipping.tax_code, event.shipping.tax_amount) == ("GB-20", Decimal("0.60"))
    assert (event.tax_total, event.grand_total) == (Decimal("7.80"), Decimal("46.80"))
    assert sums(event) == (event.grand_total, event.tax_total)
    assert (event.order_number, event.currency, event.occurred_at) == ("P-2201", "GBP", AT)
    assert event.payment is not None
    assert (event.payment.method, event.payment.amount) == ("paypal", Decimal("46.80"))
    assert event.ship_to is not None
    assert (event.ship_to.name, event.ship_to.postcode, event.ship_to.country, event.ship_to.region) == (
        "Mia Odum",
        "LS1 4XX",
        "GB",
        None,
    )
    assert event.customer is not None
    assert (event.customer.id, event.customer.email) == ("91", "mia@example.test")


def test_an_order_level_discount_is_shared_by_the_lines():
    event = placed(Line("A", 1, "10"), Line("B", 2, "10"), additional_order_level_taxless_discount=Decimal("1.00"))
    assert [line.discount for line in event.lines] == [Decimal("0.33"), Decimal("0.67")]
    assert sums(event) == (event.grand_total, event.tax_total)


def test_a_delivery_without_tax_takes_none_and_pennies_go_to_the_largest_line():
    event = placed(
        Line("A", 1, "9.99", "0.2"), Line("B", 1, "0.99", "0.2"), delivery_cost=Decimal("5"), total_tax=Decimal("2.21")
    )
    assert event.shipping is not None
    assert (event.shipping.tax_code, event.shipping.tax_amount) == ("GB-0", 0)
    assert [line.tax_amount for line in event.lines] == [Decimal("2.01"), Decimal("0.20")]
    assert sums(event)[1] == event.tax_total


def test_prices_that_were_made_of_prices_with_tax_add_up_to_the_subtotal():
    """9.99 with 20 % tax is 8.325 net; three of them are 24.975, and Veeqo's subtotal is what counts."""
    for subtotal in ("24.97", "24.98"):
        event = placed(Line("A", 3, "8.325"), subtotal_price=Decimal(subtotal), total_tax=Decimal("4.99"))
        assert net(event.lines[0]) == Decimal(subtotal)
        assert sums(event) == (event.grand_total, event.tax_total)
    event = placed(Line("A", 3, "16.666666666667"))
    assert event.lines[0].unit_price == Decimal("16.666667")
    assert net(event.lines[0]) == Decimal("50.00")


def test_a_difference_that_is_no_rounding_stays_and_is_b1s_total_mismatch():
    event = placed(Line("A", 1, "10"), total_tax=Decimal("2.50"), total_price=Decimal("12.50"))
    assert sums(event)[1] == Decimal("2.00")
    assert (event.tax_total, event.grand_total) == (Decimal("2.50"), Decimal("12.50"))


@pytest.mark.parametrize(("template", "code"), [("", None), ("VAT{rate}", "VAT17.5"), ("{country}-{rate}", "GB-17.5")])
def test_the_tax_code_is_made_of_country_and_percent(template, code):
    assert placed(Line("A", 1, "10", "0.175"), tax_code=template).lines[0].tax_code == code


def test_a_rate_without_a_country_is_a_code_of_its_own():
    row = field("shipping_discount")
    row["deliver_to"]["country"] = None
    assert [event_of(row, tax_code=code).lines[0].tax_code for code in ("{country}-{rate}", "VAT{rate}")] == [
        "20",
        "VAT20",
    ]


def test_the_state_of_an_order_and_names_that_people_change_are_not_in_it():
    events = [
        placed(Line("A", 1, "10"), status=status, tags=[status])
        for status in ("awaiting_stock", "awaiting_fulfillment")
    ]
    assert events[0].digest == events[1].digest


def test_without_a_currency_or_with_a_discount_above_the_price_it_is_refused():
    with pytest.raises(RecordError, match="currency"):
        placed(Line("A", 1, "10"), channel=None)
    with pytest.raises(RecordError, match="discount"):
        placed(Line("A", 1, "10", "0.2", "11"))


def test_a_total_tax_of_zero_outranks_the_rate_on_the_line():
    """Veeqo's published sample order, and marketplace orders whose tax the marketplace remits."""
    event = event_of(field("rate_set_total_tax_zero"))
    (line,) = event.lines
    assert (line.tax_code, line.tax_rate, line.tax_amount) == ("GB-0", 0, 0)
    assert event.shipping is not None
    assert (event.shipping.amount, event.shipping.tax_code, event.shipping.tax_amount) == (3, "GB-0", 0)
    assert sums(event) == (Decimal("4.60"), 0)


def test_a_total_that_goods_and_delivery_explain_leaves_nothing_for_a_tax_that_is_not_told():
    event = event_of(field("rate_set_total_tax_zero", total_tax=None))
    assert sums(event) == (Decimal("4.60"), 0)
    assert event.lines[0].tax_code == "GB-0"


def test_a_line_without_a_rate_in_an_order_without_tax_is_told_as_untaxed():
    row = field("rate_set_total_tax_zero")
    row["line_items"][0]["tax_rate"] = None
    event = event_of(row)
    assert (event.lines[0].tax_code, event.lines[0].tax_amount) == ("GB-0", 0)
    assert event.shipping is not None
    assert event.shipping.tax_amount == 0


def test_a_rate_that_was_divided_out_is_rounded_and_coded_by_the_plain_rate_behind_it():
    event = event_of(field("rate_of_many_digits"))
    (line,) = event.lines
    assert (line.tax_rate, line.tax_code, line.tax_amount) == (Decimal("20.060060"), "GB-20", Decimal("3.34"))
    assert sums(event) == (Decimal("19.99"), Decimal("3.34"))


@pytest.mark.parametrize(
    ("rate", "code"),
    [("0.08875", "GB-8.875"), ("0.090625", "GB-9.0625"), ("0.0887500000001", "GB-8.875"), ("0.2", "GB-20")],
)
def test_a_rate_of_six_digits_is_taken_as_it_is(rate, code):
    row = field("rate_of_many_digits", total_tax=None, total_price=None)
    row["line_items"][0] |= {"tax_rate": Decimal(rate), "price_per_unit": Decimal(1000)}
    row["subtotal_price"] = Decimal(1000)
    assert event_of(row).lines[0].tax_code == code


def test_a_delivery_discount_is_taken_off_where_the_total_has_it_taken_off():
    event = event_of(field("shipping_discount"))
    assert event.shipping is not None
    assert (event.shipping.method, event.shipping.amount, event.shipping.tax_amount) == ("Delivery Method #3", 0, None)
    assert sums(event) == (Decimal("1.92"), Decimal("0.32"))
    partly = event_of(field("shipping_discount", shipping_discount=Decimal("1.25"), total_price=Decimal("3.67")))
    assert partly.shipping is not None
    assert partly.shipping.amount == Decimal("1.75")
    assert sums(partly)[0] == Decimal("3.67")


def test_a_delivery_discount_that_the_total_knows_nothing_of_is_not_taken_off():
    event = event_of(field("shipping_discount", total_price=Decimal("4.92")))
    assert event.shipping is not None
    assert event.shipping.amount == 3
    assert sums(event)[0] == Decimal("4.92")
    with pytest.raises(RecordError, match="shipping_discount is above"):
        event_of(field("shipping_discount", shipping_discount=4))


def test_an_order_without_a_currency_takes_the_settings():
    row = field("shipping_discount", currency_code=None)
    with pytest.raises(RecordError, match=r"connectors\.vq\.currency"):
        event_of(row)
    assert event_of(row, currency="EUR").currency == "EUR"
    assert event_of({**row, "currency_code": "GBP"}, currency="EUR").currency == "GBP"
    with pytest.raises(ValueError, match="currency"):
        event_of(row, currency="euro")


def test_an_order_that_was_merged_into_another_is_refused_unless_the_settings_say_otherwise():
    row = field("shipping_discount", merged_to_id=70012)
    with pytest.raises(RecordError, match=r"merged into order 70012 .*merged_orders"):
        event_of(row)
    assert event_of(row, merged_orders="place").order_id == "70011"


@given(
    st.lists(
        st.tuples(
            st.integers(1, 40),
            st.decimals("0.01", "900", places=3),
            st.sampled_from(["0", "0.05", "0.2"]),
            st.decimals("0", "0.01", places=3),
        ),
        min_size=1,
        max_size=6,
    ),
    st.decimals("0", "20", places=2),
)
def test_whatever_was_ordered_the_parts_add_up_to_the_total(lines, delivery):
    event = placed(
        *(Line(f"S{n}", quantity, str(price), rate, str(off)) for n, (quantity, price, rate, off) in enumerate(lines)),
        delivery_cost=delivery,
    )
    assert sums(event) == (event.grand_total, event.tax_total)
    assert all(line.unit_price >= 0 and (line.discount or 0) >= 0 and line.tax_amount >= 0 for line in event.lines)

"""Rows as shops were seen to send them: each comes to what the buyer paid, or is refused with a reason."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from connectors.base.context import EventContext
from connectors.base.errors import RecordError
from connectors.base.money import line_net
from connectors.magento.listing import ShopRow
from connectors.magento.records import CreditmemoRecord, OrderRecord, validate
from connectors.magento.translate.orders import order_placed
from connectors.magento.translate.refunds import History, refunded
from schemas.events import OrderPlaced, RefundIssued
from tests.connectors.magento.conftest import NOW, settings_of

FIELD = Path(__file__).parent / "field"
D = Decimal


def found(name):
    return json.loads((FIELD / f"{name}.json").read_text(), parse_float=Decimal)


def placed(row, **fields) -> OrderPlaced:
    settings = settings_of(**fields)
    order = validate(OrderRecord, ShopRow(row, b""), settings, NOW)
    return order_placed(order, EventContext("shop", "acme", settings, NOW))


def refund_of(pair, **fields):
    settings = settings_of(**fields)
    order = validate(OrderRecord, ShopRow(pair["order"], b""), settings, NOW)
    memo = validate(CreditmemoRecord, ShopRow(pair["memo"], b""), settings, NOW)
    return refunded(memo, order, History([], [memo]), EventContext("shop", "acme", settings, NOW))


def unexplained(event: OrderPlaced) -> Decimal:
    """By how much lines and shipping miss what the buyer paid, as B1 computes them."""
    net = sum(line_net(line.quantity, line.unit_price, line.discount, event.currency) for line in event.lines)
    tax = sum(line.tax_amount for line in event.lines) + event.shipping.tax_amount
    assert tax == event.tax_total
    return event.grand_total - net - tax - event.shipping.amount


@pytest.mark.parametrize(
    ("name", "freight", "total"),
    [
        ("shipping_100_percent_off", ("0.00", "0.00"), "24.00"),
        ("shipping_90_percent_off", ("0.50", "0.10"), "24.60"),
        ("goods_and_shipping_discount", ("2.50", "0.50"), "24.60"),
        ("shipping_discount_without_compensation", ("0.00", "0.00"), "24.00"),
        ("shipping_discount_without_tax", ("2.50", "0.50"), "27.00"),
    ],
)
def test_a_discount_on_shipping_is_taken_on_its_own_tax_basis(name, freight, total):
    event = placed(found(name))
    assert (event.shipping.amount, event.shipping.tax_amount) == (D(freight[0]), D(freight[1]))
    assert (event.grand_total, unexplained(event)) == (D(total), 0)
    assert event.shipping.tax_code == "GB-20"


def test_the_discount_of_shipping_is_found_where_the_order_has_only_its_own():
    row = found("shipping_100_percent_off")
    for name in ("shipping_discount_amount", "shipping_discount_tax_compensation_amount", "shipping_incl_tax"):
        del row[name]
        event = placed(row)
        assert (event.shipping.amount, event.shipping.tax_amount, unexplained(event)) == (0, 0, 0)


def test_a_total_that_no_basis_comes_to_leaves_shipping_as_the_order_says_it():
    event = placed(found("shipping_100_percent_off") | {"grand_total": 27})
    assert (event.shipping.amount, unexplained(event)) == (0, 3)


def test_in_the_base_currency_the_shipping_discount_is_too():
    row = found("shipping_100_percent_off")
    names = [name for name in row if name.endswith(("amount", "incl_tax", "grand_total", "subtotal"))]
    short = {"shipping_discount_tax_compensation_amount": "shipping_discount_tax_compensation_amnt"}
    row |= {f"base_{short.get(name, name)}": row[name] for name in names} | dict.fromkeys(names, 99)
    (item,) = row["items"]
    for name in ("price", "row_total", "tax_amount", "discount_amount", "discount_tax_compensation_amount"):
        item |= {f"base_{name}": item[name], name: 99}
    event = placed(row, currency="base")
    assert (event.shipping.amount, event.grand_total, unexplained(event)) == (0, D("24.00"), 0)


def test_a_rate_without_a_country_is_a_code_of_its_own():
    event = placed(found("no_country"))
    assert [(line.tax_code, line.tax_rate) for line in event.lines] == [("20", 20)]
    assert event.shipping.tax_code == "20"


def test_without_tax_codes_the_percent_alone_is_the_code_of_what_has_no_rate_beside_it():
    event = placed(found("shipping_at_another_rate"), tax_codes="none")
    assert (event.lines[0].tax_code, event.lines[0].tax_rate, event.shipping.tax_code) == (None, 5, "20")


@pytest.mark.parametrize("tax_codes", ["rate", "applied"])
def test_no_tax_charged_wins_over_a_rate(tax_codes):
    row = found("rate_but_no_tax")
    taxes = [{"type": "product", "item_id": 900, "applied_taxes": [{"code": "VAT20", "percent": 20}]}]
    event = placed(
        row | {"extension_attributes": row["extension_attributes"] | {"item_applied_taxes": taxes}}, tax_codes=tax_codes
    )
    (line,) = event.lines
    assert (line.tax_code, line.tax_rate, line.tax_amount) == ("GB-0", 0, 0)
    assert (event.tax_total, event.grand_total, unexplained(event)) == (0, D("25.00"), 0)
    assert event.shipping.tax_code == "GB-0"


def test_tax_without_a_rate_has_the_rate_that_it_comes_to():
    event = placed(found("tax_without_rate"))
    assert [(line.tax_code, line.tax_rate, line.tax_amount) for line in event.lines] == [("GB-20", 20, 4)]
    assert event.shipping.tax_code == "GB-20"


def test_prices_and_rates_of_many_digits_are_rounded():
    event = placed(found("rate_of_many_digits"))
    (line,) = event.lines
    assert (line.tax_rate, line.tax_code, line.tax_amount) == (D("8.251235"), "GB-8.251235", D("1.65"))
    assert (event.shipping.tax_code, event.grand_total, unexplained(event)) == ("GB-8.251235", D("27.06"), 0)


def test_shipping_has_the_rate_that_it_was_taxed_at_and_not_a_rows():
    row = found("shipping_at_another_rate")
    event = placed(row)
    assert (event.lines[0].tax_code, event.shipping.tax_code) == ("GB-5", "GB-20")


@pytest.mark.parametrize(("taxes", "code"), [([], "GB-20"), ([{"code": "UK-FREIGHT", "percent": 20}], "UK-FREIGHT")])
def test_a_row_that_no_tax_was_applied_to_has_the_code_of_its_rate(taxes, code):
    row = found("shipping_at_another_rate")
    applied = [
        {"type": "shipping", "applied_taxes": taxes},
        {"type": "weee", "item_id": 900, "applied_taxes": [{"code": "ECO"}]},
    ]
    row["extension_attributes"]["item_applied_taxes"] = applied
    event = placed(row, tax_codes="applied")
    assert (event.lines[0].tax_code, event.shipping.tax_code) == ("GB-5", code)


def test_a_rounding_difference_is_measured_in_the_smallest_unit_of_its_currency():
    row = found("rate_but_no_tax") | {"order_currency_code": "JPY", "grand_total": 27, "tax_amount": 2}
    event = placed(row | {"items": [row["items"][0] | {"tax_amount": 2, "tax_percent": 10}]})
    assert unexplained(event) == 0
    event = placed(row | {"grand_total": 28, "items": [row["items"][0] | {"tax_amount": 2, "tax_percent": 10}]})
    assert (event.grand_total, unexplained(event)) == (28, 0)
    event = placed(row | {"grand_total": 33, "items": [row["items"][0] | {"tax_amount": 2, "tax_percent": 10}]})
    assert unexplained(event) == 6


def test_a_credit_memo_takes_the_discount_of_shipping_as_the_order_did():
    *_, refund = refund_of(found("refund_shipping_100_percent_off"))
    assert (refund.lines[0].amount, refund.lines[0].tax_amount, refund.shipping, refund.total) == (20, 4, None, 24)


def test_money_back_that_no_part_of_a_credit_memo_explains_is_refused():
    with pytest.raises(RecordError, match="grand_total is not what"):
        refund_of(found("refund_of_money_only"))


def test_money_back_that_an_adjustment_explains_is_one_under_a_code_of_its_own():
    pair = found("refund_of_money_only")
    (refund,) = refund_of({**pair, "memo": pair["memo"] | {"adjustment_positive": 15}})
    assert isinstance(refund, RefundIssued)
    assert (refund.adjustment.amount, refund.adjustment.tax_code, refund.total) == (15, "GB-0", 15)
    (refund,) = refund_of({**pair, "memo": pair["memo"] | {"adjustment_positive": 15}}, adjustment_tax_rate="20")
    assert (refund.adjustment.amount, refund.adjustment.tax_amount, refund.adjustment.tax_code) == (
        D("12.5"),
        D("2.5"),
        "GB-20",
    )


def test_money_back_for_goods_that_never_left_is_not_dropped_either():
    pair = found("refund_shipping_100_percent_off")
    with pytest.raises(RecordError, match="grand_total is not what"):
        refund_of({**pair, "memo": pair["memo"] | {"grand_total": 39}})

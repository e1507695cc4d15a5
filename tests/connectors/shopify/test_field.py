"""Orders that real shops were found to send, and what must come out of them.

`field/` has each as `Orders.fetch` returns it.
"""

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.base.source import RefusedRecord
from connectors.base.values import validate
from connectors.shopify import records
from connectors.shopify.settings import ShopifySettings
from connectors.shopify.translate.context import ShopifyContext
from connectors.shopify.translate.orders import changes_of
from schemas.events import DispatchConfirmed, OrderCancelled, OrderPlaced, RefundIssued
from tests.connectors.shopify.events import gross, of, total_of

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FIELD = Path(__file__).parent / "field"


def field(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FIELD / f"{name}.json").read_text(), parse_float=Decimal)
    return found


def items_of(raw: dict[str, Any], **settings: Any) -> list[Any]:
    table = {"kind": "shopify", "company": "acme", "shop": "demo.myshopify.com", "access_token": "env:T", **settings}
    found = ShopifySettings.model_validate(table, context={"environ": {"T": "x"}})
    context = ShopifyContext("shop", "acme", found, NOW)
    return [item for each in changes_of(validate(records.Order, raw), raw, context) for item in each.items]


def only(kind: type, items: list[Any]) -> Any:
    (found,) = of(kind, items)
    return found


def bag(amount: str) -> dict[str, Any]:
    return {"shopMoney": {"amount": amount, "currencyCode": "GBP"}}


def parts_of(refund: RefundIssued) -> Decimal:
    """What a refund's rows come to, with tax."""
    rows = (*refund.lines, refund.shipping, refund.adjustment)
    return sum((gross(each) for each in rows if each is not None), Decimal(0))


# ---- tax that is known, and a country that is not


def test_a_sale_at_a_till_has_the_rate_for_a_tax_code_and_not_the_companys_default() -> None:
    order = only(OrderPlaced, items_of(field("sale_at_a_till")))
    assert [(line.sku, line.tax_code, line.tax_rate) for line in order.lines] == [("BOOK", "0", 0), ("MUG", "20", 20)]
    assert total_of(order) == order.grand_total == 22


def test_a_sale_at_a_till_is_of_the_home_country_where_that_is_configured() -> None:
    order = only(OrderPlaced, items_of(field("sale_at_a_till"), home_country="GB"))
    assert [line.tax_code for line in order.lines] == ["GB-0", "GB-20"]


def test_an_address_without_a_country_is_no_country_either() -> None:
    raw = field("taxed_duties")
    raw["shippingAddress"]["countryCodeV2"] = None
    assert only(OrderPlaced, items_of(raw)).lines[0].tax_code == "GB-20"  # of the billing address
    raw["billingAddress"] = None
    assert only(OrderPlaced, items_of(raw)).lines[0].tax_code == "20"


@pytest.mark.parametrize("country", [None, "GB"])
def test_a_tax_whose_rate_is_not_told_is_a_code_of_its_own(country: str | None) -> None:
    raw = field("sale_at_a_till")
    raw["lineItems"][1]["taxLines"][0]["rate"] = None
    order = only(OrderPlaced, items_of(raw, home_country=country))
    assert order.lines[1].tax_code == ("GB-unknown" if country else "unknown")
    assert order.lines[1].tax_rate is None


def test_a_rate_is_not_believed_where_the_tax_is_nothing() -> None:
    raw = field("sale_at_a_till")
    raw["lineItems"][1]["taxLines"][0]["priceSet"] = bag("0.00")
    raw["totalTaxSet"] = bag("0.00")
    order = only(OrderPlaced, items_of(raw, home_country="GB"))
    assert [(line.tax_code, line.tax_rate, line.tax_amount) for line in order.lines] == [("GB-0", 0, 0), ("GB-0", 0, 0)]


def test_untaxed_lines_and_taxes_without_a_title_have_codes_where_codes_are_titles() -> None:
    raw = field("sale_at_a_till")
    assert [line.tax_code for line in only(OrderPlaced, items_of(raw, tax_codes="title")).lines] == ["none", "VAT"]
    raw["lineItems"][1]["taxLines"][0]["title"] = None
    assert [line.tax_code for line in only(OrderPlaced, items_of(raw, tax_codes="title")).lines] == ["none", "unknown"]


def test_codes_of_the_rate_alone_name_lines_freight_and_adjustments() -> None:
    raw = field("taxed_duties")
    refund = field("refund_of_money_only")["refunds"][0]
    refund["orderAdjustments"]["nodes"].append({"amountSet": bag("-15.00"), "taxAmountSet": bag("0.00")})
    raw["refunds"] = [refund]
    items = items_of(raw, tax_codes="none")
    order = only(OrderPlaced, items)
    assert (order.lines[0].tax_code, order.shipping.tax_code) == ("20", "20")
    assert only(RefundIssued, items).adjustment.tax_code == "0"


def test_freight_has_the_code_of_what_is_in_it_also_where_its_parts_are_taxed_differently() -> None:
    raw = field("shipping_refund_told_twice")
    raw["refunds"] = []
    assert only(OrderPlaced, items_of(raw)).shipping.tax_code == "GB-20"
    tip = copy.deepcopy(raw["lineItems"][0])
    tip |= {
        "id": "gid://shopify/LineItem/9",
        "sku": None,
        "requiresShipping": False,
        "taxLines": [],
        "originalUnitPriceSet": bag("2.00"),
    }
    raw["lineItems"].append(tip)
    raw["totalPriceSet"] = bag("31.00")
    order = only(OrderPlaced, items_of(raw))
    assert (order.shipping.amount, order.shipping.tax_amount) == (Decimal("6.17"), Decimal("0.83"))
    assert order.shipping.tax_code == "GB-0+GB-20"


# ---- taxed duties and fees


def test_the_tax_of_duties_is_read_off_the_totals() -> None:
    order = only(OrderPlaced, items_of(field("taxed_duties")))
    assert (order.shipping.amount, order.shipping.tax_amount, order.shipping.tax_code) == (
        Decimal("7.50"),
        Decimal("1.50"),
        "GB-20",
    )
    assert total_of(order) == order.grand_total == 33
    assert order.tax_total == Decimal("5.50")


TAXED = {"price": bag("7.50"), "taxLines": [{"title": "VAT", "rate": Decimal("0.2"), "priceSet": bag("1.50")}]}


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("kind", ["duties", "fees"])
@pytest.mark.parametrize(
    ("total", "tax", "net"),
    [
        ("33.00", "5.50", "7.50"),
        ("33.00", "4.00", "7.50"),  # the order's tax is without that of its duties
        ("31.50", "5.50", "6.00"),  # their price holds it
        ("31.50", "4.00", None),  # it holds it if they have one at all
    ],
)
def test_taxed_duties_and_fees_sum_to_the_order_however_shopify_totals_them(
    told: bool, kind: str, total: str, tax: str, net: str | None
) -> None:
    raw = field("taxed_duties") | {"totalPriceSet": bag(total), "totalTaxSet": bag(tax)}
    if kind == "fees":
        raw["originalTotalAdditionalFeesSet"], raw["originalTotalDutiesSet"] = raw["originalTotalDutiesSet"], None
    if told and kind == "duties":
        raw["lineItems"][0]["duties"] = [TAXED]
    elif told:
        raw["additionalFees"] = [TAXED]
    if net is None:
        net = "6.00" if told else "7.50"
    order = only(OrderPlaced, items_of(raw))
    assert order.shipping.amount == Decimal(net)
    assert total_of(order) == order.grand_total == Decimal(total)
    assert order.lines[0].tax_amount + order.shipping.tax_amount == order.tax_total


def test_a_refund_of_taxed_duties_gives_their_tax_back() -> None:
    raw = field("taxed_duties")
    refund = field("refund_of_money_only")["refunds"][0]
    refund["duties"] = [{"amountSet": bag("7.50")}]
    refund["transactions"]["nodes"][0]["amountSet"] = bag("9.00")
    raw["refunds"] = [refund]
    found = only(RefundIssued, items_of(raw))
    assert (found.adjustment.amount, found.adjustment.tax_amount, found.adjustment.tax_code, found.total) == (
        Decimal("7.50"),
        Decimal("1.50"),
        "GB-20",
        9,
    )


# ---- money that no row explains


def test_a_refund_of_money_only_is_an_adjustment() -> None:
    found = only(RefundIssued, items_of(field("refund_of_money_only")))
    assert (found.lines, found.shipping, found.adjustment.amount, found.total) == ((), None, 15, 15)
    # Nothing is told of its tax: B1 finds its code by the company's default.
    assert (found.adjustment.tax_code, found.adjustment.tax_amount) == (None, None)


def test_the_tax_in_a_refund_of_money_only_is_a_setting() -> None:
    found = only(
        RefundIssued,
        items_of(field("refund_of_money_only"), adjustment_tax_rate="20", adjustment_tax_code="GB-20"),
    )
    assert (found.adjustment.amount, found.adjustment.tax_amount) == (Decimal("12.50"), Decimal("2.50"))
    assert (found.adjustment.tax_code, found.total) == ("GB-20", 15)


def test_an_adjustment_has_the_code_of_the_tax_that_is_told() -> None:
    raw = field("refund_of_money_only")
    adjustments = raw["refunds"][0]["orderAdjustments"]["nodes"]
    adjustments.append({"amountSet": bag("-15.00"), "taxAmountSet": bag("0.00")})
    found = only(RefundIssued, items_of(raw))
    assert (found.adjustment.amount, found.adjustment.tax_code) == (15, "GB-0")
    adjustments[0] = {"amountSet": bag("-12.50"), "taxAmountSet": bag("-2.50")}
    found = only(RefundIssued, items_of(raw))
    assert (found.adjustment.amount, found.adjustment.tax_amount, found.adjustment.tax_code) == (
        Decimal("12.50"),
        Decimal("2.50"),
        "GB-20",
    )


@pytest.mark.parametrize(("paid", "amount"), [("24.01", "20.01"), ("23.99", "19.99"), ("24.05", "20.05")])
def test_a_cent_of_another_currency_goes_into_the_largest_row(paid: str, amount: str) -> None:
    raw = field("refund_with_a_cent_more")
    raw["refunds"][0]["transactions"]["nodes"][0]["amountSet"] = bag(paid)
    found = only(RefundIssued, items_of(raw))
    assert [(line.amount, line.tax_amount) for line in found.lines] == [(Decimal(amount), 4)]
    assert found.total == parts_of(found) == Decimal(paid)


@pytest.mark.parametrize("paid", ["24.06", "19.00", "23.00", "30.00"])
def test_money_that_nothing_explains_is_a_dead_letter_with_both_figures(paid: str) -> None:
    raw = field("refund_with_a_cent_more")
    raw["refunds"][0]["transactions"]["nodes"][0]["amountSet"] = bag(paid)
    items = items_of(raw)
    letter = only(RefusedRecord, items)
    assert (letter.event_type, letter.reason) == ("refund_issued", "total_mismatch")
    assert f"rows come to 24.00, its money to {paid}" in letter.error
    assert of(RefundIssued, items) == []


def test_the_tolerance_is_in_minor_units_of_the_currency() -> None:
    text = json.dumps(field("refund_with_a_cent_more"), default=str).replace("GBP", "JPY")
    for found, paid in (("48.00", "4800"), ("24.00", "2400"), ("24.01", "2403"), ("8.00", "800"), ("4.00", "400")):
        text = text.replace(f'"{found}"', f'"{paid}"')
    raw = json.loads(text.replace('"0.2"', "0.2"), parse_float=Decimal)
    found = only(RefundIssued, items_of(raw))
    assert (found.lines[0].amount, found.total) == (2003, 2403)
    assert of(RefundIssued, items_of(raw, rounding_tolerance=2)) == []


@pytest.mark.parametrize(("total", "tax"), [("48.01", "8.00"), ("47.99", "8.00"), ("48.00", "8.01"), ("48.02", "7.99")])
def test_an_order_whose_lines_miss_its_total_by_cents_sums_to_it(total: str, tax: str) -> None:
    raw = field("refund_with_a_cent_more") | {"totalPriceSet": bag(total), "totalTaxSet": bag(tax)}
    order = only(OrderPlaced, items_of(raw))
    assert total_of(order).quantize(Decimal("0.01")) == order.grand_total == Decimal(total)
    assert order.lines[0].tax_amount == order.tax_total == Decimal(tax)


def test_a_shipping_refund_in_two_lists_is_paid_back_once() -> None:
    found = only(RefundIssued, items_of(field("shipping_refund_told_twice")))
    assert (found.shipping.amount, found.shipping.tax_amount) == (Decimal("4.17"), Decimal("0.83"))
    assert (found.adjustment, found.total) == (None, 5)


def test_a_shipping_refund_and_as_much_goodwill_are_both_paid_back() -> None:
    raw = field("shipping_refund_told_twice")
    raw["refunds"][0]["transactions"]["nodes"][0]["amountSet"] = bag("10.00")
    found = only(RefundIssued, items_of(raw))
    assert (
        found.shipping.amount + found.shipping.tax_amount == found.adjustment.amount + found.adjustment.tax_amount == 5
    )
    assert found.total == 10


def test_a_shipping_refund_in_two_lists_beside_goods_and_goodwill_is_paid_back_once() -> None:
    raw = field("shipping_refund_told_twice")
    refund = raw["refunds"][0]
    refund["refundLineItems"] = field("refund_with_a_cent_more")["refunds"][0]["refundLineItems"]
    refund["orderAdjustments"]["nodes"].append({"amountSet": bag("-1.00"), "taxAmountSet": bag("0.00")})
    refund["transactions"]["nodes"][0]["amountSet"] = bag("30.00")
    found = only(RefundIssued, items_of(raw))
    assert (found.adjustment.amount, found.adjustment.tax_amount) == (1, 0)
    assert found.total == parts_of(found) == 30


def test_goods_of_an_order_that_nobody_has_paid_are_credited_in_full() -> None:
    raw = field("refund_with_a_cent_more")
    raw["transactions"], raw["refunds"][0]["transactions"]["nodes"] = [], []
    found = only(RefundIssued, items_of(raw))
    assert found.total == parts_of(found) == 24


def test_money_paid_back_for_a_line_that_was_taken_off_earlier_is_credited_by_nobody() -> None:
    """The line was removed before it was sent, and has no invoice; the money goes back later, without rows."""
    raw = field("refund_of_money_only")
    raw["fulfillments"] = []
    removed = copy.deepcopy(raw["refunds"][0]) | {
        "id": "gid://shopify/Refund/80",
        "createdAt": "2026-11-03T10:00:00Z",
        "refundLineItems": [
            {
                "quantity": 1,
                "restockType": "CANCEL",
                "lineItem": {"id": "gid://shopify/LineItem/1"},
                "location": None,
                "subtotalSet": bag("100.00"),
                "totalTaxSet": bag("16.67"),
            }
        ],
    }
    removed["transactions"]["nodes"] = []
    raw["refunds"][0]["transactions"]["nodes"][0]["amountSet"] = bag("100.00")
    raw["refunds"].insert(0, removed)
    items = items_of(raw)
    assert only(OrderCancelled, items).lines[0].quantity == 1
    assert of(RefundIssued, items) == of(RefusedRecord, items) == []


# ---- exchanges


def sale(line: int | None, total: str, tax: str, *, quantity: int | None = 1, kind: str = "PRODUCT") -> dict[str, Any]:
    return {
        "actionType": "RETURN" if (quantity or 0) < 0 else "ORDER",
        "lineType": kind,
        "quantity": quantity,
        "totalAmount": bag(total),
        "totalTaxAmount": bag(tax),
        "lineItem": {"id": f"gid://shopify/LineItem/{line}"} if line else None,
    }


def exchange(*more: dict[str, Any]) -> dict[str, Any]:
    """MAIN for 100 comes back, EXCH for 250 goes out; `more`: other sales of the return."""
    raw = field("exchange")
    returned = [sale(1, "-100.00", "-16.67", quantity=-1), sale(2, "250.00", "41.67"), *more]
    raw["agreements"] = [
        {
            "id": "gid://shopify/SalesAgreement/1",
            "happenedAt": "2026-11-02T09:15:00Z",
            "reason": "ORDER",
            "sales": [sale(1, "100.00", "16.67")],
        },
        {
            "id": "gid://shopify/SalesAgreement/2",
            "happenedAt": "2026-11-04T10:00:00Z",
            "reason": "RETURN",
            "sales": returned,
        },
    ]
    return raw


def before_the_exchange() -> dict[str, Any]:
    raw = field("exchange") | {
        "totalPriceSet": bag("100.00"),
        "totalTaxSet": bag("16.67"),
        "refunds": [],
        "agreements": [],
    }
    del raw["lineItems"][1:], raw["fulfillments"][1:], raw["transactions"][1:]
    return raw


def test_goods_of_an_exchange_are_an_order_of_their_own_which_their_dispatch_finds() -> None:
    items = items_of(exchange())
    first, second = of(OrderPlaced, items)
    assert [(line.sku, line.quantity) for line in first.lines] == [("MAIN", 1)]
    assert (first.order_id, first.grand_total, total_of(first)) == ("5500001", 100, Decimal(100))
    assert [(line.sku, line.quantity, line.tax_amount) for line in second.lines] == [("EXCH", 1, Decimal("41.67"))]
    assert (second.order_id, second.order_number, second.grand_total) == ("5500001-2", "#1001-X1", 250)
    assert [(each.order_id, each.lines[0].sku) for each in of(DispatchConfirmed, items)] == [
        ("5500001", "MAIN"),
        ("5500001-2", "EXCH"),
    ]
    assert of(RefusedRecord, items) == []


def test_goods_that_come_back_for_others_are_credited_in_full_though_no_money_moves() -> None:
    found = only(RefundIssued, items_of(exchange()))
    assert (found.order_id, found.total, parts_of(found)) == ("5500001", 100, Decimal(100))
    assert [(line.sku, line.restock) for line in found.lines] == [("MAIN", True)]
    assert found.adjustment is None


def test_an_order_says_the_same_before_and_after_its_exchange() -> None:
    (before,) = of(OrderPlaced, items_of(before_the_exchange()))
    after, _ = of(OrderPlaced, items_of(exchange()))
    assert before.digest == after.digest


def test_an_exchange_for_cheaper_goods_pays_the_rest_back() -> None:
    raw = exchange()
    raw["agreements"][1]["sales"][1] = sale(2, "60.00", "10.00")
    del raw["transactions"][1]
    raw["refunds"][0]["transactions"]["nodes"] = field("refund_of_money_only")["refunds"][0]["transactions"]["nodes"]
    raw["refunds"][0]["transactions"]["nodes"][0]["amountSet"] = bag("40.00")
    found = only(RefundIssued, items_of(raw))
    assert (found.total, found.adjustment) == (100, None)
    # Written off as a discrepancy, what the other goods cost is no goodwill either.
    raw["refunds"][0]["orderAdjustments"]["nodes"] = [{"amountSet": bag("60.00"), "taxAmountSet": bag("0.00")}]
    found = only(RefundIssued, items_of(raw))
    assert (found.total, found.adjustment) == (100, None)


@pytest.mark.parametrize("paid", ["245.00", "150.00"])
def test_a_returns_fee_is_kept_back_from_its_credit(paid: str) -> None:
    """Netted: the customer pays 155 for goods of 250, or gets 95 for goods of 100."""
    raw = exchange(sale(None, "5.00", "0.83", quantity=None, kind="FEE"))
    if paid == "150.00":
        raw["transactions"][1]["amountSet"] = bag("155.00")
    else:
        del raw["agreements"][1]["sales"][1], raw["lineItems"][1], raw["fulfillments"][1], raw["transactions"][1]
        raw["refunds"][0]["transactions"]["nodes"] = field("refund_of_money_only")["refunds"][0]["transactions"][
            "nodes"
        ]
        raw["refunds"][0]["transactions"]["nodes"][0]["amountSet"] = bag("95.00")
    found = only(RefundIssued, items_of(raw))
    assert (found.adjustment.amount, found.adjustment.tax_amount) == (Decimal("-4.17"), Decimal("-0.83"))
    assert found.adjustment.tax_code == "GB-20"
    assert found.total == parts_of(found) == 95


def test_freight_of_an_exchange_goes_with_its_goods() -> None:
    raw = exchange(sale(None, "6.00", "1.00", quantity=None, kind="SHIPPING"))
    _, second = of(OrderPlaced, items_of(raw))
    assert (second.shipping.amount, second.shipping.tax_amount, second.grand_total) == (5, 1, 256)


def test_a_cancelled_order_cancels_the_goods_of_its_exchange_too() -> None:
    raw = exchange() | {"cancelledAt": "2026-11-06T10:00:00Z"}
    assert {each.order_id for each in of(OrderCancelled, items_of(raw))} == {"5500001", "5500001-2"}


def test_without_agreements_an_order_that_may_hide_an_exchange_is_a_dead_letter() -> None:
    items = items_of(field("exchange"))
    letter = only(RefusedRecord, items)
    assert (letter.event_type, letter.order_id) == ("order_placed", "5500001")
    assert "exchanged" in letter.error
    assert of(OrderPlaced, items) == []
    # The goods that came back are credited all the same.
    assert only(RefundIssued, items).total == 100


def test_every_input_is_read_alike_whatever_came_after_it() -> None:
    """What was emitted for an order stays what it was, as more happens to it."""
    raw = exchange()
    seen: dict[tuple[str, str], bytes] = {}
    readings: list[Callable[[dict[str, Any]], object]] = [
        lambda each: each["refunds"].append(
            field("refund_of_money_only")["refunds"][0]
            | {"id": "gid://shopify/Refund/99", "createdAt": (NOW - timedelta(days=1)).isoformat()}
        ),
        lambda each: each.update(cancelledAt="2026-11-20T10:00:00Z"),
    ]
    for change in (lambda _: None, *readings):
        change(raw)
        for item in items_of(raw):
            if not isinstance(item, RefusedRecord):
                assert seen.setdefault((type(item).__name__, item.event_id), item.digest) == item.digest
    assert len(seen) == 8

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base.errors import Refusal
from connectors.sap_b1.documents import refund_issued
from lab.simulators.sap_b1.state.messages import Request
from schemas.events import (
    Adjustment,
    BatchQuantity,
    CancelledLine,
    DispatchLine,
    RefundIssued,
    RefundShipping,
    Shipping,
)
from tests.connectors.sap_b1.documents.world import (
    B1,
    MASTER,
    K,
    cancelled,
    company_map,
    dispatched,
    order_line,
    placed,
    refund_line,
    refunded,
)


def left(sku: str = "A", quantity: str = "2", **fields: Any) -> DispatchLine:
    return DispatchLine(sku=sku, quantity=Decimal(quantity), **fields)


def refusal(b1: B1, event: RefundIssued) -> Refusal:
    with pytest.raises(Refusal) as caught:
        b1.refund_plan(event)
    assert ";" in caught.value.error
    return caught.value


@pytest.fixture
def sold(b1: B1) -> B1:
    """Three of A and one of B ordered, all of A sent and invoiced in two parcels."""
    b1.place(
        placed(
            order_line("1", "A", "3", tax_amount=Decimal("6.00")),
            order_line("2", "B", "1", tax_amount=Decimal("2.00")),
            shipping=Shipping(amount=Decimal(3), tax_amount=Decimal("0.60")),
        )
    )
    b1.dispatch(dispatched(left(quantity="2")))
    b1.dispatch(dispatched(left(quantity="1"), shipment_id="S2"))
    return b1


def test_a_credit_memo_is_drawn_from_the_invoices_and_brings_stock_back(sold: B1) -> None:
    before = sold.company.on_hand("A", "LON1")
    document = sold.refund(
        refunded(
            refund_line(quantity="3", amount="29.99", tax_amount=Decimal("6.00")),
            total=Decimal("35.99"),
            reason="too small",
        )
    )
    rows = [(row["BaseType"], row["BaseEntry"], row["Quantity"], row["LineTotal"]) for row in document["DocumentLines"]]
    assert rows == [(13, 1, Decimal(2), Decimal("19.99")), (13, 2, Decimal(1), Decimal("10.00"))]
    assert (document["NumAtCard"], document["DocTotal"], document["U_STREAMS_ORDER"]) == ("R1", Decimal("35.99"), K)
    assert document["Comments"] == "Refund of order 1001\ntoo small"
    assert document["DocumentLines"][0]["U_STREAMS_LINE"] == "1"
    assert sold.company.on_hand("A", "LON1") == before + 3


def test_a_refund_without_restocking_moves_nothing(sold: B1) -> None:
    before = sold.company.on_hand("A", "LON1")
    plan = sold.refund_plan(refunded(refund_line(restock=False)))
    assert plan.items == frozenset()
    assert sold.write(plan)["DocumentLines"][0]["WithoutInventoryMovement"] == "tYES"
    assert sold.company.on_hand("A", "LON1") == before


def test_a_warehouse_whose_owner_counts_returns_gets_none_by_refund(sold: B1) -> None:
    document = sold.refund(refunded(refund_line(location="RETURNS")))
    assert (
        document["DocumentLines"][0]["WarehouseCode"],
        document["DocumentLines"][0]["WithoutInventoryMovement"],
    ) == ("RET1", "tYES")
    assert sold.company.on_hand("A", "RET1") == 0


def test_a_paid_invoice_is_named_and_not_drawn_from(sold: B1) -> None:
    sold.company.pay(1)
    sold.order = sold.read()
    document = sold.refund(
        refunded(refund_line(quantity="3", amount="30.00", tax_amount=Decimal("6.00")), total=Decimal("36.00"))
    )
    assert [(row["BaseType"], row["LineTotal"], row["VatGroup"]) for row in document["DocumentLines"]] == [
        (-1, Decimal("20.00"), "O1"),
        (13, Decimal("10.00"), "O1"),
    ]
    assert document["DocumentReferences"] == [{"RefObjType": "rot_SalesInvoice", "RefDocEntr": 1}]
    assert "invoice 1" in document["Comments"]
    assert refusal(sold, refunded(refund_line(), refund_id="R2")).reason == "over_credited"


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (refunded(refund_line(quantity="4")), "over_credited"),
        (refunded(refund_line(quantity="2"), refund_line(quantity="2")), "over_credited"),
        (refunded(refund_line("B")), "invoice_not_found"),
        (refunded(refund_line("LOT")), "over_credited"),
        (refunded(refund_line(line_id="9")), "invalid_event"),
        (refunded(refund_line("B", line_id="1")), "invalid_event"),
        (refunded(refund_line(tax_amount=Decimal(2)), total=Decimal("12.01")), "total_mismatch"),
        (refunded(refund_line(), total=Decimal("21.00")), "total_mismatch"),
        (refunded(refund_line(), total=Decimal("9.99")), "total_mismatch"),
        (refunded(refund_line(), currency="EUR"), "invalid_event"),
        (refunded(), "invalid_event"),
        (refunded(refund_line(), order_id=None), "order_not_found"),
        (refunded(refund_line(tax_code="XX")), "unmapped_tax_code"),
        (refunded(refund_line(location="MOON")), "unmapped_location"),
        (refunded(refund_line(), refund_id="9" * 101), "invalid_event"),
    ],
)
def test_a_refund_that_does_not_fit_is_refused(sold: B1, event: RefundIssued, reason: str) -> None:
    assert refusal(sold, event).reason == reason


def test_what_it_waits_for(b1: B1) -> None:
    assert refusal(b1, refunded(refund_line())).waits_for == K
    b1.place(placed())
    refused = refusal(b1, refunded(refund_line()))
    assert (refused.reason, refused.waits_for) == ("invoice_not_found", f"invoice:{K}")
    assert refusal(b1, refunded(adjustment=Adjustment(amount=Decimal(1)))).reason == "invoice_not_found"
    assert refusal(b1, refunded(refund_line(), order_id=None)).waits_for is None


def test_a_refund_that_overtakes_the_last_dispatch_waits_while_the_order_can_cover_it(b1: B1) -> None:
    b1.place(placed(order_line("1", "A", "5"), order_line("2", "B", "1")))
    b1.dispatch(dispatched(left(quantity="2")))
    assert refusal(b1, refunded(refund_line("A", "3"))).reason == "invoice_not_found"
    assert refusal(b1, refunded(refund_line("A", "3", line_id="1"))).waits_for == f"invoice:{K}"
    assert refusal(b1, refunded(refund_line("A", "6"))).reason == "over_credited"
    b1.refund(refunded(refund_line("A", "1"), total=Decimal("12.00")))
    assert refusal(b1, refunded(refund_line("A", "4"), refund_id="R2")).reason == "invoice_not_found"
    assert refusal(b1, refunded(refund_line("A", "5"), refund_id="R2")).reason == "over_credited"
    b1.cancel(cancelled(lines=(CancelledLine(line_id="1", quantity=Decimal(2)),)))
    assert refusal(b1, refunded(refund_line("A", "2"), refund_id="R2")).reason == "invoice_not_found"
    assert refusal(b1, refunded(refund_line("A", "3"), refund_id="R2")).reason == "over_credited"


def test_goods_that_were_cancelled_and_never_invoiced_need_no_credit(b1: B1) -> None:
    b1.place(placed(order_line("1", "A", "3"), order_line("2", "B", "1")))
    b1.cancel(
        cancelled(
            lines=(CancelledLine(line_id="1", quantity=Decimal(1)), CancelledLine(line_id="2", quantity=Decimal(1)))
        )
    )
    assert b1.refund_plan(refunded(refund_line("B"))).no_op
    assert b1.refund_plan(refunded(refund_line("A"), refund_line("B"))).no_op
    assert refusal(b1, refunded(refund_line("A", "2"))).reason == "invoice_not_found"
    assert refusal(b1, refunded(refund_line("A", "4"))).reason == "over_credited"
    assert refusal(b1, refunded(refund_line("B", "2"))).reason == "over_credited"
    # Shipping is still to be invoiced with the rest: its refund waits.
    with_shipping = refunded(refund_line("B"), shipping=RefundShipping(amount=Decimal(1)))
    assert refusal(b1, with_shipping).reason == "invoice_not_found"
    b1.dispatch(dispatched(left()))
    document = b1.refund(
        refunded(refund_line("B", amount="5.00"), refund_line("A", "2", "20.00"), total=Decimal("25.00"))
    )
    assert [(row["ItemCode"], row["LineTotal"]) for row in document["DocumentLines"]] == [("A", Decimal("20.00"))]


def test_a_refund_of_a_cancelled_order_is_a_no_op_whatever_is_in_it(b1: B1) -> None:
    b1.place(placed())
    b1.cancel(cancelled())
    event = refunded(
        refund_line(), shipping=RefundShipping(amount=Decimal(3)), adjustment=Adjustment(amount=Decimal(1))
    )
    assert b1.refund_plan(event).no_op


def test_shipping_paid_back_has_the_code_that_it_was_sold_under_and_not_the_companys_default(b1: B1) -> None:
    """A refund names no code for it, and the default is of 20 %."""
    b1.place(
        placed(
            order_line(tax_code="GB-0", tax_amount=Decimal(0)),
            shipping=Shipping(amount=Decimal(3), tax_code="GB-0", tax_amount=Decimal(0)),
        )
    )
    b1.dispatch(dispatched(left(line_id="1")))
    document = b1.refund(
        refunded(
            refund_line(line_id="1", tax_amount=Decimal(0)),
            shipping=RefundShipping(amount=Decimal(3), tax_amount=Decimal(0)),
            total=Decimal(13),
        )
    )
    assert [row["VatGroup"] for row in document["DocumentAdditionalExpenses"]] == ["O0"]


def test_shipping_and_goodwill_are_expenses_beside_lines(sold: B1) -> None:
    document = sold.refund(
        refunded(
            refund_line(tax_amount=Decimal(2)),
            shipping=RefundShipping(amount=Decimal(3), tax_amount=Decimal("0.60")),
            adjustment=Adjustment(amount=Decimal("-1.00"), tax_code="GB-0", tax_amount=Decimal(0)),
            total=Decimal("14.60"),
        )
    )
    assert document["DocTotal"] == Decimal("14.60")
    assert [
        (row["ExpenseCode"], row["LineTotal"], row["TaxSum"], row["VatGroup"])
        for row in document["DocumentAdditionalExpenses"]
    ] == [
        (1, Decimal("3.00"), Decimal("0.60"), "O1"),
        (2, Decimal("-1.00"), Decimal("0.00"), "O0"),
    ]


def test_goodwill_without_lines_is_a_service_document(sold: B1) -> None:
    document = sold.refund(
        refunded(
            adjustment=Adjustment(amount=Decimal("5.00")),
            shipping=RefundShipping(amount=Decimal(3), tax_amount=Decimal("0.60")),
            total=Decimal("8.60"),
        )
    )
    assert (document["DocType"], document["DocTotal"]) == ("dDocument_Service", Decimal("8.60"))
    assert [(row["AccountCode"], row["ItemDescription"]) for row in document["DocumentLines"]] == [
        ("4000", "Shipping"),
        ("4000", "Adjustment"),
    ]
    assert document["DocumentReferences"][0]["RefDocEntr"] == 1


def test_a_setting_that_is_missing_is_named(sold: B1) -> None:
    sold.map = company_map(refunds={"adjustment_account": None, "adjustment_expense_code": None})
    alone = refusal(sold, refunded(adjustment=Adjustment(amount=Decimal(5))))
    beside = refusal(sold, refunded(refund_line(), adjustment=Adjustment(amount=Decimal(5))))
    assert (alone.reason, beside.reason) == ("erp_refused", "erp_refused")
    assert "refunds.adjustment_account" in alone.error
    assert "refunds.adjustment_expense_code" in beside.error


def test_a_tax_that_the_event_leaves_out_makes_up_the_total(sold: B1) -> None:
    document = sold.refund(refunded(refund_line(amount="10.00"), refund_line(amount="5.00"), total=Decimal("18.01")))
    assert document["DocTotal"] == Decimal("18.01")
    without = sold.refund_plan(refunded(refund_line(), refund_id="R2")).body["DocumentLines"]
    assert isinstance(without, list)
    assert "TaxTotal" not in without[0]


def test_a_refund_without_an_order_is_posted_where_the_company_wants_it(b1: B1) -> None:
    b1.map = company_map(refunds={"without_order": "post"})
    document = b1.refund(refunded(refund_line(), order_id=None))
    assert (document["CardCode"], document["DocumentLines"][0]["BaseType"]) == ("C-WEB", -1)
    assert "U_STREAMS_ORDER" not in {name for name, value in document.items() if value}
    assert "C-WEB" in refund_issued.codes_needed(refunded(refund_line(), order_id=None), b1.map).cards
    b1.map = company_map(refunds={"without_order": "post"}, customers={"policy": "create"})
    assert refusal(b1, refunded(refund_line(), order_id=None)).reason == "customer_incomplete"


def test_where_people_invoice_the_invoice_is_found_by_card_and_number(b1: B1) -> None:
    b1.map = company_map(invoices={"on": "never"})
    b1.place(placed(order_number="#1001"))
    assert refusal(b1, refunded(refund_line())).reason == "invoice_not_found"
    b1.dispatch(dispatched(left()), invoiced=False)
    body = {
        "CardCode": "C-WEB",
        "NumAtCard": "#1001",
        "DocumentLines": [{"BaseType": 15, "BaseEntry": 1, "BaseLine": 0}],
    }
    based = b1.refund_plan(refunded(refund_line())).body["DocumentLines"]
    assert isinstance(based, list)
    assert based[0]["BaseType"] == 15, "no invoice yet: the delivery is the base"
    answer = b1.company.apply([Request("POST", "Invoices", body)])[0]
    assert answer.status == 201, answer.text
    b1.order = b1.read()
    document = b1.refund(refunded(refund_line(line_id="1")))
    assert [(row["BaseType"], row["U_STREAMS_LINE"]) for row in document["DocumentLines"]] == [(13, "1")]
    assert refusal(b1, refunded(refund_line(quantity="2"), refund_id="R2")).reason == "over_credited"


def test_returned_lots_come_back_with_their_numbers(b1: B1) -> None:
    lots = (BatchQuantity(number="L1", quantity=Decimal(2)),)
    b1.place(placed(order_line("1", "LOT", "2")))
    b1.dispatch(dispatched(left("LOT", batches=lots)))
    assert refusal(b1, refunded(refund_line("LOT"))).reason == "batch_or_serial_missing"
    assert b1.refund_plan(refunded(refund_line("LOT", restock=False))).requests
    document = b1.refund(refunded(refund_line("LOT", "2", batches=lots)))
    assert document["DocumentLines"][0]["BatchNumbers"][0]["BatchNumber"] == "L1"


def test_the_warehouses_of_the_order_s_documents_are_asked_for(sold: B1) -> None:
    codes = refund_issued.codes_needed(refunded(refund_line(location="RETURNS", tax_code="GB-0")), sold.map, sold.order)
    assert (codes.items, codes.warehouses, codes.tax_codes) == ({"A"}, {"RET1", "LON1"}, {"O0", "O1"})


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_credit_memos_never_exceed_what_was_invoiced_and_come_to_their_totals(data: st.DataObject) -> None:
    """Any parcels, any refunds, some invoices paid: quantities are conserved, each document is its event's total."""
    b1 = B1()
    ordered = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    b1.place(placed(*(order_line(str(n), "A", str(q), "3.33") for n, q in enumerate(ordered))))
    rest = sum(ordered)
    shipment = 0
    while rest:
        shipment += 1
        quantity = data.draw(st.integers(1, rest))
        _, invoice = b1.dispatch(dispatched(left(quantity=str(quantity)), shipment_id=str(shipment)))
        rest -= quantity
        if data.draw(st.booleans()):
            b1.company.pay(invoice["DocEntry"])
            b1.order = b1.read()
    free, number = sum(ordered), 0
    while free:
        number += 1
        quantity = data.draw(st.integers(1, free))
        amount = data.draw(st.decimals("0.01", "99.99", places=2))
        total = amount + data.draw(st.decimals(0, amount, places=2))
        event = refunded(refund_line(quantity=str(quantity), amount=str(amount)), refund_id=f"R{number}", total=total)
        document = b1.refund(event)
        assert document["DocTotal"] == total
        assert sum(row["Quantity"] for row in document["DocumentLines"]) == quantity
        free -= quantity
    assert refusal(b1, refunded(refund_line(), refund_id="last")).reason == "over_credited"
    assert b1.company.on_hand("A", "LON1") == 1000


def test_a_refund_in_a_foreign_currency(b1: B1) -> None:
    b1.place(replace(placed(), currency="EUR"))
    b1.dispatch(dispatched(left()))
    document = b1.refund(refunded(refund_line(tax_amount=Decimal(2)), currency="EUR", total=Decimal("12.00")))
    assert (document["DocCurrency"], document["DocTotalFc"]) == ("EUR", Decimal("12.00"))


def test_an_inactive_item_waits() -> None:
    world = B1()
    world.place(placed())
    world.dispatch(dispatched(left()))
    world.master = replace(MASTER, items={"A": replace(MASTER.items["A"], valid=False)})
    assert refusal(world, refunded(refund_line())).waits_for == "item:A"

from decimal import Decimal

import pytest

from connectors.base.errors import Refusal
from connectors.sap_b1.documents import DocumentPlan, invoice
from lab.simulators.sap_b1.state.messages import Request
from schemas.events import DispatchLine, Shipping
from tests.connectors.sap_b1.documents.world import B1, MASTER, K, dispatched, order_line, placed

EVENT = dispatched(DispatchLine(sku="A", quantity=Decimal(2)))


def build(b1: B1) -> DocumentPlan:
    return invoice.build(EVENT, "invoice-S1", K, b1.map, MASTER, b1.order, delivery_k="dispatch_confirmed-S1")


def by_hand(b1: B1, path: str, body: dict[str, object] | None = None) -> None:
    answer = b1.company.apply([Request("POST", path, body)])[0]
    assert answer.status < 300, answer.text
    b1.order = b1.read()


def test_the_first_invoice_carries_the_freight_and_moves_no_stock(b1: B1) -> None:
    b1.place(placed(order_line(quantity="3"), shipping=Shipping(amount=Decimal(3), tax_amount=Decimal("0.60"))))
    b1.dispatch(EVENT, invoiced=False)
    plan = build(b1)
    assert plan.items == frozenset()
    assert plan.body["DocumentAdditionalExpenses"] == [
        {"ExpenseCode": 1, "LineTotal": Decimal("3.00"), "TaxSum": Decimal("0.60"), "VatGroup": "O1"}
    ]
    b1.write(plan)
    _, second = b1.dispatch(dispatched(DispatchLine(sku="A", quantity=Decimal(1)), shipment_id="S2"))
    assert second["DocumentAdditionalExpenses"] == []


def test_a_delivery_that_somebody_invoiced_needs_no_other_invoice(b1: B1) -> None:
    b1.place(placed())
    b1.dispatch(EVENT, invoiced=False)
    line = {"BaseType": 15, "BaseEntry": 1, "BaseLine": 0}
    by_hand(b1, "Invoices", {"CardCode": "C-WEB", "DocumentLines": [line | {"Quantity": 1}], "U_STREAMS_ORDER": K})
    rest = build(b1).body["DocumentLines"]
    assert isinstance(rest, list)
    assert [(row["Quantity"], row["LineTotal"], row["TaxTotal"]) for row in rest] == [
        (1, Decimal("10.00"), Decimal("2.00"))
    ]
    by_hand(b1, "Invoices", {"CardCode": "C-WEB", "DocumentLines": [line], "U_STREAMS_ORDER": K})
    assert build(b1).no_op


def test_a_cancelled_delivery_cannot_be_invoiced(b1: B1) -> None:
    b1.place(placed())
    b1.dispatch(EVENT, invoiced=False)
    by_hand(b1, "DeliveryNotes(1)/Cancel")
    with pytest.raises(Refusal) as caught:
        build(b1)
    assert caught.value.reason == "erp_refused"


def test_the_warehouses_of_the_deliveries_are_asked_for(b1: B1) -> None:
    b1.place(placed())
    b1.dispatch(EVENT, invoiced=False)
    assert invoice.codes_needed(EVENT, b1.map, b1.order).warehouses == {"LON1"}


def test_what_a_person_invoiced_at_another_price_is_taken_off_the_rest(b1: B1) -> None:
    b1.place(placed())
    b1.dispatch(EVENT, invoiced=False)
    line = {"BaseType": 15, "BaseEntry": 1, "BaseLine": 0, "Quantity": 1, "LineTotal": Decimal("7.00")}
    by_hand(b1, "Invoices", {"CardCode": "C-WEB", "DocumentLines": [line], "U_STREAMS_ORDER": K})
    (rest,) = build(b1).body["DocumentLines"]
    assert (rest["Quantity"], rest["LineTotal"]) == (1, Decimal("13.00"))

from decimal import Decimal
from typing import Any

import pytest

from connectors.sap_b1 import order as orders
from connectors.sap_b1.documents import dispatch_confirmed
from lab.simulators.sap_b1.state.messages import Request
from schemas.events import DispatchLine
from schemas.records import Document
from tests.connectors.sap_b1.documents.world import (
    B1,
    K,
    cancelled,
    dispatched,
    order_line,
    placed,
    refund_line,
    refunded,
)

OTHER = "order_placed-" + "B" * 26


@pytest.fixture
def b1() -> B1:
    return B1()


def shipped(b1: B1) -> orders.OrderView:
    b1.place(placed(order_line("1", "A", "3", tax_amount=Decimal("6.00")), order_line("2", "B", "1")))
    b1.dispatch(dispatched(DispatchLine(sku="A", quantity=Decimal(2))))
    b1.refund(refunded(refund_line("A", "1")))
    assert b1.order is not None
    return b1.order


def test_one_read_per_kind_of_document_for_up_to_twenty_orders() -> None:
    paths = orders.queries([K, OTHER])
    assert [path.partition("?")[0] for path in paths] == ["Orders", "DeliveryNotes", "Invoices", "CreditNotes"]
    assert all(K in path and OTHER in path for path in paths)
    with pytest.raises(ValueError, match="at most 20"):
        orders.queries([K] * 21)


def test_an_order_that_b1_lacks_is_none(b1: B1) -> None:
    answers = [b1.company.read(path).body for path in orders.queries([K, OTHER])]
    assert orders.parse(answers, [K, OTHER]) == {K: None, OTHER: None}
    assert orders.parse([(), (), (), ()]) == {}


def test_a_first_page_is_not_taken_for_the_whole(b1: B1) -> None:
    with pytest.raises(ValueError, match="next page"):
        orders.parse([{"value": [], "@odata.nextLink": "Orders?$skip=20"}, [], [], []])


def test_the_view_knows_what_became_of_every_line(b1: B1) -> None:
    view = shipped(b1)
    assert view.delivered(0) == orders.Taken(Decimal(2), Decimal("20.00"), Decimal("4.00"))
    assert view.invoiced(0) == orders.Taken(Decimal(2), Decimal("20.00"), Decimal("4.00"))
    assert view.credited(0).quantity == 1
    assert view.lines[0].open == 1
    assert view.invoiced(1) == orders.Taken()
    assert [document.k for document in view.deliveries] == ["dispatch_confirmed-S1"]


def test_cancelled_documents_and_their_mirrors_do_not_count(b1: B1) -> None:
    b1.place(placed())
    b1.dispatch(dispatched(DispatchLine(sku="A", quantity=Decimal(2))), invoiced=False)
    assert b1.company.apply([Request("POST", "DeliveryNotes(1)/Cancel")])[0].status < 300
    view = b1.read()
    assert view.deliveries == ()
    assert view.lines[0].open == 2


def test_a_copy_that_somebody_made_of_an_order_is_not_the_order(b1: B1) -> None:
    b1.place(placed())
    copy = {
        "CardCode": "C-WEB",
        "DocDueDate": "2026-03-02",
        "U_STREAMS_KEY": K,
        "U_STREAMS_ORDER": K,
        "DocumentLines": [{"ItemCode": "B", "Quantity": 9, "WarehouseCode": "LON1"}],
    }
    assert b1.company.apply([Request("POST", "Orders", copy)])[0].status < 300
    assert b1.read() == b1.order


def test_what_was_sent_serves_as_well_as_what_b1_answered() -> None:
    """A posting that was adopted has no answer: the view then goes on from the request."""
    sent, answered = B1(), B1()
    for world in (sent, answered):
        world.place(placed(order_line("1", "A", "3", tax_amount=Decimal("6.00"))))
    assert sent.order is not None
    assert answered.order is not None
    event = dispatched(DispatchLine(sku="A", quantity=Decimal(2)))
    plan = dispatch_confirmed.build(event, "dispatch_confirmed-S1", K, sent.map, sent.master, sent.order)
    ref = Document(object="DeliveryNotes", doc_entry=1, doc_num=1)
    view = sent.order.with_document(ref, plan.body)
    answered.dispatch(event, invoiced=False)
    assert view.lines == answered.order.lines
    assert view.delivered(0) == answered.order.delivered(0)
    assert view.deliveries[0].lines[0].open == 2


def test_what_is_no_document_of_an_order_is_not_taken(b1: B1) -> None:
    view = shipped(b1)
    with pytest.raises(ValueError, match="no document"):
        view.with_document(Document(object="Drafts", doc_entry=1, doc_num=1), {})


@pytest.mark.parametrize(
    ("row", "quantity", "closed"),
    [
        ({"Quantity": "3", "RemainingOpenQuantity": "1.0"}, Decimal(1), False),
        ({"Quantity": 3}, Decimal(3), False),
        ({"Quantity": 3, "RemainingOpenQuantity": 3, "LineStatus": "bost_Close"}, Decimal(0), True),
    ],
)
def test_numbers_are_read_as_b1_writes_them(row: dict[str, Any], quantity: Decimal, closed: bool) -> None:
    view = orders.placed(K, Document(object="Orders", doc_entry=1, doc_num=1), {"DocumentLines": [row]})
    assert (view.lines[0].open, view.lines[0].closed) == (quantity, closed)


def test_a_cancelled_order_still_tells_its_story(b1: B1) -> None:
    b1.place(placed())
    b1.cancel(cancelled())
    view = b1.read()
    assert (view.cancelled, view.cancelled_quantity(view.lines[0])) == (True, Decimal(2))


def test_a_hand_made_line_is_found_by_its_base(b1: B1) -> None:
    b1.place(placed())
    body = {
        "CardCode": "C-WEB",
        "U_STREAMS_ORDER": K,
        "DocumentLines": [{"BaseType": 17, "BaseEntry": 1, "BaseLine": 0, "Quantity": 1}],
    }
    assert b1.company.apply([Request("POST", "Invoices", body)])[0].status < 300
    view = b1.read()
    assert (view.delivered(0).quantity, view.invoiced(0).quantity, view.lines[0].open) == (1, 1, 1)


def test_of_a_line_that_was_closed_only_what_never_left_is_cancelled(b1: B1) -> None:
    b1.place(placed(order_line("1", "A", "3")))
    b1.dispatch(dispatched(DispatchLine(sku="A", quantity=Decimal(2))), invoiced=False)
    assert b1.company.apply([Request("POST", "Orders(1)/Close")])[0].status < 300
    view = b1.read()
    assert view.cancelled_quantity(view.lines[0]) == 1

from decimal import Decimal

import pytest

from connectors.base.errors import Refusal
from connectors.sap_b1.documents import order_cancelled
from schemas.events import CancelledLine, DispatchLine
from tests.connectors.sap_b1.documents.world import (
    B1,
    MASTER,
    K,
    cancelled,
    company_map,
    dispatched,
    order_line,
    placed,
)


def line(line_id: str, quantity: str) -> CancelledLine:
    return CancelledLine(line_id=line_id, quantity=Decimal(quantity))


def reason(b1: B1, *lines: CancelledLine) -> str:
    with pytest.raises(Refusal) as caught:
        b1.cancel(cancelled(lines=lines or None))
    return caught.value.reason


def test_an_order_of_which_nothing_left_is_cancelled(b1: B1) -> None:
    b1.place(placed())
    plan = b1.cancel(cancelled())
    assert [(r.method, r.path) for r in plan.requests] == [("POST", "Orders(1)/Cancel")]
    assert plan.items == {"A"}
    assert b1.order is not None
    assert b1.order.cancelled
    assert b1.cancel(cancelled()).no_op


def test_an_order_of_which_something_left_is_closed(b1: B1) -> None:
    b1.place(placed())
    b1.dispatch(dispatched(DispatchLine(sku="A", quantity=Decimal(1))))
    assert b1.cancel(cancelled()).requests[0].path == "Orders(1)/Close"
    assert b1.cancel(cancelled()).no_op


def test_a_whole_cancellation_after_everything_left_is_too_much(b1: B1) -> None:
    b1.place(placed())
    b1.dispatch(dispatched(DispatchLine(sku="A", quantity=Decimal(2))))
    assert reason(b1) == "over_cancelled"


def test_lines_lose_quantity_and_their_share_in_one_request_and_close_at_nothing_in_another(b1: B1) -> None:
    b1.place(placed(order_line("1", "A", "3", tax_amount=Decimal("2.00")), order_line("2", "B", "1")))
    plan = b1.cancel(cancelled(lines=(line("1", "1"), line("2", "1"))))
    assert [(r.method, r.path, r.body) for r in plan.requests] == [
        (
            "PATCH",
            "Orders(1)",
            {
                "DocumentLines": [
                    {
                        "LineNum": 0,
                        "Quantity": Decimal(2),
                        "LineTotal": Decimal("20.00"),
                        "TaxTotal": Decimal("1.33"),
                        "FreeText": "cancelled 1 of 3",
                    }
                ]
            },
        ),
        ("PATCH", "Orders(1)", {"DocumentLines": [{"LineNum": 1, "LineStatus": "bost_Close"}]}),
    ]
    b1.cancel(cancelled(lines=(line("1", "1"),)), "order_cancelled-2")
    assert b1.order is not None
    assert [b1.order.cancelled_quantity(row) for row in b1.order.lines] == [Decimal(2), Decimal(1)]
    assert reason(b1, line("1", "2")) == "over_cancelled"
    b1.cancel(cancelled(lines=(line("1", "1"),)), "order_cancelled-3")
    assert b1.order.closed


def test_what_was_delivered_stays(b1: B1) -> None:
    b1.place(placed(order_line(quantity="3")))
    b1.dispatch(dispatched(DispatchLine(sku="A", quantity=Decimal(2))))
    assert reason(b1, line("1", "2")) == "over_cancelled"
    b1.cancel(cancelled(lines=(line("1", "1"),)))
    assert b1.order is not None
    assert (b1.order.closed, b1.order.cancelled_quantity(b1.order.lines[0])) == (True, Decimal(1))


def test_lines_of_one_id_are_added_up(b1: B1) -> None:
    b1.place(placed())
    assert reason(b1, line("1", "1"), line("1", "2")) == "over_cancelled"
    assert reason(b1, line("9", "1")) == "invalid_event"


def test_a_cancellation_before_its_order_waits_for_it() -> None:
    with pytest.raises(Refusal) as caught:
        order_cancelled.build(cancelled(), "c", K, company_map(), MASTER, None)
    assert (caught.value.reason, caught.value.waits_for) == ("order_not_found", K)

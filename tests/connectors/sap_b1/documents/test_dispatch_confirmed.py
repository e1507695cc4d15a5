from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base.errors import Refusal
from connectors.sap_b1.documents import dispatch_confirmed
from schemas.events import BatchQuantity, DispatchConfirmed, DispatchLine, Shipping
from tests.connectors.sap_b1.documents.world import B1, MASTER, K, company_map, dispatched, order_line, placed


def left(sku: str = "A", quantity: str = "1", **fields: Any) -> DispatchLine:
    return DispatchLine(sku=sku, quantity=Decimal(quantity), **fields)


def lot(number: str, quantity: str) -> BatchQuantity:
    return BatchQuantity(number=number, quantity=Decimal(quantity))


def refusal(b1: B1, event: DispatchConfirmed) -> Refusal:
    with pytest.raises(Refusal) as caught:
        dispatch_confirmed.build(event, "d", K, b1.map, MASTER, b1.order)
    assert ";" in caught.value.error
    return caught.value


def test_a_delivery_is_drawn_from_the_order(b1: B1) -> None:
    b1.place(placed(order_line("x", tax_amount=Decimal("4.00")), order_number="#1001"))
    document, invoice = b1.dispatch(
        dispatched(left(line_id="x"), carrier="dpd", service="next-day", tracking_numbers=("T1", "T2", "T3"))
    )
    (row,) = document["DocumentLines"]
    assert (row["BaseType"], row["BaseEntry"], row["BaseLine"], row["U_STREAMS_LINE"]) == (17, 1, 0, "x")
    assert (row["Quantity"], row["LineTotal"], row["TaxTotal"], row["WarehouseCode"]) == (
        1,
        Decimal("10.00"),
        Decimal("2.00"),
        "LON1",
    )
    assert (document["NumAtCard"], document["U_STREAMS_ORDER"]) == ("#1001", K)
    assert (document["TrackingNumber"], document["Comments"]) == ("T1", "Tracking: T2, T3")
    assert document["TransportationCode"] == 3
    assert invoice["DocumentLines"][0]["BaseType"] == 15
    assert invoice["DocDate"] == document["DocDate"]


def test_a_tracking_number_that_b1_would_cut_stands_whole_in_the_comment(b1: B1) -> None:
    b1.place(placed())
    document, _ = b1.dispatch(dispatched(left(), tracking_numbers=("9" * 40,)))
    assert (document["TrackingNumber"], document["Comments"]) == ("9" * 30, "Tracking: " + "9" * 40)


def test_lines_without_an_id_are_filled_in_line_order_and_leave_named_ones_alone(b1: B1) -> None:
    b1.place(placed(order_line("1", quantity="2"), order_line("2", "B", "5"), order_line("3", quantity="3")))
    document, _ = b1.dispatch(dispatched(left(quantity="1"), left(quantity="2", line_id="1"), left(quantity="1")))
    assert [(row["BaseLine"], row["Quantity"]) for row in document["DocumentLines"]] == [(0, 2), (2, 2)]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (dispatched(left(quantity="3")), "over_delivered"),
        (dispatched(left(quantity="2"), left(quantity="1")), "over_delivered"),
        (dispatched(left("B")), "over_delivered"),
        (dispatched(left(line_id="9")), "invalid_event"),
        (dispatched(left("B", line_id="1")), "invalid_event"),
        (dispatched(left("NEW")), "unknown_item"),
        (dispatched(left(), location="MOON"), "unmapped_location"),
        (dispatched(left(), carrier="Pigeon"), "unmapped_carrier"),
        (dispatched(), "invalid_event"),
        (dispatched(left(), shipment_id="9" * 101), "invalid_event"),
        (dispatched(left(batches=(lot("L1", "1"),))), "batch_or_serial_missing"),
    ],
)
def test_a_dispatch_that_does_not_fit_is_refused(b1: B1, event: DispatchConfirmed, reason: str) -> None:
    b1.place(placed())
    assert refusal(b1, event).reason == reason


def test_a_dispatch_before_its_order_waits_for_it(b1: B1) -> None:
    refused = refusal(b1, dispatched(left()))
    assert (refused.reason, refused.waits_for) == ("order_not_found", K)


def test_nothing_leaves_for_a_cancelled_order(b1: B1) -> None:
    b1.place(placed())
    assert b1.order is not None
    b1.order = replace(b1.order, cancelled=True)
    assert refusal(b1, dispatched(left())).reason == "over_delivered"


def test_batches_are_shared_out_over_the_lines_that_they_fill(b1: B1) -> None:
    b1.place(placed(order_line("1", "LOT", "2"), order_line("2", "LOT", "3")))
    document, _ = b1.dispatch(dispatched(left("LOT", "4", batches=(lot("L1", "3"), lot("L2", "1")))))
    assert [
        [(b["BatchNumber"], b["Quantity"], b["BaseLineNumber"]) for b in row["BatchNumbers"]]
        for row in document["DocumentLines"]
    ] == [
        [("L1", Decimal(2), 0)],
        [("L1", Decimal(1), 1), ("L2", Decimal(1), 1)],
    ]


def test_serial_numbers_are_one_per_unit(b1: B1) -> None:
    b1.place(placed(order_line("1", "SER", "2")))
    for serials in ((), ("s1",), ("s1", "s1"), ("s1", "s2", "s3")):
        assert refusal(b1, dispatched(left("SER", "2", serials=serials))).reason == "batch_or_serial_missing"
    document, _ = b1.dispatch(dispatched(left("SER", "2", serials=("s3", "s1"))))
    assert [row["InternalSerialNumber"] for row in document["DocumentLines"][0]["SerialNumbers"]] == ["s3", "s1"]


@pytest.mark.parametrize("batches", [(), (lot("L1", "1"),), (lot("L1", "2"), lot("L2", "1"))])
def test_batches_must_add_up(b1: B1, batches: tuple[BatchQuantity, ...]) -> None:
    b1.place(placed(order_line("1", "LOT", "2")))
    assert refusal(b1, dispatched(left("LOT", "2", batches=batches))).reason == "batch_or_serial_missing"


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_invoices_of_a_fully_dispatched_order_sum_to_its_total(data: st.DataObject) -> None:
    """Any prices and taxes; any split into shipments, with or without line ids: not a penny, not a unit is lost."""
    b1 = B1()
    money = st.decimals("0", "99.99", places=2)
    units = data.draw(st.lists(st.tuples(st.sampled_from("AB"), st.integers(1, 7)), min_size=1, max_size=4))
    lines = []
    for number, (sku, quantity) in enumerate(units):
        price = data.draw(st.decimals("0.01", "50", places=3))
        tax = data.draw(st.none() | money)
        lines.append(order_line(str(number), sku, str(quantity), str(price), tax_amount=tax))
    shipping = Shipping(amount=data.draw(money), tax_amount=data.draw(money))
    total = b1.place(placed(*lines, shipping=shipping))["DocTotal"]
    left_over = {number: quantity for number, (_, quantity) in enumerate(units)}
    by_line = data.draw(st.booleans())
    invoiced, shipment = Decimal(0), 0
    while any(left_over.values()):
        parcel = {n: data.draw(st.integers(0, q)) for n, q in left_over.items()}
        if not any(parcel.values()):
            parcel = dict(left_over)
        shipment += 1
        rows = [left(units[n][0], str(q), line_id=str(n) if by_line else None) for n, q in parcel.items() if q]
        delivery, invoice = b1.dispatch(dispatched(*rows, shipment_id=str(shipment)))
        assert sum(row["Quantity"] for row in delivery["DocumentLines"]) == sum(parcel.values())
        invoiced += invoice["DocTotal"]
        left_over = {n: q - parcel[n] for n, q in left_over.items()}
    assert invoiced == total
    assert b1.order is not None
    assert b1.order.closed
    assert all(delivery.closed for delivery in b1.order.deliveries)
    assert refusal(b1, dispatched(left())).reason == "over_delivered"


def test_the_warehouse_and_items_are_asked_for() -> None:
    codes = dispatch_confirmed.codes_needed(dispatched(left("TSHIRT-RED"), left("B")), company_map())
    assert (codes.items, codes.warehouses) == ({"TS001-R", "B"}, {"LON1"})

"""What a message comes to: dispatches whole, stock as signed deltas with reason, each at the right place."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from connectors.base.context import EventContext
from connectors.base.source import RefusedRecord
from connectors.seko.records import messages
from connectors.seko.translate import translate
from connectors.webhooks.body import parse_json
from lab.simulators.seko.app import Hub
from lab.simulators.seko.state import AVAILABLE
from lab.simulators.seko.wire import without_number
from schemas.events import BatchQuantity, DispatchConfirmed, DispatchLine, OrderCancelled, StockAdjusted, digest_of
from tests.connectors.seko.conftest import settings_of

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def hub() -> Hub:
    hub = Hub(clock=lambda: NOW)
    hub.stock = {("DCCL01", AVAILABLE, sku, ""): 100 for sku in "ABC"}
    hub.load_order("W-1", {"A": 5, "B": 2}, reference="1001")
    return hub


def say(hub: Hub, *said: Any, **changes: Any) -> list[Any]:
    found = messages(parse_json(hub.body(said)))
    context = EventContext("seko", "acme", settings_of(**changes), NOW)
    return [item for message in found for item in translate(message, context)]


def moved(items: list[Any]) -> list[tuple[str, str | None, int, str]]:
    return [(each.location, each.to_location, int(each.delta), each.reason) for each in items]


# ---- dispatches


def test_a_dispatch_is_confirmed_with_its_order_its_place_and_its_tracking(hub):
    (event,) = say(hub, hub.dispatch("W-1", tracking="155, 156"))
    assert isinstance(event, DispatchConfirmed)
    assert (event.order_id, event.location, event.carrier, event.service) == ("W-1", "DCCL01", "DPD", "Next Day")
    assert event.tracking_numbers == ("155", "156")
    assert event.shipment_id == event.event_id == hub.messages[0].row["Dispatch"]["DispatchId"]
    assert event.lines == (DispatchLine(sku="A", quantity=Decimal(5)), DispatchLine(sku="B", quantity=Decimal(2)))
    assert event.digest == digest_of(event)


def test_lines_of_several_lots_are_one_line_with_its_batches_and_lines_with_nothing_are_none(hub):
    (event,) = say(hub, hub.dispatch("W-1", {"A": 5}, lots={"A": {"L1": 2, "L2": 3}}))
    batches = (BatchQuantity(number="L1", quantity=Decimal(2)), BatchQuantity(number="L2", quantity=Decimal(3)))
    assert event.lines == (DispatchLine(sku="A", quantity=Decimal(5), batches=batches),)


def test_serials_are_carried_by_their_line(hub):
    (event,) = say(hub, hub.dispatch("W-1", {"B": 2}, serials={"B": ["S1", "S2"]}))
    assert event.lines[0].serials == ("S1", "S2")


def test_a_short_dispatch_leaves_the_rest_open_or_closes_it_as_configured(hub):
    said = hub.dispatch("W-1", {"A": 4})
    assert [type(each) for each in say(hub, said)] == [DispatchConfirmed]
    dispatch, cancelled = say(hub, said, short_dispatch="cancel_rest")
    assert isinstance(cancelled, OrderCancelled)
    assert (cancelled.order_id, cancelled.lines) == ("W-1", None)
    assert cancelled.event_id == f"{dispatch.shipment_id}:short"


def test_a_dispatch_of_nothing_is_a_letter_unless_it_cancels_the_order(hub):
    said = hub.dispatch("W-1", {})
    (letter,) = say(hub, said)
    assert isinstance(letter, RefusedRecord)
    assert "nothing of the order was dispatched" in letter.error
    assert (letter.order_id, letter.event_type) == ("W-1", "dispatch_confirmed")
    assert [type(each) for each in say(hub, said, short_dispatch="cancel_rest")] == [OrderCancelled]


@pytest.mark.parametrize(
    ("changes", "order_id"),
    [({"order_id": "SalesOrderReference"}, "1001"), ({"order_id": "InterfaceRecordId"}, "rec-00000001")],
)
def test_the_order_is_named_by_the_field_that_is_configured(hub, changes, order_id):
    (event,) = say(hub, hub.dispatch("W-1"), **changes)
    assert event.order_id == order_id


def test_a_dispatch_without_its_order_is_a_letter_that_says_so(hub):
    said = hub.dispatch("W-1")
    said.row["Dispatch"]["SalesOrderNumber"] = None
    (letter,) = say(hub, said)
    assert "has no SalesOrderNumber" in letter.error


def test_line_numbers_are_line_ids_only_when_configured(hub):
    said = hub.dispatch("W-1")
    assert [line.line_id for line in say(hub, said)[0].lines] == [None, None]
    assert [line.line_id for line in say(hub, said, line_ids="line_number")[0].lines] == ["1", "2"]


def test_the_only_facility_stands_for_a_dispatch_that_names_none_and_of_two_neither(hub):
    hub.names_dc = False
    said = hub.dispatch("W-1")
    assert say(hub, said)[0].location == "DCCL01"
    (letter,) = say(hub, said, dcs=["DCCL01", "DCCL02"])
    assert "names no DC" in letter.error


# ---- stock


def test_goods_received_are_a_receipt_and_goods_sent_back_a_return(hub):
    received = say(hub, hub.receive("ASN-1", [("A", 6, "L1"), ("A", 4, "L2"), ("B", 0, "")]))
    assert moved(received) == [("DCCL01", None, 6, "receipt"), ("DCCL01", None, 4, "receipt")]
    assert [each.batches[0].number for each in received] == ["L1", "L2"]
    hub.dispatch("W-1")
    assert moved(say(hub, hub.take_back("W-1", [("A", 2, "")]))) == [("DCCL01", None, 2, "return")]


def test_received_goods_wait_for_their_movement_where_configured(hub):
    types = {
        "held_types": ["QC", "Returns", "Quarantine"],
        "received_into": "QC",
        "returned_into": "Returns",
        "summary_columns": {"QuantityOnHand": "Available Stock"},
    }
    assert say(hub, hub.receive("ASN-1", [("A", 6, "")], into="QC"), **types) == []
    assert moved(say(hub, hub.move("A", 6, "QC", AVAILABLE), **types)) == [("DCCL01", None, 6, "receipt")]
    hub.dispatch("W-1")
    assert say(hub, hub.take_back("W-1", [("A", 1, "")], into="Returns"), **types) == []
    assert moved(say(hub, hub.move("A", 1, "Returns", AVAILABLE), **types)) == [("DCCL01", None, 1, "return")]


def test_deliveries_whose_goods_b1_has_say_nothing(hub):
    assert say(hub, hub.receive("TR-77", [("A", 6, "")]), known_deliveries="TR-.*") == []


def test_an_adjustments_sign_is_its_headers_and_its_reason_the_codes(hub):
    changes = {"reasons": {"dmg": "damaged"}, "default_reason": "count"}
    lost, found = hub.adjust("A", -3, code="DMG", lot="L1"), hub.adjust("A", 2)
    events = say(hub, lost, found, **changes)
    assert moved(events) == [("DCCL01", None, -3, "damaged"), ("DCCL01", None, 2, "count")]
    assert events[0].note == "DMG Cycle count"
    assert events[0].batches == (BatchQuantity(number="L1", quantity=Decimal(3)),)


def test_what_is_held_leaves_and_comes_back_with_its_reason(hub):
    changes = {"hold_reasons": {"Quarantine": "damaged"}}
    gone, back = hub.move("A", 3, AVAILABLE, "Quarantine", lot="L1"), hub.move("A", 1, "Quarantine", "Web Stock")
    assert moved(say(hub, gone, back, **changes)) == [("DCCL01", None, -3, "damaged"), ("DCCL01", None, 1, "damaged")]
    assert say(hub, hub.move("A", 1, "Quarantine", "Query"), hub.move("A", 1, AVAILABLE, "Web Stock")) == []
    assert say(hub, hub.adjust("A", -1, location_type="Quarantine")) == []


def test_a_segregated_type_is_a_warehouse_of_its_own_and_a_movement_there_a_transfer(hub):
    types = {"segregated_types": "Quarantine", "held_types": ["Query", "Returns", "Cross Dock"]}
    assert moved(say(hub, hub.move("A", 3, AVAILABLE, "Quarantine"), **types)) == [
        ("DCCL01", "DCCL01/Quarantine", -3, "transfer")
    ]
    assert moved(say(hub, hub.adjust("A", -1, location_type="Quarantine"), **types)) == [
        ("DCCL01/Quarantine", None, -1, "other")
    ]
    assert moved(say(hub, hub.move("A", 1, "Quarantine", "Query"), **types)) == [
        ("DCCL01/Quarantine", None, -1, "other")
    ]


def test_a_location_type_that_nobody_has_placed_is_a_letter(hub):
    (letter,) = say(hub, hub.move("A", 3, "Put Away", AVAILABLE))
    assert "in none of sellable_types" in letter.error
    assert (letter.event_type, letter.sku) == ("stock_adjusted", "A")


def test_an_adjustment_that_came_without_its_id_is_known_by_its_number(hub):
    said = hub.adjust("A", -3)
    del said.row["StockAdjustment"]["InternalId"], said.row["List"]["StockAdjustmentLineItem"][0]["LineInternalId"]
    (event,) = say(hub, said)
    assert event.event_id == "adj:#1:1:"
    del said.row["StockAdjustment"]["SequenceNumber"]
    (letter,) = say(hub, said)
    assert "neither InternalId nor SequenceNumber" in letter.error


def test_lines_of_one_movement_have_their_own_numbers_and_what_differs_in_nothing_is_one(hub):
    said = hub.move("A", 3, AVAILABLE, "Quarantine")
    entity = said.row["StockStatusMovement"]
    row = {
        name: entity.pop(name) for name in ("ProductCode", "Quantity", "FromLocationType", "ToLocationType", "UtcDate")
    }

    def ids(*rows: dict[str, Any]) -> dict[str, int]:
        said.row["List"] = {"StockStatusMovementLineItem": list(rows)}
        return {each.event_id: int(each.delta) for each in say(hub, said)}

    assert ids({**row, "SequenceNumber": 7}, {**row, "SequenceNumber": 8}) == {"mov:#7::": -3, "mov:#8::": -3}
    # By the number of the message, and by what they move where that is not enough.
    assert ids(row) == {"mov:#1::": -3}
    assert sorted(ids(row, {**row, "ProductCode": "B", "Quantity": 1}).values()) == [-3, -1]
    assert list(ids(row, row).values()) == [-6]
    assert sorted(ids(row, {**row, "ToLocationType": "QC"}, row).values()) == [-6, -3]


def test_goods_received_without_line_numbers_are_known_by_their_sku(hub):
    said = hub.receive("ASN-1", [("A", 6, ""), ("B", 4, "")])
    for row in said.row["List"]["GRNLineItem"]:
        del row["LineNumber"]
    assert {each.event_id: each.sku for each in say(hub, said)} == {"grn:ASN-1:::A": "A", "grn:ASN-1:::B": "B"}


def test_two_lines_that_nobody_could_tell_apart_are_a_letter(hub):
    said = hub.adjust("A", -3)
    rows = said.row["List"]["StockAdjustmentLineItem"]
    rows.append(dict(rows[0]))
    (letter,) = say(hub, said)
    assert "same identity" in letter.error
    del rows[0]["LineInternalId"], rows[1]["LineInternalId"]
    rows[1]["LotNumber"] = "L2"
    assert len(say(hub, said)) == 2


def test_identities_that_are_too_long_or_ambiguous_are_hashed(hub):
    long = say(hub, hub.receive("D" * 99, [("A", 1, "L" * 99)]))[0]
    assert len(long.event_id) <= 100
    one, other = (say(hub, hub.receive(name, [("A", 1, lot)]))[0] for name, lot in (("x:1", "y"), ("x", "1:y")))
    assert one.event_id != other.event_id


def test_another_clients_message_and_one_from_the_future_are_letters(hub):
    said = hub.adjust("A", 1)
    assert "another client's" in say(hub, said, integration_id="OTHER")[0].error
    assert isinstance(say(hub, said, integration_id="EXMPL")[0], StockAdjusted)
    said.row["StockAdjustment"]["StockAdjustmentDate"] = "2026-11-23T12:00:00Z"
    assert "a day ahead" in say(hub, said)[0].error


def test_a_letter_is_the_same_however_the_message_came_and_can_be_sent_again(hub):
    said = hub.adjust("A", 1)
    said.row["List"]["StockAdjustmentLineItem"][0]["Quantity"] = "some"
    (one,), (_, other) = say(hub, said), say(hub, hub.adjust("B", 1), said)
    assert one == other
    assert [each.digest for each in messages(parse_json(one.value))] == [one.digest]


def test_a_polled_row_is_the_event_that_was_pushed(hub):
    said = [hub.dispatch("W-1"), hub.adjust("A", -3), hub.move("A", 1, AVAILABLE, "Quarantine")]
    pushed = say(hub, *said)
    polled = [item for each in said[:2] for item in say(hub, replace(each, row=without_number(each)))]
    assert polled == pushed[:2]
    (letter,) = say(hub, replace(said[2], row=without_number(said[2])))
    assert "neither InternalId nor SequenceNumber" in letter.error

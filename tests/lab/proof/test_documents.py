"""A lost, second, mispriced, miscounted or misplaced document is found."""

import copy
import json
from decimal import Decimal

import pytest


@pytest.mark.parametrize("entity", ["Orders", "DeliveryNotes", "Invoices", "CreditNotes", "InventoryGenExits"])
def test_a_lost_document_is_found(case, entity):
    case.remove(case.documents(entity)[-1])
    found = case.prove()
    assert not found.ok
    assert found.count("lost") >= 1


@pytest.mark.parametrize("entity", ["Orders", "Invoices", "CreditNotes"])
def test_a_penny_is_found(case, entity):
    document = case.documents(entity)[-1]
    document["DocTotal"] = str(Decimal(document["DocTotal"]) + Decimal("0.01"))
    assert case.kinds() == {"money"}


@pytest.mark.parametrize("name", ["LineTotal", "TaxTotal"])
def test_a_penny_moved_from_one_invoice_line_to_another_is_found(case, name):
    lines = next(document for document in case.documents("Invoices") if len(document["DocumentLines"]) > 1)[
        "DocumentLines"
    ]
    for line, change in zip(lines, (Decimal("0.01"), Decimal("-0.01")), strict=False):
        line[name] = str(Decimal(line[name]) + change)
    assert case.kinds() == {"money"}


@pytest.mark.parametrize("entity", ["Orders", "DeliveryNotes", "Invoices", "CreditNotes"])
def test_a_unit_too_many_on_a_line_is_found(case, entity):
    line = case.documents(entity)[-1]["DocumentLines"][0]
    line["Quantity"] = str(Decimal(line["Quantity"]) + 1)
    assert "units" in case.kinds()


def test_a_document_on_another_day_is_found(case):
    for entity in ("Orders", "DeliveryNotes", "Invoices", "CreditNotes"):
        case.documents(entity)[-1 if entity == "Invoices" else 0]["DocDate"] = "2020-01-01T00:00:00Z"
    assert {one.where.split()[2] for one in case.prove().discrepancies} >= {"order", "dispatch", "invoice", "refund"}


def test_a_document_for_nothing_that_was_sent_is_found(case):
    case.documents("Orders")[0]["NumAtCard"] = "999999"
    assert case.kinds() >= {"lost", "document"}


def test_a_refund_linked_to_another_order_is_found(case, tmp_path):
    order = case.documents("Orders")[0]
    refund = case.documents("CreditNotes")[0]
    event = {
        "type": "refund_issued",
        "refund_id": "C1",
        "order_id": order["NumAtCard"],
        "occurred_at": refund["DocDate"],
        "currency": "GBP",
        "lines": [],
    }
    case.write(tmp_path, json.dumps(event))
    twin = copy.deepcopy(refund) | {"NumAtCard": "C1", "U_STREAMS_KEY": "refund_issued-C1", "U_STREAMS_ORDER": "other"}
    case.ledger["documents"].append(twin)
    case.ledger["claims"].append({"Code": "refund_issued-C1", "U_STATE": "posted"})
    assert [one.where for one in case.prove().discrepancies] == ["refund C1: order"]


def test_the_invoices_of_an_order_without_taxes_of_its_lines_still_add_up_to_its_total(case):
    events = case.as_vendor_events()
    order = next(event for event in events["shop"] if event["type"] == "order_placed")
    for line in order["lines"]:
        del line["tax_amount"]
    assert case.prove(vendor_events=events).ok
    order["grand_total"] = str(Decimal(order["grand_total"]) + Decimal("0.01"))
    wheres = {one.where for one in case.prove(vendor_events=events).discrepancies if one.kind == "money"}
    assert wheres == {f"order {order['order_id']}", f"invoices of order {order['order_id']}"}


def test_goods_that_come_back_to_no_named_place_come_back_to_where_they_left_from(case):
    events = case.as_vendor_events()
    refund = next(event for event in events["shop"] if event["type"] == "refund_issued" and "order_id" in event)
    for line in refund["lines"]:
        line.pop("location", None)
    assert case.prove(vendor_events=events).ok

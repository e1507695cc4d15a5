"""Invariant: every accepted dispatch is one delivery of its order, with the same units."""

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from lab.proof.amounts import ZERO
from lab.proof.documents import units_of
from lab.proof.evidence import Evidence
from lab.proof.findings import Findings


def check_dispatches(
    evidence: Evidence, findings: Findings, events: Sequence[dict[str, Any]], orders: Sequence[dict[str, Any]]
) -> None:
    entries = {document["DocEntry"]: document for document in evidence.documents["Orders"]}
    there: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for document in evidence.documents["DeliveryNotes"]:
        order = findings.base_of(document, 17, entries)
        there[str(order and order["NumAtCard"]), document.get("TrackingNumber") or ""].append(document)
    numbers = {event["order_id"]: event.get("order_number") or event["order_id"] for event in orders}
    for event in events:
        where = f"dispatch {event['shipment_id']}"
        tracking = next(iter(event.get("tracking_numbers") or ()), "")
        key = (numbers.get(event["order_id"], event["order_id"]), tracking)
        found = there.pop(key, [])
        place = evidence.place(event, event["location"])
        wanted: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
        for line in event["lines"]:
            wanted[evidence.terms.item(line["sku"]), place] += Decimal(line["quantity"])
        for slot, units in wanted.items():
            findings.moves[slot] -= units
        delivery = findings.one_document("dispatch_confirmed", where, found)
        if delivery is not None:
            findings.same_date(where, evidence.day(event), delivery)
            findings.same_units(where, wanted, units_of(delivery))
    findings.unexpected("DeliveryNotes", there)

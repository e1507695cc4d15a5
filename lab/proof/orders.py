"""Invariant: every accepted order is one document, line by line what was ordered, at its total."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from lab.proof.amounts import ZERO, net_of
from lab.proof.documents import by_number
from lab.proof.evidence import Evidence
from lab.proof.findings import Findings


def check_orders(evidence: Evidence, findings: Findings, events: Sequence[dict[str, Any]]) -> Decimal:
    total = ZERO
    numbered = by_number(evidence.documents["Orders"])
    for event in events:
        number = event.get("order_number") or event["order_id"]
        document = findings.one_document("order_placed", f"order {number}", numbered.pop(number, []))
        if document is None:
            continue
        total += Decimal(document["DocTotal"])
        where = f"order {number}"
        findings.same_money(where, event.get("grand_total"), document["DocTotal"])
        findings.same_date(where, evidence.day(event), document)
        wanted = [
            (
                evidence.terms.item(line["sku"]),
                evidence.place(event, line.get("location")),
                Decimal(line["quantity"]),
                net_of(line),
            )
            for line in event["lines"]
        ]
        there = [
            (line["ItemCode"], line["WarehouseCode"], Decimal(line["Quantity"]), Decimal(line["LineTotal"]))
            for line in document["DocumentLines"]
        ]
        if wanted != there:
            findings.first_difference(where, wanted, there)
    findings.unexpected("Orders", numbered)
    return total

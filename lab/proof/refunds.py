"""Invariant: every accepted refund is one credit memo, with its money, its units and its order."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from lab.proof.amounts import ZERO
from lab.proof.documents import by_number, units_of
from lab.proof.evidence import Evidence
from lab.proof.findings import Findings


def check_refunds(
    evidence: Evidence, findings: Findings, events: Sequence[dict[str, Any]], left_from: Mapping[str, str]
) -> Decimal:
    """Credit memos; what names no place comes back to where its order left from."""
    total = ZERO
    numbered = by_number(evidence.documents["CreditNotes"])
    orders = by_number(evidence.documents["Orders"])
    for event in events:
        where = f"refund {event['refund_id']}"
        wanted: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
        for line in event.get("lines") or ():
            place = line.get("location") is None and left_from.get(str(event.get("order_id")))
            slot = (evidence.terms.item(line["sku"]), place or evidence.place(event, line.get("location")))
            wanted[slot] += Decimal(line["quantity"])
            if line["restock"]:
                findings.moves[slot] += Decimal(line["quantity"])
        document = findings.one_document("refund_issued", where, numbered.pop(event["refund_id"], []))
        if document is None:
            continue
        total += Decimal(document["DocTotal"])
        findings.same_money(where, event.get("total"), document["DocTotal"])
        findings.same_date(where, evidence.day(event), document)
        if wanted:
            findings.same_units(where, wanted, units_of(document))
        order = next(iter(orders.get(str(event.get("order_id")), [])), None)
        if order is not None and document.get("U_STREAMS_ORDER") != order.get("U_STREAMS_KEY"):
            findings.report(
                "document", f"{where}: order", str(order["U_STREAMS_KEY"]), str(document.get("U_STREAMS_ORDER"))
            )
    findings.unexpected("CreditNotes", numbered)
    return total

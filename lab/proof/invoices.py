"""Invariant: one invoice for each delivery, the same units; and an order's invoices add up to what they must be."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from lab.proof.amounts import ZERO, net_of, round_to_pence
from lab.proof.documents import units_of
from lab.proof.evidence import Evidence
from lab.proof.findings import Findings


@dataclass(slots=True)
class _InvoicedLine:
    """One order line, as the ledger's own references lead from invoices to it."""

    quantity: Decimal = ZERO
    net: Decimal = ZERO
    tax: Decimal = ZERO


def check_invoices(evidence: Evidence, findings: Findings, orders: Sequence[dict[str, Any]]) -> None:
    """One invoice for each delivery, the same units; and an order's invoices add up to what they must be."""
    entries = {document["DocEntry"]: document for document in evidence.documents["Orders"]}
    deliveries = {document["DocEntry"]: document for document in evidence.documents["DeliveryNotes"]}
    of_delivery: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for invoice in evidence.documents["Invoices"]:
        delivery = findings.base_of(invoice, 15, deliveries)
        if delivery is not None:
            of_delivery[delivery["DocEntry"]].append(invoice)
    lines: dict[tuple[int, int], _InvoicedLine] = defaultdict(_InvoicedLine)
    totals: dict[int, Decimal] = defaultdict(lambda: ZERO)
    for entry, delivery in deliveries.items():
        where = f"invoice of delivery {delivery['DocNum']}"
        invoices = of_delivery[entry]
        if len(invoices) != 1:
            findings.report("lost" if not invoices else "double", where, "1 invoice", str(len(invoices)))
            continue
        findings.same_units(where, units_of(delivery), units_of(invoices[0]))
        if invoices[0]["DocDate"][:10] != delivery["DocDate"][:10]:
            findings.report("document", f"date of {where}", delivery["DocDate"][:10], invoices[0]["DocDate"][:10])
        for line in invoices[0]["DocumentLines"]:
            base = delivery["DocumentLines"][int(line["BaseLine"])]
            slot = lines[int(base["BaseEntry"]), int(base["BaseLine"])]
            slot.quantity += Decimal(line["Quantity"])
            slot.net += Decimal(line["LineTotal"])
            slot.tax += Decimal(line["TaxTotal"])
        order = findings.base_of(delivery, 17, entries)
        if order is not None:
            totals[order["DocEntry"]] += Decimal(invoices[0]["DocTotal"])
    by_number = {event.get("order_number") or event["order_id"]: event for event in orders}
    for entry, order in entries.items():
        event = by_number.get(str(order.get("NumAtCard")))
        if event is not None and entry in totals:
            _check_order(evidence, findings, event, order, lines, totals[entry])


def _check_order(
    evidence: Evidence,
    findings: Findings,
    event: dict[str, Any],
    order: Mapping[str, Any],
    lines: Mapping[tuple[int, int], _InvoicedLine],
    total: Decimal,
) -> None:
    """What has been invoiced of each line is its rounded share; with the freight they are the invoices' total."""
    shipping = event.get("shipping") or {}
    there = [lines.get((order["DocEntry"], number), _InvoicedLine()) for number in range(len(event["lines"]))]
    complete = all(got.quantity == Decimal(line["quantity"]) for got, line in zip(there, event["lines"], strict=True))
    if any(line.get("tax_amount") is None for line in event["lines"]) or (
        shipping and shipping.get("tax_amount") is None
    ):
        # The tax of a part is B1's own affair; that of the whole order is not.
        if complete:
            findings.same_money(f"invoices of order {order['NumAtCard']}", event.get("grand_total"), total)
        return
    expected = Decimal(shipping.get("amount", 0)) + Decimal(shipping.get("tax_amount", 0))
    for got, line in zip(there, event["lines"], strict=True):
        quantity = Decimal(line["quantity"])
        net = round_to_pence(net_of(line) * got.quantity / quantity)
        tax = round_to_pence(Decimal(line["tax_amount"]) * got.quantity / quantity)
        expected += net + tax
        where = f"order {order['NumAtCard']}, line {line['line_id']}: invoiced"
        if (net, tax) != (got.net, got.tax):
            findings.report("money", where, f"{net} + {tax}", f"{got.net} + {got.tax}")
    if complete and event.get("grand_total") is not None:
        expected = Decimal(event["grand_total"])
    findings.same_money(f"invoices of order {order['NumAtCard']}", expected, total)

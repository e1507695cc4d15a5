"""I5, I3: documents of an order come in their order, and its invoices come to its total."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from schemas.events import (
    DispatchConfirmed,
    OrderPlaced,
    RefundIssued,
)
from streams.chain.keys import invoice_key
from tests.simulation.invariants.cancellations import check_cancellations
from tests.simulation.invariants.view import View, order_of, units_of


def check_sequence(view: View, first: Mapping[str, Any], documents: Mapping[str, list[Mapping[str, Any]]]) -> None:
    """I5: order before delivery before invoice before credit memo.

    The invoices of all of an order come to its total.
    """
    orders = {order_of(event): (k, event) for k, event in first.items() if isinstance(event, OrderPlaced)}
    placed: dict[tuple[str, str], int] = {}
    invoices: defaultdict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for order_id, (k, _) in orders.items():
        if k in documents:
            placed[order_id] = documents[k][0]["sequence"]
    credited: dict[tuple[str, str], int] = {}
    for k, event in first.items():
        if isinstance(event, OrderPlaced) or k not in documents:
            continue
        sequence = documents[k][0]["sequence"]
        if sequence < placed.get(order_of(event), sequence + 1):
            view.report(f"I5: {k} came before its order {event.order_id}")
        if isinstance(event, RefundIssued):
            credited[order_of(event)] = min(sequence, credited.get(order_of(event), sequence))
        if isinstance(event, DispatchConfirmed):
            invoice = documents.get(invoice_key(event.company, event.source, event.shipment_id))
            if invoice:
                invoices[order_of(event)].append(invoice[0])
                if invoice[0]["sequence"] < sequence:
                    view.report(f"I5: the invoice of {k} came before its delivery")
    for order_id, sequence in credited.items():
        if not any(invoice["sequence"] < sequence for invoice in invoices[order_id]):
            view.report(f"I5: a credit memo of order {order_id} came before every invoice")
    check_cancellations(view, first, documents)
    for order_id, (k, event) in orders.items():
        if k not in documents or view.was_cancelled(*order_id):
            continue
        units: Counter[Any] = Counter()
        for invoice in invoices[order_id]:
            units.update({line["ItemCode"]: Decimal(0) for line in invoice["DocumentLines"]})
            for line in invoice["DocumentLines"]:
                units[line["ItemCode"]] += Decimal(line["Quantity"])
        total = sum((Decimal(invoice["DocTotal"]) for invoice in invoices[order_id]), Decimal(0))
        if units == units_of(event.lines) and total != event.grand_total:
            view.report(f"I3: order {order_id} is {event.grand_total}, its invoices come to {total}")

"""I3: units and money of one document."""

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from schemas.events import (
    DispatchConfirmed,
    OrderPlaced,
    RefundIssued,
)
from tests.simulation.invariants.view import View, item_units_of, units_of


def check_content(view: View, k: str, event: Any, documents: Mapping[str, list[Mapping[str, Any]]]) -> None:
    """Units and money of one document."""
    if k not in documents:
        return
    document = documents[k][0]
    cancelled = view.was_cancelled(event.company, event.order_id)
    match event:
        case OrderPlaced():
            units = Counter({line.line_id: line.quantity for line in event.lines})
            told = Counter({line["U_STREAMS_LINE"]: Decimal(line["Quantity"]) for line in document["DocumentLines"]})
            if not cancelled and (units != told or Decimal(document["DocTotal"]) != event.grand_total):
                view.report(
                    f"I3: order {event.order_id} is {units}, {event.grand_total}, in B1 {told}, {document['DocTotal']}"
                )
        case DispatchConfirmed():
            if units_of(event.lines) != (told := item_units_of(document)):
                view.report(f"I3: shipment {event.shipment_id} has {units_of(event.lines)}, its delivery {told}")
        case RefundIssued():
            wrong = units_of(event.lines) != item_units_of(document) or Decimal(document["DocTotal"]) != event.total
            if not cancelled and wrong:
                view.report(f"I3: refund {event.refund_id} is {event.total}, its credit memo {document['DocTotal']}")

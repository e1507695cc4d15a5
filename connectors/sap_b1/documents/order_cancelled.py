"""`order_cancelled` cancels or closes an order, or takes units off its lines. It has a claim and no document."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from connectors.base.errors import Refusal
from connectors.base.money import ZERO, part
from connectors.sap_b1.documents import DocumentPlan
from connectors.sap_b1.documents.fields import at
from connectors.sap_b1.mapping import CompanyMap
from connectors.sap_b1.master import Codes, MasterData
from connectors.sap_b1.order import LineView, OrderView, cancelled_note
from connectors.sap_b1.service_layer import B1Request
from schemas.events import OrderCancelled


def codes_needed(event: OrderCancelled, map: CompanyMap, order: OrderView | None = None) -> Codes:
    """Nothing: the order says it all."""
    return Codes()


def build(
    event: OrderCancelled, k: str, order_k: str, map: CompanyMap, master: MasterData, order: OrderView | None = None
) -> DocumentPlan:
    """Cancel, Close, or PATCHes of lines. What was delivered stays.

    B1 refuses to close a line in a request that changes anything else ("Document rows cannot be closed concurrently
    with the other document modifications", -5002, live field note read 2026-11-30): lines that lose units go first, in
    a PATCH of their own, and lines with nothing left are closed by another one that says nothing else.

    Raises:
        Refusal: `order_not_found` (waits for `order_k`), `over_cancelled`, `invalid_event`.
    """
    if order is None:
        raise order_not_found(event.order_id, order_k)
    if event.lines is None:
        return _whole(order)
    if not event.lines:
        raise Refusal("invalid_event", "lines is empty; name the lines, or leave it out to cancel the whole order")
    wanted: dict[str, Decimal] = {}
    for line in event.lines:
        wanted[line.line_id] = wanted.get(line.line_id, ZERO) + line.quantity
    currency = order.currency or map.settings.currency
    rows = sorted(
        (_row(order, line_id, quantity, currency) for line_id, quantity in wanted.items()),
        key=lambda row: row["LineNum"],
    )
    reduced, closed = [row for row in rows if "Quantity" in row], [row for row in rows if "Quantity" not in row]
    path = f"Orders({order.doc_entry})"
    requests = tuple(B1Request("PATCH", path, {"DocumentLines": changes}) for changes in (reduced, closed) if changes)
    return DocumentPlan(requests=requests, items=_items(order))


def is_done(requests: Sequence[B1Request], order: Mapping[str, Any]) -> bool:
    """Whether an order, as B1 shows it, is as these requests of `build` leave it."""
    closed = order.get("DocumentStatus") == "bost_Close" or order.get("Cancelled") == "tYES"
    lines = {int(line["LineNum"]): line for line in order.get("DocumentLines") or ()}
    changes = [change for request in requests for change in (request.body or {}).get("DocumentLines", ())]
    if not changes:
        return closed
    for change in changes:
        line = lines.get(change["LineNum"], {})
        if "Quantity" in change:
            if Decimal(str(line.get("Quantity", -1))) != change["Quantity"]:
                return False
        elif not (closed or line.get("LineStatus") == "bost_Close"):
            return False
    return True


def order_not_found(order_id: str, order_k: str) -> Refusal:
    return Refusal(
        "order_not_found", f"order {order_id!r} is not in B1; it is tried again when the order is", waits_for=order_k
    )


def _whole(order: OrderView) -> DocumentPlan:
    if order.cancelled:
        return DocumentPlan(no_op="the order is already cancelled in B1")
    delivered = [order.delivered(line.line_num).quantity for line in order.lines]
    if order.closed or all(line.closed for line in order.lines):
        if all(quantity >= line.quantity for quantity, line in zip(delivered, order.lines, strict=True)):
            raise Refusal(
                "over_cancelled", "everything was delivered and nothing is open; discard it, or refund what comes back"
            )
        return DocumentPlan(no_op="the order is already closed in B1")
    # Lines that B1 has drawn from count as delivered, whoever drew: it refuses to cancel such an order.
    drawn = any(delivered) or any(line.open < line.quantity for line in order.lines if not line.closed)
    action = "Close" if drawn else "Cancel"
    return DocumentPlan(requests=(B1Request("POST", f"Orders({order.doc_entry})/{action}"),), items=_items(order))


def _items(order: OrderView) -> frozenset[str]:
    """All of the order's: B1 writes the whole document, and may lock what it does not change."""
    return frozenset(line.item_code for line in order.lines if line.item_code)


def _row(order: OrderView, line_id: str, quantity: Decimal, currency: str) -> dict[str, Any]:
    with at(f"line {line_id!r}"):
        line = next((line for line in order.lines if line.line_id == line_id), None)
        if line is None:
            raise Refusal("invalid_event", "the order has no such line; send the order's own line id")
        open_quantity = ZERO if order.cancelled or order.closed else line.open
        if quantity > open_quantity:
            raise Refusal(
                "over_cancelled",
                f"{quantity} to be cancelled and {open_quantity} open; correct the quantity and replay, or discard it",
            )
        if quantity == open_quantity:
            return {"LineNum": line.line_num, "LineStatus": "bost_Close"}
        return _reduced(line, quantity, currency)


def _reduced(line: LineView, quantity: Decimal, currency: str) -> dict[str, Any]:
    left = line.quantity - quantity
    row: dict[str, Any] = {
        "LineNum": line.line_num,
        "Quantity": left,
        "LineTotal": part(line.net, left, line.quantity, ZERO, currency),
        "FreeText": cancelled_note(line, quantity),
    }
    if line.tax is not None:
        row["TaxTotal"] = part(line.tax, left, line.quantity, ZERO, currency)
    return row

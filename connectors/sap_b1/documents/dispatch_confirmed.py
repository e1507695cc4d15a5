"""`dispatch_confirmed` becomes a delivery (`DeliveryNotes`) drawn from the order's open lines."""

import contextlib
from decimal import Decimal
from typing import Any

from connectors.base.errors import Refusal
from connectors.base.money import ZERO, part
from connectors.sap_b1.documents import DocumentPlan
from connectors.sap_b1.documents.allocation import OpenLine, Want, fill
from connectors.sap_b1.documents.fields import (
    MAX_TRACKING,
    Lots,
    at,
    branch_of,
    check_identity,
    check_quantity,
    check_warehouse,
    comments,
    cut,
    find_item,
    find_lots,
    given,
    line_at,
    order_header,
    utf16_units,
)
from connectors.sap_b1.documents.order_cancelled import order_not_found
from connectors.sap_b1.mapping import CompanyMap
from connectors.sap_b1.master import Codes, MasterData
from connectors.sap_b1.order import ORDER, LineView, OrderView
from connectors.sap_b1.service_layer import B1Request
from schemas.events import DispatchConfirmed


def codes_needed(event: DispatchConfirmed, map: CompanyMap, order: OrderView | None = None) -> Codes:
    """What `build` looks up. Refuses nothing: what is not mapped is left for `build` to refuse."""
    items, warehouses = set(), set()
    for line in event.lines:
        with contextlib.suppress(Refusal):
            items.add(map.item_code(line.sku))
    with contextlib.suppress(Refusal):
        warehouses.add(map.dispatch_warehouse(event.source, event.location))
    return Codes(frozenset(items), frozenset(warehouses))


def build(
    event: DispatchConfirmed, k: str, order_k: str, map: CompanyMap, master: MasterData, order: OrderView | None = None
) -> DocumentPlan:
    """The delivery: one line per line of the order that goods left for, with its share of the line's amounts.

    Raises:
        Refusal: `order_not_found` (waits for `order_k`), or whatever else of contract section 6 stands against it. What
            depends on what is open is final only after a look-up of `k` (architecture section 15.1).
    """
    check_identity("shipment_id", event.shipment_id)
    if not event.lines:
        raise Refusal("invalid_event", "the dispatch has no lines; send what left")
    if order is None:
        raise order_not_found(event.order_id, order_k)
    with at(f"location {event.location!r}"):
        warehouse = check_warehouse(master, map.dispatch_warehouse(event.source, event.location))
    shipping_type = map.shipping_type(event.carrier, event.service)
    shut = order.cancelled or order.closed
    wants, lots = _wants(event, map, master)
    places = [OpenLine(line.line_id, line.item_code, ZERO if shut else line.open) for line in order.lines]
    taken: dict[int, tuple[Decimal, Lots]] = {}
    for piece in fill(wants, places, "over_delivered", "open in B1"):
        quantity, numbers = taken.setdefault(piece.place, (ZERO, Lots([], [])))
        numbers.add(lots[piece.want].take(piece.quantity))
        taken[piece.place] = (quantity + piece.quantity, numbers)
    currency = order.currency or map.settings.currency
    lines = [
        _line(order, order.lines[place], *taken[place], position, warehouse, currency)
        for position, place in enumerate(sorted(taken))
    ]
    first = event.tracking_numbers[0] if event.tracking_numbers else None
    # A number that B1 would cut is worth nothing: it stands whole in the comment.
    others = [n for n in event.tracking_numbers if n != first or utf16_units(n) > MAX_TRACKING]
    header = {
        **order_header(map, order, k, map.posting_date(event.occurred_at)),
        **given(
            TrackingNumber=cut(first, MAX_TRACKING),
            TransportationCode=shipping_type,
            BPL_IDAssignedToInvoice=branch_of(master, (warehouse,)),
            Comments=comments(f"Tracking: {', '.join(others)}" if others else None),
        ),
        "DocumentLines": lines,
    }
    return DocumentPlan(
        requests=(B1Request("POST", "DeliveryNotes", header),), items=frozenset(line["ItemCode"] for line in lines)
    )


def _wants(event: DispatchConfirmed, map: CompanyMap, master: MasterData) -> tuple[list[Want], list[Lots]]:
    day = map.posting_date(event.occurred_at)
    wants: list[Want] = []
    lots: list[Lots] = []
    for position, line in enumerate(event.lines):
        with at(line_at(position, line.sku)):
            item = find_item(master, map.item_code(line.sku), day, sold=True)
            check_quantity(master, line.quantity)
            lots.append(find_lots(item, line.quantity, line.batches, line.serials, incoming=False))
            wants.append(Want(position, line.line_id, line.sku, item.code, line.quantity))
    return wants, lots


def _line(
    order: OrderView, line: LineView, quantity: Decimal, lots: Lots, position: int, warehouse: str, currency: str
) -> dict[str, Any]:
    earlier = order.delivered(line.line_num)
    reached = earlier.quantity + quantity
    return {
        "BaseType": ORDER,
        "BaseEntry": order.doc_entry,
        "BaseLine": line.line_num,
        **given(
            ItemCode=line.item_code,
            Quantity=quantity,
            LineTotal=part(line.net, reached, line.quantity, earlier.net, currency),
            TaxTotal=None if line.tax is None else part(line.tax, reached, line.quantity, earlier.tax, currency),
            WarehouseCode=warehouse,
            U_STREAMS_LINE=line.line_id,
        ),
        **lots.fields(position, incoming=False),
    }

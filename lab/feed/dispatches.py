"""Dispatches: some hours after the order, some in two parcels."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from lab.feed.company import PLACES
from lab.feed.context import FeedContext, SoldLine, SoldOrder
from lab.feed.feed import FeedEntry
from lab.feed.texts import decimal_text, json_line, share_of


def dispatches_of(context: FeedContext, order: SoldOrder) -> Iterator[FeedEntry]:
    first = order.at + timedelta(minutes=round(60 + 480 * share_of(context.seed, "delay", order.id)))
    if order.refunded_at is not None:
        # Goods come back after they went out, so a refunded order goes out in time, and whole.
        first = min(first, order.at + (order.refunded_at - order.at) / 2)
    parts: list[tuple[datetime, list[tuple[SoldLine, Decimal]]]] = [
        (first, [(line, line.row.quantity) for line in order.lines])
    ]
    units = sum((line.row.quantity for line in order.lines), Decimal(0))
    if order.refunded_at is None and units > 1 and share_of(context.seed, "partial", order.id) < 0.15:
        parts = _in_two_parcels(context, order, first)
    home = order.lines[0].row.country == "United Kingdom"
    by_line = share_of(context.seed, "line ids", order.id) < 0.8  # not every warehouse keeps the shop's line ids
    for number, (at, lines) in enumerate(parts, 1):
        if at > context.end:
            context.left_out["dispatches after the last day"] += 1
            continue
        if not home:
            carrier, service = "DHL", None
        elif share_of(context.seed, "carrier", order.id) < 0.5:
            carrier, service = "royal-mail", "tracked-48"
        else:
            carrier, service = "DPD", "next-day"
        shipment_id = f"S{order.id}-{number}"
        for line, quantity in lines:
            context.taken[line.row.item, order.warehouse] += quantity
        context.counts["dispatch_confirmed"] += 1
        context.counts["dispatch_lines"] += len(lines)
        context.counts["partial dispatches"] += len(parts) > 1
        event = {
            "type": "dispatch_confirmed",
            "shipment_id": shipment_id,
            "order_id": order.id,
            "occurred_at": context.written(at),
            "location": PLACES[order.warehouse],
            "carrier": carrier,
            "service": service,
            "tracking_numbers": [f"{carrier[:2].upper()}{order.id}{number:03}GB"],
            "lines": [
                {
                    "line_id": line.line_id if by_line else None,
                    "sku": line.row.code,
                    "quantity": decimal_text(quantity),
                }
                for line, quantity in lines
            ],
        }
        yield FeedEntry(at, shipment_id, json_line(event))


def _in_two_parcels(
    context: FeedContext, order: SoldOrder, first: datetime
) -> list[tuple[datetime, list[tuple[SoldLine, Decimal]]]]:
    """Two parcels: the first lines, one of them perhaps in part, and the rest a day or so later."""
    later = first + timedelta(minutes=round(720 + 1440 * share_of(context.seed, "rest", order.id)))
    cut = max(1, len(order.lines) // 2)
    parcels: tuple[list[tuple[SoldLine, Decimal]], list[tuple[SoldLine, Decimal]]] = ([], [])
    for number, line in enumerate(order.lines, 1):
        quantity = line.row.quantity
        if number == cut and quantity > 1:
            half = Decimal(int(quantity) // 2)
            parcels[0].append((line, half))
            parcels[1].append((line, quantity - half))
        else:
            parcels[0 if number <= cut else 1].append((line, quantity))
    return [(at, lines) for at, lines in zip((first, later), parcels, strict=True) if lines]

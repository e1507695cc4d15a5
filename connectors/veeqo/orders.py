"""What is new about an order: placed, shipped, taken back, cancelled."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from connectors.base.errors import RecordError
from connectors.base.log import milliseconds
from connectors.base.source import Item
from connectors.veeqo.memory import KnownCount, ReportedOrder
from connectors.veeqo.reading import Reading
from connectors.veeqo.records import VeeqoAllocation, VeeqoOrder, VeeqoOrderHead, validate
from connectors.veeqo.settings import VeeqoSettings
from connectors.veeqo.translate.dispatches import dispatch_confirmed
from connectors.veeqo.translate.orders import order_cancelled, order_placed
from schemas.events import DispatchConfirmed, OrderPlaced, digest_of

_FINISHED = frozenset({"shipped", "cancelled", "refunded"})


def order_items(reading: Reading, row: object) -> list[Item]:
    """What is new about an order."""
    try:
        head = validate(VeeqoOrderHead, row)
    except RecordError as error:
        return reading.refused("order_placed", VeeqoOrderHead, row, "orders", str(error))
    memory = reading.memory
    memory.top_ms = max(memory.top_ms, milliseconds(head.updated_at))
    assert isinstance(row, Mapping)  # noqa: S101 -- it has an id
    try:
        order = validate(VeeqoOrder, row)
        reading.check_ahead("created_at", order.created_at)
        reading.check_ahead("cancelled_at", order.cancelled_at or order.created_at)
        state = memory.orders.get(order.id) or ReportedOrder(0)
        items = _placed(reading, order, state)
    except RecordError as error:
        return reading.refused("order_placed", VeeqoOrder, row, f"orders/{head.id}", str(error), order_id=head.id)
    was_known = order.id in memory.orders
    items += _shipments(reading, order, state, row.get("allocations"), was_known=was_known)
    if order.status == "cancelled" and not state.cancelled and (state.placed or not was_known):
        state.cancelled = True
        if _is_ours(reading.settings, order):
            items.append(order_cancelled(order, reading.context))
    state.finished = order.status in _FINISHED
    state.stamp_ms = max(state.stamp_ms, milliseconds(order.updated_at))
    memory.orders[order.id] = state
    return items


def _is_ours(settings: VeeqoSettings, order: VeeqoOrder) -> bool:
    return "orders" in settings.reads and not _is_relayed(settings, order)


def _is_relayed(settings: VeeqoSettings, order: VeeqoOrder) -> bool:
    channel = order.channel
    return channel is not None and settings.relays(channel.id, channel.type_code)


def _order_id(settings: VeeqoSettings, order: VeeqoOrder) -> str:
    """The order's id at whoever reports it."""
    if not _is_relayed(settings, order):
        return order.id
    if order.number is None:
        raise RecordError("the order has no number, by which its shop's order could be found")
    return order.number


def _placed(reading: Reading, order: VeeqoOrder, state: ReportedOrder) -> list[Item]:
    """Placed, once; and once more for each change of what is sold, which then is a reused id for people to decide.

    A cancelled order that was known before it was placed never was an order; of one that we have never seen, both
    is said, since B1 may have it.
    """
    if not _is_ours(reading.settings, order):
        return []
    if order.status == "cancelled" and (state.placed or state.stamp_ms):
        return []
    if order.status in reading.settings.unplaced_statuses:
        return []
    event = order_placed(order, reading.context)
    mark = _content_mark(event)
    if mark == state.placed:
        return []
    state.placed = mark
    return [event]


def _shipments(
    reading: Reading, order: VeeqoOrder, state: ReportedOrder, rows: object, *, was_known: bool
) -> list[Item]:
    """What has left, and what was taken back; an order of which something has left is placed, whatever its status."""
    if isinstance(rows, Mapping):
        rows = [rows]
    if "dispatches" not in reading.settings.reads or not isinstance(rows, list):
        return []
    items: list[Item] = []
    there: set[str] = set()
    for row in rows:
        shipment = row.get("shipment") if isinstance(row, Mapping) else None
        if shipment is None:
            continue
        there.add(str(shipment.get("id")) if isinstance(shipment, Mapping) else "")
        try:
            allocation = validate(VeeqoAllocation, row)
            if allocation.shipment.id in state.shipments or not reading.settings.ships(allocation.warehouse.id):
                continue
            reading.check_ahead("shipment.created_at", allocation.shipment.created_at)
            event = dispatch_confirmed(allocation, order, _order_id(reading.settings, order), reading.context)
            if not state.placed and _is_ours(reading.settings, order):
                placed = order_placed(order, reading.context)
                state.placed = _content_mark(placed)
                items.append(placed)
        except RecordError as error:
            items += reading.refused(
                "dispatch_confirmed", VeeqoAllocation, row, f"orders/{order.id}", str(error), order_id=order.id
            )
            continue
        items.append(event)
        state.shipments.append(event.shipment_id)
        shipped_ms = milliseconds(event.occurred_at)
        state.stamp_ms = max(state.stamp_ms, shipped_ms)
        if was_known or shipped_ms > reading.memory.forgotten_ms:
            _subtract_shipped(reading, event, shipped_ms)
    for gone in [each for each in state.shipments if each not in there]:
        state.shipments.remove(gone)
        what = {"order_id": order.id, "shipment_id": gone, "unshipped_at": order.updated_at.isoformat()}
        items += reading.refused(
            "dispatch_confirmed",
            None,
            what,
            f"orders/{order.id}",
            f"shipment {gone} was taken back in Veeqo after it was reported, and its goods are counted as back on "
            "the shelf; credit its invoice in B1 without moving stock, then discard this",
            order_id=order.id,
            event_id=gone,
        )
    return items


def _subtract_shipped(reading: Reading, event: DispatchConfirmed, shipped_ms: int) -> None:
    """Count shipped units: their deliveries take them from B1's stock, so the counts' deltas must not.

    Units that were shipped before `start_at` move nothing in B1.
    """
    start_at = reading.settings.start_at
    if start_at is not None and shipped_ms < milliseconds(start_at):
        return
    settle_ms = reading.settings.settle_s * 1000
    for line in event.lines:
        count = reading.memory.counts.setdefault((line.sku, event.location), KnownCount())
        count.shipped += line.quantity
        if count.seen is None:
            continue
        if abs(shipped_ms - count.seen_ms) <= settle_ms:
            count.seen, count.seen_ms = None, 0  # nobody knows whether the count has it: count again
        elif shipped_ms > count.seen_ms:
            count.seen -= line.quantity


def _content_mark(event: OrderPlaced) -> str:
    """A mark of what an order sells and for how much; not of where it goes and what is noted on it."""
    plain: Any = replace(
        event, ship_to=None, bill_to=None, customer=None, note=None, payment=None, order_number=None, channel=None
    )
    return digest_of(plain).hex()[:10]

"""Rows of the shop's lists to items of a batch: with the order that they belong to, or refused with their bytes."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import TypeVar

from connectors.base.clock import Clock
from connectors.base.context import EventContext
from connectors.base.errors import RecordError
from connectors.base.loop_guard import LoopGuard
from connectors.base.source import Item, RefusedRecord
from connectors.magento.cursor import IdSet
from connectors.magento.listing import ShopRow, texts_of_comments
from connectors.magento.reading import ListedRow, ListReader, id_or_none
from connectors.magento.records import (
    CreditmemoRecord,
    InvoiceRecord,
    OrderRecord,
    R,
    ShipmentRecord,
    validate,
)
from connectors.magento.settings import MagentoSettings
from connectors.magento.translate.context import MagentoContext
from connectors.magento.translate.orders import order_cancelled, order_placed
from connectors.magento.translate.refunds import History, refunded
from connectors.magento.translate.shipments import dispatch_confirmed, virtual_dispatched
from schemas.events import DispatchConfirmed, FactEvent

D = TypeVar("D", InvoiceRecord, ShipmentRecord)

_EVENT_TYPES = {
    "orders": "order_placed",
    "invoices": "dispatch_confirmed",
    "shipments": "dispatch_confirmed",
    "creditmemos": "refund_issued",
}
#: A dead letter has 1 MiB with its headers.
MAX_ROW_BYTES = 990_000


class RowEvents:
    """What the rows of one shop mean.

    Args:
        name: The connector's.
        settings: Its settings.
        reader: Finds the orders that documents belong to.
        clock: When things are observed.
    """

    def __init__(self, name: str, settings: MagentoSettings, reader: ListReader, clock: Clock) -> None:
        self._name, self._settings, self._reader, self._clock = name, settings, reader, clock
        self._guard = LoopGuard.of(settings.own_mark)

    def orders(
        self,
        rows: Sequence[ListedRow],
        placed: IdSet,
        events_of: Callable[[OrderRecord, bool, MagentoContext], Sequence[FactEvent | None]] | None = None,
    ) -> tuple[list[Item], list[int]]:
        """Orders placed and cancelled.

        Args:
            rows: Of the list of orders.
            placed: Those that were emitted before.
            events_of: The events of an order, whether it was emitted before, and the context; None: what is new of it.

        Returns:
            The items, and the ids of the orders that they are of.
        """
        context, items, ids = self._context(), list[Item](), list[int]()
        for each in rows:
            known = each.id in placed
            try:
                role = self._role(each.row)
                if role == "wait" or self._is_own(each.row) or (role == "cancelled" and not known):
                    continue
                order = validate(OrderRecord, each.row, self._settings, context.observed_at)
                events = (events_of or _new_of)(order, known, context)
                items += [event for event in events if event is not None]
                ids.append(each.id)
            except RecordError as error:
                items.append(self._refused("orders", each, error))
        return items, ids

    async def documents(self, name: str, rows: Sequence[ListedRow]) -> list[Item]:
        """What invoices, shipments or credit memos mean.

        Raises:
            ConnectorError: The orders that they belong to cannot be read.
        """
        context, found = self._context(), [each.row for each in rows]
        orders = await self._orders_of(found)
        if name == "creditmemos":
            events_of = await self._refunds(found, orders, context)
        elif name == "invoices":
            events_of = self._dispatches(InvoiceRecord, virtual_dispatched, orders, context)
        else:
            events_of = self._dispatches(ShipmentRecord, dispatch_confirmed, orders, context)
        items: list[Item] = []
        for each in rows:
            try:
                if not self._is_own(each.row):
                    items += events_of(each.row)
            except RecordError as error:
                items.append(self._refused(name, each, error))
        return items

    async def unread_shipments(self, rows: Sequence[ListedRow], dispatched: IdSet) -> dict[int, DispatchConfirmed]:
        """Shipments of the orders of some credit memos that were not emitted yet, by id.

        Goods must be emitted as gone before money is given back for them, and the two go through different topics. A
        shipment that cannot be an event is left for its own list to refuse.
        """
        if "shipments" not in self._settings.flows:
            return {}
        context, events = self._context(), dict[int, DispatchConfirmed]()
        unread = [
            row
            for row in await self._reader.rows_with("shipments", "order_id", _order_ids([each.row for each in rows]))
            if id_or_none(row.fields.get("entity_id")) not in dispatched and not self._is_own(row)
        ]
        orders = await self._orders_of(unread)
        events_of = self._dispatches(ShipmentRecord, dispatch_confirmed, orders, context)
        for row in unread:
            with contextlib.suppress(RecordError):
                events |= {int(event.shipment_id): event for event in events_of(row)}
        return events

    # ---- documents

    def _dispatches(
        self,
        kind: type[D],
        dispatched: Callable[[D, OrderRecord, MagentoContext], DispatchConfirmed | None],
        orders: Mapping[int, ShopRow],
        context: MagentoContext,
    ) -> Callable[[ShopRow], Sequence[DispatchConfirmed]]:
        def events(row: ShopRow) -> Sequence[DispatchConfirmed]:
            document = validate(kind, row, self._settings, context.observed_at)
            event = dispatched(document, self._order(orders, document.order_id, context), context)
            return [event] if event is not None else []

        return events

    async def _refunds(
        self, rows: Sequence[ShopRow], orders: Mapping[int, ShopRow], context: MagentoContext
    ) -> Callable[[ShopRow], Sequence[FactEvent]]:
        shipments, memos = dict[int, list[ShopRow]](), dict[int, list[ShopRow]]()
        if "shipments" in self._settings.flows:
            ids = _order_ids(rows)
            shipments, memos = await self._by_order("shipments", ids), await self._by_order("creditmemos", ids)

        def events(row: ShopRow) -> Sequence[FactEvent]:
            memo = validate(CreditmemoRecord, row, self._settings, context.observed_at)
            if memo.state is not None and memo.state not in self._settings.refunded_states:
                return []
            others = self._valid(CreditmemoRecord, memos.get(memo.order_id, ()), context)
            history = History(
                self._valid(ShipmentRecord, shipments.get(memo.order_id, ()), context),
                [*(other for other in others if other.entity_id != memo.entity_id), memo],
            )
            return refunded(memo, self._order(orders, memo.order_id, context), history, context)

        return events

    # ---- what belongs to an order

    async def _orders_of(self, rows: Sequence[ShopRow]) -> dict[int, ShopRow]:
        found = await self._reader.rows_with("orders", "entity_id", _order_ids(rows))
        return {row_id: row for row in found if (row_id := id_or_none(row.fields.get("entity_id"))) is not None}

    async def _by_order(self, name: str, ids: Sequence[int]) -> dict[int, list[ShopRow]]:
        by_order: dict[int, list[ShopRow]] = {}
        for row in await self._reader.rows_with(name, "order_id", ids):
            order_id = id_or_none(row.fields.get("order_id"))
            if order_id is not None:
                by_order.setdefault(order_id, []).append(row)
        return by_order

    def _order(self, orders: Mapping[int, ShopRow], order_id: int, context: MagentoContext) -> OrderRecord:
        row = orders.get(order_id)
        if row is None:
            raise RecordError(
                "its order cannot be read; see that the order is there and that we may see it, and replay"
            )
        return validate(OrderRecord, row, self._settings, context.observed_at)

    def _valid(self, kind: type[R], rows: Sequence[ShopRow], context: MagentoContext) -> list[R]:
        return [validate(kind, row, self._settings, context.observed_at) for row in rows]

    # ---- one row

    def _context(self) -> MagentoContext:
        return EventContext(self._name, self._settings.company, self._settings, self._clock.now())

    def _is_own(self, row: ShopRow) -> bool:
        return self._guard.is_own(reference=row.fields.get("ext_order_id"), texts=texts_of_comments(row.fields))

    def _role(self, row: ShopRow) -> str:
        state = row.fields.get("state")
        role = self._settings.states.get(state) if isinstance(state, str) else None
        if role is None:
            raise RecordError("state is missing or none that an order can have; fix it in the shop, or edit and replay")
        if role == "placed" and self._settings.wait_for_payment and state == "processing" and _is_due(row):
            return "wait"
        return role

    def _refused(self, name: str, each: ListedRow, error: RecordError) -> RefusedRecord:
        row, row_id = each.row, max(each.id, 0)
        is_object = isinstance(row.found, dict)
        order_id = row_id if name == "orders" else id_or_none(row.fields.get("order_id"))
        return RefusedRecord(
            event_type=_EVENT_TYPES[name] if is_object else None,
            reason="invalid_event" if is_object else "unreadable",
            error=str(error),
            value=row.value[:MAX_ROW_BYTES],
            origin=f"{name}/{row_id or 'unknown'}",
            digest=row.digest,
            number=row_id,
            event_id=str(row_id) if row_id else None,
            order_id=str(order_id) if order_id else None,
        )


def _new_of(order: OrderRecord, known: bool, context: MagentoContext) -> Sequence[FactEvent | None]:
    return [None if known else order_placed(order, context), order_cancelled(order, context)]


def _order_ids(rows: Sequence[ShopRow]) -> list[int]:
    found = {id_or_none(row.fields.get("order_id")) for row in rows}
    return sorted(each for each in found if each is not None)


def _is_due(row: ShopRow) -> bool:
    """Whether anything is still to be paid; an amount that is left out is 0 (null keys are)."""
    due = row.fields.get("total_due")
    if due is None:
        return _amount(row.fields.get("grand_total")) > _amount(row.fields.get("total_paid"))
    return _amount(due) > 0


def _amount(value: object) -> Decimal:
    """For comparing only; what is no number is refused with the rest of the row."""
    with contextlib.suppress(InvalidOperation):
        number = Decimal(str(value))
        if number.is_finite():
            return number
    return Decimal(0)

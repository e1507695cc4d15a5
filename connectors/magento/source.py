"""Reads a shop: orders, then invoices where needed, shipments, credit memos; each list by time of change, forwards."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import httpx

from connectors.base.clock import Clock
from connectors.base.source import Batch, Item
from connectors.magento.client import MagentoClient
from connectors.magento.cursor import ListProgress, MagentoCursor
from connectors.magento.events import RowEvents
from connectors.magento.reading import ListedRow, ListReader, seconds_of
from connectors.magento.settings import MagentoSettings
from schemas.events import DispatchConfirmed


class MagentoSource:
    """One shop as a `Source`.

    Args:
        name: The connector's.
        settings: Its settings.
        clock: When things are observed.
        transport: In place of the network.
    """

    def __init__(
        self,
        name: str,
        settings: MagentoSettings,
        clock: Clock,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name, self.company = name, settings.company
        self._settings = settings
        self._reader = ListReader(name, settings, MagentoClient(name, settings, clock, transport=transport), clock)
        self._events = RowEvents(name, settings, self._reader, clock)
        self._lists = self._reader.lists
        self._last: tuple[str, MagentoCursor] | None = None

    def __repr__(self) -> str:
        return f"MagentoSource({self.name!r})"

    async def close(self) -> None:
        await self._reader.close()

    async def read(self, cursor: str | None) -> Batch:
        position = self._resumed(cursor)
        first = self._lists.index(position.turn)
        for name in (*self._lists[first:], *self._lists[:first]):
            was_under_way = position.lists[name].at is not None
            while True:
                page = await self._reader.next_page(name, position.lists[name])
                items: list[Item] = []
                if page.rows:
                    if name == "creditmemos" and (early := await self._shipments_first(page.rows, position)):
                        return early
                    items, position = await self._items(name, page.rows, position)
                turn = self._lists[(self._lists.index(name) + 1) % len(self._lists)] if page.ended else name
                position = replace(position, turn=turn, lists={**position.lists, name: page.progress})
                # Without new rows we go on through the overlap, and write nothing down but the end of a pass that was.
                if page.rows or (page.ended and was_under_way):
                    return self._batch(items, position)
                if page.ended:
                    break
        return Batch((), cursor, idle=True)

    def _batch(self, items: Iterable[Item], position: MagentoCursor, *, idle: bool = False) -> Batch:
        text = position.to_text()
        self._last = text, position
        return Batch(tuple(items), text, idle)

    def _resumed(self, cursor: str | None) -> MagentoCursor:
        """The cursor's position, for the lists that the settings want now."""
        if self._last is not None and self._last[0] == cursor:
            return self._last[1]
        start_at = self._settings.start_at
        # What was not changed since start_at happened before it, and would end as a no-op.
        floor = max(0, seconds_of(start_at)) if start_at is not None else 0
        fresh = dict.fromkeys(self._lists, ListProgress(floor=floor, top=floor))
        if cursor is None:
            return MagentoCursor(self._lists[0], fresh)
        position = MagentoCursor.from_text(cursor)
        turn = position.turn if position.turn in self._lists else self._lists[0]
        return replace(position, turn=turn, lists={**fresh, **position.lists})

    async def _items(
        self, name: str, rows: Sequence[ListedRow], position: MagentoCursor
    ) -> tuple[list[Item], MagentoCursor]:
        if name == "orders":
            items, ids = self._events.orders(rows, position.placed)
            return items, replace(position, placed=position.placed.with_ids(ids))
        if name != "shipments":
            return await self._events.documents(name, rows), position
        items = await self._events.documents(name, [each for each in rows if each.id not in position.dispatched])
        ids = [int(item.shipment_id) for item in items if isinstance(item, DispatchConfirmed)]
        return items, replace(position, dispatched=position.dispatched.with_ids(ids))

    async def _shipments_first(self, rows: Sequence[ListedRow], position: MagentoCursor) -> Batch | None:
        """Shipments made since their list was read get a poll's lead over the credit memos of their orders."""
        events = await self._events.unread_shipments(rows, position.dispatched)
        if not events:
            return None
        position = replace(position, turn="creditmemos", dispatched=position.dispatched.with_ids(events))
        return self._batch(events.values(), position, idle=True)

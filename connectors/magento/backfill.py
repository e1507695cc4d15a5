"""Reads a time range of a Magento shop: each of its lists once, by id, whatever changes meanwhile."""

from collections.abc import Sequence
from datetime import datetime

import httpx

from connectors.base.clock import Clock
from connectors.base.cursor_text import from_text, to_text
from connectors.base.source import BackfillBatch, Item, TimeRange
from connectors.magento.client import MagentoClient
from connectors.magento.cursor import IdSet, MagentoCursor
from connectors.magento.events import RowEvents
from connectors.magento.reading import ListedRow, ListReader
from connectors.magento.records import OrderRecord, a_moment
from connectors.magento.settings import MagentoSettings
from connectors.magento.translate.context import MagentoContext
from connectors.magento.translate.orders import order_cancelled, order_placed
from schemas.events import DispatchConfirmed, FactEvent


class MagentoBackfill:
    """A shop's time range as a `BackfillSource`: orders, invoices, shipments and credit memos that were made in it.

    Orders that were placed before and cancelled since come too, where the live source has emitted them as placed: the
    shop does not say when an order was cancelled. The cursor is a list, and the id up to which it has been read.

    Args:
        name: The connector's.
        settings: Its settings.
        clock: When things are observed.
        span: What is read.
        live: The live source's cursor: orders and shipments that it has emitted are left out, since they may have been
            edited and tracked since.
        transport: In place of the network.
    """

    def __init__(
        self,
        name: str,
        settings: MagentoSettings,
        clock: Clock,
        span: TimeRange,
        live: str | None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name, self.company = name, settings.company
        self._span = span
        self._reader = ListReader(name, settings, MagentoClient(name, settings, clock, transport=transport), clock)
        self._events = RowEvents(name, settings, self._reader, clock)
        self._lists = self._reader.lists
        self._live = MagentoCursor.from_text(live) if live is not None else MagentoCursor(self._lists[0], {})

    async def close(self) -> None:
        await self._reader.close()

    async def read(self, cursor: str | None) -> BackfillBatch:
        """One page of a list."""
        name, after = (self._lists[0], 0) if cursor is None else from_text(cursor, _place, "magento", backfill=True)
        if name not in self._lists:
            return BackfillBatch((), cursor, idle=True, part=1.0)
        rows, newest = await self._reader.within(name, self._span.since, self._span.until, after)
        items, past = await self._items(name, rows)
        at = self._lists.index(name)
        following = name if newest is not None else "".join(self._lists[at + 1 : at + 2])
        reached = max((moment for each in rows if (moment := _made_at(each)) is not None), default=None)
        part = self._span.part(reached) if reached is not None else 1.0
        return BackfillBatch(
            tuple(items),
            to_text([following, newest or 0]),
            records=len(rows),
            already_past=past,
            reached=reached,
            part=(at + part) / len(self._lists),
        )

    async def _items(self, name: str, rows: Sequence[ListedRow]) -> tuple[list[Item], int]:
        """What rows say of the time range, and how many events of it the live source has emitted."""
        if name == "orders":
            items, ids = self._events.orders(rows, self._live.placed, self._events_of_order)
            known = [each for each in rows if each.id in self._live.placed and each.id in ids]
            return items, sum((made := _made_at(each)) is not None and made in self._span for each in known)
        items = [item for item in await self._events.documents(name, rows) if self._span.holds(item)]
        if name != "shipments":
            return items, 0
        new = [item for item in items if not _is_among(item, self._live.dispatched)]
        return new, len(items) - len(new)

    def _events_of_order(self, order: OrderRecord, known: bool, context: MagentoContext) -> Sequence[FactEvent | None]:
        is_within = order.created_at in self._span
        placed = order_placed(order, context) if is_within and not known else None
        return [placed, order_cancelled(order, context) if is_within or known else None]


def _place(found: Sequence[object]) -> tuple[str, int]:
    name, after = found
    return str(name), int(str(after))


def _made_at(each: ListedRow) -> datetime | None:
    try:
        return a_moment(each.row.fields.get("created_at"))
    except ValueError:
        return None


def _is_among(item: Item, ids: IdSet) -> bool:
    return isinstance(item, DispatchConfirmed) and item.shipment_id.isdigit() and int(item.shipment_id) in ids

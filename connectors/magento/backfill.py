"""Reads a span of a Magento shop: each of its lists once, by id, whatever changes meanwhile."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import httpx

from connectors.base.clock import Clock
from connectors.base.errors import FatalError, RecordError, RetriableError
from connectors.base.source import BackfillBatch, Item, TimeRange
from connectors.magento.client import Filter
from connectors.magento.records import TIME_FORMAT, OrderRecord, a_moment, validate
from connectors.magento.settings import MagentoSettings
from connectors.magento.source import MagentoSource, Placed, Position, Scan
from connectors.magento.translate.orders import order_cancelled, order_placed
from schemas.events import DispatchConfirmed

_SECOND = timedelta(seconds=1)


class MagentoBackfill(MagentoSource):
    """A shop's span as a `BackfillSource`: orders, invoices, shipments and credit memos that were made in it.

    Orders that were placed before and cancelled since come too, where the live source has told them as placed: the shop
    does not say when an order was cancelled. The cursor is a list, and the id up to which it has been read.

    Args:
        name: The connector's.
        settings: Its settings.
        clock: When things are observed.
        span: What is read.
        live: The live source's cursor: orders and shipments that it has told are left out, since they may have been
            edited and tracked since.
        transport: For tests: an app in place of the network.
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
        super().__init__(name, settings, clock, transport=transport)
        self._span = span
        self._told = Position.from_text(live) if live is not None else Position(self._lists[0], {})

    async def read(self, cursor: str | None) -> BackfillBatch:
        """One page of a list."""
        name, after = _place(cursor) if cursor is not None else (self._lists[0], 0)
        if name not in self._lists:
            return BackfillBatch((), cursor, idle=True, part=1.0)
        size = self._settings.page_size
        listing = await self._client.search(name, self._filters(name, after), ("entity_id",), size)
        rows = self._placed(listing, Scan())
        newest = max((each.id for each in rows), default=after)
        if len(rows) < size or (listing.total is not None and listing.total <= len(rows)):
            at = self._lists.index(name) + 1
            following = self._lists[at] if at < len(self._lists) else ""
            place = (following, 0)
        elif newest <= after:
            raise RetriableError(f"{self.name}: {name} do not come in the order of entity_id")
        else:
            place = (name, newest)
        items, past = await self._tell(name, rows)
        reached = max((moment for each in rows if (moment := _made_at(each)) is not None), default=None)
        part = self._span.part(reached) if reached is not None else 1.0
        return BackfillBatch(
            tuple(items),
            json.dumps(place),
            records=len(rows),
            already_past=past,
            reached=reached,
            part=(self._lists.index(name) + part) / len(self._lists),
        )

    def _filters(self, name: str, after: int) -> list[list[Filter]]:
        since, until = self._span.since, self._span.until
        # An order that was placed before may have been cancelled since.
        changed = "updated_at" if name == "orders" else "created_at"
        groups: list[list[Filter]] = [
            [(changed, "gteq", _text(since))],
            [("created_at", "lt", _text(until if not until.microsecond else until + _SECOND))],
            [("entity_id", "gt", str(after))],
        ]
        if self._settings.store_ids:
            groups.append([("store_id", "in", ",".join(map(str, self._settings.store_ids)))])
        return groups

    async def _tell(self, name: str, rows: Sequence[Placed]) -> tuple[list[Item], int]:
        """What rows say of the span, and how many events of it the live source has told."""
        if name == "orders":
            return self._placed_and_cancelled(rows)
        items, _ = await self._readers[name](rows, Position(name, {}))
        items = [item for item in items if self._span.holds(item)]
        if name != "shipments":
            return items, 0
        news = [item for item in items if _shipment_id(item) not in self._told.dispatched]
        return news, len(items) - len(news)

    def _placed_and_cancelled(self, rows: Sequence[Placed]) -> tuple[list[Item], int]:
        frame, past = self._frame(), 0
        items: list[Item] = []
        for each in rows:
            was_told = each.id in self._told.placed
            try:
                role = self._role(each.row)
                if role == "wait" or self._is_ours(each.row) or (role == "cancelled" and not was_told):
                    continue
                order = validate(OrderRecord, each.row, self._settings, frame.observed_at)
                is_within = order.created_at in self._span
                if is_within and was_told:
                    past += 1
                elif is_within:
                    items.append(order_placed(order, frame))
                cancelled = order_cancelled(order, frame) if is_within or was_told else None
                if cancelled is not None:
                    items.append(cancelled)
            except RecordError as error:
                items.append(self._refused("orders", each, error))
        return items, past


def _place(cursor: str) -> tuple[str, int]:
    try:
        name, after = json.loads(cursor)
        return str(name), int(after)
    except (ValueError, TypeError) as error:
        raise FatalError("the cursor is not one of a magento back-fill; name another span") from error


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(TIME_FORMAT)


def _made_at(each: Placed) -> datetime | None:
    try:
        return a_moment(each.row.fields.get("created_at"))
    except ValueError:
        return None


def _shipment_id(item: Item) -> int | None:
    if isinstance(item, DispatchConfirmed) and item.shipment_id.isdigit():
        return int(item.shipment_id)
    return None

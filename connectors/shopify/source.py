"""Polls a shop by updated-at: orders with all that happened to them, then counts; webhooks only make it look sooner.

A pass lists what has changed since the last one began to overlap, page by page, and remembers in the cursor what it has
emitted of the last minutes, so that looking back `overlap_s` costs no repeats. What is older than the end of the last
whole pass was emitted then, whatever has happened to its order since; so an order that changes for months is not
emitted again, and one that no webhook mentioned is found.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import structlog

from connectors.base.clock import Clock
from connectors.base.errors import FatalError, RecordError
from connectors.base.source import Batch, Item, RefusedRecord
from connectors.base.values import validate
from connectors.shopify import records
from connectors.shopify.client import QueryAnswer, ShopifyClient
from connectors.shopify.cursor import EmittedChanges, ShopifyCursor, recent
from connectors.shopify.errors import CursorExpiredError
from connectors.shopify.orders import Orders, read_changes, searched
from connectors.shopify.pages import id_of, next_page, page_of
from connectors.shopify.queries import CHANGED, LEVELS
from connectors.shopify.settings import ShopifySettings
from connectors.shopify.translate.context import OrderChange, ShopifyContext
from connectors.shopify.translate.levels import level_of, unreadable_level

log = structlog.get_logger(__name__)

#: Changed orders are listed by id and time only, a point each. To read one then costs 10 to 100.
LIST_ROWS = 50
#: A batch is acknowledged whole, so that a restart repeats the queries of so many orders, and of the rest of their
#: page.
BATCH_ORDERS = 25
LEVEL_ROWS = 100
#: More unfinished payments and shipments than any shop has; the cursor's record has to stay below 1 MiB.
MAX_WAITING = 10_000


class ShopifySource:
    """A shop as a `Source`."""

    def __init__(
        self,
        name: str,
        settings: ShopifySettings,
        clock: Clock,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self.company = settings.company
        self._settings = settings
        self._clock = clock
        self._client = ShopifyClient(settings, clock, transport=transport, sleep=sleep)
        self._orders = Orders(self._client)
        self._overlap = timedelta(seconds=settings.overlap_s)

    async def close(self) -> None:
        await self._client.close()

    async def read(self, cursor: str | None) -> Batch:
        start = at = (
            ShopifyCursor.from_text(cursor) if cursor is not None else ShopifyCursor(since=self._settings.start_at)
        )
        items: list[Item] = []
        while True:
            items, at = await (self._read_orders(at) if at.turn is None else self._read_levels(at))
            if items or at.began is None:
                break
        if items or at.began is not None:
            return Batch(tuple(items), at.to_text())
        if cursor is not None and self._is_as_good(start, at):
            return Batch((), cursor, idle=True)
        return Batch((), at.to_text(), idle=True)

    def _is_as_good(self, start: ShopifyCursor, end: ShopifyCursor) -> bool:
        """Whether a pass that found nothing may begin where it began, so that quiet hours write no cursors."""
        if start.whole is None or end.whole is None or end.whole - start.whole > self._overlap / 2:
            return False
        return (
            start.began is None
            and start.emitted.items() >= end.emitted.items()
            and start.counted.items() >= end.counted.items()
            and (start.waiting, start.counted_since) == (end.waiting, end.counted_since)
            and start.locations.keys() == end.locations.keys()
        )

    # ---- orders

    async def _read_orders(self, at: ShopifyCursor) -> tuple[list[Item], ShopifyCursor]:
        """Changed orders, up to the end of a page; the list begins anew where its cursor is not known any more."""
        emitted, waiting = dict(at.emitted), set(at.waiting)
        items: list[Item] = []
        count = 0
        while True:
            answer = await self._list_changed(at)
            page = page_of(answer.data, ("orders",))
            if page is None:
                raise FatalError("shopify: orders cannot be read; give the app the scope read_orders")
            began = at.began or answer.now
            for row in page["nodes"]:
                gid, listed_at = id_of(row), str(row.get("updatedAt"))
                order_id = gid.rpartition("/")[2]
                before = emitted.get(order_id)
                if before is not None and before.at == listed_at:
                    continue
                count += 1
                read_at, changes = await self._read_order(gid, listed_at, at, items)
                keys = list(before.keys if before is not None else ())
                for change in changes:
                    self._emit(change, order_id, keys, waiting, at.whole, items)
                emitted[order_id] = EmittedChanges(read_at, tuple(keys))
            emitted = recent(emitted, began - self._overlap)
            at = replace(at, began=began, emitted=emitted, waiting=frozenset(waiting))
            if not page["pageInfo"]["hasNextPage"]:
                break
            at = replace(at, after=next_page(page, at.after))
            if count >= BATCH_ORDERS:
                return items, at
        # Everything that was there when the pass began is emitted. It changes nothing that it may have taken long.
        ended = replace(at, since=began - self._overlap, whole=began, after=None)
        return items, self._next_turn(ended, None)

    async def _list_changed(self, at: ShopifyCursor) -> QueryAnswer:
        query = f"updated_at:>='{searched(at.since)}'" if at.since is not None else None
        variables = {"query": query, "first": LIST_ROWS, "after": at.after}
        try:
            return await self._client.query(CHANGED, variables)
        except CursorExpiredError:
            log.info("pages_restarted", connector=self.name)
            return await self._client.query(CHANGED, {**variables, "after": None})

    def _emit(
        self,
        change: OrderChange,
        order_id: str,
        keys: list[str],
        waiting: set[str],
        whole: datetime | None,
        items: list[Item],
    ) -> None:
        """Take what is new of an order; `keys` and `waiting` remember it."""

        def is_new(moment: datetime) -> bool:
            return whole is None or moment > whole - self._overlap

        name = f"{order_id}/{change.key}"
        if change.key in keys or not (is_new(change.moment) or name in waiting):
            return
        if change.undoes is not None and change.undoes[0] not in keys and is_new(change.undoes[1]):
            return
        if change.final:
            waiting.discard(name)
            items.extend(change.items)
            keys.append(change.key)
            return
        waiting.add(name)
        if len(waiting) > MAX_WAITING:
            raise FatalError(f"{self.name}: over {MAX_WAITING} payments and shipments are unfinished; finish them")

    async def _read_order(
        self, gid: str, listed_at: str, at: ShopifyCursor, items: list[Item]
    ) -> tuple[str, list[OrderChange]]:
        """Everything about one order, and the `updatedAt` it had when read."""
        raw = await self._fetch_order(gid)
        if raw is None:
            return listed_at, []  # deleted meanwhile: only test orders and cancelled ones can be
        changes = read_changes(raw, self._context(at))
        if isinstance(changes, RefusedRecord):
            items.append(changes)
            changes = []
        return str(raw.get("updatedAt")), changes

    async def _fetch_order(self, gid: str) -> dict[str, Any] | None:
        return await self._orders.fetch(gid)

    # ---- counts

    def _next_turn(self, at: ShopifyCursor, done: str | None) -> ShopifyCursor:
        """On to the next location, or to the end of the pass."""
        names = self._settings.stock_locations
        index = names.index(done) + 1 if done in names else 0
        if index < len(names):
            return replace(at, turn=names[index], level_after=None)
        return replace(at, turn=None, level_after=None, began=None)

    async def _read_levels(self, at: ShopifyCursor) -> tuple[list[Item], ShopifyCursor]:
        location = at.turn or ""
        if location not in self._settings.stock_locations:
            return [], self._next_turn(at, None)
        answer = await self._list_levels(at, location)
        page = page_of(answer.data, ("location", "inventoryLevels"))
        if page is None:
            raise FatalError(f"shopify: there is no location {location}; fix connectors.{self.name}.stock_locations")
        # A count of this second may still move within it, and then keep its time: it is read at the next look.
        settled = answer.now - timedelta(seconds=self._settings.settle_s)
        # What moves during this pass may be on a page that was read before: the next one goes back to the beginning.
        next_since = (at.began or answer.now) - self._overlap - timedelta(seconds=self._settings.settle_s)
        items: list[Item] = []
        counted = dict(at.counted)
        for raw in page["nodes"]:
            try:
                level = validate(records.InventoryLevel, raw)
            except RecordError as error:
                items.append(unreadable_level(location, raw, f"{error}; report it"))
                continue
            name, second = f"{location}/{level.item.id}", int(level.updated_at.timestamp())
            if level.updated_at > settled or counted.get(name) == second:
                continue
            if level.updated_at >= next_since:
                counted[name] = second
            item = level_of(level, location, raw, self._context(at))
            if item is not None:
                items.append(item)
        at = replace(at, counted=counted)
        if page["pageInfo"]["hasNextPage"]:
            return items, replace(at, level_after=next_page(page, at.level_after))
        oldest = next_since.timestamp()
        kept = {
            name: second for name, second in counted.items() if second >= oldest or not name.startswith(f"{location}/")
        }
        locations = {name: since for name, since in at.locations.items() if name in self._settings.stock_locations}
        since_first = {location: answer.now, **at.counted_since}
        ended = replace(at, counted=kept, counted_since=since_first, locations={**locations, location: next_since})
        return items, self._next_turn(ended, location)

    async def _list_levels(self, at: ShopifyCursor, location: str) -> QueryAnswer:
        since = at.locations.get(location)
        variables = {
            "id": f"gid://shopify/Location/{location}",
            "query": f"updated_at:>='{searched(since)}'" if since is not None else None,
            "names": [self._settings.stock_quantity],
            "after": at.level_after,
        }
        try:
            answer, _ = await self._client.query_fewer(LEVELS, variables, LEVEL_ROWS)
        except CursorExpiredError:
            answer, _ = await self._client.query_fewer(LEVELS, {**variables, "after": None}, LEVEL_ROWS)
        return answer

    def _context(self, at: ShopifyCursor) -> ShopifyContext:
        return ShopifyContext(self.name, self.company, self._settings, self._clock.now(), at.counted_since)

"""Reads Veeqo by polling: a sweep over counted stock, a walk over changed orders, then the comparison of the counts."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx

from connectors.base.clock import Clock
from connectors.base.errors import FatalError, RecordError
from connectors.base.source import Batch, Item, RefusedRecord
from connectors.base.values import Record
from connectors.veeqo.client import Client, Page
from connectors.veeqo.memory import REPORT, REST, SWEEP, WALK, Count, Memory, Told
from connectors.veeqo.records import (
    Allocation,
    Id,
    Order,
    OrderHead,
    SellableStock,
    StockEntry,
    kept,
    validate,
)
from connectors.veeqo.settings import VeeqoSettings
from connectors.veeqo.translate import dispatch_confirmed, order_cancelled, order_placed, stock_level
from schemas.events import DispatchConfirmed, OrderPlaced, digest_of

#: A read ends after this many pages without news: 2 s of Veeqo's rate, well within the 5 s a connector has to let go.
PAGES_PER_READ = 10
#: Levels per batch; their pending deltas are records of their own.
LEVELS_PER_BATCH = 500
#: A vendor's clock may be wrong, and a day in another time zone may have begun; more than that is an error.
_MAX_AHEAD_MS = 86_400_000
#: A record that is touched and still as wrong as before is not refused again.
_NO_CONTENT = frozenset({"status", "updated_at"})
_FINISHED = frozenset({"shipped", "cancelled", "refunded"})


class VeeqoSource:
    """A Veeqo account as a `Source`. All it remembers is in the cursor: what it says depends on that and on Veeqo only.

    Orders are walked newest first, as Veeqo lists them: rows that arrive meanwhile shift others down, which then come
    twice and are known; when rows have left, the walk steps back as many pages, so that none is passed over. Where it
    begins the next time moves only when a walk has come to its end, and never past the moment at which it began.
    """

    def __init__(
        self, name: str, settings: VeeqoSettings, clock: Clock, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.name = name
        self.company = settings.company
        self._settings = settings
        self._clock = clock
        self._client = Client(settings, clock, transport)
        self._memory = Memory()
        self._observed_at = clock.now()

    async def read(self, cursor: str | None) -> Batch:
        self._memory = memory = Memory.from_text(cursor)
        self._observed_at = self._clock.now()
        if memory.phase == REST:
            self._begin()
        items: list[Item] = []
        for _ in range(PAGES_PER_READ):
            match memory.phase:
                case "sweep":
                    items = await self._sweep()
                case "walk":
                    items = await self._walk()
                case "report":
                    items = self._report()
                case phase:
                    raise FatalError(f"veeqo: the cursor names a phase {phase!r} that this version does not know")
            if items or memory.phase == REST:
                break
        return Batch(tuple(items), memory.to_text(), idle=not items and memory.phase == REST)

    async def close(self) -> None:
        await self._client.close()

    # ---- the cycle

    def _begin(self) -> None:
        memory, now_ms = self._memory, _milliseconds(self._observed_at)
        if "stock" in self._settings.reads and _is_due(memory.swept_ms, self._settings.stock_interval_s, now_ms):
            memory.phase, memory.page = SWEEP, 1
            memory.swept_ms = now_ms
        else:
            self._begin_walk()

    def _begin_walk(self) -> None:
        memory, now_ms = self._memory, _milliseconds(self._observed_at)
        if not {"orders", "dispatches"} & set(self._settings.reads):
            self._begin_report()
            return
        reach_s = self._settings.overlap_s
        if _is_due(memory.rechecked_ms, self._settings.recheck_interval_s, now_ms):
            reach_s = max(reach_s, self._settings.memory_days * 86_400)
            memory.rechecked_ms = now_ms
        memory.phase, memory.page = WALK, 1
        memory.reach_ms = int(reach_s * 1000)
        memory.started_ms = memory.top_ms = 0
        memory.before_ms = memory.total = None

    # ---- orders

    async def _walk(self) -> list[Item]:
        memory, settings = self._memory, self._settings
        params: dict[str, str | int] = {"page": memory.page, "page_size": settings.page_size}
        since_ms = memory.since_ms
        if since_ms is None and settings.start_at is not None:
            since_ms = _milliseconds(settings.start_at)
        if since_ms is not None:
            # The zone is not documented; the overlap covers one hour of doubt (reference, section 1.2).
            params["updated_at_min"] = _query_time(since_ms - memory.reach_ms)
        if memory.before_ms is not None:
            params["created[before]"] = _query_time(memory.before_ms)
        page = await self._client.page("/orders", params)
        memory.started_ms = memory.started_ms or page.at_ms
        if page.total is not None:
            if memory.page > 1 and memory.total is not None and page.total < memory.total:
                # Rows have left, and those behind them moved up, past us: as many pages back they are found again.
                memory.page = max(1, memory.page - -(-(memory.total - page.total) // settings.page_size))
                memory.total, memory.mark = page.total, ""
                return []
            memory.total = page.total
        items = [item for row in page.rows for item in self._order(row)]
        if self._is_last(page):
            self._finish_walk()
        elif memory.page >= settings.page_cap:
            self._go_deeper(page)
        else:
            memory.page += 1
        return items

    def _go_deeper(self, page: Page) -> None:
        """Behind the deepest page, begin again with what is older than its oldest row."""
        memory = self._memory
        created = [ms for row in page.rows if (ms := _created_ms(row)) is not None]
        before_ms = (min(created) // 1000 + 1) * 1000 if created else None
        if before_ms is None or (memory.before_ms is not None and before_ms >= memory.before_ms):
            raise FatalError(
                "veeqo: more orders than page_cap allows, and created[before] does not lead behind them; "
                "raise page_cap, or set start_at to a later day"
            )
        memory.before_ms, memory.page, memory.total, memory.mark = before_ms, 1, None, ""

    def _finish_walk(self) -> None:
        memory = self._memory
        reached_ms = min(memory.top_ms, memory.started_ms)
        if reached_ms:
            memory.since_ms = max(memory.since_ms or 0, reached_ms)
        if memory.since_ms is not None:
            kept_ms = max(self._settings.memory_days * 86_400, self._settings.overlap_s) * 1000
            # Twice, so that no look that reaches back as far finds an order that has been forgotten.
            memory.forget(memory.since_ms - int(2 * kept_ms))
        self._begin_report()
        memory.page = 1
        memory.started_ms = memory.top_ms = memory.reach_ms = 0
        memory.before_ms = memory.total = None

    def _order(self, row: object) -> list[Item]:
        """What is new about an order."""
        try:
            head = validate(OrderHead, row)
        except RecordError as error:
            return self._refused("order_placed", OrderHead, row, "orders", str(error))
        memory = self._memory
        memory.top_ms = max(memory.top_ms, _milliseconds(head.updated_at))
        assert isinstance(row, Mapping)  # noqa: S101 -- it has an id
        try:
            order = validate(Order, row)
            self._check_ahead("created_at", order.created_at)
            self._check_ahead("cancelled_at", order.cancelled_at or order.created_at)
            told = memory.orders.get(order.id) or Told(0)
            items = self._say_placed(order, told)
        except RecordError as error:
            return self._refused("order_placed", Order, row, f"orders/{head.id}", str(error), order_id=head.id)
        was_known = order.id in memory.orders
        items += self._say_shipments(order, told, row.get("allocations"), was_known=was_known)
        if order.status == "cancelled" and not told.cancelled and (told.placed or not was_known):
            told.cancelled = True
            if self._is_ours(order):
                items.append(order_cancelled(order, self.name, self.company, self._observed_at))
        told.finished = order.status in _FINISHED
        told.stamp_ms = max(told.stamp_ms, _milliseconds(order.updated_at))
        memory.orders[order.id] = told
        return items

    def _check_ahead(self, field: str, moment: datetime) -> None:
        if _milliseconds(moment) > _milliseconds(self._observed_at) + _MAX_AHEAD_MS:
            raise RecordError(f"{field} is more than a day ahead of our clock; mend the clock that is wrong")

    def _is_ours(self, order: Order) -> bool:
        return "orders" in self._settings.reads and not self._is_relayed(order)

    def _is_relayed(self, order: Order) -> bool:
        channel = order.channel
        return channel is not None and bool({channel.id, channel.type_code} & set(self._settings.relayed_channels))

    def _order_id(self, order: Order) -> str:
        """The order's id at whoever reports it."""
        if not self._is_relayed(order):
            return order.id
        if order.number is None:
            raise RecordError("the order has no number, by which its shop's order could be found")
        return order.number

    def _say_placed(self, order: Order, told: Told) -> list[Item]:
        """Placed, once; and once more for each change of what is sold, which then is a reused id for people to decide.

        A cancelled order that was known before it was placed never was an order; of one that we have never seen, both
        is said, since B1 may have it.
        """
        if not self._is_ours(order):
            return []
        if order.status == "cancelled" and (told.placed or told.stamp_ms):
            return []
        if order.status in self._settings.unplaced_statuses:
            return []
        event = order_placed(order, self.name, self.company, self._observed_at, self._settings)
        mark = _sold(event)
        if mark == told.placed:
            return []
        told.placed = mark
        return [event]

    def _say_shipments(self, order: Order, told: Told, rows: object, *, was_known: bool) -> list[Item]:
        """What has left, and what was taken back; an order of which something has left is placed, whatever its status."""
        if isinstance(rows, Mapping):
            rows = [rows]
        if "dispatches" not in self._settings.reads or not isinstance(rows, list):
            return []
        items: list[Item] = []
        there: set[str] = set()
        for row in rows:
            shipment = row.get("shipment") if isinstance(row, Mapping) else None
            if shipment is None:
                continue
            there.add(str(shipment.get("id")) if isinstance(shipment, Mapping) else "")
            try:
                allocation = validate(Allocation, row)
                if allocation.shipment.id in told.shipments:
                    continue
                self._check_ahead("shipment.created_at", allocation.shipment.created_at)
                event = dispatch_confirmed(
                    allocation, order, self._order_id(order), self.name, self.company, self._observed_at
                )
                if not told.placed and self._is_ours(order):
                    placed = order_placed(order, self.name, self.company, self._observed_at, self._settings)
                    told.placed = _sold(placed)
                    items.append(placed)
            except RecordError as error:
                items += self._refused(
                    "dispatch_confirmed", Allocation, row, f"orders/{order.id}", str(error), order_id=order.id
                )
                continue
            items.append(event)
            told.shipments.append(event.shipment_id)
            shipped_ms = _milliseconds(event.occurred_at)
            told.stamp_ms = max(told.stamp_ms, shipped_ms)
            if was_known or shipped_ms > self._memory.forgotten_ms:
                self._take_off(event, shipped_ms)
        for gone in [each for each in told.shipments if each not in there]:
            told.shipments.remove(gone)
            what = {"order_id": order.id, "shipment_id": gone, "unshipped_at": order.updated_at.isoformat()}
            items += self._refused(
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

    def _take_off(self, event: DispatchConfirmed, shipped_ms: int) -> None:
        """Count shipped units: their deliveries take them from B1's stock, so the counts' deltas must not.

        Units that were shipped before `start_at` move nothing in B1.
        """
        start_at = self._settings.start_at
        if start_at is not None and shipped_ms < _milliseconds(start_at):
            return
        settle_ms = self._settings.settle_s * 1000
        for line in event.lines:
            count = self._memory.counts.setdefault((line.sku, event.location), Count())
            count.shipped += line.quantity
            if count.seen is None:
                continue
            if abs(shipped_ms - count.seen_ms) <= settle_ms:
                count.seen, count.seen_ms = None, 0  # nobody knows whether the count has it: count again
            elif shipped_ms > count.seen_ms:
                count.seen -= line.quantity

    # ---- stock

    async def _sweep(self) -> list[Item]:
        memory, size = self._memory, self._settings.page_size
        page = await self._client.page("/products", {"page": memory.page, "page_size": size})
        items: list[Item] = []
        for row in page.rows:
            sellables = row.get("sellables") if isinstance(row, Mapping) else None
            if not isinstance(sellables, list):
                items += self._refused("stock_adjusted", Id, row, "products", "the product has no list of sellables")
                continue
            for sellable in sellables:
                items += self._sellable(sellable, page.at_ms)
        if not self._is_last(page):
            memory.page += 1
            return items
        for count in memory.counts.values():
            if not count.found:
                # No longer there: its sku may come back on another sellable.
                count.sellable, count.seen, count.seen_ms = "", None, 0
            count.found = False
        self._begin_walk()
        return items

    def _sellable(self, row: object, at_ms: int) -> list[Item]:
        try:
            sellable = validate(SellableStock, row)
        except RecordError as error:
            return self._refused("stock_adjusted", SellableStock, row, "products", str(error))
        items: list[Item] = []
        for entry in sellable.stock_entries:
            warehouse = entry.warehouse_id or (entry.warehouse.id if entry.warehouse else None)
            if warehouse is None:
                items += self._refused(
                    "stock_adjusted",
                    SellableStock,
                    row,
                    "products",
                    "a stock entry names no warehouse",
                    sku=sellable.sku_code,
                )
            elif warehouse not in self._settings.ignored_warehouses and not entry.infinite:
                items += self._counted(sellable, warehouse, entry, at_ms)
        return items

    def _counted(self, sellable: SellableStock, warehouse: str, entry: StockEntry, at_ms: int) -> list[Item]:
        memory, sku = self._memory, sellable.sku_code
        count = memory.counts.setdefault((sku, warehouse), Count())
        if count.sellable not in ("", sellable.id):
            what = {"sku": sku, "warehouse": warehouse, "sellables": sorted([count.sellable, sellable.id])}
            return self._refused(
                "stock_adjusted",
                None,
                what,
                "products",
                f"sellables {count.sellable} and {sellable.id} have the same SKU, and only the first is counted; give "
                "each its own SKU in Veeqo",
                sku=sku,
            )
        count.sellable, count.found = sellable.id, True
        level = entry.physical_stock_level
        is_news = count.reported is None or level + count.shipped != count.reported
        count.seen, count.seen_ms = (level, at_ms) if is_news else (None, 0)
        return []

    def _begin_report(self) -> None:
        """Drop the counts that shipments explain; report the others."""
        for count in self._memory.counts.values():
            if count.seen is not None and count.seen + count.shipped == count.reported:
                count.seen, count.seen_ms = None, 0
        self._memory.phase = REPORT if any(each.seen is not None for each in self._memory.counts.values()) else REST

    def _report(self) -> list[Item]:
        """The counts that have changed, shipments aside; to be called when the shipments up to them are known."""
        memory, settings = self._memory, self._settings
        items: list[Item] = []
        sequence = max(memory.sequence + 1, _milliseconds(self._observed_at))
        for (sku, warehouse), count in sorted(memory.counts.items()):
            if count.seen is None:
                continue
            if len(items) >= LEVELS_PER_BATCH:
                return items
            level, at = count.seen + count.shipped, datetime.fromtimestamp(count.seen_ms / 1000, UTC)
            count.reported, count.seen, count.seen_ms = level, None, 0
            memory.sequence = sequence
            items.append(
                stock_level(
                    sku,
                    warehouse,
                    level,
                    sequence,
                    at,
                    self.name,
                    self.company,
                    self._observed_at,
                    settings.stock_reason,
                )
            )
        memory.phase = REST
        return items

    def _is_last(self, page: Page) -> bool:
        """Whether a page ends its list: by the list's length where Veeqo tells it, else because it has nothing new on it.

        A short page is not the end by itself: Veeqo may have cut the page size.
        """
        memory = self._memory
        before = memory.mark
        memory.mark = hashlib.sha256(repr([_id_of(row) for row in page.rows]).encode()).hexdigest()[:12]
        if page.total is not None and page.rows:
            is_last = memory.page * (page.per_page or self._settings.page_size) >= page.total
        else:
            is_last = not page.rows or memory.mark == before
        if is_last:
            memory.mark = ""
        return is_last

    # ---- refusals

    def _refused(
        self,
        event_type: str,
        model: type[Record] | None,
        row: object,
        origin: str,
        error: str,
        *,
        order_id: str | None = None,
        event_id: str | None = None,
        sku: str | None = None,
    ) -> list[Item]:
        """A record for the dead letters, without what must not be kept of it; each content once."""
        value = kept(model, row) if model is not None else json.dumps(row, sort_keys=True).encode()
        content = json.loads(value)
        if isinstance(content, dict):
            content = {name: each for name, each in content.items() if name not in _NO_CONTENT}
        text = json.dumps([event_type, origin, content], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        if not self._memory.refuse(digest[:12]):
            return []
        return [
            RefusedRecord(
                event_type=event_type,
                reason="invalid_event",
                error=error,
                value=value,
                origin=origin,
                digest=digest,
                number=1,
                event_id=event_id or order_id,
                order_id=order_id,
                sku=sku,
            )
        ]


def _is_due(last_ms: int, interval_s: float, now_ms: int) -> bool:
    """Also when the clock was set back: then nobody knows how long ago it was."""
    return not last_ms <= now_ms < last_ms + interval_s * 1000


def _sold(event: OrderPlaced) -> str:
    """A mark of what an order sells and for how much; not of where it goes and what is noted on it."""
    plain: Any = replace(
        event, ship_to=None, bill_to=None, customer=None, note=None, payment=None, order_number=None, channel=None
    )
    return digest_of(plain).hex()[:10]


def _id_of(row: object) -> object:
    return row.get("id") if isinstance(row, Mapping) else None


def _created_ms(row: object) -> int | None:
    try:
        return _milliseconds(validate(OrderHead, row).created_at)
    except RecordError:
        return None


def _milliseconds(moment: datetime) -> int:
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def _query_time(unix_ms: int) -> str:
    return datetime.fromtimestamp(max(0, unix_ms) // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")

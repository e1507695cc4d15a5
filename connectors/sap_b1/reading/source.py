"""Reads a company's B1: polls of what changed, sweeps of stock and open orders; emits what differs."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import httpx
import structlog

from connectors.base.clock import Clock
from connectors.base.errors import RecordError
from connectors.base.source import Batch
from connectors.sap_b1.change_set import B1Answer
from connectors.sap_b1.client import HttpServiceLayer
from connectors.sap_b1.reading.cursor import ReadingCursor
from connectors.sap_b1.reading.marks import Marks
from connectors.sap_b1.reading.published import Published, Subject, key_of
from connectors.sap_b1.reading.rows import (
    BARE_ITEM_FIELDS,
    DELIVERY_FIELDS,
    ITEM_FIELDS,
    Look,
    Row,
    deleted_item,
    items_of,
    order_fields,
    orders_of,
    records_of,
)
from connectors.sap_b1.reading.settings import SapB1Settings
from connectors.sap_b1.reading.stock_query import StockWalk, is_installed
from connectors.sap_b1.reading.sweeps import RECHECK_DAYS, RECHECK_INTERVAL_S, Sweep
from connectors.sap_b1.reading.walks import (
    BARE_ITEMS_PER_PAGE,
    CODES_PER_QUERY,
    DOCUMENTS_PER_PAGE,
    ITEMS_PER_PAGE,
    MOVING,
    Walk,
    after,
    changed_since,
    newest,
    with_keys,
)
from connectors.sap_b1.refused_logins import state_file
from connectors.sap_b1.service_layer import QueryRefusedError, ServiceLayer, UnavailableError, describe
from schemas.readings import B1Reading, ItemChanged, OrderStatusChanged

log = structlog.get_logger(__name__)

#: Of one batch.
MAX_RECORDS = 400
#: Items and orders that are read again by key in one round trip.
MAX_NAMED = 100
#: Round trips of one read: it ends within the five seconds that a connector has to let go.
STEPS_PER_READ = 8
#: Rows of a page that B1 may be asked for at once.
_PAGE_ROWS = 1000


#: Rows, and whether there are more of those that were asked for.
Page = tuple[list[Row], bool]


class SapB1Source:
    """A company's B1 as a `Source` of readings.

    What was found waits in `_queue` until it is acknowledged; nothing new is asked before the queue is empty, so that
    an older reading of a subject never follows a newer one. All but the cursor is remembered in this process only:
    whoever takes over sweeps everything at once.
    """

    def __init__(
        self, name: str, settings: SapB1Settings, clock: Clock, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.name = name
        self.company = settings.company
        self._settings = settings
        self._clock = clock
        self._zone = ZoneInfo(settings.b1.timezone)
        self._warehouses = tuple(settings.b1.warehouses)
        self._order_fields = order_fields(settings.release)
        self._b1 = open_session(settings, clock, transport)
        self._offered: tuple[str, tuple[B1Reading, ...]] | None = None
        self._begin(None)

    async def read(self, cursor: str | None) -> Batch:
        """As `Source.read`; the records of an unacknowledged batch come again under the same reading.

        Raises:
            UnavailableError, NotSentError: B1 cannot be read now.
            FatalError: A person has to act: the password, the configuration.
        """
        self._settle(cursor)
        if not self._queue:
            await self._look()
        return self._offer(cursor)

    async def close(self) -> None:
        await self._b1.close()

    # ---- what was acknowledged

    def _begin(self, cursor: str | None) -> None:
        self._cursor, self._at = cursor, ReadingCursor.from_text(cursor)
        # One more than the batch that a paused process may still hold: ours counts, however the two clocks stand
        self._step = 2
        self._marks = Marks(self._at.marks, self._settings.start_at)
        self._published = Published(self._clock, self._settings.sweep_interval_s, self._warehouses)
        self._queue: dict[Subject, B1Reading] = {}
        now_s, every_s = self._clock.monotonic(), self._settings.sweep_interval_s
        self._poll_due_s = now_s
        self._changes: list[Walk] = []
        self._newest: dict[str, int | None] = dict.fromkeys(MOVING)
        self._items_named: dict[str, None] = {}
        self._orders_named: dict[int, None] = {}
        self._orders, self._items = Sweep(every_s, due_s=now_s), Sweep(every_s, due_s=now_s)
        self._ended = Sweep(RECHECK_INTERVAL_S, due_s=now_s + RECHECK_INTERVAL_S)
        self._gone: set[str] = set()
        self._may_query = True

    def _settle(self, cursor: str | None) -> None:
        """What comes back as the cursor says whether the last batch counts."""
        offered, self._offered = self._offered, None
        if offered is not None and cursor == offered[0]:
            for record in offered[1]:
                self._published.add(record)
                self._queue.pop(key_of(record), None)
            self._cursor, self._at, self._step = cursor, ReadingCursor.from_text(cursor), 1
        elif cursor != self._cursor:
            self._begin(cursor)

    def _offer(self, cursor: str | None) -> Batch:
        some = list(islice(self._queue.values(), MAX_RECORDS))
        idle = len(some) == len(self._queue) and not self._pending()
        if not some:
            return Batch((), cursor, idle=idle)
        whole = len(some) == len(self._queue) and not self._orders_named and not self._changes
        reading = self._at.reading + self._step
        records = tuple(replace(record, reading=reading) for record in some)
        text = ReadingCursor(reading, dict(self._marks.newest) if whole else self._at.marks).to_text()
        self._offered = text, records
        return Batch(records, text, idle=idle)

    # ---- what is asked

    def _pending(self) -> bool:
        """Whether there is something to ask now."""
        now_s = self._clock.monotonic()
        return bool(
            self._changes
            or self._orders_named
            or self._items_named
            or now_s >= self._poll_due_s
            or any(sweep.is_due(now_s) for sweep in (self._orders, self._items, self._ended))
        )

    async def _look(self) -> None:
        """Ask until there is something to say, and the stock of what it names is among it."""
        for _ in range(STEPS_PER_READ):
            named = bool(self._orders_named or self._items_named)
            if not self._pending() or len(self._queue) >= MAX_RECORDS or (self._queue and not named):
                return
            if self._clock.monotonic() >= self._poll_due_s and not self._changes:
                await self._poll()
            elif self._changes:
                await self._read_changes(self._changes)
            elif named:
                await self._read_named()
            else:
                await self._sweep()

    def _look_now(self) -> Look:
        return Look(self.company, self._clock.now(), self._zone)

    async def _poll(self) -> None:
        """Changed documents and items, and what moved stock, in one round trip."""
        look, started_s = self._look_now(), self._clock.monotonic()
        self._marks.look(started_s)
        walks = [
            Walk("Orders", self._order_fields, changed_since(self._marks.since("Orders", look))),
            Walk("DeliveryNotes", DELIVERY_FIELDS, changed_since(self._marks.since("DeliveryNotes", look))),
            # What changes an item moves no stock; that of a new one is asked for with it
            Walk(
                "Items",
                BARE_ITEM_FIELDS,
                changed_since(self._marks.since("Items", look), items=True),
                BARE_ITEMS_PER_PAGE,
            ),
        ]
        moving = dict(self._newest)
        paths = [newest(entity) if entry is None else after(entity, entry) for entity, entry in moving.items()]
        answers = await self._b1.read([*(walk.path() for walk in walks), *paths])
        # Nothing of a poll counts before all of it can be read
        pages = [page_of(answer, walk) for walk, answer in zip(walks, answers, strict=False)]
        full = [
            self._moved(entity, entry, answer)
            for (entity, entry), answer in zip(moving.items(), answers[len(walks) :], strict=True)
        ]
        self._take_changes(walks, pages, look)
        self._poll_due_s = started_s + (0 if any(full) else self._settings.poll_interval_s)

    def _moved(self, entity: str, entry: int | None, answer: B1Answer) -> bool:
        """Name what documents moved; whether there may be more of them."""
        if not answer.ok:
            # The sweep sees what it moves; asking again each time would cost a round trip each time
            log.warning("b1_documents_not_read", connector=self.name, error=f"{entity}: {describe(answer)}")
            self._newest.pop(entity)
            return False
        rows, is_cut = page_of(answer, Walk(entity, ""))
        if entry is not None:
            for row in rows:
                self._name(row)
        self._newest[entity] = max((int(row["DocEntry"]) for row in rows), default=entry or 0)
        return entry is not None and (is_cut or len(rows) >= DOCUMENTS_PER_PAGE)

    async def _read_changes(self, walks: Sequence[Walk]) -> None:
        look = self._look_now()
        answers = await self._b1.read([walk.path() for walk in walks])
        self._take_changes(walks, [page_of(answer, walk) for walk, answer in zip(walks, answers, strict=True)], look)

    def _take_changes(self, walks: Sequence[Walk], pages: Sequence[Page], look: Look) -> None:
        self._changes = []
        for walk, (rows, is_cut) in zip(walks, pages, strict=True):
            for row in rows:
                if walk.entity == "Items" and self._items.was_whole and row["ItemCode"] not in self._items.known:
                    self._items_named[row["ItemCode"]] = None
                if self._take(walk.entity, row, look):
                    self._name(row)
                    if walk.entity == "Orders":
                        # Said again as it stands: only a reading not older than an order's shows what it commits
                        self._published.forget_stock(items_of(row))
            self._marks.met(walk.entity, rows)
            if walk.take(rows, is_cut=is_cut):
                self._changes.append(walk)
            else:
                self._marks.ended(walk.entity)

    async def _read_named(self) -> None:
        """Items and orders that something else named, by key."""
        look = self._look_now()
        orders, items = list(islice(self._orders_named, MAX_NAMED)), list(islice(self._items_named, MAX_NAMED))
        paths = [*with_keys("Orders", self._order_fields, orders), *with_keys("Items", ITEM_FIELDS, items)]
        found: set[str] = set()
        for path, answer in zip(paths, await self._b1.read(paths), strict=True):
            entity = path.partition("?")[0]
            rows, is_cut = page_of(answer, Walk(entity, ""))
            if is_cut:
                raise UnavailableError(f"B1's pages of {entity} have fewer than {CODES_PER_QUERY} rows; set PageSize")
            for row in rows:
                found.add(str(row.get("ItemCode")))
                self._take(entity, row, look)
        for order in orders:
            self._orders_named.pop(order, None)
        for item in items:
            self._items_named.pop(item, None)
        self._bury([item for item in items if item in self._gone], found, look)

    async def _sweep(self) -> None:
        """A page of each walk of each sweep that is due, in one round trip."""
        now_s = self._clock.monotonic()
        if not self._orders.walks and self._orders.is_due(now_s):
            self._orders.start([Walk("Orders", self._order_fields, "DocumentStatus eq 'bost_Open'")], now_s)
        if not self._items.walks and self._items.is_due(now_s):
            self._items.start(await self._item_walks(), now_s)
        look = self._look_now()
        if not self._ended.walks and self._ended.is_due(now_s):
            lately = changed_since(look.local - timedelta(days=RECHECK_DAYS))
            self._ended.start(
                [Walk("Orders", self._order_fields, lately), Walk("DeliveryNotes", DELIVERY_FIELDS, lately)], now_s
            )
        under_way = [(sweep, w) for sweep in (self._orders, self._items, self._ended) for w in sweep.walks]
        answers = await self._b1.read([walk.path() for _, walk in under_way])
        if any(isinstance(w, StockWalk) and not may_run(a) for (_, w), a in zip(under_way, answers, strict=True)):
            log.warning("b1_stock_query_refused", connector=self.name)
            self._may_query, self._items.walks = False, []
            return
        pages = [page_of(answer, walk) for (_, walk), answer in zip(under_way, answers, strict=True)]
        for (sweep, walk), (rows, is_cut) in zip(under_way, pages, strict=True):
            for row in rows:
                self._take(walk.entity, row, look)
            if walk.entity in ("Items", "Orders"):
                sweep.seen.update(row[walk.key] for row in rows)
            if not walk.take(rows, is_cut=is_cut):
                sweep.walks.remove(walk)
                if not sweep.walks:
                    self._swept(sweep)

    async def _item_walks(self) -> list[Walk]:
        """Stock by the stored query where B1 has it and lets us run it; else with the items, at ten times the bytes."""
        if self._may_query and await is_installed(self._b1):
            items = Walk("Items", BARE_ITEM_FIELDS, page_rows=BARE_ITEMS_PER_PAGE)
            return [items, *(StockWalk(code) for code in self._warehouses)]
        return [Walk("Items", ITEM_FIELDS, page_rows=ITEMS_PER_PAGE)]

    def _swept(self, sweep: Sweep) -> None:
        """A sweep is whole: what it did not meet has ended, or is gone; each is asked for by its key."""
        sweep.end(self._clock.monotonic())
        missing = sweep.missing()
        if sweep is self._orders:
            self._orders_named |= dict.fromkeys(int(key) for key in missing)
            sweep.known.difference_update(missing)
        elif sweep is self._items and len(missing) > max(1, len(sweep.known) // 10):
            log.warning("b1_items_missing", connector=self.name, count=len(missing))
        elif sweep is self._items:
            self._gone |= {str(key) for key in missing}
            # One that is there is asked for with them: an answer without it says nothing
            witness = islice(sweep.seen, 1 if missing else 0)
            self._items_named |= dict.fromkeys(str(key) for key in (*missing, *witness))
        self._published.forget_old()

    def _bury(self, gone: Iterable[str], found: set[str], look: Look) -> None:
        for code in gone:
            self._gone.discard(code)
            if found and code not in found:
                self._items.known.discard(code)
                item, levels = deleted_item(code, look, self._warehouses)
                self._put(item)
                for level in levels:
                    self._put(level)

    # ---- what was found

    def _take(self, entity: str, row: Row, look: Look) -> bool:
        """Queue what a row says that was not published yet; whether the row itself was news."""
        try:
            record, *levels = records_of(entity, row, look, self._settings)
        except RecordError as error:
            log.warning("b1_row_unreadable", connector=self.name, error=str(error))
            return False
        match record:
            case ItemChanged():
                self._items.known.add(record.item_code)
            case OrderStatusChanged(status="open"):
                self._orders.known.add(record.doc_entry)
            case OrderStatusChanged():
                self._orders.known.discard(record.doc_entry)
            case _:
                pass
        is_news = self._put(record)
        for level in levels:
            self._put(level)
        return is_news

    def _name(self, row: Row) -> None:
        self._items_named |= dict.fromkeys(items_of(row))
        self._orders_named |= dict.fromkeys(orders_of(row))

    def _put(self, record: B1Reading) -> bool:
        key = key_of(record)
        self._queue.pop(key, None)
        if self._published.has(record):
            return False
        self._queue[key] = record
        return True


def may_run(answer: B1Answer) -> bool:
    """Whether B1 ran the stored query; without rows it answers as if there were none of that name.

    Where it makes pages of its own of one, they are in no order.
    """
    return (answer.ok and not _has_next(answer)) or _is_empty(answer)


def page_of(answer: B1Answer, walk: Walk) -> Page:
    """The rows of a page, and whether B1 has cut it before all rows that were asked for.

    Raises:
        UnavailableError: B1 refused it, or its answer is none.
    """
    if isinstance(walk, StockWalk) and _is_empty(answer):
        return [], False
    if not answer.ok or answer.body is None:
        raise QueryRefusedError(f"B1 does not list {walk.entity}: {describe(answer)}", 0, answer.status)
    value, kind = answer.body.get("value"), str if walk.key == "ItemCode" else int
    if not isinstance(value, list) or not all(
        isinstance(row, Mapping) and isinstance(row.get(walk.key), kind) for row in value
    ):
        raise UnavailableError(f"B1 answered a query of {walk.entity} with something that is no list of rows with keys")
    return value, _has_next(answer)


def _has_next(answer: B1Answer) -> bool:
    return answer.body is not None and "@odata.nextLink" in answer.body


def _is_empty(answer: B1Answer) -> bool:
    return answer.status == 404 and answer.error[0] == "-2028"


def open_session(
    settings: SapB1Settings, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
) -> ServiceLayer:
    """A company's B1 in one session of its own, beside those of the poster."""
    company = settings.b1
    return HttpServiceLayer(
        company.service_layer_url,
        company.company_db,
        company.username,
        company.password,
        verify=company.verify_tls,
        session_limit=1,
        refused_logins=state_file(os.environ),
        transport=transport,
        clock=clock,
        page_rows=_PAGE_ROWS,
    )

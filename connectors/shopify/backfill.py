"""Reads a time range of a shop by bulk operations: Shopify gathers the orders, and we read its file line by line.

An operation is of the orders that were created in a window and changed since the range began; the first window is all
of the time before the range's end. One that fails, as large ones do, is made anew for half of its window; what it had
is not used, since its last order may lack lines. One whose result is gone (after seven days), or that somebody has
cancelled, is made anew for the whole window. What is then read again is emitted again, the same under the same
identities.

A file does not hold what fulfilments and refunds are made of: bulk operations take no connection inside a list. They
are asked for many at a time.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import structlog

from connectors.base import cursor_text
from connectors.base.clock import Clock
from connectors.base.errors import CredentialsRefusedError, FatalError
from connectors.base.source import BackfillBatch, Item, RefusedRecord, TimeRange
from connectors.shopify.bulk import BulkOperation, BulkOperations
from connectors.shopify.client import ShopifyClient
from connectors.shopify.cursor import ShopifyCursor
from connectors.shopify.errors import SCOPES, BulkGoneError
from connectors.shopify.orders import Orders, read_changes, searched
from connectors.shopify.queries import ORDERS_IN_BULK
from connectors.shopify.settings import ShopifySettings
from connectors.shopify.translate.context import OrderChange, ShopifyContext

log = structlog.get_logger(__name__)

#: A batch is acknowledged whole: a restart asks again for the parts of so many orders.
BATCH_ORDERS = 100
STATUS_POLL_S = 5.0
#: A window that cannot be gathered even so small is tried again after a while, not halved any more.
SMALLEST_WINDOW = timedelta(minutes=10)
SMALLEST_WINDOW_WAIT_S = 60.0
_SECOND = timedelta(seconds=1)
#: Before every shop.
_BEGINNING = datetime(2006, 1, 1, tzinfo=UTC)
_WHOLE_PAGE = {"hasNextPage": False, "endCursor": None}


@dataclass(frozen=True, slots=True)
class ShopifyBackfillCursor:
    """The cursor.

    Attributes:
        since, until: The window of `createdAt` under way, as ISO 8601.
        operation: Its bulk operation; None: not started.
        byte: Of its result, everything before has been emitted.
    """

    since: str
    until: str
    operation: str | None = None
    byte: int = 0

    @classmethod
    def from_text(cls, text: str) -> "ShopifyBackfillCursor":
        """Read a cursor.

        Raises:
            FatalError: It is something else.
        """
        return cursor_text.from_text(text, cls._of, "shopify", backfill=True)

    @classmethod
    def _of(cls, found: Any) -> "ShopifyBackfillCursor":
        cursor = cls(**found)
        _ = cursor.window
        return cursor

    def to_text(self) -> str:
        return cursor_text.to_text(asdict(self))

    @property
    def window(self) -> TimeRange:
        return TimeRange(datetime.fromisoformat(self.since), datetime.fromisoformat(self.until))

    @classmethod
    def before(cls, window: TimeRange) -> "ShopifyBackfillCursor":
        """At the beginning of a window."""
        return cls(window.since.isoformat(), window.until.isoformat())


class ShopifyBackfill:
    """A shop's past as a `BackfillSource`.

    Args:
        name: The connector's.
        settings: Its settings.
        clock: When things are observed.
        time_range: What is read: what happened in it, whenever its order was placed.
        live: The live source's cursor, for since when counts have been read.
        transport: For tests: an app in at of the network.
        sleep: For tests.
    """

    def __init__(
        self,
        name: str,
        settings: ShopifySettings,
        clock: Clock,
        time_range: TimeRange,
        live: str | None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self.company = settings.company
        self._settings = settings
        self._clock = clock
        self._range = time_range
        self._sleep = sleep
        self._client = ShopifyClient(settings, clock, transport=transport, sleep=sleep)
        self._operations = BulkOperations(self._client, settings, transport=transport)
        self._orders = Orders(self._client)
        self._counted_since = ShopifyCursor.from_text(live).counted_since if live is not None else {}
        self._first = ShopifyBackfillCursor.before(TimeRange(_BEGINNING, max(time_range.until, _BEGINNING)))
        self._rows: AsyncGenerator[tuple[dict[str, Any], int], None] | None = None
        self._at: ShopifyBackfillCursor | None = None

    async def close(self) -> None:
        await self._leave()
        await self._operations.close()
        await self._client.close()

    async def read(self, cursor: str | None) -> BackfillBatch:
        at = ShopifyBackfillCursor.from_text(cursor) if cursor is not None else self._first
        if at.operation is None:
            operation = await self._operations.start(self._query(at.window))
            # Written down before it is waited for: it may take hours.
            return self._waits(replace(at, operation=operation), "Shopify begins to gather orders")
        try:
            if self._rows is None or self._at != at:
                await self._leave()
                bulk = await self._operations.look(at.operation)
                if bulk.status != "COMPLETED":
                    return await self._wait(at, bulk)
                if bulk.url is None:
                    return self._next(at)
                self._rows = self._operations.rows(bulk.url, start=at.byte)
            return await self._read_rows(at)
        except BulkGoneError as error:
            await self._leave()
            return self._again(at, str(error))
        except BaseException:
            await self._leave()
            raise

    async def _leave(self) -> None:
        rows, self._rows, self._at = self._rows, None, None
        if rows is not None:
            await rows.aclose()

    def _query(self, window: TimeRange) -> str:
        since, until = self._range.since, window.until
        # Whole seconds: what is too early is left out by its own time.
        until = until if not until.microsecond else until + _SECOND
        words = [f"updated_at:>='{searched(since)}'", f"created_at:<'{searched(until)}'"]
        if window.since > _BEGINNING:
            words.insert(1, f"created_at:>='{searched(window.since)}'")
        return ORDERS_IN_BULK % " AND ".join(words)

    # ---- the operation

    async def _wait(self, at: ShopifyBackfillCursor, bulk: BulkOperation) -> BackfillBatch:
        match bulk.status:
            case "CREATED" | "RUNNING" | "CANCELING":
                await self._sleep(STATUS_POLL_S)
                return self._waits(at, f"Shopify gathers orders: {bulk.objects} rows so far")
            case "FAILED" if bulk.error == "ACCESS_DENIED":
                raise CredentialsRefusedError(f"shopify: the bulk operation is denied; {SCOPES}")
            case "FAILED":
                return await self._halve(at, bulk.error)
            case status:
                return self._again(at, f"it ended as {status[:20]}")

    async def _halve(self, at: ShopifyBackfillCursor, error: str) -> BackfillBatch:
        window = at.window
        # Orders from before the range are few: they are asked for apart first.
        middle = window.since + (window.until - window.since) / 2
        if window.since < self._range.since < window.until:
            middle = self._range.since
        middle = middle.replace(microsecond=0)
        if middle - window.since < SMALLEST_WINDOW:
            log.warning("bulk_failed", connector=self.name, error=error)
            await self._sleep(SMALLEST_WINDOW_WAIT_S)
            return self._again(at, error)
        log.warning("bulk_halved", connector=self.name, error=error)
        return self._waits(
            ShopifyBackfillCursor.before(TimeRange(window.since, middle)),
            f"Shopify failed ({error or 'no reason'}): half as much at once",
        )

    def _again(self, at: ShopifyBackfillCursor, why: str) -> BackfillBatch:
        log.warning("bulk_restarted", connector=self.name, error=why)
        return self._waits(ShopifyBackfillCursor.before(at.window), "the bulk operation is made anew")

    def _next(self, at: ShopifyBackfillCursor) -> BackfillBatch:
        """The window is done: the next one is twice as wide, or there is none."""
        window = at.window
        if window.until >= self._range.until:
            return BackfillBatch((), at.to_text(), idle=True, reached=self._range.until, part=1.0)
        until = min(self._range.until, window.until + 2 * (window.until - window.since))
        return self._waits(ShopifyBackfillCursor.before(TimeRange(window.until, until)), "")

    def _waits(self, at: ShopifyBackfillCursor, doing: str) -> BackfillBatch:
        return BackfillBatch((), at.to_text(), doing=doing)

    # ---- its result

    async def _read_rows(self, at: ShopifyBackfillCursor) -> BackfillBatch:
        assert self._rows is not None  # noqa: S101 -- the caller has opened it
        raws: list[dict[str, Any]] = []
        byte = at.byte
        async for row, end in self._rows:
            raws.append(_order(row))
            byte = end
            if len(raws) >= BATCH_ORDERS:
                break
        if not raws:
            await self._leave()
            return self._next(at)
        await self._orders.complete(raws)
        context = ShopifyContext(self.name, self.company, self._settings, self._clock.now(), self._counted_since)
        items = [item for raw in raws for item in self._emitted(raw, context)]
        self._at = replace(at, byte=byte)
        reached = _created_at(raws[-1])
        part = self._range.part(reached) if reached is not None else None
        return BackfillBatch(tuple(items), self._at.to_text(), records=len(raws), reached=reached, part=part)

    def _emitted(self, raw: Mapping[str, Any], context: ShopifyContext) -> list[Item]:
        """What happened to an order within the range."""
        changes = read_changes(raw, context)
        if isinstance(changes, RefusedRecord):
            return [changes]
        return [item for each in changes if self._is_within(each) for item in each.items]

    def _is_within(self, change: OrderChange) -> bool:
        """Whether it is of the range, and over. What is not over the live source emits in its time.

        What was undone within the range was not there to be emitted.
        """
        undone_at = change.undoes[1] if change.undoes is not None else None
        return change.final and change.moment in self._range and (undone_at is None or undone_at not in self._range)


def _order(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the result, with its lines, as `Orders.fetch` would have it but for its parts."""
    lines, freight = row.pop("LineItem", []), row.pop("ShippingLine", [])
    # An agreement is an interface, whose rows have the type of one of its kinds.
    kinds = [name for name in row if name[:1].isupper() and name.endswith("Agreement")]
    agreements = [each for kind in kinds for each in row.pop(kind)]
    if unknown := [name for name in row if name[:1].isupper()]:
        raise FatalError(f"shopify: a bulk result with rows of the type {unknown[0][:40]}; report this version")
    # As the live source asks for them: without an id.
    nodes = [{name: value for name, value in each.items() if name != "id"} for each in freight]
    return {
        **row,
        "shippingLines": {"nodes": nodes, "pageInfo": _WHOLE_PAGE},
        "lineItems": lines,
        "agreements": {"nodes": agreements, "pageInfo": _WHOLE_PAGE},
    }


def _created_at(raw: Mapping[str, Any]) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(raw.get("createdAt")))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None

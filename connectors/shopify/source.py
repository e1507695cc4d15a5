"""Polls a shop by updated-at: orders with all that happened to them, then counts; webhooks only make it look sooner.

A pass lists what has changed since the last one began to overlap, page by page, and remembers in the cursor what it has
told of the last minutes, so that looking back `overlap_s` costs no repeats. What is older than the end of the last whole
pass was told then, whatever has happened to its order since; so an order that changes for months is not told again, and
one that no webhook mentioned is found.
"""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import structlog

from connectors.base.clock import Clock
from connectors.base.errors import FatalError, RecordError
from connectors.base.source import Batch, Item
from connectors.base.values import validate
from connectors.shopify import records
from connectors.shopify.client import (
    CHANGED,
    LEVELS,
    CursorExpiredError,
    ShopifyClient,
    TooCostlyError,
    id_of,
    next_page,
    page_of,
)
from connectors.shopify.orders import Orders, incomplete, searched
from connectors.shopify.settings import ShopifySettings
from connectors.shopify.translate.context import OrderChange, ShopifyContext, unreadable
from connectors.shopify.translate.levels import level_of, unreadable_level
from connectors.shopify.translate.orders import changes_of, is_ours
from connectors.webhooks.hook import Delivery, Hook, Pushed, matches, sign

log = structlog.get_logger(__name__)

#: Changed orders are listed by id and time only, a point each. To read one then costs 10 to 100.
LIST_ROWS = 50
#: A batch is acknowledged whole, so that a restart repeats the queries of so many orders, and of the rest of their page.
BATCH_ORDERS = 25
LEVEL_ROWS = 100
#: More unfinished payments and shipments than any shop has; the cursor's record has to stay below 1 MiB.
MAX_WAITING = 10_000


@dataclass(frozen=True, slots=True)
class Told:
    """An order's state that was told.

    Attributes:
        at: Its `updatedAt`, as Shopify wrote it.
        keys: What of it was told (`OrderChange.key`).
    """

    at: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pass is; the cursor of this source. Times are Shopify's.

    Attributes:
        since: The pass lists what changed from then on; None: everything.
        began: When this pass began; None: none is under way.
        after: Behind this page of the list.
        whole: Everything that happened until then has been told; None: no pass has come to its end yet.
        told: What was told of orders that changed since `overlap_s` before `began`.
        waiting: `order/key` of what is not over, however old.
        locations: Of the counts, by location: since when.
        turn: The location that this pass is at; None: still at the orders.
        level_after: Behind this page of its counts.
        counted_since: Of the counts, by location: when the first reading of all of them was done.
        counted: Of counts that moved lately, by `location/item`, Shopify's second in which they were told to stand so.
    """

    since: datetime | None = None
    began: datetime | None = None
    after: str | None = None
    whole: datetime | None = None
    told: Mapping[str, Told] = field(default_factory=dict)
    waiting: frozenset[str] = frozenset()
    locations: Mapping[str, datetime] = field(default_factory=dict)
    turn: str | None = None
    level_after: str | None = None
    counted_since: Mapping[str, datetime] = field(default_factory=dict)
    counted: Mapping[str, int] = field(default_factory=dict)

    def to_text(self) -> str:
        return json.dumps(
            {
                "since": _text(self.since),
                "began": _text(self.began),
                "after": self.after,
                "whole": _text(self.whole),
                "told": {order: [told.at, *told.keys] for order, told in self.told.items()},
                "waiting": sorted(self.waiting),
                "locations": {name: _text(at) for name, at in self.locations.items()},
                "turn": self.turn,
                "level_after": self.level_after,
                "counted_since": {name: _text(at) for name, at in self.counted_since.items()},
                "counted": self.counted,
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_text(cls, text: str) -> "Place":
        """Read what `to_text` wrote.

        Raises:
            FatalError: It is something else.
        """
        try:
            found = json.loads(text)
            return cls(
                since=_moment(found["since"]),
                began=_moment(found["began"]),
                after=found["after"],
                whole=_moment(found["whole"]),
                told={order: Told(at, tuple(keys)) for order, (at, *keys) in found["told"].items()},
                waiting=frozenset(found["waiting"]),
                locations={name: datetime.fromisoformat(at) for name, at in found["locations"].items()},
                turn=found["turn"],
                level_after=found["level_after"],
                counted_since={name: datetime.fromisoformat(at) for name, at in found["counted_since"].items()},
                counted={str(name): int(at) for name, at in found["counted"].items()},
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise FatalError(
                "the cursor is not one of a shopify connector; give the connector a new name, or its old kind"
            ) from error


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text is not None else None


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
        start = place = Place.from_text(cursor) if cursor is not None else Place(since=self._settings.start_at)
        items: list[Item] = []
        while True:
            step = self._read_orders if place.turn is None else self._read_levels
            items, place = await step(place)
            if items or place.began is None:
                break
        if items or place.began is not None:
            return Batch(tuple(items), place.to_text())
        if cursor is not None and self._is_as_good(start, place):
            return Batch((), cursor, idle=True)
        return Batch((), place.to_text(), idle=True)

    def _is_as_good(self, start: Place, end: Place) -> bool:
        """Whether a pass that found nothing may begin next time where it began, so that quiet hours write no cursors."""
        if start.whole is None or end.whole is None or end.whole - start.whole > self._overlap / 2:
            return False
        return (
            start.began is None
            and start.told.items() >= end.told.items()
            and start.counted.items() >= end.counted.items()
            and (start.waiting, start.counted_since) == (end.waiting, end.counted_since)
            and start.locations.keys() == end.locations.keys()
        )

    # ---- orders

    async def _read_orders(self, place: Place) -> tuple[list[Item], Place]:
        """Changed orders, up to the end of a page; the list begins anew where its cursor is not known any more."""
        query = f"updated_at:>='{searched(place.since)}'" if place.since is not None else None
        told, waiting = dict(place.told), set(place.waiting)
        items: list[Item] = []
        count = 0
        while True:
            variables = {"query": query, "first": LIST_ROWS, "after": place.after}
            try:
                answer = await self._client.query(CHANGED, variables)
            except CursorExpiredError:
                log.info("pages_restarted", connector=self.name)
                answer = await self._client.query(CHANGED, {**variables, "after": None})
            page = page_of(answer.data, ("orders",))
            if page is None:
                raise FatalError("shopify: orders cannot be read; give the app the scope read_orders")
            began = place.began or answer.now
            for row in page["nodes"]:
                gid, listed_at = id_of(row), str(row.get("updatedAt"))
                order_id = gid.rpartition("/")[2]
                before = told.get(order_id)
                if before is not None and before.at == listed_at:
                    continue
                count += 1
                told_at, found = await self._read_order(gid, listed_at, place, items)
                keys = list(before.keys if before is not None else ())
                for each in found:
                    self._tell(each, order_id, keys, waiting, place.whole, items)
                told[order_id] = Told(told_at, tuple(keys))
            told = _recent(told, began - self._overlap)
            place = replace(place, began=began, told=told, waiting=frozenset(waiting))
            if not page["pageInfo"]["hasNextPage"]:
                break
            place = replace(place, after=next_page(page, place.after))
            if count >= BATCH_ORDERS:
                return items, place
        # Everything that was there when the pass began is told. It changes nothing that it may have taken long.
        ended = replace(place, since=began - self._overlap, whole=began, after=None)
        return items, self._next_turn(ended, None)

    def _tell(
        self,
        each: OrderChange,
        order_id: str,
        keys: list[str],
        waiting: set[str],
        whole: datetime | None,
        items: list[Item],
    ) -> None:
        """Take what is new of an order's story; `keys` and `waiting` remember it."""

        def is_new(moment: datetime) -> bool:
            return whole is None or moment > whole - self._overlap

        name = f"{order_id}/{each.key}"
        if each.key in keys or not (is_new(each.moment) or name in waiting):
            return
        if each.undoes is not None and each.undoes[0] not in keys and is_new(each.undoes[1]):
            return
        if each.final:
            waiting.discard(name)
            items.extend(each.items)
            keys.append(each.key)
            return
        waiting.add(name)
        if len(waiting) > MAX_WAITING:
            raise FatalError(f"{self.name}: over {MAX_WAITING} payments and shipments are unfinished; finish them")

    async def _read_order(
        self, gid: str, listed_at: str, place: Place, items: list[Item]
    ) -> tuple[str, list[OrderChange]]:
        """Everything about one order, and the `updatedAt` it had when read."""
        raw = await self._fetch_order(gid)
        if raw is None:
            return listed_at, []  # deleted meanwhile: only test orders and cancelled ones can be
        read_at = str(raw.get("updatedAt"))
        fault, found = incomplete(raw), list[OrderChange]()
        try:
            order = validate(records.Order, raw)
            if fault is None and not is_ours(order, self._settings):
                found = changes_of(order, raw, self._context(place))
        except RecordError as error:
            fault = str(error)
        if fault is not None:
            items.append(unreadable(gid.rpartition("/")[2], read_at, raw, fault, self._settings.events))
        return read_at, found

    async def _fetch_order(self, gid: str) -> dict[str, Any] | None:
        return await self._orders.fetch(gid)

    # ---- counts

    def _next_turn(self, place: Place, done: str | None) -> Place:
        """On to the next location, or to the end of the pass."""
        names = self._settings.stock_locations
        at = names.index(done) + 1 if done in names else 0
        if at < len(names):
            return replace(place, turn=names[at], level_after=None)
        return replace(place, turn=None, level_after=None, began=None)

    async def _read_levels(self, place: Place) -> tuple[list[Item], Place]:
        location = place.turn or ""
        if location not in self._settings.stock_locations:
            return [], self._next_turn(place, None)
        since = place.locations.get(location)
        variables = {
            "id": f"gid://shopify/Location/{location}",
            "query": f"updated_at:>='{searched(since)}'" if since is not None else None,
            "names": [self._settings.stock_quantity],
            "first": LEVEL_ROWS,
            "after": place.level_after,
        }
        while True:
            try:
                answer = await self._client.query(LEVELS, variables)
                break
            except CursorExpiredError:
                variables["after"] = None
            except TooCostlyError as error:
                if variables["first"] == 1:
                    raise FatalError("shopify: one count costs more than a query may; report this version") from error
                variables["first"] = int(str(variables["first"])) // 2
        page = page_of(answer.data, ("location", "inventoryLevels"))
        if page is None:
            raise FatalError(f"shopify: there is no location {location}; mend connectors.{self.name}.stock_locations")
        # A count of this second may still move within it, and then keep its time: it is read at the next look.
        settled = answer.now - timedelta(seconds=self._settings.settle_s)
        # What moves during this pass may be on a page that was read before: the next one goes back to the beginning.
        next_since = (place.began or answer.now) - self._overlap - timedelta(seconds=self._settings.settle_s)
        items: list[Item] = []
        counted = dict(place.counted)
        for raw in page["nodes"]:
            try:
                level = validate(records.InventoryLevel, raw)
            except RecordError as error:
                items.append(unreadable_level(location, raw, f"{error}; report it"))
                continue
            name, at = f"{location}/{level.item.id}", int(level.updated_at.timestamp())
            if level.updated_at > settled or counted.get(name) == at:
                continue
            if level.updated_at >= next_since:
                counted[name] = at
            item = level_of(level, location, raw, self._context(place))
            if item is not None:
                items.append(item)
        place = replace(place, counted=counted)
        if page["pageInfo"]["hasNextPage"]:
            return items, replace(place, level_after=next_page(page, place.level_after))
        oldest = next_since.timestamp()
        kept = {name: at for name, at in counted.items() if at >= oldest or not name.startswith(f"{location}/")}
        locations = {name: at for name, at in place.locations.items() if name in self._settings.stock_locations}
        since_first = {location: answer.now, **place.counted_since}
        ended = replace(place, counted=kept, counted_since=since_first, locations={**locations, location: next_since})
        return items, self._next_turn(ended, location)

    def _context(self, place: Place) -> ShopifyContext:
        return ShopifyContext(self.name, self.company, self._settings, self._clock.now(), place.counted_since)


def _recent(told: Mapping[str, Told], since: datetime) -> dict[str, Told]:
    """What the next pass will list again."""
    found: dict[str, Told] = {}
    for order, each in told.items():
        try:
            is_recent = datetime.fromisoformat(each.at) >= since
        except (ValueError, TypeError):
            is_recent = False  # it has no time that can be read, and a letter that says so
        if is_recent:
            found[order] = each
    return found


# ---- webhooks -------------------------------------------------------------------------------------------------------

_PREFIXES = (b"x-shopify-", b"shopify-")


def hook_of(name: str, settings: ShopifySettings) -> Hook | None:
    """How the door takes the shop's webhooks; None where no secret is configured.

    They are wake-ups: an order's webhook has the shape of another API, as of another moment than the poll's, and said
    twice in two ways a fact would be two. What they tell is read from the API right after.
    """
    if not settings.webhook_secrets:
        return None

    def verify(delivery: Delivery, secrets: Sequence[bytes]) -> bool:
        return _is_genuine(delivery, secrets, settings.shop.encode())

    return Hook(
        connector=name,
        company=settings.company,
        path=settings.webhook_path or f"/{name}",
        secrets=settings.webhook_secrets,
        verify=verify,
        translate=_say_nothing,
        delivery_id=lambda delivery: _header(delivery, b"webhook-id"),
    )


def _is_genuine(delivery: Delivery, secrets: Sequence[bytes], shop: bytes) -> bool:
    signed = matches(
        _header(delivery, b"hmac-sha256"), [base64.b64encode(sign(secret, delivery.body)) for secret in secrets]
    )
    # One app may be in several shops, with one secret.
    return signed and (_header(delivery, b"shop-domain") or b"").lower() == shop


def _header(delivery: Delivery, name: bytes) -> bytes | None:
    return next((found for prefix in _PREFIXES if (found := delivery.headers.get(prefix + name)) is not None), None)


def _say_nothing(_delivery: Delivery) -> tuple[Pushed, ...]:
    return ()

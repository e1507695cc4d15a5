"""An order with everything that belongs to it, put together of Shopify's pages."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from connectors.base.errors import FatalError, RecordError
from connectors.base.source import RefusedRecord
from connectors.base.values import validate
from connectors.shopify import records
from connectors.shopify.client import ShopifyClient
from connectors.shopify.errors import TooCostlyError
from connectors.shopify.pages import id_of, next_page, page_of
from connectors.shopify.queries import AGREEMENTS, FULFILLMENT, FULFILLMENTS, LINES, ORDER, REFUND, REFUNDS
from connectors.shopify.translate.context import OrderChange, ShopifyContext, unreadable
from connectors.shopify.translate.orders import changes_of

LINE_ROWS = 20
DETAIL_ROWS = 50
#: Most parts have few lines, and a query is charged for what it may find before it is for what it has: so many parts
#: with so many lines each come to some hundred points.
PART_ROWS = 10
PARTS_AT_ONCE = 24
_MAX_PARTS = 50  # of the lists that Shopify does not page
#: Reasons of agreements whose sales the order's own lines and its refunds state.
_TOLD_BY_THE_ORDER = frozenset({"ORDER", "REFUND"})
#: Of an order: what its parts are called there, the query of several and of one, their names, and their lines.
_PARTS = (
    ("fulfillments", FULFILLMENTS, FULFILLMENT, "fulfillment", "fulfillmentLineItems"),
    ("refunds", REFUNDS, REFUND, "refund", "refundLineItems"),
)


class Orders:
    """Reads whole orders through a client; it learns how many rows a query may ask for."""

    def __init__(self, client: ShopifyClient) -> None:
        self._client = client
        self._line_rows = LINE_ROWS
        self._at_once = dict.fromkeys((heads for heads, *_ in _PARTS), PARTS_AT_ONCE)

    async def fetch(self, gid: str) -> dict[str, Any] | None:
        """One order as it is now; None: there is none."""
        variables = {"id": gid, "after": None}
        answer, self._line_rows = await self._client.query_fewer(ORDER, variables, self._line_rows)
        found = answer.data.get("order")
        if not isinstance(found, Mapping):
            return None
        raw = dict(found)
        page = page_of(answer.data, ("order", "lineItems"))
        lines = list(page["nodes"]) if page is not None else []
        if page is not None and page["pageInfo"]["hasNextPage"]:
            after = next_page(page, None)
            rest = await self._client.pages(LINES, {"id": gid}, ("order", "lineItems"), LINE_ROWS, after=after)
            if rest is None:
                return None
            lines += rest
        raw["lineItems"] = lines
        for heads, _, document, name, rows in _PARTS:
            read = [await self._fetch_part(document, name, rows, each) for each in _listed(raw.get(heads))]
            # One that is gone between two queries has changed the order, which comes again.
            raw[heads] = [each for each in read if each is not None]
        await self._add_agreements(raw)
        return raw

    async def complete(self, raws: Sequence[dict[str, Any]]) -> None:
        """Put the parts into orders that have all their lines, but only the heads of their parts.

        A few queries for all.
        """
        for heads, documents, document, name, rows in _PARTS:
            ids = [id_of(each) for raw in raws for each in _listed(raw.get(heads))]
            parts = await self._fetch_parts(heads, documents, document, name, rows, ids)
            for raw in raws:
                raw[heads] = [parts[gid] for each in _listed(raw.get(heads)) if (gid := id_of(each)) in parts]
        for raw in raws:
            await self._add_agreements(raw)

    async def fulfillments(self, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Fulfilments with all their lines."""
        heads, documents, document, name, rows = _PARTS[0]
        parts = await self._fetch_parts(heads, documents, document, name, rows, ids)
        return [parts[gid] for gid in ids if gid in parts]

    async def _add_agreements(self, raw: dict[str, Any]) -> None:
        """Sales beyond the order's first: what edits and exchanges sold. Most orders have none."""
        heads = raw.get("agreements")
        if not isinstance(heads, Mapping):
            return
        nodes, page = _listed(heads.get("nodes")), heads.get("pageInfo")
        reasons = {str(each.get("reason")) for each in nodes if isinstance(each, Mapping)}
        is_all = isinstance(page, Mapping) and not page.get("hasNextPage")
        if raw.get("edited") or not reasons <= _TOLD_BY_THE_ORDER or not is_all:
            found = await self._client.pages(AGREEMENTS, {"id": id_of(raw)}, ("order", "agreements"), 5)
            raw["agreements"] = found or []
        else:
            raw["agreements"] = []

    async def _fetch_parts(
        self, heads: str, documents: str, document: str, name: str, rows: str, ids: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        parts: dict[str, dict[str, Any]] = {}
        at = 0
        while at < len(ids):
            some = ids[at : at + self._at_once[heads]]
            try:
                answer = await self._client.query(documents, {"ids": some, "first": PART_ROWS, "after": None})
            except TooCostlyError as error:
                if len(some) <= 1:
                    raise FatalError("shopify: one part costs more than a query may; report this version") from error
                self._at_once[heads] = max(1, self._at_once[heads] * 2 // 3)
                continue
            at += len(some)
            for found in answer.data.get("nodes") or ():
                page = page_of(found, (rows,)) if isinstance(found, Mapping) else None
                if page is None:
                    continue
                part: dict[str, Any] | None = {**found, rows: list(page["nodes"])}
                if page["pageInfo"]["hasNextPage"]:
                    part = await self._fetch_part(document, name, rows, found)
                if part is not None:
                    parts[id_of(part)] = part
        return parts

    async def _fetch_part(self, document: str, name: str, rows: str, head: Mapping[str, Any]) -> dict[str, Any] | None:
        """A fulfilment or refund with all its lines."""
        variables = {"id": id_of(head), "after": None}
        answer, first = await self._client.query_fewer(document, variables, DETAIL_ROWS)
        found = answer.data.get(name)
        if not isinstance(found, Mapping):
            return None
        page = page_of(answer.data, (name, rows))
        lines = list(page["nodes"]) if page is not None else []
        if page is not None and page["pageInfo"]["hasNextPage"]:
            after = next_page(page, None)
            lines += await self._client.pages(document, {"id": id_of(head)}, (name, rows), first, after=after) or []
        return {**found, rows: lines}


def _listed(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def read_changes(raw: Mapping[str, Any], context: ShopifyContext) -> list[OrderChange] | RefusedRecord:
    """All that has happened to a fetched order; a dead letter where it cannot be read."""
    fault = incomplete(raw)
    if fault is None:
        try:
            return changes_of(validate(records.Order, raw), raw, context)
        except RecordError as error:
            fault = str(error)
    order_id, changed_at = str(raw.get("id")).rpartition("/")[2], str(raw.get("updatedAt"))
    return unreadable(order_id, changed_at, raw, fault, context.settings.events)


def incomplete(raw: object) -> str | None:
    """What of a record was cut off, since Shopify pages it and we ask for one page of it."""
    if isinstance(raw, dict):  # of JSON: that it is a Mapping takes longer to find out than all else here
        info = raw.get("pageInfo")
        if isinstance(info, dict) and info.get("hasNextPage"):
            return "it has more shipping lines, sales or payments than one page"
        for name in ("fulfillments", "refunds", "transactions"):
            if isinstance(raw.get(name), list) and len(raw[name]) >= _MAX_PARTS:
                return f"it has {_MAX_PARTS} {name} or more"
        return next((fault for each in raw.values() if (fault := incomplete(each)) is not None), None)
    if isinstance(raw, list):
        return next((fault for each in raw if (fault := incomplete(each)) is not None), None)
    return None


def searched(moment: datetime | None) -> str:
    """A time in Shopify's search syntax: whole seconds, UTC."""
    return (moment or datetime.fromtimestamp(0, UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

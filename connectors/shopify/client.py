"""Shopify's GraphQL Admin API over HTTP: what is asked, the bucket of points, pages, bulk operations."""

import asyncio
import json
import random
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import structlog

from connectors.base.clock import Clock
from connectors.base.errors import ConnectorError, FatalError, RetriableError
from connectors.base.json_numbers import exact, is_deep, whole
from connectors.shopify.settings import ShopifySettings

log = structlog.get_logger(__name__)

#: An answer is at most 1000 points of rows; one of 16 MiB is none of ours.
MAX_ANSWER_BYTES = 16 * 1024 * 1024
MAX_LINE_BYTES = 4 * 1024 * 1024
#: How often a throttled query is asked again before the runtime's own back-off takes over.
THROTTLED_TRIES = 8
#: Before a query whose answer got lost is asked again; then the runtime's back-off takes over likewise.
LOST_PAUSES_S = (0.2, 1.0)
_PARKED_S = 600.0  # 402, 423: the shop is frozen or locked; people have to act, we look now and then

# ---- what is asked --------------------------------------------------------------------------------------------------

_MONEY = "{ shopMoney { amount currencyCode } }"
_TAXES = f"taxLines {{ title rate priceSet {_MONEY} }}"
_CUT = f"discountAllocations {{ allocatedAmountSet {_MONEY} }}"
_PAGE = "pageInfo { hasNextPage endCursor }"
#: Of a LineItem.
_LINE = f"""id sku name quantity requiresShipping isGiftCard originalUnitPriceSet {_MONEY} {_CUT} {_TAXES}
  duties {{ price {_MONEY} {_TAXES} }}"""
_TRANSACTION = f"id kind status gateway processedAt createdAt amountSet {_MONEY}"
_ADDRESS = "name company address1 address2 city zip provinceCode countryCodeV2 phone"
_FREIGHT = f"title code source originalPriceSet {_MONEY} {_CUT} {_TAXES}"  # of a ShippingLine
#: By their reasons one sees whether an order has more sales than its first.
_REASONS = "id reason"
_HEADS = "fulfillments(first: 50) { id status createdAt updatedAt } refunds(first: 50) { id createdAt }"
_ORDER = f"""
  id name createdAt processedAt updatedAt cancelledAt cancelReason test edited taxesIncluded displayFinancialStatus
  sourceName email note tags
  totalPriceSet {_MONEY} totalTaxSet {_MONEY} originalTotalDutiesSet {_MONEY} originalTotalAdditionalFeesSet {_MONEY}
  additionalFees {{ price {_MONEY} {_TAXES} }}
  customer {{ id displayName }} shippingAddress {{ {_ADDRESS} }} billingAddress {{ {_ADDRESS} }}
  transactions(first: 50) {{ {_TRANSACTION} }} {_HEADS}"""
_FULFILLMENT = f"""id status createdAt updatedAt location {{ id }} trackingInfo(first: 10) {{ company number }}
    fulfillmentLineItems(first: $first, after: $after) {{ nodes {{ quantity lineItem {{ id }} }} {_PAGE} }}"""
_REFUND = f"""id createdAt note duties {{ amountSet {_MONEY} }}
    refundShippingLines(first: 5) {{ nodes {{ subtotalAmountSet {_MONEY} taxAmountSet {_MONEY} }} {_PAGE} }}
    orderAdjustments(first: 5) {{ nodes {{ amountSet {_MONEY} taxAmountSet {_MONEY} }} {_PAGE} }}
    transactions(first: 10) {{ nodes {{ {_TRANSACTION} }} {_PAGE} }}
    refundLineItems(first: $first, after: $after) {{
      nodes {{ quantity restockType lineItem {{ id }} location {{ id }} subtotalSet {_MONEY} totalTaxSet {_MONEY} }}
      {_PAGE} }}"""

CHANGED = f"""query Changed($query: String!, $first: Int!, $after: String) {{
  orders(first: $first, after: $after, query: $query, sortKey: UPDATED_AT) {{ nodes {{ id updatedAt }} {_PAGE} }} }}"""
ORDER = f"""query Order($id: ID!, $first: Int!, $after: String) {{
  order(id: $id) {{ {_ORDER}
    shippingLines(first: 5) {{ nodes {{ {_FREIGHT} }} {_PAGE} }} agreements(first: 10) {{ nodes {{ {_REASONS} }} {_PAGE} }}
    lineItems(first: $first, after: $after) {{ nodes {{ {_LINE} }} {_PAGE} }} }} }}"""
LINES = f"""query Lines($id: ID!, $first: Int!, $after: String) {{
  order(id: $id) {{ lineItems(first: $first, after: $after) {{ nodes {{ {_LINE} }} {_PAGE} }} }} }}"""
FULFILLMENT = f"""query Fulfillment($id: ID!, $first: Int!, $after: String) {{
  fulfillment(id: $id) {{ {_FULFILLMENT} }} }}"""
REFUND = f"""query Refund($id: ID!, $first: Int!, $after: String) {{ refund(id: $id) {{ {_REFUND} }} }}"""
#: The same of several at once.
FULFILLMENTS = f"""query Fulfillments($ids: [ID!]!, $first: Int!, $after: String) {{
  nodes(ids: $ids) {{ ... on Fulfillment {{ {_FULFILLMENT} }} }} }}"""
REFUNDS = f"""query Refunds($ids: [ID!]!, $first: Int!, $after: String) {{
  nodes(ids: $ids) {{ ... on Refund {{ {_REFUND} }} }} }}"""
AGREEMENTS = f"""query Agreements($id: ID!, $first: Int!, $after: String) {{
  order(id: $id) {{ agreements(first: $first, after: $after) {{
    nodes {{ id happenedAt reason sales(first: 20) {{
      nodes {{ actionType lineType quantity totalAmount {_MONEY} totalTaxAmount {_MONEY}
               ... on ProductSale {{ lineItem {{ id }} }} ... on GiftCardSale {{ lineItem {{ id }} }}
               ... on TipSale {{ lineItem {{ id }} }} }}
      {_PAGE} }} }} {_PAGE} }} }} }}"""
LEVELS = f"""query Levels($id: ID!, $query: String, $names: [String!]!, $first: Int!, $after: String) {{
  location(id: $id) {{ inventoryLevels(first: $first, after: $after, query: $query) {{
    nodes {{ updatedAt quantities(names: $names) {{ name quantity }} item {{ id sku tracked duplicateSkuCount }} }}
    {_PAGE} }} }} }}"""
#: For a bulk operation: connections need no size there, and none may stand inside a list; so what fulfilments and
#: refunds are made of is asked for afterwards. A row that belongs to another is told by its id.
ORDERS_IN_BULK = f"""{{ orders(query: "%s") {{ edges {{ node {{ {_ORDER}
  agreements {{ edges {{ node {{ {_REASONS} }} }} }}
  shippingLines {{ edges {{ node {{ id {_FREIGHT} }} }} }} lineItems {{ edges {{ node {{ {_LINE} }} }} }} }} }} }} }}"""
# Rows of one object follow one another only where that is asked for (changelog of 2025-10-29, for 2026-01).
_RUN_BULK = """mutation Run($query: String!) { bulkOperationRunQuery(query: $query, groupObjects: true) {
  bulkOperation { id status } userErrors { field message } } }"""
_LOOK_BULK = """query Look($id: ID!) { node(id: $id) { ... on BulkOperation {
  id status errorCode objectCount url partialDataUrl } } }"""
_BUSY = ("already in progress", "already running", "limit")


class TooCostlyError(ConnectorError):
    """A query would cost more than one query may: ask for fewer rows."""


class CursorExpiredError(ConnectorError):
    """A page's cursor is no longer known: begin the pages anew."""


class BulkGoneError(ConnectorError):
    """The result of a bulk operation is not there any more: start another one."""


@dataclass(frozen=True, slots=True)
class Bulk:
    """How a bulk operation stands.

    Attributes:
        status: CREATED, RUNNING, COMPLETED, CANCELING, CANCELED, FAILED or EXPIRED.
        error: Why it failed.
        objects: How many it has found.
        url: Of its result; None: it has none, or found nothing.
    """

    status: str
    error: str
    objects: str
    url: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query gave, and Shopify's own time then (whole seconds; ours where it sent none)."""

    data: Mapping[str, Any]
    now: datetime


@dataclass(slots=True)
class _Bucket:
    """The points that are left, as far as we know; they come back by themselves."""

    maximum: float = 0.0
    available: float = 0.0
    restore: float = 50.0
    at: float = 0.0

    def wait_s(self, cost: float, now: float) -> float:
        """How long until a query of this cost is let through; 0 as long as nothing is known."""
        if not self.maximum:
            return 0.0
        available = min(self.maximum, self.available + (now - self.at) * self.restore)
        return max(0.0, (min(cost, self.maximum) - available) / self.restore)


class ShopifyClient:
    """One shop, one app. Lifecycle: any number of queries, one after another; `close` once.

    Args:
        settings: Where, and the token.
        clock: For the bucket, and where Shopify sends no time.
        transport: For tests: an app in place of the network.
        sleep: For tests.
    """

    def __init__(
        self,
        settings: ShopifySettings,
        clock: Clock,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings, self._clock, self._sleep = settings, clock, sleep
        self._bucket = _Bucket()
        self._costs: dict[str, float] = {}
        self._was_told_of_version = False
        limits = httpx.Limits(max_connections=4, max_keepalive_connections=2, keepalive_expiry=30)
        options: dict[str, Any] = {
            "transport": transport,
            "trust_env": False,
            "follow_redirects": False,
            "timeout": settings.timeout_s,
            "limits": limits,
        }
        self._http = httpx.AsyncClient(
            base_url=f"{settings.base_url}/admin/api/{settings.api_version}/",
            headers={"X-Shopify-Access-Token": settings.access_token.reveal(), "Accept": "application/json"},
            **options,
        )
        # Results of bulk operations lie with another company: the token does not go there.
        self._files = httpx.AsyncClient(**options)

    async def close(self) -> None:
        await self._http.aclose()
        await self._files.aclose()

    async def query(self, document: str, variables: Mapping[str, Any]) -> Answer:
        """Ask, waiting for points as Shopify says.

        Raises:
            RetriableError: Not now.
            FatalError: Never, without a person: token, scopes, a frozen version.
            TooCostlyError: Not so many rows at once.
            CursorExpiredError: `after` is not known any more.
        """
        for _ in range(THROTTLED_TRIES):
            wait_s = self._bucket.wait_s(self._costs.get(document, 0.0), self._clock.monotonic())
            if wait_s > 0:
                # With jitter: other apps and processes draw from other buckets, but ours may have two askers.
                await self._sleep(wait_s * (1 + random.random() / 10))  # noqa: S311 -- no secret
            body, now = await self._ask(document, variables)
            cost = self._note_cost(document, body)
            errors = body.get("errors")
            if not errors:
                data = body.get("data")
                if not isinstance(data, Mapping):
                    raise RetriableError("shopify: an answer without data")
                return Answer(data, now)
            if "THROTTLED" not in _codes(errors):
                raise _refused(errors)
            if not cost:
                await self._sleep(1.0)
        wait_s = self._bucket.wait_s(self._costs.get(document, 0.0), self._clock.monotonic())
        raise RetriableError("shopify: throttled", retry_after_s=wait_s or 1.0)

    async def _ask(self, document: str, variables: Mapping[str, Any]) -> tuple[Mapping[str, Any], datetime]:
        """Ask again where an answer got lost: a batch is a hundred queries, and would begin anew with each such loss."""
        for pause_s in LOST_PAUSES_S:
            try:
                return await self._post(document, variables)
            except RetriableError as error:
                if error.retry_after_s is not None:
                    raise
                await self._sleep(pause_s)
        return await self._post(document, variables)

    async def pages(
        self, document: str, variables: Mapping[str, Any], path: Sequence[str], first: int, *, after: str | None = None
    ) -> list[Any] | None:
        """All nodes of one connection, from a page on; None where what holds it is not there.

        A query that costs too much is asked for half as many rows.
        """
        nodes: list[Any] = []
        while True:
            try:
                answer = await self.query(document, {**variables, "first": first, "after": after})
            except TooCostlyError as error:
                if first <= 1:
                    raise FatalError("shopify: one row costs more than a query may; report this version") from error
                first = max(1, first // 2)
                continue
            page = page_of(answer.data, path)
            if page is None:
                return None
            nodes += page["nodes"]
            if not page["pageInfo"]["hasNextPage"]:
                return nodes
            after = next_page(page, after)

    # ---- bulk operations

    async def start_bulk(self, query: str) -> str:
        """Start a bulk operation and return its id; Shopify runs one at a time.

        Raises:
            RetriableError: One is running already.
            FatalError: Shopify refuses the query.
        """
        answer = await self.query(_RUN_BULK, {"query": query})
        run = answer.data.get("bulkOperationRunQuery") or {}
        if run.get("userErrors"):
            text = " ".join(str(each.get("message", "")) for each in run["userErrors"]).lower()
            if any(word in text for word in _BUSY):
                raise RetriableError("shopify: another bulk operation is running", retry_after_s=60.0)
            raise FatalError("shopify: refuses the bulk operation; report this version")
        return str(run["bulkOperation"]["id"])

    async def look_bulk(self, operation: str) -> Bulk:
        """How a bulk operation stands.

        Raises:
            BulkGoneError: Nobody knows it any more.
        """
        found = (await self.query(_LOOK_BULK, {"id": operation})).data.get("node")
        if not isinstance(found, Mapping) or "status" not in found:
            raise BulkGoneError("shopify: the bulk operation is gone")
        url = found.get("url")
        return Bulk(
            str(found["status"]),
            str(found.get("errorCode") or "")[:40],
            str(found.get("objectCount") or 0)[:20],
            str(url) if url else None,
        )

    async def bulk(self, url: str, *, start: int = 0) -> AsyncGenerator[tuple[dict[str, Any], int], None]:
        """The objects of a bulk operation's result, their children in them as lists by their type.

        Line by line: memory does not grow with the shop. With each comes the byte behind it, to go on from.

        Args:
            url: Where the result is.
            start: Go on from this byte.

        Raises:
            RetriableError: Not now.
            BulkGoneError: It is not there any more.
            FatalError: It is not what Shopify's documentation says.
        """
        current: dict[str, Any] | None = None
        owners: set[str] = set()
        async with aclosing(self._lines(url, start)) as lines:
            async for line, at, end in lines:
                row = _row(line)
                parent = row.pop("__parentId", None)
                if parent is None:
                    if current is not None:
                        yield current, at
                    current = row
                    owners = {str(row.get("id"))}
                elif parent in owners and current is not None:
                    kind = str(row.get("id", "")).removeprefix("gid://shopify/").partition("/")[0]
                    current.setdefault(kind, []).append(row)
                else:
                    raise FatalError("shopify: a bulk result whose rows are not grouped; report this version")
                start = end
        if current is not None:
            yield current, start

    async def _lines(self, url: str, start: int) -> AsyncGenerator[tuple[bytes, int, int], None]:
        """Lines, with where each begins and ends."""
        own = urlsplit(self._settings.base_url)
        if urlsplit(url).scheme != "https" and urlsplit(url).netloc != own.netloc:
            raise FatalError("shopify: the result of a bulk operation is not behind https://; report this version")
        # Bytes are counted: they must be those of the file.
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
        try:
            async with self._files.stream("GET", url, headers=headers) as response:
                if response.status_code == 416:
                    return
                if response.status_code in (400, 401, 403, 404, 410):
                    raise BulkGoneError(f"shopify: the bulk result answers {response.status_code}")
                if response.status_code not in (200, 206):
                    raise RetriableError(f"shopify: the bulk result answers {response.status_code}")
                # Who does not know ranges sends the file from its beginning.
                at, rest = (start if response.status_code == 206 else 0), b""
                async for chunk in response.aiter_bytes():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        end = at + len(line) + 1
                        if line.strip() and at >= start:
                            yield line, at, end
                        at = end
                    if len(rest) > MAX_LINE_BYTES:
                        raise FatalError("shopify: a line of a bulk result is too long; report this version")
                if rest.strip() and at >= start:
                    yield rest, at, at + len(rest)
        except httpx.HTTPError as error:
            raise RetriableError(f"shopify: {type(error).__name__}") from None

    # ---- one request

    async def _post(self, document: str, variables: Mapping[str, Any]) -> tuple[Mapping[str, Any], datetime]:
        try:
            content = json.dumps({"query": document, "variables": variables}).encode()
            async with self._http.stream(
                "POST", "graphql.json", content=content, headers={"Content-Type": "application/json"}
            ) as response:
                now = self._time_of(response)
                self._check_status(response)
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_ANSWER_BYTES:
                        raise RetriableError("shopify: an answer is too long")
        except httpx.HTTPError as error:
            # Its text may hold the URL; its class says what happened.
            raise RetriableError(f"shopify: {type(error).__name__}") from None
        found = _parse(bytes(body))
        if not isinstance(found, Mapping):
            raise RetriableError("shopify: an answer that is no object")
        return found, now

    def _time_of(self, response: httpx.Response) -> datetime:
        try:
            moment = parsedate_to_datetime(response.headers["date"])
        except (KeyError, ValueError):
            return self._clock.now()
        return moment if moment.tzinfo is not None else self._clock.now()

    def _check_status(self, response: httpx.Response) -> None:
        status = response.status_code
        served = response.headers.get("x-shopify-api-version")
        if served and served != self._settings.api_version and not self._was_told_of_version:
            self._was_told_of_version = True
            remedy = f"this version of ours asks for {self._settings.api_version}, which Shopify has retired"
            log.warning("api_version_differs", version=served[:10], remedy=remedy)
        if status == 200:
            return
        what = f"shopify: {self._settings.shop} answers {status}"
        match status:
            case 401:
                raise FatalError(f"{what}: the access token is wrong or was taken back; give it a new one")
            case 403:
                raise FatalError(f"{what}: the app lacks a scope; give it those of connectors/shopify/README.md")
            case 402 | 423:
                raise RetriableError(f"{what}: the shop is frozen or locked", retry_after_s=_PARKED_S)
            case 429:
                raise RetriableError(what, retry_after_s=_seconds(response.headers.get("retry-after")) or 2.0)
            case 430:
                raise RetriableError(f"{what}: refused as unsafe; ask Shopify", retry_after_s=60.0)
            case _ if status >= 500 or status in (408, 409):
                raise RetriableError(what, retry_after_s=_seconds(response.headers.get("retry-after")))
            case _:
                raise FatalError(f"{what}: shop, url or api_version is wrong; mend it")

    def _note_cost(self, document: str, body: Mapping[str, Any]) -> bool:
        """Learn from an answer what the query costs and what is left."""
        try:
            cost = body["extensions"]["cost"]
            status = cost["throttleStatus"]
            self._costs[document] = float(cost["requestedQueryCost"])
            self._bucket = _Bucket(
                float(status["maximumAvailable"]), float(status["currentlyAvailable"]), max(1.0, float(status["restoreRate"])),
                self._clock.monotonic(),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError):
            return False
        return True


def page_of(data: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any] | None:
    """The connection at a path; None where something before it is null.

    Raises:
        RetriableError: It has no nodes or page info.
    """
    found: Any = data
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
        if found is None:
            return None
    if not isinstance(found, Mapping):
        raise RetriableError(f"shopify: {path[-1]} is no connection")
    info = found.get("pageInfo")
    if not isinstance(found.get("nodes"), list) or not isinstance(info, Mapping) or "hasNextPage" not in info:
        raise RetriableError(f"shopify: {path[-1]} came without nodes and page info")
    return found


def next_page(page: Mapping[str, Any], after: str | None) -> str:
    """The cursor behind a page that is not the last.

    Args:
        page: What `page_of` gave.
        after: The cursor before it.

    Raises:
        RetriableError: It leads nowhere: we would read the same page for ever.
    """
    end = page["pageInfo"].get("endCursor")
    if not isinstance(end, str) or end == after:
        raise RetriableError("shopify: a page whose cursor leads to no other")
    return end


def id_of(row: object) -> str:
    """A row's id, by which more of it is asked for.

    Raises:
        RetriableError: It has none.
    """
    found = row.get("id") if isinstance(row, Mapping) else None
    if not isinstance(found, str):
        raise RetriableError("shopify: a row came without its id")
    return found


def _parse(body: bytes) -> object:
    try:
        found: object = json.loads(body, parse_float=exact, parse_int=whole)
    except (ValueError, RecursionError):
        raise RetriableError("shopify: an answer that is not JSON") from None
    if is_deep(found):
        raise RetriableError("shopify: an answer that is nested deeper than any query asks")
    return found


def _row(line: bytes) -> dict[str, Any]:
    found = _parse(line)
    if not isinstance(found, dict):
        raise RetriableError("shopify: a bulk result that is not its documentation's")
    return found


def _codes(errors: object) -> set[str]:
    if not isinstance(errors, list):
        return set()
    found = (each.get("extensions") for each in errors if isinstance(each, Mapping))
    return {str(each.get("code")) for each in found if isinstance(each, Mapping)}


def _refused(errors: object) -> ConnectorError:
    codes = _codes(errors)
    texts = (
        [str(each.get("message", "")) for each in errors if isinstance(each, Mapping)]
        if isinstance(errors, list)
        else []
    )
    if "MAX_COST_EXCEEDED" in codes:
        return TooCostlyError("shopify: the query costs too much")
    if "ACCESS_DENIED" in codes:
        found = (re.match(r"Access denied for (\w{1,60})", text) for text in texts)
        fields = ", ".join(sorted({each[1] for each in found if each}))
        what = f"access denied{f' to {fields}' if fields else ''}"
        return FatalError(f"shopify: {what}; give the app the scopes of connectors/shopify/README.md")
    if any("cursor" in text.lower() for text in texts):
        return CursorExpiredError("shopify: the page's cursor is not known any more")
    if codes & {"INTERNAL_SERVER_ERROR", "TIMEOUT", "SHOP_INACTIVE"} or not codes:
        return RetriableError(
            f"shopify: the query failed ({', '.join(sorted(code[:40] for code in codes)) or 'no code'})"
        )
    return FatalError(
        f"shopify: refuses a query ({', '.join(sorted(code[:40] for code in codes))}); report this version"
    )


def _seconds(text: str | None) -> float | None:
    """`Retry-After`, which Shopify writes with a point."""
    try:
        return min(3600.0, max(0.0, float(text))) if text else None
    except ValueError:
        return None

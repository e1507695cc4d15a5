"""Bulk operations: Shopify gathers rows into a file of JSON lines, which is read line by line."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from connectors.base.errors import FatalError, RetriableError
from connectors.base.http import HttpClient
from connectors.shopify.client import ShopifyClient, json_of
from connectors.shopify.errors import BulkGoneError
from connectors.shopify.queries import BULK_STATUS, RUN_BULK
from connectors.shopify.settings import ShopifySettings

MAX_LINE_BYTES = 4 * 1024 * 1024
_BUSY_WAIT_S = 60.0
_BUSY = ("already in progress", "already running", "limit")


@dataclass(frozen=True, slots=True)
class BulkOperation:
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


class BulkOperations:
    """A shop's bulk operations. Lifecycle: `start`, `look` until it is over, `rows`; `close` once.

    Args:
        client: Of the shop; it is not closed here.
        settings: The connector's.
        transport: For tests: an app in place of the network.
    """

    def __init__(
        self, client: ShopifyClient, settings: ShopifySettings, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._client, self._own_host = client, urlsplit(settings.base_url).netloc
        # Results lie with another company: the token does not go there.
        self._files = HttpClient("shopify", timeout_s=settings.timeout_s, transport=transport)

    async def close(self) -> None:
        await self._files.close()

    async def start(self, query: str) -> str:
        """Start a bulk operation and return its id; Shopify runs one at a time.

        Raises:
            RetriableError: One is running already.
            FatalError: Shopify refuses the query.
        """
        answer = await self._client.query(RUN_BULK, {"query": query})
        run = answer.data.get("bulkOperationRunQuery") or {}
        if run.get("userErrors"):
            text = " ".join(str(each.get("message", "")) for each in run["userErrors"]).lower()
            if any(word in text for word in _BUSY):
                raise RetriableError("shopify: another bulk operation is running", retry_after_s=_BUSY_WAIT_S)
            raise FatalError("shopify: refuses the bulk operation; report this version")
        return str(run["bulkOperation"]["id"])

    async def look(self, operation: str) -> BulkOperation:
        """How a bulk operation stands.

        Raises:
            BulkGoneError: Nobody knows it any more.
        """
        found = (await self._client.query(BULK_STATUS, {"id": operation})).data.get("node")
        if not isinstance(found, Mapping) or "status" not in found:
            raise BulkGoneError("shopify: the bulk operation is gone")
        url = found.get("url")
        return BulkOperation(
            str(found["status"]),
            str(found.get("errorCode") or "")[:40],
            str(found.get("objectCount") or 0)[:20],
            str(url) if url else None,
        )

    async def rows(self, url: str, *, start: int = 0) -> AsyncGenerator[tuple[dict[str, Any], int], None]:
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
        if urlsplit(url).scheme != "https" and urlsplit(url).netloc != self._own_host:
            raise FatalError("shopify: the result of a bulk operation is not behind https://; report this version")
        # Bytes are counted: they must be those of the file.
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
        async with self._files.stream("GET", url, what="the bulk result", headers=headers) as response:
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


def _row(line: bytes) -> dict[str, Any]:
    found = json_of(line)
    if not isinstance(found, dict):
        raise RetriableError("shopify: a bulk result that is not its documentation's")
    return found

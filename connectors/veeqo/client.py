"""Veeqo over httpx: one page at a time, never faster than its bucket drains."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from connectors.base.clock import Clock
from connectors.base.errors import FatalError, RetriableError
from connectors.base.json_numbers import exact, whole
from connectors.veeqo.settings import VeeqoSettings

#: 100 orders with their histories are about 2 MB; more than this is no page of Veeqo's.
MAX_BODY_BYTES = 64 * 1024 * 1024
#: Veeqo names no Retry-After; its bucket of 100 is empty enough for one more request after 0.2 s, for others' too in 1 s.
THROTTLED_S = 1.0
_UNEXPECTED_S = 30.0


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list.

    Attributes:
        rows: As JSON has them, numbers with a point as `Decimal`.
        at_ms: When Veeqo answered, by its own clock where it says so (whole seconds), else by ours; Unix time.
        total: How many rows the list has; None: it does not say.
        per_page: How many rows a page really has; None: it does not say.
    """

    rows: tuple[Any, ...]
    at_ms: int
    total: int | None
    per_page: int | None


class Bucket:
    """A leaky bucket: `burst` requests at once, `rate` a second after that. Nothing is held while it waits."""

    def __init__(self, rate: float, burst: int, clock: Clock) -> None:
        self._interval_s = 1.0 / rate
        self._room_s = (burst - 1) * self._interval_s
        self._clock = clock
        self._full_until = float("-inf")

    def take(self) -> float:
        """Take a place for one request and return how many seconds it has to wait."""
        now = self._clock.monotonic()
        start = max(now, self._full_until)
        self._full_until = start + self._interval_s
        return max(0.0, start - self._room_s - now)


class Client:
    """Reads lists of Veeqo. Life: `page` again and again, by one caller; `close` once."""

    def __init__(
        self, settings: VeeqoSettings, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._clock = clock
        self._bucket = Bucket(settings.requests_per_s, settings.burst, clock)
        self._http = httpx.AsyncClient(
            base_url=settings.url,
            headers=_credentials(settings),
            timeout=httpx.Timeout(30.0, connect=10.0),
            limits=httpx.Limits(max_connections=2, max_keepalive_connections=1),
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )

    async def page(self, path: str, params: Mapping[str, str | int]) -> Page:
        """Get one page of a list.

        Raises:
            RetriableError: Throttled, down, or not to be understood now.
            FatalError: Veeqo does not take the key.
        """
        wait_s = self._bucket.take()
        if wait_s:
            await asyncio.sleep(wait_s)
        try:
            async with self._http.stream("GET", path, params=dict(params)) as response:
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        raise RetriableError(f"veeqo: {path} answers more than {MAX_BODY_BYTES} bytes")
        except httpx.HTTPError as error:
            # Its text may quote the address asked for; the type says enough.
            raise RetriableError(f"veeqo: {path} did not answer ({type(error).__name__})") from None
        _check(path, response)
        return Page(
            rows=_rows(path, bytes(body)),
            at_ms=_milliseconds(_date_of(response) or self._clock.now()),
            total=_count(response, "x-total-count"),
            per_page=_count(response, "x-per-page"),
        )

    async def close(self) -> None:
        await self._http.aclose()


def _credentials(settings: VeeqoSettings) -> dict[str, str]:
    # Of its own, so that no frame of ours that raises has the key among its locals
    key = settings.api_key.reveal()
    return {"x-api-key": key} if settings.auth == "key" else {"authorization": f"Bearer {key}"}


def _check(path: str, response: httpx.Response) -> None:
    status = response.status_code
    if status == 200:
        return
    # Bodies may be HTML and may quote what they were asked; the status is all that is told.
    if status == 401:
        raise FatalError(
            "veeqo: the key is refused (401): it is wrong, or the account's payment is overdue; "
            "mend api_key or the account, then restart"
        )
    if status == 403:
        raise FatalError(
            f"veeqo: {path} is not allowed (403): the plan or the user's rights lack it; "
            "mend them, or take it out of reads, then restart"
        )
    if status == 429:
        raise RetriableError(f"veeqo: {path} is throttled (429)", retry_after_s=_retry_after_s(response) or THROTTLED_S)
    if status >= 500:
        raise RetriableError(f"veeqo: {path} is down ({status})", retry_after_s=_retry_after_s(response))
    raise RetriableError(
        f"veeqo: {path} answers {status}, which it never should; is url right?", retry_after_s=_UNEXPECTED_S
    )


def _rows(path: str, body: bytes) -> tuple[Any, ...]:
    try:
        found = json.loads(body.decode("utf-8"), parse_float=exact, parse_int=whole, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise RetriableError(f"veeqo: {path} answered something that is not JSON; a proxy?") from None
    if not isinstance(found, list):
        raise RetriableError(f"veeqo: {path} answered no list", retry_after_s=_UNEXPECTED_S)
    return tuple(found)


def _no_constant(_text: str) -> object:
    raise ValueError("NaN and Infinity are not JSON")


def _count(response: httpx.Response, name: str) -> int | None:
    text = response.headers.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _retry_after_s(response: httpx.Response) -> float | None:
    seconds = _count(response, "retry-after")
    return None if seconds is None else min(float(seconds), 3600.0)


def _date_of(response: httpx.Response) -> datetime | None:
    try:
        moment = parsedate_to_datetime(response.headers.get("date", ""))
    except (ValueError, IndexError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000

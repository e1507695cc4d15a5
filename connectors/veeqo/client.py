"""Veeqo over httpx: one page at a time, never faster than its bucket drains."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from connectors.base.clock import Clock
from connectors.base.errors import FatalError, RetriableError
from connectors.base.http import HttpAnswer, HttpClient, StatusRule, raise_for_status
from connectors.base.json_numbers import exact, whole
from connectors.base.log import milliseconds
from connectors.veeqo.settings import VeeqoSettings

#: 100 orders with their histories are about 2 MB; more than this is no page of Veeqo's.
MAX_BODY_BYTES = 64 * 1024 * 1024
#: Veeqo names no Retry-After; its bucket of 100 is empty enough for one more request after 0.2 s, for others' too in 1
#: s.
THROTTLED_S = 1.0
_NO_LIST_WAIT_S = 30.0
_RULES = {
    401: StatusRule(
        FatalError,
        "the key is refused: it is wrong, or the account's payment is overdue",
        "fix api_key or the account, then restart",
    ),
    403: StatusRule(
        FatalError, "the plan or the user's rights lack it", "add them, or take it out of reads, then restart"
    ),
    429: StatusRule(cause="it is throttled", wait_s=THROTTLED_S),
}


@dataclass(frozen=True, slots=True)
class VeeqoPage:
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


class LeakyBucket:
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


class VeeqoClient:
    """Reads lists of Veeqo. Lifecycle: `page` again and again, by one caller; `close` once."""

    def __init__(
        self, settings: VeeqoSettings, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._clock = clock
        self._bucket = LeakyBucket(settings.requests_per_s, settings.burst, clock)
        self._http = HttpClient(
            "veeqo",
            base_url=settings.url,
            headers=_credentials(settings),
            max_body_bytes=MAX_BODY_BYTES,
            transport=transport,
        )

    async def page(self, path: str, params: Mapping[str, str | int]) -> VeeqoPage:
        """Get one page of a list.

        Raises:
            RetriableError: Throttled, down, or not to be understood now.
            FatalError: Veeqo does not take the key.
        """
        wait_s = self._bucket.take()
        if wait_s:
            await asyncio.sleep(wait_s)
        answer = await self._http.get(path, params=params)
        raise_for_status(f"veeqo: {path}", answer, _RULES, self._clock.now())
        return VeeqoPage(
            rows=_rows(path, answer.body),
            at_ms=milliseconds(answer.date or self._clock.now()),
            total=_count(answer, "x-total-count"),
            per_page=_count(answer, "x-per-page"),
        )

    async def close(self) -> None:
        await self._http.close()


def _credentials(settings: VeeqoSettings) -> dict[str, str]:
    # Of its own, so that no frame of ours that raises has the key among its locals
    key = settings.api_key.reveal()
    return {"x-api-key": key} if settings.auth == "key" else {"authorization": f"Bearer {key}"}


def _rows(path: str, body: bytes) -> tuple[Any, ...]:
    try:
        found = json.loads(body.decode("utf-8"), parse_float=exact, parse_int=whole, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise RetriableError(f"veeqo: {path} answered something that is not JSON; a proxy?") from None
    if not isinstance(found, list):
        raise RetriableError(f"veeqo: {path} answered no list", retry_after_s=_NO_LIST_WAIT_S)
    return tuple(found)


def _no_constant(_text: str) -> object:
    raise ValueError("NaN and Infinity are not JSON")


def _count(answer: HttpAnswer, name: str) -> int | None:
    text = answer.headers.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None

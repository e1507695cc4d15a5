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


@dataclass(frozen=True, slots=True)
class VeeqoAnswer:
    """What Veeqo said of a write.

    Attributes:
        status: HTTP's, below 500.
        fields: The object that it answered with, or what it says is wrong; empty where it says nothing.
    """

    status: int
    fields: Mapping[str, Any]

    @property
    def is_done(self) -> bool:
        return self.status < 300

    @property
    def message(self) -> str:
        """Veeqo's words, where it refuses; they may quote what was sent."""
        found = next((self.fields[name] for name in ("error_messages", "error", "errors") if name in self.fields), "")
        return "; ".join(map(str, found)) if isinstance(found, list) else str(found)


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
    """Reads and writes Veeqo. Lifecycle: any of the calls again and again, by one caller; `close` once."""

    def __init__(
        self, settings: VeeqoSettings, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._clock = clock
        # A connector that also writes has two clients, for one bucket of Veeqo's.
        shares = 1 if settings.out is None else 2
        burst = max(1, settings.burst // shares)
        self._bucket = LeakyBucket(settings.requests_per_s / shares, burst, clock)
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
        await self._wait()
        answer = await self._http.get(path, params=params)
        raise_for_status(f"veeqo: {path}", answer, _RULES, self._clock.now())
        return VeeqoPage(
            rows=_rows(path, answer.body),
            at_ms=milliseconds(answer.date or self._clock.now()),
            total=_count(answer, "x-total-count"),
            per_page=_count(answer, "x-per-page"),
        )

    async def show(self, path: str) -> dict[str, Any] | None:
        """Get one object; None: there is none.

        Raises:
            RetriableError, FatalError: As `page`.
        """
        await self._wait()
        answer = await self._http.get(path)
        if answer.status == 404:
            return None
        raise_for_status(f"veeqo: {path}", answer, _RULES, self._clock.now())
        found = _object(answer.body)
        if found is None:
            raise RetriableError(f"veeqo: {path} answered no object; a proxy?", retry_after_s=_NO_LIST_WAIT_S)
        return found

    async def write(self, method: str, path: str, body: Mapping[str, Any]) -> VeeqoAnswer:
        """Change something.

        Raises:
            RetriableError: It was not done: throttled, or it never left.
            OutcomeUnknownError: It may have been. A 500 is also what an attribute that Veeqo does not know leads to.
            FatalError: Veeqo does not take the key, or the user may not write this.
        """
        await self._wait()
        # Money as texts, which Veeqo takes as well as numbers: nothing is rounded on the way.
        content = json.dumps(body, default=str).encode()
        headers = {"content-type": "application/json"}
        answer = await self._http.write(method, path, what=path, content=content, headers=headers)
        if answer.status in (401, 403, 429) or not 200 <= answer.status < 500:
            raise_for_status(f"veeqo: {path}", answer, _RULES, self._clock.now())
        return VeeqoAnswer(answer.status, _object(answer.body) or {})

    async def _wait(self) -> None:
        wait_s = self._bucket.take()
        if wait_s:
            await asyncio.sleep(wait_s)

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


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body.decode("utf-8"), parse_float=exact, parse_int=whole, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _no_constant(_text: str) -> object:
    raise ValueError("NaN and Infinity are not JSON")


def _count(answer: HttpAnswer, name: str) -> int | None:
    text = answer.headers.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None

"""HTTP as every vendor's client needs it: safe options, capped answers, errors by status, `Retry-After`.

A client of a vendor is made of an `HttpClient` and a table of `StatusRule`:

    _RULES = {401: StatusRule(FatalError, "the key is refused", "fix api_key"), 429: StatusRule(wait_s=30)}
    answer = await http.get("orders", params={"page": 1})
    raise_for_status("veeqo: orders", answer, _RULES, clock.now())

No error quotes an address, a body or a foreign exception: any of them may hold a key or personal data.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from connectors.base.errors import (
    ConnectorError,
    CredentialsRefusedError,
    FatalError,
    OutcomeUnknownError,
    RetriableError,
)

#: No page of any vendor comes near it: 100 orders with their histories are some 2 MB.
MAX_BODY_BYTES = 64 * 1024 * 1024
#: A vendor that asks us to wait longer is asked again after this: nobody would notice that it is back.
MAX_RETRY_AFTER_S = 3600.0
CONNECT_TIMEOUT_S = 10.0
#: For one whole answer: `timeout_s` alone would let a server send a byte now and then for ever.
ANSWER_DEADLINE_S = 600.0
#: httpx's errors of requests that did not leave; after any other nobody knows what the server did.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")

Params = Mapping[str, str | int]


class NoAnswerError(RetriableError):
    """There was no answer.

    Attributes:
        was_sent: Whether the request may have reached the server.
    """

    def __init__(self, message: str, *, was_sent: bool) -> None:
        super().__init__(message)
        self.was_sent = was_sent


class AnswerTooLargeError(RetriableError):
    """An answer has more bytes than any that we ask for; the rest of it was not read."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One answer, read to its end.

    Attributes:
        status: HTTP status.
        headers: By name, case-insensitive.
        body: As it is after content decoding.
    """

    status: int
    headers: httpx.Headers
    body: bytes = b""

    @property
    def date(self) -> datetime | None:
        """When it was made, by the server's own clock (whole seconds); aware UTC."""
        return http_date(self.headers.get("date"))


def http_date(text: str | None) -> datetime | None:
    """An HTTP date as aware UTC; None: it is none."""
    try:
        moment = parsedate_to_datetime(text or "")
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def retry_after_s(headers: httpx.Headers, now: datetime) -> float | None:
    """How long the server asked us to wait, at most `MAX_RETRY_AFTER_S`; None: it did not say.

    Args:
        headers: Of the answer. A date in `Retry-After` is compared with the answer's own `Date`, if it has one: the
            server's clock may differ from ours.
        now: Our time.
    """
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), MAX_RETRY_AFTER_S)
    moment = http_date(text)
    if moment is None:
        return None
    seconds = (moment - (http_date(headers.get("date")) or now)).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


@dataclass(frozen=True, slots=True)
class StatusRule:
    """What a status means.

    Attributes:
        error: What is raised.
        cause: What is wrong, for people; "": the status says it.
        remedy: What to do about it; "": nothing, it passes.
        wait_s: How long to wait where the answer does not say; None: as the caller's back-off says.
    """

    error: type[RetriableError] | type[FatalError] = RetriableError
    cause: str = ""
    remedy: str = ""
    wait_s: float | None = None


_UNEXPECTED = StatusRule(cause="which it never should", remedy="see that the configured address is right", wait_s=30.0)
_DEFAULTS: Mapping[int, StatusRule] = {429: StatusRule(), 5: StatusRule()}


def raise_for_status(what: str, answer: HttpAnswer, rules: Mapping[int, StatusRule], now: datetime) -> None:
    """Raise what a status other than 200 means.

    Args:
        what: Who was asked for what, as "veeqo: orders".
        answer: Its body is not looked at.
        rules: By status, or by its first digit. Without a row, 429 and 5xx are `RetriableError`, and so is every other
            one, half a minute later.
        now: Our time, see `retry_after_s`.

    Raises:
        ConnectorError: The one of the rule.
    """
    status = answer.status
    if status != 200:
        raise status_error(what, status, rules, retry_after_s(answer.headers, now))


def status_error(
    what: str, status: int, rules: Mapping[int, StatusRule], asked_s: float | None = None
) -> ConnectorError:
    """The error of a status, see `raise_for_status`; `asked_s` is what the server asked us to wait."""
    for table in (rules, _DEFAULTS):
        rule = table.get(status) or table.get(status // 100)
        if rule is not None:
            break
    else:
        rule = _UNEXPECTED
    cause = f", {rule.cause}" if rule.cause else ""
    text = f"{what} answered {status}{cause}{f'; {rule.remedy}' if rule.remedy else ''}"
    if issubclass(rule.error, RetriableError):
        return rule.error(text, retry_after_s=asked_s if asked_s is not None else rule.wait_s)
    return CredentialsRefusedError(text) if status in (401, 403) else rule.error(text)


class HttpClient:
    """One server. Redirects are not followed, the environment's proxies and credentials are not used.

    Lifecycle: `get`, `request` and `stream` any number of times; `close` once.

    Args:
        name: Of the connector or vendor; every error begins with it.
        base_url: Relative addresses start from it.
        headers: Of every request; may hold credentials.
        timeout_s: For connecting (at most 10 s) and for each piece of an answer.
        max_body_bytes: A larger answer is an `AnswerTooLargeError`.
        too_large_remedy: What to do about that.
        max_connections: At once.
        verify: TLS: the CA certificates that are trusted.
        transport: In place of the network: an app, or what records answers.
        wrap: Puts something between the client and the transport, as what adds a key to the address.
    """

    def __init__(
        self,
        name: str,
        *,
        base_url: str = "",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
        max_body_bytes: int = MAX_BODY_BYTES,
        too_large_remedy: str = "",
        max_connections: int = 2,
        verify: ssl.SSLContext | bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
        wrap: Callable[[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport] = lambda inner: inner,
    ) -> None:
        self._name, self._max_body_bytes, self._too_large_remedy = name, max_body_bytes, too_large_remedy
        limits = httpx.Limits(max_connections=max_connections, max_keepalive_connections=1, keepalive_expiry=30)
        inner = transport or httpx.AsyncHTTPTransport(verify=verify, limits=limits, trust_env=False)
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers=dict(headers or {}),
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
            follow_redirects=False,
            trust_env=False,
            transport=wrap(inner),
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r})"

    async def close(self) -> None:
        await self._client.aclose()

    async def get(
        self, url: str, *, what: str = "", params: Params | None = None, headers: Mapping[str, str] | None = None
    ) -> HttpAnswer:
        """`request` with GET; `what` is by default the address as given, which then must hold no secret."""
        return await self.request("GET", url, what=what or url, params=params, headers=headers)

    async def request(
        self,
        method: str,
        url: str,
        *,
        what: str,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> HttpAnswer:
        """Ask, and read the answer to its end, whatever its status.

        Args:
            method: GET, POST ...
            url: Absolute, or relative to `base_url`.
            what: Names it in errors.
            params: Added to the query.
            headers: Of this request alone.
            content: The body.

        Raises:
            AnswerTooLargeError: It has more than `max_body_bytes`.
            NoAnswerError: There was no answer, or not all of it in time.
        """
        try:
            async with (
                asyncio.timeout(ANSWER_DEADLINE_S),
                self.stream(method, url, what=what, params=params, headers=headers, content=content) as response,
            ):
                body = await read_capped(response, self._max_body_bytes)
        except TimeoutError:
            error = f"{self._name}: {what} did not answer in {ANSWER_DEADLINE_S:.0f} s"
            raise NoAnswerError(error, was_sent=True) from None
        if body is None:
            remedy = f"; {self._too_large_remedy}" if self._too_large_remedy else ""
            raise AnswerTooLargeError(f"{self._name}: {what} answers more than {self._max_body_bytes} bytes{remedy}")
        return HttpAnswer(response.status_code, response.headers, body)

    async def write(
        self,
        method: str,
        url: str,
        *,
        what: str,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> HttpAnswer:
        """`request` for what changes something at the server; a 5xx is no answer: it may have been done before.

        Raises:
            RetriableError: It never left.
            OutcomeUnknownError: It did, and what became of it is not known.
        """
        try:
            answer = await self.request(method, url, what=what, params=params, headers=headers, content=content)
        except NoAnswerError as error:
            if not error.was_sent:
                raise
            raise OutcomeUnknownError(str(error)) from None
        except AnswerTooLargeError as error:
            raise OutcomeUnknownError(str(error)) from None
        if answer.status >= 500:
            raise OutcomeUnknownError(f"{self._name}: {what} answered {answer.status}, and may have been done")
        return answer

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        what: str,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> AsyncGenerator[httpx.Response, None]:
        """Ask, and leave it to the caller to read the body, piece by piece; arguments and errors as of `request`."""
        target = httpx.URL(url)
        if params:
            target = target.copy_merge_params(dict(params))
        try:
            async with self._client.stream(method, target, headers=headers, content=content) as response:
                yield response
        except httpx.HTTPError as error:
            # By its class: its text may hold the address.
            was_sent = not isinstance(error, _NEVER_SENT)
            text = f"{self._name}: {what} did not answer ({type(error).__name__})"
            raise NoAnswerError(text, was_sent=was_sent) from None


async def read_capped(response: httpx.Response, max_bytes: int) -> bytes | None:
    """The body; None once it is clear that it has more than `max_bytes`."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > max_bytes:
            return None
    return bytes(body)

"""The hub over httpx: what happened between two moments, one request at a time.

The key has to stand in the query (reference section 1). It is put there below httpx, which writes the addresses that it
asks for into its log and its errors.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

import httpx

from connectors.base.errors import FatalError, RecordError, RetriableError
from connectors.base.json_numbers import is_deep
from connectors.base.settings import Secret
from connectors.seko.records import Message, messages
from connectors.seko.settings import SekoSettings, Service

#: A day of a busy facility is some 10 MB; more than this is no answer of the hub's.
MAX_ANSWER_BYTES = 64 * 1024 * 1024
#: The hub names no limit and no wait; it is not to be hurried.
THROTTLED_S = 30.0
REFUSED_S = 300.0
_NOTHING = re.compile(r"\bno\b.*\b(found|records?|data)\b|\bnot? found\b", re.IGNORECASE | re.DOTALL)


class ServiceError(RetriableError):
    """One service does not answer as documented; the others may."""


class _Keyed(httpx.AsyncBaseTransport):
    """Adds the key to each request on its way out; whoever made the request never sees it."""

    def __init__(self, inner: httpx.AsyncBaseTransport, name: str, key: Secret) -> None:
        self._inner, self._name, self._key = inner, name, key

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url.copy_add_param(self._name, self._key.reveal())
        keyed = httpx.Request(
            request.method, url, headers=request.headers, stream=request.stream, extensions=request.extensions
        )
        return await self._inner.handle_async_request(keyed)

    async def aclose(self) -> None:
        await self._inner.aclose()


class Client:
    """Lifecycle: `between` again and again, by one caller; `close` once.

    Args:
        settings: Where, and the key.
        transport: For tests: an app in place of the network.
        sleep: For tests.
    """

    def __init__(
        self,
        settings: SekoSettings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings, self._sleep = settings, sleep
        limits = httpx.Limits(max_connections=2, max_keepalive_connections=1)
        inner = transport or httpx.AsyncHTTPTransport(limits=limits, trust_env=False)
        key = settings.api_key or Secret("", "")
        self._http = httpx.AsyncClient(
            base_url=settings.url,
            headers={"accept": "application/json"},
            timeout=httpx.Timeout(settings.timeout_s, connect=min(10.0, settings.timeout_s)),
            follow_redirects=False,
            trust_env=False,
            transport=_Keyed(inner, settings.key_parameter, key),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def between(self, service: Service, since: datetime, until: datetime) -> tuple[Message, ...]:
        """What a service has of a time, of all facilities, in the hub's order; it knows no pages.

        Raises:
            RetriableError: Not now.
            ServiceError: The hub refuses this question, or has no such service.
            FatalError: The key is wrong.
        """
        found: list[Message] = []
        path = getattr(self._settings.paths, service).replace("{from}", _time(since)).replace("{to}", _time(until))
        for dc in self._settings.dc_codes or (None,):
            found += _messages(service, await self._get(service, path, {} if dc is None else {"dc": dc}))
        return tuple(found)

    async def _get(self, service: str, path: str, params: Mapping[str, str]) -> bytes:
        url = httpx.URL(path).copy_merge_params(dict(params))
        try:
            async with self._http.stream("GET", url) as response:
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_ANSWER_BYTES:
                        raise ServiceError(f"seko: {service} answers too much; make slice_s smaller")
        except httpx.HTTPError as error:
            # Its text may hold the address; its class says what happened.
            raise RetriableError(f"seko: {service} did not answer ({type(error).__name__})") from None
        _check(service, response)
        return bytes(body)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _check(service: str, response: httpx.Response) -> None:
    status = response.status_code
    if status == 200:
        return
    what = f"seko: {service} answers {status}"
    if status in (401, 403):
        raise FatalError(f"{what}: the key is wrong, or not allowed to read it; mend api_key, then restart")
    if status == 429 or status >= 500:
        raise RetriableError(what, retry_after_s=_retry_after_s(response) or THROTTLED_S)
    raise ServiceError(f"{what}; mend url, or paths.{service}", retry_after_s=REFUSED_S)


def _retry_after_s(response: httpx.Response) -> float | None:
    text = response.headers.get("retry-after", "")
    return min(float(text), 3600.0) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _messages(service: str, body: bytes) -> tuple[Message, ...]:
    """The answer's messages, once its envelope says that it is one: the HTTP status says nothing (reference section 2)."""
    try:
        # Numbers as their text, however long: each is checked where its record is.
        found = json.loads(body.decode("utf-8"), parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        raise RetriableError(f"seko: {service} answered something that is not JSON; a proxy?") from None
    if is_deep(found):
        raise ServiceError(f"seko: {service} answered something that is nested too deeply", retry_after_s=REFUSED_S)
    inner = found.get("Response", found) if isinstance(found, dict) else found
    status = inner.get("CallStatus") if isinstance(inner, dict) else None
    if status is None and isinstance(found, dict):
        status = found.get("CallStatus")
    if isinstance(status, dict) and str(status.get("Success")).casefold() != "true":
        if _NOTHING.search(str(status.get("Message", ""))):
            return ()
        # The message may quote what it was asked, and more; the code is all that is told.
        raise ServiceError(
            f"seko: {service} is refused with code {str(status.get('Code'))[:10]}; see iHub's activity screen",
            retry_after_s=REFUSED_S,
        )
    try:
        return messages(found)
    except RecordError as error:
        raise ServiceError(f"seko: {service}: {error}", retry_after_s=REFUSED_S) from None

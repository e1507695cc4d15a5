"""The hub over HTTP: what happened between two moments, one request at a time.

The key has to stand in the query: the hub reads no header for it (SEKO wiki, "Calling services"). It is put there below
httpx, which writes the addresses that it asks for into its log and its errors.
"""

import re
from dataclasses import replace
from datetime import UTC, datetime

import httpx

from connectors.base.clock import Clock
from connectors.base.errors import FatalError, RecordError, RetriableError
from connectors.base.http import HttpClient, StatusRule, raise_for_status
from connectors.base.json_numbers import NotJsonError, read_json
from connectors.base.settings import Secret
from connectors.seko.records import SekoMessage, messages
from connectors.seko.settings import SekoSettings, Service

#: The hub names no limit and no wait; it is not to be hurried.
THROTTLED_WAIT_S = 30.0
REFUSED_WAIT_S = 300.0
_NOTHING_FOUND = re.compile(r"\bno\b.*\b(found|records?|data)\b|\bnot? found\b", re.IGNORECASE | re.DOTALL)


class SekoServiceError(RetriableError):
    """One service does not answer as documented; the others may."""


WRONG_KEY = StatusRule(FatalError, "the key is wrong, or not allowed to read it", "fix api_key, then restart")
BUSY = StatusRule(wait_s=THROTTLED_WAIT_S)


class KeyedTransport(httpx.AsyncBaseTransport):
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


class SekoClient:
    """Lifecycle: `between` again and again, by one caller; `close` once.

    Args:
        settings: Where, and the key.
        clock: For dates in `Retry-After`.
        transport: In place of the network.
    """

    def __init__(self, settings: SekoSettings, clock: Clock, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._settings, self._clock = settings, clock
        key = settings.api_key or Secret("", "")
        self._http = HttpClient(
            "seko",
            base_url=settings.url,
            headers={"accept": "application/json"},
            timeout_s=settings.timeout_s,
            too_large_remedy="make slice_s smaller",
            transport=transport,
            wrap=lambda inner: KeyedTransport(inner, settings.key_parameter, key),
        )

    async def close(self) -> None:
        await self._http.close()

    async def between(self, service: Service, since: datetime, until: datetime) -> tuple[SekoMessage, ...]:
        """What a service has of a time, of all facilities, in the hub's order; it knows no pages.

        Raises:
            RetriableError: Not now.
            SekoServiceError: The hub refuses this question, or has no such service.
            FatalError: The key is wrong.
        """
        found: list[SekoMessage] = []
        path = getattr(self._settings.paths, service).replace("{from}", _time(since)).replace("{to}", _time(until))
        for dc in self._settings.dc_codes or (None,):
            refused = StatusRule(SekoServiceError, "", f"fix url, or paths.{service}", REFUSED_WAIT_S)
            rules = {401: WRONG_KEY, 403: WRONG_KEY, 429: BUSY, 3: refused, 4: refused, 5: BUSY}
            answer = await self._http.get(path, what=service, params={} if dc is None else {"dc": dc})
            raise_for_status(f"seko: {service}", answer, rules, self._clock.now())
            found += [replace(message, asked_dc=dc) for message in _messages(service, answer.body)]
        return tuple(found)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _messages(service: str, body: bytes) -> tuple[SekoMessage, ...]:
    """The answer's messages, once its envelope says that it is one: a refusal has the status 200 too."""
    try:
        # Codes of digits come as numbers, as from XML; each value is checked where its record is.
        found = read_json(body, numbers_as_text=True)
    except NotJsonError as error:
        raise RetriableError(f"seko: {service} answered something that {error}; a proxy?") from None
    inner = found.get("Response", found) if isinstance(found, dict) else found
    status = inner.get("CallStatus") if isinstance(inner, dict) else None
    if status is None and isinstance(found, dict):
        status = found.get("CallStatus")
    if isinstance(status, dict) and str(status.get("Success")).casefold() != "true":
        if _NOTHING_FOUND.search(str(status.get("Message", ""))):
            return ()
        # The message may quote what it was asked, and more; the code is all that is shown.
        raise SekoServiceError(
            f"seko: {service} is refused with code {str(status.get('Code'))[:10]}; see iHub's activity screen",
            retry_after_s=REFUSED_WAIT_S,
        )
    try:
        return messages(found)
    except RecordError as error:
        raise SekoServiceError(f"seko: {service}: {error}", retry_after_s=REFUSED_WAIT_S) from None

"""HTTP to one shop: signed or bearer GET requests, searches, and what a failure means."""

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urlsplit

import httpx
import structlog

from connectors.base.clock import Clock
from connectors.base.errors import FatalError, RetriableError
from connectors.base.settings import Secret
from connectors.magento.records import Listing, parse_listing
from connectors.magento.settings import MagentoSettings

log = structlog.get_logger(__name__)

Filter = tuple[str, str, str]
"""(field, condition, value)"""

#: 300 orders of 100 rows come to some 30 MB; what is larger is not a page of a shop.
MAX_BODY_BYTES = 64 * 1024 * 1024
#: A proxy that asks for more is asked again after this: nobody would see the shop come back.
MAX_RETRY_AFTER_S = 600.0
#: Signed requests may be off by some minutes; a clock that is off by less is not why one was refused.
_SKEW_S = 30.0
_CONNECT_S = 10.0
_ACL = re.compile(r"[A-Za-z0-9_:, ]{1,200}")


def search_params(
    groups: Sequence[Sequence[Filter]], sort: Sequence[str], page_size: int, page: int = 1
) -> list[tuple[str, str]]:
    """A `searchCriteria` query; groups are AND-ed, filters inside one OR-ed (reference section 2)."""
    params: list[tuple[str, str]] = []
    for g, group in enumerate(groups):
        for f, (field, condition, value) in enumerate(group):
            at = f"searchCriteria[filter_groups][{g}][filters][{f}]"
            params += [(f"{at}[field]", field), (f"{at}[value]", value), (f"{at}[condition_type]", condition)]
    for s, field in enumerate(sort):
        at = f"searchCriteria[sortOrders][{s}]"
        params += [(f"{at}[field]", field), (f"{at}[direction]", "ASC")]
    return [*params, ("searchCriteria[pageSize]", str(page_size)), ("searchCriteria[currentPage]", str(page))]


def encoded(text: str) -> str:
    """Percent-encoding as OAuth has it (RFC 5849 section 3.6): only unreserved characters stay."""
    return quote(text, safe="-._~")


def signature(method: str, url: str, params: Sequence[tuple[str, str]], consumer: str, token: str) -> str:
    """HMAC-SHA256 of the request (RFC 5849 section 3.4, with the hash that the shop wants since 2.4.4), in base64.

    Args:
        method: GET, POST ...
        url: Without a query.
        params: Of the query and of the header, not encoded, without the signature.
        consumer: The consumer's secret.
        token: The access token's secret.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    default = {"http": 80, "https": 443}.get(parts.scheme)
    authority = host if parts.port in (None, default) else f"{host}:{parts.port}"
    pairs = sorted((encoded(name), encoded(value)) for name, value in params)
    listed = "&".join(f"{name}={value}" for name, value in pairs)
    base = "&".join((method.upper(), encoded(f"{parts.scheme}://{authority}{parts.path}"), encoded(listed)))
    key = f"{encoded(consumer)}&{encoded(token)}"
    return base64.b64encode(hmac.new(key.encode(), base.encode(), hashlib.sha256).digest()).decode()


class MagentoClient:
    """One shop.

    Lifecycle: `search` as often as wanted; `close` once.

    Args:
        name: The connector's, for messages.
        settings: Where, and as whom.
        clock: Signs the time.
        transport: Instead of the network.
        nonce: Makes a text that is never made twice.
    """

    def __init__(
        self,
        name: str,
        settings: MagentoSettings,
        clock: Clock,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        nonce: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._name = name
        self._settings = settings
        self._clock = clock
        self._nonce = nonce
        self._skew_s = 0.0  # how far the shop's clock is ahead of ours, once it has refused our time
        self._root = f"{settings.base_url}/rest/{settings.store_code}/V1"
        self._client = httpx.AsyncClient(
            transport=transport,
            timeout=httpx.Timeout(settings.timeout_s, connect=min(_CONNECT_S, settings.timeout_s)),
            limits=httpx.Limits(max_connections=2, max_keepalive_connections=1),
            trust_env=False,
            follow_redirects=False,
        )

    def __repr__(self) -> str:
        return f"MagentoClient({self._name!r})"

    async def close(self) -> None:
        await self._client.aclose()

    async def search(
        self, path: str, groups: Sequence[Sequence[Filter]], sort: Sequence[str], page_size: int
    ) -> Listing:
        """The first page of a search.

        Raises:
            RetriableError: The shop cannot answer now.
            FatalError: It never will: credentials, rights, address.
        """
        body = await self._get(path, search_params(groups, sort, page_size))
        try:
            return parse_listing(body)
        except ValueError:
            raise RetriableError(
                f"{self._name}: {path} answered with something that is no list; "
                "if it stays so, see what answers at base_url"
            ) from None

    async def _get(self, path: str, params: Sequence[tuple[str, str]]) -> bytes:
        url = f"{self._root}/{path}"
        query = "&".join(f"{encoded(name)}={encoded(value)}" for name, value in params)
        headers = {"Accept": "application/json", "Authorization": self._authorization("GET", url, params)}
        try:
            async with self._client.stream("GET", f"{url}?{query}", headers=headers) as response:
                body = await self._body(response, path)
        except (httpx.TransportError, httpx.DecodingError) as error:
            # Only the class: the text may have the address with what we asked.
            raise RetriableError(f"{self._name}: the shop did not answer ({type(error).__name__})") from None
        if response.status_code != 200:
            self._fail(path, response, body)
        return body

    async def _body(self, response: httpx.Response, path: str) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                raise FatalError(
                    f"{self._name}: an answer to {path} has more than {MAX_BODY_BYTES} bytes; "
                    f"set connectors.{self._name}.page_size lower"
                )
        return bytes(body)

    # ---- who we are

    def _authorization(self, method: str, url: str, params: Sequence[tuple[str, str]]) -> str:
        settings = self._settings
        if settings.auth == "bearer":
            return f"Bearer {_revealed(settings.token)}"
        oauth = {
            "oauth_consumer_key": _revealed(settings.consumer_key),
            "oauth_nonce": self._nonce(),
            "oauth_signature_method": "HMAC-SHA256",
            "oauth_timestamp": str(int(self._clock.now().timestamp() + self._skew_s)),
            "oauth_token": _revealed(settings.access_token),
            "oauth_version": "1.0",
        }
        oauth["oauth_signature"] = signature(
            method, url, [*params, *oauth.items()],
            _revealed(settings.consumer_secret), _revealed(settings.access_token_secret),
        )  # fmt: skip
        return "OAuth " + ", ".join(f'{encoded(name)}="{encoded(value)}"' for name, value in oauth.items())

    # ---- what went wrong

    def _fail(self, path: str, response: httpx.Response, body: bytes) -> None:
        status, problem = response.status_code, _problem(body)
        where = f"{self._name}: {path} answered {status}"
        if status == 429 or status >= 500:
            raise RetriableError(where, retry_after_s=self._retry_after_s(response))
        if status in (400, 401) and self._settings.auth == "oauth1":
            self._look_at_oauth(where, problem.text, response)
        if status == 401:
            raise FatalError(f"{where}, {self._why_401(problem.resources)}")
        if 300 <= status < 400:
            raise FatalError(f"{where}, a redirect; write the shop's final address as connectors.{self._name}.base_url")
        if not problem.is_json:
            # A firewall, or a deployment under way: the shop itself answers in JSON.
            raise RetriableError(
                f"{where}, not as a shop does; a firewall or proxy may be in the way", retry_after_s=60
            )
        remedy = {
            400: f"see connectors.{self._name}.page_size (the shop may allow less), or the shop's log",
            403: "the integration lacks a permission; see the connector's README",
            404: f"see connectors.{self._name}.base_url and store_code",
        }.get(status, "see the shop's log")
        raise FatalError(f"{where}; {remedy}")

    def _look_at_oauth(self, where: str, text: str, response: httpx.Response) -> None:
        """Raise for a problem of the signature. The shop tells it by OAuth's code or in words, by version."""
        if "nonce" in text:
            raise RetriableError(f"{where}, the nonce was used; the next request has another")
        if "timestamp" in text:
            theirs = _date(response.headers.get("Date"))
            skew_s = (theirs - self._clock.now()).total_seconds() if theirs else 0.0
            if abs(skew_s - self._skew_s) > _SKEW_S:
                log.warning("clock_skew", connector=self._name, skew_s=round(skew_s), remedy="set both clocks by NTP")
                self._skew_s = skew_s
                raise RetriableError(f"{where}, our time is refused; the next request is signed with the shop's")
            raise FatalError(f"{where}, our time is refused; set this machine's clock and the shop's by NTP")
        if any(word in text for word in ("signature", "consumer_key", "consumer key", "specified key", "token")):
            raise FatalError(
                f"{where}: the signature or a key is refused; see that all four credentials are those of one active "
                "integration (System > Integrations)"
            )

    def _why_401(self, resources: str) -> str:
        lacking = f" (it asks for {resources})" if resources else ""
        if self._settings.auth == "bearer":
            return (
                f"the token is refused{lacking}; since 2.4.4 an integration's token counts only with "
                "oauth/consumer/enable_integration_as_bearer = 1: set that, or auth = oauth1; else see its permissions"
            )
        return (
            f"the integration is refused{lacking}; see its permissions in the connector's README, and that it is active"
        )

    def _retry_after_s(self, response: httpx.Response) -> float | None:
        asked = response.headers.get("Retry-After", "")
        if re.fullmatch("[0-9]{1,9}", asked):
            return min(float(asked), MAX_RETRY_AFTER_S)
        moment = _date(asked)
        if moment is None:
            return None
        # The difference of two times of the shop, where it tells its own: its clock may be another.
        now = _date(response.headers.get("Date")) or self._clock.now()
        return min(max((moment - now).total_seconds(), 0.0), MAX_RETRY_AFTER_S)


class _Problem:
    """What an error's body says. `text` is for comparing only: it may hold what must not be shown."""

    def __init__(self, text: str, found: object) -> None:
        fields: Mapping[str, object] = found if isinstance(found, dict) else {}
        self.is_json = isinstance(found, dict)
        message, parameters = fields.get("message"), fields.get("parameters")
        self.text = (
            (message if isinstance(message, str) else "" if self.is_json else text[:500]).lower().replace("+", " ")
        )
        resources = parameters.get("resources") if isinstance(parameters, dict) else None
        self.resources = resources if isinstance(resources, str) and _ACL.fullmatch(resources) else ""


def _problem(body: bytes) -> _Problem:
    text = body[:65_536].decode("utf-8", "replace")
    try:
        return _Problem(text, json.loads(text))
    except (ValueError, RecursionError):
        return _Problem(text if text.startswith("oauth_problem") else "", None)


def _date(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text or "")
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _revealed(secret: Secret | None) -> str:
    return secret.reveal() if secret is not None else ""

"""HTTP to one shop: signed or bearer requests, searches, writes, and what a failure means."""

import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
import structlog

from connectors.base.clock import Clock
from connectors.base.errors import CredentialsRefusedError, FatalError, OutcomeUnknownError, RetriableError
from connectors.base.http import HttpAnswer, HttpClient, StatusRule, raise_for_status
from connectors.base.json_numbers import NotJsonError, read_json
from connectors.base.sending import ChannelRefusedError
from connectors.base.settings import Secret
from connectors.magento.listing import Listing, parse_listing
from connectors.magento.oauth import authorization, encoded, signature
from connectors.magento.settings import MagentoSettings

log = structlog.get_logger(__name__)

Filter = tuple[str, str, str]
"""(field, condition, value)"""

#: Signed requests may be off by some minutes; a clock that is off by less is not why one was refused.
_MIN_SKEW_S = 30.0
_RESOURCES = re.compile(r"[A-Za-z0-9_:, ]{1,200}")
_PROBLEM_BYTES = 65_536
#: By which the shop says that it does not do what it understood.
_REFUSALS = frozenset({400, 404, 409, 422})
_MAX_WORDS = 300
_PLACEHOLDER = re.compile(r"%(\w{1,40})")


class ShopRefusedError(ChannelRefusedError):
    """The shop does not do it, by its own words."""


def search_params(groups: Sequence[Sequence[Filter]], sort: Sequence[str], page_size: int) -> list[tuple[str, str]]:
    """The `searchCriteria` of a first page; groups are AND-ed, filters inside one OR-ed."""
    params: list[tuple[str, str]] = []
    for g, group in enumerate(groups):
        for f, (field, condition, value) in enumerate(group):
            at = f"searchCriteria[filter_groups][{g}][filters][{f}]"
            params += [(f"{at}[field]", field), (f"{at}[value]", value), (f"{at}[condition_type]", condition)]
    for s, field in enumerate(sort):
        at = f"searchCriteria[sortOrders][{s}]"
        params += [(f"{at}[field]", field), (f"{at}[direction]", "ASC")]
    return [*params, ("searchCriteria[pageSize]", str(page_size)), ("searchCriteria[currentPage]", "1")]


class MagentoClient:
    """One shop.

    Lifecycle: `search` and `write` as often as wanted; `close` once.

    Args:
        name: The connector's, for messages.
        settings: Where, and as whom.
        clock: Signs the time.
        transport: In place of the network.
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
        self._name, self._settings, self._clock, self._nonce = name, settings, clock, nonce
        self._skew_s = 0.0  # how far the shop's clock is ahead of ours, once it has refused our time
        self._http = HttpClient(
            name,
            timeout_s=settings.timeout_s,
            headers={"Accept": "application/json"},
            too_large_remedy=f"set connectors.{name}.page_size lower",
            transport=transport,
        )
        self._rules = self._status_rules()

    def __repr__(self) -> str:
        return f"MagentoClient({self._name!r})"

    async def close(self) -> None:
        await self._http.close()

    async def search(
        self,
        path: str,
        groups: Sequence[Sequence[Filter]],
        sort: Sequence[str],
        page_size: int,
        *,
        store: str | None = None,
    ) -> Listing:
        """The first page of a search; `store` is another store view than the configured one.

        Raises:
            RetriableError: The shop cannot answer now.
            FatalError: It never will: credentials, rights, address.
        """
        url, params = f"{self._root(store)}/{path}", search_params(groups, sort, page_size)
        query = "&".join(f"{encoded(name)}={encoded(value)}" for name, value in params)
        headers = {"Authorization": self._authorization("GET", url, params)}
        answer = await self._http.get(f"{url}?{query}", what=path, headers=headers)
        if answer.status != 200:
            self._fail(f"{self._name}: {path}", answer)
        try:
            return parse_listing(answer.body)
        except ValueError:
            raise RetriableError(
                f"{self._name}: {path} answered with something that is no list; "
                "if it stays so, see what answers at base_url"
            ) from None

    async def write(self, method: str, path: str, body: object = None) -> Any:
        """Change something, for all store views; what the shop answers.

        Raises:
            ShopRefusedError: The shop does not do it; nothing was done.
            RetriableError: Nothing was done.
            OutcomeUnknownError: It may have been done.
            FatalError: It never will be: credentials, rights, address.
        """
        url = f"{self._root('all')}/{path}"
        headers = {"Authorization": self._authorization(method, url, ()), "Content-Type": "application/json"}
        content = json.dumps(body).encode() if body is not None else None
        answer = await self._http.write(method, url, what=path, headers=headers, content=content)
        if answer.status != 200:
            problem = _problem_of(answer.body)
            is_about_us = "oauth" in problem.text or "any route" in problem.text
            if answer.status in _REFUSALS and problem.is_json and not is_about_us:
                raise ShopRefusedError(problem.words)
            self._fail(f"{self._name}: {path}", answer)
        try:
            return read_json(answer.body)
        except NotJsonError:
            raise OutcomeUnknownError(f"{self._name}: {path} was answered by something that is no JSON") from None

    def _root(self, store: str | None) -> str:
        return f"{self._settings.base_url}/rest/{store or self._settings.store_code}/V1"

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
        consumer, token = _revealed(settings.consumer_secret), _revealed(settings.access_token_secret)
        return authorization(oauth, signature(method, url, [*params, *oauth.items()], consumer, token))

    # ---- what went wrong

    def _status_rules(self) -> Mapping[int, StatusRule]:
        at = f"connectors.{self._name}"
        bearer = self._settings.auth == "bearer"
        return {
            3: StatusRule(FatalError, "a redirect", f"write the shop's final address as {at}.base_url"),
            400: StatusRule(FatalError, remedy=f"see {at}.page_size (the shop may allow less), or the shop's log"),
            401: StatusRule(
                FatalError,
                "the token is refused" if bearer else "the integration is refused",
                "since 2.4.4 an integration's token counts only with oauth/consumer/enable_integration_as_bearer = 1: "
                "set that, or auth = oauth1; else see its permissions"
                if bearer
                else "see its permissions in the connector's README, and that it is active",
            ),
            403: StatusRule(FatalError, remedy="the integration lacks a permission; see the connector's README"),
            404: StatusRule(FatalError, remedy=f"see {at}.base_url and store_code"),
            429: StatusRule(),
            4: StatusRule(FatalError, remedy="see the shop's log"),
        }

    def _fail(self, what: str, answer: HttpAnswer) -> None:
        problem, rules = _problem_of(answer.body), self._rules
        if answer.status in (400, 401) and self._settings.auth == "oauth1":
            self._check_oauth(f"{what} answered {answer.status}", problem, answer)
        if answer.status == 401 and problem.resources:
            rule = rules[401]
            rules = {401: StatusRule(rule.error, f"{rule.cause} (it asks for {problem.resources})", rule.remedy)}
        elif answer.status // 100 == 4 and answer.status not in (401, 429) and not problem.is_json:
            # The shop itself answers in JSON, unless a deployment is under way.
            cause = "not as a shop does"
            rules = {4: StatusRule(cause=cause, remedy="a firewall or proxy may be in the way", wait_s=60)}
        raise_for_status(what, answer, rules, self._clock.now())

    def _check_oauth(self, what: str, problem: "_Problem", answer: HttpAnswer) -> None:
        """Raise for a problem of the signature. The shop says it by OAuth's code or in words, by version."""
        text = problem.text
        if "nonce" in text:
            raise RetriableError(f"{what}, the nonce was used; the next request has another")
        if "timestamp" in text:
            skew_s = (answer.date - self._clock.now()).total_seconds() if answer.date else 0.0
            if abs(skew_s - self._skew_s) > _MIN_SKEW_S:
                log.warning("clock_skew", connector=self._name, skew_s=round(skew_s), remedy="set both clocks by NTP")
                self._skew_s = skew_s
                raise RetriableError(f"{what}, our time is refused; the next request is signed with the shop's")
            raise FatalError(f"{what}, our time is refused; set this machine's clock and the shop's by NTP")
        if any(word in text for word in ("signature", "consumer_key", "consumer key", "specified key", "token")):
            raise CredentialsRefusedError(
                f"{what}: the signature or a key is refused; see that all four credentials are those of one active "
                "integration (System > Integrations)"
            )


class _Problem:
    """What an error's body says. `text` is for comparing only: it may hold what must not be shown."""

    def __init__(self, text: str, found: object) -> None:
        fields: Mapping[str, object] = found if isinstance(found, dict) else {}
        self.is_json = isinstance(found, dict)
        self.words = _words_of(fields)
        message, parameters = fields.get("message"), fields.get("parameters")
        shown = message if isinstance(message, str) else "" if self.is_json else text[:500]
        self.text = shown.lower().replace("+", " ")
        resources = parameters.get("resources") if isinstance(parameters, dict) else None
        self.resources = resources if isinstance(resources, str) and _RESOURCES.fullmatch(resources) else ""


def _words_of(fields: Mapping[str, object]) -> str:
    """The message and those of its rows, with their parameters in them, as the shop's people would see them."""
    errors = fields.get("errors")
    rows = [fields, *(each for each in (errors if isinstance(errors, list) else ()) if isinstance(each, dict))]
    return "; ".join(filled(each) for each in rows)[:_MAX_WORDS] or "nothing that says why"


def filled(fields: Mapping[str, object]) -> str:
    """A message of the shop's with its parameters: `%1` or `%name`, whose names a list of them has lost."""
    text, parameters = str(fields.get("message") or ""), fields.get("parameters")
    by_name = parameters if isinstance(parameters, dict) else {}
    values = parameters if isinstance(parameters, list) else []
    names = list(dict.fromkeys(_PLACEHOLDER.findall(text)))
    for at, name in enumerate(names):
        place = int(name) - 1 if name.isdigit() else at
        value = by_name.get(name, values[place] if 0 <= place < len(values) else None)
        if value is not None:
            text = re.sub(rf"%{name}\b", lambda _, shown=str(value): shown, text)  # type: ignore[misc]  # bound
    return " ".join(text.split())


def _problem_of(body: bytes) -> _Problem:
    text = body[:_PROBLEM_BYTES].decode("utf-8", "replace")
    try:
        return _Problem(text, json.loads(text))
    except (ValueError, RecursionError):
        return _Problem(text if text.startswith("oauth_problem") else "", None)


def _revealed(secret: Secret | None) -> str:
    return secret.reveal() if secret is not None else ""

"""What iHub is told: one call at a time; success is in the body, never in the status."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from connectors.base.clock import Clock
from connectors.base.errors import OutcomeUnknownError, RetriableError
from connectors.base.http import HttpAnswer, HttpClient, StatusRule, raise_for_status
from connectors.base.json_numbers import NotJsonError, read_json
from connectors.seko.client import BUSY, REFUSED_WAIT_S, WRONG_KEY, KeyedTransport
from connectors.seko.settings import SekoOutSettings, SekoSettings

_NO_SERVICE = StatusRule(
    RetriableError, "so there is no such service", "fix out.url, or out.paths of the connector", REFUSED_WAIT_S
)
_RULES: Mapping[int, StatusRule] = {401: WRONG_KEY, 403: WRONG_KEY, 429: BUSY, 3: _NO_SERVICE, 4: _NO_SERVICE}


@dataclass(frozen=True, slots=True)
class HubAnswer:
    """What the hub said of a call.

    Attributes:
        is_success: Whether it was done.
        message: Its words where it was not; they may quote what was sent.
        fields: The envelope.
    """

    is_success: bool
    message: str
    fields: Mapping[str, Any]


class SekoHub:
    """Lifecycle: any of the calls, one at a time; `close` once.

    Every call raises RetriableError where nothing was done, OutcomeUnknownError where it may have been (it was asked to
    write), FatalError where the key is wrong.
    """

    def __init__(
        self,
        settings: SekoSettings,
        out: SekoOutSettings,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._out, self._clock = out, clock
        key = out.api_key or settings.api_key
        assert key is not None, "the settings' own check"  # noqa: S101
        self._http = HttpClient(
            "seko",
            base_url=out.url,
            headers={"accept": "application/json", "content-type": "application/json"},
            timeout_s=settings.timeout_s,
            transport=transport,
            wrap=lambda inner: KeyedTransport(inner, out.key_parameter, key),
        )

    async def close(self) -> None:
        await self._http.close()

    async def load_order(self, body: Mapping[str, Any]) -> HubAnswer:
        return await self._post(self._out.paths.order, "order", body)

    async def cancel_order(self, number: str, code: str) -> HubAnswer:
        path = self._out.paths.cancel.replace("{number}", quote(number, safe=""))
        return await self._post(path, "cancellation", None, {"reasonCode": code})

    async def submit_product(self, body: Mapping[str, Any]) -> HubAnswer:
        return await self._post(self._out.paths.product_submit, "product", body)

    async def update_product(self, body: Mapping[str, Any]) -> HubAnswer:
        return await self._post(self._out.paths.product_update, "product", body)

    async def has_order(self, guid: str) -> bool | None:
        """Whether an order that we named so is there and not cancelled; None: the hub cannot be asked so."""
        if not self._out.paths.status:
            return None
        answer = await self._http.get(self._out.paths.status.replace("{guid}", guid), what="order status")
        if answer.status == 404:
            return None
        raise_for_status("seko: order status", answer, _RULES, self._clock.now())
        found = _answer_of(answer)
        if found is None:
            return None
        return found.is_success and not _is_cancelled(found.fields)

    async def _post(
        self, path: str, what: str, body: Mapping[str, Any] | None, params: Mapping[str, str] | None = None
    ) -> HubAnswer:
        content = None
        if body is not None:
            content = json.dumps({"Request": body} if self._out.request_root else body).encode()
        answer = await self._http.write("POST", path, what=what, params=params, content=content)
        raise_for_status(f"seko: {what}", answer, _RULES, self._clock.now())
        found = _answer_of(answer)
        if found is None:
            raise OutcomeUnknownError(f"seko: {what} was answered by something that is not the hub's; a proxy?")
        return found


def _is_cancelled(value: object) -> bool:
    """Whether a field that is a status says so, however deep it stands."""
    if isinstance(value, list):
        return any(map(_is_cancelled, value))
    if not isinstance(value, dict):
        return False
    return any(
        _is_cancelled(each) or ("status" in name.casefold() and str(each).casefold().startswith("cancel"))
        for name, each in value.items()
    )


def _answer_of(answer: HttpAnswer) -> HubAnswer | None:
    """What an answer says; bare, or under the root of v1. None: it has no status of a call."""
    try:
        found = read_json(answer.body, numbers_as_text=True)
    except NotJsonError:
        return None
    inner = found.get("Response", found) if isinstance(found, dict) else None
    status = inner.get("CallStatus") if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or not isinstance(status, dict):
        return None
    return HubAnswer(str(status.get("Success")).casefold() == "true", str(status.get("Message") or ""), inner)

"""How the shop writes: answers, errors, JSON as PHP has it; and how it knows who asks."""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from urllib.parse import parse_qsl, quote, unquote

from lab.simulators.magento.faults import IntegrationCredentials
from lab.simulators.magento.prices import Fields
from lab.simulators.wire import Scope


@dataclass(eq=False)
class MagentoReply(Exception):  # noqa: N818 -- an answer, raised from wherever it is known
    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


def message(status: int, text: str, **parameters: str) -> MagentoReply:
    body: Fields = {"message": text}
    if parameters:
        body["parameters"] = parameters
    return MagentoReply(status, json.dumps(body).encode())


def html(status: int, *headers: tuple[str, str]) -> MagentoReply:
    return MagentoReply(
        status, b"<!doctype html><html><body>Please come back later</body></html>", "text/html", headers
    )


def encoded(value: object) -> bytes:
    return _text(value).encode()


def _text(value: object) -> str:
    """JSON as PHP writes it: no spaces, numbers without trailing zeros; keys that are null, or ours, are left out."""
    match value:
        case dict():
            kept = ((k, v) for k, v in value.items() if v is not None and not str(k).startswith("_"))
            return "{" + ",".join(f"{json.dumps(k)}:{_text(v)}" for k, v in kept) + "}"
        case list() | tuple():
            return "[" + ",".join(_text(each) for each in value) + "]"
        case Decimal():
            return format(value.normalize(), "f") if value else "0"
        case _:
            return json.dumps(value).replace("/", "\\/")


# ---- who asks


def not_authorized() -> MagentoReply:
    text = "The consumer isn't authorized to access %resources."
    return message(401, text, resources="Magento_Sales::actions_view")


@dataclass
class Authorization:
    """Bearer tokens and OAuth 1.0a, as strict as the shop."""

    credentials: IntegrationCredentials
    nonces: set[tuple[str, str]]

    def check(self, scope: Scope, query: str, now: datetime, *, bearer: bool) -> None:
        """Let a request pass.

        Raises:
            MagentoReply: It is refused.
        """
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        if scheme == "Bearer" and bearer and hmac.compare_digest(rest.encode(), self.credentials.token.encode()):
            return
        if scheme != "OAuth":
            raise not_authorized()
        given = {name: unquote(value) for name, value in re.findall(r'(oauth_[a-z_]+)="([^"]*)"', rest)}
        known = self.credentials
        if given.get("oauth_consumer_key") != known.consumer_key:
            raise message(401, "A consumer having the specified key does not exist")
        if given.get("oauth_token") != known.token:
            raise message(401, "Specified token does not exist")
        if given.get("oauth_signature_method") != "HMAC-SHA256":
            raise message(400, "oauth_problem=signature_method_rejected")
        stamp = given.get("oauth_timestamp", "")
        if not stamp.isdigit() or int(stamp) > now.timestamp() + 600:
            raise message(400, "Incorrect timestamp value in the oauth_timestamp parameter")
        nonce = (given.get("oauth_nonce", ""), stamp)
        if nonce in self.nonces:
            raise message(401, "The nonce is already being used by the consumer with ID %1")
        self.nonces.add(nonce)
        host = headers.get("host", "").lower()
        signed = given.pop("oauth_signature", "")
        if not hmac.compare_digest(
            self._signature(scope["method"], f"{scope['scheme']}://{host}{scope['path']}", query, given).encode(),
            signed.encode(),
        ):
            raise message(401, "The signature is invalid. Verify and try again.")

    def _signature(self, method: str, url: str, query: str, oauth: Mapping[str, str]) -> str:
        pairs = [*parse_qsl(query, keep_blank_values=True), *oauth.items()]
        names = sorted((quote(name, safe="~"), quote(value, safe="~")) for name, value in pairs)
        text = "&".join(f"{name}={value}" for name, value in names)
        base = f"{method}&{quote(url, safe='~')}&{quote(text, safe='~')}"
        key = f"{quote(self.credentials.consumer_secret, safe='~')}&{quote(self.credentials.token_secret, safe='~')}"
        return base64.b64encode(hmac.new(key.encode(), base.encode(), hashlib.sha256).digest()).decode()

"""JSON and the shapes of replies, in both versions of the API. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from json.encoder import encode_basestring_ascii
from typing import Any, Final, TypeAlias

from lab.simulators.sap_b1.state.messages import LedgerAnswer, RefusedError

Headers: TypeAlias = list[tuple[str, str]]
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\dT00:00:00Z\Z")
_V1_NAMES: Final = {
    "@odata.context": "odata.metadata",
    "@odata.etag": "odata.etag",
    "@odata.nextLink": "odata.nextLink",
    "@odata.count": "odata.count",
}
_PROXY_ERROR: Final = (
    '<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">\n<html><head>\n<title>{status} {title}</title>\n</head><body>\n'
    "<h1>{title}</h1>\n<p>The proxy server could not handle the request.</p>\n</body></html>\n"
)


@dataclass(frozen=True, slots=True)
class B1Reply:
    """An HTTP response."""

    status: int
    headers: Headers
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class HttpCall:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


def encode(value: Any) -> str:
    """JSON text; a Decimal is a number with exactly its digits.

    Raises:
        TypeError: for what JSON has no shape for.
    """
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{encode_basestring_ascii(str(k))}:{encode(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(encode(member) for member in value) + "]"
    raise TypeError(f"{type(value).__name__} has no JSON form")


def read_json(body: bytes) -> dict[str, Any]:
    try:
        loaded = json.loads(body, parse_float=Decimal)
    except ValueError:
        raise RefusedError(-1000, "Invalid JSON body") from None
    if not isinstance(loaded, dict):
        raise RefusedError(-1000, "Invalid JSON body")
    return loaded


def html_reply(status: int) -> B1Reply:
    title = {404: "Not Found", 405: "Method Not Allowed", 502: "Proxy Error", 503: "Service Unavailable"}[status]
    page = _PROXY_ERROR.format(status=status, title=title).encode()
    return B1Reply(status, [("Content-Type", "text/html; charset=iso-8859-1"), ("Server", "Apache/2.4.61")], page)


def json_reply(status: int, body: Any) -> B1Reply:
    return B1Reply(status, [("Content-Type", "application/json")], encode(body).encode())


def common_headers(version: str) -> Headers:
    headers = [("Server", "Apache/2.4.61"), ("Vary", "Accept-Encoding"), ("Keep-Alive", "timeout=5, max=100")]
    return headers if version == "v1" else [*headers, ("OData-Version", "4.0")]


def _root(version: str, call: HttpCall) -> str:
    return f"https://{call.headers.get('host', 'localhost')}/b1s/{version}/"


def headers_and_body(answer: LedgerAnswer, version: str, call: HttpCall) -> tuple[Headers, bytes]:
    """Headers and body of an answer in a version's shape."""
    root = _root(version, call)
    headers: Headers = []
    for name, value in answer.headers.items():
        headers.append((name, root + value if name == "Location" else value))
    if answer.headers.get("Content-Type") == "text/plain":
        return headers, str(answer.body).encode()
    if answer.body is None:
        return headers, b""
    body = answer.body
    if isinstance(body, Mapping) and "@odata.context" in body:
        body = {**body, "@odata.context": root + str(body["@odata.context"])}
    if version == "v1":
        body = _as_v1(body)
        headers.append(("Content-Type", "application/json;odata=minimalmetadata;charset=utf-8"))
    else:
        headers.append(("Content-Type", "application/json;odata.metadata=minimal;charset=utf-8"))
    return headers, encode(body).encode()


def _as_v1(value: Any) -> Any:
    if isinstance(value, Mapping):
        error = value.get("error")
        if len(value) == 1 and isinstance(error, Mapping):
            return {"error": {"code": int(error["code"]), "message": {"lang": "en-us", "value": error["message"]}}}
        shaped = {_V1_NAMES.get(name, name): _as_v1(member) for name, member in value.items()}
        if "odata.count" in shaped:
            shaped["odata.count"] = str(shaped["odata.count"])
        return shaped
    if isinstance(value, list):
        return [_as_v1(member) for member in value]
    if isinstance(value, str) and _DATE.match(value):
        return value[:10]
    return value


def answer_reply(answer: LedgerAnswer, version: str, call: HttpCall) -> B1Reply:
    headers, body = headers_and_body(answer, version, call)
    return B1Reply(answer.status, [*headers, *common_headers(version)], body)

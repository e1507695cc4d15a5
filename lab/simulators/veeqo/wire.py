"""Veeqo's JSON, out and in, and what it says to a request that it refuses."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from json.encoder import encode_basestring_ascii
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]


class VeeqoRefusedError(Exception):
    """A request that Veeqo refuses.

    Attributes:
        status: HTTP's.
        text: What `error_messages` says.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def dump(value: object) -> str:
    """JSON with decimals as numbers, exactly."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{encode_basestring_ascii(str(k))}:{dump(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(dump, value)) + "]"
    return format(value, "f") if isinstance(value, Decimal) else json.dumps(value)


def body_of(body: bytes) -> Json:
    try:
        found = json.loads(body, parse_float=Decimal)
    except ValueError:
        raise VeeqoRefusedError(400, "the body is not JSON") from None
    if not isinstance(found, dict):
        raise VeeqoRefusedError(400, "the body is not an object")
    return found


def object_in(body: Json, name: str, known: frozenset[str]) -> Json:
    found = body.get(name)
    if not isinstance(found, dict):
        raise VeeqoRefusedError(400, f"{name} is missing")
    if found.keys() - known:
        raise VeeqoRefusedError(500, "unknown attribute")  # as Veeqo does
    return found


def number_of(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise VeeqoRefusedError(404, "Not Found")
    return int(text)


def time_of(text: str) -> datetime:
    return datetime.fromisoformat(text)


def query_time(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        raise VeeqoRefusedError(400, "not a time as YYYY-MM-DD HH:MM:SS") from None

"""Bodies of deliveries as JSON: strangers send them, so everything about them is limited."""

import json
import re
from collections.abc import Callable
from typing import Any

from connectors.base.json_numbers import is_deep
from connectors.webhooks.hook import UnreadablePushError

MAX_DEPTH = 32
#: decimal(19,6) has 20 characters with its point; 40 leaves room for trailing noughts, and keeps int() cheap.
MAX_NUMBER_CHARS = 40
#: Values of one delivery. To read a value costs the same however short it is: a MiB of `1,1,1,...` took 0.4 s, real
#: messages with so many values take 25 ms (measured 2026-11-21), and all other deliveries wait for it.
MAX_VALUES = 50_000
_LONG_NUMBER = re.compile(rb"[0-9.eE+-]{%d}" % (MAX_NUMBER_CHARS + 1))


class _Number(str):
    """A number's exact text."""

    __slots__ = ()


def _number(text: str) -> str:
    if len(text) > MAX_NUMBER_CHARS:
        raise UnreadablePushError("a number is too long")
    return _Number(text)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise UnreadablePushError("an object has the same key twice")
    return found


def _constant(_text: str) -> object:
    raise UnreadablePushError("NaN and Infinity are not JSON")


def parse_json(body: bytes) -> object:
    """JSON with numbers as their exact text (a `str`), no key twice, about `MAX_VALUES` values, `MAX_DEPTH` deep.

    Raises:
        UnreadablePushError: It is something else.
    """
    if body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_VALUES:  # marks in texts count too
        raise UnreadablePushError("the body has too many values; send it in parts")
    number: Callable[[str], str] = _number if _LONG_NUMBER.search(body) else _Number
    try:
        text = body.decode("utf-8")
        found: object = json.loads(
            text, parse_int=number, parse_float=number, parse_constant=_constant, object_pairs_hook=_pairs
        )
    except UnreadablePushError:
        raise
    except (ValueError, RecursionError):
        raise UnreadablePushError("the body is not JSON in UTF-8") from None
    if is_deep(found, MAX_DEPTH):
        raise UnreadablePushError(f"the body is nested more than {MAX_DEPTH} deep")
    return found

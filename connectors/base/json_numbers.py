"""What vendors answer, as JSON: numbers exact, and nothing in it that makes a reader fall over.

A number that no field could hold stays a text, so that the check of its own field refuses its own record: `Decimal`
itself fails on an exponent of twenty digits, `int` on 4301 digits, and the page would go with them.
"""

import json
from decimal import Decimal, InvalidOperation

#: Ours to walk through: no vendor nests half as deep.
MAX_DEPTH = 64
_MAX_CHARS = 60
_MAX_EXPONENT = 100


def exact(text: str) -> Decimal | str:
    """A JSON number with a point or an exponent, for `json.loads(parse_float=exact)`."""
    if len(text) > _MAX_CHARS:
        return text
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    return number if abs(number.adjusted()) <= _MAX_EXPONENT else text


def whole(text: str) -> int | str:
    """A JSON number without either, for `json.loads(parse_int=whole)`."""
    return int(text) if len(text) <= _MAX_CHARS else text


class NotJsonError(ValueError):
    """A body is no JSON that we read; the message says why, without its values."""


def read_json(body: bytes, *, numbers_as_text: bool = False) -> object:
    """JSON in UTF-8, with numbers exact.

    Args:
        body: What a vendor answered.
        numbers_as_text: Whole numbers and others as their text, where codes may have become numbers on their way.

    Raises:
        NotJsonError: It is not JSON, or nested more than `MAX_DEPTH` deep.
    """
    try:
        found: object = json.loads(
            body.decode("utf-8"),
            parse_float=str if numbers_as_text else exact,
            parse_int=str if numbers_as_text else whole,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError):
        raise NotJsonError("is not JSON") from None
    if is_deep(found):
        raise NotJsonError(f"is nested more than {MAX_DEPTH} deep")
    return found


def _no_constant(_text: str) -> object:
    raise ValueError("NaN and Infinity are not JSON")


def is_deep(value: object, most: int = MAX_DEPTH) -> bool:
    """Whether JSON that has been read is nested more than `most` deep; found without recursion of our own."""
    level = [value]
    for _ in range(most):
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True

"""What every event must be before it leaves a connector (contract section 1), whatever its vendor's numbers came to.

A vendor's fields are checked one by one where they are read. What is reckoned of them (a price times a quantity, a number
that stands for an id) can still be no event: one that Kafka's codec refuses would stop its connector at that record.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from decimal import Decimal, localcontext
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from schemas.decimals import DecimalRangeError, unscaled
from schemas.events import FactEvent, OrderPlaced

MAX_IDENTITY_CHARS = 100
#: A vendor's clock may be wrong, and a day in another time zone may have begun; more than that is an error.
MAX_AHEAD = timedelta(days=1)
_IDENTITIES = frozenset(
    {
        "event_id",
        "order_id",
        "shipment_id",
        "refund_id",
        "line_id",
        "sku",
        "location",
        "to_location",
        "number",
        "serials",
    }
)
_Args = ParamSpec("_Args")
_R = TypeVar("_R")


def exactly(function: Callable[_Args, _R]) -> Callable[_Args, _R]:
    """Reckon with all digits that two numbers of 19 can come to, so that nothing is rounded or fails on the way."""

    @wraps(function)
    def reckon(*args: _Args.args, **kwargs: _Args.kwargs) -> _R:
        with localcontext(prec=80):
            return function(*args, **kwargs)

    return reckon


def fault_of(event: FactEvent) -> str | None:
    """Why an event is none: which field, and what is wrong with it, without its value; None: it is one."""
    if event.occurred_at > event.observed_at + MAX_AHEAD:
        return "occurred_at is more than a day ahead of our clock"
    if event.occurred_at.year < 1970:
        return "occurred_at is before 1970"  # it has no date in every time zone
    if isinstance(event, OrderPlaced) and len({line.line_id for line in event.lines}) < len(event.lines):
        return "two lines have the same line_id"
    return _fault_in(event, "")


def _fault_in(value: Any, at: str) -> str | None:
    for field in fields(value):
        found = getattr(value, field.name)
        if found is None:
            continue
        path = f"{at}.{field.name}" if at else field.name
        fault = None
        match found:
            case Decimal():
                fault = _fault_of_number(found, field.name, at)
            case str() if field.name in _IDENTITIES:
                fault = _fault_of_identity(found)
            case tuple():
                for index, each in enumerate(found):
                    if isinstance(each, str):
                        fault = _fault_of_identity(each) if field.name in _IDENTITIES else None
                    elif (inner := _fault_in(each, f"{path}[{index}]")) is not None:
                        return inner
            case _ if hasattr(found, "__dataclass_fields__"):
                inner = _fault_in(found, path)
                if inner is not None:
                    return inner
            case _:
                pass
        if fault is not None:
            return f"{path} {fault}"
    return None


def _fault_of_number(number: Decimal, name: str, at: str) -> str | None:
    try:
        unscaled(number)
    except DecimalRangeError:
        return "does not fit: at most 13 digits before and 6 after the point"
    if name == "quantity" and number <= 0:
        return "is not above 0"
    if name in ("unit_price", "discount") and at.startswith("lines") and number < 0:
        return "is below 0"
    return None


def _fault_of_identity(text: str) -> str | None:
    if not text.strip():
        return "is empty"
    if len(text) > MAX_IDENTITY_CHARS:
        return f"has more than {MAX_IDENTITY_CHARS} characters"
    if not text.isprintable() and any(unicodedata.category(each) in ("Cc", "Cs") for each in text):
        return "has a control character or half of a surrogate pair"
    return None

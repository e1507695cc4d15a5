"""What every event must be before it leaves a connector (contract section 1), whatever its vendor's numbers came to.

A vendor's fields are checked one by one where they are read. What is computed of them (a price times a quantity, a
number that stands for an id) can still be no event: one that Kafka's codec refuses would stop its connector at that
record.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation, localcontext
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from schemas.decimals import PRECISION, SCALE
from schemas.events import FactEvent, OrderLine, OrderPlaced

MAX_IDENTITY_CHARS = 100
#: A vendor's clock may be wrong, and a day in another time zone may have begun; more than that is an error.
MAX_AHEAD = timedelta(days=1)
IDENTITIES = frozenset(
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
_STEP = Decimal(1).scaleb(-SCALE)
_FITTING = Context(prec=PRECISION, traps=[Inexact, InvalidOperation])
_Plan = tuple[tuple[str, bool, str], ...]
_PLANS: dict[type[Any], _Plan] = {}
_Args = ParamSpec("_Args")
_R = TypeVar("_R")


def exactly(function: Callable[_Args, _R]) -> Callable[_Args, _R]:
    """Compute with all digits that two numbers of 19 can come to, so that nothing is rounded or fails on the way."""

    @wraps(function)
    def computed(*args: _Args.args, **kwargs: _Args.kwargs) -> _R:
        with localcontext(prec=80):
            return function(*args, **kwargs)

    return computed


def violation_of(event: FactEvent) -> str | None:
    """Why an event is none: which field, and what is wrong with it, without its value; None: it is one."""
    if event.occurred_at > event.observed_at + MAX_AHEAD:
        return "occurred_at is more than a day ahead of our clock"
    if event.occurred_at.year < 1970:
        return "occurred_at is before 1970"  # it has no date in every time zone
    if isinstance(event, OrderPlaced) and len({line.line_id for line in event.lines}) < len(event.lines):
        return "two lines have the same line_id"
    return _violation_in(event)


def _violation_in(value: Any) -> str | None:
    for name, is_identity, least in _PLANS.get(type(value)) or _plan(type(value)):
        found = getattr(value, name)
        violation = None
        if found is None:
            continue
        if type(found) is Decimal:
            violation = _violation_of_number(found, least)
        elif type(found) is str:
            violation = _violation_of_identity(found) if is_identity else None
        elif type(found) is tuple:
            for index, each in enumerate(found):
                inner = (
                    (_violation_of_identity(each) if is_identity else None)
                    if isinstance(each, str)
                    else _violation_in(each)
                )
                if inner is not None:
                    return f"{name}[{index}]{' ' if isinstance(each, str) else '.'}{inner}"
        elif hasattr(found, "__dataclass_fields__"):
            inner = _violation_in(found)
            if inner is not None:
                return f"{name}.{inner}"
        if violation is not None:
            return f"{name} {violation}"
    return None


def _plan(kind: type[Any]) -> _Plan:
    """The fields of a part of an event: name, whether it is an identity, what a number in it may not be below."""
    priced = kind is OrderLine
    _PLANS[kind] = tuple(
        (
            field.name,
            field.name in IDENTITIES,
            "above"
            if field.name == "quantity"
            else "zero"
            if priced and field.name in ("unit_price", "discount")
            else "",
        )
        for field in fields(kind)
    )
    return _PLANS[kind]


def _violation_of_number(number: Decimal, least: str) -> str | None:
    try:
        fits = number.quantize(_STEP, None, _FITTING).is_finite()
    except DecimalException:
        fits = False
    if not fits:
        return "does not fit: at most 13 digits before and 6 after the point"
    if least == "above" and number <= 0:
        return "is not above 0"
    return "is below 0" if least == "zero" and number < 0 else None


def _violation_of_identity(text: str) -> str | None:
    if not text.strip():
        return "is empty"
    if len(text) > MAX_IDENTITY_CHARS:
        return f"has more than {MAX_IDENTITY_CHARS} characters"
    if not text.isprintable() and any(unicodedata.category(each) in ("Cc", "Cs") for each in text):
        return "has a control character or half of a surrogate pair"
    return None

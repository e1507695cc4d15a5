"""What the records of vendors are made of: single values, checked exactly; no value ever gets into a message.

Each `connectors/<vendor>/records.py` says what its vendor's objects have; how a decimal, a time, an identity or a text
is read, and how a problem is worded, is here.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from connectors.base.errors import RecordError
from connectors.base.validate import MAX_IDENTITY_CHARS

#: decimal(19,6): 13 digits before the point, 6 after it.
LIMIT = Decimal(10) ** 13
STEP = Decimal("0.000001")
NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?")
#: The same without an exponent, for vendors that never write one.
PLAIN = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
#: Problems that a message names; more are counted.
MAX_NAMED_PROBLEMS = 5


class VendorRecord(BaseModel):
    """A vendor's object: unknown fields are ignored, and no input is shown."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


def invalid(message: str) -> PydanticCustomError:
    """What a check of a value raises; the text is shown behind the field's path."""
    # A template in braces would be filled in by pydantic; ours are finished text.
    return PydanticCustomError("value", "{message}", {"message": message})


# ---- texts


def encodable(text: str) -> str:
    """The text; invalid where UTF-8 cannot have it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise invalid("has half of a surrogate pair") from None
    return text


def a_text(value: object) -> str:
    """A text without what surrounds it; a number is one by its digits."""
    if value is None:
        raise invalid("is missing")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise invalid("must be a text")
    return encodable(str(value).strip())


def text_or_none(value: object) -> str | None:
    return None if value is None else a_text(value) or None


def identity_of(text: str) -> str:
    """The text; invalid where no identity can be so: contract section 1."""
    if not text.strip():
        raise invalid("must not be empty")
    if len(text) > MAX_IDENTITY_CHARS:
        raise invalid(f"has more than {MAX_IDENTITY_CHARS} characters")
    if any(unicodedata.category(each) == "Cc" for each in text):
        raise invalid("has a control character")
    return text


def an_identity(value: object) -> str:
    return identity_of(a_text(value))


def matching(pattern: str, what: str, text: Callable[[object], str] = a_text) -> Callable[[object], str]:
    """A check for texts of a form.

    Args:
        pattern: The whole text's.
        what: How a problem is worded: `must be ...`.
        text: How a text is read.
    """
    compiled = re.compile(pattern)

    def check(value: object) -> str:
        found = text(value)
        if not compiled.fullmatch(found):
            raise invalid(what)
        return found

    return check


# ---- numbers


def a_number(value: object, *, limit: Decimal = LIMIT, form: re.Pattern[str] = NUMBER) -> Decimal:
    """A number of any precision below the limit, from a JSON number or its text; never from a float."""
    if value is None:
        raise invalid("is missing")
    if isinstance(value, str) and form.fullmatch(value.strip()):
        value = Decimal(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise invalid("must be a number")
    number = Decimal(value)
    # Compared without arithmetic, which overflows on 1e9999999.
    if not number.is_finite() or number.copy_abs() >= limit:
        raise invalid("is too large")
    return number


def exact(number: Decimal) -> Decimal:
    """The number as decimal(19,6); invalid where it would have to be rounded."""
    rounded = number.quantize(STEP)
    if rounded != number:
        raise invalid("has more than 6 digits after the point")
    return rounded


def not_below_zero(number: Decimal) -> Decimal:
    if number < 0:
        raise invalid("must not be below 0")
    return number


def a_level(value: object) -> Decimal:
    """A count of units, exact; below half the limit, so that the difference of two of them is a decimal(19,6) too."""
    return exact(a_number(value, limit=LIMIT / 2))


def a_quantity(value: object) -> Decimal:
    return not_below_zero(a_level(value))


# ---- times


def a_moment(value: object, *, unmarked: tzinfo | None = None) -> datetime:
    """An ISO 8601 time, as UTC.

    Args:
        value: Its text, with its offset.
        unmarked: What holds where it has none; None: that is invalid.
    """
    text = a_text(value)
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None and unmarked is not None:
            moment = moment.replace(tzinfo=unmarked)
        if moment.tzinfo is not None:
            return of_our_time(moment.astimezone(UTC))
    except (ValueError, OverflowError) as error:
        raise error if isinstance(error, PydanticCustomError) else invalid("must be an ISO 8601 time") from None
    raise invalid("has no offset from UTC")


def of_our_time(moment: datetime) -> datetime:
    """The moment; invalid before 1970: it is no time of an event, and has no date in every time zone."""
    if moment.year < 1970:
        raise invalid("is before 1970")
    return moment


# ---- whole objects


def or_none(check: Callable[[object], Any]) -> PlainValidator:
    return PlainValidator(lambda value: None if value is None else check(value))


def listed(value: object) -> object:
    """A list, where a vendor writes none as null and one without its brackets."""
    if value is None:
        return ()
    return (value,) if isinstance(value, Mapping) else value


_WORDS = {
    "missing": "is missing",
    "too_short": "must not be empty",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}

_R = TypeVar("_R", bound=BaseModel)


def validate(model: type[_R], value: object, remedy: str = "", context: Mapping[str, object] | None = None) -> _R:
    """Check a value.

    Args:
        model: What it should be.
        value: As JSON has it.
        remedy: The message's last sentence: what to do; "": the caller says it.
        context: For the model's own checks.

    Raises:
        RecordError: With every problem, up to five.
    """
    try:
        return model.model_validate(value, context=context)
    except ValidationError as error:
        problems = [
            _worded(each) for each in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        more = f", and {len(problems) - MAX_NAMED_PROBLEMS} more" if len(problems) > MAX_NAMED_PROBLEMS else ""
        raise RecordError(f"{'; '.join(problems[:MAX_NAMED_PROBLEMS])}{more}{remedy and f'. {remedy}'}") from None


def _worded(error: ErrorDetails) -> str:
    path = ""
    for part in error["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f"{'.' if path else ''}{part}"
    return f"{path or 'the record'} {_WORDS.get(error['type'], error['msg'])}"

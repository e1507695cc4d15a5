"""Single values of a record, checked exactly. No value ever gets into a message."""

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated

from pydantic import PlainValidator
from pydantic_core import PydanticCustomError

from connectors.base.validate import MAX_IDENTITY_CHARS
from connectors.base.values import LIMIT, NUMBER, encodable, exact, invalid, not_below_zero, of_our_time, or_none
from connectors.base.values import matching as base_matching

_WHOLE = re.compile(r"[0-9]{1,40}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
#: Characters that take part in no line on a screen, though Unicode counts them as letters, marks or symbols: fillers,
#: joiners and variation selectors (Unicode 15, Default_Ignorable_Code_Point; and the blank Braille pattern).
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0") | frozenset(
    map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
)
_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})


def is_invisible(character: str) -> bool:
    """Whether two texts that differ in this character look the same, or may; the ordinary blank is visible."""
    return character in _UNSEEN or (character != " " and unicodedata.category(character) in _UNSEEN_CATEGORIES)


def invisible_in(text: str) -> str | None:
    """Which invisible character a text has, and where; None: none. Only that character is named."""
    if text.isascii() and text.isprintable():
        return None
    for position, character in enumerate(text, 1):
        if is_invisible(character):
            name = unicodedata.name(character, "a control character")
            return f"an invisible character at position {position}, U+{ord(character):04X} {name}"
    return None


def a_text(value: object) -> str:
    if value is None:
        raise invalid("is missing")
    if not isinstance(value, str):
        raise invalid("must be a text")
    return encodable(str(value))


def an_identity(value: object) -> str:
    text = a_text(value)
    if not text.strip():
        raise invalid("must not be empty")
    if len(text) > MAX_IDENTITY_CHARS:
        raise invalid(f"has more than {MAX_IDENTITY_CHARS} characters; use a shorter identity")
    if (found := invisible_in(text)) is not None:
        raise invalid(f"has {found}; take it out at the source")
    return text


def matching(pattern: str, what: str) -> Callable[[object], str]:
    """A check for texts of a form; nothing around them is taken away."""
    return base_matching(pattern, what, a_text)


def a_decimal(value: object) -> Decimal:
    if value is None:
        raise invalid("is missing")
    if not isinstance(value, str) or not NUMBER.fullmatch(value):
        raise invalid('must be a decimal, as "12.50"')
    number = Decimal(str(value))
    if abs(number) >= LIMIT:
        raise invalid("has more than 13 digits before the point")
    return exact(number)


def an_amount(value: object) -> Decimal:
    return not_below_zero(a_decimal(value))


def a_quantity(value: object) -> Decimal:
    number = a_decimal(value)
    if number <= 0:
        raise invalid("must be above 0")
    return number


def a_delta(value: object) -> Decimal:
    number = a_decimal(value)
    if number == 0:
        raise invalid("must not be 0")
    return number


def a_level(value: object) -> Decimal:
    number = a_decimal(value)
    # The difference of two levels must be a decimal(19,6) too.
    if abs(number) * 2 >= LIMIT:
        raise invalid("is too large for a level of stock")
    return number


def a_sequence(value: object) -> int:
    if value is None:
        raise invalid("is missing")
    if not isinstance(value, str) or not _WHOLE.fullmatch(value):
        raise invalid("must be a whole number that grows with every report of this sku and location")
    return int(value)


def a_moment(value: object) -> datetime:
    text = a_text(value)
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise invalid("has no offset from UTC; write it as 2026-11-21T09:30:00+00:00")
        return of_our_time(moment.astimezone(UTC))
    except (ValueError, OverflowError) as error:
        if isinstance(error, PydanticCustomError):
            raise
        raise invalid("must be an ISO 8601 time, as 2026-11-21T09:30:00+00:00") from None


def a_day(value: object) -> date:
    text = a_text(value)
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise invalid("must be a date, as 2026-11-21")


def a_flag(value: object) -> bool:
    if value is None:
        raise invalid("is missing")
    if not isinstance(value, bool):
        raise invalid("must be true or false")
    return value


Identity = Annotated[str, PlainValidator(an_identity)]
OptionalIdentity = Annotated[str | None, or_none(an_identity)]
Text = Annotated[str, PlainValidator(a_text)]
OptionalText = Annotated[str | None, or_none(a_text)]
Amount = Annotated[Decimal, PlainValidator(an_amount)]
OptionalAmount = Annotated[Decimal | None, or_none(an_amount)]
Signed = Annotated[Decimal, PlainValidator(a_decimal)]
OptionalSigned = Annotated[Decimal | None, or_none(a_decimal)]
Quantity = Annotated[Decimal, PlainValidator(a_quantity)]
Moment = Annotated[datetime, PlainValidator(a_moment)]
Flag = Annotated[bool, PlainValidator(a_flag)]
Currency = Annotated[str, PlainValidator(matching("[A-Z]{3}", "must be an ISO 4217 code, as GBP"))]
OptionalCountry = Annotated[str | None, or_none(matching("[A-Z]{2}", "must be an ISO 3166-1 alpha-2 code, as GB"))]

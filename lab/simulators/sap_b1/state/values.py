"""Numbers, money and dates as B1 reads and writes them. Pure."""

import re
from collections.abc import Mapping
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, Final

from lab.simulators.sap_b1.state.messages import RefusedError

ZERO: Final = Decimal(0)
CENT: Final = Decimal("0.01")
MICRO: Final = Decimal("0.000001")
HUNDRED: Final = Decimal(100)
_DATE: Final = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})(?:T[\d:.]+(?:Z|[+-]\d\d:\d\d)?)?\Z")


def read_number(value: object, name: str) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, float):
        raise TypeError(f"{name} is a float: quantities and money are Decimal, int or text")
    try:
        if isinstance(value, bool):
            raise TypeError  # noqa: TRY301 - one refusal for all that is no number
        number = Decimal(value)  # type: ignore[arg-type]  # what is no number is caught below
    except (InvalidOperation, TypeError, ValueError):
        raise RefusedError(-1000, f"Invalid number in property '{name}'") from None
    if not number.is_finite():
        raise RefusedError(-1000, f"Invalid number in property '{name}'")
    return number


def read_integer(value: object, name: str) -> int:
    number = read_number(value, name)
    if number != number.to_integral_value():
        raise RefusedError(-1000, f"Invalid number in property '{name}'")
    return int(number)


def round_money(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)


def read_day(value: object, name: str) -> date:
    match = _DATE.match(value) if isinstance(value, str) else None
    try:
        if match is None:
            raise ValueError  # noqa: TRY301 - a wrong pattern and a wrong day are one refusal
        return date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        raise RefusedError(-1000, f"Invalid date in property '{name}'") from None


def day_stamp(day: date) -> str:
    return f"{day.isoformat()}T00:00:00Z"


def column(table: str, name: str, line: int | None = None) -> str:
    return f"  [{table}.{name}]" + ("" if line is None else f"[line: {line + 1}]")


def utf16_units(text: str) -> int:
    """A text's length in an nvarchar column."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def plain(value: Any) -> Any:
    """JSON without numbers that are not counts: decimals as text, without exponent or trailing zeros."""
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, Mapping):
        return {name: plain(member) for name, member in value.items() if name[:1] != "_"}
    if isinstance(value, list):
        return [plain(member) for member in value]
    return value

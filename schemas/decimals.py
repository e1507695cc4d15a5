"""Quantities and money are decimal(19,6): in memory a `Decimal`, in sums an int of millionths, on the wire bytes.

Nothing here rounds: what does not fit is refused. The thread's decimal context is not used.
"""

from decimal import Context, Decimal, DecimalException, FloatOperation, Inexact, InvalidOperation, Overflow, Rounded
from functools import lru_cache

PRECISION = 19
SCALE = 6
LIMIT = 10**PRECISION  # the first millionth that does not fit
_UNIT = Decimal(1).scaleb(-SCALE)
_TRAPS = [FloatOperation, Inexact, InvalidOperation, Overflow]
_QUANTIZE = Context(prec=PRECISION, traps=_TRAPS)
_EXACT = Context(prec=PRECISION, traps=[*_TRAPS, Rounded])


class DecimalRangeError(ValueError):
    """A number has more than 13 digits before or 6 after the point."""


def unscaled(value: Decimal) -> int:
    """The value in millionths.

    Raises:
        DecimalRangeError: it is not a finite decimal(19,6).
    """
    try:
        return int(value.quantize(_UNIT, None, _QUANTIZE).scaleb(SCALE, _QUANTIZE))
    except (DecimalException, ValueError):  # int() of a NaN is a ValueError
        raise DecimalRangeError(
            f"{value!s:.60} does not fit: at most {PRECISION - SCALE} digits before and {SCALE} after the point"
        ) from None


@lru_cache(maxsize=8192)
def decimal_of(millionths: int) -> Decimal:
    """The opposite of `unscaled`.

    Raises:
        DecimalRangeError: it has more than 19 digits.
    """
    try:
        return _EXACT.multiply(millionths, _UNIT)
    except DecimalException:
        raise DecimalRangeError(f"a sum of more than {PRECISION} digits does not fit") from None


def encode_decimal(value: Decimal) -> bytes:
    """A value as Avro's bytes of a decimal.

    Raises:
        DecimalRangeError: it is not a finite decimal(19,6).
    """
    millionths = unscaled(value)
    return millionths.to_bytes(((millionths + (millionths < 0)).bit_length() >> 3) + 1, "big", signed=True)


def decode_unscaled(data: bytes) -> int:
    """What `encode_decimal` has written, in millionths.

    Raises:
        DecimalRangeError: it has more than 19 digits.
    """
    millionths = int.from_bytes(data, "big", signed=True) if len(data) <= 9 else LIMIT  # 9 bytes hold 19 digits
    if not -LIMIT < millionths < LIMIT:
        raise DecimalRangeError(f"a decimal of {len(data)} bytes does not fit")
    return millionths

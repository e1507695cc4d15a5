from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.decimals import (
    LIMIT,
    DecimalRangeError,
    decimal_of,
    decode_unscaled,
    encode_decimal,
    unscaled,
)

millionths = st.integers(1 - LIMIT, LIMIT - 1)


@given(millionths)
def test_all_forms_of_a_quantity_are_the_same_quantity(number: int) -> None:
    value = decimal_of(number)

    assert number == value * 10**6
    assert number == unscaled(value)
    assert number == decode_unscaled(encode_decimal(value))


@given(millionths)
def test_no_shorter_bytes_hold_the_same_quantity(number: int) -> None:
    size = len(encode_decimal(decimal_of(number)))

    assert size == 1 or not -(1 << 8 * (size - 1) - 1) <= number < 1 << 8 * (size - 1) - 1


@pytest.mark.parametrize(
    "text", ["0", "-0", "1E+12", "9999999999999.999999", "-9999999999999.999999", "0.000001", "1.5000000"]
)
def test_what_fits_is_taken_exactly(text: str) -> None:
    assert Decimal(text) == decimal_of(unscaled(Decimal(text)))


@pytest.mark.parametrize(
    "text",
    [
        "0.0000001",
        "1.1234567",
        "10000000000000",
        "-1E+13",
        "1E+999999",
        "1E-999999",
        "NaN",
        "sNaN",
        "Infinity",
        "-Infinity",
    ],
)
def test_what_does_not_fit_is_refused_and_never_rounded(text: str) -> None:
    with pytest.raises(DecimalRangeError, match="does not fit"):
        unscaled(Decimal(text))


def test_the_threads_decimal_context_changes_nothing() -> None:
    with localcontext() as context:
        context.prec = 3
        assert Decimal("9999999999999.999999") == decimal_of(unscaled(Decimal("9999999999999.999999")))


@pytest.mark.parametrize("number", [LIMIT, -LIMIT, 10**30])
def test_a_sum_over_19_digits_is_refused(number: int) -> None:
    with pytest.raises(DecimalRangeError):
        decimal_of(number)
    with pytest.raises(DecimalRangeError):
        decode_unscaled(number.to_bytes(20, "big", signed=True))


def test_no_bytes_are_zero_as_fastavro_has_it() -> None:
    assert decode_unscaled(b"") == 0

"""Whatever stands in an answer, it is read; what no field could hold stays a text."""

import json
from decimal import Decimal

import pytest

from connectors.base.json_numbers import MAX_DEPTH, exact, is_deep, whole


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1.50", Decimal("1.50")), ("1e5", Decimal("1e5")), ("-0.0", Decimal("-0.0")), ("12", 12), ("1e999999999", "1e999999999"),
        ("1e-99999999999999999999", "1e-99999999999999999999"), ("9" * 60, int("9" * 60)), ("9" * 5000, "9" * 5000),
        ("0." + "1" * 70, "0." + "1" * 70),
    ],
)  # fmt: skip
def test_numbers_are_exact_or_the_text_they_were(text, found):
    read = json.loads(text, parse_float=exact, parse_int=whole)
    assert (read, type(read)) == (found, type(found))


def test_depth_is_measured_without_falling_over():
    def nested(depth: int) -> object:
        value: object = 1
        for at in range(depth):
            value = [value] if at % 2 else {"a": value}
        return value

    assert not is_deep(nested(MAX_DEPTH))
    assert is_deep(nested(MAX_DEPTH + 1))
    assert (is_deep(nested(2), 2), is_deep(nested(3), 2)) == (False, True)
    assert is_deep(nested(100_000))
    assert not is_deep([[1], {"a": [2]}, "x"])

"""Whatever stands in an answer, it is read; what no field could hold stays a text."""

import json
from decimal import Decimal

import pytest

from connectors.base.json_numbers import MAX_DEPTH, NotJsonError, exact, is_deep, read_json, whole


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1.50", Decimal("1.50")),
        ("1e5", Decimal("1e5")),
        ("-0.0", Decimal("-0.0")),
        ("12", 12),
        ("1e999999999", "1e999999999"),
        ("1e-99999999999999999999", "1e-99999999999999999999"),
        ("9" * 60, int("9" * 60)),
        ("9" * 5000, "9" * 5000),
        ("0." + "1" * 70, "0." + "1" * 70),
    ],
)
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


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"<html>", "is not JSON"),
        (b'"\xff"', "is not JSON"),
        (b"[NaN]", "is not JSON"),
        (b"[-Infinity]", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[" * 70 + b"]" * 70, "is nested more than 64 deep"),
    ],
)
def test_a_body_that_is_no_json_says_why(body, why):
    for numbers_as_text in (False, True):
        with pytest.raises(NotJsonError, match=why):
            read_json(body, numbers_as_text=numbers_as_text)


def test_a_body_is_read_with_its_numbers():
    body = b'{"a": 1.50, "b": [7, null]}'
    assert read_json(body) == {"a": Decimal("1.50"), "b": [7, None]}
    assert read_json(body, numbers_as_text=True) == {"a": "1.50", "b": ["7", None]}

"""What vendors' records are made of: exact, aware, bounded; faults name fields and never values."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import pytest
from pydantic import PlainValidator
from pydantic_core import PydanticCustomError

from connectors.base.errors import RecordError
from connectors.base.values import (
    PLAIN,
    VendorRecord,
    a_level,
    a_moment,
    a_number,
    a_quantity,
    a_text,
    an_identity,
    listed,
    matching,
    or_none,
    validate,
)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("1.50", "1.5"),
        (7, "7"),
        (Decimal("0.1"), "0.1"),
        ("1e3", "1000"),
        (" -2 ", "-2"),
        ("9999999999999", "9999999999999"),
    ],
)
def test_numbers_are_exact(value, number):
    assert a_number(value) == Decimal(number)


@pytest.mark.parametrize(
    "value", [None, 0.1, True, "", "abc", "1,5", "NaN", "Infinity", "1e14", Decimal("1e9999999"), "1" * 41]
)
def test_what_is_no_number_or_too_large_is_a_fault(value):
    with pytest.raises(PydanticCustomError):
        a_number(value)


def test_an_exponent_is_a_fault_where_the_vendor_writes_none():
    with pytest.raises(PydanticCustomError):
        a_number("1e3", form=PLAIN)


def test_levels_are_half_the_limit_and_quantities_not_below_nought():
    assert a_level("-4999999999999.999999") == Decimal("-4999999999999.999999")
    for check, value in ((a_level, "5000000000000"), (a_level, "0.0000001"), (a_quantity, "-0.000001")):
        with pytest.raises(PydanticCustomError):
            check(value)


def test_moments_are_utc_and_have_their_offset_or_a_rule_for_none():
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    assert a_moment("2026-03-02T13:00:00+01:00") == noon
    assert a_moment("2026-03-02T12:00:00", unmarked=UTC) == noon
    for text in ("2026-03-02T12:00:00", "soon", "1969-12-31T23:00:00Z", "0001-01-01T00:00:00+14:00", None, 5.0):
        with pytest.raises(PydanticCustomError):
            a_moment(text)


@pytest.mark.parametrize("value", ["", "  ", "x" * 101, "a\nb", "\ud800", None, True, 1.5])
def test_what_can_be_no_identity_is_a_fault(value):
    with pytest.raises(PydanticCustomError):
        an_identity(value)


def test_texts_are_stripped_and_numbers_are_texts_by_their_digits():
    assert (a_text(" a "), a_text(7), an_identity(" 007 ")) == ("a", "7", "007")


class Line(VendorRecord):
    sku: Annotated[str, PlainValidator(an_identity)]
    currency: Annotated[str | None, or_none(matching("[A-Z]{3}", "must be an ISO 4217 code"))] = None


class Order(VendorRecord):
    id: Annotated[str, PlainValidator(an_identity)]
    lines: tuple[Line, ...]


def test_every_fault_is_told_by_its_path_up_to_five_and_without_values():
    rows = [{"sku": "can\x00ary", "currency": "canary"}, *({"sku": ""} for _ in range(5)), "canary"]
    with pytest.raises(RecordError) as caught:
        validate(Order, {"lines": rows, "extra": "canary"}, "Mend it")
    text = str(caught.value)
    assert text.startswith("id is missing; lines[0].sku has a control character; lines[0].currency must be an ISO 4217")
    assert text.endswith(", and 4 more. Mend it")
    assert "canary" not in text


def test_the_whole_may_be_wrong_too_and_without_a_remedy_none_is_told():
    with pytest.raises(RecordError, match=r"^the record must be an object$"):
        validate(Order, [])


def test_a_list_of_one_without_its_brackets_is_a_list():
    assert (listed(None), listed({"a": 1}), listed([1])) == ((), ({"a": 1},), [1])

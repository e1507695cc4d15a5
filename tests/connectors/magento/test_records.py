import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connectors.base.errors import RecordError
from connectors.magento.listing import ShopRow, parse_listing
from connectors.magento.records import CreditmemoRecord, OrderRecord, ShipmentRecord, validate
from tests.connectors.magento.conftest import NOW, settings_of

SETTINGS = settings_of()
MEMO = {
    "entity_id": 1,
    "increment_id": "000000001",
    "order_id": 2,
    "created_at": "2026-03-02 09:15:00",
    "order_currency_code": "GBP",
    "base_currency_code": "GBP",
    "grand_total": 5,
}


def row(fields):
    value = json.dumps(fields).encode()
    return parse_listing(b'{"items":[' + value + b'],"total_count":1}').rows[0]


def memo(**fields):
    return validate(CreditmemoRecord, row({**MEMO, **fields}), SETTINGS, NOW)


def test_each_row_keeps_the_bytes_that_came():
    body = b' {"search_criteria":{"x":[1]}, "items" : [ {"a":1.50 ,"b":"\xc3\xa9]\\""} ,7,null ] ,"total_count":3} '
    listing = parse_listing(body)
    assert [each.value for each in listing.rows] == [b'{"a":1.50 ,"b":"\xc3\xa9]\\""}', b"7", b"null"]
    assert listing.rows[0].found == {"a": Decimal("1.50"), "b": 'é]"'}
    assert listing.total == 3


@pytest.mark.parametrize("body", [b'{"total_count":0}', b'{"items":null,"total_count":0}', b'{"items":[]}'])
def test_an_empty_list_has_many_forms(body):
    assert parse_listing(body).rows == ()


BROKEN = [
    b"",
    b"{",
    b"{}",
    b"[]",
    b'{"items":[1,]}',
    b'{"items":[1]',
    b'{"items":[1]}x',
    b'{"items":[1],}',
    b'{"items" 1}',
    b'{"items":[1}]',
    b"\xff",
]


@pytest.mark.parametrize("body", BROKEN)
def test_what_is_no_list_is_refused(body):
    with pytest.raises(ValueError):
        parse_listing(body)


SCALARS = st.none() | st.booleans() | st.integers() | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@given(JSON, st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_any_row_comes_back_byte_for_byte(value, spaces):
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        text.decode()
    except UnicodeDecodeError:
        return
    gap = b" " * spaces
    listing = parse_listing(b'{"items":[' + gap + text + gap + b"," + text + b'],"total_count":2}')
    assert [each.value for each in listing.rows] == [text, text]


INNER = st.sampled_from(["item_id", "sku", "qty", "shipping", "address", "street", "shipping_assignments"])
VALUES = st.recursive(
    SCALARS | st.decimals(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(INNER, inner, max_size=3),
    max_leaves=10,
)
NAMES = st.sampled_from([*OrderRecord.model_fields, *ShipmentRecord.model_fields, "extension_attributes"])


@given(st.dictionaries(NAMES, VALUES))
@example({"customer_is_guest": Decimal("sNaN"), "entity_id": Decimal("sNaN"), "grand_total": Decimal("sNaN")})
@settings(max_examples=100, deadline=None)
def test_whatever_a_row_says_it_is_a_record_or_a_record_error(fields):
    for kind in (OrderRecord, ShipmentRecord, CreditmemoRecord):
        try:
            validate(kind, ShopRow(fields, b""), SETTINGS, NOW)
        except RecordError:
            continue


@pytest.mark.parametrize(
    ("number", "read"),
    [
        (5, "5"),
        ("5.2500", "5.25"),
        (Decimal("21.989999999999998"), "21.99"),
        (Decimal("0.10000000000000001"), "0.1"),
        (Decimal("-3.6"), "-3.6"),
        (None, "0"),
    ],
)
def test_amounts_are_exact_and_the_noise_of_floats_is_not_money(number, read):
    found = validate(CreditmemoRecord, ShopRow({**MEMO, "tax_amount": number}, b""), SETTINGS, NOW)
    assert found.tax_amount == Decimal(read)


@pytest.mark.parametrize(
    "number",
    [Decimal("1.2345678"), Decimal("1e99"), Decimal("1e999999"), "NaN", "1e3", True, [], Decimal("NaN"), 10**13],
)
def test_what_is_no_amount_of_money_is_refused(number):
    with pytest.raises(RecordError, match="tax_amount"):
        validate(CreditmemoRecord, ShopRow({**MEMO, "tax_amount": number}, b""), SETTINGS, NOW)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("created_at", "2026-03-02T09:15:00Z", "must be a time"),
        ("created_at", "0000-00-00 00:00:00", "must be a time"),
        ("created_at", "2026-12-24 00:00:00", "more than a day ahead"),
        ("order_id", 0, "whole number"),
        ("order_id", "1.5", "whole number"),
        ("order_id", True, "whole number"),
        ("increment_id", "", "empty"),
        ("increment_id", "a\nb", "control"),
        ("increment_id", "x" * 101, "100"),
        ("order_currency_code", "gbp", "ISO 4217"),
        ("grand_total", None, "missing"),
        ("items", "x", "must be a list"),
        ("items", [1], "must be an object"),
    ],
)
def test_a_problem_is_named_by_its_field(field, value, said):
    with pytest.raises(RecordError, match=said):
        memo(**{field: value})


def test_times_are_utc():
    assert memo().created_at == datetime(2026, 3, 2, 9, 15, tzinfo=UTC)


def test_php_writes_empty_objects_as_lists_and_lists_with_holes_as_objects():
    found = memo(extension_attributes=[], items={"1": {"order_item_id": 4, "qty": 1}})
    assert found.items[0].order_item_id == 4
    shipment = {
        "entity_id": 1,
        "increment_id": "1",
        "order_id": 2,
        "created_at": "2026-03-02 09:15:00",
        "items": [{"order_item_id": 1}],
    }
    assert (
        validate(
            ShipmentRecord, row({**shipment, "extension_attributes": [], "tracks": None}), SETTINGS, NOW
        ).source_code
        is None
    )

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from connectors.base.context import EventContext
from connectors.ims.errors import LineError
from connectors.ims.json_lines import parse
from connectors.ims.records import validate
from connectors.ims.translate import translate
from schemas.events import EVENT_TYPES

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
AT = "2026-11-21T09:30:00Z"
MOVE = {
    "type": "stock_adjusted",
    "event_id": "e1",
    "occurred_at": AT,
    "sku": "A/B#1",
    "location": "MAIN",
    "delta": "-2.50",
    "reason": "damaged",
}
ORDER = {
    "type": "order_placed",
    "order_id": "1001",
    "occurred_at": AT,
    "currency": "GBP",
    "customer": {"email": "canary@example.com", "guest": True},
    "ship_to": {"name": "Canary Person", "country": "GB"},
    "lines": [{"line_id": "1", "sku": "A", "quantity": "1.5", "unit_price": "10.00"}],
    "grand_total": "18.00",
}
CANCEL = {"type": "order_cancelled", "event_id": "c1", "order_id": "1001", "occurred_at": AT}
DISPATCH = {
    "type": "dispatch_confirmed",
    "shipment_id": "s1",
    "order_id": "1001",
    "occurred_at": AT,
    "location": "MAIN",
    "lines": [
        {
            "sku": "A",
            "quantity": "1",
            "batches": [{"number": "L1", "quantity": "1", "expires_on": "2027-01-31"}],
            "serials": ["x"],
        }
    ],
}
REFUND = {
    "type": "refund_issued",
    "refund_id": "r1",
    "occurred_at": AT,
    "currency": "GBP",
    "lines": [{"sku": "A", "quantity": "1", "amount": "10", "restock": False}],
    "adjustment": {"amount": "5"},
}


def made(line):
    text = line if isinstance(line, bytes) else json.dumps(line).encode()
    event_type, fields = parse(text)
    return translate(validate(event_type, fields, NOW), EventContext("shop", "acme", None, NOW))


def refused(line):
    with pytest.raises(LineError) as error:
        made(line)
    return error.value


def changed(base, path, value):
    copy = json.loads(json.dumps(base))
    *way, last = path.split(".")
    at = copy
    for part in way:
        at = at[int(part)] if part.isdigit() else at[part]
    if value is ...:
        del at[last]
    else:
        at[int(last) if last.isdigit() else last] = value
    return copy


@pytest.mark.parametrize("line", [MOVE, ORDER, CANCEL, DISPATCH, REFUND], ids=lambda line: line["type"])
def test_every_type_becomes_its_event_and_fits_its_schema(line, codec):
    event = made(line)
    assert type(event) is EVENT_TYPES[line["type"]]
    assert codec.decode(codec.encode(event), type(event)) == event


def test_identities_are_defaults_of_the_event_id_and_the_order_number():
    assert [made(line).event_id for line in (ORDER, DISPATCH, REFUND)] == ["1001", "s1", "r1"]
    assert made(ORDER).order_number == "1001"
    assert made(ORDER | {"event_id": "x", "order_number": "#7"}).event_id == "x"


@pytest.mark.parametrize("text", ["-2.5", '"-2.5"', "-2.50", '"-2.500000"', "-25e-1", '"-25E-1"'])
def test_a_decimal_is_its_exact_text_however_it_is_written(text):
    event = made(json.dumps(MOVE).replace('"-2.50"', text).encode())
    assert event.delta == Decimal("-2.5")
    assert event.digest == made(MOVE).digest


def test_a_json_number_never_goes_through_a_float():
    event = made(json.dumps(MOVE).replace('"-2.50"', "9007199254740.993001").encode())
    assert event.delta == Decimal("9007199254740.993001")


def test_an_identity_may_be_a_number_and_is_its_exact_text():
    assert made(json.dumps(CANCEL).replace('"1001"', "1001").encode()).order_id == "1001"


def test_null_is_absent_and_unknown_fields_are_ignored():
    assert (
        made(ORDER | {"note": None, "shipping": None, "novel": {"a": [1]}, "source": "x"}).digest == made(ORDER).digest
    )


def test_times_of_any_offset_become_utc():
    assert made(MOVE | {"occurred_at": "2026-11-21T10:30:00+01:00"}).occurred_at == datetime(
        2026, 11, 21, 9, 30, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"7",
        b"\xff{}",
        b"null",
        b'{"type": "order_placed"',
        b"{}",
        b'{"type": "order_plased"}',
        b'{"type": 7}',
        b'{"type": "order_placed", "a": NaN}',
        b'{"type": "order_placed", "a": -Infinity}',
        b"[" * 100_000,
        b'{"type": "order_placed", "type": "stock_adjusted"}',
        b'{"a":' * 50_000,
    ],
)
def test_what_is_not_json_or_has_no_known_type_is_unreadable(line):
    error = refused(line)
    assert (error.reason, error.event_type) == ("unreadable", None)


@pytest.mark.parametrize(
    ("base", "path", "value", "told"),
    [
        (MOVE, "delta", "0", "delta must not be 0"),
        (MOVE, "delta", "1.0000001", "6 digits after"),
        (MOVE, "delta", "10000000000000", "13 digits before"),
        (MOVE, "delta", "1_000", "delta must be a decimal"),
        (MOVE, "delta", "NaN", "delta must be a decimal"),
        (MOVE, "delta", "1,5", "delta must be a decimal"),
        (MOVE, "delta", "9" * 1_000_000, "delta must be a decimal"),
        (MOVE, "delta", True, "delta must be a decimal"),
        (MOVE, "delta", ..., "either delta"),
        (MOVE, "level", "5", "either delta"),
        (MOVE, "event_id", ..., "event_id is missing"),
        (MOVE, "event_id", None, "event_id is missing"),
        (MOVE, "sku", "x" * 101, "sku has more than 100"),
        (MOVE, "sku", " ", "sku must not be empty"),
        (MOVE, "sku", "a\nb", "control character"),
        (MOVE, "sku", "\ud800", "surrogate"),
        (MOVE, "reason", "because", "reason must be one of"),
        (MOVE, "reason", "transfer", "to_location"),
        (MOVE, "to_location", "B", "transfer"),
        (MOVE, "occurred_at", "2026-11-21T09:30:00", "no offset"),
        (MOVE, "occurred_at", "yesterday", "ISO 8601"),
        (MOVE, "occurred_at", "0001-01-01T00:00:00+14:00", "ISO 8601"),
        (MOVE, "occurred_at", "2026-11-22T12:00:01Z", "a day ahead"),
        (ORDER, "lines", [], "lines must not be empty"),
        (ORDER, "lines", ..., "lines is missing"),
        (ORDER, "lines", {}, "lines must be a list"),
        (ORDER, "lines.0", 7, "lines[0] must be an object"),
        (ORDER, "lines.0.quantity", "0", "lines[0].quantity must be above 0"),
        (ORDER, "lines.0.quantity", -1, "lines[0].quantity must be above 0"),
        (ORDER, "lines.0.unit_price", "-1", "must not be below 0"),
        (ORDER, "lines.0.line_id", "y" * 101, "more than 100"),
        (ORDER, "currency", "gbp", "ISO 4217"),
        (ORDER, "ship_to.country", "United Kingdom", "alpha-2"),
        (ORDER, "order_id", "z" * 101, "order_id has more than 100"),
        (CANCEL, "lines", [], "lines must not be empty"),
        (DISPATCH, "location", ..., "location is missing"),
        (DISPATCH, "lines.0.batches.0.expires_on", "31/01/2027", "must be a date"),
        (REFUND, "lines.0.restock", "no", "restock must be true or false"),
        (REFUND, "lines.0.restock", ..., "restock is missing"),
    ],
)
def test_anything_else_that_is_wrong_is_an_invalid_event_and_says_where(base, path, value, told):
    error = refused(changed(base, path, value))
    assert (error.reason, error.event_type) == ("invalid_event", base["type"])
    assert told in str(error)


def test_a_day_ahead_is_still_taken():
    assert made(MOVE | {"occurred_at": "2026-11-22T12:00:00Z"})


def test_an_order_tells_its_lines_apart():
    assert "same line_id" in str(refused(changed(ORDER, "lines", [*ORDER["lines"], *ORDER["lines"]])))


def test_a_refund_of_nothing_is_refused():
    empty = {key: value for key, value in REFUND.items() if key != "adjustment"} | {"lines": []}
    assert "neither lines nor" in str(refused(empty))


@pytest.mark.parametrize(
    ("delta", "to_location", "good"),
    [("-1", "B", True), ("1", "B", False), ("-1", None, False), ("-1", "MAIN", False)],
)
def test_a_transfer_loses_here_and_gains_elsewhere(delta, to_location, good):
    line = MOVE | {"reason": "transfer", "delta": delta, "to_location": to_location}
    if good:
        assert made(line).to_location == "B"
    else:
        assert "is a transfer without" in str(refused(line))


def test_a_level_needs_its_sequence_and_no_batches():
    base = {key: value for key, value in MOVE.items() if key != "delta"}
    level = made(base | {"level": 7, "sequence": 3, "note": "n" * 300})
    assert (level.level, level.sequence, len(level.note)) == (7, 3, 254)
    assert "without sequence" in str(refused(base | {"level": 7}))
    assert "whole number" in str(refused(base | {"level": 7, "sequence": "1.5"}))
    assert "batches or serials" in str(refused(base | {"level": 7, "sequence": 3, "serials": ["a"]}))


@pytest.mark.parametrize(
    "line", ['{"type": "stock_adjusted", "a": 1, "a": 2}', '{"type": "stock_adjusted", "x": [{"b": 1, "b": 1}]}']
)
def test_a_key_that_comes_twice_is_invalid(line):
    error = refused(line.encode())
    assert (error.reason, error.event_type) == ("invalid_event", "stock_adjusted")
    assert "twice" in str(error)


def test_nesting_has_an_end():
    deep = MOVE | {"x": json.loads("[" * 40 + "]" * 40)}
    assert "nested" in str(refused(deep))
    assert made(MOVE | {"x": json.loads("[" * 20 + "]" * 20)})


def test_a_message_holds_no_value_of_the_line():
    for path, value in (("ship_to.country", "Canary"), ("customer.guest", "canary@example.com"), ("lines", "canary")):
        assert "canary" not in str(refused(changed(ORDER, path, value))).lower()
    assert "canary" not in str(refused(b'{"type": "order_placed", "email": canary@example.com}')).lower()

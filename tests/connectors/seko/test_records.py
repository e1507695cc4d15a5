"""The door: whatever SEKO wraps its messages in, and however it spells their fields."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from connectors.base.errors import RecordError
from connectors.seko.records import SekoDispatch, check, messages
from connectors.webhooks.body import parse_json

DISPATCH = {
    "DispatchId": "d1",
    "SalesOrderNumber": "W-1",
    "DispatchDate": "2026-03-02T15:40:00Z",
    "SequenceNumber": 812,
}
LINE = {"LineNumber": 1, "ProductCode": "TEA-250", "Quantity": 2, "LotNo": "L2602"}


def read(found):
    return messages(parse_json(json.dumps(found).encode()))


def checked(entity=None, lines=None, **fields):
    row = {"Dispatch": {**DISPATCH, **(entity or {})}, "List": {"DispatchLineItem": [LINE] if lines is None else lines}}
    (message,) = read({"Responses": [{"Response": row}]})
    return check(message, fields)


ROW = {"Dispatch": DISPATCH, "List": {"DispatchLineItem": [LINE]}}


@pytest.mark.parametrize(
    "found",
    [
        {"Responses": [{"Response": ROW}]},
        {"Responses": {"Response": ROW}},
        {"responses": [ROW]},
        {"Response": ROW},
        [{"Response": ROW}],
        ROW,
        {"CallStatus": {"Success": True}, "Responses": [{"Response": ROW}]},
        {"Dispatch": DISPATCH, "List": {"DispatchLineItem": LINE}},
    ],
)
def test_a_message_is_found_in_every_wrapping(found):
    (message,) = read(found)
    assert (message.service, message.sequence) == ("dispatch", 812)
    assert check(message, {}) == checked()


@pytest.mark.parametrize("found", [{}, [], {"Responses": []}, {"Responses": {}}, {"CallStatus": {"Success": True}}])
def test_an_empty_wrapping_has_no_messages(found):
    assert read(found) == ()


@pytest.mark.parametrize("found", ["text", 5, None, True, [5]])
def test_what_can_be_no_message_is_refused(found):
    with pytest.raises(RecordError):
        read(found)


def test_other_spellings_and_cases_are_the_same_fields():
    line = {
        "lineNo": "1",
        "PRODUCTCODE": "TEA-250",
        "DispatchQuantity": "2.0",
        "LotNumber": "L2602",
        "BestBeforeDate": "2027-01-31T00:00:00Z",
    }
    found = checked(lines=[line])
    assert isinstance(found, SekoDispatch)
    assert found.lines[0].expires_on == date(2027, 1, 31)
    assert (found.lines[0].line_number, found.lines[0].quantity) == ("1", Decimal(2))


def test_a_field_that_settings_name_goes_before_those_we_know():
    found = checked(lines=[{**LINE, "Shipped": 1}], dispatch={"quantity": "Shipped", "occurred_at": "DispatchDate"})
    assert isinstance(found, SekoDispatch)
    assert found.lines[0].quantity == 1


def test_traces_of_xml_are_removed():
    found = checked({"TrackingNumber": {}, "Courier": {}}, {"ProductCode": 12345, "Quantity": "2", "LotNo": {}})
    assert isinstance(found, SekoDispatch)
    assert (found.carrier, found.tracking_numbers, found.lines[0].sku, found.lines[0].lot) == (None, (), "12345", None)


def test_leading_noughts_and_decimals_stay_exact():
    found = checked(lines=[{**LINE, "ProductCode": "007", "Quantity": "0.100000"}])
    assert isinstance(found, SekoDispatch)
    assert (found.lines[0].sku, found.lines[0].quantity) == ("007", Decimal("0.1"))


def test_times_without_a_mark_are_utc():
    assert checked({"DispatchDate": "2026-03-02T15:40:00"}).occurred_at == datetime(2026, 3, 2, 15, 40, tzinfo=UTC)
    assert checked({"DispatchDate": "2026-03-02T15:40:00+01:00"}).occurred_at == datetime(
        2026, 3, 2, 14, 40, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("entity", "line", "told"),
    [
        ({}, {"Quantity": -1}, "below 0"),
        ({}, {"Quantity": "1.0000001"}, "6 digits"),
        ({}, {"Quantity": "1e30"}, "too large"),
        ({}, {"Quantity": True}, "must be a number"),
        ({}, {"ProductCode": "x" * 101}, "more than 100"),
        ({}, {"ProductCode": "a\u0000b"}, "control character"),
        ({"DispatchDate": "soon"}, {}, "must be an ISO 8601 time"),
        ({"DispatchDate": None}, {}, "is missing"),
    ],
)
def test_a_fault_names_its_field_and_no_value(entity, line, told):
    with pytest.raises(RecordError) as caught:
        checked({**entity, "Note": "canary"}, [{**LINE, **line}])
    assert told in str(caught.value)
    assert not [value for value in ("canary", "soon", "1e30", "x" * 101) if value in str(caught.value)]


def test_serials_come_in_a_list_or_a_text():
    for given in (["S1", "S2"], "S1, S2", "S1;S2;S1"):
        found = checked(lines=[{**LINE, "SerialNumber": given}])
        assert isinstance(found, SekoDispatch)
        assert found.lines[0].serials == ("S1", "S2")


def test_unknown_and_silent_services_are_told_apart():
    assert [each.service for each in read([{"Parade": {}}, {"TrackingDetails": {"Courier": "DPD"}}])] == ["", "silent"]

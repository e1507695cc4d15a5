"""Files as shops and warehouses really send them: read rightly, or refused with a clear reason. Nothing in silence."""

import gzip
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from connectors.base.source import RefusedRecord, StockLevel
from connectors.ims.settings import ImsSettings
from connectors.ims.source import ImsSource
from schemas.events import StockAdjusted

FIELD = Path(__file__).parent / "field"
MOVES = {
    "files": "*.csv",
    "event": "stock_adjusted",
    "columns": {
        "event_id": "Ref",
        "sku": "Item",
        "location": "Whse",
        "delta": "Qty",
        "reason": "Why",
        "occurred_at": "When",
    },
    "values": {"reason": {"FND": "found"}},
    "timezone": "Europe/London",
}
DISPATCHES = {
    "files": "*.csv",
    "event": "dispatch_confirmed",
    "columns": {
        "shipment_id": "Despatch No",
        "order_id": "Order No",
        "location": "Site",
        "occurred_at": "Despatched",
        "carrier": "Carrier",
        "lines.line_id": "Line",
        "lines.sku": "SKU",
        "lines.quantity": "Qty",
    },
    "timezone": "Europe/London",
    "group_by": "Despatch No",
}
FEED = {
    "files": "*-csv-*.csv",
    "event": "stock_adjusted",
    "columns": {"sku": "SKU", "location": "Location", "level": "On hand (current)"},
    "templates": {
        "event_id": "{1}/{2}/{row}",
        "occurred_at": "{modified}",
        "sequence": "{modified_ms}",
        "reason": "count",
    },
}
HEADER = "Ref,Item,Whse,Qty,Why,When"
ROW = "R1,A,MAIN,5,FND,2026-11-20T10:00:00"


@pytest.fixture
def read(tmp_path, clock):
    """Read a file of `field/`, or content, by a mapping: the items; the file must be done with them."""

    async def read(content, mapping=MOVES, name="a.csv", **changes):
        if isinstance(content, str) and content.endswith(".csv"):
            name, content = content, (FIELD / content).read_bytes()
        content = content.encode() if isinstance(content, str) else content
        inbox = tmp_path / "in"
        inbox.mkdir(exist_ok=True)
        (inbox / name).write_bytes(content)
        os.utime(inbox / name, (1_763_632_800, 1_763_632_800))
        kind = "json" if name.endswith(".json") else "csv"
        table = {"kind": "ims", "company": "acme", "inbox": "in", kind: {"x": mapping | changes}}
        settings = ImsSettings.model_validate(table, context={"folder": tmp_path, "environ": {}})
        source = ImsSource("wms", settings, clock)
        items, cursor = [], None
        while not (batch := await source.read(cursor)).idle:
            items += batch.items
            cursor = batch.cursor
        await source.close()
        assert (inbox / "done" / name).exists()
        return items

    return read


def letters(items):
    assert all(isinstance(item, RefusedRecord) for item in items), items
    return [(item.number, item.error) for item in items]


# ---- a header that names a column twice


@pytest.mark.parametrize(
    ("file", "column"), [("11-csv-duplicate-header.csv", "Qty"), ("11b-csv-item-twice.csv", "Item")]
)
async def test_a_header_that_names_a_column_twice_refuses_every_row(read, file, column):
    ((number, error),) = letters(await read(file))
    assert number == 2
    assert f"the header has {column} twice" in error


@pytest.mark.parametrize(
    "twin", [" Qty", "Qty\t", "Qty\u00a0", "\u3000Qty", "Qty\u200b", "\ufeffQty", '"Qty "', "Qty\u2007"]
)
async def test_two_columns_are_the_same_whatever_white_space_is_around_them(read, twin):
    refusals = letters(await read(f"{HEADER},{twin}\n{ROW},-7\n{ROW.replace('R1', 'R2')},-8\n"))
    assert [number for number, _ in refusals] == [2, 3]
    assert all("the header has Qty twice" in error for _, error in refusals)


async def test_white_space_in_and_around_the_name_of_a_column_is_one_blank(read):
    mapping = MOVES | {"columns": MOVES["columns"] | {"delta": "Qty moved"}}
    (event,) = await read(f"\u00a0Ref ,Item,Whse,Qty\u00a0 moved,Why,When\n{ROW}\n", mapping)
    assert event.delta == 5


async def test_columns_without_a_name_may_be_several(read):
    (event,) = await read(f"{HEADER},,\n{ROW},,\n")
    assert event.delta == 5


async def test_a_header_that_names_a_column_twice_is_refused_even_if_no_row_follows(read):
    ((number, error),) = letters(await read(f"{HEADER},Qty\n"))
    assert number == 0
    assert "Qty twice" in error


# ---- a file from which nothing can be taken


async def test_lines_that_end_with_cr_alone_are_read(read):
    first, second = await read("12-csv-cr-only.csv")
    assert (first.event_id, first.sku, first.delta, second.event_id, second.sku) == ("R1", "A", 5, "R2", "B")


async def test_a_quoted_cell_of_a_file_with_cr_alone_may_run_over_lines(read):
    mapping = MOVES | {"columns": MOVES["columns"] | {"note": "Note"}}
    first, second = await read(f'{HEADER},Note\r{ROW},"two\rlines"\r{ROW.replace("R1", "R2")},x\r', mapping)
    assert (first.note, second.event_id) == ("two\rlines", "R2")


async def test_a_gzip_body_is_one_dead_letter_for_the_file(read):
    (letter,) = await read("12b-gz-named-csv.csv")
    assert (letter.number, letter.reason, letter.event_type) == (0, "unreadable", "stock_adjusted")
    assert letter.value == b"\x1f\x8b\x08\x00"
    assert "gzip" in letter.error
    assert letter.digest in letter.error


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (gzip.compress(f"{HEADER}\n{ROW}\n".encode()), "gzip"),
        (b"PK\x03\x04\x14\x00\x06\x00" + bytes(50), "ZIP"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(50), "Office"),
        (f"{HEADER}\n{ROW}\n".encode("utf-32"), "UTF-32"),
        (f"{HEADER}\n{ROW}\n".encode("utf-16-le"), "NUL"),
        (f"{HEADER}\n{ROW}\n".encode("utf-16-be"), "NUL"),
        (f"{HEADER}\n{ROW}\n".replace(",", ";").encode(), "none of the mapping's columns"),
        (b"Sku;Menge\nA;5\n", "none of the mapping's columns"),
        (f"{HEADER}\n{ROW}\n".encode("cp037"), "none of the mapping's columns"),
        (b"<html><body>502 Bad Gateway</body></html>\n", "none of the mapping's columns"),
        (f"{HEADER}\n".replace("Qty", "Quantity").encode(), "no column Qty"),
    ],
)
async def test_a_file_from_which_nothing_can_be_taken_is_one_dead_letter_with_its_digest(read, content, told):
    (letter,) = await read(content)
    assert isinstance(letter, RefusedRecord)
    assert (letter.number, letter.value) == (0, content)
    assert told in letter.error
    assert f"{len(content)} bytes, sha256 {letter.digest}" in letter.error


async def test_lines_above_the_header_that_are_all_of_the_file_are_one_dead_letter(read):
    ((number, error),) = letters(await read("Report\nof nothing\n", skip_lines=5))
    assert number == 0
    assert "no header" in error


@pytest.mark.parametrize("content", ["", "\n\n", f"{HEADER}\n", f"\ufeff{HEADER}\r\n\r\n"])
async def test_a_file_in_which_there_is_nothing_is_done(read, content):
    assert await read(content) == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("mapped", ["utf-8", "cp1252", "utf-16"])
async def test_the_mark_at_the_beginning_says_what_the_encoding_is(read, encoding, mapped):
    (event,) = await read(f"{HEADER}\n{ROW.replace(',A,', ',Größe,')}\n".encode(encoding), encoding=mapped)
    assert event.sku == "Größe"


async def test_utf_8_is_not_read_as_other_characters(read):
    content = f"{HEADER}\n{ROW.replace(',A,', ',Größe,')}\n"
    ((number, error),) = letters(await read(content.encode(), encoding="cp1252"))
    assert number == 2
    assert "the row is UTF-8" in error
    (event,) = await read(content.encode("cp1252"), encoding="cp1252")
    assert event.sku == "Größe"


async def test_json_lines_that_are_no_text_are_one_dead_letter(read):
    body = gzip.compress(b'{"type": "stock_adjusted"}\n' * 3)
    (letter,) = await read(body, name="a.jsonl")
    assert (letter.number, letter.reason, letter.event_type) == (0, "unreadable", None)


# ---- quotes


async def test_a_blank_before_a_quote_is_no_part_of_the_cell(read):
    (event,) = await read("16-csv-blank-before-quote.csv")
    assert event.sku == "A-1"


@pytest.mark.parametrize(
    ("cell", "sku"),
    [
        ('"A-1"', "A-1"),
        ('  "A-1"', "A-1"),
        (' "A,1"', "A,1"),
        ('"A""1"', 'A"1'),
        ('\t"A-1"', None),
        ('\u00a0"A-1"', None),
        ('\u200b"A-1"', None),
        ('"A-1" ', None),
        ('A"1', None),
        ("A-1'", "A-1'"),
        ('"A"1', None),
    ],
)
async def test_a_quote_that_is_not_around_the_whole_cell_never_gets_into_a_sku(read, cell, sku):
    (item,) = await read(f"{HEADER}\n{ROW.replace(',A,', f',{cell},')}\n")
    assert (item.sku if isinstance(item, StockAdjusted) else None) == sku


async def test_a_quote_mark_inside_a_text_is_only_a_character(read):
    mapping = MOVES | {"columns": MOVES["columns"] | {"note": "Note"}}
    (event,) = await read(f'{HEADER},Note\n{ROW},6" pipe\n', mapping)
    assert event.note == '6" pipe'


# ---- clock changes


async def test_times_that_a_clock_change_leaves_out_or_repeats_are_refused(read):
    twice, never = letters(await read("17-csv-dst.csv"))
    assert "exists twice in Europe/London" in twice[1]
    assert "does not exist in Europe/London" in never[1]


@pytest.mark.parametrize(("setting", "hour"), [("first", 0), ("second", 1)])
async def test_a_setting_says_which_of_two_times_is_meant(read, setting, hour):
    event, never = await read("17-csv-dst.csv", repeated_hour=setting)
    assert event.occurred_at == datetime(2026, 10, 25, hour, 30, tzinfo=UTC)
    assert "does not exist" in never.error


async def test_a_time_with_its_offset_is_clear_at_a_clock_change(read):
    (event,) = await read(f"{HEADER}\nR1,A,MAIN,5,FND,2025-10-26T01:30:00+01:00\n")
    assert event.occurred_at == datetime(2025, 10, 26, 0, 30, tzinfo=UTC)


async def test_a_document_has_the_same_clock_changes(read):
    fields = {"event_id": "i", "sku": "s", "location": "'MAIN'", "delta": "q", "reason": "'found'", "occurred_at": "t"}
    mapping = {"files": "*.json", "event": "stock_adjusted", "fields": fields, "timezone": "America/New_York"}
    body = '[{"i": "1", "s": "A", "q": 1, "t": "2025-11-02T01:30:00"}]'
    assert "exists twice" in (await read(body, mapping, "a.json"))[0].error
    (event,) = await read(body, mapping, "b.json", repeated_hour="second")
    assert event.occurred_at == datetime(2025, 11, 2, 6, 30, tzinfo=UTC)


# ---- characters that are not seen


async def test_an_invisible_character_in_a_sku_is_named_in_the_dead_letter(read):
    first, second = letters(await read("18-csv-zero-width-sku.csv"))
    assert "sku has an invisible character at position 2, U+200B ZERO WIDTH SPACE" in first[1]
    assert "sku has an invisible character at position 1, U+FEFF ZERO WIDTH NO-BREAK SPACE" in second[1]


@pytest.mark.parametrize(
    "character", ["\u00ad", "\u2060", "\u202e", "\u00a0", "\u3164", "\u2800", "\ufe0f", "\u2009", "\x07", "\u180e"]
)
@pytest.mark.parametrize("field", ["Ref", "Item", "Whse"])
async def test_no_identity_has_a_character_that_is_not_seen(read, character, field):
    cells = dict(zip(HEADER.split(","), ROW.split(","), strict=True))
    cells[field] = f"A{character}B"
    ((_, error),) = letters(await read(f"{HEADER}\n{','.join(cells.values())}\n"))
    assert f"U+{ord(character):04X}" in error
    assert f"A{character}B" not in error


# ---- numbers and dates as spreadsheets write them


@pytest.mark.parametrize(
    "number", ["1,5", "1.234,5", "1,234", "(5)", "5-", "1 234", "£5", "5,00", "\u22125", "1'234", "5 EA"]
)
async def test_a_number_written_otherwise_than_the_mapping_says_is_refused(read, number):
    ((_, error),) = letters(await read(f"{HEADER}\n{ROW.replace(',5,', f',{chr(34)}{number}{chr(34)},')}\n"))
    assert "delta" in error


@pytest.mark.parametrize(
    ("form", "text", "number"),
    [
        ({"negative": "5-"}, "5-", "-5"),
        ({"negative": "5-"}, "5", "5"),
        ({"negative": "5-"}, "-5", None),
        ({"negative": "5-"}, "(5)", None),
        ({"negative": "(5)"}, "(5)", "-5"),
        ({"negative": "(5)"}, "+5.5", "5.5"),
        ({"negative": "(5)"}, "(5", None),
        ({"negative": "(5)", "decimal": ",", "thousands": "."}, "(1.234,5)", "-1234.5"),
        ({"decimal": ","}, "+5", "5"),
        ({"decimal": ","}, "-+5", None),
    ],
)
async def test_a_number_is_read_as_the_mapping_says(read, form, text, number):
    (item,) = await read(f"{HEADER}\n{ROW.replace(',5,', f',{chr(34)}{text}{chr(34)},')}\n", **form)
    assert (None if isinstance(item, RefusedRecord) else item.delta) == (Decimal(number) if number else None)


@pytest.mark.parametrize("moment", ["20/11/2026", "20.11.2026 10:00", "46346", "46346.4166", "11/20/26", "20-Nov-26"])
async def test_a_date_written_otherwise_than_the_mapping_says_is_refused(read, moment):
    ((_, error),) = letters(await read(f"{HEADER}\n{ROW.replace('2026-11-20T10:00:00', moment)}\n"))
    assert "occurred_at is not a time" in error


# ---- one event in several rows


async def test_rows_of_one_despatch_are_one_event_with_its_lines(read):
    (event,) = await read("13-csv-despatch-two-rows.csv", DISPATCHES)
    assert (event.shipment_id, event.order_id, event.location, event.carrier) == ("D1", "1001", "MAIN", None)
    assert [(line.line_id, line.sku, line.quantity) for line in event.lines] == [("1", "A", 2), ("2", "B", 1)]


DISPATCH_HEADER = "Despatch No,Order No,Line,SKU,Qty,Site,Despatched,Carrier"


def dispatch_row(shipment, line, sku="A", order="1001", carrier="", quantity="1"):
    return f"{shipment},{order},{line},{sku},{quantity},MAIN,2026-11-20T10:00:00,{carrier}"


def dispatch_file(*rows):
    return "\n".join([DISPATCH_HEADER, *rows])


async def test_rows_that_are_apart_are_refused_unless_the_mapping_says_that_they_may_be(read):
    content = dispatch_file(dispatch_row("D1", 1), dispatch_row("D2", 1), dispatch_row("D1", 2, "B"))
    letter, other = await read(content, DISPATCHES)
    assert "apart in the file" in letter.error
    assert letter.value.decode().splitlines() == [dispatch_row("D1", 1), dispatch_row("D1", 2, "B")]
    assert other.shipment_id == "D2"
    first, second = await read(content, DISPATCHES, "b.csv", group_apart=True)
    assert [(event.shipment_id, len(event.lines)) for event in (first, second)] == [("D1", 2), ("D2", 1)]


async def test_rows_of_one_event_must_say_the_same_of_it(read):
    differ = dispatch_file(dispatch_row("D1", 1), dispatch_row("D1", 2, order="1002"))
    ((number, error),) = letters(await read(differ, DISPATCHES))
    assert number == 2
    assert "order_id: the rows of the event differ in Order No" in error
    (event,) = await read(
        dispatch_file(dispatch_row("D1", 1, carrier="dpd"), dispatch_row("D1", 2, order="")), DISPATCHES, "b.csv"
    )
    assert (event.order_id, event.carrier, len(event.lines)) == ("1001", "dpd", 2)


async def test_a_row_that_cannot_be_read_takes_the_events_beside_it_with_it(read):
    broken = 'D1,1001,2,"B,1,MAIN,2026-11-20T10:00:00,'
    rows = [dispatch_row("D0", 1), dispatch_row("D1", 1), broken, dispatch_row("D2", 1), dispatch_row("D3", 1)]
    items = await read(dispatch_file(*rows), DISPATCHES)
    events = [item.shipment_id for item in items if not isinstance(item, RefusedRecord)]
    assert events == ["D0", "D3"]
    assert [item.number for item in items if isinstance(item, RefusedRecord)] == [3, 4, 5]


async def test_one_wrong_row_refuses_its_event_and_no_other(read):
    rows = [dispatch_row("D1", 1), dispatch_row("D1", 2, quantity="x"), dispatch_row("D2", 1)]
    letter, event = await read(dispatch_file(*rows), DISPATCHES)
    assert "lines[1].quantity" in letter.error
    assert letter.value.decode().splitlines() == rows[:2]
    assert event.shipment_id == "D2"


async def test_a_row_without_a_value_to_group_by_is_refused(read):
    letter, event = await read(dispatch_file(dispatch_row("", 1), dispatch_row("D2", 1)), DISPATCHES, group_apart=True)
    assert "nothing in Despatch No" in letter.error
    assert "beside it" in event.error


async def test_an_order_with_its_lines_in_rows(read):
    mapping = {
        "files": "*.csv",
        "event": "order_placed",
        "columns": {
            "order_id": "Name",
            "occurred_at": "Created at",
            "ship_to.city": "Town",
            "lines.line_id": "Line",
            "lines.sku": "Sku",
            "lines.quantity": "Qty",
            "lines.unit_price": "Price",
        },
        "templates": {"currency": "GBP", "channel": "export {file}"},
        "timezone": "Europe/London",
        "group_by": ["Name"],
    }
    rows = ["Name,Created at,Town,Line,Sku,Qty,Price", "#1,2026-11-20,Leeds,1,A,2,3.50", "#1,,,2,B,1,4.00"]
    (order,) = await read("\n".join(rows), mapping)
    assert (order.order_id, order.currency, order.channel, order.ship_to.city) == ("#1", "GBP", "export a.csv", "Leeds")
    assert [(line.sku, line.quantity, line.unit_price) for line in order.lines] == [
        ("A", 2, Decimal("3.50")),
        ("B", 1, 4),
    ]


# ---- facts that are the file's


async def test_a_plain_stock_list_is_read_with_what_the_file_says(read):
    (level,) = await read("14-csv-inventory-feed.csv", FEED)
    assert isinstance(level, StockLevel)
    assert (level.sku, level.location, level.level, level.reason) == ("TEA-250", "MAIN", 312, "count")
    assert level.event_id == "14/inventory-feed/2"
    assert level.occurred_at == datetime(2025, 11, 20, 10, 0, tzinfo=UTC)
    assert level.sequence == 1_763_632_800_000


async def test_a_part_of_the_name_can_be_the_time_and_the_place(read):
    templates = {"location": "{1}", "occurred_at": "{2}", "sequence": "{2}", "event_id": "{file}", "reason": "count"}
    mapping = FEED | {"files": "stock-*-*.csv", "templates": templates, "values": {"location": {"lon": "MAIN"}}}
    mapping |= {"columns": {"sku": "SKU", "level": "Qty"}, "time_format": "%Y%m%d", "timezone": "Europe/London"}
    (level,) = await read("SKU,Qty\nA,7\n", mapping, "stock-lon-20251101.csv")
    assert (level.location, level.sequence, level.occurred_at) == ("MAIN", 20251101, datetime(2025, 11, 1, tzinfo=UTC))
    ((_, error),) = letters(await read("SKU,Qty\nA,7\n", mapping, "stock-par-20251101.csv"))
    assert "location has a value that the mapping lacks" in error


async def test_two_levels_of_one_sku_and_location_in_a_stock_list_are_refused(read):
    content = "SKU,Location,On hand (current)\nA,MAIN,5\nB,MAIN,1\nA,MAIN,7\nA,EAST,2\n"
    letter, other, east = await read(content, FEED, "1-csv-2.csv")
    assert "several levels of this sku and location (lines 2, 4)" in letter.error
    assert [(each.sku, each.location, each.level) for each in (other, east)] == [("B", "MAIN", 1), ("A", "EAST", 2)]

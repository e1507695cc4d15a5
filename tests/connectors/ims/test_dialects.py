"""CSV files as the world writes them."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from connectors.ims import source as module
from connectors.ims.lines import MAX_LINE_BYTES
from connectors.ims.settings import ImsSettings
from connectors.ims.source import ImsSource

COLUMNS = {
    "event_id": "Ref",
    "sku": "Item",
    "location": "Whse",
    "delta": "Qty",
    "reason": "Why",
    "occurred_at": "When",
    "note": "Note",
}
NUMBERED = {field: number for number, field in enumerate(COLUMNS, 1)}
HEADER = "Ref;Item;Whse;Qty;Why;When;Note"
AT = "2026-11-21T09:30:00+00:00"


@pytest.fixture
async def read(tmp_path, clock):
    """Read bytes by a dialect: the items."""
    sources = []

    async def read(content, **dialect):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / "adj.csv").write_bytes(content)
        mapping = {"files": "*.csv", "event": "stock_adjusted", "columns": COLUMNS, "delimiter": ";"}
        table = {"kind": "ims", "company": "acme", "inbox": "in", "csv": {"adj": mapping | dialect}}
        settings = ImsSettings.model_validate(table, context={"folder": tmp_path, "environ": {}})
        source = ImsSource("wms", settings, clock)
        sources.append(source)
        items, cursor = [], None
        while not (batch := await source.read(cursor)).idle:
            # Whoever comes next goes on at any line.
            fresh = ImsSource("wms", settings, clock)
            assert await fresh.read(cursor) == batch
            await fresh.close()
            items += batch.items
            cursor = batch.cursor
        return items

    yield read
    for source in sources:
        await source.close()


def row(event_id="r1", quantity="1", note="", sku="A"):
    return f"{event_id};{sku};MAIN;{quantity};found;{AT};{note}"


def file(*rows, header=HEADER):
    return "\r\n".join([header, *rows]).encode()


@pytest.mark.parametrize(
    ("dialect", "text", "number"),
    [
        ({"decimal": ","}, "1,5", "1.5"),
        ({"decimal": ","}, "-0,25", "-0.25"),
        ({"decimal": ","}, "12", "12"),
        ({"decimal": ",", "thousands": "."}, "1.234.567,5", "1234567.5"),
        ({"decimal": ",", "thousands": "."}, "1234,5", "1234.5"),
        ({"decimal": ",", "thousands": " "}, "1\u00a0234,5", "1234.5"),
        ({"decimal": ",", "thousands": " "}, "1\u202f234,5", "1234.5"),
        ({"decimal": ".", "thousands": ","}, "-1,234.5", "-1234.5"),
        ({"decimal": ".", "thousands": "'"}, "1'234.5", "1234.5"),
        ({}, "1.5e1", "15"),
    ],
)
async def test_numbers_are_read_as_they_are_said_to_be_written(read, dialect, text, number):
    (event,) = await read(file(row(quantity=text)), **dialect)
    assert event.delta == Decimal(number)


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ({"decimal": ","}, "1.5"),
        ({"decimal": ","}, "1.234,5"),
        ({"decimal": ",", "thousands": "."}, "1.5"),
        ({"decimal": ",", "thousands": "."}, "12.34,5"),
        ({"decimal": ",", "thousands": "."}, "1234.567,5"),
        ({"decimal": ",", "thousands": "."}, "1,234.5"),
        ({"decimal": ".", "thousands": ","}, "1,5"),
        ({"decimal": ","}, "1e5"),
        ({"decimal": ","}, ",75"),
    ],
)
async def test_a_number_that_is_written_otherwise_is_refused_and_never_guessed(read, dialect, text):
    (refused,) = await read(file(row(quantity=text)), **dialect)
    assert (refused.reason, refused.number) == ("invalid_event", 2)
    assert "delta is not a number written as" in refused.error
    assert text not in refused.error


async def test_texts_are_no_numbers(read):
    (event,) = await read(file(row(quantity="1,5", sku="1.234,5", note="1,5")), decimal=",", thousands=".")
    assert (event.sku, event.note) == ("1.234,5", "1,5")


async def test_tabs_and_other_quotes(read):
    text = "Ref\tItem\tWhse\tQty\tWhy\tWhen\tNote\nr1\tA\tMAIN\t1\tfound\t" + AT + "\t'says \t\"no\"'\n"
    (event,) = await read(text.encode(), delimiter="\t", quote="'")
    assert event.note == 'says \t"no"'


async def test_a_quote_means_nothing_where_nothing_is_quoted(read):
    first, second = await read(file(row("r1", note='12" pipe'), row("r2", note='"half')), quote="")
    assert (first.note, second.note) == ('12" pipe', '"half')


@pytest.mark.parametrize("columns", [NUMBERED, {field: str(number) for field, number in NUMBERED.items()}])
async def test_without_a_header_columns_have_numbers(read, columns):
    content = "\n".join([row("r1") + ";more;cells", row("r2").removesuffix(";")]).encode()
    first, second = await read(content, header=False, columns=columns)
    assert (first.event_id, second.event_id) == ("r1", "r2")


@pytest.mark.parametrize("batch", [1, 500])
async def test_comments_and_the_lines_above_the_header_are_skipped(read, monkeypatch, batch):
    monkeypatch.setattr(module, "BATCH_LINES", batch)
    text = f'Stock report "Main\n\n# made today\n{HEADER}\n# "a\n{row("r1")}\n#\n{row("r2", note=chr(34) + "x")}"\n'
    first, second = await read(text.encode(), skip_lines=1, comment="#")
    assert (first.event_id, second.event_id) == ("r1", "r2")


@pytest.mark.parametrize("batch", [1, 500])
@pytest.mark.parametrize(
    ("encoding", "codec", "bom"),
    [
        ("utf-16", "utf-16-le", "\ufeff"),
        ("utf-16", "utf-16-be", "\ufeff"),
        ("utf-16", "utf-16-le", ""),
        ("utf-16-be", "utf-16-be", ""),
        ("UTF-16LE", "utf-16-le", "\ufeff"),
        ("utf-8", "utf-8", "\ufeff"),
        ("cp1252", "cp1252", ""),
    ],
)
async def test_encodings_of_which_lines_can_be_told(read, monkeypatch, batch, encoding, codec, bom):
    monkeypatch.setattr(module, "BATCH_LINES", batch)
    # U+0A0A, U+0A00 and U+000A next to one another: halves of characters that look like line breaks
    odd = "" if codec == "cp1252" else "\u0a0a\u0a00\u000a\u0a0a"
    bad = row("bad", quantity="x", note="ü")
    rows = [HEADER, row("r1", note="Köln"), row("r2", note=f'"{odd}€"'), bad, row("r3", note="\u00e4")]
    items = await read((bom + "\r\n".join(rows)).encode(codec), encoding=encoding)
    assert [item.event_id for item in items] == ["r1", "r2", "bad", "r3"]
    assert (items[0].note, items[1].note, items[3].note) == ("Köln", f"{odd}€", "ä")
    assert items[2].value == bad.encode(codec)


async def test_broken_utf_16_is_refused_with_its_bytes(read):
    lone = row("r2").encode("utf-16-le") + b"\x00\xd8"
    content = (
        file(row("r1")).decode().encode("utf-16") + b"\n\0" + lone + b"\n\0" + row("r3").encode("utf-16-le") + b"x"
    )
    first, refused, last = await read(content, encoding="utf-16")
    assert first.event_id == "r1"
    assert ("not utf-16-le" in refused.error, refused.value) == (True, lone)
    assert ("not utf-16-le" in last.error, last.number) == (True, 4)


async def test_a_line_that_is_too_long_is_cut_off_in_any_encoding(read):
    rows = [HEADER, row("r1", note="x" * MAX_LINE_BYTES), row("r2")]
    refused, event = await read("\r\n".join(rows).encode("utf-16"), encoding="utf-16")
    assert "more than 990000 bytes" in refused.error
    assert (len(refused.value), event.event_id) == (MAX_LINE_BYTES, "r2")


async def test_times_have_their_own_format_and_zone(read):
    (event,) = await read(
        file("r1;A;MAIN;1;found;21.11.2026 10:30;"), time_format="%d.%m.%Y %H:%M", timezone="Europe/Berlin"
    )
    assert event.occurred_at == datetime(2026, 11, 21, 9, 30, tzinfo=UTC)

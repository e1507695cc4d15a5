import json
import os
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from connectors.base.errors import FatalError, RetriableError
from connectors.ims import source as module
from connectors.ims.lines import MAX_LINE_BYTES
from connectors.ims.settings import ImsSettings
from connectors.ims.source import ImsSource, unread_files

AT = "2026-11-21T09:30:00Z"
CSV = {
    "adjustments": {
        "files": "adj-*.csv",
        "event": "stock_adjusted",
        "timezone": "Europe/London",
        "columns": {
            "event_id": "Ref",
            "sku": "Item",
            "location": "Whse",
            "delta": "Qty",
            "reason": "Why",
            "occurred_at": "When",
            "note": "Note",
        },
        "values": {"reason": {"DMG": "damaged", "FND": "found"}},
    },
    "dispatches": {
        "files": "out-*.csv",
        "event": "dispatch_confirmed",
        "timezone": "Europe/London",
        "time_format": "%d/%m/%Y %H:%M",
        "delimiter": ";",
        "encoding": "cp1252",
        "columns": {
            "shipment_id": "Ref",
            "order_id": "Order",
            "location": "Whse",
            "occurred_at": "When",
            "carrier": "Carrier",
            "tracking_numbers": "Track",
            "lines.sku": "Item",
            "lines.quantity": "Qty",
            "lines.batches.number": "Lot",
            "lines.batches.quantity": "Qty",
        },
    },
}
HEADER = "Ref,Item,Whse,Qty,Why,When,Note\n"


def move(event_id, delta="1"):
    return json.dumps(
        {
            "type": "stock_adjusted",
            "event_id": event_id,
            "occurred_at": AT,
            "sku": "A",
            "location": "MAIN",
            "delta": delta,
            "reason": "found",
        }
    )


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "in").mkdir()
    table = {"kind": "ims", "company": "acme", "inbox": "in", "csv": CSV}
    return ImsSettings.model_validate(table, context={"folder": tmp_path, "environ": {}})


@pytest.fixture
def inbox(settings):
    return settings.inbox


@pytest.fixture
async def source(settings, clock):
    source = ImsSource("wms", settings, clock)
    yield source
    await source.close()


def write(inbox, name, *lines):
    (inbox / f"{name}.part").write_bytes("\n".join(lines).encode())
    (inbox / f"{name}.part").rename(inbox / name)


async def read_all(source, cursor=None):
    items = []
    while not (batch := await source.read(cursor)).idle:
        items += batch.items
        cursor = batch.cursor
    return items, cursor


def ids(items):
    return [item.event_id for item in items]


async def test_names_are_read_in_sorted_order_and_parts_not_at_all(source, inbox, settings):
    write(inbox, "b.jsonl", move("b1"), move("b2"))
    write(inbox, "a.jsonl", move("a1"))
    (inbox / "0.jsonl.part").write_text(move("no"))
    (inbox / "notes.txt").write_text("no")
    (inbox / "other.csv").write_text("no")
    assert unread_files(settings) == ["a.jsonl", "b.jsonl"]
    items, _ = await read_all(source)
    assert ids(items) == ["a1", "b1", "b2"]
    assert sorted(path.name for path in (inbox / "done").iterdir()) == ["a.jsonl", "b.jsonl"]
    assert sorted(path.name for path in inbox.iterdir() if path.is_file()) == ["0.jsonl.part", "notes.txt", "other.csv"]
    assert unread_files(settings) == []


async def test_a_bom_empty_lines_and_any_line_break_are_taken(source, inbox):
    (inbox / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + f"\r\n{move('1')}\r\n\n   \n{move('2')}".encode())
    items, _ = await read_all(source)
    assert ids(items) == ["1", "2"]


async def test_a_bad_line_is_refused_with_its_bytes_and_place_while_the_rest_goes_on(source, inbox):
    bad = move("2", delta="0")
    write(inbox, "a.jsonl", move("1"), "{nope\r", bad, '{"type": "huh", "order_id": "7"}', move("3"))
    items, _ = await read_all(source)
    assert [(item.reason, item.event_type, item.number, item.value) for item in items[1:4]] == [
        ("unreadable", None, 2, b"{nope"),
        ("invalid_event", "stock_adjusted", 3, bad.encode()),
        ("unreadable", None, 4, b'{"type": "huh", "order_id": "7"}'),
    ]
    assert (items[2].origin, items[2].event_id, items[2].sku, items[3].order_id) == ("a.jsonl", "2", "A", "7")
    assert ids([items[0], items[4]]) == ["1", "3"]


async def test_a_line_that_is_too_long_is_cut_off_and_the_next_one_is_read(source, inbox):
    write(
        inbox,
        "a.jsonl",
        "x" * (MAX_LINE_BYTES * 3),
        move("1"),
        move("2") + " " * (MAX_LINE_BYTES - len(move("2"))),
        "y" * (MAX_LINE_BYTES + 1),
    )
    items, cursor = await read_all(source)
    assert [getattr(item, "event_id", None) or item.reason for item in items] == ["unreadable", "1", "2", "unreadable"]
    assert items[0].value == b"x" * MAX_LINE_BYTES
    assert json.loads(cursor)["line"] == 4


@pytest.mark.parametrize("name", ["a.jsonl", "adj-1.csv"])
async def test_reading_goes_on_after_any_line(settings, inbox, clock, monkeypatch, name):
    monkeypatch.setattr(module, "BATCH_LINES", 1)
    if name.endswith("csv"):
        notes = ['"two\nlines"' if n % 3 == 0 else "" for n in range(9)]
        rows = [f"e{n},A,MAIN,{n + 1},DMG,{AT},{note}" for n, note in enumerate(notes)]
        (inbox / name).write_text("\ufeff\n" + HEADER + "\n".join(rows) + "\n", encoding="utf-8")
    else:
        write(inbox, name, *(move(f"e{n}", str(n + 1)) for n in range(9)))
    straight = ImsSource("wms", settings, clock)
    cursors, expected, cursor = [], [], None
    while not (batch := await straight.read(cursor)).idle:
        cursors.append(cursor)
        expected.append(batch)
        cursor = batch.cursor
    (inbox / "done" / name).rename(inbox / name)
    for at, batch in reversed(list(zip(cursors, expected, strict=True))):
        fresh = ImsSource("wms", settings, clock)
        assert await fresh.read(at) == batch
        assert await fresh.read(at) == batch
        await fresh.close()
    assert ids([item for batch in expected for item in batch.items]) == [f"e{n}" for n in range(9)]
    await straight.close()


async def test_a_file_moves_only_when_its_last_line_is_acknowledged(source, inbox):
    write(inbox, "a.jsonl", move("1"))
    first = await source.read(None)
    assert await source.read(None) == first
    assert (inbox / "a.jsonl").exists()
    assert (await source.read(first.cursor)).idle
    assert (inbox / "done" / "a.jsonl").exists()


async def test_a_file_that_comes_back_is_not_read_again_but_other_content_is(source, inbox):
    write(inbox, "a.jsonl", move("1"))
    items, cursor = await read_all(source)
    for _ in range(3):
        write(inbox, "a.jsonl", move("1"))
        again, cursor = await read_all(source, cursor)
        assert again == []
    write(inbox, "a.jsonl", move("2"))
    items, cursor = await read_all(source, cursor)
    assert ids(items) == ["2"]
    write(inbox, "a.jsonl", move("1"))
    write(inbox, "b.jsonl", move("2"))
    items, cursor = await read_all(source, cursor)
    assert ids(items) == ["2"]
    write(inbox, "a.jsonl", move("2"))
    assert (await read_all(source, cursor))[0] == []
    assert len(list((inbox / "done").iterdir())) == 8


async def test_a_file_that_was_exchanged_halfway_is_read_from_its_beginning(source, inbox, monkeypatch):
    monkeypatch.setattr(module, "BATCH_LINES", 1)
    write(inbox, "a.jsonl", move("1"), move("2"))
    cursor = (await source.read(None)).cursor
    write(inbox, "a.jsonl", move("3"), move("4"))
    items, _ = await read_all(source, cursor)
    assert ids(items) == ["2", "3", "4"]


async def test_a_file_that_grew_after_it_was_opened_is_another_one(source, inbox):
    write(inbox, "a.jsonl", move("1"), "")
    cursor = (await source.read(None)).cursor
    with (inbox / "a.jsonl").open("a") as file:
        file.write(move("2"))
    os.utime(inbox / "a.jsonl", (1, 1))
    items, _ = await read_all(source, cursor)
    assert ids(items) == ["1", "2"]


async def test_an_empty_file_is_done_and_a_missing_inbox_is_made(settings, clock, inbox):
    inbox.rmdir()
    source = ImsSource("wms", settings, clock)
    assert (await source.read(None)).idle
    (inbox / "a.jsonl").touch()
    assert (await source.read(None)).idle
    assert (inbox / "done" / "a.jsonl").exists()
    await source.close()


async def test_an_inbox_that_cannot_be_read_is_tried_again_and_says_what_to_do(source, inbox):
    inbox.rmdir()
    inbox.write_text("a file")
    with pytest.raises(RetriableError, match="fix its rights"):
        await source.read(None)


async def test_a_cursor_of_another_kind_needs_a_person(source):
    with pytest.raises(FatalError, match="not one of a ims connector"):
        await source.read("page 7")


async def test_a_csv_row_becomes_an_event_by_the_mapping(source, inbox):
    (inbox / "adj-1.csv").write_text(
        HEADER + 'r1, A/B#1 ,MAIN,-2.50,DMG,2026-07-01T10:00:00,"said ""no"", then left"\n'
    )
    (event,), _ = await read_all(source)
    assert (event.event_id, event.sku, event.delta, event.reason) == ("r1", "A/B#1", Decimal("-2.5"), "damaged")
    assert event.occurred_at == datetime(2026, 7, 1, 9, 0, tzinfo=UTC)
    assert event.note == 'said "no", then left'


async def test_times_encodings_delimiters_and_inner_fields_are_as_configured(source, inbox):
    rows = "Ref;Order;Whse;When;Carrier;Track;Item;Qty;Lot\ns1;o1;MAIN;21/11/2026 09:30;Köln Express;T1;A;2;L7\n"
    (inbox / "out-1.csv").write_bytes(rows.encode("cp1252"))
    (event,), _ = await read_all(source)
    assert (event.carrier, event.tracking_numbers) == ("Köln Express", ("T1",))
    assert event.occurred_at == datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
    assert (event.lines[0].sku, event.lines[0].quantity, event.lines[0].batches[0].number) == ("A", 2, "L7")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (f"r1,A,MAIN,1,LOST,{AT},", "mapping lacks"),
        (f"r1,A,MAIN,1,DMG,{AT},a,b", "8 cells, the header 7"),
        ("r1,A,MAIN,1,DMG,21/11/2026,", "not a time"),
        (f",A,MAIN,1,DMG,{AT},", "event_id is missing"),
        (f"r1,A,MAIN,0,DMG,{AT},", "delta must not be 0"),
        (f'r1,"A"B,MAIN,1,DMG,{AT},', "not CSV"),
        (f'r1,"A,MAIN,1,DMG,{AT},', "never closed"),
        (f"r1,A\xff,MAIN,1,DMG,{AT},", "not utf-8"),
    ],
)
async def test_a_bad_row_is_refused_alone(source, inbox, row, told):
    good = f"r0,A,MAIN,1,DMG,{AT},\n", f'r2,A,MAIN,1,DMG,{AT},"x"\n'
    (inbox / "adj-1.csv").write_bytes((HEADER + good[0]).encode() + row.encode("latin-1") + b"\n" + good[1].encode())
    (first, refused, last), _ = await read_all(source)
    assert (refused.reason, refused.event_type, refused.number) == ("invalid_event", "stock_adjusted", 3)
    assert refused.value == row.encode("latin-1")
    assert told in refused.error
    assert ids([first, last]) == ["r0", "r2"]


async def test_a_header_without_a_mapped_column_refuses_every_row(source, inbox):
    (inbox / "adj-1.csv").write_text("Ref,Item,Whse,Qty,When,Note\nr1,A,MAIN,1,x,y\n")
    (refused,), _ = await read_all(source)
    assert "no column Why" in refused.error


async def test_memory_is_bounded_by_batches(source, inbox):
    write(inbox, "a.jsonl", *(move(f"e{n}") for n in range(1201)))
    sizes, cursor = [], None
    while not (batch := await source.read(cursor)).idle:
        sizes.append(len(batch.items))
        cursor = batch.cursor
    assert sizes == [500, 500, 201]

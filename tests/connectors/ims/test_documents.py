"""JSON documents by path mapping."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from connectors.base.source import RefusedRecord
from connectors.ims import source as module
from connectors.ims.lines import MAX_LINE_BYTES
from connectors.ims.settings import ImsSettings
from connectors.ims.source import ImsSource
from schemas.events import OrderPlaced

ORDERS = {
    "files": "orders-*.json",
    "event": "order_placed",
    "records": "data.orders[*]",
    "timezone": "Europe/London",
    "fields": {
        "order_id": "id",
        "occurred_at": "created",
        "currency": "'GBP'",
        "channel": "shop",
        "customer.email": "buyer.mail",
        "customer.guest": "buyer.guest",
        "ship_to.city": "buyer.address.town",
        "shipping.amount": "freight",
        "grand_total": "total",
        "lines": "items",
        "lines.line_id": "row",
        "lines.sku": "product.code",
        "lines.quantity": "qty",
        "lines.unit_price": "net",
        "lines.tax_code": "vat",
    },
    "values": {"lines.tax_code": {"20": "GB-20", "0": "GB-0"}},
}
DISPATCHES = {
    "files": "out-*.json",
    "event": "dispatch_confirmed",
    "fields": {
        "shipment_id": "Id",
        "order_id": "Order",
        "occurred_at": "At",
        "location": "Site",
        "tracking_numbers": "Parcels[*].Track",
        "lines": "Lines",
        "lines.sku": "Sku",
        "lines.quantity": "Qty",
        "lines.serials": "Serial",
        "lines.batches": "Lots",
        "lines.batches.number": "No",
        "lines.batches.quantity": "Qty",
    },
}


def order(number, **changes):
    item = {"row": 1, "product": {"code": "A"}, "qty": 1.5, "net": 10.00, "vat": 20}
    buyer = {"mail": "canary@example.com", "guest": True, "address": {"town": "Leeds"}}
    return {"id": number, "created": "2026-11-20T09:30:00", "buyer": buyer, "items": [item], "total": 18} | changes


def document(*orders):
    return json.dumps({"data": {"orders": orders}}, indent=1)


@pytest.fixture
async def source(tmp_path, clock):
    (tmp_path / "in").mkdir()
    made = []

    def make(**mapping):
        mappings = {"orders": ORDERS | mapping, "out": DISPATCHES}
        table = {"kind": "ims", "company": "acme", "inbox": "in", "json": mappings}
        settings = ImsSettings.model_validate(table, context={"folder": tmp_path, "environ": {}})
        made.append(ImsSource("shop", settings, clock))
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest.fixture
def read(tmp_path, source):
    async def read(text, name="orders-1.json", **mapping):
        content = text if isinstance(text, bytes) else text.encode()
        (tmp_path / "in" / name).write_bytes(content)
        reading, items, cursor = source(**mapping), [], None
        while not (batch := await reading.read(cursor)).idle:
            assert await source(**mapping).read(cursor) == batch
            items += batch.items
            cursor = batch.cursor
        assert not (tmp_path / "in" / name).exists()
        return items

    return read


@pytest.mark.parametrize("batch", [1, 2, 500])
async def test_records_become_events_by_their_paths(read, monkeypatch, batch):
    monkeypatch.setattr(module, "BATCH_LINES", batch)
    events = await read(document(order(1), order(2, freight=None), order(3, freight="4.50", shop="")))
    assert [event.order_id for event in events] == ["1", "2", "3"]
    first = events[0]
    assert isinstance(first, OrderPlaced)
    assert (first.currency, first.channel, first.shipping, first.grand_total) == ("GBP", None, None, Decimal(18))
    assert first.occurred_at == datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
    assert (first.customer.email, first.customer.guest, first.ship_to.city) == ("canary@example.com", True, "Leeds")
    (line,) = first.lines
    assert (line.line_id, line.sku, line.quantity, line.tax_code) == ("1", "A", Decimal("1.5"), "GB-20")
    assert events[2].shipping.amount == Decimal("4.5")


async def test_lists_in_lists_and_one_in_place_of_a_list(read):
    record = {
        "Id": "s1",
        "Order": 7,
        "At": "2026-11-20T09:30:00Z",
        "Site": "MAIN",
        "Parcels": [{"Track": "T1"}, {"Track": "T2"}],
        "Lines": [
            {"Sku": "A", "Qty": 2, "Lots": [{"No": "L1", "Qty": 1}, {"No": "L2", "Qty": "1.0"}]},
            {"Sku": "B", "Qty": 1, "Serial": "X1", "Lots": None},
        ],
    }
    (event,) = await read(json.dumps(record), "out-1.json")
    assert (event.order_id, event.tracking_numbers) == ("7", ("T1", "T2"))
    assert [(lot.number, lot.quantity) for lot in event.lines[0].batches] == [("L1", 1), ("L2", 1)]
    assert (event.lines[1].serials, event.lines[1].batches) == (("X1",), ())
    assert len(await read(json.dumps([record, record | {"Id": "s2"}]), "out-2.json")) == 2


async def test_a_number_is_its_exact_text(read):
    text = (
        document(order(1)).replace('"net": 10.0', '"net": 9007199254740.993001').replace('"total": 18', '"total": 1e1')
    )
    (event,) = await read(text)
    assert (event.lines[0].unit_price, event.grand_total) == (Decimal("9007199254740.993001"), Decimal(10))


async def test_a_record_that_cannot_be_taken_is_refused_with_its_bytes_and_its_number_while_the_rest_goes_on(read):
    text = document(
        order(1),
        order(2, items=[]),
        order(3, items=[{"row": 1, "product": {"code": "A"}, "qty": 1, "net": 1, "vat": "17,5"}]),
        "canary",
        order(5, note='brace } in a "text" {', created="20/11/2026"),
        order(6),
    )
    items = await read(text)
    assert [item.order_id for item in items] == ["1", "2", "3", None, "5", "6"]
    refused = [item for item in items if isinstance(item, RefusedRecord)]
    assert [item.number for item in refused] == [2, 3, 4, 5]
    assert {(item.reason, item.event_type, item.origin) for item in refused} == {
        ("invalid_event", "order_placed", "orders-1.json")
    }
    for item, told in zip(
        refused,
        ("lines must not be empty", "lines.tax_code has a value that the mapping lacks", "not an object", "not a time"),
        strict=True,
    ):
        assert told in item.error
        assert "canary" not in item.error
    assert refused[0].value in text.encode()
    assert json.loads(refused[3].value) == order(5, note='brace } in a "text" {', created="20/11/2026")
    assert refused[2].value == b'"canary"'


async def test_a_key_that_comes_twice_refuses_its_record_alone(read):
    text = document(order(1), order(2)).replace('"id": 2', '"id": 2, "total": 18')
    first, refused = await read(text)
    assert first.order_id == "1"
    assert ("same key twice" in refused.error, refused.number) == (True, 2)


@pytest.mark.parametrize(
    ("text", "reason", "told"),
    [
        ('{"data": {"orders": [{"id": canary}]}}', "unreadable", "is not JSON"),
        ('{"data": NaN}', "unreadable", "NaN, Infinity"),
        (b'{"data": "\xff"}', "unreadable", "not UTF-8"),
        ("[" * 100_000, "unreadable", "nested"),
        ('{"a":' * 40 + "1" + "}" * 40, "unreadable", "more than 32 deep"),
        ('{"data": {}}', "invalid_event", "has nothing at data.orders"),
        (document(order(1)) + " " * 5000, "invalid_event", "more than 5000 bytes"),
    ],
)
async def test_a_document_that_cannot_be_read_is_one_letter(read, text, reason, told):
    (refused,) = await read(text, max_bytes=5000 if "5000" in told else 10_000_000)
    assert (refused.reason, refused.event_type, refused.number) == (reason, "order_placed", 0)
    assert told in refused.error
    assert "canary" not in refused.error
    content = text if isinstance(text, bytes) else text.encode()
    assert content.startswith(refused.value)


async def test_no_records_are_no_events(read):
    assert await read(document()) == []


async def test_an_event_that_would_be_too_large_is_refused(read):
    (refused,) = await read(document(order(1, shop="x" * 1_000_000)))
    assert "more than 990000 bytes" in refused.error
    assert len(refused.value) == MAX_LINE_BYTES


@pytest.mark.parametrize(
    ("field", "path", "told"),
    [
        ("grand_total", "sum(items[*].to_number(qty))", "outcome of a calculation"),
        ("grand_total", "abs(id)", "its path cannot be applied"),
        ("channel", "items", "channel must be a text"),
    ],
)
async def test_a_path_that_goes_astray_says_which(read, field, path, told):
    (refused,) = await read(document(order(1)), fields=ORDERS["fields"] | {field: path})
    assert told in refused.error
    assert field in refused.error


async def test_records_may_be_put_together_by_the_path(read):
    flat = [{"id": 1, "created": "2026-11-20T09:30:00Z", "row": 1, "code": "A", "qty": 0, "net": 1}]
    fields = {"order_id": "o", "occurred_at": "at", "currency": "'GBP'", "lines": "@"}
    fields |= {"lines.line_id": "row", "lines.sku": "code", "lines.quantity": "qty", "lines.unit_price": "net"}
    (refused,) = await read(
        json.dumps(flat),
        records="[*].{o: id, at: created, row: row, code: code, qty: qty, net: net}",
        fields=fields,
        values={},
    )
    assert "lines[0].quantity must be above 0" in refused.error
    assert json.loads(refused.value)["o"] == "1"

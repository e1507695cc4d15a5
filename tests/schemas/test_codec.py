import dataclasses
import struct
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from schemas.codec import (
    FACT_MAX_BYTES,
    TYPES,
    Codec,
    CodecError,
    UnencodableError,
    UnknownSchemaError,
    UnreadableError,
    embedded_codec,
)
from schemas.events import TYPE_NAMES, DispatchConfirmed, OrderPlaced, StockAdjusted
from schemas.letters import REASONS
from schemas.records import Anchor
from schemas.registry import embedded_registry, known_schemas, latest
from schemas.schema import Schema
from schemas.topics import TOPICS
from tests import strategies
from tests.schemas import oracle

CODEC = embedded_codec()
NOW = datetime(2024, 5, 1, 12, 30, 1, 123456, tzinfo=UTC)
EVENT = StockAdjusted(
    source="warehouse",
    company="acme",
    event_id="ADJ-1",
    occurred_at=NOW,
    observed_at=NOW,
    digest=bytes(16),
    sku="MUG",
    location="MAIN",
    delta=Decimal("-12.5"),
    reason="damaged",
)


@given(strategies.any_record())
def test_what_is_encoded_is_decoded_to_the_same(record: Any) -> None:
    assert record == CODEC.decode(CODEC.encode(record), type(record))


@given(strategies.any_record())
def test_fastavro_reads_what_we_write_and_needs_no_fewer_bytes(record: Any) -> None:
    """It writes one byte more than it must for -128, -32768 and so on."""
    data = CODEC.encode(record)
    schema = latest(known_schemas(), next(name for name, cls in TYPES.items() if cls is type(record)))

    assert oracle.plain(record) == oracle.read(schema, data[5:])
    assert len(oracle.write(schema, record)) >= len(data) - 5


def test_the_wire_format_is_confluents() -> None:
    assert struct.pack(">bI", 0, 5) == CODEC.encode(EVENT)[:5]


@pytest.mark.parametrize("path", strategies.record_examples(), ids=lambda path: f"{path.parts[-3]}/{path.stem}")
def test_every_example_survives_the_wire(path: Path) -> None:
    record = strategies.read_example(path)

    assert record == CODEC.decode(CODEC.encode(record), type(record))
    assert TYPES[path.parts[-3]] is type(record)


@pytest.mark.parametrize("path", strategies.record_examples(), ids=lambda path: "/".join(path.parts[-3:]))
def test_what_an_earlier_version_wrote_is_read_today(path: Path) -> None:
    """Written by the independent oracle with the schema of the example's own version, under that version's id."""
    key = f"{path.parts[-3]}.{path.parts[-2]}"
    record, schema = strategies.read_example(path), known_schemas()[key]
    prefix = b"\0" + embedded_registry().id_of(schema).to_bytes(4, "big")

    assert record == CODEC.decode(prefix + oracle.write(schema, record), type(record))


def test_every_version_of_every_record_has_an_example() -> None:
    assert {f"{path.parts[-3]}.{path.parts[-2]}" for path in strategies.record_examples()} == known_schemas().keys()


def test_every_topic_has_a_schema_and_an_example() -> None:
    named = {path.parts[-3] for path in strategies.record_examples()}
    assert {topic.name for topic in TOPICS if topic.value not in named} == {"inbox-dead-letter"}  # bytes as they came


@pytest.mark.parametrize("name", TYPE_NAMES.values())
def test_every_event_has_three_examples(name: str) -> None:
    assert len([path for path in strategies.examples() if path.parts[-3] == name]) >= 3


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"delta": Decimal("0.0000001")}, "delta: 1E-7 does not fit: at most 13 digits before and 6 after the point"),
        ({"delta": Decimal("10000000000000")}, "delta: 10000000000000 does not fit"),
        ({"delta": Decimal("NaN")}, "delta: NaN does not fit"),
        ({"delta": 1.5}, "delta: a float"),
        ({"delta": 1}, "AttributeError"),
        ({"occurred_at": datetime(2024, 5, 1)}, "occurred_at: a time without zone"),  # noqa: DTZ001 -- that is the case
        ({"sku": None}, "AttributeError"),
        ({"sku": "\ud800"}, "UnicodeEncodeError"),
        ({"digest": "text"}, "TypeError"),
    ],
)
def test_what_does_not_fit_is_refused_by_name_and_never_bent(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(UnencodableError, match=f"^stock_adjusted: {why}"):
        CODEC.encode(dataclasses.replace(EVENT, **fields))


def test_a_refusal_names_the_line() -> None:
    order = strategies.read_example(strategies.EXAMPLES / "order_placed/v1/paid-web-order.json")
    assert isinstance(order, OrderPlaced)
    line = dataclasses.replace(order.lines[1], unit_price=Decimal("0.0000001"))

    with pytest.raises(UnencodableError, match=r"^order_placed: lines\[1\]\.unit_price: "):
        CODEC.encode(dataclasses.replace(order, lines=(order.lines[0], line)))


def test_a_number_over_64_bits_is_refused() -> None:
    anchor = Anchor(topic="t", partition=0, offset=2**63, number=0, digest=b"", end=0, at=NOW)

    with pytest.raises(UnencodableError):
        CODEC.encode(anchor)


def test_a_record_longer_than_its_topic_takes_is_refused_both_ways() -> None:
    event = dataclasses.replace(EVENT, note="x" * FACT_MAX_BYTES)
    with pytest.raises(UnencodableError, match="split it"):
        CODEC.encode(event)

    data = b"\0\0\0\0\5" + oracle.write(known_schemas()["stock_adjusted.v1"], event)
    with pytest.raises(UnreadableError, match="at most"):
        CODEC.decode(data, StockAdjusted)
    with pytest.raises(UnreadableError, match="at most"):
        CODEC.columns(StockAdjusted, ("sku",))(data)


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0\0", b"\1\0\0\0\5", b'{"sku": 1}'])
def test_what_is_not_the_wire_format_is_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableError, match="wire format"):
        CODEC.decode(data, StockAdjusted)
    with pytest.raises(UnreadableError, match="wire format"):
        CODEC.columns(StockAdjusted, ("sku",))(data)


def test_an_id_that_the_registry_lacks_is_an_unknown_schema() -> None:
    with pytest.raises(UnknownSchemaError, match="no schema 99"):
        CODEC.decode(b"\0\0\0\0\x63abc", StockAdjusted)


def test_another_type_than_expected_is_unreadable() -> None:
    data = CODEC.encode(EVENT)

    assert CODEC.decode(data, (OrderPlaced, StockAdjusted)) == EVENT
    with pytest.raises(UnreadableError, match="a stock_adjusted where another"):
        CODEC.decode(data, (OrderPlaced, DispatchConfirmed))
    with pytest.raises(UnreadableError, match="a stock_adjusted where another"):
        CODEC.columns(Anchor, ("topic",))(data)


class RemoteRegistry:
    """What a Confluent registry looks like from here: other ids, and schemas of anybody."""

    def __init__(self, texts: dict[int, str]) -> None:
        self.texts, self.asked = texts, 0

    def id_of(self, schema: Schema) -> int:
        return 100_000 + len(schema.name)

    def schema_text(self, schema_id: int) -> str | None:
        self.asked += 1
        return self.texts.get(schema_id)


def test_another_registry_may_use_other_ids_and_is_asked_once() -> None:
    text = known_schemas()["stock_adjusted.v1"].text
    registry = RemoteRegistry({100_014: " ".join(text.split()).replace('"doc"', '"note"')})
    codec = Codec(registry)
    data = codec.encode(EVENT)

    assert (100_014).to_bytes(4, "big") == data[1:5]
    assert EVENT == codec.decode(data, StockAdjusted) == codec.decode(data, StockAdjusted)
    assert registry.asked == 1


@pytest.mark.parametrize(
    "change",
    [
        ("StockAdjusted", "StockAdjusted2"),
        ('"scale": 6', '"scale": 2'),
        ('{"name": "serials"', '{"name": "more", "type": "long"}, {"name": "serials"'),
        ('{"type": "array", "items": "string"}', '{"type": "array", "items": "null"}'),
        ('["null", "string"]', '["null", "StockAdjusted"]'),
    ],
)
def test_a_writers_schema_that_is_not_ours_is_refused_whatever_the_registry_says(
    change: tuple[str, str],
) -> None:
    text = known_schemas()["stock_adjusted.v1"].text
    codec = Codec(RemoteRegistry({5: text.replace(*change)}))

    with pytest.raises(UnknownSchemaError, match="none of schemas/avro"):
        codec.decode(CODEC.encode(EVENT), StockAdjusted)


def test_nonsense_from_the_registry_is_an_unknown_schema() -> None:
    with pytest.raises(UnknownSchemaError, match="not an Avro schema"):
        Codec(RemoteRegistry({5: "<html>"})).decode(CODEC.encode(EVENT), StockAdjusted)


@pytest.mark.parametrize("error", [UnencodableError, UnreadableError, UnknownSchemaError])
def test_every_error_has_a_reason_of_the_closed_list(error: type[CodecError]) -> None:
    assert error.reason in REASONS

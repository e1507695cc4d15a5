import dataclasses
import tracemalloc
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas.codec import TYPES, embedded_codec
from schemas.decimals import encode_decimal, unscaled
from schemas.decoder import MalformedError, Run, compile_columns, compile_decoder, compile_rows
from schemas.encoder import _long, compile_encoder
from schemas.events import StockAdjusted
from schemas.records import Anchor, SealedEpoch
from schemas.registry import known_schemas, latest
from schemas.schema import Schema, SchemaError, parse
from schemas.times import EPOCH_DAY, micros_of
from tests import strategies
from tests.schemas import oracle

STOCK = known_schemas()["stock_adjusted.v1"]
EPOCH = known_schemas()["sealed_epoch.v1"]
HOT = (
    "source",
    "company",
    "event_id",
    "occurred_at",
    "digest",
    "sku",
    "location",
    "delta",
    "reason",
    "to_location",
    "batches",
    "serials",
)
MEMBERS = (
    "number",
    "prev_digest",
    "start",
    "end",
    "no_ops",
    ("batches", ("source", "sku", "location", "event_ids", "digests")),
)
NAMES = {cls: name for name, cls in TYPES.items()}


@cache
def functions(cls: Any) -> tuple[Schema, Any, Any]:
    schema = latest(known_schemas(), NAMES[cls])
    return schema, compile_encoder(schema.record, b""), compile_decoder(schema.record, cls)


hot_columns = compile_columns(STOCK.record, HOT)
all_columns = compile_columns(STOCK.record, ())
seen_columns = compile_columns(EPOCH.record, MEMBERS)
#: One function for all examples: what it remembers of one must do no harm to another.
hot_rows = compile_rows(
    STOCK.record,
    (Run(HOT[:2]), *HOT[2:5], Run(HOT[5:7]), "delta", Run(HOT[8:])),
)


@given(strategies.any_record())
def test_what_fastavro_writes_is_read(record: Any) -> None:
    schema, _, decode = functions(type(record))

    assert record == decode(oracle.write(schema, record), 0)


@given(strategies.any_record(), st.data())
def test_every_truncation_and_every_extension_is_refused(record: Any, data: st.DataObject) -> None:
    _, encode, decode = functions(type(record))
    whole = encode(record)
    for cut in {0, len(whole) - 1, data.draw(st.integers(0, len(whole) - 1))}:
        with pytest.raises(MalformedError, match="at or before byte"):
            decode(whole[:cut], 0)
    with pytest.raises(MalformedError):
        decode(whole + data.draw(st.binary(min_size=1)), 0)


@given(strategies.stock_adjusted())
def test_columns_refuse_every_truncation(event: StockAdjusted) -> None:
    whole = functions(StockAdjusted)[1](event)
    for cut in range(len(whole)):
        for columns in (hot_columns, all_columns):
            with pytest.raises(MalformedError):
                columns(whole[:cut], 0)


@given(strategies.any_record(), st.data())
def test_mutated_bytes_are_refused_or_mean_what_fastavro_says(record: Any, data: st.DataObject) -> None:
    schema, encode, decode = functions(type(record))
    mutated = strategies.mutate(encode(record), data)
    try:
        value = decode(mutated, 0)
    except MalformedError:
        assume(False)

    assert oracle.plain(value) == oracle.read(schema, mutated)


@given(st.sampled_from([StockAdjusted, Anchor, SealedEpoch]), st.binary(max_size=300))
def test_any_bytes_are_refused_or_mean_what_fastavro_says(cls: type[Any], junk: bytes) -> None:
    schema, _, decode = functions(cls)
    try:
        value = decode(junk, 0)
    except MalformedError:
        return

    assert oracle.plain(value) == oracle.read(schema, junk)


@given(strategies.stock_adjusted(), st.data())
def test_columns_are_the_fields_of_the_full_value_whatever_the_bytes(event: StockAdjusted, data: st.DataObject) -> None:
    mutated = strategies.mutate(functions(StockAdjusted)[1](event), data)
    try:
        whole = functions(StockAdjusted)[2](mutated, 0)
    except MalformedError:
        return

    assert expected_columns(whole) == hot_columns(mutated, 0)


@given(strategies.stock_adjusted())
def test_columns_are_raw_fields_in_the_order_asked_for(event: StockAdjusted) -> None:
    data = functions(StockAdjusted)[1](event)

    assert expected_columns(event) == hot_columns(data, 0)
    assert (unscaled(event.delta), event.sku) == compile_columns(STOCK.record, ("delta", "sku"))(b"head" + data, 4)


def flat(row: tuple[Any, ...]) -> tuple[Any, ...]:
    whose, *middle, what, delta, how = row
    return (*whose, *middle, *what, delta, *how)


@given(strategies.stock_adjusted(), st.data())
def test_rows_are_columns_whatever_the_bytes_and_whatever_is_remembered(
    event: StockAdjusted, data: st.DataObject
) -> None:
    written = functions(StockAdjusted)[1](event)
    assert hot_columns(written, 0) == flat(hot_rows(written, 0)) == flat(hot_rows(written, 0))
    for bytes_ in (strategies.mutate(written, data), written[: data.draw(st.integers(0, len(written) - 1))]):
        try:
            columns = hot_columns(bytes_, 0)
        except MalformedError:
            with pytest.raises(MalformedError):
                hot_rows(bytes_, 0)
        else:
            assert columns == flat(hot_rows(bytes_, 0))


@pytest.mark.parametrize("length", [0, 1, 63, 64, 127, 128, 200, 20_000])
def test_strings_of_any_length_stand_in_runs(length: int) -> None:
    for name in ("source", "company", "sku", "location", "reason", "note"):
        event = StockAdjusted(
            **{
                "source": "s",
                "company": "c",
                "event_id": "e",
                "occurred_at": datetime(2026, 1, 2, tzinfo=UTC),
                "observed_at": datetime(2026, 1, 2, tzinfo=UTC),
                "digest": bytes(16),
                "sku": "A",
                "location": "M",
                "delta": Decimal(1),
                "reason": "count",
                name: "x" * length,
            }
        )
        data = functions(StockAdjusted)[1](event)
        assert hot_columns(data, 0) == flat(hot_rows(data, 0))


def test_equal_runs_are_one_object_and_what_is_long_is_not_remembered() -> None:
    read = compile_rows(STOCK.record, (Run(("reason", "to_location")), Run(("sku", "location"))))
    short, long = (
        StockAdjusted(
            source="s",
            company="c",
            event_id="e",
            occurred_at=datetime(2026, 1, 2, tzinfo=UTC),
            digest=bytes(16),
            sku="A",
            observed_at=datetime(2026, 1, 2, tzinfo=UTC),
            location="M" * size,
            delta=Decimal(1),
            reason="count",
        )
        for size in (1, 70)
    )
    written = functions(StockAdjusted)[1](short)
    first, again = read(written, 0), read(written, 0)
    assert first == (("count", None), ("A", "M"))
    assert all(one is other for one, other in zip(first, again, strict=True))
    written = functions(StockAdjusted)[1](long)
    assert read(written, 0)[1] is not read(written, 0)[1]


def test_a_run_that_others_stand_between_is_read_all_the_same() -> None:
    event = StockAdjusted(
        source="s",
        company="c",
        event_id="e",
        occurred_at=datetime(2026, 1, 2, tzinfo=UTC),
        digest=bytes(16),
        sku="A",
        observed_at=datetime(2026, 1, 2, tzinfo=UTC),
        location="M",
        delta=Decimal(1),
        reason="count",
    )
    read = compile_rows(STOCK.record, (Run(("source", "sku")), "company", Run(("delta", "reason"))))
    assert read(functions(StockAdjusted)[1](event), 0) == (("s", "A"), "c", (1_000_000, "count"))
    with pytest.raises(SchemaError, match="nowhere"):
        compile_rows(STOCK.record, (Run(("source", "nowhere")),))


@given(strategies.sealed_epochs())
def test_the_seen_set_is_read_without_making_batches(epoch: SealedEpoch) -> None:
    batches = [(b.source, b.sku, b.location, list(b.event_ids), b.digests) for b in epoch.batches]

    number, prev_digest, start, end, no_ops, found = seen_columns(functions(SealedEpoch)[1](epoch), 0)

    assert (epoch.number, epoch.prev_digest, epoch.start, epoch.end, epoch.no_ops) == (
        number,
        prev_digest,
        start,
        end,
        no_ops,
    )
    assert batches == [(*batch[:3], list(batch[3]), batch[4]) for batch in found]


def expected_columns(event: StockAdjusted) -> tuple[Any, ...]:
    raw: dict[str, Any] = {
        "occurred_at": micros_of(event.occurred_at),
        "delta": unscaled(event.delta),
        "batches": tuple((lot.number, unscaled(lot.quantity), days(lot.expires_on)) for lot in event.batches),
    }
    return tuple(raw.get(name, getattr(event, name)) for name in HOT)


def days(day: date | None) -> int | None:
    return None if day is None else day.toordinal() - EPOCH_DAY


THING = """{"type": "record", "name": "Thing", "namespace": "b1streams", "fields": [
    {"name": "items", "type": {"type": "array", "items": "string"}, "default": []},
    {"name": "number", "type": "long", "default": 0},
    {"name": "old", "type": ["string", "null"], "default": "x"},
    {"name": "yes", "type": "boolean", "default": false}]}"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    yes: bool = False
    number: int = 0
    items: tuple[str, ...] = ()
    new: Decimal | None = None


thing = compile_decoder(parse("thing", 1, THING).record, Thing)
REST = b"\x00\x02\x01"


def test_fields_are_resolved_by_name_the_old_skipped_the_new_by_default() -> None:
    assert Thing(yes=True, number=-3, items=("a", "bc")) == thing(b"\x04\x02a\x04bc\x00\x05\x00\x0613:\x01", 0)
    assert Thing(yes=True) == thing(b"\x00\x00\x02\x01", 0)


def test_blocks_may_be_many_and_may_say_their_length() -> None:
    assert Thing(items=("a", "b", "c"), yes=True) == thing(b"\x02\x02a\x03\x08\x02b\x02c\x00\x00\x02\x01", 0)


@pytest.mark.parametrize("number", [0, -1, 63, 64, -64, -65, 2**40, -(2**40), 2**55, 2**63 - 1, -(2**63)])
def test_numbers_of_every_length_are_read(number: int) -> None:
    data = oracle.write(parse("thing", 1, THING), {"items": [], "number": number, "old": None, "yes": False})

    assert number == thing(data, 0).number


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\x00" + b"\x80\x00" + b"\x02\x01", "a padded number"),
        (b"\x00" + b"\xff" * 9 + b"\x02" + b"\x02\x01", "a number over 64 bits"),
        (b"\x00" + b"\xff" * 1000 + b"\x02\x01", "a number without end"),
        (b"\x00\x00\x02\x02", "a boolean that is neither"),
        (b"\x00\x00\x04\x01", "a branch that is none"),
        (b"\x00\x00\x01\x01", "a negative branch"),
        (b"\x02\x01\x00" + REST, "a negative length"),
        (b"\x02\xff\xff\xff\xff\x0f\x00" + REST, "a negative length of many bytes"),
        (b"\x02\xfe\xff\xff\xff\x0f\x00" + REST, "a length over the bytes"),
        (b"\x00\x00\x00\x01\x01", "a negative length in what is skipped"),
        (b"\x80\x00" + REST, "a padded end of an array"),
        (b"\x03\x01\x00\x00\x00" + REST, "a negative length of a block"),
        (b"\x06" + b"\x00" * 2 + REST, "fewer items than the block says"),
    ],
)
def test_bytes_that_are_not_avro_are_refused(data: bytes, what: str) -> None:
    for read in (thing, compile_columns(parse("thing", 1, THING).record, ("yes",))):
        with pytest.raises(MalformedError):
            read(data, 0)


@pytest.mark.parametrize("text", [b"\xff", b"\xed\xa0\x80", b"\xc0\x80"])
def test_text_that_is_no_utf8_is_refused_where_it_is_read(text: bytes) -> None:
    data = b"\x02" + bytes([2 * len(text)]) + text + b"\x00" + REST

    with pytest.raises(MalformedError):
        thing(data, 0)
    with pytest.raises(MalformedError):
        compile_columns(parse("thing", 1, THING).record, ("items",))(data, 0)


@pytest.mark.parametrize(
    "count", [b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\xff\xff\xff\xff\x0f\x00", b"\x80\x80\x80\x80\x10"]
)
def test_a_bomb_costs_nothing(count: bytes) -> None:
    """A few bytes that announce up to 2**63 items; fastavro believes it of items without width (10 s, 1.5 GB)."""
    tracemalloc.start()
    try:
        with pytest.raises(MalformedError):
            thing(count, 0)
        assert tracemalloc.get_traced_memory()[1] < 20_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [10, 1_000, 900_000])
def test_a_decimal_of_more_than_19_digits_is_refused_before_it_is_computed(size: int) -> None:
    codec = embedded_codec()
    event = StockAdjusted(
        source="s",
        company="c",
        event_id="e",
        occurred_at=datetime(2024, 1, 1, tzinfo=UTC),
        observed_at=datetime(2024, 1, 1, tzinfo=UTC),
        digest=b"d",
        sku="s",
        location="l",
        delta=Decimal(1),
        reason="other",
    )
    _, encode, decode = functions(StockAdjusted)
    one = bytes([6]) + encode_decimal(Decimal(1))
    data = encode(event).replace(one, _long(size) + b"\x7f" * size)

    for read in (decode, hot_columns, all_columns):
        with pytest.raises(MalformedError):
            read(data, 0)
    assert event == codec.decode(codec.encode(event), StockAdjusted)


def test_a_time_outside_the_calendar_is_refused() -> None:
    anchor = Anchor(topic="t", partition=0, offset=0, number=0, digest=b"", end=0, at=datetime(2024, 1, 1, tzinfo=UTC))
    schema, encode, decode = functions(Anchor)
    whole = encode(anchor)
    early = oracle.write(schema, anchor).replace(whole[-8:], b"\x01")

    assert anchor == decode(whole, 0)
    assert datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC) == decode(early, 0).at
    with pytest.raises(MalformedError):
        decode(whole[:-8] + b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f", 0)


def test_a_class_that_the_schema_cannot_fill_is_refused() -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Demanding:
        more: str

    @dataclasses.dataclass(frozen=True)
    class Unslotted:
        number: int = 0

    record = parse("thing", 1, THING).record
    with pytest.raises(SchemaError, match=r"Demanding\.more has no default"):
        compile_decoder(record, Demanding)
    with pytest.raises(SchemaError, match="slotted"):
        compile_decoder(record, Unslotted)
    with pytest.raises(SchemaError, match="has no nothing"):
        compile_columns(record, ("nothing",))

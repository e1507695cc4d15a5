"""What compression hides is unpacked within a bound, by every codec that Kafka has."""

import gzip
import tracemalloc
from typing import Any

import cramjam
import pytest
from aiokafka import codec
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from schemas.letter_bounds import FIRST_BYTES, VALUE_SIZE
from streams.kafka import decompression
from streams.kafka.decompression import MAX_BATCH_BYTES, OversizedBatchError, bound_decompression

BOMB = bytes(MAX_BATCH_BYTES + 1)
CODECS: dict[str, Any] = {
    "zstd": (codec.zstd_encode, decompression.zstd_decode),
    "lz4": (codec.lz4_encode, decompression.lz4_decode),
    "snappy": (codec.snappy_encode, decompression.snappy_decode),
    "snappy raw": (lambda data: bytes(cramjam.snappy.compress_raw(data)), decompression.snappy_decode),
    "gzip": (gzip.compress, decompression.gzip_decode),
}


@pytest.mark.parametrize("name", CODECS)
@given(data=st.binary(max_size=200_000))
def test_what_fits_comes_out_as_it_went_in(name: str, data: bytes) -> None:
    pack, unpack = CODECS[name]
    assert unpack(pack(data)) == data


@pytest.mark.parametrize("name", CODECS)
def test_what_does_not_fit_is_refused_with_its_beginning_and_within_the_bound(name: str) -> None:
    pack, unpack = CODECS[name]
    packed = pack(BOMB)
    tracemalloc.start()
    try:
        with pytest.raises(OversizedBatchError) as refused:
            unpack(packed)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert bytes(FIRST_BYTES).startswith(refused.value.first)
    assert peak < 3 * MAX_BATCH_BYTES


@pytest.mark.parametrize("name", CODECS)
def test_damaged_bytes_are_no_oversized_batch(name: str) -> None:
    pack, unpack = CODECS[name]
    with pytest.raises(Exception) as refused:
        unpack(pack(b"some data" * 100)[:20] + b"damage")
    assert not isinstance(refused.value, OversizedBatchError)


def packed(base: int, *values: bytes) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 4, 0, -1, -1, -1, 1 << 31)  # zstd
    for n, value in enumerate(values):
        builder.append(n, 7, b"k", value, [])
    return base.to_bytes(8, "big") + bytes(builder.build())[8:]


def read(data: bytes, start: int = 0) -> tuple[list[Any], int]:
    bound_decompression()
    records = fetcher.PartitionRecords("tp", MemoryRecords(data), None, start, None, None, True, 0)
    records._consumer_record = lambda _tp, record: record
    return list(records), records.next_fetch_offset


def test_a_batch_that_is_too_long_is_one_record_with_its_beginning_and_what_follows_is_read() -> None:
    found, after = read(packed(0, b"a") + packed(1, b"b", BOMB, b"c") + packed(4, b"d"))
    assert [(one.offset, one.value) for one in (found[0], found[2])] == [(0, b"a"), (4, b"d")]
    assert (found[1].offset, found[1].key, len(found[1].value)) == (1, None, FIRST_BYTES)
    assert found[1].headers == ((VALUE_SIZE, b"more than 67108864, in a batch of 3 records"),)
    assert after == 5
    # Committed behind the one record that stands for it: the batch is not read again
    again, after = read(packed(1, b"b", BOMB, b"c") + packed(4, b"d"), start=2)
    assert [one.offset for one in again] == [4]


def test_a_fetch_ends_early_when_it_has_unpacked_enough() -> None:
    value = bytes(decompression.MAX_FETCH_BYTES // 2)
    batches, after = [packed(n, value) for n in range(5)], 0
    fetches = list[list[int]]()
    while after < len(batches):
        found, after = read(b"".join(batches[after:]), start=after)
        fetches.append([one.offset for one in found])
    assert fetches == [[0, 1], [2, 3], [4]]

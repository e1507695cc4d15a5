"""Record batches are unpacked within a bound: what a producer's compression hides must not take the process's memory.

aiokafka 0.14 unpacks a batch whole: a megabyte of it may come to many gigabytes. Here one that comes to more than
`MAX_BATCH_BYTES` is read as a single record with the beginning of what is in it, which nobody can decode and which so
becomes a dead letter; and a fetch ends early when it has unpacked `MAX_FETCH_BYTES`.
"""

import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import cramjam
from aiokafka.consumer import fetcher

from schemas.letter_bounds import FIRST_BYTES, VALUE_SIZE

MAX_BATCH_BYTES = 64 * 1024 * 1024
#: Of one fetch of one partition; the batch in which it is reached is still read.
MAX_FETCH_BYTES = 16 * 1024 * 1024
_MODULES = (
    "aiokafka.record.default_records",
    "aiokafka.record._crecords.default_records",
)
_XERIAL_MAGIC, _XERIAL_HEADER_BYTES = b"\x82SNAPPY\x00", 16
_GZIP = 31  # zlib's number for a gzip header and trailer


class _Unpacking(threading.local):
    """What this thread unpacks into, and how many bytes it has unpacked. Pages that were never needed cost nothing."""

    def __init__(self) -> None:
        self.buffer = bytearray(MAX_BATCH_BYTES)
        self.done_bytes = 0

    def taken(self, size: int) -> bytes:
        self.done_bytes += size
        return bytes(memoryview(self.buffer)[:size])


_unpacking = _Unpacking()


class OversizedBatchError(Exception):
    """A record batch comes to more than `MAX_BATCH_BYTES`; `first` is its beginning."""

    def __init__(self, first: bytes) -> None:
        super().__init__(f"a record batch comes to more than {MAX_BATCH_BYTES} bytes")
        self.first = first


@dataclass(frozen=True, slots=True)
class OversizedBatch:
    """What is read in place of the records of a batch that is not unpacked."""

    offset: int
    timestamp: int
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    timestamp_type: int = 0
    key: bytes | None = None
    checksum: int | None = None


def _into(decompress_into: Any, payload: Any) -> bytes:
    try:
        return _unpacking.taken(decompress_into(payload, _unpacking.buffer))
    except cramjam.DecompressionError as error:
        if "whole buffer" not in str(error):
            raise
        raise OversizedBatchError(bytes(memoryview(_unpacking.buffer)[:FIRST_BYTES])) from None


def zstd_decode(payload: Any) -> bytes:
    return _into(cramjam.zstd.decompress_into, payload)


def lz4_decode(payload: Any) -> bytes:
    return _into(cramjam.lz4.decompress_into, payload)


def gzip_decode(payload: Any) -> bytes:
    unpacker = zlib.decompressobj(_GZIP)
    data = unpacker.decompress(payload, MAX_BATCH_BYTES + 1)
    if len(data) > MAX_BATCH_BYTES:
        raise OversizedBatchError(data[:FIRST_BYTES])
    if not unpacker.eof:
        raise EOFError("the end of the gzip stream is missing")
    _unpacking.done_bytes += len(data)
    return data


def snappy_decode(payload: Any) -> bytes:
    whole, parts, size = memoryview(payload), list[bytes](), 0
    for block in _snappy_blocks(whole):
        size += cramjam.snappy.decompress_raw_len(block)
        if size > MAX_BATCH_BYTES:
            raise OversizedBatchError(b"".join(parts)[:FIRST_BYTES])
        parts.append(bytes(cramjam.snappy.decompress_raw(block)))
    _unpacking.done_bytes += size
    return b"".join(parts)


def _snappy_blocks(payload: memoryview) -> Iterator[memoryview]:
    """The raw blocks of a stream framed as Java's snappy library frames it, or the one block that it is."""
    if bytes(payload[:8]) != _XERIAL_MAGIC:
        yield payload
        return
    at = _XERIAL_HEADER_BYTES
    while at < len(payload):
        (size,) = struct.unpack_from("!i", payload, at)
        yield payload[at + 4 : at + 4 + size]
        at += 4 + size


class _BoundedBatch:
    """A record batch of aiokafka's; unpacked when it is iterated."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(self._batch)
        except OversizedBatchError as error:
            return iter([_stand_in(self._batch, error)])


def _stand_in(batch: Any, error: OversizedBatchError) -> OversizedBatch:
    records = batch.next_offset - batch.base_offset
    size = f"more than {MAX_BATCH_BYTES}, in a batch of {records} records"
    return OversizedBatch(batch.base_offset, batch.max_timestamp, error.first, ((VALUE_SIZE, size.encode()),))


class _BoundedRecords:
    """The batches of one fetch of one partition."""

    def __init__(self, records: Any) -> None:
        self._records, self._started_at = records, _unpacking.done_bytes

    def has_next(self) -> bool:
        has_next: bool = self._records.has_next()
        return has_next and _unpacking.done_bytes - self._started_at < MAX_FETCH_BYTES

    def next_batch(self) -> _BoundedBatch:
        return _BoundedBatch(self._records.next_batch())


class BoundedPartitionRecords(fetcher.PartitionRecords):
    """aiokafka's, over batches that are unpacked within a bound."""

    def __init__(self, tp: Any, records: Any, *arguments: Any) -> None:
        super().__init__(tp, _BoundedRecords(records), *arguments)  # type: ignore[no-untyped-call]  # aiokafka has none


def bound_decompression() -> None:
    """Let every consumer of this process unpack within the bounds."""
    fetcher.PartitionRecords = BoundedPartitionRecords  # type: ignore[misc]  # the name that the fetcher looks up
    for name in _MODULES:
        try:
            module = import_module(name)
        except ImportError:  # without aiokafka's compiled parts
            continue
        for decode in (zstd_decode, lz4_decode, gzip_decode, snappy_decode):
            if hasattr(module, decode.__name__):
                setattr(module, decode.__name__, decode)

"""Epochs fit their topic, whatever their records hold."""

from typing import Any

import pytest

from schemas.codec import UnencodableError
from schemas.records import SealedEpoch
from tests.streams.fakes import MemoryLog
from tests.streams.virtual import Clock
from tests.streams.windows.test_epoch import event
from tests.streams.windows.test_partition import CODEC, STOCK, Worker, configured, epochs, put


@pytest.fixture
async def clock() -> Clock:
    return Clock()


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog.of(configured())


@pytest.mark.parametrize("header_bytes", [8_000, 30_000])
async def test_refused_records_with_long_headers_are_sealed_in_smaller_epochs(
    log: MemoryLog, clock: Clock, header_bytes: int
) -> None:
    """A window is reckoned by its events' bytes; an epoch also holds keys and headers of what it refuses."""
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    for _ in range(999):
        await log.send(STOCK, 0, b"sku", b"not avro", [("baggage", bytes(header_bytes))])
    await put(log, event("a"))
    batch = await worker.read(0)
    assert batch.all_finished
    assert [(one.start, one.end) for one in epochs(log)][-1][1] == 1_000
    assert sum(len(one.skipped) for one in epochs(log)) == 999
    assert [item.event_ids for one in epochs(log) for item in one.batches] == [("a",)]
    await worker.route()
    assert len(log._records["stock-adjusted-dead-letter", 0]) == 999


async def test_a_record_that_compression_made_small_is_skipped_with_its_first_bytes(
    log: MemoryLog, clock: Clock
) -> None:
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    long_sku = CODEC.encode(event("b", sku="9" * 900_000))
    await put(log, bytes(6 * 1024 * 1024), long_sku, event("a"))
    assert (await worker.read(0)).all_finished
    sealed = epochs(log)
    assert [(skip.why, len(skip.value or b""), skip.sku) for one in sealed for skip in one.skipped] == [
        ("unreadable", 65_536, None),
        ("invalid_event", len(long_sku), None),
    ]
    assert [item.event_ids for one in sealed for item in one.batches] == [("a",)]


async def test_one_event_whose_epoch_is_longer_than_its_topic_takes_is_refused_alone(
    log: MemoryLog, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(log, clock)
    await worker.partition.open(None, 0)
    encode = worker.partition._codec.encode

    def strict(record: Any) -> bytes:
        if isinstance(record, SealedEpoch) and any("big" in item.event_ids for item in record.batches):
            raise UnencodableError("sealed_epoch: longer than its topic takes")
        return encode(record)

    monkeypatch.setattr(worker.partition._codec, "encode", strict)
    await put(log, *(event(name) for name in "abc"), event("big"), *(event(name) for name in "de"))
    await worker.read(0)
    await worker.partition.seal("length")
    members = [name for one in epochs(log) for item in one.batches for name in item.event_ids]
    assert sorted(members) == ["a", "b", "c", "d", "e"]
    assert [skip.why for one in epochs(log) for skip in one.skipped] == ["invalid_event"]

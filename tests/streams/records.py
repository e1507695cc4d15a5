"""Fetched batches as an agent is handed them, and what was said of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.structs import ConsumerRecord

from schemas.codec import Codec
from schemas.events import FactEvent
from streams.log import Record


def raw(
    topic: str, offset: int, value: bytes | None, key: bytes | None = b"key", *, partition: int = 0, timestamp: int = 1_000,
    headers: Sequence[tuple[str, bytes]] = (),
) -> Any:  # fmt: skip
    return ConsumerRecord(topic, partition, offset, timestamp, 0, key, value, None, 0, len(value or b""), tuple(headers))


def raw_of(record: Record) -> Any:
    return raw(record.topic, record.offset, record.value, record.key, partition=record.partition, timestamp=record.timestamp_ms, headers=record.headers)  # fmt: skip


def rows_of(codec: Codec, topic: str, events: Sequence[FactEvent | bytes], start: int = 0) -> list[Any]:
    """Records of a partition, one behind the other."""
    values = [event if isinstance(event, bytes) else codec.encode(event) for event in events]
    return [raw(topic, start + n, value) for n, value in enumerate(values)]


class FakeBatch:
    """Attributes: `finished` is what was said of each record, in the order in which it was."""

    def __init__(self, records: Sequence[Any]) -> None:
        self.records, self.live = records, True
        self.finished: dict[int, Mapping[tuple[str, str], int]] = {}

    def open(self) -> Sequence[Any]:
        return self.records

    def finish(self, offset: int, counts: Mapping[tuple[str, str], int] | None = None) -> None:
        assert offset not in self.finished, f"{offset} is finished twice"
        assert any(record.offset == offset for record in self.records)
        self.finished[offset] = dict(counts or {})

    @property
    def all_finished(self) -> bool:
        return len(self.finished) == len(self.records)

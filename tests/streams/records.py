"""Fetched batches as an agent is handed them, and what was said of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.structs import ConsumerRecord

from connectors.base.log import Record
from schemas.codec import Codec
from schemas.events import FactEvent
from streams.config.load import Config, parse
from tests.streams.fakes import ENVIRON, ROOT, example


def raw(
    topic: str,
    offset: int,
    value: bytes | None,
    key: bytes | None = b"key",
    *,
    partition: int = 0,
    timestamp: int = 1_000,
    headers: Sequence[tuple[str, bytes]] = (),
) -> Any:
    return ConsumerRecord(
        topic, partition, offset, timestamp, 0, key, value, None, 0, len(value or b""), tuple(headers)
    )


def raw_of(record: Record) -> Any:
    return raw(
        record.topic,
        record.offset,
        record.value,
        record.key,
        partition=record.partition,
        timestamp=record.timestamp_ms,
        headers=record.headers,
    )


def rows_of(codec: Codec, topic: str, events: Sequence[FactEvent | bytes], start: int = 0) -> list[Any]:
    """Records of a partition, one behind the other."""
    values = [event if isinstance(event, bytes) else codec.encode(event) for event in events]
    return [raw(topic, start + n, value) for n, value in enumerate(values)]


class FakeBatch:
    """Attributes: `finished` is what was said of each record, in the order in which it was."""

    def __init__(self, records: Sequence[Any]) -> None:
        self.records, self.live = records, True
        self.topic, self.partition = (records[0].topic, records[0].partition) if records else ("", 0)
        self.finished: dict[int, Mapping[tuple[str, str], int]] = {}

    def open(self) -> Sequence[Any]:
        return self.records

    def finish(self, offset: int, counts: Mapping[tuple[str, str], int] | None = None) -> None:
        assert offset not in self.finished, f"{offset} is finished twice"
        assert any(record.offset == offset for record in self.records)
        self.finished[offset] = dict(counts or {})

    def finish_through(self, offset: int, counts: Mapping[tuple[str, str], int] | None = None) -> None:
        before = [record.offset for record in self.records if record.offset < offset]
        for each in before:
            if each not in self.finished:
                self.finish(each)
        self.finish(offset, counts)

    @property
    def all_finished(self) -> bool:
        return len(self.finished) == len(self.records)


def two_companies(**kafka: Any) -> Config:
    """acme on partition 0 and beta on the last one, each with a warehouse of its own connector."""
    data = example()
    data["kafka"] |= {"partitions": 2, "company_partitions": 3, **kafka}
    acme = data["companies"]["acme"]
    acme["window"] = {"length_s": 60, "max_members": 10}
    data["companies"]["beta"] = {
        **acme,
        "partition": 2,
        "company_db": "SBO_BETA",
        "window": {"length_s": 5, "max_members": 900},
        "warehouses": {"B1": {"owner": "depot", "location": "MAIN"}},
    }
    data["connectors"]["depot"] = {"kind": "ims", "company": "beta", "inbox": "in/depot"}
    return parse(data, ROOT, ENVIRON)

"""A broker in memory for tests of what reads and writes through `Log`, and a configuration to go with it."""

import tomllib
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from connectors.base.errors import LogRefusedError, LogUnavailableError
from connectors.base.log import Headers, Outgoing, Record, Sent
from streams.config.load import Config, parse
from streams.kafka.log import BrokerTopic, Committed, partition_of
from streams.kafka.topics import wanted

ROOT = Path(__file__).parents[2]
PASSWORD = "canary-7f3a-hunter2"  # must never be seen anywhere
ENVIRON = {"ACME_B1_PASSWORD": PASSWORD}


def example() -> dict[str, Any]:
    return tomllib.loads((ROOT / "streams.example.toml").read_text(encoding="utf-8"))


def config(folder: Path = ROOT, **kafka: Any) -> Config:
    """The example configuration with few partitions."""
    data = example()
    data["kafka"] |= {"partitions": 2, "company_partitions": 2, **kafka}
    return parse(data, folder, ENVIRON)


class MemoryLog:
    """`streams.kafka.client.Log` in memory: one replica, no retention, never away unless `away` says why.

    Attributes:
        commits: What groups have committed; set it as a group would.
        now_ms: The broker's clock: records of some topics bear it, whatever their publisher says.
    """

    def __init__(self, topics: Iterable[BrokerTopic] = ()) -> None:
        self._topics: dict[str, BrokerTopic] = {}
        self._ids: dict[str, str] = {}
        self._made = 0
        self._records: dict[tuple[str, int], list[Record]] = {}
        self._first: dict[tuple[str, int], int] = {}
        self.commits: dict[str, dict[tuple[str, int], Committed]] = {}
        self.now_ms = 1_000_000
        self.away: str | None = None
        for topic in topics:
            self._make(topic)

    @classmethod
    def of(cls, config: Config) -> "MemoryLog":
        """With all topics of a configuration."""
        return cls(wanted(config))

    def _make(self, topic: BrokerTopic) -> None:
        self._topics[topic.name] = topic
        self._made += 1
        self._ids[topic.name] = f"id-{self._made}"
        for partition in range(topic.partitions):
            self._records[topic.name, partition] = []
            self._first[topic.name, partition] = 0

    def _partition(self, topic: str, partition: int) -> list[Record]:
        if self.away:
            raise LogUnavailableError(self.away)
        if (topic, partition) not in self._records:
            raise LogRefusedError(f"no such partition: {topic}/{partition}")
        return self._records[topic, partition]

    def commit(self, group: str, topic: str, partition: int, offset: int, metadata: str = "") -> None:
        self.commits.setdefault(group, {})[topic, partition] = Committed(offset, metadata)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def send(
        self,
        topic: str,
        partition: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        timestamp_ms: int | None = None,
    ) -> Sent:
        return (await self.send_many([Outgoing(topic, key, value, partition, headers, timestamp_ms)]))[0]

    async def send_many(self, records: Sequence[Outgoing]) -> list[Sent]:
        sent = []
        for each in records:
            partition = each.partition
            if partition is None:
                partition = await self.partition_for(each.topic, each.key) if each.key is not None else 0
            lying = self._partition(each.topic, partition)
            own = self._topics[each.topic].configs.get("message.timestamp.type") == "LogAppendTime"
            stamp_ms = self.now_ms if own or each.timestamp_ms is None else each.timestamp_ms
            lying.append(Record(each.topic, partition, len(lying), stamp_ms, each.key, each.value, tuple(each.headers)))
            sent.append(Sent(partition, len(lying) - 1))
        return sent

    async def partition_for(self, topic: str, key: bytes) -> int:
        return partition_of(key, self._topics[topic].partitions)

    async def read(
        self, topic: str, partition: int, start: int, end: int | None = None
    ) -> AsyncGenerator[list[Record], None]:
        first, last = await self.bounds(topic, partition)
        records = self._partition(topic, partition)[max(start, first) : last if end is None else min(end, last)]
        for at in range(0, len(records), 3):
            yield records[at : at + 3]

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        end = len(self._partition(topic, partition))
        return self._first[topic, partition], end

    async def offset_for_time(self, topic: str, partition: int, timestamp_ms: int) -> int:
        first, end = await self.bounds(topic, partition)
        lying = self._partition(topic, partition)
        return next((offset for offset in range(first, end) if lying[offset].timestamp_ms >= timestamp_ms), end)

    async def committed(self, group: str) -> dict[tuple[str, int], Committed]:
        return dict(self.commits.get(group, {}))

    async def topics(self) -> dict[str, int]:
        if self.away:
            raise LogUnavailableError(self.away)
        return {name: topic.partitions for name, topic in self._topics.items()}

    async def create_topics(self, topics: Iterable[BrokerTopic]) -> set[str]:
        new = {topic.name: topic for topic in topics if topic.name not in self._topics}
        for topic in new.values():
            self._make(topic)
        return set(new)

    def make_anew(self, topic: str) -> None:
        """Delete a topic and make it again: its records and what groups have committed of it are gone."""
        self._make(self._topics[topic])
        for commits in self.commits.values():
            for place in [place for place in commits if place[0] == topic]:
                del commits[place]

    async def topic_ids(self, names: Iterable[str]) -> dict[str, str]:
        if self.away:
            raise LogUnavailableError(self.away)
        return {name: self._ids[name] for name in names if name in self._ids}

    async def describe(self, names: Iterable[str]) -> dict[str, BrokerTopic]:
        if self.away:
            raise LogUnavailableError(self.away)
        return {name: self._topics[name] for name in names if name in self._topics}

    async def configure(self, topic: str, configs: Mapping[str, str]) -> None:
        there = self._topics[topic]
        self._topics[topic] = replace(there, configs={**there.configs, **configs})

    async def delete_records(self, topic: str, partition: int, before: int) -> None:
        self._first[topic, partition] = max(self._first[topic, partition], before)

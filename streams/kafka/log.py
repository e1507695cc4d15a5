"""The broker as the rest of the code sees it: the `Log` protocol, and which partition a key belongs to."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aiokafka.partitioner import murmur2

from connectors.base.log import Headers, Outgoing, Record, Sent


@dataclass(frozen=True, slots=True)
class Committed:
    """What a group has committed for a partition: the next offset to process, and what it wrote beside it."""

    offset: int
    metadata: str


@dataclass(frozen=True, slots=True)
class BrokerTopic:
    """A topic to make, or as it is. `configs` are Kafka's own topic settings, all of them when read from the broker."""

    name: str
    partitions: int
    replication: int
    configs: Mapping[str, str] = field(default_factory=dict)


class Log(Protocol):
    """The broker, to those who send, read and look; `KafkaLog` is the real one.

    Every method may raise `LogUnavailableError` or `LogRefusedError`. Connectors see a part of it,
    `connectors.base.log.Broker`.
    """

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Deliver what was sent, as far as the broker lets us within seconds, and disconnect."""

    async def send(
        self,
        topic: str,
        partition: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        timestamp_ms: int | None = None,
    ) -> Sent:
        """Send one record and wait until all in-sync replicas have it.

        Args:
            topic: An existing topic.
            partition: None: by the key (`partition_for`), or any when there is no key.
            key: Ordering and compaction go by it.
            value: None is a tombstone; it needs a key.
            headers: May repeat names.
            timestamp_ms: Unix time; None: now.
        """

    async def send_many(self, records: Sequence[Outgoing]) -> list[Sent]:
        """Send records, in order within each partition, and wait for all of them; answers in the same order."""

    async def partition_for(self, topic: str, key: bytes) -> int:
        """The partition in which every producer of ours puts this key."""

    def read(
        self, topic: str, partition: int, start: int, end: int | None = None
    ) -> AsyncGenerator[list[Record], None]:
        """Read a range without a group, in batches and in order.

        Close it when leaving early (`contextlib.aclosing`): it holds one of a few connections.

        Args:
            topic: An existing topic.
            partition: One of its partitions.
            start: First offset; when the log starts later, reading does too (see `bounds`).
            end: Offset to stop before; at most, and by default, the end at the time of the call.
        """

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """The first offset that is still there, and the one that the next record will get."""

    async def offset_for_time(self, topic: str, partition: int, timestamp_ms: int) -> int:
        """The first offset whose record is of this time (Unix) or later; the end when there is none."""

    async def committed(self, group: str) -> dict[tuple[str, int], Committed]:
        """All that a group has committed, by topic and partition."""

    async def topics(self) -> dict[str, int]:
        """Number of partitions of each topic, Kafka's own topics aside."""

    async def create_topics(self, topics: Iterable[BrokerTopic]) -> set[str]:
        """Make topics and wait until they can be used; the names of those that were not there before."""

    async def topic_ids(self, names: Iterable[str]) -> dict[str, str]:
        """Kafka's own ids of topics, which differ when a topic was deleted and made again; none where it shows none."""

    async def describe(self, names: Iterable[str]) -> dict[str, BrokerTopic]:
        """Topics as they are; those that do not exist are left out."""

    async def configure(self, topic: str, configs: Mapping[str, str]) -> None:
        """Set these settings of a topic; the others stay as they are."""

    async def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Let Kafka forget the records before this offset."""


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, as Kafka's own clients have it (murmur2)."""
    number: int = murmur2(key)  # type: ignore[no-untyped-call]  # aiokafka has no types
    return (number & 0x7FFFFFFF) % partitions

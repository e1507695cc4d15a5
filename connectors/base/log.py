"""Records as they go to Kafka and lie there: one set of types for connectors and the rest."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: By name, in order; a name may come more than once.
Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it lies in a partition; `timestamp_ms` is Unix time, set by whoever published it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to send.

    Attributes:
        topic: An existing topic.
        key: Ordering and compaction go by it.
        value: None is a tombstone; it needs a key.
        partition: None: by the key, or any where there is none.
        headers: Of the record.
        timestamp_ms: Unix time; None: now.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    headers: Headers = ()
    timestamp_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """Where the broker has put a record."""

    partition: int
    offset: int


class Broker(Protocol):
    """Kafka, as far as connectors need it.

    Every method raises only `LogUnavailableError` (a send may have landed) and `LogRefusedError`.
    """

    async def send_many(self, records: Sequence[Outgoing]) -> Sequence[Sent]:
        """Send in order within each partition and wait until all in-sync replicas have all of them."""

    def read(self, topic: str, partition: int, start: int, end: int) -> AsyncGenerator[Sequence[Record], None]:
        """Read offsets `[start, end)`, in order; offsets that compaction has taken are missing."""

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """The first offset that is still there, and the one that the next record will get."""


def milliseconds(moment: datetime) -> int:
    """Unix time of an aware moment, as Kafka's timestamps have it."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000

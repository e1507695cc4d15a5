"""Kafka and time in memory, with something to do at every await."""

import asyncio
import zlib
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from connectors.base.log import Outgoing, Record, Sent

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class Crash(Exception):  # noqa: N818 -- not an error of anybody
    """The process is gone."""


class Immediately(Random):
    """Draws no wait."""

    def uniform(self, a: float, _b: float) -> float:
        return a


@dataclass
class MemoryBroker:
    """`connectors.base.log.Broker`. `before` and `after` are called at every await, with what is done there."""

    partitions: int = 3
    logs: dict[tuple[str, int], list[Record]] = field(default_factory=lambda: defaultdict(list))
    before: Callable[[str], None] = lambda _what: None
    after: Callable[[str], None] = lambda _what: None
    calls: list[str] = field(default_factory=list)

    async def send_many(self, records: Sequence[Outgoing]) -> list[Sent]:
        what = f"send {records[0].topic}"
        self.calls.append(what)
        await asyncio.sleep(0)
        self.before(what)
        sent = []
        for each in records:
            partition = each.partition if each.partition is not None else zlib.crc32(each.key or b"") % self.partitions
            log = self.logs[each.topic, partition]
            offset = log[-1].offset + 1 if log else 0
            log.append(
                Record(each.topic, partition, offset, each.timestamp_ms or 0, each.key, each.value, each.headers)
            )
            sent.append(Sent(partition, offset))
        self.after(what)
        return sent

    async def read(self, topic: str, partition: int, start: int, end: int) -> AsyncGenerator[list[Record], None]:
        await asyncio.sleep(0)
        self.before(f"read {topic}")
        found = [each for each in self.logs[topic, partition] if start <= each.offset < end]
        for index in range(0, len(found), 7):
            yield found[index : index + 7]

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        await asyncio.sleep(0)
        log = self.logs[topic, partition]
        return (log[0].offset, log[-1].offset + 1) if log else (0, 0)

    def compact(self, topic: str, partition: int, end: int) -> None:
        """What Kafka's log cleaner does to the records before an offset: of each key the last stays."""
        log = self.logs[topic, partition]
        last = {each.key: each.offset for each in log if each.offset < end}
        log[:] = [each for each in log if each.offset >= end or last[each.key] == each.offset]

    def all(self, topic: str) -> list[Record]:
        return [each for (name, _), log in sorted(self.logs.items()) if name == topic for each in log]


@dataclass
class FixedClock:
    at: datetime = NOW

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return 0.0

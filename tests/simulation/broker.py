"""A broker in memory: partitions with offsets, producers that may lose answers, one consumer group with generations."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from aiokafka.structs import ConsumerRecord

from connectors.base.errors import LogRefusedError, LogUnavailableError
from connectors.base.log import Headers, Outgoing, Record, Sent
from streams.kafka.log import BrokerTopic, Committed, partition_of
from tests.simulation.loop import Process, VirtualLoop

#: The broker's own clock in Unix time at virtual second 0: 2026-03-14 12:00 UTC.
EPOCH_S = 1_773_489_600.0

Place = tuple[str, int]
_Group = list[tuple[Outgoing, "asyncio.Future[Sent]"]]


@dataclass(slots=True)
class BrokerFaults:
    """What goes wrong with calls while it is on. Shares of calls; seconds."""

    lost_request: float = 0.0  # not written, and the producer is told that nobody knows
    lost_answer: float = 0.0  # written, and the producer is told that nobody knows
    in_parts: float = 0.0  # of groups for one partition: written in several produce requests, others' records between
    failed_read: float = 0.0
    slow_s: float = 0.0  # every call takes up to this much longer


@dataclass(slots=True)
class Partition:
    records: list[Record] = field(default_factory=list)
    raw: list[Any] = field(default_factory=list)
    watchers: list[Callable[[], None]] = field(default_factory=list)


class Broker:
    """Topics, and what the group has committed. `on_append` and `on_commit` are the checker's eyes."""

    def __init__(self, loop: VirtualLoop, random: Random, topics: Iterable[BrokerTopic]) -> None:
        self.loop, self.random = loop, random
        self.partitions: dict[Place, Partition] = {}
        self.counts: dict[str, int] = {}
        self.broker_time: set[str] = set()
        self.max_bytes: dict[str, int] = {}
        for topic in topics:
            self.max_bytes[topic.name] = int(topic.configs.get("max.message.bytes", 1_048_588))
            self.counts[topic.name] = topic.partitions
            if topic.configs.get("message.timestamp.type") == "LogAppendTime":
                self.broker_time.add(topic.name)
            for number in range(topic.partitions):
                self.partitions[topic.name, number] = Partition()
        self.committed: dict[Place, Committed] = {}
        self.faults = BrokerFaults()
        self.trace: list[object] = []
        self.on_commit: Callable[[dict[Place, Committed]], None] = lambda _: None

    def now_ms(self) -> int:
        return int((EPOCH_S + self.loop.time()) * 1000)

    def append(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers, stamp_ms: int | None
    ) -> int:
        lying = self.partitions[topic, partition]
        offset = len(lying.records)
        if stamp_ms is None or topic in self.broker_time:
            stamp_ms = self.now_ms()
        lying.records.append(Record(topic, partition, offset, stamp_ms, key, value, tuple(headers)))
        lying.raw.append(
            ConsumerRecord(
                topic,
                partition,
                offset,
                stamp_ms,
                0,
                key,
                value,
                None,
                len(key or b""),
                len(value or b""),
                tuple(headers),
            )
        )
        self.trace.append((round(self.loop.time(), 6), topic, partition, offset, value))
        for watcher in lying.watchers:
            watcher()
        return offset

    def fetch(self, place: Place, start: int, most: int) -> list[Any]:
        """Records as a consumer is handed them, from an offset on."""
        return self.partitions[place].raw[start : start + most]

    def end(self, topic: str, partition: int) -> int:
        return len(self.partitions[topic, partition].records)

    def commit(self, offsets: dict[Place, Committed]) -> None:
        self.trace.append((round(self.loop.time(), 6), *sorted(offsets.items(), key=lambda item: item[0])))
        self.on_commit(offsets)
        self.committed.update(offsets)


class WorkerLog:
    """`streams.kafka.client.Log` as one process has it.

    Its sends to a partition arrive in order, and whether or not it lives on.
    """

    def __init__(self, broker: Broker, process: Process | None, group: str) -> None:
        self._broker, self._process, self._group = broker, process, group
        self._last_arrival: defaultdict[Place, float] = defaultdict(float)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def _latency_s(self) -> float:
        random = self._broker.random
        return random.uniform(0.001, 0.01) + (random.uniform(0, slow) if (slow := self._broker.faults.slow_s) else 0.0)

    async def _travel(self) -> None:
        loop = self._broker.loop
        arrived = loop.create_future()
        loop.later(self._latency_s(), _resolve, arrived, None)
        await arrived

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
        if not records:
            return []
        broker, loop, random = self._broker, self._broker.loop, self._broker.random
        answers: list[asyncio.Future[Sent]] = []
        groups: dict[Place, _Group] = {}
        for each in records:
            partition = each.partition
            if partition is None:
                partition = 0 if each.key is None else partition_of(each.key, broker.counts[each.topic])
            answers.append(loop.create_future())
            groups.setdefault((each.topic, partition), []).append((each, answers[-1]))
        for place, group in groups.items():
            if place not in broker.partitions:
                raise LogRefusedError(f"no such partition: {place}")
            if max(_size_of(each) for each, _ in group) > broker.max_bytes[place[0]]:
                raise LogRefusedError(f"{place[0]}: a record is larger than the topic takes")
            self._produce(place, group, random.random())
        done = await asyncio.gather(*answers, return_exceptions=True)
        for answer in done:
            if isinstance(answer, BaseException):
                raise answer
        return [answer for answer in done if isinstance(answer, Sent)]

    def _produce(self, place: Place, group: "_Group", chance: float) -> None:
        """Send a group for one partition: in order, as one produce request or several.

        What becomes of one that is lost becomes of those behind it: the producer is idempotent.
        """
        loop, random, faults = self._broker.loop, self._broker.random, self._broker.faults
        parts = [group]
        if len(group) > 1 and random.random() < faults.in_parts:
            cut = random.randint(1, len(group) - 1)
            parts = [group[:cut], group[cut:]]
        lost_from = random.randrange(len(parts))
        for number, part in enumerate(parts):
            arrival = max(self._last_arrival[place], loop.time() + self._latency_s())
            if number:
                arrival += random.uniform(0, 2)
            self._last_arrival[place] = arrival
            wait_s = arrival - loop.time()
            if number < lost_from or chance >= faults.lost_request + faults.lost_answer:
                loop.later(wait_s, self._write, place, part, self._latency_s())
            elif chance < faults.lost_request:
                loop.later(wait_s + 5.0, self._fail, part, place)
            else:
                loop.later(wait_s, self._write, place, part, None)
                loop.later(wait_s + 5.0, self._fail, part, place)

    def _write(self, place: Place, group: list[tuple[Outgoing, Any]], answer_s: float | None) -> None:
        for each, future in group:
            sent = Sent(place[1], self._broker.append(*place, each.key, each.value, each.headers, each.timestamp_ms))
            if answer_s is not None:
                self._broker.loop.later(answer_s, _resolve, future, sent)

    @staticmethod
    def _fail(group: list[tuple[Outgoing, Any]], place: Place) -> None:
        for _, future in group:
            if not future.done():
                future.set_exception(LogUnavailableError(f"{place[0]}: not known to be delivered"))

    async def partition_for(self, topic: str, key: bytes) -> int:
        return partition_of(key, self._broker.counts[topic])

    async def read(
        self, topic: str, partition: int, start: int, end: int | None = None
    ) -> AsyncGenerator[list[Record], None]:
        records = self._broker.partitions[topic, partition].records
        last = len(records) if end is None else min(end, len(records))
        for at in range(start, last, 50):
            await self._travel()
            if self._broker.random.random() < self._broker.faults.failed_read:
                raise LogUnavailableError(f"{topic}/{partition}: nothing was read in time")
            yield records[at : min(at + 50, last)]

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        await self._travel()
        return 0, self._broker.end(topic, partition)

    async def offset_for_time(self, topic: str, partition: int, timestamp_ms: int) -> int:
        await self._travel()
        records = self._broker.partitions[topic, partition].records
        return next((record.offset for record in records if record.timestamp_ms >= timestamp_ms), len(records))

    async def committed(self, group: str) -> dict[Place, Committed]:
        await self._travel()
        return dict(self._broker.committed) if group == self._group else {}

    async def topics(self) -> dict[str, int]:
        return dict(self._broker.counts)

    async def topic_ids(self, names: Iterable[str]) -> dict[str, str]:
        await self._travel()
        return {name: f"id of {name}" for name in names if name in self._broker.counts}

    async def create_topics(self, topics: Iterable[BrokerTopic]) -> set[str]:
        raise LogRefusedError("topics are there")

    async def describe(self, names: Iterable[str]) -> dict[str, BrokerTopic]:
        return {}

    async def configure(self, topic: str, configs: Mapping[str, str]) -> None:
        raise LogRefusedError("topics are as they must be")

    async def delete_records(self, topic: str, partition: int, before: int) -> None:
        raise LogRefusedError("nothing is deleted here")


def _size_of(record: Outgoing) -> int:
    headers = sum(len(name) + len(value) for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


def _resolve(future: "asyncio.Future[Any]", value: Any) -> None:
    if not future.done():
        future.set_result(value)

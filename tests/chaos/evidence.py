"""What anybody can see of a run: Kafka's topics, the simulator's ledger, committed offsets. Nothing of the pipeline.

Only the published schemas are taken from it, read as data.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tests.chaos.generator import Line

_SCHEMAS = Path(__file__).parents[2] / "schemas" / "avro"
FACTS = ("order-placed", "order-cancelled", "dispatch-confirmed", "refund-issued", "stock-adjusted")
SEALED, ORDERS, STOCK, DOCUMENTS, STATES = (
    "stock-sealed",
    "erp-orders",
    "erp-stock",
    "erp-documents",
    "dead-letter-state",
)
LETTERS = (*(f"{fact}-dead-letter" for fact in FACTS), "erp-stock-dead-letter", "inbox-dead-letter")
GROUP = "b1-streams"

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Record:
    topic: str
    partition: int
    offset: int
    value: bytes
    headers: Mapping[str, bytes] = field(default_factory=dict)
    key: bytes = b""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look while it runs. What is below `committed` was asked first, so everything it rests on is in the rest.

    Attributes:
        at_s: Seconds since the start.
        committed: Next offset of the consumer group.
        documents: How many documents the ledger had.
        ends: Where the topics ended.
    """

    at_s: float
    committed: Mapping[Place, int]
    documents: int
    ends: Mapping[Place, int]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process went that was asked to: SIGTERM to exit."""

    name: str
    user: str
    code: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything the checker judges.

    Attributes:
        lines: What was written.
        records: Every record of the topics named here, in order of partition and offset.
        ledger: `GET /_simulator/ledger`.
        status: `streams status --json` at the end.
        samples: Looks while it ran.
        sessions: User -> sessions open and their high water; one user for each process ever started.
        ended: The processes that were asked to end.
        session_limit: Of each process.
    """

    lines: Sequence[Line]
    records: Mapping[str, Sequence[Record]]
    ledger: Mapping[str, Any]
    status: Mapping[str, Any]
    samples: Sequence[Sample]
    sessions: Mapping[str, Mapping[str, int]]
    ended: Sequence[Ended]
    session_limit: int


@cache
def _schema(name: str) -> Any:
    return fastavro.parse_schema(json.loads((_SCHEMAS / f"{name}.v1.avsc").read_text(encoding="utf-8")))


def decode(name: str, value: bytes) -> dict[str, Any]:
    """A value in the Confluent wire format by its published schema."""
    found: Any = fastavro.schemaless_reader(BytesIO(value[5:]), _schema(name), None)
    return dict(found)


class Monitor:
    """Looks at committed offsets, ledger and ends of topics, again and again, until cancelled."""

    def __init__(self, bootstrap_servers: str, simulator: str, elapsed: Any, *, every_s: float = 0.3) -> None:
        self._servers = bootstrap_servers
        self._simulator = simulator
        self._elapsed = elapsed
        self._every_s = every_s
        self.samples: list[Sample] = []

    async def run(self) -> None:
        while True:
            try:
                await self._look()
            except (KafkaError, OSError, TimeoutError, httpx.HTTPError):
                await asyncio.sleep(1)  # the broker is down; that is what it is here for

    async def _look(self) -> None:
        admin: Any = AIOKafkaAdminClient(bootstrap_servers=self._servers, request_timeout_ms=5_000)
        consumer: Any = AIOKafkaConsumer(  # type: ignore[no-untyped-call]  # aiokafka has no types
            bootstrap_servers=self._servers, group_id=None, request_timeout_ms=5_000
        )
        async with httpx.AsyncClient(base_url=self._simulator, trust_env=False) as client:
            try:
                await admin.start()
                await consumer.start()
                partitions = await _partitions(admin, (*FACTS, SEALED, ORDERS, STOCK, STATES))
                while True:
                    committed = await admin.list_consumer_group_offsets(GROUP)
                    counters = (await client.get("/_simulator/counters")).json()
                    ends = await consumer.end_offsets(partitions)
                    self.samples.append(
                        Sample(
                            self._elapsed(),
                            {(tp.topic, tp.partition): at.offset for tp, at in committed.items()},
                            max(counters["sequences"].values()),
                            {(tp.topic, tp.partition): end for tp, end in ends.items()},
                        )
                    )
                    await asyncio.sleep(self._every_s)
            finally:
                await consumer.stop()
                await admin.close()


async def read_records(bootstrap_servers: str) -> dict[str, list[Record]]:
    """Every record of the topics that tell what became of events."""
    names = (*FACTS, SEALED, ORDERS, STOCK, DOCUMENTS, STATES, *LETTERS)
    admin: Any = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    try:
        await admin.start()
        partitions = await _partitions(admin, names)
    finally:
        await admin.close()
    consumer: Any = AIOKafkaConsumer(  # type: ignore[no-untyped-call]  # aiokafka has no types
        bootstrap_servers=bootstrap_servers, group_id=None, auto_offset_reset="earliest"
    )
    found: dict[str, list[Record]] = {name: [] for name in names}
    try:
        await consumer.start()
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        left = {tp for tp in partitions if ends[tp]}
        while left:
            batches = await consumer.getmany(*left, timeout_ms=1_000)
            for tp, records in batches.items():
                found[tp.topic] += [
                    Record(
                        tp.topic,
                        tp.partition,
                        one.offset,
                        bytes(one.value or b""),
                        dict(one.headers),
                        bytes(one.key or b""),
                    )
                    for one in records
                ]
            left = {tp for tp in left if await consumer.position(tp) < ends[tp]}
    finally:
        await consumer.stop()
    for records in found.values():
        records.sort(key=lambda record: (record.partition, record.offset))
    return found


async def _partitions(admin: Any, names: Sequence[str]) -> list[TopicPartition]:
    described = await admin.describe_topics(list(names))
    return [TopicPartition(topic["topic"], one["partition"]) for topic in described for one in topic["partitions"]]

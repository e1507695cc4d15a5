"""The stock rooms of one worker under millions of events, in process.

`python -m tests.bench.memory_process EVENTS KEPT`.

Everything is the worker's own but the broker and the clock: transport batches, progress, windows, chain, seen-set,
metrics, the road on to the queue. The broker keeps nothing that has been read; the clock runs so fast that the dedupe
horizon always holds KEPT events.
"""

import asyncio
import json
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from aiokafka.structs import ConsumerRecord
from faust.types import TP

from connectors.base.log import Outgoing, Sent
from schemas.codec import Codec, embedded_codec
from schemas.events import StockAdjusted
from streams.chain.log import ANCHORS
from streams.faust_host.batch import FetchedBatch
from streams.faust_host.watermarks import Progress
from streams.kafka.log import partition_of
from streams.kafka.topics import wanted
from streams.ports import Ports
from streams.telemetry.metrics import Metrics
from streams.worker.pipeline import SEALED, STOCK, Pipeline
from tests.bench import corpus, world
from tests.streams.fakes import MemoryLog

#: The shortest horizon of a configuration, and the grace that the window adds.
_KEPT_DAYS = 1 + 2
_BATCH, _SAMPLES = 1_000, 100


class FastClock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 3, 14, 9, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


class PassingLog(MemoryLog):
    """Keeps what was sealed last until it is taken, and the anchors; the rest is counted and let go."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.sealed: list[tuple[int, int, Outgoing]] = []
        self.ends: dict[tuple[str, int], int] = {}

    async def send_many(self, records: Any) -> list[Sent]:
        if records and records[0].topic.endswith(ANCHORS):
            return await super().send_many(records)
        sent = []
        for record in records:
            at = self.ends.get((record.topic, record.partition), 0)
            self.ends[record.topic, record.partition] = at + 1
            if record.topic.endswith(SEALED):
                self.sealed.append((record.partition, at, record))
            sent.append(Sent(record.partition, at))
        return sent

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        if topic.endswith(ANCHORS):
            return await super().bounds(topic, partition)
        return 0, self.ends.get((topic, partition), 0)


class Values:
    """The bytes of ever new events: an encoded one, cut up once, with another id, time and digest each time."""

    def __init__(self, codec: Codec, items: int = 2_000) -> None:
        names, self._random = corpus.skus(items), Random(1)
        self._cumulative = corpus.weights(items)
        self._number = 0
        at = datetime(2026, 3, 14, 9, tzinfo=UTC)
        self._parts: list[tuple[int, bytes, bytes]] = []
        for number, sku in enumerate(names):
            event = StockAdjusted(
                source=corpus.SOURCE,
                company=corpus.COMPANY,
                event_id="#" * 16,
                occurred_at=at,
                observed_at=at,
                digest=b"%" * 16,
                sku=sku,
                location=corpus.LOCATION,
                delta=Decimal(number % 7 + 1),
                reason="count",
            )
            head, rest = codec.encode(event).split(b"#" * 16)
            tail = rest[rest.index(b"%" * 16) + 16 :]
            self._parts.append((partition_of(sku.encode(), corpus.PARTITIONS), head, tail))
        self._codec, self._event = codec, event

    def make(self, count: int, now: datetime) -> dict[int, list[bytes]]:
        """So many, by partition."""
        shape = self._codec.encode(replace(self._event, occurred_at=now, observed_at=now))
        times = shape[shape.index(b"#" * 16) + 16 : shape.index(b"%" * 16)]
        by_partition: dict[int, list[bytes]] = {number: [] for number in range(corpus.PARTITIONS)}
        digests = os.urandom(16 * count)
        for n, (partition, head, tail) in enumerate(
            self._random.choices(self._parts, cum_weights=self._cumulative, k=count)
        ):
            self._number += 1
            value = b"%b%016d%b%b%b" % (head, self._number, times, digests[16 * n : 16 * n + 16], tail)
            by_partition[partition].append(value)
        return by_partition


async def run(events: int, kept: int) -> None:
    config = world.config(world.settings("127.0.0.1:1", "memory-", dedupe_horizon_days=1))
    codec, clock, log = embedded_codec(), FastClock(), PassingLog(wanted(config))
    ports = Ports(log, codec, clock, Random(1), Metrics(config), lambda _company: None)  # type: ignore[arg-type,return-value]  # nothing is posted
    rooms, values = Pipeline(config, ports), Values(codec)
    progress = {(name, number): Progress(0) for name in (STOCK, SEALED) for number in range(corpus.PARTITIONS)}
    for number in range(corpus.PARTITIONS):
        await rooms.stock_partition(number).open(None, 0)

    def batch(name: str, number: int, raw: list[tuple[int, bytes | None, bytes]]) -> FetchedBatch:
        records = [
            ConsumerRecord(name, number, offset, 0, 0, key, value, None, len(key or b""), len(value), ())
            for offset, key, value in raw
        ]
        return FetchedBatch(lambda _tp: None, TP(name, number), records, progress[name, number])

    done, step = 0, corpus.PARTITIONS * _BATCH
    stock = config.topic(STOCK)
    next_sample = events / _SAMPLES
    while done < events:
        for number, made in values.make(step, clock.now()).items():
            at = log.ends.get((stock, number), 0)
            log.ends[stock, number] = at + len(made)
            if made:
                await rooms.take(STOCK, number, batch(STOCK, number, [(at + n, b"k", v) for n, v in enumerate(made)]))
                await rooms.partitions[number].seal_due()
        sealed, log.sealed = log.sealed, []
        for number in range(corpus.PARTITIONS):
            some = [(at, one.key, one.value or b"") for partition, at, one in sealed if partition == number]
            if some:
                await rooms.take(SEALED, number, batch(SEALED, number, some))
        done += step
        clock.seconds += step / kept * _KEPT_DAYS * 86_400
        for room in rooms.partitions.values():
            await room._keep()
        if done >= next_sample:
            next_sample += events / _SAMPLES
            tell(done, rooms)
    for room in rooms.partitions.values():
        await room.seal("length")
    reached = sum(one.next or 0 for (name, _), one in progress.items() if name == STOCK)
    sys.stdout.write(f"done {json.dumps({'events': done, 'finished': reached})}\n")


def tell(done: int, rooms: Pipeline) -> None:
    ids = sum(len(room._seen) for room in rooms.partitions.values())
    open_rows = sum(room.open_events for room in rooms.partitions.values())
    sys.stdout.write(f"sample {json.dumps({'events': done, 'rss': rss(), 'ids': ids, 'open': open_rows})}\n")
    sys.stdout.flush()


def rss() -> int:
    """Resident bytes of this process."""
    with Path("/proc/self/statm").open(encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1]), int(sys.argv[2])))

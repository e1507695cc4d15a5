"""One candidate of the publishing benchmark in a process of its own.

`python -m tests.bench.publishing_process NAME SPEC.json`.

Says `ready`, waits for `go`, publishes, says `done` with CPU and times. What is published has been made before the go.
"""

import asyncio
import gc
import itertools
import json
import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import structlog
from aiokafka import AIOKafkaProducer

from connectors.base.clock import SystemClock
from connectors.base.cursors import CURSORS, Cursors, partition_of
from connectors.base.dead_letters import DeadLetters
from connectors.base.metrics import NoMetrics
from connectors.base.publisher import Publisher, key_of
from connectors.base.source import Batch, TimeRange
from connectors.runtime import Runtime
from connectors.shopify.backfill import ShopifyBackfill
from connectors.shopify.settings import ShopifySettings
from schemas.codec import embedded_codec
from schemas.events import FactEvent, OrderLine, OrderPlaced, digest_of
from streams.connect.backfill import TalliedSource, Tally, drive
from streams.kafka.client import KafkaLog
from tests.bench import corpus, world

#: "At most a few hundred items" (`connectors/base/source.py`).
BATCH = 500
_TOKEN = "shpat_bench"
_OUT = os.dup(1)


def tell(name: str, **fields: Any) -> None:
    os.write(_OUT, f"{name} {json.dumps(fields)}\n".encode())


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * resource.getpagesize()


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def told() -> None:
    """Wait for the go."""
    loop, go = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, go.set)
    await go.wait()
    loop.remove_reader(sys.stdin)


async def timed(work: Coroutine[Any, Any, None]) -> None:
    """From the go to the broker's last answer."""
    gc.collect()
    gc.freeze()
    tell("ready")
    await told()
    cpu, start = _cpu_s(), time.monotonic()
    await work
    tell("done", cpu_s=_cpu_s() - cpu, start=start, end=time.monotonic())


def events_of(count: int) -> list[FactEvent]:
    """Stock movements, and every tenth an order of two lines: the same ones in every process."""
    made = (
        one.event
        for one in corpus.make(embedded_codec(), count * 2, corpus.Sums(), now=datetime(2026, 3, 14, tzinfo=UTC))
    )
    movements: list[FactEvent] = list(itertools.islice((event for event in made if event is not None), count))
    for number in range(0, count, 10):
        at = movements[number].occurred_at
        lines = tuple(
            OrderLine(
                line_id=str(n),
                sku=f"SKU-{number % 2000:05d}",
                quantity=Decimal(n),
                unit_price=Decimal("12.50"),
                tax_code="GB-20",
            )
            for n in (1, 2)
        )
        order = OrderPlaced(
            source=corpus.SOURCE,
            company=corpus.COMPANY,
            event_id=str(number),
            occurred_at=at,
            observed_at=at,
            digest=b"",
            order_id=str(number),
            currency="GBP",
            lines=lines,
        )
        movements[number] = replace(order, digest=digest_of(order))
    return movements


# ---- the reference


async def bare(spec: Mapping[str, Any]) -> None:
    """Encode by the codec, `AIOKafkaProducer.send` with the connectors' own settings.

    Answers awaited batch by batch.
    """
    events, codec, topics = events_of(spec["events"]), embedded_codec(), spec["topics"]
    producer: Any = AIOKafkaProducer(  # type: ignore[no-untyped-call]  # aiokafka has no types
        bootstrap_servers=spec["servers"],
        acks="all",
        enable_idempotence=True,
        compression_type="zstd",
        linger_ms=2,
        max_batch_size=256 * 1024,
        max_request_size=4 * 1024 * 1024,
        request_timeout_ms=30_000,
    )
    await producer.start()

    async def work() -> None:
        for start in range(0, len(events), BATCH):
            futures = [
                await producer.send(topics[type(event).__name__], codec.encode(event), key_of(event))
                for event in events[start : start + BATCH]
            ]
            await asyncio.gather(*futures)

    await timed(work())
    await producer.stop()


# ---- ours


class Bulk:
    """A source that has everything at hand."""

    name, company = corpus.SOURCE, corpus.COMPANY

    def __init__(self, events: list[FactEvent]) -> None:
        self._events = events

    async def read(self, cursor: str | None) -> Batch:
        at = int(cursor or 0)
        end = at + BATCH
        return Batch(tuple(self._events[at:end]), str(end), idle=end >= len(self._events))

    async def close(self) -> None: ...


class _UntilIdle(NoMetrics):
    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def looked(self, connector: str, idle: bool) -> None:
        if idle:
            self._stop.set()


async def ours(spec: Mapping[str, Any]) -> None:
    """A connector as `streams connect` runs one: levels, letters, cursors, publisher; one process, one connector."""
    events, codec, clock = events_of(spec["events"]), embedded_codec(), SystemClock()
    config = world.config(spec["settings"])
    log = KafkaLog(spec["servers"])
    await log.start()
    broker, stop = log, asyncio.Event()
    partition = partition_of(corpus.SOURCE, config.kafka.partitions)
    runtime = Runtime(
        Bulk(events),
        cursors=Cursors(
            f"{corpus.SOURCE}{spec['round']}", broker, codec, clock, topic=config.topic(CURSORS), partition=partition
        ),
        publisher=Publisher(broker, codec, clock, config.topic),
        letters=DeadLetters(broker, codec, clock, config.topic, config.company_partition),
        metrics=_UntilIdle(stop),
        poll_interval_s=1,
    )
    await timed(runtime.run(stop))
    await log.stop()


# ---- a back-fill of a shop


async def shopify(spec: Mapping[str, Any]) -> None:
    """`streams connect backfill` of a shop whose Admin API is another process: resident memory as it goes."""
    codec, clock = embedded_codec(), SystemClock()
    config = world.config(spec["settings"])
    table = {
        "kind": "shopify",
        "company": corpus.COMPANY,
        "shop": "demo.myshopify.com",
        "url": spec["url"],
        "access_token": "env:T",
    }
    settings = ShopifySettings.model_validate(table, context={"environ": {"T": _TOKEN}})
    since, until = (datetime.fromisoformat(spec[name]) for name in ("since", "until"))
    span = TimeRange(since, until)
    log = KafkaLog(spec["servers"])
    await log.start()
    broker = log
    last = 0

    def sample(tally: Tally, _doing: str) -> None:
        nonlocal last
        if tally.records - last >= spec["every"]:
            last = tally.records
            tell("sample", records=tally.records, rss=resident_bytes())

    async def soon(seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.05))  # the simulator's bucket is as large as it likes

    source = ShopifyBackfill(
        corpus.SOURCE, settings, clock, span, None, transport=httpx.AsyncHTTPTransport(), sleep=soon
    )
    partition = partition_of(corpus.SOURCE, config.kafka.partitions)
    cursors = Cursors(
        f"{corpus.SOURCE}/backfill/{spec['round']}",
        broker,
        codec,
        clock,
        topic=config.topic(CURSORS),
        partition=partition,
    )

    async def work() -> None:
        _, tally = await drive(
            TalliedSource(source, frozenset(), None, sample),
            cursors=cursors,
            publisher=Publisher(broker, codec, clock, config.topic),
            letters=DeadLetters(broker, codec, clock, config.topic, config.company_partition),
            failed=lambda error: tell("failed", error=error),
        )
        tell("tally", **tally.as_json())

    await timed(work())
    await log.stop()


CANDIDATES: dict[str, Callable[[Mapping[str, Any]], Coroutine[Any, Any, None]]] = {
    "bare": bare,
    "ours": ours,
    "shopify": shopify,
}


def main() -> None:
    logging.basicConfig(level=logging.ERROR)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    name, path = sys.argv[1:]
    asyncio.run(CANDIDATES[name](json.loads(Path(path).read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()

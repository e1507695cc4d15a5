"""What a poster keeps in memory of what has ended, and what its start costs: `python -m tests.bench.poster_memory`.

A million batches in sealed documents of 50, and 100,000 closed dead letters. Real classes over a log in memory.
"""

import asyncio
import gc
import secrets
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any

from schemas.codec import embedded_codec
from schemas.records import DeadLetterState, DocumentLine
from streams.chain.log import ANCHORS, Anchors
from streams.dead_letters.index import DeadLetterIndex
from streams.dead_letters.states import STATES, StateLog
from streams.ports import Ports
from streams.posting.documents import SealedDocuments
from streams.telemetry.metrics import Metrics
from tests.streams.fakes import MemoryLog, config

CODEC, CONFIG = embedded_codec(), config()
_AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


class _Clock:
    def now(self) -> datetime:
        return _AT

    def monotonic(self) -> float:
        return 0.0


async def measured(name: str, count: int, work: Callable[[], Awaitable[object]]) -> None:
    """Print what the result of `work` holds on to, and how long it took without tracing."""
    started = time.perf_counter()
    await work()
    took_s = time.perf_counter() - started
    gc.collect()
    tracemalloc.start()
    kept = await work()
    gc.collect()
    size_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    each = f"{size_bytes / count:.0f} bytes each, {size_bytes / 2**20:.1f} MiB"
    sys.stdout.write(f"{name}: {count:,}; {each}; start {took_s:.2f} s\n")
    del kept


async def batches(log: MemoryLog, count: int) -> None:
    def documents() -> SealedDocuments:
        ports = Ports(log, CODEC, _Clock(), Random(1), Metrics(CONFIG), lambda _: None)  # type: ignore[arg-type, return-value]
        return SealedDocuments("acme", CONFIG, ports, Anchors(log, CODEC, ANCHORS))

    line = DocumentLine(item_code="A", warehouse="LON1", reason="found", quantity=Decimal(3))
    writer = documents()
    await writer.open()
    for _ in range(count // 50):
        ks = [f"stock_batch-{secrets.token_hex(13).upper()}" for _ in range(50)]
        await writer.seal("entry", _AT.date(), None, (line,), ks)
    del writer

    async def start() -> object:
        sealed = documents()
        await sealed.open()
        return sealed

    await measured("batches in sealed documents", count, start)


async def closed(log: MemoryLog, count: int) -> None:
    for number in range(count):
        letter = DeadLetterState(
            id=secrets.token_hex(8),
            state="posted",
            reason="order_not_found",
            owner="operations",
            company="acme",
            k=f"dispatch_confirmed-{secrets.token_hex(13).upper()}",
            digest=secrets.token_bytes(16),
            event_type="dispatch_confirmed",
            event_id=f"e{number}",
            source="warehouse",
            order_id=str(number),
            topic="dispatch-confirmed",
            partition=0,
            offset=number,
            sequence=number,
            letter_topic="dispatch-confirmed-dead-letter",
            letter_partition=0,
            letter_offset=number,
            attempts=1,
            error="order '1' is not in B1",
            first_failed_at=_AT,
            at=_AT,
        )
        await log.send(STATES, 0, letter.id.encode(), CODEC.encode(letter))

    async def start() -> object:
        index: Any = DeadLetterIndex(lambda _, source: (source,))
        changes = await StateLog(log, CODEC, STATES, 0, "acme").read_changes()
        for letter, *_ in changes.counts.values():
            if letter is not None:
                index.put(letter)
        return index

    await measured("closed dead letters", count, start)


async def main(share: float) -> None:
    log = MemoryLog.of(CONFIG)
    await batches(log, int(1_000_000 * share))
    await closed(log, int(100_000 * share))


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0))

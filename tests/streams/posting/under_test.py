"""One company's poster over a log in memory and a simulated B1, with the events that its tests queue."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from random import Random
from typing import Any

from schemas.codec import embedded_codec
from schemas.events import DispatchConfirmed, FactEvent, OrderCancelled, OrderPlaced, RefundIssued
from schemas.records import DeadLetterState
from schemas.topics import fact_topic
from streams.chain.keys import event_key
from streams.chain.log import ANCHORS, Anchors
from streams.dead_letters.publisher import DeadLetterPublisher
from streams.ports import Ports
from streams.posting.admission import LogNumber, first_log
from streams.posting.forgetting import CountEnded, count_nowhere
from streams.posting.poster import Poster
from streams.telemetry.metrics import Metrics
from tests import builders
from tests.streams.fakes import MemoryLog, config
from tests.streams.posting.b1 import B1
from tests.streams.records import FakeBatch, raw
from tests.streams.virtual import NOW, Clock

CODEC, CONFIG = embedded_codec(), config()


def order(order_id: str = "1", sku: str = "A", **fields: Any) -> OrderPlaced:
    line = builders.order_line(sku=sku, tax_code="GB-20")
    return builders.order(order_id, line, occurred_at=NOW - timedelta(hours=1), **fields)


def dispatch(shipment_id: str = "D1", order_id: str = "1", sku: str = "A", quantity: int = 2) -> DispatchConfirmed:
    line = builders.dispatch_line(sku, quantity)
    return builders.dispatch(shipment_id, order_id, line, occurred_at=NOW - timedelta(minutes=5))


class PosterUnderTest:
    """One poster after the other over one log and one B1; `offset` is the queue's next."""

    def __init__(self) -> None:
        self.log, self.b1, self.offset, self.places = MemoryLog.of(CONFIG), B1(), 0, dict[str, int]()
        self.poster: Poster | None = None
        self.terms = list[int]()

    async def open(
        self,
        counts: Mapping[tuple[str, str], int] | None = None,
        log: MemoryLog | None = None,
        stamp: Callable[[int], Awaitable[bool]] | None = None,
        count: CountEnded = count_nowhere,
        log_number: LogNumber = first_log,
    ) -> Poster:
        clock, metrics = Clock(), Metrics(CONFIG)
        ports = Ports(log or self.log, CODEC, clock, Random(1), metrics, lambda _: self.b1)
        letters = DeadLetterPublisher(log or self.log, CODEC, CONFIG.topic, lambda _: 0, clock, metrics)
        self.poster = Poster("acme", CONFIG, ports, letters, Anchors(self.log, CODEC, ANCHORS))

        async def accept(term: int) -> bool:
            self.terms.append(term)
            return True

        await self.poster.open(counts or {}, self.offset, stamp or accept, log_number, count)
        return self.poster

    async def close(self) -> None:
        if self.poster is not None:
            await self.poster.close()
            self.poster = None

    async def take(self, *events: FactEvent, again: bool = False) -> FakeBatch:
        """Queue events, each at the next place of its fact's topic, or at the last one again."""
        records = []
        for event in events:
            kind = next(name for name, cls in _TYPES.items() if isinstance(event, cls))
            place = self.places.get(kind, 0)
            if not again:
                self.places[kind] = place + 1
            posting = builders.posting(
                kind,
                k=event_key(event),
                source=event.source,
                order_id=event.order_id,
                digest=event.digest,  # type: ignore[union-attr]
                topic=fact_topic(kind),
                offset=place - again,
                timestamp_ms=int(NOW.timestamp() * 1000),
                key=b"k",
                value=CODEC.encode(event),
            )
            records.append(raw("erp-orders", self.offset, CODEC.encode(posting), b"acme"))
            await self.log.send("erp-orders", 0, b"acme", CODEC.encode(posting))
            self.offset += 1
        batch = FakeBatch(records)
        assert self.poster is not None
        await self.poster.take(batch)
        return batch

    async def ended(self, *batches: FakeBatch) -> None:
        async with asyncio.timeout(600):
            while not all(batch.all_finished for batch in batches):  # noqa: ASYNC110  # virtual time
                await asyncio.sleep(0.1)

    def states(self) -> dict[str, DeadLetterState]:
        """As everybody reads them: the last state of an id."""
        states: dict[str, DeadLetterState] = {}
        for one in self.log._records["dead-letter-state", 0]:
            if one.value is None:
                states.pop((one.key or b"").decode(), None)
            else:
                state = CODEC.decode(one.value, DeadLetterState)
                states[state.id] = state
        return states


_TYPES: dict[str, Any] = {
    "order_placed": OrderPlaced,
    "dispatch_confirmed": DispatchConfirmed,
    "order_cancelled": OrderCancelled,
    "refund_issued": RefundIssued,
}


def endings(batch: FakeBatch, flow: str = "order_placed") -> list[str]:
    """How each record of a batch ended; "" where its dead letter says it, or where it is merged with another."""
    return [next((end for (f, end) in counts if f == flow), "") for _, counts in sorted(batch.finished.items())]

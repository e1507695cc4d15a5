"""Events, letters and outcomes as tests of the reading side need them, and a small world that holds them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.codec import embedded_codec
from schemas.events import (
    Address,
    Customer,
    DispatchConfirmed,
    FactEvent,
    OrderPlaced,
    StockAdjusted,
)
from schemas.letters import REASONS, headers_of
from schemas.records import DeadLetterState, Document, Outcome, Posting
from schemas.topics import dead_letter_topic, fact_topic
from streams.config.load import Config
from streams.faust_host.watermarks import encode_counts
from tests import builders
from tests.streams.fakes import MemoryLog

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
PERSON = "Jane Canary"


def order(order_id: str, number: str | None = None) -> OrderPlaced:
    """An order that has personal data in every field that may have some."""
    return builders.order(
        order_id,
        builders.order_line(sku="TSHIRT", price="9.5"),
        event_id=f"e-{order_id}",
        occurred_at=NOW - timedelta(minutes=5),
        observed_at=NOW - timedelta(minutes=4),
        order_number=number,
        customer=Customer(email=f"{PERSON}@example.com", name=PERSON),
        ship_to=Address(name=PERSON, street="1 Canary Wharf", city="London", country="GB"),
        note=f"for {PERSON}",
    )


def dispatch(shipment_id: str, order_id: str) -> DispatchConfirmed:
    return builders.dispatch(
        shipment_id,
        order_id,
        builders.dispatch_line("TSHIRT"),
        event_id=f"e-{shipment_id}",
        occurred_at=NOW - timedelta(minutes=2),
        observed_at=NOW - timedelta(minutes=1),
    )


def adjustment(event_id: str) -> StockAdjusted:
    return builders.adjustment(event_id, sku="TSHIRT")


class World:
    """A broker with facts in it, and short ways to say what became of them."""

    def __init__(self, config: Config) -> None:
        self.config, self.log, self.codec = config, MemoryLog.of(config), embedded_codec()

    async def fact(self, kind: str, event: FactEvent | bytes, partition: int = 0, age_s: float = 60) -> int:
        value = event if isinstance(event, bytes) else self.codec.encode(event)
        stamp_ms = self.log.now_ms = NOW_MS - int(age_s * 1000)
        sent = await self.log.send(self.config.topic(fact_topic(kind)), partition, b"key", value, timestamp_ms=stamp_ms)
        return sent.offset

    async def queued(self, kind: str, topic: str, offset: int, queue: str = "erp-orders", age_s: float = 60) -> None:
        posting = Posting(
            k=f"{kind}-K",
            kind=kind,
            company="acme",
            source="shop",
            digest=bytes(16),
            topic=self.config.topic(topic),
            partition=0,
            offset=offset,
            timestamp_ms=NOW_MS - int(age_s * 1000),
            value=b"x",
        )
        await self.log.send(self.config.topic(queue), 0, b"acme", self.codec.encode(posting), timestamp_ms=NOW_MS)

    def done(
        self, topic: str, offset: int, counts: dict[tuple[str, str], int] | None = None, partition: int = 0
    ) -> None:
        self.log.commit(self.config.group, self.config.topic(topic), partition, offset, encode_counts(counts or {}))

    async def letter(self, kind: str, value: bytes = b"x", **changes: Any) -> DeadLetterState:
        reason = REASONS[changes.get("reason", "erp_refused")]
        topic = fact_topic(kind)
        fields: dict[str, Any] = {
            "id": f"{kind}-letter",
            "state": "dead",
            "reason": reason.name,
            "owner": reason.owner,
            "company": "acme",
            "event_type": kind,
            "topic": self.config.topic(topic),
            "partition": 0,
            "offset": 0,
            "letter_topic": self.config.topic(dead_letter_topic("erp-stock" if kind == "stock_batch" else topic)),
            "letter_partition": 0,
            "letter_offset": 0,
            "error": "B1 says no; change a setting",
            "first_failed_at": NOW,
            "at": NOW,
            "attempts": 1,
        }
        letter = DeadLetterState(**{**fields, **changes})
        sent = await self.log.send(letter.letter_topic, 0, b"key", value, headers_of(letter))
        letter = replace(letter, letter_offset=sent.offset)
        await self.log.send(self.config.topic("dead-letter-state"), 0, letter.id.encode(), self.codec.encode(letter))
        return letter

    async def outcome(self, kind: str, event_id: str, order_id: str, offset: int, **changes: Any) -> Outcome:
        fields: dict[str, Any] = {
            "k": f"{kind}-K",
            "kind": kind,
            "company": "acme",
            "source": "shop",
            "event_ids": (event_id,),
            "order_id": order_id,
            "outcome": "created",
            "documents": (Document(object="Orders", doc_entry=11, doc_num=4711),),
            "attempts": 1,
            "topic": self.config.topic(fact_topic(kind)),
            "partition": 0,
            "offset": offset,
            "queued_at": NOW,
            "at": NOW,
        }
        outcome = Outcome(**{**fields, **changes})
        await self.log.send(self.config.topic("erp-outcomes"), None, outcome.k.encode(), self.codec.encode(outcome))
        return outcome

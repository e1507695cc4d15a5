"""Publishes again what was refused before it was a posting, and finds out what becomes of it (architecture 7.2)."""

from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime

from connectors.base.clock import Clock
from connectors.base.dead_letters import NOT_KAFKA
from connectors.base.log import Outgoing, Record, milliseconds
from connectors.base.publisher import key_of
from schemas.codec import Codec
from schemas.events import TYPE_NAMES, FactEvent, StockAdjusted
from schemas.letters import REPLAY_HEADER, REPUBLISHED_HEADER
from schemas.records import DeadLetterState, Outcome
from schemas.topics import fact_topic
from streams.dead_letters.run import Answer, Result
from streams.kafka.log import Log

_ENDS: Mapping[str, Result] = {
    "created": "posted",
    "adopted": "already_there",
    "adopted_cancelled": "already_there",
    "no_op": "already_there",
    "no_op_cancelled": "already_there",
    "dead": "failed",
    "parked": "waiting",
    "held": "waiting",
}
_OURS = ("b1streams.", "__")


@dataclass(frozen=True, slots=True)
class Republished:
    """An event that lies in its topic again."""

    event: FactEvent
    topic: str
    partition: int
    offset: int
    at: datetime


class Republisher:
    """Lifecycle: `start` before the first `publish`; then `publish`, and `answer` again and again."""

    def __init__(
        self, log: Log, codec: Codec, clock: Clock, topic: Callable[[str], str], outcome_partitions: range
    ) -> None:
        """`topic` gives a topic its prefix."""
        self._log, self._codec, self._clock, self._topic = log, codec, clock, topic
        self._outcomes = _OutcomeTail(log, codec, topic("erp-outcomes"), outcome_partitions)

    async def start(self) -> None:
        """From here on outcomes are followed.

        Raises:
            LogError: The broker cannot be reached.
        """
        await self._outcomes.start()

    async def publish(self, letter: DeadLetterState, record: Record, event: FactEvent) -> Republished:
        """Publish the event of a dead letter to its own topic and partition, under its own key.

        Raises:
            LogError: Nobody knows whether it is there; publishing it again is harmless.
        """
        of_connector = letter.partition == NOT_KAFKA
        topic = self._topic(fact_topic(TYPE_NAMES[type(event)]))
        kept = [] if of_connector else [(k, v) for k, v in record.headers if not k.startswith(_OURS)]
        out = Outgoing(
            topic=topic,
            partition=None if of_connector else letter.partition,
            key=key_of(event) if of_connector else record.key,
            value=self._codec.encode(event) if of_connector else record.value,
            headers=[
                *kept,
                (REPLAY_HEADER, letter.id.encode()),
                (REPUBLISHED_HEADER, str(letter.republished + 1).encode()),
            ],
            timestamp_ms=milliseconds(self._clock.now()),
        )
        (sent,) = await self._log.send_many([out])
        return Republished(event, topic, sent.partition, sent.offset, self._clock.now())

    async def answer(self, published: Republished) -> Answer | None:
        """What has become of it, by the log of outcomes; None: nothing yet."""
        await self._outcomes.read()
        event = published.event
        if isinstance(event, StockAdjusted):
            outcome = self._outcomes.of_stock.get((event.source, event.sku, event.event_id))
        else:
            outcome = self._outcomes.of_record.get((published.topic, published.partition, published.offset))
        return None if outcome is None else Answer(_ENDS[outcome.outcome], outcome.reason)


@dataclass(slots=True)
class _OutcomeTail:
    log: Log
    codec: Codec
    topic: str
    partitions: range
    of_record: dict[tuple[str, int, int], Outcome] = field(default_factory=dict)
    of_stock: dict[tuple[str | None, str | None, str], Outcome] = field(default_factory=dict)
    positions: dict[int, int] = field(default_factory=dict)

    async def start(self) -> None:
        if not self.positions:
            self.positions = {number: (await self.log.bounds(self.topic, number))[1] for number in self.partitions}

    async def read(self) -> None:
        for partition, position in list(self.positions.items()):
            _, end = await self.log.bounds(self.topic, partition)
            if position >= end:
                continue
            async with aclosing(self.log.read(self.topic, partition, position, end)) as batches:
                async for records in batches:
                    for record in records:
                        self._add(self.codec.decode(record.value or b"", Outcome))
            self.positions[partition] = end

    def _add(self, outcome: Outcome) -> None:
        self.of_record[outcome.topic, outcome.partition, outcome.offset] = outcome
        for event_id in outcome.event_ids:
            self.of_stock[outcome.source, outcome.sku, event_id] = outcome

"""Events to Kafka: key, encode, send, await the broker."""

import hashlib
from collections.abc import Callable, Sequence

from pydantic import TypeAdapter

from connectors.base.clock import Clock
from connectors.base.log import Broker, Outgoing, milliseconds
from connectors.base.source import RefusedRecord
from schemas.codec import Codec, UnencodableError
from schemas.events import TYPE_NAMES, FactEvent, RefundIssued, StockAdjusted, identity
from schemas.topics import fact_topic


def key_of(event: FactEvent) -> bytes:
    """The key that keeps events in order: of one order, and of one sku (`schemas/topics.py`).

    A refund that names no order stands for itself.
    """
    match event:
        case StockAdjusted():
            return event.sku.encode()
        case RefundIssued(order_id=None):
            return event.refund_id.encode()
        case _:
            return (event.order_id or "").encode()


class Publisher:
    """Publishes facts.

    Events of one key stay in order: the producer is idempotent, keeps the order of a call, and every call is awaited
    before the next.

    Args:
        broker: Where to.
        codec: Makes the bytes.
        clock: A record's timestamp is the time of publishing.
        topic: Gives a topic its prefix.
    """

    def __init__(self, broker: Broker, codec: Codec, clock: Clock, topic: Callable[[str], str]) -> None:
        self._broker = broker
        self._codec = codec
        self._clock = clock
        self._topics = {cls: topic(fact_topic(name)) for cls, name in TYPE_NAMES.items()}

    def prepare(self, event: FactEvent) -> Outgoing | RefusedRecord:
        """Its record; refused where its topic cannot take it, an order of some ten thousand lines, say."""
        try:
            value = self._codec.encode(event)
        except UnencodableError as error:
            return _refused(event, str(error))
        return Outgoing(
            topic=self._topics[type(event)],
            key=key_of(event),
            value=value,
            timestamp_ms=milliseconds(self._clock.now()),
        )

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """Return when the broker has all of them.

        Raises:
            RetriableError: Nobody knows which of them the broker has; sending them again is harmless.
            FatalError: It will never take them.
        """
        if records:
            await self._broker.send_many(records)


def _refused(event: FactEvent, error: str) -> RefusedRecord:
    names = identity(event)
    return RefusedRecord(
        event_type=TYPE_NAMES[type(event)],
        reason="invalid_event",
        error=error,
        value=TypeAdapter(type(event)).dump_json(event, exclude={"digest"}),  # as in a file of JSON lines
        origin="event",
        digest=hashlib.sha256("\n".join(map(str, (TYPE_NAMES[type(event)], *names))).encode()).hexdigest(),
        number=0,
        event_id=event.event_id,
        order_id=None if isinstance(event, StockAdjusted) else event.order_id,
        sku=event.sku if isinstance(event, StockAdjusted) else None,
    )

"""Events to Kafka: key, encode, send, await the broker."""

import hashlib
import json
from collections.abc import Callable, Sequence

from pydantic import TypeAdapter

from connectors.base.clock import Clock
from connectors.base.log import Broker, Outgoing, milliseconds
from connectors.base.source import RefusedRecord
from schemas.codec import Codec, UnencodableError
from schemas.events import EVENT_TYPES, TYPE_NAMES, FactEvent, RefundIssued, StockAdjusted, identity
from schemas.readings import READING_NAMES, READING_TYPES, B1Reading, subject_of
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


def name_of(item: FactEvent | B1Reading) -> str:
    """The name of its type, which its topic and schema have as well."""
    return READING_NAMES[type(item)] if isinstance(item, B1Reading) else TYPE_NAMES[type(item)]


def reading_key(reading: B1Reading) -> bytes:
    """The key by which the last reading of one subject remains."""
    return json.dumps([reading.company, *subject_of(reading)], ensure_ascii=False).encode()


class Publisher:
    """Publishes facts and readings.

    Events of one key stay in order: the producer is idempotent, keeps the order of a call, and every call is awaited
    before the next.

    Args:
        broker: Where to.
        codec: Makes the bytes.
        clock: A record's timestamp is the time of publishing.
        topic: Gives a topic its prefix.
        partition: A company's partition of the company topics, which readings lie on.
    """

    def __init__(
        self,
        broker: Broker,
        codec: Codec,
        clock: Clock,
        topic: Callable[[str], str],
        partition: Callable[[str], int] = lambda _company: 0,
    ) -> None:
        self._broker = broker
        self._codec = codec
        self._clock = clock
        self._topics = {name: topic(fact_topic(name)) for name in (*EVENT_TYPES, *READING_TYPES)}
        self._partition = partition

    def prepare(self, item: FactEvent | B1Reading) -> Outgoing | RefusedRecord:
        """Its record; refused where its topic cannot take it, an order of some ten thousand lines, say."""
        try:
            value = self._codec.encode(item)
        except UnencodableError as error:
            if isinstance(item, B1Reading):
                return _refused_reading(item, str(error))
            return _refused(item, str(error))
        return Outgoing(
            topic=self._topics[name_of(item)],
            partition=self._partition(item.company) if isinstance(item, B1Reading) else None,
            key=reading_key(item) if isinstance(item, B1Reading) else key_of(item),
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


def _refused_reading(reading: B1Reading, error: str) -> RefusedRecord:
    names = json.dumps([READING_NAMES[type(reading)], reading.company, *subject_of(reading)])
    return RefusedRecord(
        event_type=None,
        reason="invalid_event",
        error=f"{error} (what B1 says of {names})",
        value=names.encode(),
        origin="reading",
        digest=hashlib.sha256(names.encode()).hexdigest(),
        number=0,
    )

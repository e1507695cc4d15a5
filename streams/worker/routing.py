"""Events of orders on their way to their company's queue: decoded, keyed, passed on.

What cannot be read becomes a dead letter.
"""

from collections.abc import Collection
from dataclasses import replace

from connectors.base.clock import Clock
from connectors.base.log import Outgoing
from connectors.base.validate import MAX_IDENTITY_CHARS
from schemas.codec import FACT_MAX_BYTES, Codec, CodecError, UnreadableError
from schemas.events import EVENT_TYPES, OrderEvent, identity
from schemas.letter_bounds import MAX_HEADER_BYTES, MAX_KEY_BYTES, size_of
from schemas.records import Header, Posting
from schemas.topics import fact_topic
from streams.chain.keys import event_key
from streams.config.load import Config
from streams.dead_letters.publisher import DeadLetterPublisher, Refused
from streams.kafka.log import Log
from streams.ports import RawRecord, RecordBatch
from streams.telemetry.metrics import Metrics


class OrderRouter:
    """Knows the configuration only: everything that B1 has a say in is the poster's."""

    def __init__(
        self, config: Config, log: Log, codec: Codec, letters: DeadLetterPublisher, clock: Clock, metrics: Metrics
    ) -> None:
        self._config, self._log, self._codec, self._letters, self._metrics = config, log, codec, letters, metrics

    async def route(self, event_type: str, batch: RecordBatch, log: int = 0) -> None:
        """Queue a fetched batch; its records are finished when the queue has them, in order.

        `log` is the number of the partition's log (`streams.chain.known_logs`).

        Raises:
            LogError: not queued; the offsets stay, the records come again and are known by their place.
        """
        records = batch.open()
        postings: list[Outgoing] = []
        refused: list[Refused] = []
        for record in records:
            routed = self._posting(event_type, batch, record, log)
            if isinstance(routed, Refused):
                refused.append(replace(routed, log=log))
            else:
                postings.append(routed)
        if refused:
            await self._letters.refuse(refused)
        if postings:
            await self._log.send_many(postings)
        for record in records:
            batch.finish(record.offset)
        self._metrics.events_consumed(event_type).inc(len(records))

    def _posting(self, event_type: str, batch: RecordBatch, record: RawRecord, log: int) -> Outgoing | Refused:
        headers = tuple(Header(name=name, value=value or b"") for name, value in record.headers)
        try:
            # Its topics are those of orders, never stock
            _check_size(record, headers)
            event: OrderEvent = self._codec.decode(record.value or b"", EVENT_TYPES[event_type])  # type: ignore[assignment]
        except CodecError as exc:
            self._metrics.decode_errors(fact_topic(event_type), exc.reason).inc()
            return self._refused(event_type, batch, record, headers, exc.reason, str(exc))
        identities = (event.source, event.company, event.event_id, event.order_id or "", *identity(event))
        if any(len(text) > MAX_IDENTITY_CHARS for text in identities):
            error = f"an identity has more than {MAX_IDENTITY_CHARS} characters"
            return self._refused(event_type, batch, record, headers, "invalid_event", error)
        if event.company not in self._config.companies:
            return self._refused(
                event_type,
                batch,
                record,
                headers,
                "invalid_event",
                f"company {event.company!r} is not in the configuration; add it and replay",
            )
        posting = Posting(
            k=event_key(event),
            kind=event_type,
            company=event.company,
            source=event.source,
            order_id=event.order_id,
            digest=event.digest,
            topic=batch.topic,
            partition=batch.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp,
            key=record.key,
            headers=headers,
            value=record.value or b"",
            log=log,
        )
        return Outgoing(
            topic=self._config.topic("erp-orders"),
            partition=self._config.company_partition(event.company),
            key=event.company.encode(),
            value=self._codec.encode(posting),
        )

    @staticmethod
    def _refused(
        event_type: str, batch: RecordBatch, record: RawRecord, headers: Collection[Header], reason: str, error: str
    ) -> Refused:
        return Refused(
            reason=reason,
            state="dead",
            error=error,
            event_type=event_type,
            company="",
            topic=batch.topic,
            partition=batch.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp,
            key=record.key,
            value=record.value,
            headers=tuple(headers),
        )


def _check_size(record: RawRecord, headers: Collection[Header]) -> None:
    """A fact travels on in records whose size is bounded, with its key and headers.

    Raises:
        UnreadableError: They are longer than a fact's may be.
    """
    sizes = len(record.value or b""), len(record.key or b""), size_of(headers)
    if sizes[0] > FACT_MAX_BYTES or sizes[1] > MAX_KEY_BYTES or sizes[2] > MAX_HEADER_BYTES:
        raise UnreadableError(
            "{} bytes, {} of key, {} of headers; at most {}, {}, {} are read".format(
                *sizes, FACT_MAX_BYTES, MAX_KEY_BYTES, MAX_HEADER_BYTES
            )
        )

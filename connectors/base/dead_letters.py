"""Refused records to their dead-letter topic, with their bytes, and their state (architecture section 7)."""

from collections.abc import Callable, Sequence

from connectors.base.clock import Clock
from connectors.base.log import Broker, Outgoing, Sent, milliseconds
from connectors.base.notices import NoticeWriter
from connectors.base.source import Origin, RefusedRecord
from schemas.codec import Codec
from schemas.letter_bounds import bounded, short
from schemas.letters import REASONS, headers_of, letter_id
from schemas.records import DeadLetterState, Header
from schemas.topics import dead_letter_topic, fact_topic

#: `DeadLetterState.partition` of a record that never was in Kafka; `offset` is then the line.
NOT_KAFKA = -1
INBOX = "inbox"
STATES = "dead-letter-state"
#: What is longer is cut, with its size and digest beside it: a dead letter that cannot be written would be tried for
#: ever.
MAX_VALUE_BYTES = 990_000


class DeadLetters:
    """Writes the letters of records that connectors refuse.

    The bytes come first, then the state; both are awaited. A dead letter written again (after a crash) has the same id
    and replaces its state.

    Args:
        broker: Where to.
        codec: Makes the state's bytes.
        clock: When it failed.
        topic: Gives a topic its prefix.
        company_partition: A company's partition of `dead-letter-state`.
    """

    def __init__(
        self,
        broker: Broker,
        codec: Codec,
        clock: Clock,
        topic: Callable[[str], str],
        company_partition: Callable[[str], int],
    ) -> None:
        self._broker = broker
        self._codec = codec
        self._clock = clock
        self._topic = topic
        self._company_partition = company_partition
        self._notices = NoticeWriter(broker, codec, topic, company_partition)

    async def write(self, source: Origin, refused: Sequence[RefusedRecord]) -> None:
        """Return when the broker has all letters and their states.

        Raises:
            RetriableError: Nobody knows which of them it has; writing them again is harmless.
        """
        if not refused:
            return
        letters = [self._letter(source, record) for record in refused]
        sent = await self._broker.send_many(letters)
        states = [self._state(source, record, place) for record, place in zip(refused, sent, strict=True)]
        await self._broker.send_many(
            [
                Outgoing(
                    topic=self._topic(STATES),
                    partition=self._company_partition(source.company),
                    key=state.id.encode(),
                    value=self._codec.encode(state),
                    timestamp_ms=milliseconds(state.at),
                )
                for state in states
            ]
            + self._notices.of_letters(states)
        )

    def _letter(self, source: Origin, record: RefusedRecord) -> Outgoing:
        """The record's bytes under the connector's name: lines of one source stay in order."""
        state = self._state(source, record, None)
        place = (
            Header(name="b1streams.connector", value=source.name.encode()),
            Header(name="b1streams.file", value=record.origin.encode(errors="surrogateescape")),
            Header(name="b1streams.file_digest", value=record.digest.encode()),
            Header(name="b1streams.line", value=str(record.number).encode()),
        )
        _, value, headers = bounded(None, record.value, place, keep=MAX_VALUE_BYTES, first=MAX_VALUE_BYTES)
        return Outgoing(
            topic=self._topic(dead_letter_topic(_topic_of(record))),
            key=source.name.encode(),
            value=value,
            headers=tuple(headers_of(state, headers)),
            timestamp_ms=milliseconds(state.at),
        )

    def _state(self, source: Origin, record: RefusedRecord, sent: Sent | None) -> DeadLetterState:
        topic = _topic_of(record)
        now = self._clock.now()
        return DeadLetterState(
            id=letter_id(source.name, record.digest, record.number),
            state="dead",
            reason=record.reason,
            owner=REASONS[record.reason].owner,
            company=source.company,
            event_type=record.event_type or INBOX,
            event_id=short(record.event_id),
            source=source.name,
            order_id=short(record.order_id),
            sku=short(record.sku),
            topic=self._topic(topic),
            partition=NOT_KAFKA,
            offset=record.number,
            letter_topic=self._topic(dead_letter_topic(topic)),
            letter_partition=sent.partition if sent else 0,
            letter_offset=sent.offset if sent else 0,
            attempts=1,
            error=short(record.error),
            first_failed_at=now,
            at=now,
        )


def _topic_of(record: RefusedRecord) -> str:
    return fact_topic(record.event_type) if record.event_type else INBOX

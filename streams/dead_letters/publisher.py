"""Writes dead letters: original bytes and key first, then the state.

Only then may the offset move (architecture section 15.5).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Self

from connectors.base.clock import Clock
from connectors.base.dead_letters import INBOX
from connectors.base.errors import LogError
from connectors.base.log import Headers, Outgoing, Sent
from connectors.base.notices import NoticeWriter
from schemas.codec import Codec
from schemas.letter_bounds import bounded, short
from schemas.letters import REASONS, REPLAY_HEADER, REPUBLISHED_HEADER, headers_of, letter_id
from schemas.records import DeadLetterState, Header
from schemas.topics import dead_letter_topic, fact_topic, flow_of
from streams.dead_letters.states import STATES, term_headers, term_mark
from streams.kafka.log import Log
from streams.telemetry.metrics import Metrics

_ID = re.compile(rb"[0-9a-z]{1,32}")
_MAX_DIGITS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An event that cannot go on, with the coordinates and bytes of the record that carried it.

    `state` is where its dead letter begins: dead, parked or held. `company` is empty where the bytes do not tell.
    """

    reason: str
    state: str
    error: str | None
    event_type: str
    company: str
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()
    source: str | None = None
    event_id: str | None = None
    members: tuple[str, ...] = ()
    order_id: str | None = None
    sku: str | None = None
    k: str | None = None
    digest: bytes | None = None
    sequence: int = 0
    index: int = 0
    log: int = 0
    attempts: int = 0
    waits_for: str | None = None
    blocked_by: str | None = None

    @property
    def id(self) -> str:
        """Its dead letter's."""
        own = id_of(self.event_type, self.topic, self.partition, self.offset, self.index, self.log)
        return replayed_id(self.headers) or own


def replayed_id(headers: Iterable[Header]) -> str | None:
    """The id that a record keeps which was published again in place of a refused one; None: it is no such record."""
    found = next((header.value for header in headers if header.name == REPLAY_HEADER), b"")
    return found.decode() if _ID.fullmatch(found) else None


def _republished(headers: Sequence[Header]) -> int:
    """How often that has happened."""
    found = next((header.value for header in headers if header.name == REPUBLISHED_HEADER), b"")
    return int(found) if replayed_id(headers) and found.isdigit() and len(found) < _MAX_DIGITS else 0


def id_of(event_type: str, topic: str, partition: int, offset: int, index: int, log: int = 0) -> str:
    """The id of a record's dead letter; a batch of an epoch is one of several at its offset.

    `log` is the number of the partition's log (`streams.chain.known_logs`): its offsets begin again in each.
    """
    place = f"{partition}.{log}" if log else partition
    return letter_id(topic, place, f"{offset}#{index}" if event_type == "stock_batch" else offset)


class DeadLetterPublisher:
    """Writes dead letters and their states; every call returns when the broker has them.

    Args:
        topic: A topic's name as it is on the broker, from its name in `schemas.topics`.
        partition_of: The partition of a company's topics; 0 for a dead letter that names no company.
    """

    def __init__(
        self,
        log: Log,
        codec: Codec,
        topic: Callable[[str], str],
        partition_of: Callable[[str], int],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._log, self._codec, self._topic, self._partition_of = log, codec, topic, partition_of
        self._clock, self._metrics = clock, metrics
        self._notices = NoticeWriter(log, codec, topic, partition_of)
        self._headers: Headers = ()

    def within(self, term: int) -> Self:
        """The same for the poster of this term: its states name it, and count only while it lasts (`states`)."""
        bound = copy(self)
        bound._headers = term_headers(term)
        return bound

    async def begin_term(self, company: str) -> None:
        """Mark the beginning of our term: what an earlier poster writes after it does not count.

        Raises:
            LogError: Nobody knows whether it has begun.
        """
        await self._states([(term_mark(company), company, None)])

    async def restore(self, company: str, letters: Mapping[str, DeadLetterState | None]) -> None:
        """Write states again, by id; None: as if the dead letter had never been written, for its event ends otherwise.

        Raises:
            LogError: Nobody knows which of them are written.
        """
        await self._states(
            [
                (id_.encode(), company, None if letter is None else self._codec.encode(letter))
                for id_, letter in letters.items()
            ]
        )

    async def refuse(self, refused: Sequence[Refused]) -> list[DeadLetterState]:
        """Write dead letters: the bytes, then the states. What is longer than its topic takes is cut, and noted.

        Raises:
            LogError: Not written; the caller's offset must not move.
        """
        now = self._clock.now()
        letters = []
        for item in refused:
            stock = item.event_type == "stock_batch"
            name = dead_letter_topic("erp-stock" if stock else fact_topic(item.event_type))
            partition = self._partition_of(item.company) if stock else 0 if item.event_type == INBOX else item.partition
            letters.append(
                DeadLetterState(
                    id=item.id,
                    state=item.state,
                    reason=item.reason,
                    owner=REASONS[item.reason].owner,
                    company=item.company,
                    k=item.k,
                    digest=item.digest,
                    event_type=item.event_type,
                    event_id=item.event_id,
                    members=item.members,
                    source=item.source,
                    order_id=item.order_id,
                    sku=item.sku,
                    topic=item.topic,
                    partition=item.partition,
                    offset=item.offset,
                    timestamp_ms=item.timestamp_ms,
                    sequence=item.sequence,
                    letter_topic=self._topic(name),
                    letter_partition=partition,
                    letter_offset=-1,
                    attempts=item.attempts,
                    waits_for=item.waits_for,
                    blocked_by=item.blocked_by,
                    error=short(item.error),
                    log=item.log,
                    first_failed_at=now,
                    republished=_republished(item.headers),
                    at=now,
                )
            )
        sent = await self._send([_letter_of(letter, item) for letter, item in zip(letters, refused, strict=True)])
        letters = [replace(letter, letter_offset=place.offset) for letter, place in zip(letters, sent, strict=True)]
        await self.change(letters)
        for letter in (one for one in letters if one.state == "dead"):
            self._metrics.dead_letters(flow_of(letter.event_type), letter.reason).inc()
        return letters

    async def rewrite(self, letter: DeadLetterState, key: bytes | None, value: bytes) -> DeadLetterState:
        """Write other bytes of an open dead letter behind its old ones, then its state, which names their place.

        Raises:
            LogError: Nobody knows whether they are written; the state says nothing of them.
        """
        (sent,) = await self._send(
            [
                Outgoing(
                    topic=letter.letter_topic,
                    partition=letter.letter_partition,
                    key=key or (letter.order_id or "").encode(),
                    value=value,
                    headers=headers_of(letter),
                )
            ]
        )
        rewritten = replace(letter, letter_offset=sent.offset)
        await self.change([rewritten])
        return rewritten

    async def change(self, letters: Sequence[DeadLetterState]) -> None:
        """Write states, the last one of an id wins, and in the same send what is news in them."""
        letters = [fitting(letter) for letter in letters]
        await self._states(
            [(letter.id.encode(), letter.company, self._codec.encode(letter)) for letter in letters],
            self._notices.of_letters(letters),
        )

    async def _states(
        self, states: Sequence[tuple[bytes, str, bytes | None]], notices: Sequence[Outgoing] = ()
    ) -> None:
        topic = self._topic(STATES)
        records = [
            Outgoing(topic=topic, partition=self._partition_of(company), key=key, value=value, headers=self._headers)
            for key, company, value in states
        ]
        await self._send([*records, *notices])

    async def _send(self, records: Sequence[Outgoing]) -> list[Sent]:
        try:
            return await self._log.send_many(records)
        except LogError:
            self._metrics.dlq_write_failures.inc()
            raise


def fitting(letter: DeadLetterState) -> DeadLetterState:
    """A state whose texts are cut to their room; its members are those of one window, which has a bound in bytes."""
    return replace(
        letter,
        error=short(letter.error),
        waits_for=short(letter.waits_for),
        cause=short(letter.cause),
        why=short(letter.why),
        tries=tuple(replace(each, error=short(each.error)) for each in letter.tries),
    )


def _letter_of(letter: DeadLetterState, item: Refused) -> Outgoing:
    key, value, headers = bounded(item.key, item.value, item.headers)
    return Outgoing(
        topic=letter.letter_topic,
        partition=letter.letter_partition,
        key=key,
        value=value,
        headers=headers_of(letter, headers),
    )

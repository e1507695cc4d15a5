"""The dead letters of one company as its poster keeps them: its term, what others write, their only writer (D5)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace

import structlog

from connectors.base.dead_letters import NOT_KAFKA
from connectors.base.errors import LogError
from connectors.base.log import Record
from schemas.codec import UnreadableError
from schemas.events import OrderEvent
from schemas.records import DeadLetterState, Header, Posting, StockBatch
from streams.dead_letters.index import DeadLetterIndex, OpenDeadLetter, OrderSources
from streams.dead_letters.publisher import DeadLetterPublisher, Refused, id_of, replayed_id
from streams.dead_letters.states import STATES, StateLog
from streams.ports import Ports
from streams.posting import schedule
from streams.posting.in_flight import KINDS
from streams.posting.schedule import waits_for_event

logger = structlog.get_logger(__name__)


#: The header in which bytes name their dead letter.
_ID = "b1streams.id"


#: In how many steps the age of a wait is written until it is as old as it may become.
_AGE_STEPS = 24
#: How many are written at once.
_TOMBSTONES = 500


class BytesGoneError(Exception):
    """The bytes of a dead letter are not where its state says, or cannot be read: it can never go on as it is."""


class CompanyDeadLetters:
    """Lifecycle: `open`; then `sync` now and then, `add`, `change` and `close` as postings end.

    Attributes:
        index: What stands where.
        wait_clock: Counts what becomes the age of a wait; whoever looks through the waits ticks it.
        is_read: What others write could be read, the last time.
    """

    def __init__(
        self,
        company: str,
        partition: int,
        publisher: DeadLetterPublisher,
        ports: Ports,
        topic: Callable[[str], str],
        order_sources: OrderSources,
        next_sequence: Callable[[], int],
        park_max_age_s: float,
    ) -> None:
        """Not open yet.

        Args:
            company: Whose they are.
            partition: Of the company.
            publisher: For everybody; what is written here names our term.
            ports: The outside.
            topic: A topic's name on the broker.
            order_sources: See `DeadLetterIndex`.
            next_sequence: The place in the queue of orders of what is admitted next.
            park_max_age_s: How old a wait may become.
        """
        self.index = DeadLetterIndex(order_sources)
        self._company, self._publisher, self._log, self._clock = company, publisher, ports.log, ports.clock
        self._codec = ports.codec
        self._next_sequence, self._park_max_age_s = next_sequence, park_max_age_s
        self.wait_clock = schedule.WaitClock()
        self._states = StateLog(ports.log, ports.codec, topic(STATES), partition, company)
        self._term = 0
        self.is_read = True
        self._stale: set[str] = set()  # last written by a predecessor after we had begun
        self._writing: set[str] = set()

    # ---- our term, and what others write

    async def open(self, last_term: int, stamp: Callable[[int], Awaitable[bool]]) -> None:
        """Take over: what a predecessor writes from now on does not count.

        Args:
            last_term: By the group's commit.
            stamp: Commits the number of our term; False where the group has moved on, which then cancels us.
        """
        publisher, changes = self._publisher, await self._states.read_changes()
        while self._term != self._states.term or not self._term:
            # The log may know of more than the commit does, where somebody has deleted the group.
            self._term = max(last_term, self._states.term) + 1
            if not await stamp(self._term):
                await asyncio.Event().wait()
            self._publisher = publisher.within(self._term)
            await self._publisher.begin_term(self._company)
            changes.add(await self._states.read_changes())
        self._stale = changes.stale
        letters = [letter for letter, _ in changes.counts.values() if letter is not None]
        for letter in sorted(letters, key=lambda one: (one.first_failed_at, one.sequence)):
            if _is_of_connector(letter):
                await self._place(letter)
            else:
                self._take_over(letter, soon=True)
        await self._restore()

    async def sync(self) -> None:
        """Follow what others write to the states of our dead letters.

        Connectors: what they refuse lies there before what follows it in the source is published, and holds it.
        Predecessors that stood still and go on: what they write does not count (`StateLog`), and what we know is
        written again.

        Raises:
            LogError: It cannot be read, or written.
        """
        changes = await self._states.read_changes()
        for letter, term in changes.counts.values():
            if letter is None or term is not None:
                continue
            if _is_of_connector(letter):
                await self._place(letter)
            elif letter.k is None:  # of what was never a posting: whoever refuses, republishes or discards it says so
                self.index.put(letter)
        self._stale |= changes.stale
        await self._restore()

    async def try_sync(self) -> None:
        """As `sync`; where the broker does not answer, the next time."""
        try:
            await self.sync()
            self.is_read = True
        except LogError as error:
            self.is_read = False
            # What is missed meanwhile waits for its order all the same.
            logger.warning("dead letters of others are not read", company=self._company, error=str(error))

    async def in_term(self) -> bool:
        """Whether nobody has taken over the company, up to now."""
        await self.sync()
        return self._states.term == self._term

    async def _place(self, letter: DeadLetterState) -> None:
        """Give a connector's dead letter its place in the order's sequence: after what is admitted, before what is not.

        A connector does not know that, and writes a dead letter again after a crash of its own.
        """
        known = self.index.known(letter.id)
        # Before all that will be queued where nothing is yet; 0 is none
        sequence = letter.sequence or (known.sequence if known else self._next_sequence() or -1)
        placed = replace(letter, sequence=sequence)
        with self._written(letter.id):
            self._take_over(placed)
            if placed != letter:
                await self._publisher.change([placed])

    async def _restore(self) -> None:
        """Write what we know over what does not count; a dead letter that we do not know was never written."""
        if self._states.term > self._term:
            return  # we are the predecessor: our successor does it
        ids = self._stale - self._writing
        if not ids:
            return
        known = {id_: self.index.known(id_) for id_ in sorted(ids)}
        await self._publisher.restore(self._company, known)
        # What we wrote ourselves meanwhile may lie before it: once more
        self._stale -= {id_ for id_ in ids - self._writing if self.index.known(id_) is known[id_]}
        logger.warning("a poster that was paused has written dead letters", company=self._company, items=sorted(ids))

    def _age_s(self, entry: OpenDeadLetter | None) -> float:
        """Of what is not open, 0; of what is dead too: a person who replays it begins a new wait."""
        return (
            0.0 if entry is None or entry.letter.state == "dead" else schedule.age_s(entry, self.wait_clock.counted_s)
        )

    def is_overdue(self, entry: OpenDeadLetter | None) -> bool:
        """Whether it has waited longer than it may, as far as that counts."""
        waits = entry is not None and entry.letter.state == "parked"
        return waits and self._age_s(entry) > self._park_max_age_s

    def has_expired(self, id_: str) -> bool:
        """Whether it is given up where B1 refuses it again: what waits for an event, only at its last try."""
        entry = self.index.get(id_)
        return entry is not None and self.is_overdue(entry) and (entry.is_last_try or not waits_for_event(entry.letter))

    # ---- writing

    async def add(self, refused: Refused) -> None:
        """Write a new dead letter: its bytes, then its state.

        Raises:
            LogError: Not written; the offset must not move.
        """
        with self._written(refused.id):
            (letter,) = await self._publisher.refuse([refused])
            self._take_over(letter)

    async def change(self, letter: DeadLetterState) -> None:
        """Write how an open dead letter stands now, where that differs, and schedule its next look.

        The age of its wait is written as it grows, in steps of a share of what it may become.

        Raises:
            LogError: Not written.
        """
        with self._written(letter.id):
            known, entry = self.index.known(letter.id), self.index.get(letter.id)
            counted_s, written_s = int(self._age_s(entry)), 0 if known is None else known.waited_s
            grown_s = counted_s - written_s
            if (
                known is not None
                and _standing(letter) == _standing(known)
                and grown_s * _AGE_STEPS < self._park_max_age_s
            ):
                # Commands name the time of the state that lies in the log
                unwritten = replace(letter, at=known.at, waited_s=written_s)
                self._take_over(unwritten, since_s=None if entry is None else entry.since_s)
                return
            letter = replace(letter, waited_s=counted_s)
            await self._publisher.change([letter])
            self._take_over(letter)

    async def rewrite(self, letter: DeadLetterState, value: bytes) -> None:
        """Give an open dead letter other bytes, then write its state.

        Raises:
            LogError: Nobody knows whether they are written; the state says nothing of them.
        """
        with self._written(letter.id):
            old = await self._record_at(letter.letter_topic, letter.letter_partition, letter.letter_offset)
            self._take_over(await self._publisher.rewrite(letter, None if old is None else old.key, value))

    async def close(self, letter: DeadLetterState) -> None:
        """Write that its event has ended.

        Raises:
            LogError: Not written.
        """
        with self._written(letter.id):
            await self._publisher.change([letter])
            self.index.put(letter)

    async def forget(self, letters: Sequence[DeadLetterState]) -> None:
        """Write tombstones for closed dead letters, and remember them no longer. Their bytes stay.

        Raises:
            LogError: Not all are written.
        """
        for start in range(0, len(letters), _TOMBSTONES):
            some = [one for one in letters[start : start + _TOMBSTONES] if self.index.known(one.id) is one]
            ids = {letter.id for letter in some}
            self._writing |= ids
            try:
                await self._publisher.restore(self._company, dict.fromkeys(ids))
                self.index.forget(some)
            finally:
                self._writing -= ids

    def _take_over(self, letter: DeadLetterState, *, soon: bool = False, since_s: float | None = None) -> None:
        """`since_s`: what had been counted when its state was written; None: it is written now, or loaded."""
        before = self.index.known(letter.id)
        entry = self.index.put(letter)
        if entry is None:
            return
        entry.in_flight = entry.is_last_try = False
        entry.since_s = self.wait_clock.counted_s if since_s is None else since_s
        now, monotonic_s = self._clock.now(), self._clock.monotonic()
        entry.retry = schedule.first_retry(letter, before, entry.retry, now, monotonic_s, soon=soon)

    @contextmanager
    def _written(self, id_: str) -> Iterator[None]:
        """Around a write of a state and its taking over: nobody writes the old one again meanwhile."""
        self._writing.add(id_)
        try:
            yield
        finally:
            self._writing.discard(id_)

    # ---- reading

    def of_record(self, posting: Posting) -> DeadLetterState | None:
        """The dead letter of this very record, open or closed."""
        place = posting.topic, posting.partition, posting.offset
        own = replayed_id(posting.headers) or id_of(posting.kind, *place, posting.index, posting.log)
        letter = self.index.known(own)
        # One that was published again has the id of a dead letter that was another record's
        if letter is None or (letter.topic, letter.partition, letter.offset, letter.log) != (*place, posting.log):
            return None
        return letter

    async def posting_of(self, letter: DeadLetterState) -> tuple[Posting, OrderEvent | StockBatch]:
        """The posting whose bytes a dead letter keeps, under its own K, and what it carries.

        Raises:
            BytesGoneError: They are gone, in a topic that was trimmed or made anew, or are no such event.
            LogError: They cannot be read now.
            UnknownSchemaError: A newer version wrote them, and can read them.
        """
        topic, partition, offset = letter.letter_topic, letter.letter_partition, letter.letter_offset
        record = await self._record_at(topic, partition, offset)
        if record is None or any(name == _ID and value != letter.id.encode() for name, value in record.headers):
            raise BytesGoneError(f"its bytes are no longer at offset {offset} of {topic}/{partition}")
        posting = Posting(
            k=letter.k or "",
            kind=letter.event_type,
            company=letter.company,
            source=letter.source or "",
            order_id=letter.order_id,
            digest=letter.digest or b"",
            topic=letter.topic,
            partition=letter.partition,
            offset=letter.offset,
            timestamp_ms=letter.timestamp_ms,
            key=record.key,
            headers=tuple(Header(name=name, value=value) for name, value in record.headers),
            value=record.value or b"",
            log=letter.log,
        )
        try:
            return posting, self._codec.decode(posting.value, KINDS[letter.event_type])
        except UnreadableError as error:
            raise BytesGoneError(f"its bytes at offset {offset} of {topic}/{partition} cannot be read") from error

    async def _record_at(self, topic: str, partition: int, offset: int) -> Record | None:
        async with aclosing(self._log.read(topic, partition, offset, offset + 1)) as batches:
            async for records in batches:
                for record in records:
                    return record
        return None


def _is_of_connector(letter: DeadLetterState) -> bool:
    """Whether it was refused before it was in Kafka, and holds events of its order."""
    return letter.partition == NOT_KAFKA and letter.order_id is not None


def _standing(letter: DeadLetterState | None) -> tuple[object, ...] | None:
    if letter is None:
        return None
    of_command = (letter.command, letter.replays, letter.letter_offset)
    return letter.state, letter.reason, letter.waits_for, letter.blocked_by, *of_command

"""Which states of dead letters count where two posters of a company write at once: a paused one, and its successor.

This is fencing. A poster's term has a number, which it takes by a commit that the group accepts from the partition's
owner only, and its states name it. A term begins with a mark in `dead-letter-state`. Reading the partition in order, a
state of a lower term than the highest so far does not count: its writer had lost the company, and what it decided is
decided again by its successor. States that name no term (of connectors, of routers, of people) always count. Only
posters read by this rule; they write over what does not count, so that everybody else may take the last state of an id.
"""

from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass, field

from connectors.base.log import Headers
from schemas.codec import Codec
from schemas.records import DeadLetterState
from streams.kafka.log import Log

STATES = "dead-letter-state"
#: Where a commit of `erp-orders` has the number of the last term.
TERM = ("tenure", "")
_HEADER = "b1streams.tenure"


def term_mark(company: str) -> bytes:
    """The key of the record with which a term begins; it has no value, so that no reader of states sees it."""
    return f"tenure/{company}".encode()


def term_headers(term: int) -> Headers:
    return ((_HEADER, str(term).encode()),)


def _term_in(headers: Iterable[tuple[str, bytes | None]]) -> int | None:
    return next((int(value) for name, value in headers if name == _HEADER and value is not None), None)


@dataclass(slots=True)
class StateChanges:
    """What was written since the last read.

    Attributes:
        counts: The last state that counts, by id, with the term that it names; None: withdrawn.
        stale: Ids whose last state does not count.
    """

    counts: dict[str, tuple[DeadLetterState | None, int | None]] = field(default_factory=dict)
    stale: set[str] = field(default_factory=set)

    def add(self, later: "StateChanges") -> None:
        self.stale = (self.stale - later.counts.keys()) | later.stale
        self.counts.update(later.counts)


class StateLog:
    """Reads the states of one company's dead letters, each record once.

    Attributes:
        term: The highest that was seen.
    """

    def __init__(self, log: Log, codec: Codec, topic: str, partition: int, company: str) -> None:
        self._log, self._codec, self._place, self._company = log, codec, (topic, partition), company
        self._position = self.term = 0

    async def read_changes(self) -> StateChanges:
        """What was written since the last call; all that is there, the first time.

        Raises:
            LogError: Nothing is known to be read; the next call reads it again.
        """
        start, end = await self._log.bounds(*self._place)
        changes, term = StateChanges(), self.term
        if (start := max(start, self._position)) < end:
            async with aclosing(self._log.read(*self._place, start, end)) as batches:
                async for records in batches:
                    for record in records:
                        named = _term_in(record.headers)
                        if named is not None and named >= term:
                            term = named
                        self._add(changes, record.key, record.value, named, counts=named is None or named == term)
        self._position, self.term = max(self._position, end), max(self.term, term)
        return changes

    def _add(
        self, changes: StateChanges, key: bytes | None, value: bytes | None, named: int | None, *, counts: bool
    ) -> None:
        if key is None or key == term_mark(self._company):
            return
        id_ = key.decode(errors="replace")
        if not counts:
            changes.stale.add(id_)
            return
        letter = None if value is None else self._codec.decode(value, DeadLetterState)
        if letter is None or letter.company == self._company:
            changes.counts[id_] = letter, named
            changes.stale.discard(id_)

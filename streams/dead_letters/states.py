"""Which states of letters count, where two posters of a company write at once: a paused one that goes on, and its successor.

A poster's tenure has a number, which it takes by a commit that the group accepts from the partition's owner only, and its states
name it. It begins with a mark in `dead-letter-state`. Walking the partition, a state of a lower tenure than the highest one so far
does not count: its writer had lost the company, and what it decided is decided again by who came next. States that name no tenure
(of connectors, of routers, of people) always count. Only posters walk by this rule; they write over what does not count, so that
everybody else may take the last state of an id.
"""

from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass, field

from connectors.base.log import Headers
from schemas.codec import Codec
from schemas.records import DeadLetterState
from streams.kafka.log import Log

STATES = "dead-letter-state"
#: Where a commit of `erp-orders` has the number of the last tenure.
TENURE = ("tenure", "")
_HEADER = "b1streams.tenure"


def mark_of(company: str) -> bytes:
    """The key of the mark with which a tenure begins; it has no value, so that no reader of states sees it."""
    return f"tenure/{company}".encode()


def headers_in(tenure: int) -> Headers:
    return ((_HEADER, str(tenure).encode()),)


def _tenure_in(headers: Iterable[tuple[str, bytes | None]]) -> int | None:
    return next((int(value) for name, value in headers if name == _HEADER and value is not None), None)


@dataclass(slots=True)
class News:
    """What was written since the last look.

    Attributes:
        counts: The last state that counts, by id; None: withdrawn. With the tenure that it names.
        stale: Ids whose last state does not count.
    """

    counts: dict[str, tuple[DeadLetterState | None, int | None]] = field(default_factory=dict)
    stale: set[str] = field(default_factory=set)

    def add(self, later: "News") -> None:
        self.stale = (self.stale - later.counts.keys()) | later.stale
        self.counts.update(later.counts)


class States:
    """Walks the states of one company's letters, each record once.

    Attributes:
        tenure: The highest that was seen.
    """

    def __init__(self, log: Log, codec: Codec, topic: str, partition: int, company: str) -> None:
        self._log, self._codec, self._place, self._company = log, codec, (topic, partition), company
        self._heard = self.tenure = 0

    async def news(self) -> News:
        """What was written since the last call; all that is there, the first time.

        Raises:
            LogError: Nothing is known to be read; the next call reads it again.
        """
        start, end = await self._log.bounds(*self._place)
        news, tenure = News(), self.tenure
        if (start := max(start, self._heard)) < end:
            async with aclosing(self._log.read(*self._place, start, end)) as batches:
                async for records in batches:
                    for record in records:
                        named = _tenure_in(record.headers)
                        if named is not None and named >= tenure:
                            tenure = named
                        self._hear(news, record.key, record.value, named, counts=named is None or named == tenure)
        self._heard, self.tenure = max(self._heard, end), max(self.tenure, tenure)
        return news

    def _hear(self, news: News, key: bytes | None, value: bytes | None, named: int | None, *, counts: bool) -> None:
        if key is None or key == mark_of(self._company):
            return
        id_ = key.decode(errors="replace")
        if not counts:
            news.stale.add(id_)
            return
        letter = None if value is None else self._codec.decode(value, DeadLetterState)
        if letter is None or letter.company == self._company:
            news.counts[id_] = letter, named
            news.stale.discard(id_)

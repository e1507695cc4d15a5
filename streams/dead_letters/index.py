"""The dead letters of one company in memory: which are open, what they wait for, what they hold. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from sys import intern
from typing import NamedTuple

from schemas.letters import OPEN_STATES, RANKS, holds
from schemas.records import DeadLetterState

#: The sources whose order an event of this type from this source may name.
OrderSources = Callable[[str, str], tuple[str, ...]]

#: What a cancellation waits for that is parked until the inputs have been read up to it: it holds nothing, for it waits
#: for events of its own order.
BEHIND_INPUTS = "inputs"
#: Fields of few values.
_SHARED = ("state", "reason", "owner", "company", "event_type", "source", "topic", "letter_topic", "waits_for", "error")


class Retry(NamedTuple):
    """When an open dead letter is looked at again.

    Attributes:
        due_s: A second of the monotonic clock; None where only an outcome releases it.
        delay_s: How long it waits for that.
    """

    due_s: float | None = None
    delay_s: float = 0.0


@dataclass(slots=True)
class OpenDeadLetter:
    """A dead letter that is dead, parked or held.

    Attributes:
        letter: As it stands.
        retry: When it is looked at again.
        in_flight: Released: it still blocks, and is not released again.
        since_s: What had been counted in all when its state was taken over (`schedule.WaitClock`).
        is_last_try: It is tried once more before it is given up.
    """

    letter: DeadLetterState
    retry: Retry = field(default_factory=Retry)
    in_flight: bool = False
    since_s: float = 0.0
    is_last_try: bool = False


class DeadLetterIndex:
    """Filled from `dead-letter-state` on assignment, then kept by `put`, called for every state the poster writes.

    An order's dead letters stand in order of arrival. An open one holds what came later in its order with a rank not
    lower than its own; so nothing that something waits for is ever held (contract section 6).
    """

    def __init__(self, order_sources: OrderSources) -> None:
        """`order_sources`: dead letters of another source's order of the same id hold nothing."""
        self._order_sources = order_sources
        self._open: dict[str, OpenDeadLetter] = {}
        self._by_k: dict[str, DeadLetterState] = {}
        self._known: dict[str, DeadLetterState] = {}
        self._by_order: defaultdict[str, list[str]] = defaultdict(list)

    def put(self, letter: DeadLetterState) -> OpenDeadLetter | None:
        """Take over a state; the open dead letter, where that is what it is."""
        if letter.state not in OPEN_STATES:
            _share_texts(letter)
        stands = letter.state in OPEN_STATES or self._by_k.get(letter.k or "", letter).id == letter.id
        if letter.k is not None and stands and letter.reason not in ("id_reuse", "key_conflict"):
            self._by_k[letter.k] = letter  # of several dead letters of one K the open one stands for it
        self._known[letter.id] = letter
        entry = self._open.get(letter.id)
        if letter.state not in OPEN_STATES:
            if entry is not None:
                del self._open[letter.id]
                if letter.order_id is not None:
                    ids = self._by_order[letter.order_id]
                    ids.remove(letter.id)
                    if not ids:
                        del self._by_order[letter.order_id]
            return None
        if entry is None:
            entry = self._open[letter.id] = OpenDeadLetter(letter)
            if letter.order_id is not None:
                self._by_order[letter.order_id].append(letter.id)
        entry.letter = letter
        if letter.order_id is not None:
            self._by_order[letter.order_id].sort(key=self._place)
        return entry

    def closed(self) -> list[DeadLetterState]:
        """What has ended and is remembered."""
        return [letter for letter in self._known.values() if letter.state not in OPEN_STATES]

    def forget(self, letters: Iterable[DeadLetterState]) -> None:
        """Remember these closed dead letters no longer."""
        for letter in letters:
            if self._known.get(letter.id) is letter:
                del self._known[letter.id]
                if self._by_k.get(letter.k or "") is letter:
                    del self._by_k[letter.k or ""]

    def get(self, id_: str) -> OpenDeadLetter | None:
        return self._open.get(id_)

    def known(self, id_: str) -> DeadLetterState | None:
        """A dead letter as it stands, open or closed."""
        return self._known.get(id_)

    def of_key(self, k: str) -> DeadLetterState | None:
        """The dead letter that stands for this K, open or closed."""
        return self._by_k.get(k)

    def of_order(self, order_id: str) -> list[OpenDeadLetter]:
        """Open dead letters of an order, in order of arrival."""
        return [self._open[id_] for id_ in self._by_order.get(order_id, ())]

    def blocker(
        self, order_id: str, event_type: str, source: str, before: DeadLetterState | None = None
    ) -> DeadLetterState | None:
        """The first open dead letter that holds an event of this order.

        Args:
            order_id: The order as its source names it.
            event_type: The event's, for its rank.
            source: The event's.
            before: The event's own dead letter when it is being released: only what arrived earlier holds it, and
                a cancellation that its barrier has let pass comes after all of them.
        """
        rank, ours = RANKS[event_type], set(self._order_sources(event_type, source))
        for entry in self.of_order(order_id):
            letter = entry.letter
            # Its place is where its barrier lets it pass, not where it was queued
            if letter.waits_for == BEHIND_INPUTS:
                continue
            if before is not None and letter.id == before.id:
                return None
            theirs = self._order_sources(letter.event_type, letter.source or "")
            if holds(letter.reason) and RANKS[letter.event_type] <= rank and not ours.isdisjoint(theirs):
                return letter
        return None

    def open(self) -> Iterator[OpenDeadLetter]:
        return iter(list(self._open.values()))

    def _place(self, id_: str) -> tuple[int, bool, str]:
        """A cancellation that its barrier let pass has the sequence of what is admitted next, and comes before that.

        So does what a connector refused.
        """
        letter = self._open[id_].letter
        return letter.sequence, letter.event_type != "order_cancelled" and letter.k is not None, letter.id


def _share_texts(letter: DeadLetterState) -> None:
    """Keep texts that many have in common once: of a closed dead letter they are half of what it occupies.

    In place, for a copy of each costs more than to read it, and equal texts are nothing that anybody can tell apart.
    """
    for name in _SHARED:
        if (text := getattr(letter, name)) is not None:
            object.__setattr__(letter, name, intern(text))

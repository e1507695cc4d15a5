"""The letters of one company in memory: which are open, what they wait for, what they hold. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from schemas.letters import OPEN_STATES, RANKS, REASONS
from schemas.records import DeadLetterState


@dataclass(slots=True)
class Entry:
    """An open letter. `due` is the monotonic second of its next try, None where only an outcome releases it."""

    letter: DeadLetterState
    due: float | None = None
    delay_s: float = 0.0
    running: bool = False  # released and on its way: still blocks, is not released again


class DeadLetterIndex:
    """Filled from `dead-letter-state` on assignment, then kept by `put`, called for every state the poster writes.

    An order's letters stand in order of arrival. An open letter holds what came later in its order with a rank not lower than its
    own; so nothing that something waits for is ever held (contract section 6).
    """

    def __init__(self) -> None:
        self._open: dict[str, Entry] = {}
        self._by_k: dict[str, DeadLetterState] = {}
        self._known: dict[str, DeadLetterState] = {}
        self._by_order: defaultdict[str, list[str]] = defaultdict(list)

    def put(self, letter: DeadLetterState) -> Entry | None:
        """Take over a state; the entry while it is open."""
        speaks = letter.state in OPEN_STATES or self._by_k.get(letter.k or "", letter).id == letter.id
        if letter.k is not None and speaks and letter.reason not in ("id_reuse", "key_conflict"):
            self._by_k[letter.k] = letter  # of several letters of one K the open one speaks for it
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
            entry = self._open[letter.id] = Entry(letter)
            if letter.order_id is not None:
                self._by_order[letter.order_id].append(letter.id)
                self._by_order[letter.order_id].sort(key=self._place)
        entry.letter = letter
        return entry

    def get(self, id_: str) -> Entry | None:
        return self._open.get(id_)

    def known(self, id_: str) -> DeadLetterState | None:
        """A letter as it stands, open or closed."""
        return self._known.get(id_)

    def of_key(self, k: str) -> DeadLetterState | None:
        """The letter that speaks for this K, open or closed."""
        return self._by_k.get(k)

    def of_order(self, order_id: str) -> list[Entry]:
        """Open letters of an order, in order of arrival."""
        return [self._open[id_] for id_ in self._by_order.get(order_id, ())]

    def blocker(
        self,
        order_id: str,
        event_type: str,
        before: DeadLetterState | None,
        sources: Iterable[str],
        sources_of: Callable[[DeadLetterState], Iterable[str]],
    ) -> DeadLetterState | None:
        """The first open letter that holds an event of this order.

        Args:
            order_id: the order as its source names it.
            event_type: the event's, for its rank.
            before: the event's own letter when it is being released: only what arrived earlier holds it.
            sources: the sources whose order it may be; letters of another source's order of the same id hold nothing.
            sources_of: the same for a letter.
        """
        rank, ours = RANKS[event_type], set(sources)
        for entry in self.of_order(order_id):
            letter = entry.letter
            if before is not None and letter.id == before.id:
                return None
            if REASONS[letter.reason].holds and RANKS[letter.event_type] <= rank and ours & set(sources_of(letter)):
                return letter
        return None

    def open(self) -> Iterator[Entry]:
        return iter(list(self._open.values()))

    def _place(self, id_: str) -> tuple[int, bool, str]:
        """A cancellation has the sequence of what is admitted next when its barrier lets it pass, and comes before that.

        So does what a connector refused.
        """
        letter = self._open[id_].letter
        return letter.sequence, letter.event_type != "order_cancelled" and letter.k is not None, letter.id

"""Whether a request fails for its own sake, or everything fails: "cannot" and "away" are different (D2).

A document that B1 cannot digest is answered by a server error each time, as every document is while B1 itself is in
trouble. What tells them apart is what B1 makes of others: a cheap read (the circuit breaker's probe), and the documents
of this company that it took meanwhile. Pure.
"""

from dataclasses import dataclass, field

#: So many different requests that fail with none taken between them: B1 is in trouble, whatever its reads say.
ALL_FAIL = 3
#: A request is given up after so many failures of its own, and so long after the first.
_LEAST_FAILURES = 6
_PAUSE_BASE_S, _PAUSE_CAP_S = 1.0, 30.0


@dataclass(slots=True, eq=False)
class WriteInProgress:
    """A request that goes on until its outcome is known; times are monotonic seconds.

    Attributes:
        flow: Of the event.
        unknown_since: Since when its outcome is unknown.
        unknown_in_a_row: Answers that said nothing, since one said something.
        unanswered_at: When an attempt ended without any answer: B1 may have been at it for a while longer.
        locked_since: Since when a lock is in its way.
        locks: Locks met.
        failing_since: When it first failed although B1 answered others, on the clock that stands while B1 is away.
        failures: Such failures.
        is_its_own: B1 took others between them: it says nothing of B1 any more.
        sent_at: When its last attempt was sent.
    """

    flow: str
    unknown_since: float | None = None
    unknown_in_a_row: int = 0
    unanswered_at: float | None = None
    locked_since: float | None = None
    locks: int = 0
    failing_since: float | None = None
    failures: int = 0
    is_its_own: bool = False
    sent_at: float = 0.0


@dataclass(slots=True)
class OwnFailures:
    """The requests of one company that fail although B1 answers."""

    _failing: set[WriteInProgress] = field(default_factory=set)

    def took_one(self) -> None:
        """B1 has taken a document, or has refused one with a reason: its machinery works."""
        for progress in self._failing:
            progress.is_its_own = True
        self._failing.clear()

    def ended(self, progress: WriteInProgress) -> None:
        self._failing.discard(progress)

    def failed(self, progress: WriteInProgress, now_s: float) -> None:
        """It failed, and B1 answers a read. `now_s` is on the clock that stands while B1 is away."""
        if progress.failing_since is None:
            progress.failing_since = now_s
        progress.failures += 1
        if not progress.is_its_own:
            self._failing.add(progress)

    def speaks_for_all(self, progress: WriteInProgress) -> bool:
        """Whether it fails as everything does."""
        return progress in self._failing and self.all_fail

    @property
    def all_fail(self) -> bool:
        """So many fail that it is not for their own sake."""
        return len(self._failing) >= ALL_FAIL

    def has_had_its_tries(self, progress: WriteInProgress, now_s: float, patience_s: float) -> bool:
        """Whether a request is to be given up: it fails for its own sake, and has for long enough."""
        since_s = now_s if progress.failing_since is None else progress.failing_since
        return progress.failures >= _LEAST_FAILURES and now_s - since_s >= patience_s and not self.all_fail


def own_pause_s(failures: int) -> float:
    """The pause after so many failures of one request, in seconds: doubling, about two a minute at the end."""
    return min(_PAUSE_CAP_S, _PAUSE_BASE_S * 2.0 ** (failures - 1))

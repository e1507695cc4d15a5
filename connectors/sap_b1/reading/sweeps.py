"""Full readings that come round: of items and their stock, of open orders, of what ended lately. Pure but for time."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from connectors.sap_b1.reading.walks import Walk

#: Deliveries and ended orders are read again a day later, for changes that left no date behind.
RECHECK_INTERVAL_S = 86_400.0
RECHECK_DAYS = 7


@dataclass(slots=True)
class Sweep:
    """One of them.

    Attributes:
        interval_s: Between the beginnings of two.
        due_s: When the next one begins, by the monotonic clock.
        walks: Those under way.
        seen: What this one has met.
        was_whole: One has come to its end in this process.
        known: What the last whole one met, and what was met since; only where it is asked who is missing.
    """

    interval_s: float
    due_s: float
    started_s: float = 0.0
    was_whole: bool = False
    walks: list[Walk] = field(default_factory=list)
    seen: set[str | int] = field(default_factory=set)
    known: set[str | int] = field(default_factory=set)

    def is_due(self, now_s: float) -> bool:
        """Whether there is a page to read."""
        return bool(self.walks) or now_s >= self.due_s

    def start(self, walks: Sequence[Walk], now_s: float) -> None:
        self.walks, self.started_s, self.seen = list(walks), now_s, set()

    def end(self, now_s: float) -> None:
        """The next one: at most half of the time is spent in sweeps, however long one takes."""
        self.walks, self.was_whole = [], True
        self.due_s = max(self.started_s + self.interval_s, now_s + (now_s - self.started_s))

    def missing(self) -> list[str | int]:
        """What was there and was not met, in order."""
        return sorted(self.known - self.seen)

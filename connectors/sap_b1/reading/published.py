"""What was published of each subject, so that only what differs is news."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import UTC, datetime

from connectors.base.clock import Clock
from schemas.readings import B1Reading, StockLevelRead, subject_of

#: Everything is published again at least so often: a stale record of a paused process, kept by compaction, heals.
AGAIN_WITHIN_S = 3600.0
_NEVER = datetime.fromtimestamp(0, UTC)

#: The type of a record, and what it is about.
Subject = tuple[type[B1Reading], tuple[str, ...]]


def key_of(record: B1Reading) -> Subject:
    return type(record), subject_of(record)


def content_of(record: B1Reading) -> int:
    """A hash of all that it says; not of when."""
    return hash(replace(record, reading=0, as_of=_NEVER))


class Published:
    """A hash for each subject, forgotten between a half and the whole of `AGAIN_WITHIN_S` less one sweep."""

    def __init__(self, clock: Clock, sweep_interval_s: float, warehouses: Collection[str]) -> None:
        self._warehouses = warehouses
        self._clock = clock
        self._most_s = max(AGAIN_WITHIN_S - sweep_interval_s, AGAIN_WITHIN_S / 2)
        self._known: dict[Subject, tuple[int, float]] = {}

    def has(self, record: B1Reading) -> bool:
        """Whether it was published as it stands."""
        content, until_s = self._known.get(key_of(record), (0, 0.0))
        return content == content_of(record) and self._clock.monotonic() < until_s

    def add(self, record: B1Reading) -> None:
        """The broker has it."""
        key = key_of(record)
        # Spread, so that what a first sweep has published all at once does not come all at once again
        spread = hash(key) % 997 / 997
        least_s = AGAIN_WITHIN_S / 2
        kept_s = least_s + (self._most_s - least_s) * spread
        self._known[key] = content_of(record), self._clock.monotonic() + kept_s

    def forget_stock(self, codes: Iterable[str]) -> None:
        """The stock of these items is to be published again, whether it differs or not."""
        for code in codes:
            for warehouse in self._warehouses:
                self._known.pop((StockLevelRead, (code, warehouse)), None)

    def forget_old(self) -> None:
        """Let go of what would be published again anyway."""
        now_s = self._clock.monotonic()
        self._known = {key: known for key, known in self._known.items() if known[1] > now_s}

"""Up to where changes were read. Pure but for time."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from connectors.sap_b1.reading.rows import Look, Row, stamp_of
from connectors.sap_b1.reading.walks import OVERLAP

#: Ended orders and deliveries of which nothing was heard for so long are not read again.
ENDED_DAYS = 90
#: How far the first look of all goes back, where `start_at` does not say it.
FIRST_LOOK = timedelta(days=1)
_MINUTE = timedelta(minutes=1)
_SETTLED_S = (OVERLAP + _MINUTE).total_seconds()


class Marks:
    """By entity set, the newest change that was read: B1's own times, for its clock may be another than ours.

    Lifecycle: for each poll `look`, `since` of each set, `met` for each page, `ended` when a set was walked whole.

    Args:
        known: Those of the cursor.
        start_at: Where the first look of all begins; None: `FIRST_LOOK` ago.
    """

    def __init__(self, known: Mapping[str, datetime], start_at: datetime | None) -> None:
        # Items are swept after each start
        self.newest = {name: mark for name, mark in known.items() if name != "Items"}
        self._start_at = start_at
        self._looked_s = 0.0
        self._marked_s: dict[str, float] = {}
        self._settled: set[str] = set()

    def look(self, now_s: float) -> None:
        """A poll begins, by the monotonic clock."""
        self._looked_s = now_s

    def since(self, entity: str, look: Look) -> datetime:
        """From when on changes are read: B1's clock may have been set back, by an hour once a year."""
        start = self._start_at if entity != "Items" else None
        first = look.local - FIRST_LOOK if start is None else start.astimezone(look.zone).replace(tzinfo=None)
        mark = self.newest.setdefault(entity, first)
        if entity in self._settled:
            mark += OVERLAP + _MINUTE
        return max(min(mark, look.local), look.local - timedelta(days=ENDED_DAYS))

    def met(self, entity: str, rows: Iterable[Row]) -> None:
        """These rows have changed."""
        newest = max((stamp for row in rows if (stamp := stamp_of(row)) is not None), default=None)
        if newest is not None and newest > self.newest[entity]:
            self.newest[entity] = newest
            self._marked_s[entity] = self._looked_s
            self._settled.discard(entity)

    def ended(self, entity: str) -> None:
        """All that has changed was met.

        A look so long after the newest change that met nothing newer settles it: all that began before it has ended,
        and need not be read again and again.
        """
        if self._looked_s - self._marked_s.setdefault(entity, self._looked_s) >= _SETTLED_S:
            self._settled.add(entity)

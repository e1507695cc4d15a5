"""What comes out: lines of files, and what B1 must have for them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from lab.feed.company import SHOP, WAREHOUSE


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """One line of a file, the identity of its event, and when its system knew it, in the time of the data."""

    at: datetime
    identity: str
    line: str


@dataclass(frozen=True, slots=True)
class Feed:
    """Everything the demo puts in, and what the B1 side must have for it.

    Attributes:
        shop: Orders and refunds, by time.
        warehouse: Dispatches and adjustments, by time.
        counts: What was made of the rows: `order_placed`, `order_lines`, `repeats`, `unreadable`, ...
        left_out: Rows (and dispatches) that became nothing, by why.
        items: sku -> ItemCode, only where they differ: the other spelling of the same item.
        master: What the simulated company needs before the first event, by entity set, and the opening
            `stock` of each item and warehouse.
        first, last: The first and last local day of the data, shifted.
    """

    shop: tuple[FeedEntry, ...]
    warehouse: tuple[FeedEntry, ...]
    counts: Mapping[str, int]
    left_out: Mapping[str, int]
    items: Mapping[str, str]
    master: Mapping[str, object]
    first: date
    last: date

    @property
    def files(self) -> dict[str, tuple[FeedEntry, ...]]:
        """What each of the two connectors finds in its inbox."""
        return {SHOP: self.shop, WAREHOUSE: self.warehouse}

    @property
    def events(self) -> int:
        """Lines of both files, repeats and unreadable ones included."""
        return len(self.shop) + len(self.warehouse)

    def horizon_days(self, now: date) -> int:
        """A dedupe horizon that covers the data up to `now`, with a month for how long the run takes."""
        return max(35, (now - self.first).days + 31)

    def moments(self, steps: int) -> list[datetime]:
        """So many times that cut the feed into parts of about equal numbers of lines; the last is after everything."""
        times = sorted(entry.at for entry in (*self.shop, *self.warehouse))
        cuts = [times[len(times) * step // steps] for step in range(1, steps)]
        return [*cuts, times[-1] + timedelta(seconds=1)]


def by_time(entries: Iterable[FeedEntry]) -> tuple[FeedEntry, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.at))

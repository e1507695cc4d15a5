"""What the parts of a feed share while it is made."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from lab.feed.company import ZONE
from lab.feed.rows import Row, sorted_rows


@dataclass(slots=True)
class SoldLine:
    line_id: str
    row: Row
    net: Decimal
    tax: Decimal
    left: Decimal  # not refunded yet
    tax_left: Decimal
    net_left: Decimal


@dataclass(slots=True)
class SoldOrder:
    id: str
    at: datetime
    warehouse: str
    lines: list[SoldLine]
    carriage_left: Decimal
    refunded_at: datetime | None = None


@dataclass(slots=True)
class GivenRefund:
    id: str
    order: SoldOrder | None
    lines: list[dict[str, object]] = field(default_factory=list)
    total: Decimal = Decimal(0)


class FeedContext:
    """The rows, the seed, and what has been counted so far.

    Attributes:
        rows: By time.
        counts, left_out: As in `Feed`.
        first, last: The first and last local day, shifted.
        end: When the last day of the data ends; what would come later has not happened yet.
        names, spellings: ItemCode -> name; sku -> ItemCode where they differ.
        taken: (ItemCode, WhsCode) -> units that leave.
    """

    def __init__(self, rows: Iterable[Mapping[str, str]], today: date, seed: int) -> None:
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.rows = sorted_rows(rows)
        if not self.rows:
            raise ValueError("there are no rows to make a feed of")
        first, last = self.rows[0].at.date(), self.rows[-1].at.date()
        self.shift = timedelta(weeks=(today - timedelta(days=1) - last).days // 7)
        self.first, self.last = first + self.shift, last + self.shift
        self.end = datetime.combine(last, time(23, 59), ZONE).astimezone(UTC)
        self.names: dict[str, str] = {}
        self.spellings: dict[str, str] = {}
        self.taken: dict[tuple[str, str], Decimal] = defaultdict(Decimal)  # (item, WhsCode) -> units that leave

    def note_item(self, row: Row, name: str) -> None:
        """An item that B1 must know, in this spelling and under this name."""
        if row.code != row.item:
            self.spellings[row.code] = row.item
        if not self.names.get(row.item):
            self.names[row.item] = name

    def written(self, at: datetime) -> str:
        """A time of the data as the run writes it; an hour that a clock change skips becomes the next one."""
        wall = at.astimezone(ZONE).replace(tzinfo=None) + self.shift
        return wall.replace(tzinfo=ZONE).astimezone(UTC).astimezone(ZONE).isoformat()

"""What a connector that reads has to offer, and what it hands over."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from schemas.events import FactEvent
from schemas.readings import B1Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class StockLevel:
    """A source said "there are `level` now" instead of "so many came or went"; `base/levels.py` makes a delta of it.

    A source that reports levels of a place reports no deltas of it. `sequence` grows with every report of one
    (sku, location); a report with one that is not above the last is stale.
    """

    source: str
    company: str
    event_id: str
    occurred_at: datetime
    observed_at: datetime
    sku: str
    location: str
    level: Decimal  # in inventory units
    sequence: int
    reason: str  # one of schemas.events.STOCK_REASONS, not transfer
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRecord:
    """Something the source said that cannot become an event, on its way to the dead letters with its bytes.

    `origin`, `digest` and `number` say where it was: for a file its name, a hash of its content, the line (from 1).
    Digest, number and the connector's name make the dead letter's id, so they must be the same whenever it is read
    again.
    """

    event_type: str | None  # None: unknown
    reason: str  # unreadable | invalid_event
    error: str  # which field, what was wrong, what to do; no personal data
    value: bytes
    origin: str
    digest: str
    number: int
    event_id: str | None = None
    order_id: str | None = None
    sku: str | None = None


Item = FactEvent | StockLevel | RefusedRecord


@dataclass(frozen=True, slots=True)
class Batch:
    """What one read returned; it is acknowledged whole.

    Attributes:
        items: In the source's order.
        cursor: Where to go on once all items are acknowledged; the same as was given when nothing has moved.
        idle: There is nothing more for now: wait `poll_interval_s`.
        net_since: The source's counts fall with each dispatch from then on, see `levels.resolve`; None: they know
            nothing of dispatches, or the source has taken them off already.
    """

    items: tuple[Item | B1Reading, ...]
    cursor: str | None
    idle: bool = False
    net_since: datetime | None = None

    @property
    def events(self) -> tuple[FactEvent, ...]:
        return tuple(item for item in self.items if not isinstance(item, StockLevel | RefusedRecord | B1Reading))

    @property
    def levels(self) -> tuple[StockLevel, ...]:
        return tuple(item for item in self.items if isinstance(item, StockLevel))

    @property
    def refused(self) -> tuple[RefusedRecord, ...]:
        return tuple(item for item in self.items if isinstance(item, RefusedRecord))


class Origin(Protocol):
    """Whose events and dead letters they are."""

    @property
    def name(self) -> str:
        """The connector's name in the configuration."""

    @property
    def company(self) -> str:
        """The company it feeds."""


class Source(Origin, Protocol):
    """One connector's reading side.

    Lifecycle: `read` again and again, by one caller at a time, with the cursor of the last batch that was acknowledged;
    `close` once. After a failure `read` gets an older cursor again: what it returns then says the same under the same
    identities (`observed_at` aside). A `read` may tidy up behind the cursor it is given (move a file away, acknowledge
    at the vendor), never before it.
    """

    async def read(self, cursor: str | None) -> Batch:
        """Return what comes after the cursor, at most a few hundred items.

        Args:
            cursor: The source's own text, of the last acknowledged batch; None: from the beginning.

        Raises:
            RetriableError: The source cannot be read now.
            FatalError: It never will be without a person (credentials, configuration).
        """

    async def close(self) -> None:
        """Let go of files and connections."""


# ---- back-fill ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From `since` on and before `until`, both aware."""

    since: datetime
    until: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.since <= moment < self.until

    def holds(self, item: Item) -> bool:
        """Whether an event occurred in it; a record that cannot be read always may have."""
        return isinstance(item, RefusedRecord) or item.occurred_at in self

    def part(self, moment: datetime) -> float:
        """How much of it lies before a moment, 0 to 1."""
        return min(1.0, max(0.0, (moment - self.since) / (self.until - self.since)))


@dataclass(frozen=True, slots=True)
class BackfillBatch(Batch):
    """A batch of a time range; the last one is idle.

    Attributes:
        records: How many of the vendor's records it came from.
        already_past: Events that the live connector has emitted already and that are therefore left out: a record that
            has changed since would say something else under the same identity.
        reached: Where in the time range it is, as far as one can say; a vendor may be read from its newest on.
        part: How much is behind it, 0 to 1, as far as one can say.
        doing: What it does meanwhile, in words for people; "": it reads.
    """

    records: int = 0
    already_past: int = 0
    reached: datetime | None = None
    part: float | None = None
    doing: str = ""


class BackfillSource(Protocol):
    """Everything a vendor has of a time range: a `Source` that comes to an end, with cursors of its own.

    What it says is what the live source says of the same things, under the same identities. It says no levels: they are
    of now, and a vendor that shows the past of its levels shows movements. Lifecycle as of `Source`.
    """

    @property
    def name(self) -> str:
        """The connector's name in the configuration."""

    @property
    def company(self) -> str:
        """The company it feeds."""

    async def read(self, cursor: str | None) -> BackfillBatch:
        """As `Source.read`; idle at the end of the time range."""

    async def close(self) -> None:
        """Let go of files and connections."""

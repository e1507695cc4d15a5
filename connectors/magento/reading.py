"""Reads the shop's lists so that no row is skipped: by time of change for what is new, by id for all that there is.

One list is read in passes. A pass goes by keyset: what was changed after the last row's time, or at that time under a
higher id. Page numbers are never used, so that rows which change meanwhile can only move ahead of us and none is
skipped; and the shop's last page, which older versions repeat for ever, is never asked for. The next pass begins
`overlap_s` before
the newest row: a transaction may become visible long after the time it wrote. Rows of that overlap whose content has
    not
changed are left out.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import structlog
from pydantic_core import PydanticCustomError

from connectors.base.clock import Clock
from connectors.base.errors import RetriableError
from connectors.magento.client import Filter, MagentoClient
from connectors.magento.cursor import ListProgress
from connectors.magento.listing import Listing, ShopRow
from connectors.magento.records import TIME_FORMAT, a_moment, an_id
from connectors.magento.settings import MagentoSettings

log = structlog.get_logger(__name__)

#: In this order: what a later list names has then been read, mostly. What comes too early waits in the pipeline.
LISTS = ("orders", "invoices", "shipments", "creditmemos")
#: A cursor is one Kafka record of at most 1 MiB: 20,000 rows of 8 bytes that hardly compress, in base64, for four
#: lists, come to 850 kB. With more rows than that in the overlap (a mass update), the overlap becomes shorter.
MAX_SEEN = 20_000
#: 100 ids in one `in` filter are 1 kB of URL, and every proxy takes 4 kB.
_IDS_PER_REQUEST = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ListedRow:
    """A row of a list with what orders it: time and id.

    A row without a time has its neighbour's, one without an id < 0.
    """

    row: ShopRow
    time: int
    id: int

    @property
    def key(self) -> tuple[int, int]:
        return self.time, self.id

    @property
    def version(self) -> tuple[int, int]:
        """What `ListProgress.seen` holds for it."""
        return self.time, self.row.mark


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of a pass: what is new, where that leaves the list, and whether the pass has ended."""

    rows: Sequence[ListedRow]
    progress: ListProgress
    ended: bool


class ListReader:
    """The lists of one shop.

    Args:
        name: The connector's.
        settings: Its settings.
        client: Asks the shop; closed with this.
        clock: Ours.
    """

    def __init__(self, name: str, settings: MagentoSettings, client: MagentoClient, clock: Clock) -> None:
        self._name, self._settings, self._clock = name, settings, clock
        self.client = client

    @property
    def lists(self) -> tuple[str, ...]:
        """What the settings want read."""
        wanted = {*self._settings.flows, *(("invoices",) if self._settings.virtual_source is not None else ())}
        return tuple(each for each in LISTS if each in wanted)

    async def close(self) -> None:
        await self.client.close()

    # ---- by time of change

    async def next_page(self, name: str, progress: ListProgress) -> ListPage:
        """What a list has after the last page.

        Raises:
            ConnectorError: The shop cannot be read, or its rows do not come in order.
        """
        size, (time, row_id) = self._settings.page_size, progress.at or (progress.floor, 0)
        groups: list[list[Filter]] = [[("updated_at", "gteq", shop_time(time))]]
        if row_id:
            # Together: later, or at that time under a higher id.
            groups.append([("updated_at", "gt", shop_time(time)), ("entity_id", "gt", str(row_id))])
        listing = await self.client.search(name, [*groups, *self._stores()], ("updated_at", "entity_id"), size)
        rows = _listed(listing, progress)
        ended = _is_last(listing, size)
        keys = [each.key for each in rows if each.id > 0]
        passed = [*([progress.at] if progress.at is not None else []), *keys]
        if any(after <= before for before, after in pairwise(passed)) or not (keys or ended):
            raise RetriableError(
                f"{self._name}: {name} do not come in the order of updated_at and entity_id, so that some could be "
                "missed; see which module of the shop changes its lists"
            )
        new = [each for each in rows if progress.seen.get(each.id) != each.version]
        after = replace(
            progress,
            at=passed[-1] if passed else None,
            top=max([progress.top, *(time for time, _ in keys)]),
            seen={**progress.seen, **{each.id: each.version for each in new}},
        )
        return ListPage(new, self._bounded(name, self._ended(after) if ended else after), ended)

    def _stores(self) -> list[list[Filter]]:
        ids = self._settings.store_ids
        return [[("store_id", "in", ",".join(map(str, ids)))]] if ids else []

    def _ended(self, progress: ListProgress) -> ListProgress:
        """Between two passes: what lies before the overlap is forgotten.

        A row that claims to be of the future does not carry the floor with it, or all until then would be missed.
        """
        newest = min(progress.top, seconds_of(self._clock.now()))
        return _from(progress, max(progress.floor, newest - self._settings.overlap_s), at=None)

    def _bounded(self, name: str, progress: ListProgress) -> ListProgress:
        """The overlap begins later where it has too many rows, as after a mass update."""
        if len(progress.seen) <= MAX_SEEN:
            return progress
        times = sorted(time for time, _ in progress.seen.values())
        floor = max(progress.floor, times[-MAX_SEEN - 1] + 1)
        log.warning("overlap_cut", connector=self._name, items=name, floor=shop_time(floor), count=len(progress.seen))
        return _from(progress, floor, at=progress.at)

    # ---- by id

    async def page_after(
        self, name: str, groups: Sequence[Sequence[Filter]], after: int
    ) -> tuple[Sequence[ListedRow], int | None]:
        """A page of all that filters let through, along their ids, and the id to go on after; None: that was the last.

        Raises:
            ConnectorError: The shop cannot be read, or its rows do not come in order.
        """
        size = self._settings.page_size
        listing = await self.client.search(name, [*groups, [("entity_id", "gt", str(after))]], ("entity_id",), size)
        rows = _listed(listing, ListProgress())
        if _is_last(listing, size):
            return rows, None
        newest = max((each.id for each in rows), default=after)
        if newest <= after:
            raise RetriableError(f"{self._name}: {name} do not come in the order of entity_id")
        return rows, newest

    async def within(
        self, name: str, since: datetime, until: datetime, after: int
    ) -> tuple[Sequence[ListedRow], int | None]:
        """`page_after` of what was made in a time range.

        An order that was placed before may have been cancelled since: orders are all that were changed since its begin.
        """
        changed = "updated_at" if name == "orders" else "created_at"
        end = until if not until.microsecond else until + timedelta(seconds=1)
        groups: list[list[Filter]] = [
            [(changed, "gteq", shop_time(seconds_of(since)))],
            [("created_at", "lt", shop_time(seconds_of(end)))],
        ]
        return await self.page_after(name, [*groups, *self._stores()], after)

    async def rows_with(self, name: str, field: str, ids: Sequence[int]) -> list[ShopRow]:
        """All rows of a list of which a field is one of the ids."""
        found: list[ShopRow] = []
        for start in range(0, len(ids), _IDS_PER_REQUEST):
            among = ",".join(map(str, ids[start : start + _IDS_PER_REQUEST]))
            after: int | None = 0
            while after is not None:
                rows, after = await self.page_after(name, [[(field, "in", among)]], after)
                found += [each.row for each in rows]
        return found


def seconds_of(moment: datetime) -> int:
    """Whole seconds since 1970."""
    return (moment - _EPOCH) // timedelta(seconds=1)


def shop_time(seconds: int) -> str:
    """A time as the shop writes it."""
    return (_EPOCH + timedelta(seconds=seconds)).strftime(TIME_FORMAT)


def id_or_none(value: object) -> int | None:
    try:
        return an_id(value)
    except PydanticCustomError:
        return None


def _is_last(listing: Listing, size: int) -> bool:
    return len(listing.rows) < size or (listing.total is not None and listing.total <= len(listing.rows))


def _from(progress: ListProgress, floor: int, *, at: tuple[int, int] | None) -> ListProgress:
    seen = {row_id: version for row_id, version in progress.seen.items() if version[0] >= floor}
    return replace(progress, floor=floor, at=at, seen=seen)


def _listed(listing: Listing, progress: ListProgress) -> list[ListedRow]:
    rows: list[ListedRow] = []
    time = progress.at[0] if progress.at is not None else progress.floor
    for row in listing.rows:
        row_id = id_or_none(row.fields.get("entity_id")) or -1 - row.mark
        with contextlib.suppress(PydanticCustomError):
            time = seconds_of(a_moment(row.fields.get("updated_at")))
        # Its neighbour may be another the next time.
        known = progress.seen.get(row_id) if row_id < 0 else None
        rows.append(ListedRow(row, known[0] if known is not None else time, row_id))
    return rows

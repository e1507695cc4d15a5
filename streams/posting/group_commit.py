"""Which waiting stock batches go into the next document.

Merged until a session is free, so that load means fuller documents. Pure.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from connectors.base.errors import Refusal
from connectors.sap_b1.documents.stock import ResolvedBatch
from schemas.decimals import LIMIT, decimal_of
from schemas.records import StockDocument
from streams.posting.in_flight import Ended

ALONE = 0
#: Keys of 38 characters: 5,000 of them take a fifth of what a record may.
MAX_BATCHES = 5_000
#: Batches of less than this share a line: the sum of a document's fits a decimal(19,6).
MAX_NET = decimal_of(LIMIT // MAX_BATCHES)


@dataclass(frozen=True, slots=True)
class Freed:
    """A sealed document that will never be posted: its batches may go into others, or are refused.

    `stands`: it may be posted yet, by an approval; its batches wait and come back to it.
    """

    limits: Mapping[str, int]
    refusals: Mapping[str, Refusal]
    stands: bool = False


@dataclass(slots=True, eq=False)
class InFlightDocument:
    """A sealed document on its way; `ended` says what became of its batches."""

    offset: int
    document: StockDocument
    ended: asyncio.Future[Ended | Freed]


@dataclass(slots=True, eq=False)
class Waiting:
    """A batch that waits for its document. `limit` is how many lines that may have; ALONE: nothing but this batch."""

    k: str
    batch: ResolvedBatch
    limit: int
    turn: asyncio.Future[InFlightDocument | None]  # None: another poster's document came first, look again


LineKey = tuple[object, ...]


def _line_of(batch: ResolvedBatch) -> LineKey:
    """What `documents.stock.merge` puts on one line."""
    lots = tuple(lot.number for lot in batch.batches)
    return batch.item_code, batch.warehouse, batch.to_warehouse, batch.reason, lots, bool(batch.serials)


class Pool:
    """Waiting batches by group and line, oldest first."""

    def __init__(self, max_lines: int) -> None:
        self._max_lines = self._lines = max_lines
        self._alone: list[Waiting] = []
        self._groups: OrderedDict[tuple[object, ...], OrderedDict[LineKey, list[Waiting]]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def max_lines(self) -> int:
        """Halved when a document meets a lock, added back one by one."""
        return self._lines

    def met_lock(self) -> None:
        self._lines = max(1, self._lines // 2)

    def went_well(self) -> None:
        self._lines = min(self._max_lines, self._lines + 1)

    def add(self, waiting: Waiting) -> None:
        self._count += 1
        if waiting.limit == ALONE:
            self._alone.append(waiting)
            return
        lines = self._groups.setdefault(waiting.batch.group, OrderedDict())
        lines.setdefault(_line_of(waiting.batch), []).append(waiting)

    def pick(self, is_free: Callable[[str], bool]) -> list[Waiting]:
        """Take out what the next document holds: of the oldest group with a free item, up to the allowed lines.

        [] when all are busy.
        """
        for index, waiting in enumerate(self._alone):
            if is_free(waiting.batch.item_code):
                del self._alone[index]
                self._count -= 1
                return [waiting]
        for group, lines in list(self._groups.items()):
            picked = self._pick_lines(lines, is_free)
            if picked:
                if lines:
                    self._groups.move_to_end(group)
                else:
                    del self._groups[group]
                self._count -= len(picked)
                return picked
        return []

    def _pick_lines(self, lines: OrderedDict[LineKey, list[Waiting]], is_free: Callable[[str], bool]) -> list[Waiting]:
        picked: list[Waiting] = []
        taken = 0
        limit = self._lines
        for key, waiting in list(lines.items()):
            allowed = min(limit, *(one.limit for one in waiting))
            room = MAX_BATCHES - len(picked)
            if taken >= allowed or room <= 0 or not is_free(waiting[0].batch.item_code):
                if taken >= limit or room <= 0:
                    break
                continue
            limit = allowed
            taken += 1
            picked += waiting[:room]
            if len(waiting) > room:
                lines[key] = waiting[room:]
            else:
                del lines[key]
        return picked

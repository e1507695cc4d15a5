"""Which waiting stock batches go into the next document.

Merged until a session is free, so that load means fuller documents. Pure.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from connectors.base.errors import Refusal
from connectors.sap_b1.documents.stock import ResolvedBatch
from schemas.codec import CodecError
from schemas.decimals import LIMIT, decimal_of
from schemas.records import StockDocument
from streams.posting.in_flight import Ended

ALONE = 0
#: Keys of 38 characters: 5,000 of them take a fifth of what a record may.
MAX_BATCHES = 5_000
#: A document's lots and serial numbers together, as UTF-8: half of what a record may.
MAX_NUMBERS_BYTES = 512 * 1024
#: What a number costs beside its text: its length, a lot's date and quantity.
_NUMBER_OVERHEAD_BYTES = 24
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
    numbers_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        numbers = (*self.batch.serials, *(lot.number for lot in self.batch.batches))
        self.numbers_bytes = sum(len(number.encode()) + _NUMBER_OVERHEAD_BYTES for number in numbers)


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

    def halve(self, picked: list[Waiting], error: CodecError) -> list[Waiting]:
        """The first half of what no record holds; the others wait on. One that does not fit alone is refused."""
        if len(picked) == 1:
            picked[0].turn.set_exception(Refusal("invalid_event", str(error)))
            return []
        half = len(picked) // 2
        for waiting in picked[half:]:
            self.add(waiting)
        return picked[:half]

    def _pick_lines(self, lines: OrderedDict[LineKey, list[Waiting]], is_free: Callable[[str], bool]) -> list[Waiting]:
        picked: list[Waiting] = []
        taken, budget = 0, MAX_NUMBERS_BYTES
        limit = self._lines
        for key, waiting in list(lines.items()):
            allowed = min(limit, *(one.limit for one in waiting))
            room = MAX_BATCHES - len(picked)
            if taken >= allowed or room <= 0 or not is_free(waiting[0].batch.item_code):
                if taken >= limit or room <= 0:
                    break
                continue
            room, budget = _fitting(waiting[:room], budget, empty=not picked)
            if not room:
                break
            limit = allowed
            taken += 1
            picked += waiting[:room]
            if len(waiting) > room:
                lines[key] = waiting[room:]
            else:
                del lines[key]
        return picked


def _fitting(waiting: Sequence[Waiting], budget: int, *, empty: bool) -> tuple[int, int]:
    """How many of these fit into what is left of a document's bytes, and what is left then.

    One fits into an empty document whatever it comes to.
    """
    for fits, one in enumerate(waiting):
        if one.numbers_bytes > budget and (fits or not empty):
            return fits, budget
        budget -= one.numbers_bytes
    return len(waiting), budget

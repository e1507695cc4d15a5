"""A record that ends its process is found and refused unread, instead of ending every process after it.

What raises is refused where it raises (`isolation`); this is for what cannot be caught: memory that runs out, a crash
in a library. What is known is kept in the commit of the partition. While a process reads it, the commit says so; a
process that ends in order takes that back. Whoever finds it standing hands the first records over one by one, and says
before each which one it is. On the ordinary way nothing is said: one commit when partitions come, none per record.

That two processes ended while a record stood alone makes it a suspect and no more: somebody may have killed them, and
it may have been passed on before, so that a dead letter of it would be its second end. It is read by a process of its
own then, and refused if that one ends by it: so will everyone have, and nobody has passed it on.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog
from faust.types import TP

from streams.faust_host.watermarks import Start
from streams.ports import Counts, RecordBatch
from streams.worker.isolation import OpenedBatch, PartOfBatch

logger = structlog.get_logger(__name__)

_OPEN, _SINCE, _ALONE, _TRIES = ("fuse", "open"), ("fuse", "since"), ("fuse", "alone"), ("fuse", "tries")
#: Records handed over one by one after a process that did not end in order: a whole fetch where it had finished none.
FEW_RECORDS, FETCHED_RECORDS = 16, 5_000
MAX_TRIES = 2


class Committing(Protocol):
    """What commits for partitions; see `streams.faust_host.app.FaustApp`."""

    def watermark(self, tp: TP) -> Start | None: ...

    async def stamp_all(self, tps: Collection[TP], counts: Mapping[TP, Counts]) -> bool: ...


@dataclass(slots=True)
class _Careful:
    """Records below `until` are handed over one by one; `suspect` has ended `tries` processes."""

    until: int
    suspect: int
    tries: int


class Fuse:
    """Lifecycle: `begin` when partitions come; `take` their batches where they are `careful`; `end` when they go."""

    def __init__(self, committing: Committing, ends_its_reader: Callable[[str, bytes], Awaitable[bool]]) -> None:
        self._committing, self._ends_its_reader = committing, ends_its_reader
        self._careful: dict[TP, _Careful] = {}

    def is_careful(self, tp: TP) -> bool:
        """Whether its last process may have been ended by one of its records."""
        return tp in self._careful

    async def begin(self, tps: Collection[TP], end_of: Callable[[TP], Awaitable[int]]) -> None:
        """Say that these partitions are read from now on.

        Args:
            tps: They have come.
            end_of: The offset that the next record of a partition gets.

        Raises:
            LogError: The broker cannot be reached.
        """
        self._careful.clear()
        stamps: dict[TP, Counts] = {}
        for tp in tps:
            at = self._committing.watermark(tp)
            if at is None:
                continue
            counts = at.counts or {}
            stamps[tp] = {_OPEN: 1, _SINCE: at.offset}
            if not counts.get(_OPEN):
                continue
            suspect, tries = counts.get(_ALONE, 0) - 1, counts.get(_TRIES, 0)
            if suspect < at.offset and await end_of(tp) == at.offset + 1:
                suspect, tries = at.offset, 1  # it was the only one there is
            is_stuck = counts.get(_SINCE, 0) == at.offset or suspect >= at.offset
            self._careful[tp] = _Careful(at.offset + (FETCHED_RECORDS if is_stuck else FEW_RECORDS), suspect, tries)
        if stamps:
            await self._committing.stamp_all(list(stamps), stamps)

    def end(self, tps: Collection[TP]) -> Mapping[TP, Counts]:
        """What the last commit of these partitions says: their process ends in order."""
        self._careful.clear()
        return {tp: {_OPEN: 0, _SINCE: 0, _ALONE: 0, _TRIES: 0} for tp in tps}

    async def take(
        self,
        tp: TP,
        type_name: str,
        batch: RecordBatch,
        hand_over: Callable[[RecordBatch], Awaitable[None]],
        refuse: Callable[[PartOfBatch, str], Awaitable[None]],
    ) -> None:
        """Hand a batch over record by record as long as its partition is careful.

        Args:
            tp: Its partition.
            type_name: What its values should be, a name of `schemas.codec.TYPES`.
            batch: Not open yet.
            hand_over: Takes a batch, or one record of it, to its owner.
            refuse: Makes a dead letter of one record.
        """
        opened, careful = OpenedBatch(batch), self._careful[tp]
        for single in opened.singles():
            offset = single.record.offset
            if offset >= careful.until:
                self._careful.pop(tp, None)
                await hand_over(opened.rest())
                return
            tries = careful.tries if offset == careful.suspect else 0
            if tries >= MAX_TRIES and await self._ends_its_reader(type_name, single.record.value or b""):
                logger.critical(
                    "record ends processes, and is refused", topic=tp.topic, partition=tp.partition, offset=offset
                )
                await refuse(single, f"handling it ended {tries} processes; it was not read again")
                continue
            if not await self._committing.stamp_all(
                [tp], {tp: {_ALONE: offset + 1, _TRIES: min(tries + 1, MAX_TRIES)}}
            ):
                return  # it is somebody else's now
            await hand_over(single)
        self._careful.pop(tp, None)

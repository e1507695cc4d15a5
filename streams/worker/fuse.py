"""A record that ends its process is found and refused, instead of ending every process after it.

What raises is refused where it raises (`isolation`); this is for what cannot be caught: memory that runs out, a crash
in a library. That a process reads a partition stands in the partition's commit, and one that ends in order takes it
back: whoever finds it standing counts a death. A second death while the first one's records were not all finished
makes suspects of them. They are read by a process of its own before they are handed over, and the one by which that
ends is a dead letter.

Deaths alone refuse nothing: somebody may have killed the processes, and a record at which they stood may have been
passed on before, so that a dead letter of it would be its second end. What ends its reader has nobody passed on.

On the ordinary way this costs one commit when partitions come, and after a kill no more than that.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol

import structlog
from faust.types import TP

from streams.faust_host.watermarks import Start
from streams.ports import Counts, RecordBatch
from streams.worker.isolation import OpenedBatch, PartOfBatch

logger = structlog.get_logger(__name__)

_OPEN, _DEATHS, _UNTIL = ("fuse", "open"), ("fuse", "deaths"), ("fuse", "until")
MAX_DEATHS = 2
#: Records behind the commit that a process may have met: those that may be open, a delivery, and what it finishes
#: between two commits.
MAX_SUSPECTS = 100_000


class Committing(Protocol):
    """What commits for partitions; see `streams.faust_host.app.FaustApp`."""

    def watermark(self, tp: TP) -> Start | None: ...

    async def stamp_all(self, tps: Collection[TP], counts: Mapping[TP, Counts]) -> bool: ...


class Fuse:
    """Lifecycle: `begin` when partitions come; `take` their batches where they are `careful`; `end` when they go.

    Args:
        committing: Commits for partitions.
        first_fatal: Which of several values, of records of a topic, is the first that ends its reader.
    """

    def __init__(
        self, committing: Committing, first_fatal: Callable[[str, Sequence[bytes]], Awaitable[int | None]]
    ) -> None:
        self._committing, self._first_fatal = committing, first_fatal
        self._until: dict[TP, int] = {}

    def is_careful(self, tp: TP) -> bool:
        """Whether one of its records may have ended the last processes."""
        return tp in self._until

    async def begin(self, tps: Collection[TP], end_of: Callable[[TP], Awaitable[int]]) -> None:
        """Say that these partitions are read from now on.

        Args:
            tps: They have come.
            end_of: The offset that the next record of a partition gets.

        Raises:
            LogError: The broker cannot be reached.
        """
        self._until.clear()
        stamps: dict[TP, Counts] = {}
        # In one order, whatever Python hashes to: a simulated run is replayed exactly
        starts = {tp: at for tp in sorted(tps) if (at := self._committing.watermark(tp)) is not None}
        dead = [tp for tp, at in starts.items() if (at.counts or {}).get(_OPEN)]
        ends = dict(zip(dead, await asyncio.gather(*map(end_of, dead)), strict=True))
        for tp, at in starts.items():
            counts = at.counts or {}
            deaths, until = counts.get(_DEATHS, 0), counts.get(_UNTIL, 0)
            if at.offset >= until:  # what was suspected has ended well
                deaths = until = 0
            if tp in ends:
                deaths, until = min(deaths + 1, MAX_DEATHS), min(ends[tp], at.offset + MAX_SUSPECTS)
            if deaths == MAX_DEATHS:
                self._until[tp] = until
            stamps[tp] = {_OPEN: 1, _DEATHS: deaths, _UNTIL: until}
        if stamps:
            await self._committing.stamp_all(list(stamps), stamps)

    def end(self, tps: Collection[TP]) -> Mapping[TP, Counts]:
        """What the last commit of these partitions says: their process ends in order. Suspects stay suspects."""
        self._until.clear()
        return {tp: {_OPEN: 0} for tp in tps}

    async def take(
        self,
        tp: TP,
        topic: str,
        batch: RecordBatch,
        hand_over: Callable[[RecordBatch], Awaitable[None]],
        refuse: Callable[[PartOfBatch, str], Awaitable[None]],
    ) -> None:
        """Hand over what of a batch ends nobody who reads it.

        Args:
            tp: Its partition, a careful one.
            topic: Our name of its topic.
            batch: Not open yet.
            hand_over: Takes the batch, or what is left of it, to its owner.
            refuse: Makes a dead letter of one record.
        """
        opened, until = OpenedBatch(batch), self._until[tp]
        singles = opened.singles()
        suspects = [single for single in singles if single.record.offset < until]
        while suspects:
            values = [single.record.value or b"" for single in suspects]
            found = await self._first_fatal(topic, values)
            if not batch.live:
                return  # it is somebody else's now
            if found is None:
                break
            offset = suspects[found].record.offset
            logger.critical("record ends processes", topic=tp.topic, partition=tp.partition, offset=offset)
            await refuse(suspects[found], f"{MAX_DEATHS} processes ended at it, and whoever reads it does")
            del suspects[: found + 1]
        await hand_over(opened.rest())
        if singles and singles[-1].record.offset + 1 >= until:
            self._until.pop(tp, None)

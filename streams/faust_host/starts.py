"""Where reading starts in an assignment: found, told to the app, sought; and elsewhere again when the app rewinds."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from streams.faust_host.assignment import Assignment
from streams.faust_host.commits import Commits
from streams.faust_host.watermarks import Counts, Progress, Start, decode_counts


class StartHooks(Protocol):
    """What the app says to an assignment; see `streams.faust_host.app.App`."""

    async def positions(self, tps: set[TP]) -> Mapping[TP, Start]: ...

    async def on_assigned(self, tps: set[TP]) -> None: ...

    async def crash(self, reason: BaseException) -> None: ...


class Offsets(Protocol):
    """What the broker knows of partitions, and the seek."""

    async def committed(self, tps: set[TP]) -> Mapping[TP, OffsetAndMetadata]: ...

    async def earliest(self, tps: list[TP]) -> Mapping[TP, int]: ...

    async def seek_all(self, offsets: Mapping[TP, int | None]) -> None: ...


class Starts:
    """The start positions of each generation of the group.

    Lifecycle: `find` when partitions come, then `seek`; `rewind` any time after that; `let_go` and `clear` when they
    go.

    Attributes:
        fetching: Held while records are fetched, and while they must not be.
    """

    def __init__(
        self,
        assignment: Assignment,
        commits: Commits,
        offsets: Offsets,
        hooks: StartHooks,
        generation: Callable[[], int],
    ) -> None:
        self._assignment, self._commits, self._offsets, self._hooks = assignment, commits, offsets, hooks
        self._generation = generation
        self.fetching = asyncio.Lock()
        self._finding: asyncio.Task[None] | None = None
        self._found: int | None = None  # the generation whose start positions are known, and the app was told
        self._sought: int | None = None  # the generation that reads from its start positions

    @property
    def under_way(self) -> bool:
        """An assignment has begun whose start positions are not known yet."""
        return self._finding is not None

    @property
    def app_was_told(self) -> bool:
        """The app knows that it has the partitions of the present generation."""
        return self._found == self._generation()

    @property
    def reads(self) -> bool:
        """The present generation reads from its start positions."""
        return self._sought == self._generation()

    def clear(self) -> None:
        self._found = self._sought = None

    async def find(self, tps: set[TP]) -> None:
        """Learn the start positions and tell the app; Faust waits for this without a limit, for `seek` with one."""
        task = self._finding = asyncio.create_task(self._assign(tps, self._generation()))
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            if self._finding is task:  # else the next assignment has begun already
                self._finding = None
        if not task.cancelled() and (error := task.exception()) is not None:
            # Else Faust's recovery task would end, and the worker would live on and deliver nothing.
            await self._hooks.crash(error)

    async def let_go(self, timeout_s: float) -> None:
        """Cancel an assignment under way; it must have ended before the same partitions are given to its successor."""
        if (finding := self._finding) is not None:
            finding.cancel()
            await asyncio.wait([finding], timeout=timeout_s)

    async def _assign(self, tps: set[TP], generation: int) -> None:
        committed = await self._offsets.committed(tps)
        starts = await self._hooks.positions(tps)
        unknown = [tp for tp in tps if tp not in starts and tp not in committed]
        earliest = await self._offsets.earliest(unknown) if unknown else {}
        for tp in tps:
            kafka, start = committed.get(tp), starts.get(tp)
            # A partition without a commit gets a position too: Faust would leave it to aiokafka, which does not seek,
            # and a fetch that straddled the rebalance has moved it.
            at = kafka.offset if kafka is not None else earliest.get(tp)
            counts: Counts = decode_counts(kafka.metadata) if kafka is not None else {}
            if at is not None:
                self._commits.found(tp, at, counts)
            if start is not None:
                at, counts = start.offset, counts if start.counts is None else start.counts
            self._assignment.progress[tp] = Progress(at, counts)
        await self._hooks.on_assigned(tps)
        self._found = generation

    async def seek(self, assigned: set[TP]) -> None:
        """Read from the start positions."""
        async with self.fetching:  # no fetch may straddle the seek
            if not self.app_was_told:
                return  # the next rebalance is under way, or the app is crashing
            generation = self._found
            await self._offsets.seek_all({tp: p.next for tp, p in self._assignment.progress.items() if tp in assigned})
            self._sought = generation
            self._assignment.room.set()

    async def rewind(self, tp: TP, start: Start) -> bool:
        """Read one partition again, or on, from elsewhere; see `App.rewind`."""
        async with self.fetching:
            old = self._assignment.progress.get(tp)
            if old is None or not old.live or not self.reads:
                return False
            self._assignment.restart(tp, Progress(start.offset, old.counts if start.counts is None else start.counts))
            await self._offsets.seek_all({tp: start.offset})
            self._assignment.room.set()
            return True

"""Committing: the watermark with its counts, never an unfinished offset."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from streams.faust_host.assignment import Assignment
from streams.faust_host.watermarks import Counts, encode_counts

#: Commits as a member of a generation of the group; False: the group has moved on.
CommitAs = Callable[[Mapping[TP, OffsetAndMetadata], int], Awaitable[bool]]


class Commits:
    """What the group has committed, and what it should.

    Args:
        assignment: Whose watermarks are committed.
        commit_as: Commits at the broker.
        generation: The group's at present.
        on_commit: Told whether the broker has taken a commit.
    """

    def __init__(
        self,
        assignment: Assignment,
        commit_as: CommitAs,
        generation: Callable[[], int],
        on_commit: Callable[[bool], None],
    ) -> None:
        self._assignment, self._commit_as = assignment, commit_as
        self._generation, self._on_commit = generation, on_commit
        self._at_kafka: dict[TP, OffsetAndMetadata] = {}
        self._one_by_one = asyncio.Lock()

    def clear(self) -> None:
        self._at_kafka.clear()

    def found(self, tp: TP, offset: int, counts: Counts) -> None:
        """What the broker has of a partition, or would read it from."""
        self._at_kafka[tp] = OffsetAndMetadata(offset, encode_counts(counts))

    def is_due(self, tp: TP) -> bool:
        # Counts may differ at the same offset: after a rewind, or by a start that brings its own.
        return self._at_kafka.get(tp) != self._watermark(tp)

    def _watermark(self, tp: TP) -> OffsetAndMetadata | None:
        progress = self._assignment.progress.get(tp)
        if progress is None or progress.next is None:
            return None
        return OffsetAndMetadata(progress.next, encode_counts(progress.counts))

    async def commit(self, tps: Iterable[TP]) -> bool:
        """Commit the watermarks of these partitions; False: the group has moved on."""
        # One after the other: a commit that aiokafka tries again would put an older watermark over a newer one.
        async with self._one_by_one:
            # Offset and counts are read together, here: between Faust's choice of an offset and this call the
            # watermark may have moved.
            watermarks = {tp: at for tp in tps if (at := self._watermark(tp)) is not None}
            generation = self._generation()
            done = await self._commit_as(watermarks, generation)
            self._on_commit(done)
            if done and generation == self._generation():
                self._at_kafka.update(watermarks)
            return done

    async def stamp_all(self, tps: Iterable[TP], counts: Mapping[TP, Counts]) -> bool:
        """Commit notes of ours with the watermarks of several partitions; see `App.stamp_all`."""
        ours = [tp for tp in tps if (at := self._assignment.progress.get(tp)) is not None and at.next is not None]
        for tp in ours:
            self._assignment.progress[tp].note(counts[tp])
        return bool(ours) and await self.commit(ours)

    async def stamp(self, tp: TP, counts: Counts) -> bool:
        """Commit a note of ours with the watermark of one partition; see `App.stamp`."""
        progress = self._assignment.progress.get(tp)
        if progress is None or progress.next is None:
            return False
        progress.note(counts)
        return await self.commit([tp])

    async def add(self, tp: TP, counts: Counts) -> bool:
        """As `stamp`, but added to what is there; see `App.add`."""
        progress = self._assignment.progress.get(tp)
        if progress is None or progress.next is None:
            return False
        progress.add(counts)
        try:
            return await self.commit([tp])
        except KafkaError:  # the next commit of this partition brings it
            return False

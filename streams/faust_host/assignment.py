"""What is in progress on the partitions of one assignment, and which of them have room for more.

Pure but for an event.
"""

import asyncio

from faust.types import TP

from streams.faust_host.batch import FetchedBatch
from streams.faust_host.watermarks import Progress


class Assignment:
    """Back-pressure: a partition with too many open records is not fetched, nor is one while too many bytes are open.

    A partition that has nothing open is fetched all the same: what stands on some of them stops no other. So there are
    never more bytes open than the limit and one fetch of each partition.

    Attributes:
        progress: Of each partition that we have.
        unopened: Partitions with a batch that no agent has opened yet; at most one each.
        room: Set when a partition may want records again.
    """

    def __init__(self) -> None:
        self.progress: dict[TP, Progress] = {}
        self.unopened: dict[TP, FetchedBatch] = {}
        self.room = asyncio.Event()
        self._paused: set[TP] = set()  # by the agents
        self._crowded: set[TP] = set()  # too many records are open
        self._full = False  # too many bytes are open

    def clear(self) -> None:
        """The partitions have been given back."""
        self.progress = {}
        self.unopened.clear()
        self._paused.clear()
        self._crowded.clear()

    def wanted(self, active: set[TP], max_open: int, max_open_bytes: int) -> set[TP]:
        """The active partitions that have room for another batch; a limit that was reached holds down to its half."""
        open_bytes = sum(batch.size_bytes for batch in self.unopened.values())
        for tp, progress in self.progress.items():
            open_bytes += progress.open_bytes
            if progress.open_records >= max_open:
                self._crowded.add(tp)
            elif progress.open_records <= max_open // 2:
                self._crowded.discard(tp)
        self._full = open_bytes > (max_open_bytes // 2 if self._full else max_open_bytes)
        wanted = active - self.unopened.keys() - self._paused - self._crowded
        return {tp for tp in wanted if self.is_idle(tp)} if self._full else wanted

    def opened(self, tp: TP) -> None:
        """The batch of this partition has been opened."""
        self.unopened.pop(tp, None)
        self.room.set()

    def restart(self, tp: TP, progress: Progress) -> None:
        """The partition is read from elsewhere: its open batches die."""
        self.progress[tp].live = False
        self.progress[tp] = progress
        self.unopened.pop(tp, None)
        self._crowded.discard(tp)

    def pause(self, tp: TP) -> None:
        self._paused.add(tp)

    def resume(self, tp: TP) -> None:
        self._paused.discard(tp)
        self.room.set()

    def is_idle(self, tp: TP) -> bool:
        """All that was delivered is finished."""
        progress = self.progress.get(tp)
        return progress is not None and not progress.open_records and tp not in self.unopened

    def could_read(self, tp: TP) -> bool:
        """Nothing of ours keeps this partition from being delivered more."""
        return tp not in self._paused and self.is_idle(tp)

"""Partitions that have records and room, and are delivered none; and how far each of ours is behind."""

from collections.abc import Mapping

from faust.types import TP

from streams.faust_host.assignment import Assignment


class StalledError(Exception):
    """There are records, there is room, and none are delivered: aiokafka or Faust is stuck; a new process is not."""


class StallWatch:
    """Looks at the ends of the partitions now and then. Pure: the time of a look is an argument."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._ends: dict[TP, int] = {}
        self._positions: dict[TP, int] = {}  # where the fetcher is
        self._fed_at: dict[TP, float] = {}  # when a partition last had nothing that waits for delivery

    def clear(self) -> None:
        self._ends.clear()
        self._positions.clear()
        self._fed_at.clear()

    def pause(self) -> None:
        """Nothing is to be delivered now: judge afresh afterwards."""
        self._fed_at.clear()

    def delivered(self, tp: TP, end: int) -> None:
        """A batch was fetched that ends before `end`."""
        self._ends[tp] = max(self._ends.get(tp, 0), end)

    def look(
        self, now_s: float, ends: Mapping[TP, int], positions: Mapping[TP, int], *, reads: bool, timeout_s: float
    ) -> dict[TP, float]:
        """The partitions that are stalled, with the seconds since they were last fed.

        Args:
            now_s: Monotonic seconds.
            ends: Of the partitions that we have.
            positions: The fetcher's, where it has one.
            reads: Reading has begun.
            timeout_s: How long a partition may have records and room and get none.
        """
        for tp, end in ends.items():
            if reads and tp in self._assignment.progress:
                self._ends[tp] = end
                # Beyond the watermark where compaction or retention has left nothing.
                at = self._positions[tp] = positions.get(tp, 0)
                if at >= end or not self._assignment.could_read(tp):
                    self._fed_at[tp] = now_s
            self._fed_at.setdefault(tp, now_s)
        stalled = {tp: now_s - at for tp, at in self._fed_at.items() if tp in ends and now_s - at > timeout_s}
        if stalled:
            self._fed_at.clear()
        return stalled

    def lag(self) -> dict[TP, int]:
        """Records of each partition that are not behind the watermark."""
        lag = {}
        for tp, progress in self._assignment.progress.items():
            at = progress.next or 0
            if self._assignment.is_idle(tp):
                at = max(at, self._positions.get(tp, 0))
            lag[tp] = max(0, self._ends.get(tp, 0) - at)
        return lag

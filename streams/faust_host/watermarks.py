"""How far a partition has been worked off, and with which results: the watermark and its counts. Pure."""

import json
from bisect import bisect_right
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: How many source events of a flow ended how: `{("order_placed", "posted"): 12}`.
Counts = Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Start:
    """Where reading of a partition starts.

    Attributes:
        offset: The next offset to read; everything before it counts as finished.
        counts: Cumulative counts of everything before `offset`; None: those that Kafka has with the group's committed
            offset.
    """

    offset: int
    counts: Counts | None = None


@dataclass(slots=True, eq=False)
class TakenRecords:
    """The records of one fetch that an agent has taken, and which of them it has finished. Made by `Progress.take`.

    Attributes:
        offsets: Rising.
        size_bytes: What they occupy together.
        unfinished: How many of them are not finished.
        position: How many of them the watermark has passed.
        finished: Counts of those that are finished and not behind the watermark; empty once all of them are.
        total: The sum of these counts, once all of them are finished.
    """

    offsets: Sequence[int]
    size_bytes: int
    unfinished: int
    position: int = 0
    finished: dict[int, Counts | None] = field(default_factory=dict)
    total: dict[tuple[str, str], int] | None = None


class Progress:
    """The offsets of one partition, in one assignment, that an agent has taken and not finished.

    Lifecycle: `take` the records of a fetch, in offset order; `finish` each of them once, in any order; `next` and
    `counts` follow the contiguous finished prefix, so a commit of both never passes an unfinished record. Gaps between
    offsets (compaction, markers) mean nothing here: only offsets that were taken can be unfinished.

    What is finished behind an unfinished record costs a few bytes for each fetch and is not open: a record that waits
    for others that have not been fetched does not keep them from being fetched (architecture section 15.12).

    Attributes:
        live: The assignment is still ours and work may be started. What is finished later than that still counts,
            until the partition is given back.
        next: The offset that may be committed: all before it is finished. None: nothing known yet.
        open_records: Taken and not finished.
        open_bytes: Size of the fetches that have unfinished records.
    """

    __slots__ = ("_counts", "_taken", "live", "next", "open_bytes", "open_records")

    def __init__(self, start: int | None = None, counts: Counts | None = None) -> None:
        self.live = True
        self.next = start
        self.open_records = 0
        self.open_bytes = 0
        self._counts: dict[tuple[str, str], int] = dict(counts or {})
        self._taken: deque[TakenRecords] = deque()

    @property
    def counts(self) -> Counts:
        """Cumulative counts of all records before `next`."""
        return self._counts

    def note(self, counts: Counts) -> None:
        """Set what a commit says beside counts of records."""
        self._counts.update(counts)

    def add(self, counts: Counts) -> None:
        """Count what has ended without a record of this partition."""
        _add(self._counts, counts)

    def take(self, offsets: Sequence[int], size_bytes: int = 0) -> TakenRecords:
        """Count records as in flight.

        Args:
            offsets: Rising, not empty, above all that were taken before.
            size_bytes: What they occupy together.
        """
        taken = TakenRecords(offsets, size_bytes, len(offsets))
        self._taken.append(taken)
        self.open_records += len(offsets)
        self.open_bytes += size_bytes
        return taken

    def finish(self, taken: TakenRecords, offset: int, counts: Counts | None = None) -> bool:
        """Mark one record as finished; `counts` are added when the watermark passes it.

        Finishing a record twice changes nothing: the first counts stand.

        Returns:
            Whether the watermark moved.

        Raises:
            ValueError: The offset is not one of this batch.
        """
        offsets = taken.offsets
        gapless = isinstance(offsets, range)
        if not offsets[0] <= offset <= offsets[-1] or not (
            gapless or offsets[bisect_right(offsets, offset) - 1] == offset
        ):
            raise ValueError(f"offset {offset} is not of this batch ({offsets[0]} to {offsets[-1]})")
        if not taken.unfinished or offset < offsets[taken.position] or offset in taken.finished:
            return False
        taken.finished[offset] = counts
        self._close(taken, 1)
        return self._advance()

    def finish_through(self, taken: TakenRecords, offset: int, counts: Counts | None = None) -> bool:
        """Mark all records of a batch up to and with this one as finished; `counts` go with the last of them.

        The same as `finish` for each, at the cost of one.

        Returns:
            Whether the watermark moved.

        Raises:
            ValueError: The offset is not one of this batch.
        """
        offsets, position = taken.offsets, taken.position
        end = bisect_right(offsets, offset)
        if not end or offsets[end - 1] != offset:
            raise ValueError(f"offset {offset} is not of this batch ({offsets[0]} to {offsets[-1]})")
        if end <= position or not taken.unfinished:
            return False
        if taken is self._taken[0] and not taken.finished:
            _add(self._counts, counts)
            self.next, taken.position = offset + 1, end
            self._close(taken, end - position)
            self._advance()
            return True
        fresh = [each for each in offsets[position:end] if each not in taken.finished]
        if fresh:
            taken.finished.update(dict.fromkeys(fresh))
            if fresh[-1] == offset:
                taken.finished[offset] = counts
            self._close(taken, len(fresh))
        return self._advance()

    def _close(self, taken: TakenRecords, records: int) -> None:
        """So many more of its records are finished."""
        self.open_records -= records
        taken.unfinished -= records
        if not taken.unfinished:
            self.open_bytes -= taken.size_bytes
            taken.total = {}
            for counts in taken.finished.values():
                _add(taken.total, counts)
            taken.finished = {}

    def _advance(self) -> bool:
        """Move the watermark over all that is finished at the head."""
        moved = False
        while self._taken:
            taken = self._taken[0]
            offsets, finished, position = taken.offsets, taken.finished, taken.position
            if taken.total is not None:
                _add(self._counts, taken.total)
                position = len(offsets)
            while position < len(offsets) and offsets[position] in finished:
                _add(self._counts, finished.pop(offsets[position]))
                position += 1
            if position > taken.position:
                moved = True
                self.next = offsets[position - 1] + 1
                taken.position = position
            if taken.total is None:
                break
            self._taken.popleft()
        return moved


def _add(total: dict[tuple[str, str], int], counts: Counts | None) -> None:
    for key, count in (counts or {}).items():
        total[key] = total.get(key, 0) + count


def encode_counts(counts: Counts) -> str:
    """Write counts as the metadata of a commit: `{"order_placed":{"no_op":1,"posted":12}}`, or nothing."""
    flows: dict[str, dict[str, int]] = {}
    for (flow, end), count in sorted(counts.items()):
        if count:  # the commit of a queue has room for 4 KiB
            flows.setdefault(flow, {})[end] = count
    return json.dumps(flows, separators=(",", ":")) if flows else ""


def decode_counts(metadata: str) -> dict[tuple[str, str], int]:
    """Read counts back from the metadata of a commit.

    A commit made by somebody else (a tool that resets offsets writes none) has no counts: they start again at zero.
    """
    try:
        flows = json.loads(metadata) if metadata else {}
        return {(flow, end): int(count) for flow, ends in flows.items() for end, count in ends.items()}
    except (ValueError, TypeError, AttributeError):
        return {}

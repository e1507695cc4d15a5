"""What an agent gets: the records that one fetch brought for one partition, raw."""

from collections.abc import Callable, Sequence
from operator import attrgetter

from faust.types import TP

from streams.faust_host.watermarks import Counts, Progress, TakenRecords
from streams.ports import RawRecord

#: What a record costs in memory beside its key and value.
_RECORD_OVERHEAD_BYTES = 400
_OFFSET = attrgetter("offset")


class FetchedBatch:
    """What one fetch brought for one partition.

    Lifecycle: `open` it once to take the records; from then on they are in flight and the partition may be fetched
    again; `finish` each record once, in any order, from any task of the loop. A batch is never finished as a whole.

    Attributes:
        tp: Topic and partition.
        records: aiokafka's, raw, in offset order.
        size_bytes: What they occupy, roughly.

    `on_open` is called once, when the records have been taken.
    """

    __slots__ = ("_on_open", "_progress", "_taken", "records", "size_bytes", "tp")

    def __init__(self, on_open: Callable[[TP], None], tp: TP, records: Sequence[RawRecord], progress: Progress) -> None:
        self.tp = tp
        self.records = records
        self.size_bytes = sum(
            [len(record.key or b"") + len(record.value or b"") + _RECORD_OVERHEAD_BYTES for record in records]
        )
        self._on_open = on_open
        self._progress = progress
        self._taken: TakenRecords | None = None

    @property
    def topic(self) -> str:
        topic: str = self.tp.topic
        return topic

    @property
    def partition(self) -> int:
        partition: int = self.tp.partition
        return partition

    @property
    def live(self) -> bool:
        """The assignment is still ours. When it is not, start nothing; what is under way may be finished."""
        return self._progress.live

    def open(self) -> Sequence[RawRecord]:
        """Take the records; none when the partition has been given back meanwhile (its next owner gets them)."""
        if self._taken is not None:
            raise RuntimeError(f"the batch of {self.tp} at {self.records[0].offset} is opened twice")
        if not self._progress.live:
            return ()
        first, last = self.records[0].offset, self.records[-1].offset
        is_gapless = last - first + 1 == len(self.records)
        offsets = range(first, last + 1) if is_gapless else list(map(_OFFSET, self.records))
        self._taken = self._progress.take(offsets, self.size_bytes)
        self._on_open(self.tp)
        return self.records

    def finish(self, offset: int, counts: Counts | None = None) -> None:
        """Mark one record as finished: the commit may pass it.

        Args:
            offset: Of one of this batch's records.
            counts: What became of it, by flow and end; added when the watermark passes the record.

        Raises:
            ValueError: The offset is not of this batch.
        """
        if self._taken is None:
            raise ValueError(f"the batch of {self.tp} is not open")
        self._progress.finish(self._taken, offset, counts)

    def finish_through(self, offset: int, counts: Counts | None = None) -> None:
        """Mark all of this batch's records up to and with this one as finished; `counts` go with the last of them.

        Raises:
            ValueError: The offset is not of this batch.
        """
        if self._taken is None:
            raise ValueError(f"the batch of {self.tp} is not open")
        self._progress.finish_through(self._taken, offset, counts)

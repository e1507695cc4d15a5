"""A record that nothing here can handle is found and refused alone; the records around it go on.

An error of ours that a batch raises is raised by one of its records: they are handed over again one by one.
"""

from collections.abc import Sequence

from streams.ports import Counts, RawRecord, RecordBatch


class OpenedBatch:
    """A batch that may be opened again, and knows what of it is not finished."""

    def __init__(self, batch: RecordBatch) -> None:
        self._batch = batch
        self._records: Sequence[RawRecord] | None = None
        self._finished: set[int] = set()

    @property
    def topic(self) -> str:
        return self._batch.topic

    @property
    def partition(self) -> int:
        return self._batch.partition

    @property
    def live(self) -> bool:
        return self._batch.live

    def open(self) -> Sequence[RawRecord]:
        if self._records is None:
            self._records = self._batch.open()
        return self._records

    def finish(self, offset: int, counts: Counts | None = None) -> None:
        self._finished.add(offset)
        self._batch.finish(offset, counts)

    def finish_through(self, offset: int, counts: Counts | None = None) -> None:
        self._finished.update(record.offset for record in self._records or () if record.offset <= offset)
        self._batch.finish_through(offset, counts)

    def singles(self) -> list["SingleRecord"]:
        """What is not finished, each record as a batch of its own."""
        return [SingleRecord(self, record) for record in self.open() if record.offset not in self._finished]


class SingleRecord:
    """One record of a batch, as a batch."""

    def __init__(self, batch: OpenedBatch, record: RawRecord) -> None:
        self._batch, self.record = batch, record

    @property
    def topic(self) -> str:
        return self._batch.topic

    @property
    def partition(self) -> int:
        return self._batch.partition

    @property
    def live(self) -> bool:
        return self._batch.live

    def open(self) -> Sequence[RawRecord]:
        return (self.record,) if self._batch.live else ()

    def finish(self, offset: int, counts: Counts | None = None) -> None:
        self._batch.finish(offset, counts)

    def finish_through(self, offset: int, counts: Counts | None = None) -> None:
        self._batch.finish(offset, counts)

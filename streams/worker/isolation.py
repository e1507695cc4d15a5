"""A record that nothing here can handle is found and refused alone; the records around it go on.

An error of ours that a batch raises is raised by one of its records: they are handed over again one by one.
"""

import traceback
from collections.abc import Sequence
from pathlib import Path

from connectors.base.errors import ConnectorError
from streams.ports import Counts, RawRecord, RecordBatch


def words_of(error: BaseException) -> str:
    """An error as it may be logged and shown: a bug's own text may quote the record that it met, so where it is."""
    if isinstance(error, ConnectorError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


class _OfBatch:
    """What is taken over from the batch that was handed over."""

    def __init__(self, batch: RecordBatch) -> None:
        self._batch = batch

    @property
    def topic(self) -> str:
        return self._batch.topic

    @property
    def partition(self) -> int:
        return self._batch.partition

    @property
    def live(self) -> bool:
        return self._batch.live


class OpenedBatch(_OfBatch):
    """A batch that may be opened again, and knows what of it is not finished."""

    def __init__(self, batch: RecordBatch) -> None:
        super().__init__(batch)
        self._records: Sequence[RawRecord] | None = None
        self._finished: set[int] = set()

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

    def singles(self) -> list["PartOfBatch"]:
        """What is not finished, each record as a batch of its own."""
        return [PartOfBatch(self, (record,)) for record in self._unfinished()]

    def rest(self) -> "PartOfBatch":
        """What is not finished."""
        return PartOfBatch(self, self._unfinished())

    def _unfinished(self) -> Sequence[RawRecord]:
        return [record for record in self.open() if record.offset not in self._finished]


class PartOfBatch(_OfBatch):
    """Some records of a batch, as a batch."""

    def __init__(self, batch: OpenedBatch, records: Sequence[RawRecord]) -> None:
        super().__init__(batch)
        self._records = records

    @property
    def record(self) -> RawRecord:
        """The first."""
        return self._records[0]

    def open(self) -> Sequence[RawRecord]:
        return self._records if self._batch.live else ()

    def finish(self, offset: int, counts: Counts | None = None) -> None:
        self._batch.finish(offset, counts)

    def finish_through(self, offset: int, counts: Counts | None = None) -> None:
        """Of these records alone: what lies between them is another part's."""
        through = [record.offset for record in self._records if record.offset <= offset]
        for each in through[:-1]:
            self._batch.finish(each)
        self._batch.finish(through[-1], counts)

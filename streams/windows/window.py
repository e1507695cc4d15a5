"""The open window of one partition: the rows that are taken and not sealed, and when they are to be. No I/O."""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from streams.ports import RecordBatch
from streams.windows.epoch import Row, companies_of

#: An epoch is sealed at this size, reckoned by the bytes of its events, which are longer than what is sealed of them.
MAX_BYTES = 512 * 1024
_ROW_OVERHEAD_BYTES = 64
#: Epochs sent as one group; each names the one before it, so that one lost race loses all that follow.
MAX_GROUP_EPOCHS = 16


class Limits(Protocol):
    """When an open window is sealed; the smallest of the companies in it counts."""

    @property
    def length_s(self) -> float: ...
    @property
    def max_members(self) -> int: ...


@dataclass(frozen=True, slots=True)
class WindowedBatch:
    """A batch with rows in the open window; its figures stay those of the whole until it is finished."""

    batch: RecordBatch
    last: int  # the offset of its last row
    companies: set[str]
    size_bytes: int


def _offset(row: Row) -> int:
    return row[0].offset


class OpenWindow:
    """Rows in the order of their offsets.

    Attributes:
        rows: What is taken and not sealed.
        due: The monotonic second at which it is to be sealed; None: nothing is open.
        full: Why it is to be sealed before that: `members` or `bytes`; empty: it is not.
    """

    def __init__(self, limits: Callable[[str], Limits]) -> None:
        self._limits = limits
        self.rows: list[Row] = []
        self._batches: deque[WindowedBatch] = deque()  # whose the rows are
        self._since = 0.0
        self.due: float | None = None
        self.full = ""

    def open_s(self, now_s: float) -> float:
        """How long it has been open; 0 where nothing is."""
        return now_s - self._since if self.rows and self.due is not None else 0.0

    def add(self, batch: RecordBatch, rows: Sequence[Row], now_s: float) -> bool:
        """Put a batch's rows in; whether `due` or `full` has been set by them."""
        self.rows += rows
        self._batches.append(WindowedBatch(batch, rows[-1][0].offset, companies_of(rows), _size(rows)))
        return self._judge(now_s)

    def reopen(self, now_s: float) -> bool:
        """A window has been sealed: what came meanwhile is the next one's. As `add`."""
        self.due, self.full = None, ""
        return bool(self.rows) and self._judge(now_s)

    def _judge(self, now_s: float) -> bool:
        opens, limits = self.due is None, self._open_limits()
        if self.due is None:
            self._since = now_s
            self.due = now_s + min(limit.length_s for limit in limits)
        if len(self.rows) >= min(limit.max_members for limit in limits):
            self.full = "members"
        elif self._bytes >= MAX_BYTES:
            self.full = "bytes"
        return opens or bool(self.full)

    @property
    def _bytes(self) -> int:
        return sum([each.size_bytes for each in self._batches])

    def _open_limits(self) -> list[Limits]:
        return [self._limits(company) for company in set().union(*[each.companies for each in self._batches])]

    def chunks(self, through: int) -> list[Sequence[Row]]:
        """The rows of the next epochs up to an offset, at most a group of them."""
        end = bisect_right(self.rows, through, key=_offset)
        chunks, at, limit = list[Sequence[Row]](), 0, min(limits.max_members for limits in self._open_limits())
        while at < end and len(chunks) < MAX_GROUP_EPOCHS:
            chunk = self.rows[at : min(at + limit, end)]
            while self._bytes > MAX_BYTES and len(chunk) > 1 and _size(chunk) > MAX_BYTES:
                chunk = chunk[: len(chunk) // 2]
            chunks.append(chunk)
            at += len(chunk)
        return chunks

    def finish(self, end: int, no_ops: int) -> bool:
        """Let go of the rows below an offset that a chain has passed, and finish them; whether there were any.

        `no_ops` of them are counted with the commit.
        """
        passed = bisect_left(self.rows, end, key=_offset)
        if not passed:
            return False
        reached = self.rows[passed - 1][0].offset
        del self.rows[:passed]
        while self._batches[0].last < reached:
            whole = self._batches.popleft()
            whole.batch.finish_through(whole.last)
        self._batches[0].batch.finish_through(reached, {("stock_adjusted", "no_op"): no_ops})
        if self._batches[0].last == reached:
            self._batches.popleft()
        return True

    def drop(self) -> None:
        """Forget all of it, unfinished: it is read again."""
        self.rows, self.due, self.full = [], None, ""
        self._batches.clear()


def _size(rows: Sequence[Row]) -> int:
    return sum([len(record.value or b"") for record, _ in rows]) + _ROW_OVERHEAD_BYTES * len(rows)

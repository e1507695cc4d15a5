"""What an agent is handed: one fetched batch of one partition, and how it says what it has finished."""

from collections.abc import Mapping, Sequence
from typing import Protocol

Counts = Mapping[tuple[str, str], int]


class RawRecord(Protocol):
    """A record as the broker gave it; `timestamp` in milliseconds since 1970."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


class Batch(Protocol):
    """Records of one partition, offsets ascending; each is finished exactly once, in any order."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def live(self) -> bool:
        """The assignment is still ours: new work may start."""

    def open(self) -> Sequence[RawRecord]:
        """Take the records: from here on they count as in flight."""

    def finish(self, offset: int, counts: Counts | None = None) -> None:
        """The next holder has it; `counts` are the source events it ended, by (flow, how)."""

    def finish_through(self, offset: int, counts: Counts | None = None) -> None:
        """The next holder has all of this batch up to and with this record; `counts` as with `finish`, of all of them."""

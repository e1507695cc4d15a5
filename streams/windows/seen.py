"""Which stock events have been counted already, over the dedupe horizon: rebuilt from the sealed epochs, held in memory. Pure.

An entry is one dict slot: a 60-bit hash of the identity (a wider int takes 16 bytes more), and 30 bits of the digest with a sign for
"refused". Two identities of one hash differ in the mark but for one in 2^30 and then show as `id_reuse`, in the open; with 2 million
ids an event vanishes silently once in 6e20.
"""

from collections import deque
from collections.abc import Iterable, Sequence

_DIGEST_BITS = 30
_MASK = (1 << _DIGEST_BITS) - 1
_ENTRY = (1 << 60) - 1


class Seen:
    """Add what an accepted epoch holds, ask before counting, let go of what is older than the horizon."""

    __slots__ = ("_epochs", "_marks")

    def __init__(self) -> None:
        self._marks: dict[int, int] = {}
        self._epochs: deque[tuple[float, list[int]]] = deque()

    def __len__(self) -> int:
        return len(self._marks)

    @staticmethod
    def entry(source: str, event_id: str, sku: str, location: str) -> int:
        return hash((source, event_id, sku, location)) & _ENTRY

    @staticmethod
    def mark(digest: bytes) -> int:
        return int.from_bytes(digest[:4], "big") & _MASK

    def get(self, entry: int) -> int | None:
        """The mark of a counted event, ~mark of a refused one (negative), None where the identity is new."""
        return self._marks.get(entry)

    def add_epoch(self, sealed_at: float, entries: Iterable[tuple[int, int]]) -> None:
        """Remember an epoch's events: pairs of `entry` and `mark` (or ~mark). Times are seconds since 1970, ascending."""
        marks, added = self._marks, []
        for entry, mark in entries:
            if entry not in marks:
                added.append(entry)
            marks[entry] = mark
        self._epochs.append((sealed_at, added))

    def add_columns(
        self, source: str, sku: str, location: str, event_ids: Sequence[str], digests: bytes, into: list[int]
    ) -> None:
        """The hot half of a rebuild: one batch's members at once; `into` collects the new entries for `close_epoch`."""
        marks, at = self._marks, 0
        for event_id in event_ids:
            entry = hash((source, event_id, sku, location)) & _ENTRY
            if entry not in marks:
                into.append(entry)
            marks[entry] = int.from_bytes(digests[at : at + 4], "big") & _MASK
            at += 16

    def close_epoch(self, sealed_at: float, entries: list[int]) -> None:
        self._epochs.append((sealed_at, entries))

    def expire(self, before: float) -> None:
        """Forget epochs sealed before that time; an event that old is refused as too_old, not deduplicated."""
        while self._epochs and self._epochs[0][0] < before:
            for entry in self._epochs.popleft()[1]:
                self._marks.pop(entry, None)

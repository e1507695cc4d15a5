"""Which stock events have been counted already, over the dedupe horizon.

Rebuilt from the sealed epochs, held in memory. Pure.

An entry is one dict slot: a 60-bit hash of the identity (a wider int takes 16 bytes more), and 30 bits of the digest's
with a sign for "refused". Both are Python's own hashes, of this process only: nothing of them is written anywhere. Two
identities of one hash differ in the mark but for one in 2^30 and then show as `id_reuse`, in the open; with 2 million
ids an event vanishes silently once in 6e20.

The entries lie in several dicts of unequal shares. A dict doubles its table when it is two thirds full, so that one
dict of all would cost 105 to 135 bytes an entry (measured) and stop the loop for as long as it copies. The shares are
spread evenly over one doubling: at any fill one of the dicts has just doubled and another is about to, and the whole
    stays at the mean.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from itertools import islice

from schemas.events import DIGEST_BYTES

_DIGEST_BITS = 30
_MASK = (1 << _DIGEST_BITS) - 1
_ENTRY_BITS = 60
_ENTRY = (1 << _ENTRY_BITS) - 1
_DICTS = 32
#: The upper bits choose the dict, for a dict itself goes by the lower ones.
_SLOT_BITS = 9
_SHIFT = _ENTRY_BITS - _SLOT_BITS


def _shares() -> list[int]:
    """Which dict a slot belongs to.

    The last dict gets twice the slots of the first, those between grow evenly by factors.
    """
    slots, total = 1 << _SLOT_BITS, sum(2 ** (number / _DICTS) for number in range(_DICTS))
    ends, reached = list[int](), 0.0
    for number in range(_DICTS):
        reached += 2 ** (number / _DICTS) / total
        ends.append(round(reached * slots))
    return [next(number for number, end in enumerate(ends) if slot < end) for slot in range(slots)]


_DICT_OF = _shares()


class Seen:
    """Add what an accepted epoch holds, ask before counting, let go of what is older than the horizon."""

    __slots__ = ("_dicts", "_epochs", "_slots")

    def __init__(self) -> None:
        self._dicts: list[dict[int, int]] = [{} for _ in range(_DICTS)]
        self._slots = [self._dicts[number] for number in _DICT_OF]
        #: When each epoch was sealed, and the dict of each of its new entries: dicts keep the order, so their first
        #: ones are the oldest.
        self._epochs: deque[tuple[float, bytes]] = deque()

    def __len__(self) -> int:
        return sum(map(len, self._dicts))

    @staticmethod
    def entry(source: str, event_id: str, sku: str, location: str) -> int:
        return hash((source, event_id, (sku, location))) & _ENTRY

    @staticmethod
    def mark(digest: bytes) -> int:
        return hash(digest) & _MASK

    def get(self, entry: int) -> int | None:
        """The mark of a counted event, ~mark of a refused one (negative), None where the identity is new."""
        return self._slots[entry >> _SHIFT].get(entry)

    @staticmethod
    def entries(identities: Iterable[tuple[str, str, tuple[str, str]]]) -> list[int]:
        """`entry` of many: source, event id, (sku, location)."""
        return [hash(identity) & _ENTRY for identity in identities]

    @staticmethod
    def marks(digests: Sequence[bytes]) -> list[int]:
        """`mark` of many."""
        return [hash(digest) & _MASK for digest in digests]

    def look(self, entries: Sequence[int]) -> list[int | None]:
        """`get` of many."""
        slots = self._slots
        return [slots[entry >> _SHIFT].get(entry) for entry in entries]

    def add_epoch(self, sealed_at: float, entries: Iterable[tuple[int, int]]) -> None:
        """Remember an epoch's events: pairs of `entry` and `mark` (or ~mark).

        Times are seconds since 1970, ascending.
        """
        slots, added = self._slots, list[int]()
        for entry, mark in entries:
            marks = slots[entry >> _SHIFT]
            if entry not in marks:
                added.append(_DICT_OF[entry >> _SHIFT])
            marks[entry] = mark
        self.close_epoch(sealed_at, added)

    def add_columns(
        self, source: str, sku: str, location: str, event_ids: Sequence[str], digests: bytes, into: list[int]
    ) -> None:
        """The hot half of a rebuild: one batch's members at once.

        `into` collects the dicts of the new entries for `close_epoch`.
        """
        slots, place, at = self._slots, (sku, location), 0
        for event_id in event_ids:
            entry = hash((source, event_id, place)) & _ENTRY
            marks = slots[entry >> _SHIFT]
            if entry not in marks:
                into.append(_DICT_OF[entry >> _SHIFT])
            marks[entry] = hash(digests[at : at + DIGEST_BYTES]) & _MASK
            at += DIGEST_BYTES

    def close_epoch(self, sealed_at: float, added: Sequence[int]) -> None:
        if added:
            self._epochs.append((sealed_at, bytes(added)))

    def expire(self, before: float) -> None:
        """Forget epochs sealed before that time; an event that old is refused as too_old, not deduplicated."""
        gone = Counter[int]()
        while self._epochs and self._epochs[0][0] < before:
            gone.update(self._epochs.popleft()[1])
        for number, count in gone.items():
            marks = self._dicts[number]
            for entry in list(islice(marks, count)):
                del marks[entry]

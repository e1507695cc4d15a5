"""Which sealed document holds a batch: 16 bytes for each of millions, let go with the log they lie in. Pure."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

#: Batches of one block: while it fills it is a dict (some 100 bytes a batch), then two sorted arrays.
_BLOCK_BATCHES = 65_536
#: What memory holds of a K; the record itself has the last word.
_KEY_MASK = (1 << 60) - 1


@dataclass(slots=True)
class _Block:
    """Sorted keys, and beside each the offset of its document; `last` is the highest of them."""

    keys: "array[int]"
    offsets: "array[int]"
    last: int

    def get(self, key: int) -> int | None:
        at = bisect_left(self.keys, key)
        return self.offsets[at] if at < len(self.keys) and self.keys[at] == key else None


class SealedBatches:
    """Lifecycle: `add` documents in the order of their offsets; `forget` what the log no longer holds."""

    def __init__(self) -> None:
        self._recent: dict[int, int] = {}
        self._blocks: list[_Block] = []  # oldest first

    def __len__(self) -> int:
        """Batches remembered; one that was sealed again counts once for each block."""
        return len(self._recent) + sum(len(block.keys) for block in self._blocks)

    def add(self, ks: Iterable[str], offset: int) -> None:
        """They lie in the document at this offset, and no longer in an earlier one."""
        for k in ks:
            self._recent[_key(k)] = offset
        if len(self._recent) >= _BLOCK_BATCHES:
            keys = sorted(self._recent)
            offsets = array("q", [self._recent[key] for key in keys])
            self._blocks.append(_Block(array("Q", keys), offsets, offset))
            self._recent = {}

    def get(self, k: str) -> int | None:
        """The offset of the last document that holds this batch, as far as 60 bits of its K tell."""
        key = _key(k)
        if (offset := self._recent.get(key)) is not None:
            return offset
        return next((at for block in reversed(self._blocks) if (at := block.get(key)) is not None), None)

    def forget(self, before: int) -> None:
        """Let go of blocks that lie wholly before this offset."""
        self._blocks = [block for block in self._blocks if block.last >= before]


def _key(k: str) -> int:
    return hash(k) & _KEY_MASK

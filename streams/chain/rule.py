"""The chain rule (D3): which records of a partition count. Pure; windows and stock documents both stand on it.

A chained record carries `number` (accepted records before it) and `prev_digest` (digest of the last accepted one's
bytes). Walking in offset order, a record counts iff it names the head. Every reader comes to the same answer, the
writer included, so that a paused worker, a producer's retry or two versions at once can add records but never change
what stands.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from schemas.records import Anchor


class ChainRootError(Exception):
    """The oldest records are gone and no anchor says where to begin: guessing could post twice. Page, do not read."""


@dataclass(frozen=True, slots=True)
class Head:
    number: int = 0
    digest: bytes = bytes(16)

    def accepts(self, number: int, prev_digest: bytes) -> bool:
        return number == self.number and prev_digest == self.digest

    def after(self, value: bytes) -> "Head":
        """The head when `value`, a record it accepts, has been walked."""
        return Head(self.number + 1, hashlib.sha256(value).digest()[:16])


def start_of_walk(
    topic: str, partition: int, log_start: int, anchors: Iterable[Anchor]
) -> tuple[Anchor | None, int, Head]:
    """Where to begin so that the root is never guessed (architecture section 15.6).

    Args:
        topic: the chain's topic, for the error text.
        partition: the chain's partition.
        log_start: the oldest retained offset.
        anchors: the anchors written for this chain, in any order.

    Returns:
        The anchor used (the oldest that is still inside the log; None for the genesis at offset 0), the offset to read
        from and the head before it.

    Raises:
        ChainRootError: the log has lost its first records and no anchor lies inside it.
    """
    if log_start == 0:
        return None, 0, Head()
    inside = [anchor for anchor in anchors if anchor.offset >= log_start]
    if not inside:
        raise ChainRootError(
            f"{topic}/{partition} begins at offset {log_start} and no anchor lies inside it; nothing of it is read or "
            "posted. "
            "Restore the topic, or start a new chain by re-creating it once everything before has been reconciled."
        )
    first = min(inside, key=lambda anchor: anchor.offset)
    return first, first.offset, Head(first.number, first.digest)

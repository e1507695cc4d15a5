"""How far a shop has been read, as the text that lies in Kafka."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from connectors.base.cursor_text import from_text, pack, to_text, unpack

#: Ids of orders (and shipments) that were published, as bits: 32,768 of them in a block of 4 KiB. The oldest blocks
#: are dropped; an id below the rest counts as published.
_BLOCK_BITS = 32_768
_BLOCK_BYTES = _BLOCK_BITS // 8
MAX_BLOCKS = 256


class IdSet:
    """Which ids have been, in a few kilobytes for millions."""

    __slots__ = ("_blocks",)

    def __init__(self, blocks: Mapping[int, bytes] | None = None) -> None:
        self._blocks = dict(blocks or {})

    def __contains__(self, number: int | None) -> bool:
        if number is None:
            return False
        block, bit = divmod(number, _BLOCK_BITS)
        found = self._blocks.get(block)
        if found is None:
            return len(self._blocks) >= MAX_BLOCKS and block < min(self._blocks)
        return bool(found[bit >> 3] & (1 << (bit & 7)))

    def with_ids(self, numbers: Iterable[int]) -> "IdSet":
        changed: dict[int, bytearray] = {}
        for number in numbers:
            block, bit = divmod(number, _BLOCK_BITS)
            if block not in changed:
                changed[block] = bytearray(self._blocks.get(block) or _BLOCK_BYTES)
            changed[block][bit >> 3] |= 1 << (bit & 7)
        blocks = self._blocks | {block: bytes(bits) for block, bits in changed.items()}
        return IdSet({block: blocks[block] for block in sorted(blocks)[-MAX_BLOCKS:]})

    def to_bytes(self) -> bytes:
        return b"".join(block.to_bytes(8, "big") + bits for block, bits in sorted(self._blocks.items()))

    @classmethod
    def from_bytes(cls, data: bytes) -> "IdSet":
        size = 8 + _BLOCK_BYTES
        if len(data) % size:
            raise ValueError("not whole blocks")
        parts = (data[at : at + size] for at in range(0, len(data), size))
        return cls({int.from_bytes(part[:8], "big"): part[8:] for part in parts})


@dataclass(frozen=True, slots=True)
class ListProgress:
    """Where one list stands; times are whole seconds since 1970, as exact as the shop's.

    Attributes:
        floor: Passes begin here.
        at: The last row of the pass under way, as (time, id); None: between two passes.
        top: The newest time of any row.
        seen: The rows since `floor`, as id (below 0: a row without one) to (time, 32 bits of its content's hash).
    """

    floor: int = 0
    at: tuple[int, int] | None = None
    top: int = 0
    seen: Mapping[int, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MagentoCursor:
    """How far a shop has been read.

    Attributes:
        turn: The list to read next.
        lists: By name.
        placed: Orders that were published: one that is cancelled without ever having been placed is nobody's business.
        dispatched: Shipments that were published: tracks added later would change their event.
    """

    turn: str
    lists: Mapping[str, ListProgress]
    placed: IdSet = field(default_factory=IdSet)
    dispatched: IdSet = field(default_factory=IdSet)

    def to_text(self) -> str:
        lists = {
            name: {"floor": each.floor, "at": each.at, "top": each.top, "seen": _pack_seen(each.seen)}
            for name, each in self.lists.items()
        }
        placed, dispatched = pack(self.placed.to_bytes()), pack(self.dispatched.to_bytes())
        return to_text({"v": 1, "turn": self.turn, "scans": lists, "placed": placed, "dispatched": dispatched})

    @classmethod
    def from_text(cls, text: str) -> "MagentoCursor":
        """Read what `to_text` wrote.

        Raises:
            FatalError: It is something else.
        """
        return from_text(text, cls._read, "magento")

    @classmethod
    def _read(cls, found: Any) -> "MagentoCursor":
        lists = {
            name: ListProgress(
                int(each["floor"]),
                (int(each["at"][0]), int(each["at"][1])) if each["at"] is not None else None,
                int(each["top"]),
                _unpack_seen(each["seen"]),
            )
            for name, each in found["scans"].items()
        }
        placed, dispatched = (IdSet.from_bytes(unpack(found[name])) for name in ("placed", "dispatched"))
        return cls(str(found["turn"]), lists, placed, dispatched)


def _pack_seen(seen: Mapping[int, tuple[int, int]]) -> str:
    """Columns, each by its difference to the row before: they compress well."""
    rows = sorted(seen.items())
    ids = [row_id for row_id, _ in rows]
    times = [time for _, (time, _) in rows]
    marks = b"".join(mark.to_bytes(4, "big") for _, (_, mark) in rows)
    columns = json.dumps([_differences(ids), _differences(times)], separators=(",", ":")).encode()
    return pack(len(columns).to_bytes(4, "big") + columns + marks) if rows else ""


def _unpack_seen(text: str) -> dict[int, tuple[int, int]]:
    data = unpack(text)
    if not data:
        return {}
    end = 4 + int.from_bytes(data[:4], "big")
    ids, times = (accumulate(column) for column in json.loads(data[4:end]))
    marks = [int.from_bytes(data[at : at + 4], "big") for at in range(end, len(data), 4)]
    return {row_id: (time, mark) for row_id, time, mark in zip(ids, times, marks, strict=True)}


def _differences(numbers: Sequence[int]) -> list[int]:
    return [number - before for number, before in zip(numbers, [0, *numbers], strict=False)]

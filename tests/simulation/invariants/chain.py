"""The chain rule, walked a second time by code of its own."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from schemas.codec import Codec


@dataclass(slots=True)
class ChainWalk:
    """Walks a chain by the rule alone: a record counts iff it names the last that counted."""

    kind: type[Any]
    number: int = 0
    digest: bytes = bytes(16)
    position: int = 0
    accepted: list[tuple[int, Any]] = field(default_factory=list)

    def walk(self, values: list[bytes | None], codec: Codec) -> Iterator[tuple[int, Any]]:
        for offset in range(self.position, len(values)):
            value = values[offset] or b""
            record = codec.decode(value, self.kind)
            if record.number == self.number and record.prev_digest == self.digest:
                self.number, self.digest = self.number + 1, hashlib.sha256(value).digest()[:16]
                self.accepted.append((offset, record))
                yield offset, record
        self.position = len(values)

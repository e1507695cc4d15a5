"""The states of all dead letters, followed as they are written: for commands that wait for an answer."""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass

from schemas.codec import Codec
from schemas.records import DeadLetterState
from streams.kafka.log import Log


@dataclass(frozen=True, slots=True)
class Placed:
    """A dead letter as it stands, and on which partition of `dead-letter-state` that is written."""

    letter: DeadLetterState
    partition: int


class StateTail:
    """Every call of `read` reads what is new.

    Attributes:
        placed: By id, with where it is written.
    """

    def __init__(self, log: Log, codec: Codec, topic: str, partitions: range) -> None:
        """`topic` is the one of states as the broker calls it."""
        self.placed: dict[str, Placed] = {}
        self._letters: dict[str, DeadLetterState] = {}
        self._log, self._codec, self._topic = log, codec, topic
        self._positions = dict.fromkeys(partitions, 0)

    async def read(self) -> Mapping[str, DeadLetterState]:
        """Every dead letter as it stands now, by id; the next call changes it.

        Raises:
            LogError: The broker cannot be reached.
            CodecError: A state was written by something newer than we are.
        """
        for partition, position in self._positions.items():
            start, end = await self._log.bounds(self._topic, partition)
            if max(start, position) < end:
                await self._read(partition, max(start, position), end)
                self._positions[partition] = end
        return self._letters

    async def _read(self, partition: int, start: int, end: int) -> None:
        async with aclosing(self._log.read(self._topic, partition, start, end)) as batches:
            async for records in batches:
                for record in records:
                    id_ = (record.key or b"").decode(errors="replace")
                    if record.value is not None:
                        self._put(Placed(self._codec.decode(record.value, DeadLetterState), partition))
                    elif id_ in self.placed and self.placed[id_].partition == partition:
                        del self.placed[id_], self._letters[id_]

    def _put(self, placed: Placed) -> None:
        """One that was published again may be refused again for a company that its first bytes did not tell."""
        known = self.placed.get(placed.letter.id)
        if known is None or known.partition == placed.partition or known.letter.at <= placed.letter.at:
            self.placed[placed.letter.id] = placed
            self._letters[placed.letter.id] = placed.letter

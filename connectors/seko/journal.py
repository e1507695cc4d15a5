"""What the door has taken since the source last looked. In memory: what is lost here is found by the poll, as a gap."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from connectors.base.source import RefusedRecord
from connectors.seko.records import Message
from schemas.events import FactEvent

#: So many messages that no source has come for; a connector may run in another process than the door that was used.
MAX_WAITING = 5_000

Told = tuple[Message, tuple[FactEvent | RefusedRecord, ...]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One message that the broker has.

    Attributes:
        number: Counts the entries of this process.
        message: As it came.
        said: What it told.
        at_s: When it came; Unix time.
    """

    number: int
    message: Message
    said: tuple[FactEvent | RefusedRecord, ...]
    at_s: int


class Journal:
    """Lifecycle: `add` and `since` at any time; `forget` what a cursor has."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=MAX_WAITING)
        self._next = 1

    def add(self, told: Iterable[Told], at_s: int) -> None:
        for message, said in told:
            self._entries.append(Entry(self._next, message, said, at_s))
            self._next += 1

    def entries(self) -> tuple[Entry, ...]:
        return tuple(self._entries)

    def forget(self, number: int) -> None:
        """Let go of entries up to a number: they are behind an acknowledged cursor."""
        while self._entries and self._entries[0].number <= number:
            self._entries.popleft()

    # Settings are compared by what a person wrote.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Journal)

    __hash__ = object.__hash__

"""What was pushed since the source last looked. In memory: what is lost here is found by the poll, as a gap."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from connectors.base.source import RefusedRecord
from connectors.seko.records import SekoMessage
from schemas.events import FactEvent

#: So many messages that no source has come for; a connector may run in another process than the webhook server.
MAX_WAITING = 5_000

Translated = tuple[SekoMessage, tuple[FactEvent | RefusedRecord, ...]]


@dataclass(frozen=True, slots=True)
class PushedMessage:
    """One message that the broker has.

    Attributes:
        number: Counts the messages of this process.
        message: As it came.
        items: What it became.
        at_s: When it came; Unix time.
    """

    number: int
    message: SekoMessage
    items: tuple[FactEvent | RefusedRecord, ...]
    at_s: int


class PushJournal:
    """Lifecycle: `add` and `entries` at any time; `forget` what a cursor has."""

    def __init__(self) -> None:
        self._entries: deque[PushedMessage] = deque(maxlen=MAX_WAITING)
        self._next = 1

    def add(self, translated: Iterable[Translated], at_s: int) -> None:
        for message, items in translated:
            self._entries.append(PushedMessage(self._next, message, items, at_s))
            self._next += 1

    def entries(self) -> tuple[PushedMessage, ...]:
        return tuple(self._entries)

    def forget(self, number: int) -> None:
        """Let go of entries up to a number: they are behind an acknowledged cursor."""
        while self._entries and self._entries[0].number <= number:
            self._entries.popleft()

    # Settings are compared by what a person wrote.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, PushJournal)

    __hash__ = object.__hash__

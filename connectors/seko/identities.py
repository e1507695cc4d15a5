"""What makes a message's event one, however often and whichever way it comes. Pure."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from connectors.base.errors import RecordError
from connectors.base.validate import MAX_IDENTITY_CHARS
from connectors.seko.records import SekoMessage
from connectors.seko.settings import SekoSettings


def is_known_by_number(message: SekoMessage, settings: SekoSettings) -> bool:
    """Whether a message has no id of its own, so that its SequenceNumber has to tell it from others."""
    if message.service not in ("adjustment", "movement"):
        return False
    return not message.has((settings.spelling(message.service, "internal_id", "internalid"), "internalid"))


def lacks_identity(message: SekoMessage, settings: SekoSettings) -> bool:
    """Whether nothing in a message tells it from another one with the same content."""
    return is_known_by_number(message, settings) and not message.sequences and message.stand_in is None


def with_stand_ins(found: Iterable[SekoMessage], settings: SekoSettings) -> tuple[SekoMessage, ...]:
    """Polled messages, those without an identity with one of their content.

    The n-th of those with one content in one second is always the n-th: a poll has whole seconds. Where pushes are
    taken
    too, a message has its number as its identity, and one without it gets none: it would count twice.
    """
    if settings.push_secrets:
        return tuple(found)
    seen: Counter[str] = Counter()
    messages = []
    for message in found:
        if lacks_identity(message, settings):
            seen[message.content] += 1
            message = replace(message, stand_in=f"~{message.content}.{seen[message.content]}")  # noqa: PLW2901 -- the same one, named
        messages.append(message)
    return tuple(messages)


def number_of(internal_id: str | None, sequence: int | None, message: SekoMessage) -> str:
    """What tells a message, or a line that has its own number, from all others of its service.

    Raises:
        RecordError: Nothing does.
    """
    if internal_id is not None:
        return internal_id
    if sequence is not None:
        return f"#{sequence}"
    if message.stand_in is not None:
        return message.stand_in
    raise RecordError(
        "it has neither InternalId nor SequenceNumber, so that nobody could tell a repeat; send it again in iHub's "
        "activity screen, then discard this"
    )


def ids_of(keys: Sequence[tuple[tuple[str, ...], tuple[str, ...]]]) -> list[str]:
    """An identity for each: of its first parts, and of the others too where the first are not its own."""
    count = Counter(parts for parts, _ in keys)
    return [id_of(*parts) if count[parts] == 1 else id_of(*parts, *more) for parts, more in keys]


def id_of(*parts: str) -> str:
    """An identity of its parts, that no other parts have."""
    text = ":".join(parts)
    if len(text) <= MAX_IDENTITY_CHARS and not any(":" in part for part in parts):
        return text
    return f"{parts[0][:20]}:{hashlib.sha256(repr(parts).encode()).hexdigest()[:40]}"

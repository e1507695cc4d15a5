"""How much of a refused record a dead letter keeps, so that every dead letter fits its topic. Pure.

A record's size on the wire is what a producer made of it by compression; here it counts as it is decompressed.
"""

import hashlib
from collections.abc import Iterable

from schemas.records import Header

#: A value up to this is kept whole: the longest fact (`schemas.codec`).
MAX_VALUE_BYTES = 1_000_000
#: What is kept of a longer one.
FIRST_BYTES = 65_536
MAX_KEY_BYTES = 4_096
#: All headers of a record together, names included.
MAX_HEADER_BYTES = 32_768
#: Of one text in our own headers and states: an identity or a sentence.
MAX_TEXT_CHARS = 2_000
#: What a refused record may come to in all: the parts above and our notes.
MAX_RECORD_BYTES = MAX_VALUE_BYTES + MAX_KEY_BYTES + MAX_HEADER_BYTES
_NOTES_BYTES = 512

VALUE_SIZE, VALUE_DIGEST = "b1streams.value_size", "b1streams.value_sha256"
KEY_SIZE, HEADERS_SIZE = "b1streams.key_size", "b1streams.headers_size"

Bounded = tuple[bytes | None, bytes | None, tuple[Header, ...]]


def bounded(
    key: bytes | None,
    value: bytes | None,
    headers: Iterable[Header],
    keep: int = MAX_VALUE_BYTES,
    first: int = FIRST_BYTES,
) -> Bounded:
    """Key, value and headers as a dead letter keeps them: whole, or their beginning with a note of what they were.

    What is cut is noted in headers: size and SHA-256 of a value, size of a key and of the headers. Done again it
    changes nothing.

    Args:
        key: The record's.
        value: The record's.
        headers: The record's; those that fit are kept, in their order.
        keep: Bytes up to which a value is kept whole.
        first: Bytes kept of a longer one.
    """
    kept, notes = tuple(headers), list[tuple[str, str]]()
    if value is not None and len(value) > keep:
        notes += [(VALUE_SIZE, str(len(value))), (VALUE_DIGEST, hashlib.sha256(value).hexdigest())]
        value = value[:first]
    if key is not None and len(key) > MAX_KEY_BYTES:
        notes.append((KEY_SIZE, str(len(key))))
        key = key[:MAX_KEY_BYTES]
    if (size := size_of(kept)) > MAX_HEADER_BYTES:
        notes.append((HEADERS_SIZE, str(size)))
        kept = _fitting(kept, MAX_HEADER_BYTES - _NOTES_BYTES)
    return key, value, (*kept, *(Header(name=name, value=text.encode()) for name, text in notes))


def size_of(headers: Iterable[Header]) -> int:
    """Bytes of names and values."""
    return sum(len(header.name.encode()) + len(header.value) for header in headers)


def is_cut(headers: Iterable[tuple[str, bytes]]) -> bool:
    """Whether the value of a dead letter is only the beginning of what was refused: it cannot be replayed as it is."""
    return any(name == VALUE_SIZE for name, _ in headers)


def short(text: str | None) -> str | None:
    """A text of ours, or an identity, cut to what headers and states have room for."""
    return text if text is None or len(text) <= MAX_TEXT_CHARS else f"{text[: MAX_TEXT_CHARS - 4]} ..."


def _fitting(headers: tuple[Header, ...], room: int) -> tuple[Header, ...]:
    kept = []
    for header in headers:
        size = size_of((header,))
        if size <= room:
            kept.append(header)
            room -= size
    return tuple(kept)

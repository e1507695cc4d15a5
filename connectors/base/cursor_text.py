"""Cursors as the text that lies in Kafka, and back."""

import base64
import json
import zlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from connectors.base.errors import CursorUnusableError

_T = TypeVar("_T")
_UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, RecursionError, zlib.error)


def to_text(value: object, *, pack_above: int | None = None) -> str:
    """Compact JSON, with sorted keys: equal values are equal texts.

    Args:
        value: What `json.dumps` takes.
        pack_above: Longer texts are compressed (and are no JSON any more); None: none is.
    """
    plain = json.dumps(value, separators=(",", ":"), sort_keys=True)
    return plain if pack_above is None or len(plain) <= pack_above else pack(plain.encode())


def from_text(text: str, read: Callable[[Any], _T], kind: str, *, backfill: bool = False) -> _T:
    """What `to_text` wrote.

    Args:
        text: From the cursor's record.
        read: Makes the cursor of what JSON has; may raise anything that a wrong shape makes it raise.
        kind: Of the connector, for the message.
        backfill: Whether it is a back-fill's.

    Raises:
        FatalError: It is something else, as where a connector's name was given to another kind.
    """
    try:
        return read(json.loads(text if text.lstrip()[:1] in ("{", "[") else unpack(text)))
    except _UNREADABLE as error:
        if backfill:
            raise CursorUnusableError(
                f"the cursor is not one of a {kind} backfill; choose another time range"
            ) from error
        raise CursorUnusableError(
            f"the cursor is not one of a {kind} connector; give the connector a new name, or its old kind"
        ) from error


def pack(data: bytes) -> str:
    """Compressed, in base64; nothing becomes an empty text."""
    return base64.b64encode(zlib.compress(data, 6)).decode() if data else ""


def unpack(text: str) -> bytes:
    """What `pack` packed."""
    return zlib.decompress(base64.b64decode(text, validate=True)) if text else b""


def moment_text(moment: datetime | None) -> str | None:
    """ISO 8601, with its offset."""
    return None if moment is None else moment.isoformat()


def moment_of(text: str | None) -> datetime | None:
    """What `moment_text` wrote."""
    return None if text is None else datetime.fromisoformat(text)

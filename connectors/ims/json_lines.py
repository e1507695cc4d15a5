"""A line of JSON to its event type and fields. Nothing of a line's values gets into a message."""

import json
from collections import Counter
from collections.abc import Mapping

from connectors.ims.errors import LineError
from schemas.events import EVENT_TYPES

MAX_DEPTH = 32


class NumberText(str):
    """A JSON number as its exact text."""

    __slots__ = ()


class JsonObject(dict[str, object]):
    """A JSON object that remembers which keys it was given twice."""

    __slots__ = ("twice",)

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.twice: frozenset[str] = frozenset()
        if len(self) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            self.twice = frozenset(key for key, count in counts.items() if count > 1)


def _no_constant(_text: str) -> object:
    raise ValueError("NaN and Infinity are not JSON")


def parse(line: bytes, codec: str = "utf-8") -> tuple[str, Mapping[str, object]]:
    """Read one line of JSON: its event type and all its fields.

    Raises:
        LineError: It is not JSON, has no known type, or says something twice.
    """
    try:
        found = json.loads(
            line.decode(codec),
            parse_float=NumberText,
            parse_int=NumberText,
            parse_constant=_no_constant,
            object_pairs_hook=JsonObject,
        )
    except UnicodeDecodeError:
        raise LineError("unreadable", f"the line is not {codec.upper()}; write the file in UTF-8") from None
    except json.JSONDecodeError as error:
        # Only the parser's own words and the column: what stands there may be personal data.
        raise LineError(
            "unreadable", f"the line is not JSON ({error.msg} at column {error.colno}); fix the line at the source"
        ) from None
    except (ValueError, RecursionError):
        raise LineError(
            "unreadable", "the line is not JSON (NaN, Infinity, or nested too deeply); fix the line at the source"
        ) from None
    if not isinstance(found, JsonObject):
        raise LineError("unreadable", "the line is not a JSON object; write one event per line, as {...}")
    event_type = found.get("type")
    if not isinstance(event_type, str) or event_type not in EVENT_TYPES or "type" in found.twice:
        known = ", ".join(EVENT_TYPES)
        raise LineError("unreadable", f"type is missing or unknown; write one of: {known}", fields=found)
    _check_shape(found, event_type, found)
    return event_type, found


def _check_shape(value: object, event_type: str, fields: Mapping[str, object]) -> None:
    """No key twice, no nesting beyond what an event can have, without recursion of our own."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for each in level:
            if isinstance(each, JsonObject):
                if each.twice:
                    raise LineError(
                        "invalid_event",
                        "an object has the same key twice; write each key once, so that it is clear what holds",
                        event_type,
                        fields,
                    )
                inner.extend(item for item in each.values() if isinstance(item, dict | list))
            elif isinstance(each, list):
                inner.extend(item for item in each if isinstance(item, dict | list))
        if not inner:
            return
        level = inner
    raise LineError("invalid_event", f"the line is nested more than {MAX_DEPTH} deep; flatten it", event_type, fields)

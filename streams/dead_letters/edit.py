"""The event of a dead letter as text that a person corrects, and back, checked against the contract. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from connectors.base.context import EventContext
from connectors.base.source import StockLevel
from connectors.ims import json_lines, records
from connectors.ims.errors import LineError
from connectors.ims.translate import translate
from schemas.events import TYPE_NAMES, FactEvent, digest_of
from schemas.records import DeadLetterState
from streams.chain.keys import event_key


class EditError(Exception):
    """The text is no correction of this dead letter; says why and what to do, and none of its values."""


def text_of(event: FactEvent) -> str:
    """An event in the form of a line of a file (contract section 1), indented, for an editor."""
    shown = {"type": TYPE_NAMES[type(event)], **_plain(event)}
    return json.dumps(shown, indent=2, ensure_ascii=False) + "\n"


def event_of(text: str, letter: DeadLetterState, before: FactEvent | None, company: str, now: datetime) -> FactEvent:
    """The event that a corrected text says.

    Args:
        text: One JSON object.
        letter: The dead letter; what identifies its event cannot be changed.
        before: Its event as it stands; None where its bytes are none.
        company: Whose it is.
        now: Aware.

    Raises:
        EditError: It is not valid, or is another event.
    """
    try:
        event_type, given = json_lines.parse(" ".join(text.split("\n")).encode())
        record = records.validate(event_type, given, now)
    except LineError as error:
        raise EditError(str(error)) from None
    source = letter.source or (before.source if before is not None else "")
    observed_at = now if before is None else before.observed_at
    event = translate(record, EventContext(source, company, None, observed_at))
    if isinstance(event, StockLevel):
        raise EditError("a level is settled by its connector's next reading; discard this dead letter")
    if before is not None and type(event) is type(before):
        # What a file's line has by default, other sources leave out
        absent = {x.name: None for x in fields(event) if given.get(x.name) is None and getattr(before, x.name) is None}
        event = replace(event, **absent)  # type: ignore[arg-type]  # each is of a field that may be None
        event = replace(event, digest=digest_of(event))
    for name in ("source", "company"):
        if given.get(name) not in (None, getattr(event, name)):
            raise EditError(f"{name} has changed; it says whose event this is and cannot be edited")
    _check_identity(event, letter, before)
    return event


def _check_identity(event: FactEvent, letter: DeadLetterState, before: FactEvent | None) -> None:
    remedy = "discard this one, and let the source send the other event"
    if letter.event_type in TYPE_NAMES.values() and TYPE_NAMES[type(event)] != letter.event_type:
        raise EditError(f"type has changed, and is not {letter.event_type}; {remedy}")
    if letter.order_id is not None and getattr(event, "order_id", None) != letter.order_id:
        raise EditError(f"order_id has changed; {remedy}")
    key = letter.k if letter.k is not None else None if before is None else event_key(before)
    if key is not None and event_key(event) != key:
        raise EditError(f"what identifies the event has changed; {remedy}")


def changes(before: FactEvent | None, after: FactEvent) -> list[tuple[str, str | None, str | None]]:
    """What differs: path, old value, new value, as JSON; None where there is none. `digest` aside.

    An event whose text was not touched has no changes.
    """
    old = {} if before is None else dict(_leaves(_plain(before)))
    new = dict(_leaves(_plain(after)))
    paths = dict.fromkeys([*old, *new])
    return [(path, old.get(path), new.get(path)) for path in paths if old.get(path) != new.get(path)]


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{path}[{number}]")
    elif value is not None:
        yield path, json.dumps(value, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        items = ((field.name, getattr(value, field.name)) for field in fields(value) if field.name != "digest")
        return {name: _plain(item) for name, item in items}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return value.isoformat() if isinstance(value, date) else value

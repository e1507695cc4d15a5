"""The fields that a file may have and those of the events: one list, written down twice, compared here."""

from dataclasses import fields
from typing import Any, get_args, get_type_hints

import pytest
from pydantic import BaseModel

from connectors.ims.fields import inner_record, is_list
from connectors.ims.records import RECORDS
from schemas.events import EVENT_TYPES, Event

#: What the connector adds to every event.
OURS = {"source", "company", "observed_at", "digest"}
#: What a level has in place of a delta.
OF_A_LEVEL = {"level", "sequence"}


def part_in(hint: Any) -> Any:
    """The class of a part of an event: in `X | None`, `tuple[X, ...]` and both."""
    for each in (hint, *get_args(hint)):
        if hasattr(each, "__dataclass_fields__"):
            return each
    return next((found for each in get_args(hint) if (found := part_in(each)) is not None), None)


def pairs(record: type[BaseModel], event: Any) -> list[tuple[type[BaseModel], Any]]:
    """A record and its event, and all the objects in them."""
    hints = get_type_hints(event)
    found = [(record, event)]
    for name in record.model_fields:
        inner = inner_record(record, name)
        if inner is not None:
            found += pairs(inner, part_in(hints[name]))
    return found


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_record_of_a_file_has_the_fields_of_its_event(event_type):
    for record, event in pairs(RECORDS[event_type], EVENT_TYPES[event_type]):
        ours = OURS if issubclass(event, Event) else set()
        extra = OF_A_LEVEL if event_type == "stock_adjusted" and record is RECORDS[event_type] else set()
        assert set(record.model_fields) - extra == {field.name for field in fields(event)} - ours, event.__name__
        hints = get_type_hints(event)
        for name in set(record.model_fields) - extra:
            listed = any(getattr(each, "__origin__", None) is tuple for each in (hints[name], *get_args(hints[name])))
            assert is_list(record, name) == listed, (event.__name__, name)


def test_there_is_a_record_for_every_event_type():
    assert RECORDS.keys() == EVENT_TYPES.keys()

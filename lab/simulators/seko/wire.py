"""How the hub's messages and answers look: the envelope of a push, the envelope of an answer, traces of XML."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from lab.simulators.seko.loads import Row
from lab.simulators.seko.state import ENTITIES, HubMessage


def push_body(messages: Iterable[HubMessage], *, artefacts: bool) -> bytes:
    """A push of these messages."""
    return json.dumps({"Responses": [{"Response": rendered(each.row, artefacts)} for each in messages]}).encode()


def rendered(value: Any, artefacts: bool) -> Any:
    """A value as it is sent; with `artefacts` as a bridge from XML has it.

    {} for empty, one row for a list of one, numbers for codes.
    """
    if not artefacts:
        return value
    if isinstance(value, dict):
        return {name: rendered(each, True) for name, each in value.items()}
    if isinstance(value, list):
        rows = [rendered(each, True) for each in value]
        return rows[0] if len(rows) == 1 else rows
    if value is None or value == "":
        return {}
    if isinstance(value, str) and re.fullmatch("[1-9][0-9]{0,14}", value):
        return int(value)
    return value


def without_number(message: HubMessage) -> Row:
    """A message's row as polls show it where they have no SequenceNumber."""
    name = ENTITIES[message.service]
    fields: Mapping[str, Any] = message.row[name]
    return {**message.row, name: {key: each for key, each in fields.items() if key != "SequenceNumber"}}


def success() -> Row:
    return {"CallStatus": {"Success": True, "Code": 0, "Message": ""}, "GUID": None}


def failure(message: str) -> Row:
    """A refusal: the status of its answer is 200 all the same."""
    return {"CallStatus": {"Success": False, "Code": 100, "Message": message}}

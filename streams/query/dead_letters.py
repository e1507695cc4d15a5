"""Dead letters as they stand, and what may be shown of one."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from connectors.base.log import Record
from schemas.codec import Codec, CodecError
from schemas.events import EVENT_TYPES
from schemas.letters import OPEN_STATES
from schemas.readings import EffectState
from schemas.records import DeadLetterState, StockBatch
from streams.config.load import Config
from streams.kafka.log import Log
from streams.query.reading import partitions_of, scan
from streams.telemetry.text import escape

STATES_TOPIC = "dead-letter-state"
MASK = "***"
_JSON_FIELDS = (
    *("id", "topic", "reason", "state", "owner", "event_type", "event_id", "members", "order_id", "sku", "company"),
    *("at", "attempts", "waits_for", "blocked_by", "error"),
)
#: Fields of a payload that say nothing about a person; everything else is masked.
_NOT_PERSONAL = frozenset(
    {
        *("type", "source", "company", "event_id", "occurred_at", "observed_at", "order_id", "order_number"),
        *("channel", "state", "currency", "lines", "line_id", "sku", "quantity", "unit_price", "discount"),
        *("tax_code", "tax_rate", "tax_amount", "location", "to_location", "shipping", "method", "carrier"),
        *("service", "amount", "tax_total", "grand_total", "payment", "shipment_id", "refund_id", "restock"),
        *("adjustment", "total", "delta", "level", "sequence", "reason", "batches", "number", "expires_on"),
        *("serials", "country", "guest", "net", "posting_date", "event_ids", "deltas"),
    }
)
_MASKED_INSIDE = frozenset({"customer", "ship_to", "bill_to"})  # shown as objects, so that one sees what is missing


async def standing(log: Log, config: Config, codec: Codec) -> dict[str, DeadLetterState]:
    """Every dead letter as it stands now, by id.

    Raises:
        LogError: The broker cannot be reached.
        CodecError: A state was written by something newer than we are.
    """
    found: dict[str, DeadLetterState] = {}
    # All partitions: a dead letter may name no company (partition 0), or one that is no longer configured.
    for partition in partitions_of(config, STATES_TOPIC):
        for record in await scan(log, config.topic(STATES_TOPIC), partition):
            if record.value is not None:
                state = codec.decode(record.value, DeadLetterState)
                found[state.id] = state
            elif record.key is not None:
                found.pop(record.key.decode(errors="replace"), None)
    return found


def is_open(letter: DeadLetterState) -> bool:
    """Whether somebody or something still has to act."""
    return letter.state in OPEN_STATES


def as_json(letter: DeadLetterState) -> dict[str, Any]:
    """A dead letter as `streams dlq list --json` has it (contract section 6)."""
    return {name: _plain(getattr(letter, name)) for name in _JSON_FIELDS}


def view_of(record: Record, codec: Codec, *, personal: bool = False) -> Any:
    """A payload as JSON has it, with everything about people masked unless it is asked for.

    Of what cannot be read only the length is told.
    """
    value = record.value or b""
    show: Callable[[Any], Any] = _plain if personal else lambda payload: masked(_plain(payload))
    try:
        event = codec.decode(value, (*EVENT_TYPES.values(), StockBatch, EffectState))
        return show(json.loads(event.content) if isinstance(event, EffectState) else event)
    except CodecError:
        pass
    try:
        line = json.loads(value, parse_float=Decimal)
    except ValueError:
        line = None
    return show(line) if isinstance(line, dict) else f"{len(value)} bytes that are no event"


def is_personal(name: str) -> bool:
    """Whether a field of an event may say something about a person: all may that are not known to be harmless."""
    return name not in _NOT_PERSONAL


def masked(value: Any, key: str | None = None) -> Any:
    """The same shape, with every value whose key is not known to be harmless as `***`."""
    if isinstance(value, Mapping):
        return {
            str(name) if str(name) in _NOT_PERSONAL | _MASKED_INSIDE else escape(str(name), 40): masked(item, str(name))
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [masked(item, key) for item in value]
    return value if value is None or (key is not None and not is_personal(key)) else MASK


def _plain(value: Any) -> Any:
    """As JSON has it, without bytes."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items() if not isinstance(item, bytes)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return str(value)
    return value.isoformat() if isinstance(value, date) else value

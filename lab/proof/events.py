"""What went in: lines of files, and what tells one event from another."""

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

FLOWS = ("order_placed", "order_cancelled", "dispatch_confirmed", "refund_issued", "stock_adjusted", "unreadable")
_NUMBERS = frozenset(
    {"quantity", "unit_price", "discount", "tax_rate", "tax_amount", "amount", "tax_total", "grand_total", "total"}
    | {"delta", "level"}
)


def input_lines(inputs: Mapping[str, Sequence[Path]]) -> Iterator[tuple[str, bytes]]:
    for connector, paths in inputs.items():
        for path in paths:
            for line in path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"):
                if line.strip():
                    yield connector, line.strip()


def parsed(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line, parse_float=str, parse_int=str)
    except ValueError:
        return None
    return event if isinstance(event, dict) and event.get("type") in FLOWS[:-1] else None


def identity_of(connector: str, event: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    """What tells an event from every other one, and the id by which dead letters name it."""
    flow = event["type"]
    match flow:
        case "order_placed":
            own = str(event["order_id"])
        case "dispatch_confirmed":
            own = str(event["shipment_id"])
        case "refund_issued":
            own = str(event["refund_id"])
        case "stock_adjusted":
            return (flow, connector, event["event_id"], event["sku"], event["location"]), str(event["event_id"])
        case _:
            own = str(event["event_id"])
    return (flow, connector, own), own


def canonical(value: Any, name: str = "") -> Any:
    """Equal for equal content: 1.5 is 1.50, null is absent, the order of keys and the event's id do not matter."""
    if isinstance(value, dict):
        return {
            name: canonical(member, name)
            for name, member in sorted(value.items())
            if member is not None and name not in ("event_id", "observed_at")
        }
    if isinstance(value, list):
        return [canonical(member) for member in value]
    return Decimal(value).normalize() if name in _NUMBERS and isinstance(value, str) else value

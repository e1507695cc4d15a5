"""By what a fulfilment is known as ours. Pure.

Shopify lets nobody write a number of his own into a fulfilment. So before a shipment is reported, it is entered into a
metafield of its order: its tracking numbers and its lines. A fulfilment is then ours when all its numbers are of an
entry and its units fit into what that entry has left. Each fulfilment is taken by one entry only: of two shipments that
look alike, two fulfilments are made.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

#: Of fulfilments that send nothing.
_VOID = frozenset({"CANCELLED", "ERROR", "FAILURE"})


@dataclass(frozen=True, slots=True)
class ShipmentMark:
    """What the metafield has of one shipment.

    Attributes:
        tracking_numbers: All that it ever had.
        lines: Units by the order line's id.
        at: When it was last about to be reported, aware.
    """

    tracking_numbers: tuple[str, ...]
    lines: Mapping[str, int]
    at: datetime


@dataclass(frozen=True, slots=True)
class MadeFulfillment:
    """A fulfilment as it stands, as far as marks go; `id` without its kind."""

    id: str
    status: str
    tracking_numbers: tuple[str, ...]
    lines: Mapping[str, int]


@dataclass(slots=True)
class Reported:
    """What has become of a shipment: its fulfilments, and the units by line that are in none."""

    fulfillments: list[MadeFulfillment] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)


def marks_of(text: str | None) -> dict[str, ShipmentMark]:
    """The metafield's value, by shipment; nothing where there is none.

    Raises:
        ValueError: It is none that we wrote.
    """
    if text is None:
        return {}
    try:
        return {
            str(shipment_id): ShipmentMark(
                tuple(map(str, each["tracking_numbers"])),
                {str(line): int(quantity) for line, quantity in each["lines"].items()},
                datetime.fromisoformat(each["at"]),
            )
            for shipment_id, each in json.loads(text).items()
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("not a mark of ours") from error


def text_of(marks: Mapping[str, ShipmentMark]) -> str:
    """The metafield's value."""
    rows = {
        shipment_id: {
            "tracking_numbers": list(each.tracking_numbers),
            "lines": dict(each.lines),
            "at": each.at.isoformat(),
        }
        for shipment_id, each in marks.items()
    }
    return json.dumps(rows, separators=(",", ":"))


def reported(marks: Mapping[str, ShipmentMark], fulfillments: Iterable[MadeFulfillment]) -> dict[str, Reported]:
    """Which fulfilments are whose, by shipment."""
    found = {shipment_id: Reported(left=dict(each.lines)) for shipment_id, each in marks.items()}
    for one in sorted(fulfillments, key=lambda each: (len(each.id), each.id)):
        if one.status in _VOID or not one.tracking_numbers or not one.lines:
            continue
        fitting = [
            its
            for shipment_id, its in found.items()
            if set(one.tracking_numbers) <= set(marks[shipment_id].tracking_numbers)
            and all(its.left.get(line, 0) >= quantity for line, quantity in one.lines.items())
        ]
        # Of two in one parcel the one that it is in full.
        its = next((each for each in fitting if each.left == dict(one.lines)), fitting[0] if fitting else None)
        if its is not None:
            its.fulfillments.append(one)
            its.left = {line: left for line, units in its.left.items() if (left := units - one.lines.get(line, 0))}
    return found

"""By what a fulfilment is known as ours. Pure.

Shopify lets nobody write a number of his own into a fulfilment. So before a shipment is reported, it is entered into a
metafield of its order: its tracking numbers and its lines; and afterwards the fulfilments that were made of it. Where
that second entry is missing, as after a crash, a fulfilment is taken for a shipment's when all its numbers are of its
entry and its units fit into what that has left. Each fulfilment is taken by one entry only: of two shipments that look
alike, two fulfilments are made.
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
        made: Ids of its fulfilments, as far as they are known.
    """

    tracking_numbers: tuple[str, ...]
    lines: Mapping[str, int]
    at: datetime
    made: tuple[str, ...] = ()


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
                tuple(map(str, each["made"])),
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
            "made": list(each.made),
        }
        for shipment_id, each in marks.items()
    }
    return json.dumps(rows, separators=(",", ":"))


def reported(marks: Mapping[str, ShipmentMark], fulfillments: Iterable[MadeFulfillment]) -> dict[str, Reported]:
    """Which fulfilments are whose, by shipment."""
    found = {shipment_id: Reported(left=dict(each.lines)) for shipment_id, each in marks.items()}
    known = {made: shipment_id for shipment_id, mark in marks.items() for made in mark.made}
    sending = [each for each in fulfillments if each.status not in _VOID and each.lines]
    # Those that are entered come first: what is left of a shipment is then known.
    for one in sorted(sending, key=lambda each: (each.id not in known, len(each.id), each.id)):
        shipment_id = known.get(one.id) or next(
            (
                name
                for name, its in found.items()
                if one.tracking_numbers
                and set(one.tracking_numbers) <= set(marks[name].tracking_numbers)
                and all(its.left.get(line, 0) >= quantity for line, quantity in one.lines.items())
            ),
            None,
        )
        if shipment_id is not None:
            its = found[shipment_id]
            its.fulfillments.append(one)
            its.left = {line: left for line, units in its.left.items() if (left := units - one.lines.get(line, 0)) > 0}
    return found

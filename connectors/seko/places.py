"""Where goods are: facilities, their location types, and the nightly stock of each. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from connectors.base.errors import RecordError
from connectors.seko import records
from connectors.seko.records import SekoMessage
from connectors.seko.settings import SekoSettings
from schemas.events import DispatchConfirmed, FactEvent, StockAdjusted


@dataclass(frozen=True, slots=True)
class NightlyStock:
    """The nightly stock of one part of a message: by sku and place, in units."""

    dc: str
    day: str  # the day at whose end it was so, ISO 8601
    levels: Mapping[tuple[str, str], Decimal]


def facility(dc: str | None, settings: SekoSettings) -> str:
    """The DC a message is of: its own, or the only one there is.

    Raises:
        RecordError: It names none.
    """
    if dc is not None:
        return dc
    if len(settings.dc_codes) == 1:
        return settings.dc_codes[0]
    raise RecordError("it names no DC, and there is not exactly one; set dcs, or let SEKO send the DCCode")


def place_of(dc: str, location_type: str, settings: SekoSettings) -> str | None:
    """Our name of the place that goods of a type are in; None: in no warehouse of B1's.

    Raises:
        RecordError: Nobody has said what that type is.
    """
    name = location_type.casefold()
    if name in (each.casefold() for each in settings.sellable_types):
        return dc
    own = next((each for each in settings.segregated_types if each.casefold() == name), None)
    if own is not None:
        return f"{dc}/{own}"
    if name in (each.casefold() for each in settings.held_types):
        return None
    raise RecordError(
        "its location type is in none of sellable_types, segregated_types and held_types; add it where it belongs"
    )


def needs_poll(message: SekoMessage, settings: SekoSettings) -> bool:
    """Whether only a poll can say which facility a pushed message is of.

    SEKO's field list of a dispatch has no DCCode. A poll asks one facility at a time, so that its answer needs none.
    """
    return (
        message.service == "dispatch"
        and bool(message.sequences)
        and len(settings.dc_codes) > 1
        and "dispatch" in settings.polled
        and not message.has((settings.spelling("dispatch", "dc", "dccode"), "dccode"))
    )


def stocks_of(found: records.SekoSummary, settings: SekoSettings) -> list[NightlyStock]:
    """By facility and day, what lies in each place; what is in no warehouse of B1's is left out.

    Raises:
        RecordError: A line names no DC where there are several.
    """
    by_night: dict[tuple[str, str], dict[tuple[str, str], Decimal]] = {}
    for line in found.lines:
        dc = facility(line.dc, settings)
        levels = by_night.setdefault((dc, line.day.isoformat()), {})
        for column, quantity in line.quantities.items():
            place = place_of(dc, settings.summary_columns[column] or settings.received_into, settings)
            if place is not None:
                levels[line.sku, place] = levels.get((line.sku, place), Decimal(0)) + quantity
    return [NightlyStock(dc, day, levels) for (dc, day), levels in by_night.items()]


def moves_of(event: FactEvent) -> list[tuple[str, str, Decimal]]:
    """Sku, place and units of what an event did to places."""
    match event:
        case DispatchConfirmed():
            return [(line.sku, event.location, -line.quantity) for line in event.lines]
        case StockAdjusted():
            there = [] if event.to_location is None else [(event.sku, event.to_location, -event.delta)]
            return [(event.sku, event.location, event.delta), *there]
        case _:
            return []

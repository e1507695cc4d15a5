"""A message to events. Pure.

One law holds for stock, so that pushes of several services never count a unit twice: goods are in location types of a
facility, every message moves them between types or in and out of the building, and a type belongs to the facility's
warehouse, to a warehouse of its own, or to none. A delta is what that does to a warehouse of B1's.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from connectors.base.errors import RecordError
from connectors.base.source import RefusedRecord
from connectors.base.validate import MAX_IDENTITY_CHARS, exactly, violation_of
from connectors.seko import records
from connectors.seko.records import Message, check
from connectors.seko.settings import SekoSettings
from schemas.events import (
    BatchQuantity,
    DispatchConfirmed,
    DispatchLine,
    FactEvent,
    OrderCancelled,
    StockAdjusted,
    digest_of,
    identity,
)

#: As much as B1 takes as a remark.
MAX_NOTE_CHARS = 254
_EVENT_TYPES = {"dispatch": "dispatch_confirmed", "": None}


@dataclass(frozen=True, slots=True)
class Voice:
    """In whose name events are made, and when they were seen; aware UTC."""

    source: str
    company: str
    settings: SekoSettings
    observed_at: datetime


@dataclass(frozen=True, slots=True)
class Stock:
    """The nightly stock of one part of a message: by sku and place, in units."""

    dc: str
    day: str  # the day at whose end it was so, ISO 8601
    levels: Mapping[tuple[str, str], Decimal]


def translate(message: Message, voice: Voice) -> tuple[FactEvent | RefusedRecord, ...]:
    """What a message tells: facts, or the one letter that it becomes; nothing where it concerns no stock of B1's."""
    try:
        return _translate(message, voice)
    except RecordError as error:
        return (refused(message, str(error)),)


@exactly
def _translate(message: Message, voice: Voice) -> tuple[FactEvent, ...]:
    if message.service == "silent":
        return ()
    if not message.service:
        raise RecordError("the message is of no service that we know; switch it off in iHub, or report it")
    columns = tuple(voice.settings.summary_columns)
    found = check(message, voice.settings.fields, columns)
    ours = voice.settings.integration_id
    if ours and found.integration_id is not None and found.integration_id != ours:
        raise RecordError("the message is another client's, by its IntegrationId; mend integration_id, or tell SEKO")
    events: Sequence[FactEvent]
    match found:
        case records.Dispatch():
            events = _dispatch(found, voice)
        case records.Receipt():
            events = _receipt(found, voice)
        case records.Adjustment():
            events = _adjustment(found, message, voice)
        case records.Movement():
            events = _movement(found, message, voice)
        case records.Summary():
            stocks_of(found, voice.settings)
            events = ()
    fault = next((wrong for each in events if (wrong := violation_of(each)) is not None), None)
    if fault is not None:
        raise RecordError(f"{fault}; mend it at SEKO, or edit and replay")
    if len({(type(each), identity(each)) for each in events}) < len(events):
        raise RecordError("two of its lines have the same identity; send lines with their own LineInternalId")
    return tuple(replace(each, digest=digest_of(each)) for each in events)


def refused(message: Message, error: str) -> RefusedRecord:
    """The letter of a message that cannot be taken; the same whichever way it came."""
    event_type = _EVENT_TYPES.get(message.service, "stock_adjusted")
    return RefusedRecord(
        event_type=event_type,
        reason="invalid_event" if event_type else "unreadable",
        error=error,
        value=message.raw,
        origin=f"seko {message.service or 'message'}",
        digest=message.digest,
        number=message.sequence or 0,
        event_id=message.find("dispatchid", "internalid", "deliverynumber"),
        order_id=message.find("salesordernumber") if message.service == "dispatch" else None,
        sku=message.find("productcode"),
    )


# ---- places


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


# ---- dispatches


def _dispatch(found: records.Dispatch, voice: Voice) -> list[FactEvent]:
    settings = voice.settings
    order_id = {
        "SalesOrderNumber": found.order_number,
        "SalesOrderReference": found.order_reference,
        "InterfaceRecordId": found.interface_record_id,
    }[settings.order_id]
    if order_id is None:
        raise RecordError(f"the dispatch has no {settings.order_id}, so that nobody knows its order; mend order_id")
    shipment_id = found.dispatch_id if settings.shipment_id == "DispatchId" else found.dispatch_number
    if shipment_id is None:
        raise RecordError(f"the dispatch has no {settings.shipment_id}; mend shipment_id")
    # One line per lot: what belongs to one line of the order is put together.
    groups: dict[tuple[str | None, str], list[records.DispatchLine]] = {}
    for line in found.lines:
        groups.setdefault((line.line_number, line.sku), []).append(line)
    lines = [
        DispatchLine(
            line_id=number if settings.line_ids == "line_number" else None,
            sku=sku,
            quantity=sum((each.quantity for each in group), Decimal(0)),
            batches=_batches(group),
            serials=_serials(group),
        )
        for (number, sku), group in groups.items()
    ]
    is_short = any(
        not line.quantity or any(each.ordered is not None and each.ordered > line.quantity for each in group)
        for line, group in zip(lines, groups.values(), strict=True)
    )
    lines = [line for line in lines if line.quantity]
    cancels = is_short and settings.short_dispatch == "cancel_rest"
    if not lines and not cancels:
        raise RecordError(
            "nothing of the order was dispatched, and SEKO has closed it; cancel or release it anew in B1"
        )
    events: list[FactEvent] = []
    if lines:
        events.append(
            DispatchConfirmed(
                source=voice.source,
                company=voice.company,
                event_id=shipment_id,
                occurred_at=found.occurred_at,
                observed_at=voice.observed_at,
                digest=b"",
                shipment_id=shipment_id,
                order_id=order_id,
                location=facility(found.dc, settings),
                carrier=found.carrier,
                service=found.service,
                tracking_numbers=found.tracking_numbers,
                lines=tuple(lines),
            )
        )
    if cancels:
        events.append(
            OrderCancelled(
                source=voice.source,
                company=voice.company,
                event_id=_id(shipment_id, "short"),
                occurred_at=found.occurred_at,
                observed_at=voice.observed_at,
                digest=b"",
                order_id=order_id,
                reason="short dispatch",
            )
        )
    return events


# ---- stock


def _receipt(found: records.Receipt, voice: Voice) -> list[FactEvent]:
    """Goods in: a delivery, or what a customer sent back. One line per lot, under the line of the announcement."""
    settings = voice.settings
    if settings.known_deliveries and re.fullmatch(settings.known_deliveries, found.delivery_number):
        return []
    kind = (found.receipt_type or "").casefold()
    is_return = found.is_return or found.rma is not None or kind == "return"
    into = settings.returned_into if is_return else settings.received_into
    place = place_of(facility(found.dc, settings), into, settings)
    if place is None:
        return []
    groups: dict[tuple[str | None, str, str | None], list[records.ReceiptLine]] = {}
    for line in found.lines:
        groups.setdefault((line.line_number, line.sku, line.lot), []).append(line)
    return [
        _stock(
            voice,
            _id("grn", found.delivery_number, number or "", lot or ""),
            max(each.occurred_at for each in group),
            group,
            place,
            1,
            "return" if is_return else "receipt",
            note=_note(found.rma or found.reference or found.delivery_number),
        )
        for (number, _, lot), group in groups.items()
        if any(each.quantity for each in group)
    ]


def _adjustment(found: records.Adjustment, message: Message, voice: Voice) -> list[FactEvent]:
    settings = voice.settings
    place = place_of(facility(found.dc, settings), found.location_type, settings)
    if place is None:
        return []
    reasons = {code.casefold(): reason for code, reason in settings.reasons.items()}
    number = _number_of(found.internal_id, message, settings)
    return [
        _stock(
            voice,
            _id("adj", number, *_line_of(line, line.line_id)),
            found.occurred_at,
            [line],
            place,
            found.direction,
            reasons.get((line.reason_code or "").casefold(), settings.default_reason),
            note=_note(line.reason_code, line.reason_description),
        )
        for line in found.lines
        if line.quantity
    ]


def _movement(found: records.Movement, message: Message, voice: Voice) -> list[FactEvent]:
    settings = voice.settings
    events: list[FactEvent] = []
    for line in found.lines:
        dc = facility(line.dc, settings)
        start, end = place_of(dc, line.from_type, settings), place_of(dc, line.to_type, settings)
        if start == end or not line.quantity:
            continue
        event_id = _id("mov", _number_of(line.internal_id, message, settings), *_line_of(line, line.line_id))
        note = _note(f"{line.from_type} > {line.to_type}")
        if start is None and end is not None:
            reason = _reason_of_arrival(line.from_type, settings)
            events.append(_stock(voice, event_id, line.occurred_at, [line], end, 1, reason, note=note))
        elif start is not None:
            reason = "transfer" if end is not None else _hold_reason(line.to_type, settings)
            events.append(_stock(voice, event_id, line.occurred_at, [line], start, -1, reason, to=end, note=note))
    return events


def _reason_of_arrival(from_type: str, settings: SekoSettings) -> str:
    """Goods that B1 did not have come into its warehouse: received, sent back, or held until now."""
    name = from_type.casefold()
    if name in ("returns", settings.returned_into.casefold()):
        return "return"
    return "receipt" if name == settings.received_into.casefold() else _hold_reason(from_type, settings)


def _hold_reason(location_type: str, settings: SekoSettings) -> str:
    named = {name.casefold(): reason for name, reason in settings.hold_reasons.items()}
    return named.get(location_type.casefold(), "other")


def _number_of(internal_id: str | None, message: Message, settings: SekoSettings) -> str:
    """What tells a message from all others of its service, also where it is polled instead of pushed."""
    if internal_id is not None:
        return internal_id
    if message.service in settings.polled:
        raise RecordError(
            "it has no InternalId, and polled it may lack its SequenceNumber, so that it could count twice; "
            f"name its id in fields, or empty paths.{message.service}"
        )
    if message.sequence is None:
        raise RecordError("it has neither InternalId nor SequenceNumber, so that nobody could tell a repeat; report it")
    return f"#{message.sequence}"


def _line_of(line: records.GoodsLine, line_id: str | None) -> tuple[str, ...]:
    return (line_id,) if line_id is not None else (line.line_number or "", line.lot or "")


def _stock(
    voice: Voice,
    event_id: str,
    occurred_at: datetime,
    lines: Sequence[records.ReceiptLine | records.AdjustmentLine | records.MovementLine],
    place: str,
    sign: int,
    reason: str,
    *,
    note: str | None,
    to: str | None = None,
) -> StockAdjusted:
    return StockAdjusted(
        source=voice.source,
        company=voice.company,
        event_id=event_id,
        occurred_at=occurred_at,
        observed_at=voice.observed_at,
        digest=b"",
        sku=lines[0].sku,
        location=place,
        delta=sign * sum((each.quantity for each in lines), Decimal(0)),
        reason=reason,
        to_location=to,
        batches=_batches(lines),
        serials=_serials(lines),
        note=note,
    )


def _batches(
    lines: Iterable[records.DispatchLine | records.ReceiptLine | records.AdjustmentLine | records.MovementLine],
) -> tuple[BatchQuantity, ...]:
    found: dict[str, BatchQuantity] = {}
    for line in lines:
        if line.lot is not None and line.quantity:
            before = found.get(line.lot)
            found[line.lot] = BatchQuantity(
                number=line.lot,
                quantity=line.quantity + (before.quantity if before else 0),
                expires_on=line.expires_on or (before.expires_on if before else None),
            )
    return tuple(found.values())


def _serials(lines: Iterable[records.GoodsLine]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(serial for line in lines for serial in line.serials))


def _note(*parts: str | None) -> str | None:
    return " ".join(part for part in parts if part)[:MAX_NOTE_CHARS] or None


def _id(*parts: str) -> str:
    """An identity of its parts, that no other parts have."""
    text = ":".join(parts)
    if len(text) <= MAX_IDENTITY_CHARS and not any(":" in part for part in parts):
        return text
    return f"{parts[0][:20]}:{hashlib.sha256(repr(parts).encode()).hexdigest()[:40]}"


# ---- the nightly stock


def stocks_of(found: records.Summary, settings: SekoSettings) -> list[Stock]:
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
    return [Stock(dc, day, levels) for (dc, day), levels in by_night.items()]


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

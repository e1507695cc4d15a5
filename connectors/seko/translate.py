"""A message to events. Pure.

One rule holds for stock, so that pushes of several services never count a unit twice: goods are in location types of a
facility, every message moves them between types or in and out of the building, and a type belongs to the facility's
warehouse, to a warehouse of its own, or to none. A delta is what that does to a warehouse of B1's.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from connectors.base.context import EventContext, sealed
from connectors.base.errors import RecordError
from connectors.base.source import RefusedRecord
from connectors.base.validate import exactly
from connectors.seko import records
from connectors.seko.identities import id_of, ids_of, number_of
from connectors.seko.places import facility, place_of, stocks_of
from connectors.seko.records import SekoMessage, check
from connectors.seko.settings import SekoSettings
from schemas.events import (
    BatchQuantity,
    DispatchConfirmed,
    DispatchLine,
    FactEvent,
    OrderCancelled,
    StockAdjusted,
    identity,
)

#: As much as B1 takes as a remark.
MAX_NOTE_CHARS = 254
_EVENT_TYPES = {"dispatch": "dispatch_confirmed", "": None}


SekoContext = EventContext[SekoSettings]


def translate(message: SekoMessage, context: SekoContext) -> tuple[FactEvent | RefusedRecord, ...]:
    """The events of a message, or the one refused record that it becomes.

    Nothing where it concerns no stock of B1's.
    """
    try:
        return _translate(message, context)
    except RecordError as error:
        return (refused(message, str(error)),)


@exactly
def _translate(message: SekoMessage, context: SekoContext) -> tuple[FactEvent, ...]:
    if message.service == "silent":
        return ()
    if not message.service:
        raise RecordError("the message is of no service that we know; switch it off in iHub, or report it")
    columns = tuple(context.settings.summary_columns)
    found = check(message, context.settings.fields, columns)
    ours = context.settings.integration_id
    if ours and found.integration_id is not None and found.integration_id != ours:
        raise RecordError("the message is another client's, by its IntegrationId; fix integration_id, or tell SEKO")
    events: Sequence[FactEvent]
    match found:
        case records.SekoDispatch():
            events = _dispatch(found, context)
        case records.SekoReceipt():
            events = _receipt(found, context)
        case records.SekoAdjustment():
            events = _adjustment(found, message, context)
        case records.SekoMovement():
            events = _movement(found, message, context)
        case records.SekoSummary():
            stocks_of(found, context.settings)
            events = ()
    if len({(type(each), identity(each)) for each in events}) < len(events):
        raise RecordError("two of its lines have the same identity; send lines with their own LineInternalId")
    return tuple(sealed(each, "fix it at SEKO, or edit and replay") for each in events)


def refused(message: SekoMessage, error: str) -> RefusedRecord:
    """The refused record of a message that cannot be taken; the same whichever way it came."""
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


# ---- dispatches


def _dispatch(found: records.SekoDispatch, context: SekoContext) -> list[FactEvent]:
    settings = context.settings
    order_id = {
        "SalesOrderNumber": found.order_number,
        "SalesOrderReference": found.order_reference,
        "InterfaceRecordId": found.interface_record_id,
    }[settings.order_field]
    if order_id is None:
        raise RecordError(f"the dispatch has no {settings.order_field}, so that nobody knows its order; fix order_id")
    shipment_id = found.dispatch_id if settings.shipment_id == "DispatchId" else found.dispatch_number
    if shipment_id is None:
        raise RecordError(f"the dispatch has no {settings.shipment_id}; fix shipment_id")
    # One line per lot: what belongs to one line of the order is put together.
    groups: dict[tuple[str | None, str], list[records.SekoDispatchLine]] = {}
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
                **context.header(shipment_id, found.occurred_at),
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
                **context.header(id_of(shipment_id, "short"), found.occurred_at),
                order_id=order_id,
                reason="short dispatch",
            )
        )
    return events


# ---- stock


def _receipt(found: records.SekoReceipt, context: SekoContext) -> list[FactEvent]:
    """Goods in: a delivery, or what a customer sent back. One line per lot, under the line of the announcement."""
    settings = context.settings
    if settings.known_deliveries and re.fullmatch(settings.known_deliveries, found.delivery_number):
        return []
    kind = (found.receipt_type or "").casefold()
    is_return = found.is_return or found.rma is not None or kind == "return"
    into = settings.returned_into if is_return else settings.received_into
    place = place_of(facility(found.dc, settings), into, settings)
    if place is None:
        return []
    groups: dict[tuple[str | None, str, str | None], list[records.SekoReceiptLine]] = {}
    for line in found.lines:
        groups.setdefault((line.line_number, line.sku, line.lot), []).append(line)
    ids = ids_of([(("grn", found.delivery_number, number or "", lot or ""), (sku,)) for number, sku, lot in groups])
    return [
        _stock(
            context,
            event_id,
            max(each.occurred_at for each in group),
            group,
            place,
            1,
            "return" if is_return else "receipt",
            note=_note(found.rma or found.reference or found.delivery_number),
        )
        for event_id, group in zip(ids, groups.values(), strict=True)
        if any(each.quantity for each in group)
    ]


def _adjustment(found: records.SekoAdjustment, message: SekoMessage, context: SekoContext) -> list[FactEvent]:
    settings = context.settings
    place = place_of(facility(found.dc, settings), found.location_type, settings)
    if place is None:
        return []
    reasons = {code.casefold(): reason for code, reason in settings.reasons.items()}
    number = number_of(found.internal_id, found.sequence, message)
    ids = ids_of([(("adj", number, *_line_of(line, line.line_id)), (line.sku,)) for line in found.lines])
    return [
        _stock(
            context,
            event_id,
            found.occurred_at,
            [line],
            place,
            found.direction,
            reasons.get((line.reason_code or "").casefold(), settings.default_reason),
            note=_note(line.reason_code, line.reason_description),
        )
        for event_id, line in zip(ids, found.lines, strict=True)
        if line.quantity
    ]


def _movement(found: records.SekoMovement, message: SekoMessage, context: SekoContext) -> list[FactEvent]:
    settings = context.settings
    # Lines that differ in nothing but their quantity are one.
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[records.SekoMovementLine]] = {}
    for line in found.lines:
        number = number_of(line.internal_id, line.sequence, message)
        parts = ("mov", number, *_line_of(line, line.line_id))
        groups.setdefault((parts, (line.sku, line.from_type, line.to_type, line.dc or "")), []).append(line)
    events: list[FactEvent] = []
    for event_id, group in zip(ids_of(list(groups)), groups.values(), strict=True):
        line = group[0]
        dc = facility(line.dc, settings)
        start, end = place_of(dc, line.from_type, settings), place_of(dc, line.to_type, settings)
        if start == end or not any(each.quantity for each in group):
            continue
        note, occurred_at = _note(f"{line.from_type} > {line.to_type}"), max(each.occurred_at for each in group)
        if start is None and end is not None:
            reason = _reason_of_arrival(line.from_type, settings)
            events.append(_stock(context, event_id, occurred_at, group, end, 1, reason, note=note))
        elif start is not None:
            reason = "transfer" if end is not None else _hold_reason(line.to_type, settings)
            events.append(_stock(context, event_id, occurred_at, group, start, -1, reason, to=end, note=note))
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


def _line_of(line: records.SekoGoodsLine, line_id: str | None) -> tuple[str, ...]:
    return (line_id,) if line_id is not None else (line.line_number or "", line.lot or "")


def _stock(
    context: SekoContext,
    event_id: str,
    occurred_at: datetime,
    lines: Sequence[records.SekoReceiptLine | records.SekoAdjustmentLine | records.SekoMovementLine],
    place: str,
    sign: int,
    reason: str,
    *,
    note: str | None,
    to: str | None = None,
) -> StockAdjusted:
    return StockAdjusted(
        **context.header(event_id, occurred_at),
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
    lines: Iterable[
        records.SekoDispatchLine | records.SekoReceiptLine | records.SekoAdjustmentLine | records.SekoMovementLine
    ],
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


def _serials(lines: Iterable[records.SekoGoodsLine]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(serial for line in lines for serial in line.serials))


def _note(*parts: str | None) -> str | None:
    return " ".join(part for part in parts if part)[:MAX_NOTE_CHARS] or None

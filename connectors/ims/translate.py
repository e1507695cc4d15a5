"""A checked record to an event, in the source's own names. Pure."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from connectors.base.context import EventContext
from connectors.base.source import StockLevel
from connectors.ims import records
from schemas.events import (
    Address,
    Adjustment,
    BatchQuantity,
    CancelledLine,
    Customer,
    DispatchConfirmed,
    DispatchLine,
    FactEvent,
    OrderCancelled,
    OrderLine,
    OrderPlaced,
    Payment,
    RefundIssued,
    RefundLine,
    RefundShipping,
    Shipping,
    StockAdjusted,
    digest_of,
)

#: As much as B1 takes as a remark; a level's deltas are kept beside its record, which has to stay small.
MAX_NOTE_CHARS = 254

_PARTS: dict[type[BaseModel], Callable[..., object]] = {
    records.AddressRecord: Address,
    records.CustomerRecord: Customer,
    records.OrderLineRecord: OrderLine,
    records.ShippingRecord: Shipping,
    records.PaymentRecord: Payment,
    records.BatchRecord: BatchQuantity,
    records.CancelledLineRecord: CancelledLine,
    records.DispatchLineRecord: DispatchLine,
    records.RefundLineRecord: RefundLine,
    records.RefundShippingRecord: RefundShipping,
    records.AdjustmentRecord: Adjustment,
}


def translate(record: records.EventRecord, context: EventContext[Any]) -> FactEvent | StockLevel:
    """Make the event of a record.

    `event_id` is the identity where a record of another identity does not give one; `order_number` the order id.

    Args:
        record: What `records.validate` returned.
        context: In whose name, and when it was read.
    """
    values = _values(record)
    values |= {"source": context.source, "company": context.company, "observed_at": context.observed_at, "digest": b""}
    event: FactEvent
    match record:
        case records.OrderPlacedRecord():
            values["event_id"] = record.event_id or record.order_id
            values["order_number"] = record.order_number or record.order_id
            event = OrderPlaced(**values)
        case records.OrderCancelledRecord():
            event = OrderCancelled(**values)
        case records.DispatchConfirmedRecord():
            values["event_id"] = record.event_id or record.shipment_id
            event = DispatchConfirmed(**values)
        case records.RefundIssuedRecord():
            values["event_id"] = record.event_id or record.refund_id
            event = RefundIssued(**values)
        case records.StockAdjustedRecord():
            if record.level is not None and record.sequence is not None:
                return StockLevel(
                    source=context.source,
                    company=context.company,
                    event_id=record.event_id,
                    occurred_at=record.occurred_at,
                    observed_at=context.observed_at,
                    sku=record.sku,
                    location=record.location,
                    level=record.level,
                    sequence=record.sequence,
                    reason=record.reason,
                    note=record.note[:MAX_NOTE_CHARS] if record.note is not None else None,
                )
            del values["level"], values["sequence"]
            event = StockAdjusted(**values)
        case _:
            raise TypeError(f"no event is made of a {type(record).__name__}")
    return replace(event, digest=digest_of(event))


def _values(record: BaseModel) -> dict[str, Any]:
    return {name: _plain(value) for name, value in record}


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return _PARTS[type(value)](**_values(value))
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    return value

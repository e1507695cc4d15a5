"""One record of a file, checked field by field. Nothing of its values gets into a message."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from connectors.base.errors import RecordError
from connectors.base.validate import MAX_AHEAD
from connectors.base.values import VendorRecord, invalid, or_none
from connectors.base.values import validate as base_validate
from connectors.ims.errors import LineError
from connectors.ims.values import (
    Amount,
    Currency,
    Flag,
    Identity,
    Moment,
    OptionalAmount,
    OptionalCountry,
    OptionalIdentity,
    OptionalSigned,
    OptionalText,
    Quantity,
    Signed,
    Text,
    a_day,
    a_delta,
    a_flag,
    a_level,
    a_sequence,
    matching,
)
from schemas.events import STOCK_REASONS

_NoneIsEmpty = BeforeValidator(lambda value: () if value is None else value)


class AddressRecord(VendorRecord):
    name: OptionalText = None
    company: OptionalText = None
    street: OptionalText = None
    street2: OptionalText = None
    city: OptionalText = None
    postcode: OptionalText = None
    region: OptionalText = None
    country: OptionalCountry = None
    phone: OptionalText = None


class CustomerRecord(VendorRecord):
    id: OptionalIdentity = None
    email: OptionalText = None
    name: OptionalText = None
    guest: Annotated[bool, PlainValidator(lambda value: False if value is None else a_flag(value))] = False


class OrderLineRecord(VendorRecord):
    line_id: Identity
    sku: Identity
    name: OptionalText = None
    quantity: Quantity
    unit_price: Amount
    discount: OptionalAmount = None
    tax_code: OptionalText = None
    tax_rate: OptionalSigned = None
    tax_amount: OptionalSigned = None
    location: OptionalIdentity = None


class ShippingRecord(VendorRecord):
    method: OptionalText = None
    carrier: OptionalText = None
    amount: Amount
    tax_code: OptionalText = None
    tax_amount: OptionalSigned = None


class PaymentRecord(VendorRecord):
    method: Text
    amount: Signed
    reference: OptionalText = None


class BatchRecord(VendorRecord):
    number: Identity
    quantity: Quantity
    expires_on: Annotated[date | None, or_none(a_day)] = None


Batches = Annotated[tuple[BatchRecord, ...], _NoneIsEmpty]
Identities = Annotated[tuple[Identity, ...], _NoneIsEmpty]


class CancelledLineRecord(VendorRecord):
    line_id: Identity
    quantity: Quantity


class DispatchLineRecord(VendorRecord):
    line_id: OptionalIdentity = None
    sku: Identity
    quantity: Quantity
    batches: Batches = ()
    serials: Identities = ()


class RefundLineRecord(VendorRecord):
    line_id: OptionalIdentity = None
    sku: Identity
    quantity: Quantity
    amount: Amount
    tax_code: OptionalText = None
    tax_amount: OptionalSigned = None
    restock: Flag
    location: OptionalIdentity = None
    batches: Batches = ()
    serials: Identities = ()


class RefundShippingRecord(VendorRecord):
    amount: Amount
    tax_amount: OptionalSigned = None


class AdjustmentRecord(VendorRecord):
    amount: Signed
    tax_code: OptionalText = None
    tax_amount: OptionalSigned = None


class EventRecord(VendorRecord):
    """What every record has."""

    event_id: OptionalIdentity = None
    occurred_at: Moment


class OrderPlacedRecord(EventRecord):
    order_id: Identity
    order_number: OptionalText = None
    channel: OptionalText = None
    state: OptionalText = None
    currency: Currency
    customer: CustomerRecord | None = None
    ship_to: AddressRecord | None = None
    bill_to: AddressRecord | None = None
    lines: tuple[OrderLineRecord, ...] = Field(min_length=1)
    shipping: ShippingRecord | None = None
    tax_total: OptionalSigned = None
    grand_total: OptionalSigned = None
    payment: PaymentRecord | None = None
    note: OptionalText = None

    @model_validator(mode="after")
    def _lines_differ(self) -> Self:
        if len({line.line_id for line in self.lines}) < len(self.lines):
            raise invalid("two lines have the same line_id; give each line of an order its own")
        return self


class OrderCancelledRecord(EventRecord):
    event_id: Identity
    order_id: Identity
    reason: OptionalText = None
    lines: Annotated[tuple[CancelledLineRecord, ...], Field(min_length=1)] | None = None


class DispatchConfirmedRecord(EventRecord):
    shipment_id: Identity
    order_id: Identity
    location: Identity
    carrier: OptionalText = None
    service: OptionalText = None
    tracking_numbers: Annotated[tuple[Text, ...], _NoneIsEmpty] = ()
    lines: tuple[DispatchLineRecord, ...] = Field(min_length=1)


class RefundIssuedRecord(EventRecord):
    refund_id: Identity
    order_id: OptionalIdentity = None
    currency: Currency
    lines: Annotated[tuple[RefundLineRecord, ...], _NoneIsEmpty] = ()
    shipping: RefundShippingRecord | None = None
    adjustment: AdjustmentRecord | None = None
    total: OptionalSigned = None
    reason: OptionalText = None

    @model_validator(mode="after")
    def _refunds_something(self) -> Self:
        if not self.lines and self.shipping is None and self.adjustment is None:
            raise invalid("has neither lines nor shipping nor adjustment; say what the money was given back for")
        return self


class StockAdjustedRecord(EventRecord):
    """A movement (`delta`) or a level (`level` and `sequence`)."""

    event_id: Identity
    sku: Identity
    location: Identity
    delta: Annotated[Decimal | None, or_none(a_delta)] = None
    level: Annotated[Decimal | None, or_none(a_level)] = None
    sequence: Annotated[int | None, or_none(a_sequence)] = None
    reason: Annotated[
        str, PlainValidator(matching("|".join(STOCK_REASONS), f"must be one of: {', '.join(STOCK_REASONS)}"))
    ]
    to_location: OptionalIdentity = None
    batches: Batches = ()
    serials: Identities = ()
    note: OptionalText = None

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if (self.delta is None) == (self.level is None):
            raise invalid("needs either delta, or level and sequence; write one of them")
        if self.level is not None:
            if self.sequence is None:
                raise invalid("has a level without sequence; send the sequence, so that a stale level is known")
            if self.batches or self.serials:
                raise invalid("has a level with batches or serials; report movements of traced items as delta")
        if self.reason == "transfer":
            if self.delta is None or self.delta > 0:
                raise invalid("is a transfer without a delta below 0; location loses the goods, to_location gains them")
            if self.to_location is None or self.to_location == self.location:
                raise invalid("is a transfer without another to_location; name where the goods went")
        elif self.to_location is not None:
            raise invalid('has a to_location without reason "transfer"; take it out, or write that reason')
        return self


RECORDS: Mapping[str, type[EventRecord]] = {
    "order_placed": OrderPlacedRecord,
    "order_cancelled": OrderCancelledRecord,
    "dispatch_confirmed": DispatchConfirmedRecord,
    "refund_issued": RefundIssuedRecord,
    "stock_adjusted": StockAdjustedRecord,
}


def validate(event_type: str, fields: Mapping[str, object], now: datetime) -> EventRecord:
    """Check the fields of a record.

    Args:
        event_type: One of `EVENT_TYPES`.
        fields: As `json_lines.parse` gives them, or in the same form.
        now: Aware.

    Raises:
        LineError: With every problem of the record, up to five.
    """
    try:
        record = base_validate(RECORDS[event_type], fields, "Fix it at the source and replay")
    except RecordError as error:
        raise LineError("invalid_event", str(error), event_type, fields) from None
    if record.occurred_at > now + MAX_AHEAD:
        raise LineError(
            "invalid_event",
            "occurred_at is more than a day ahead of our clock; fix the source's clock or time zone, and replay",
            event_type,
            fields,
        )
    return record

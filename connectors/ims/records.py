"""The door: one line as the file has it, checked field by field. Nothing of a line's values gets into a message."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from schemas.events import EVENT_TYPES, STOCK_REASONS

MAX_IDENTITY_CHARS = 100
MAX_DEPTH = 32
#: A vendor's clock may be wrong, and a day in another time zone may have begun; more than that is a typing error.
MAX_AHEAD = timedelta(days=1)
#: decimal(19,6): 13 digits before the point, 6 after it.
_MAX = Decimal(10) ** 13
_STEP = Decimal("0.000001")
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?")
_WHOLE = re.compile(r"[0-9]{1,40}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class LineError(Exception):
    """A line cannot become an event.

    Attributes:
        reason: `unreadable`: not JSON, or no known type; `invalid_event`: anything else.
        event_type: None: unknown.
        fields: What could be read of it.
    """

    def __init__(
        self, reason: str, message: str, event_type: str | None = None, fields: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.event_type = event_type
        self.fields = fields or {}


class Number(str):
    """A JSON number as its exact text."""

    __slots__ = ()


class _Object(dict[str, object]):
    """A JSON object that remembers which keys it was given twice."""

    __slots__ = ("twice",)

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.twice: frozenset[str] = frozenset()
        if len(self) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            self.twice = frozenset(key for key, count in counts.items() if count > 1)


def _no_constant(_text: str) -> object:
    raise ValueError("NaN and Infinity are not JSON")


def parse(line: bytes) -> tuple[str, Mapping[str, object]]:
    """Read one line of JSON: its event type and all its fields.

    Raises:
        LineError: It is not JSON, has no known type, or says something twice.
    """
    try:
        found = json.loads(
            line.decode("utf-8"),
            parse_float=Number,
            parse_int=Number,
            parse_constant=_no_constant,
            object_pairs_hook=_Object,
        )
    except UnicodeDecodeError:
        raise LineError("unreadable", "the line is not UTF-8; write the file in UTF-8") from None
    except json.JSONDecodeError as error:
        # Only the parser's own words and the column: what stands there may be personal data.
        raise LineError(
            "unreadable", f"the line is not JSON ({error.msg} at column {error.colno}); mend the line at the source"
        ) from None
    except (ValueError, RecursionError):
        raise LineError(
            "unreadable", "the line is not JSON (NaN, Infinity, or nested too deeply); mend the line at the source"
        ) from None
    if not isinstance(found, _Object):
        raise LineError("unreadable", "the line is not a JSON object; write one event per line, as {...}")
    event_type = found.get("type")
    if not isinstance(event_type, str) or event_type not in EVENT_TYPES or "type" in found.twice:
        known = ", ".join(EVENT_TYPES)
        raise LineError("unreadable", f"type is missing or unknown; write one of: {known}", fields=found)
    _check_shape(found, event_type, found)
    return event_type, found


def _check_shape(value: object, event_type: str, fields: Mapping[str, object]) -> None:
    """No key twice, no nesting beyond what an event can have, without recursion of our own."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for each in level:
            if isinstance(each, _Object):
                if each.twice:
                    raise LineError(
                        "invalid_event",
                        "an object has the same key twice; write each key once, so that it is clear what holds",
                        event_type,
                        fields,
                    )
                inner.extend(item for item in each.values() if isinstance(item, dict | list))
            elif isinstance(each, list):
                inner.extend(item for item in each if isinstance(item, dict | list))
        if not inner:
            return
        level = inner
    raise LineError("invalid_event", f"the line is nested more than {MAX_DEPTH} deep; flatten it", event_type, fields)


# ---- single values


def _fail(message: str) -> PydanticCustomError:
    return PydanticCustomError("value", "{message}", {"message": message})


def _a_text(value: object) -> str:
    if value is None:
        raise _fail("is missing")
    if not isinstance(value, str):
        raise _fail("must be a text")
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _fail("has half of a surrogate pair; write whole characters") from None
    return text


def _an_identity(value: object) -> str:
    text = _a_text(value)
    if not text.strip():
        raise _fail("must not be empty")
    if len(text) > MAX_IDENTITY_CHARS:
        raise _fail(f"has more than {MAX_IDENTITY_CHARS} characters; use a shorter identity")
    if any(unicodedata.category(each) == "Cc" for each in text):
        raise _fail("has a control character; take it out")
    return text


def _matching(pattern: str, what: str) -> Callable[[object], str]:
    compiled = re.compile(pattern)

    def check(value: object) -> str:
        text = _a_text(value)
        if not compiled.fullmatch(text):
            raise _fail(what)
        return text

    return check


def _a_decimal(value: object) -> Decimal:
    if value is None:
        raise _fail("is missing")
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise _fail('must be a decimal, as "12.50"')
    number = Decimal(str(value))
    if abs(number) >= _MAX:
        raise _fail("has more than 13 digits before the point")
    exact = number.quantize(_STEP)
    if exact != number:
        raise _fail("has more than 6 digits after the point")
    return exact


def _above_zero(value: object) -> Decimal:
    number = _a_decimal(value)
    if number <= 0:
        raise _fail("must be above 0")
    return number


def _not_below_zero(value: object) -> Decimal:
    number = _a_decimal(value)
    if number < 0:
        raise _fail("must not be below 0")
    return number


def _not_zero(value: object) -> Decimal:
    number = _a_decimal(value)
    if number == 0:
        raise _fail("must not be 0")
    return number


def _a_level(value: object) -> Decimal:
    number = _a_decimal(value)
    # The difference of two levels must be a decimal(19,6) too.
    if abs(number) * 2 >= _MAX:
        raise _fail("is too large for a level of stock")
    return number


def _a_sequence(value: object) -> int:
    if value is None:
        raise _fail("is missing")
    if not isinstance(value, str) or not _WHOLE.fullmatch(value):
        raise _fail("must be a whole number that grows with every report of this sku and location")
    return int(value)


def _a_moment(value: object) -> datetime:
    text = _a_text(value)
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise _fail("has no offset from UTC; write it as 2026-11-21T09:30:00+00:00")
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        if isinstance(error, PydanticCustomError):
            raise
        raise _fail("must be an ISO 8601 time, as 2026-11-21T09:30:00+00:00") from None
    if moment.year < 1970:
        raise _fail("is before 1970; mend the source's clock")  # it has no date in every time zone
    return moment


def _a_day(value: object) -> date:
    text = _a_text(value)
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise _fail("must be a date, as 2026-11-21")


def _a_flag(value: object) -> bool:
    if value is None:
        raise _fail("is missing")
    if not isinstance(value, bool):
        raise _fail("must be true or false")
    return value


def _none_is_empty(value: object) -> object:
    return () if value is None else value


def _or_none(check: Callable[[object], Any]) -> PlainValidator:
    return PlainValidator(lambda value: None if value is None else check(value))


Identity = Annotated[str, PlainValidator(_an_identity)]
OptionalIdentity = Annotated[str | None, _or_none(_an_identity)]
Text = Annotated[str, PlainValidator(_a_text)]
OptionalText = Annotated[str | None, _or_none(_a_text)]
Amount = Annotated[Decimal, PlainValidator(_not_below_zero)]
OptionalAmount = Annotated[Decimal | None, _or_none(_not_below_zero)]
Signed = Annotated[Decimal, PlainValidator(_a_decimal)]
OptionalSigned = Annotated[Decimal | None, _or_none(_a_decimal)]
Quantity = Annotated[Decimal, PlainValidator(_above_zero)]
Moment = Annotated[datetime, PlainValidator(_a_moment)]
Flag = Annotated[bool, PlainValidator(_a_flag)]
Currency = Annotated[str, PlainValidator(_matching("[A-Z]{3}", "must be an ISO 4217 code, as GBP"))]
_country = _matching("[A-Z]{2}", "must be an ISO 3166-1 alpha-2 code, as GB")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class AddressRecord(_Record):
    name: OptionalText = None
    company: OptionalText = None
    street: OptionalText = None
    street2: OptionalText = None
    city: OptionalText = None
    postcode: OptionalText = None
    region: OptionalText = None
    country: Annotated[str | None, _or_none(_country)] = None
    phone: OptionalText = None


class CustomerRecord(_Record):
    id: OptionalIdentity = None
    email: OptionalText = None
    name: OptionalText = None
    guest: Annotated[bool, PlainValidator(lambda value: False if value is None else _a_flag(value))] = False


class OrderLineRecord(_Record):
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


class ShippingRecord(_Record):
    method: OptionalText = None
    carrier: OptionalText = None
    amount: Amount
    tax_code: OptionalText = None
    tax_amount: OptionalSigned = None


class PaymentRecord(_Record):
    method: Text
    amount: Signed
    reference: OptionalText = None


class BatchRecord(_Record):
    number: Identity
    quantity: Quantity
    expires_on: Annotated[date | None, _or_none(_a_day)] = None


Batches = Annotated[tuple[BatchRecord, ...], BeforeValidator(_none_is_empty)]
Identities = Annotated[tuple[Identity, ...], BeforeValidator(_none_is_empty)]


class CancelledLineRecord(_Record):
    line_id: Identity
    quantity: Quantity


class DispatchLineRecord(_Record):
    line_id: OptionalIdentity = None
    sku: Identity
    quantity: Quantity
    batches: Batches = ()
    serials: Identities = ()


class RefundLineRecord(_Record):
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


class RefundShippingRecord(_Record):
    amount: Amount
    tax_amount: OptionalSigned = None


class AdjustmentRecord(_Record):
    amount: Signed
    tax_code: OptionalText = None
    tax_amount: OptionalSigned = None


class EventRecord(_Record):
    """What every line has."""

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
            raise _fail("two lines have the same line_id; give each line of an order its own")
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
    tracking_numbers: Annotated[tuple[Text, ...], BeforeValidator(_none_is_empty)] = ()
    lines: tuple[DispatchLineRecord, ...] = Field(min_length=1)


class RefundIssuedRecord(EventRecord):
    refund_id: Identity
    order_id: OptionalIdentity = None
    currency: Currency
    lines: Annotated[tuple[RefundLineRecord, ...], BeforeValidator(_none_is_empty)] = ()
    shipping: RefundShippingRecord | None = None
    adjustment: AdjustmentRecord | None = None
    total: OptionalSigned = None
    reason: OptionalText = None

    @model_validator(mode="after")
    def _refunds_something(self) -> Self:
        if not self.lines and self.shipping is None and self.adjustment is None:
            raise _fail("has neither lines nor shipping nor adjustment; say what the money was given back for")
        return self


class StockAdjustedRecord(EventRecord):
    """A movement (`delta`) or a level (`level` and `sequence`)."""

    event_id: Identity
    sku: Identity
    location: Identity
    delta: Annotated[Decimal | None, _or_none(_not_zero)] = None
    level: Annotated[Decimal | None, _or_none(_a_level)] = None
    sequence: Annotated[int | None, _or_none(_a_sequence)] = None
    reason: Annotated[
        str, PlainValidator(_matching("|".join(STOCK_REASONS), f"must be one of: {', '.join(STOCK_REASONS)}"))
    ]
    to_location: OptionalIdentity = None
    batches: Batches = ()
    serials: Identities = ()
    note: OptionalText = None

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if (self.delta is None) == (self.level is None):
            raise _fail("needs either delta, or level and sequence; write one of them")
        if self.level is not None:
            if self.sequence is None:
                raise _fail("has a level without sequence; send the sequence, so that a stale level can be told")
            if self.batches or self.serials:
                raise _fail("has a level with batches or serials; report movements of traced items as delta")
        if self.reason == "transfer":
            if self.delta is None or self.delta > 0:
                raise _fail("is a transfer without a delta below 0; location loses the goods, to_location gains them")
            if self.to_location is None or self.to_location == self.location:
                raise _fail("is a transfer without another to_location; name where the goods went")
        elif self.to_location is not None:
            raise _fail('has a to_location without reason "transfer"; take it out, or write that reason')
        return self


RECORDS: Mapping[str, type[EventRecord]] = {
    "order_placed": OrderPlacedRecord,
    "order_cancelled": OrderCancelledRecord,
    "dispatch_confirmed": DispatchConfirmedRecord,
    "refund_issued": RefundIssuedRecord,
    "stock_adjusted": StockAdjustedRecord,
}


def validate(event_type: str, fields: Mapping[str, object], now: datetime) -> EventRecord:
    """Check the fields of a line.

    Args:
        event_type: One of `EVENT_TYPES`.
        fields: As `parse` gives them, or in the same form.
        now: Aware.

    Raises:
        LineError: With every fault of the line, up to five.
    """
    try:
        record = RECORDS[event_type].model_validate(fields)
    except ValidationError as error:
        faults = [_told(each) for each in error.errors(include_url=False, include_input=False, include_context=False)]
        more = f", and {len(faults) - 5} more" if len(faults) > 5 else ""
        text = "; ".join(faults[:5])
        raise LineError(
            "invalid_event", f"{text}{more}. Mend it at the source and replay", event_type, fields
        ) from None
    if record.occurred_at > now + MAX_AHEAD:
        raise LineError(
            "invalid_event",
            "occurred_at is more than a day ahead of our clock; mend the source's clock or time zone, and replay",
            event_type,
            fields,
        )
    return record


_WORDS = {
    "missing": "is missing",
    "too_short": "must not be empty",
    "tuple_type": "must be a list",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}


def _told(error: ErrorDetails) -> str:
    path = ""
    for part in error["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f"{'.' if path else ''}{part}"
    return f"{path or 'the event'} {_WORDS.get(error['type'], error['msg'])}"

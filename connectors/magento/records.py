"""The door: answers of the shop, row by row with their bytes, checked field by field. No value gets into a message."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import AliasPath, BeforeValidator, Field, PlainValidator, ValidationInfo, model_validator

from connectors.base.errors import RecordError
from connectors.base.json_numbers import exact, whole
from connectors.base.validate import MAX_AHEAD
from connectors.base.values import PLAIN, STEP, a_number, encodable, identity_of, invalid, matching, not_below_zero
from connectors.base.values import Record as _Record
from connectors.base.values import validate as check
from connectors.magento.settings import MagentoSettings

#: The shop keeps 4 digits after the point (decimal(20,4)); what looks like more is the noise of a PHP that prints floats
#: with 17 digits.
_SHOP_STEP = Decimal("0.0001")
_NOISE = Decimal("0.00000001")
_MAX_ID = 2**53
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")


# ---- answers


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a list: what it says, its bytes as the shop sent them, and a short hash of those."""

    found: object
    value: bytes

    @property
    def fields(self) -> Mapping[str, object]:
        return self.found if isinstance(self.found, dict) else {}

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.value).hexdigest()

    @property
    def mark(self) -> int:
        """32 bits that differ when the row says something else (but for one change in 4 billion)."""
        return int.from_bytes(hashlib.sha256(self.value).digest()[:4], "big")


@dataclass(frozen=True, slots=True)
class Listing:
    """A search's answer; `total` is how many rows there are on all pages, None where the shop does not say."""

    rows: tuple[Row, ...]
    total: int | None


_DECODER = json.JSONDecoder(parse_float=exact, parse_int=whole, parse_constant=str)
_SPACE = re.compile(r"[ \t\r\n]*")


def parse_listing(body: bytes) -> Listing:
    """Read a search's answer; each row keeps its own bytes.

    Raises:
        ValueError: It is not JSON, or not a list's answer.
    """
    text = body.decode("utf-8")
    total: int | None = None
    rows: tuple[Row, ...] = ()
    try:
        at = _expect(text, _skip(text, 0), "{")
        has_items = False
        while text[at : at + 1] != "}":
            key, at = _DECODER.raw_decode(text, at)
            at = _skip(text, _expect(text, _skip(text, at), ":"))
            if key == "items" and text[at : at + 1] == "[":
                rows, at = _rows(text, at)
                has_items = True
            else:
                found, at = _DECODER.raw_decode(text, at)
                has_items = has_items or key == "items"
                if key == "total_count" and isinstance(found, int):
                    total = found
            at = _next(text, at, "}")
        if _skip(text, at + 1) != len(text):
            raise ValueError("something follows the answer")
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not has_items and total is None:
        raise ValueError("neither items nor total_count")
    return Listing(rows, total)


def _rows(text: str, at: int) -> tuple[tuple[Row, ...], int]:
    rows: list[Row] = []
    at = _skip(text, at + 1)
    while text[at : at + 1] != "]":
        found, end = _DECODER.raw_decode(text, at)
        rows.append(Row(found, text[at:end].encode("utf-8")))
        at = _next(text, end, "]")
    return tuple(rows), at + 1


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _expect(text: str, at: int, mark: str) -> int:
    if text[at : at + 1] != mark:
        raise ValueError(f"expected {mark} at character {at}")
    return _skip(text, at + 1)


def _next(text: str, at: int, end: str) -> int:
    """Where the next member begins, or the end mark stands."""
    at = _skip(text, at)
    if text[at : at + 1] == end:
        return at
    after = _expect(text, at, ",")
    if text[after : after + 1] == end:
        raise ValueError(f"a comma before {end}")
    return after


# ---- single values


def an_id(value: object) -> int:
    if value is None:
        raise invalid("is missing")
    text = str(value) if isinstance(value, int | Decimal | str) and not isinstance(value, bool) else ""
    if not re.fullmatch("[0-9]{1,16}", text) or not 0 < int(text) <= _MAX_ID:
        raise invalid("must be a whole number above 0")
    return int(text)


def a_moment(value: object) -> datetime:
    """A time as the shop writes it: UTC, whole seconds, no mark."""
    if value is None:
        raise invalid("is missing")
    try:
        if isinstance(value, str) and _TIME.fullmatch(value):
            return datetime.strptime(value, TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        pass
    raise invalid("must be a time, as 2026-03-02 09:15:00")


def _a_text(value: object) -> str:
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise invalid("is missing" if value is None else "must be a text")
    return encodable(value)


def _an_identity(value: object) -> str:
    return identity_of(_a_text(value))


def _a_decimal(value: object) -> Decimal:
    number = a_number(value, form=PLAIN)
    kept = number.quantize(STEP, ROUND_HALF_EVEN)
    if kept != number:
        kept = number.quantize(_SHOP_STEP, ROUND_HALF_EVEN)
        if abs(kept - number) >= _NOISE:
            raise invalid("has more than 6 digits after the point")
    return kept


def _a_quantity(value: object) -> Decimal:
    return not_below_zero(_a_decimal(value))


def _or(check: Callable[[object], Any], default: object = None) -> PlainValidator:
    return PlainValidator(lambda value: default if value is None or value == "" else check(value))


def _an_approximate(value: object) -> Decimal:
    """A price or a percent, which no amount is computed of: digits that we cannot carry are rounded off."""
    return a_number(value, form=PLAIN).quantize(STEP, ROUND_HALF_EVEN)


def _a_flag(value: object) -> bool:
    return value is True or (isinstance(value, int | str) and str(value) == "1")


def _a_list(value: object) -> object:
    """The shop leaves empty lists out, or says null; PHP writes a list with holes as an object."""
    if value is None:
        return ()
    return tuple(value.values()) if isinstance(value, dict) else value


def _an_object(value: object) -> object:
    """PHP writes an empty object as an empty list."""
    return {} if value is None or value == [] else value


ZERO = Decimal(0)
Id = Annotated[int, PlainValidator(an_id)]
OptionalId = Annotated[int | None, _or(lambda value: None if str(value) == "0" else an_id(value))]
Moment = Annotated[datetime, PlainValidator(a_moment)]
Identity = Annotated[str, PlainValidator(_an_identity)]
Text = Annotated[str | None, _or(_a_text)]
Amount = Annotated[Decimal, _or(_a_decimal, ZERO)]
OptionalAmount = Annotated[Decimal | None, _or(_a_decimal)]
Approximate = Annotated[Decimal, _or(_an_approximate, ZERO)]
Needed = Annotated[Decimal, PlainValidator(_a_decimal)]
Quantity = Annotated[Decimal, PlainValidator(_a_quantity)]
OptionalQuantity = Annotated[Decimal, _or(_a_quantity, ZERO)]
Flag = Annotated[bool, PlainValidator(_a_flag)]
Currency = Annotated[str, PlainValidator(matching("[A-Z]{3}", "must be an ISO 4217 code, as GBP", _a_text))]
Country = Annotated[str | None, _or(matching("[A-Z]{2}", "must be an ISO 3166-1 alpha-2 code, as GB", _a_text))]


class _Money(_Record):
    """Amounts in the buyer's currency, or the `base_` ones beside them, as the settings say."""

    MONEY: ClassVar[tuple[str, ...]] = ()
    #: The one amount whose base column has a shortened name (sales_order, read 2026-11-21).
    _SHORT: ClassVar[Mapping[str, str]] = {
        "shipping_discount_tax_compensation_amount": "base_shipping_discount_tax_compensation_amnt"
    }

    @model_validator(mode="before")
    @classmethod
    def _in_currency(cls, fields: object, info: ValidationInfo) -> object:
        context = info.context or {}
        if not isinstance(fields, dict) or context.get("currency") != "base":
            return fields
        return fields | {name: fields.get(cls._SHORT.get(name, f"base_{name}")) for name in cls.MONEY}


class AddressRecord(_Record):
    firstname: Text = None
    lastname: Text = None
    company: Text = None
    street: Annotated[
        tuple[Text, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else _a_list(value))
    ] = ()
    city: Text = None
    postcode: Text = None
    region: Text = None
    country_id: Country = None
    telephone: Text = None


class PaymentRecord(_Record):
    method: Text = None
    po_number: Text = None


class AppliedTaxRecord(_Record):
    code: Text = None
    percent: Annotated[Decimal | None, _or(_an_approximate)] = None


class ItemTaxesRecord(_Record):
    """What taxed one row of an order, or its shipping (`type`)."""

    type: Text = None
    item_id: OptionalId = None
    applied_taxes: Annotated[tuple[AppliedTaxRecord, ...], BeforeValidator(_a_list)] = ()


class OrderItemRecord(_Money):
    MONEY = ("price", "row_total", "tax_amount", "discount_amount", "discount_tax_compensation_amount")

    item_id: Id
    parent_item_id: OptionalId = None
    product_type: Text = None
    is_virtual: Flag = False
    sku: Identity
    name: Text = None
    qty_ordered: Quantity
    qty_canceled: OptionalQuantity = ZERO
    price: Approximate = ZERO
    row_total: Amount = ZERO
    tax_percent: Annotated[Decimal | None, _or(_an_approximate)] = None
    tax_amount: Amount = ZERO
    discount_amount: Amount = ZERO
    discount_tax_compensation_amount: Amount = ZERO


class _Document(_Money):
    """What the totals of orders and credit memos have in common."""

    MONEY: ClassVar[tuple[str, ...]] = (
        "discount_amount",
        "discount_tax_compensation_amount",
        "shipping_amount",
        "shipping_incl_tax",
        "shipping_tax_amount",
        "shipping_discount_amount",
        "shipping_discount_tax_compensation_amount",
        "tax_amount",
        "grand_total",
    )

    entity_id: Id
    increment_id: Identity
    created_at: Moment
    order_currency_code: Currency
    base_currency_code: Currency
    discount_amount: Amount = ZERO
    discount_tax_compensation_amount: Amount = ZERO
    shipping_amount: Amount = ZERO
    shipping_incl_tax: OptionalAmount = None
    shipping_tax_amount: Amount = ZERO
    #: Credit memos do not have it: it is part of their discount_amount, and its compensation of theirs.
    shipping_discount_amount: OptionalAmount = None
    shipping_discount_tax_compensation_amount: Amount = ZERO
    tax_amount: Amount = ZERO
    grand_total: Needed
    #: What was paid by gift card, store credit or points: the grand total is lower by it.
    credited: Decimal = ZERO
    currency: str = ""

    @model_validator(mode="before")
    @classmethod
    def _with_credits(cls, fields: object, info: ValidationInfo) -> object:
        context = info.context or {}
        if not isinstance(fields, dict):
            return fields
        base = context.get("currency") == "base"
        extra = fields.get("extension_attributes")
        places = (extra if isinstance(extra, dict) else {}, fields)
        names = [f"base_{name}" if base else name for name in context.get("credits", ())]
        found = [next((place[name] for place in places if place.get(name) is not None), None) for name in names]
        return fields | {
            "credited": sum((_a_decimal(each) for each in found if each is not None), ZERO),
            "currency": fields.get("base_currency_code" if base else "order_currency_code"),
        }


class OrderRecord(_Document):
    """`GET /V1/orders`; the shipping address and method come with the first shipping assignment."""

    state: Identity
    store_id: Annotated[int | None, _or(lambda value: 0 if str(value) == "0" else an_id(value))] = None
    customer_id: OptionalId = None
    customer_is_guest: Flag = False
    customer_email: Text = None
    customer_firstname: Text = None
    customer_lastname: Text = None
    customer_note: Text = None
    billing_address: Annotated[AddressRecord | None, BeforeValidator(lambda value: value or None)] = None
    payment: Annotated[PaymentRecord | None, BeforeValidator(lambda value: value or None)] = None
    items: Annotated[tuple[OrderItemRecord, ...], BeforeValidator(_a_list)] = Field(min_length=1)
    shipping_assignments: Annotated[tuple["AssignmentRecord", ...], BeforeValidator(_a_list)] = Field(
        default=(), validation_alias=AliasPath("extension_attributes", "shipping_assignments")
    )
    item_applied_taxes: Annotated[tuple[ItemTaxesRecord, ...], BeforeValidator(_a_list)] = Field(
        default=(), validation_alias=AliasPath("extension_attributes", "item_applied_taxes")
    )

    @model_validator(mode="after")
    def _rows_differ(self) -> Self:
        if len({item.item_id for item in self.items}) < len(self.items):
            raise invalid("two items have the same item_id")
        return self

    @property
    def shipping(self) -> "ShippingRecord | None":
        return self.shipping_assignments[0].shipping if self.shipping_assignments else None


class ShippingRecord(_Record):
    method: Text = None
    address: Annotated[AddressRecord | None, BeforeValidator(lambda value: value or None)] = None


class AssignmentRecord(_Record):
    shipping: Annotated[ShippingRecord, BeforeValidator(_an_object)] = ShippingRecord()


class MovedItemRecord(_Record):
    """A row of a shipment or of an invoice."""

    order_item_id: Id
    qty: OptionalQuantity = ZERO


class TrackRecord(_Record):
    track_number: Text = None
    title: Text = None
    carrier_code: Text = None


class ShipmentRecord(_Record):
    entity_id: Id
    increment_id: Identity
    order_id: Id
    created_at: Moment
    items: Annotated[tuple[MovedItemRecord, ...], BeforeValidator(_a_list)] = Field(min_length=1)
    tracks: Annotated[tuple[TrackRecord, ...], BeforeValidator(_a_list)] = ()
    source_code: Annotated[str | None, _or(_an_identity)] = Field(
        default=None, validation_alias=AliasPath("extension_attributes", "source_code")
    )


class InvoiceRecord(_Record):
    """State 1 open, 2 paid, 3 cancelled."""

    entity_id: Id
    order_id: Id
    state: OptionalId = None
    created_at: Moment
    items: Annotated[tuple[MovedItemRecord, ...], BeforeValidator(_a_list)] = ()


class RefundedItemRecord(_Money):
    MONEY = ("row_total", "tax_amount", "discount_amount", "discount_tax_compensation_amount")

    order_item_id: Id
    qty: OptionalQuantity = ZERO
    row_total: Amount = ZERO
    tax_amount: Amount = ZERO
    discount_amount: Amount = ZERO
    discount_tax_compensation_amount: Amount = ZERO


class CreditmemoRecord(_Document):
    """`GET /V1/creditmemos`; state 1 open, 2 refunded, 3 cancelled."""

    MONEY = (*_Document.MONEY, "adjustment_positive", "adjustment_negative")

    order_id: Id
    state: OptionalId = None
    adjustment_positive: Amount = ZERO
    adjustment_negative: Amount = ZERO
    items: Annotated[tuple[RefundedItemRecord, ...], BeforeValidator(_a_list)] = ()

    @property
    def adjustment(self) -> Decimal:
        """Goodwill less fee."""
        return self.adjustment_positive - self.adjustment_negative


Record = OrderRecord | ShipmentRecord | InvoiceRecord | CreditmemoRecord
R = TypeVar("R", OrderRecord, ShipmentRecord, InvoiceRecord, CreditmemoRecord)


def validate(kind: type[R], row: Row, settings: MagentoSettings, now: datetime) -> R:
    """Check a row.

    Args:
        kind: What it is a row of.
        row: As it came.
        settings: Which currency, and which amounts are means of payment.
        now: Aware.

    Raises:
        RecordError: With every problem of the row, up to five.
    """
    if not isinstance(row.found, dict):
        raise RecordError("the row is not an object; see what answers at the shop's address")
    context = {"currency": settings.currency, "credits": settings.credits}
    record = check(kind, row.found, "Fix it in the shop, or edit and replay", context)
    if record.created_at > now + MAX_AHEAD:
        raise RecordError("created_at is more than a day ahead of our clock; fix the shop's clock, and replay")
    return record


def texts_of_comments(fields: Mapping[str, object]) -> Sequence[str]:
    """The comments of a shipment or credit memo."""
    comments = fields.get("comments")
    found = comments if isinstance(comments, list) else []
    return [text for each in found if isinstance(each, dict) and isinstance(text := each.get("comment"), str)]

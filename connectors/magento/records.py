"""The rows of the shop's lists, checked field by field. No value gets into a message."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import AliasPath, BeforeValidator, Field, PlainValidator, ValidationInfo, model_validator

from connectors.base.errors import RecordError
from connectors.base.validate import MAX_AHEAD
from connectors.base.values import PLAIN, STEP, a_number, encodable, identity_of, invalid, matching, not_below_zero
from connectors.base.values import VendorRecord as _Record
from connectors.base.values import validate as check
from connectors.magento.listing import ShopRow
from connectors.magento.settings import MagentoSettings

#: The shop keeps 4 digits after the point (decimal(20,4)); what looks like more is the noise of a PHP that prints
#: floats with 17 digits.
_SHOP_STEP = Decimal("0.0001")
_NOISE = Decimal("0.00000001")
_MAX_ID = 2**53
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")


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


class _InCurrency(_Record):
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


class ShopAddress(_Record):
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


class ShopPayment(_Record):
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


class OrderItemRecord(_InCurrency):
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


class _Document(_InCurrency):
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
    billing_address: Annotated[ShopAddress | None, BeforeValidator(lambda value: value or None)] = None
    payment: Annotated[ShopPayment | None, BeforeValidator(lambda value: value or None)] = None
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
    def shipping(self) -> "ShopShipping | None":
        return self.shipping_assignments[0].shipping if self.shipping_assignments else None


class ShopShipping(_Record):
    method: Text = None
    address: Annotated[ShopAddress | None, BeforeValidator(lambda value: value or None)] = None


class AssignmentRecord(_Record):
    shipping: Annotated[ShopShipping, BeforeValidator(_an_object)] = ShopShipping()


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


class RefundedItemRecord(_InCurrency):
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


R = TypeVar("R", OrderRecord, ShipmentRecord, InvoiceRecord, CreditmemoRecord)


def validate(kind: type[R], row: ShopRow, settings: MagentoSettings, now: datetime) -> R:
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

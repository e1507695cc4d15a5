"""Veeqo's shapes, checked field by field. Nothing of a record's values gets into a message.

Fields that are not named here are dropped at once, also from what goes to the dead letters: Veeqo embeds users' API
keys, marketplace tokens and billing data in its objects. Numbers may come as texts, single objects as lists of one.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import AliasChoices, BeforeValidator, Field, PlainValidator

from connectors.base import values as records
from connectors.base.values import (
    LIMIT,
    STEP,
    VendorRecord,
    a_level,
    a_moment,
    a_number,
    a_quantity,
    an_identity,
    invalid,
    listed,
    matching,
    not_below_zero,
    or_none,
    text_or_none,
)

_RATE_STEP = Decimal("0.000000000001")


def _signed(value: object) -> Decimal:
    """Money to 6 digits: shops that price with tax give 16.666666666667, and the totals are reconciled afterwards."""
    return a_number(value, limit=LIMIT / 2).quantize(STEP, ROUND_HALF_UP)


def _amount(value: object) -> Decimal:
    return not_below_zero(_signed(value))


def _rate(value: object) -> Decimal:
    """A fraction; shops that price with tax divide, and give it with ten digits and more."""
    number = a_number(value, limit=LIMIT / 2)
    if not 0 <= number < 1:
        raise invalid("must be a fraction from 0 to below 1, as 0.2 for 20 %")
    return number.quantize(_RATE_STEP, ROUND_HALF_UP)


def _country_or_none(value: object) -> str | None:
    text = text_or_none(value)
    if text is not None and not re.fullmatch("[A-Za-z]{2}", text):
        raise invalid("must be an ISO 3166-1 alpha-2 code, as GB")
    return text.upper() if text is not None else None


def first_of(value: object) -> object:
    """Where Veeqo sometimes has a list of one instead of an object."""
    if isinstance(value, list):
        return value[0] if value else None
    return value


def _noted(value: object) -> object:
    return {"text": value} if isinstance(value, str) else first_of(value)


def _numbered(value: object) -> object:
    """Tracking numbers: null, an object, a list of them, or bare texts."""
    items = value if isinstance(value, list) else [value]
    return [{"tracking_number": item} if isinstance(item, str | int) else item for item in items if item is not None]


def _or_zero(check: Any) -> PlainValidator:
    return PlainValidator(lambda value: Decimal(0) if value is None else check(value))


Identity = Annotated[str, PlainValidator(an_identity)]
OptionalText = Annotated[str | None, PlainValidator(text_or_none)]
Amount = Annotated[Decimal, PlainValidator(_amount)]
AmountOrZero = Annotated[Decimal, _or_zero(_amount)]
OptionalSigned = Annotated[Decimal | None, or_none(_signed)]
Moment = Annotated[datetime, PlainValidator(a_moment)]
OptionalMoment = Annotated[datetime | None, or_none(a_moment)]
OptionalCurrency = Annotated[str | None, or_none(matching("[A-Z]{3}", "must be an ISO 4217 code, as GBP"))]


class VeeqoId(VendorRecord):
    id: Identity


class VeeqoSellable(VendorRecord):
    id: Identity
    sku_code: Identity
    title: OptionalText = None


class VeeqoAddress(VendorRecord):
    first_name: OptionalText = None
    last_name: OptionalText = None
    company: OptionalText = None
    address1: OptionalText = None
    address2: OptionalText = None
    city: OptionalText = None
    state: OptionalText = None
    zip: OptionalText = None
    country: Annotated[str | None, PlainValidator(_country_or_none)] = None
    phone: OptionalText = None


class VeeqoChannel(VendorRecord):
    id: Identity
    type_code: OptionalText = None
    currency_code: OptionalCurrency = None


class VeeqoCustomer(VendorRecord):
    id: Identity
    email: OptionalText = None
    billing_address: Annotated[VeeqoAddress | None, BeforeValidator(first_of)] = None


class VeeqoDeliveryMethod(VendorRecord):
    name: OptionalText = None


class VeeqoPayment(VendorRecord):
    payment_type: OptionalText = None
    reference_number: OptionalText = None


class VeeqoNote(VendorRecord):
    text: OptionalText = None


class VeeqoOrderLine(VendorRecord):
    id: Identity
    price_per_unit: Amount
    quantity: Annotated[Decimal, PlainValidator(a_quantity)]
    tax_rate: Annotated[Decimal | None, or_none(_rate)] = None
    taxless_discount_per_unit: AmountOrZero = Decimal(0)
    sellable: VeeqoSellable


class VeeqoOrderHead(VendorRecord):
    """What is needed to find an order again, and to know how far we are."""

    id: Identity
    created_at: Moment
    updated_at: Moment


class VeeqoOrder(VeeqoOrderHead):
    number: OptionalText = None
    status: Identity
    cancelled_at: OptionalMoment = None
    cancel_reason: OptionalText = None
    subtotal_price: OptionalSigned = None
    delivery_cost: AmountOrZero = Decimal(0)
    total_tax: OptionalSigned = None
    total_price: OptionalSigned = None
    shipping_discount: AmountOrZero = Decimal(0)
    additional_order_level_taxless_discount: AmountOrZero = Decimal(0)
    merged_to_id: Annotated[str | None, or_none(an_identity)] = None
    currency_code: OptionalCurrency = None
    channel: VeeqoChannel | None = None
    customer: VeeqoCustomer | None = None
    deliver_to: Annotated[VeeqoAddress | None, BeforeValidator(first_of)] = None
    delivery_method: VeeqoDeliveryMethod | None = None
    payment: Annotated[VeeqoPayment | None, BeforeValidator(first_of)] = None
    customer_note: Annotated[VeeqoNote | None, BeforeValidator(_noted)] = None
    line_items: Annotated[tuple[VeeqoOrderLine, ...], BeforeValidator(listed)] = Field(min_length=1)


class VeeqoCarrier(VendorRecord):
    name: OptionalText = None


class VeeqoTracking(VendorRecord):
    tracking_number: OptionalText = None


class VeeqoShipment(VendorRecord):
    id: Identity
    created_at: Moment
    carrier_id: OptionalText = None
    carrier: Annotated[VeeqoCarrier | None, BeforeValidator(first_of)] = None
    tracking_number: Annotated[tuple[VeeqoTracking, ...], BeforeValidator(_numbered)] = ()


class VeeqoAllocationLine(VendorRecord):
    quantity: Annotated[Decimal, PlainValidator(a_quantity)]
    sellable: VeeqoSellable


class VeeqoAllocation(VendorRecord):
    """Units of an order in one warehouse; what has left once it has a shipment."""

    id: Identity
    warehouse: VeeqoId
    line_items: Annotated[tuple[VeeqoAllocationLine, ...], BeforeValidator(listed)] = Field(min_length=1)
    shipment: VeeqoShipment


class VeeqoStockEntry(VendorRecord):
    warehouse_id: Annotated[str | None, or_none(an_identity)] = None
    warehouse: VeeqoId | None = None
    physical_stock_level: Annotated[Decimal, PlainValidator(a_level)]
    infinite: Annotated[bool, PlainValidator(lambda value: value is True)] = False


class VeeqoSellableStock(VendorRecord):
    """One sellable of a product, with what lies of it in each warehouse."""

    id: Identity
    sku_code: Identity
    stock_entries: Annotated[tuple[VeeqoStockEntry, ...], BeforeValidator(listed)] = Field(
        default=(), validation_alias=AliasChoices("stock_entries", "inventory")
    )


#: What to do about a record that cannot become an event.
REMEDY = "fix it in Veeqo; it is read again when it changes"

_R = TypeVar("_R", bound=VendorRecord)


def validate(model: type[_R], value: object) -> _R:
    """Check a value.

    Raises:
        RecordError: With everything that is wrong, up to five.
    """
    return records.validate(model, value, REMEDY)


def kept(model: type[VendorRecord], value: object) -> bytes:
    """What may be kept of a record that came as `value`: JSON of the fields its model names, numbers as exact texts."""
    return json.dumps(_only(model, value), separators=(",", ":"), sort_keys=True).encode()


def _only(model: type[VendorRecord] | None, value: object) -> object:
    if isinstance(value, list):
        # No list of Veeqo's holds lists, so what is in one is nobody's to keep.
        return ["[]" if isinstance(each, list) else _only(model, each) for each in value[:1000]]
    if isinstance(value, Mapping):
        if model is None:
            return "{}"  # an object where a value belongs: nobody knows what is in it
        return {
            name: _only(inner_model(field.annotation), value[name])
            for field_name, field in model.model_fields.items()
            for name in _names_of(field_name, field.validation_alias)
            if name in value
        }
    if isinstance(value, str):
        return value[:1000]
    return value if isinstance(value, bool) or value is None else str(value)


def _names_of(name: str, alias: object) -> tuple[str, ...]:
    return tuple(str(each) for each in alias.choices) if isinstance(alias, AliasChoices) else (name,)


def inner_model(annotation: Any) -> type[VendorRecord] | None:
    """What a field consists of, where that is an object or a list of objects."""
    if isinstance(annotation, type) and issubclass(annotation, VendorRecord):
        return annotation
    if get_origin(annotation) in (Annotated, Union, UnionType, tuple):
        return next((found for each in get_args(annotation) if (found := inner_model(each)) is not None), None)
    return None

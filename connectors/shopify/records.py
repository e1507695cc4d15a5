"""The door: Shopify's GraphQL objects, as far as we read them, checked field by field. Values stay out of messages."""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator
from pydantic.alias_generators import to_camel

from connectors.base.values import (
    PLAIN,
    VendorRecord,
    a_moment,
    a_number,
    exact,
    identity_of,
    invalid,
    or_none,
    text_or_none,
)

_GID = re.compile(r"gid://shopify/[A-Za-z]{1,60}/([A-Za-z0-9_-]{1,30})(\?[A-Za-z0-9_=&-]{1,200})?")
_MAX_QUANTITY = 1_000_000_000  # Shopify's own cap


def _a_decimal(value: object) -> Decimal:
    return a_number(value, form=PLAIN)


def _an_amount(value: object) -> Decimal:
    return exact(_a_decimal(value))


def _a_count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _MAX_QUANTITY:
        raise invalid("must be a whole number")
    return value


def _an_id(value: object) -> str:
    found = _GID.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise invalid("must be a gid://shopify/...")
    return found[1]


def _a_sku(value: object) -> str | None:
    text = text_or_none(value)
    return None if text is None else identity_of(text)


def _a_flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise invalid("must be true or false")
    return value


def _nodes(value: object) -> object:
    """A connection as the list of its nodes; `client.py` has read all pages."""
    return value.get("nodes") if isinstance(value, Mapping) else value


Id = Annotated[str, PlainValidator(_an_id)]
Amount = Annotated[Decimal, PlainValidator(_an_amount)]
Rate = Annotated[Decimal, PlainValidator(_a_decimal)]
Count = Annotated[int, PlainValidator(_a_count)]
Moment = Annotated[datetime, PlainValidator(a_moment)]
OptionalMoment = Annotated[datetime | None, or_none(a_moment)]
OptionalRate = Annotated[Decimal | None, or_none(_a_decimal)]
Text = Annotated[str | None, PlainValidator(text_or_none)]
Sku = Annotated[str | None, PlainValidator(_a_sku)]
Flag = Annotated[bool, PlainValidator(_a_flag)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Word = Annotated[str, Field(pattern=r"^[A-Z][A-Z_]{0,60}$")]


class _Record(VendorRecord):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class MoneyRecord(_Record):
    amount: Amount
    currency_code: Currency


class MoneyBag(_Record):
    """Amounts in the shop's currency; what the customer saw (presentment) is not ours to post."""

    shop_money: MoneyRecord

    @property
    def amount(self) -> Decimal:
        return self.shop_money.amount


class TaxLine(_Record):
    title: Text = None
    rate: OptionalRate = None
    price_set: MoneyBag


class Allocation(_Record):
    allocated_amount_set: MoneyBag


class Ref(_Record):
    id: Id


class TaxedPrice(_Record):
    """A duty of a line, or an additional fee of an order."""

    price: MoneyBag
    tax_lines: list[TaxLine]


class LineItem(_Record):
    id: Id
    sku: Sku = None
    name: Text = None
    quantity: Count
    requires_shipping: Flag
    is_gift_card: Flag
    original_unit_price_set: MoneyBag
    discount_allocations: list[Allocation]
    tax_lines: list[TaxLine]
    duties: list[TaxedPrice] = Field(default_factory=list)


class ShippingLine(_Record):
    title: Text = None
    code: Text = None
    source: Text = None
    original_price_set: MoneyBag
    discount_allocations: list[Allocation]
    tax_lines: list[TaxLine]


class ShopifyAddress(_Record):
    name: Text = None
    company: Text = None
    address1: Text = None
    address2: Text = None
    city: Text = None
    zip: Text = None
    province_code: Text = None
    country_code_v2: Annotated[str | None, Field(alias="countryCodeV2", pattern=r"^[A-Z]{2}$")] = None
    phone: Text = None


class ShopifyCustomer(_Record):
    id: Id
    display_name: Text = None


class Transaction(_Record):
    id: Id
    kind: Word
    status: Word
    gateway: Text = None
    processed_at: OptionalMoment = None
    created_at: Moment
    amount_set: MoneyBag


class Tracking(_Record):
    company: Text = None
    number: Text = None


class FulfillmentLine(_Record):
    quantity: Count
    line_item: Ref


class Fulfillment(_Record):
    id: Id
    status: Word
    created_at: Moment
    updated_at: Moment
    location: Ref | None = None
    tracking_info: list[Tracking]
    fulfillment_line_items: Annotated[list[FulfillmentLine], BeforeValidator(_nodes)]


class ShopifyRefundLine(_Record):
    quantity: Count
    restock_type: Word
    line_item: Ref
    location: Ref | None = None
    subtotal_set: MoneyBag
    total_tax_set: MoneyBag


class ShopifyRefundShipping(_Record):
    subtotal_amount_set: MoneyBag
    tax_amount_set: MoneyBag


class RefundDuty(_Record):
    amount_set: MoneyBag


class OrderAdjustment(_Record):
    """Money beside the lines; below zero: more went to the customer than the lines say."""

    amount_set: MoneyBag
    tax_amount_set: MoneyBag


class Refund(_Record):
    id: Id
    created_at: Moment
    note: Text = None
    duties: list[RefundDuty] | None = None
    refund_line_items: Annotated[list[ShopifyRefundLine], BeforeValidator(_nodes)]
    refund_shipping_lines: Annotated[list[ShopifyRefundShipping], BeforeValidator(_nodes)]
    order_adjustments: Annotated[list[OrderAdjustment], BeforeValidator(_nodes)]
    transactions: Annotated[list[Transaction], BeforeValidator(_nodes)]


class Sale(_Record):
    """What an agreement says of one line: how many more (or fewer), and for how much, tax included."""

    action_type: Word
    line_type: Word
    quantity: Annotated[int | None, or_none(_a_count)] = None
    total_amount: MoneyBag
    total_tax_amount: MoneyBag
    line_item: Ref | None = None


class Agreement(_Record):
    id: Id
    happened_at: Moment
    reason: Word
    sales: Annotated[list[Sale], BeforeValidator(_nodes)]


class Metafield(_Record):
    value: Text = None


class Order(_Record):
    id: Id
    name: Text = None
    created_at: Moment
    processed_at: OptionalMoment = None
    updated_at: Moment
    cancelled_at: OptionalMoment = None
    cancel_reason: Text = None
    test: Flag
    edited: Flag
    taxes_included: Flag
    display_financial_status: Annotated[str | None, Field(pattern=r"^[A-Z_]{1,60}$")] = None
    source_name: Text = None
    email: Text = None
    note: Text = None
    tags: list[str]
    total_price_set: MoneyBag
    total_tax_set: MoneyBag | None = None
    original_total_duties_set: MoneyBag | None = None
    original_total_additional_fees_set: MoneyBag | None = None
    additional_fees: list[TaxedPrice] = Field(default_factory=list)
    customer: ShopifyCustomer | None = None
    shipping_address: ShopifyAddress | None = None
    billing_address: ShopifyAddress | None = None
    line_items: Annotated[list[LineItem], BeforeValidator(_nodes)]
    shipping_lines: Annotated[list[ShippingLine], BeforeValidator(_nodes)]
    transactions: list[Transaction]
    fulfillments: list[Fulfillment]
    refunds: list[Refund]
    #: Of our shipments, see `marks`.
    metafield: Metafield | None = None
    #: Empty: no sales but the order's first; None: nobody has asked.
    agreements: Annotated[list[Agreement] | None, BeforeValidator(_nodes)] = None


class Quantity(_Record):
    name: str
    quantity: Count


class InventoryItem(_Record):
    id: Id
    sku: Sku = None
    tracked: Flag
    duplicate_sku_count: Count


class InventoryLevel(_Record):
    updated_at: Moment
    quantities: list[Quantity]
    item: InventoryItem

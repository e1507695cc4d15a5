"""The five events that sources publish: what happened, in the source's own names.

Quantities and money are `Decimal` with at most 13 digits before and 6 after the point (Avro decimal(19,6)). Quantities
are > 0 unless said; money is net of tax unless said, in the event's currency. Times are aware UTC: `occurred_at` is the
vendor's, `observed_at` ours. `source` is the connector's name in the configuration, `company` the B1 company it feeds.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal

DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    name: str | None = None
    company: str | None = None
    street: str | None = None
    street2: str | None = None
    city: str | None = None
    postcode: str | None = None
    region: str | None = None
    country: str | None = None  # ISO 3166-1 alpha-2
    phone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    id: str | None = None
    email: str | None = None
    name: str | None = None
    guest: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLine:
    line_id: str
    sku: str
    name: str | None = None
    quantity: Decimal
    unit_price: Decimal  # net, >= 0
    discount: Decimal | None = None  # net, of the whole line, >= 0
    tax_code: str | None = None
    tax_rate: Decimal | None = None  # percent
    tax_amount: Decimal | None = None  # of the whole line
    location: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipping:
    method: str | None = None
    carrier: str | None = None
    amount: Decimal  # net
    tax_code: str | None = None
    tax_amount: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    method: str
    amount: Decimal  # gross
    reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchQuantity:
    """A lot of a batch-managed item."""

    number: str
    quantity: Decimal
    expires_on: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What every event carries."""

    source: str
    company: str
    event_id: str  # the source's identity of this event, unique per source
    occurred_at: datetime
    observed_at: datetime
    digest: bytes  # 16 bytes, see digest_of


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPlaced(Event):
    """A customer ordered. The source's identity is `order_id`."""

    order_id: str
    order_number: str | None = None  # what people quote; the order_id where the source has no other
    channel: str | None = None
    state: str | None = None
    currency: str
    customer: Customer | None = None
    ship_to: Address | None = None
    bill_to: Address | None = None
    lines: tuple[OrderLine, ...]
    shipping: Shipping | None = None
    tax_total: Decimal | None = None
    grand_total: Decimal | None = None  # gross
    payment: Payment | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelledLine:
    line_id: str
    quantity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCancelled(Event):
    """An order, or part of it, will not be fulfilled. The source's identity is `event_id`."""

    order_id: str
    reason: str | None = None
    lines: tuple[CancelledLine, ...] | None = None  # None: the whole order


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchLine:
    line_id: str | None = None
    sku: str
    quantity: Decimal
    batches: tuple[BatchQuantity, ...] = ()
    serials: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchConfirmed(Event):
    """Goods left the warehouse. The source's identity is `shipment_id`."""

    shipment_id: str
    order_id: str
    location: str
    carrier: str | None = None
    service: str | None = None
    tracking_numbers: tuple[str, ...] = ()
    lines: tuple[DispatchLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundLine:
    line_id: str | None = None
    sku: str
    quantity: Decimal
    amount: Decimal  # net, of the whole line, what the customer gets back: >= 0
    tax_code: str | None = None
    tax_amount: Decimal | None = None
    restock: bool
    location: str | None = None
    batches: tuple[BatchQuantity, ...] = ()
    serials: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundShipping:
    amount: Decimal  # net
    tax_amount: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """Goodwill: money back without an item."""

    amount: Decimal  # net
    tax_code: str | None = None
    tax_amount: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundIssued(Event):
    """A customer got money back. The source's identity is `refund_id`."""

    refund_id: str
    order_id: str | None = None
    currency: str
    lines: tuple[RefundLine, ...] = ()
    shipping: RefundShipping | None = None
    adjustment: Adjustment | None = None
    total: Decimal | None = None  # gross
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StockAdjusted(Event):
    """A movement of stock in inventory units. The source's identity is `event_id` + `sku` + `location`.

    A level ("set to 100") has become a delta in the connector. A transfer has delta < 0: `location` loses it,
    `to_location` gains it.
    """

    sku: str
    location: str
    delta: Decimal  # signed, not 0
    reason: str  # one of STOCK_REASONS
    to_location: str | None = None
    batches: tuple[BatchQuantity, ...] = ()
    serials: tuple[str, ...] = ()
    note: str | None = None


OrderEvent = OrderPlaced | OrderCancelled | DispatchConfirmed | RefundIssued
FactEvent = OrderEvent | StockAdjusted

EVENT_TYPES: dict[str, type[FactEvent]] = {
    "order_placed": OrderPlaced,
    "order_cancelled": OrderCancelled,
    "dispatch_confirmed": DispatchConfirmed,
    "refund_issued": RefundIssued,
    "stock_adjusted": StockAdjusted,
}
TYPE_NAMES: dict[type[Event], str] = {cls: name for name, cls in EVENT_TYPES.items()}
STOCK_REASONS = ("receipt", "return", "damaged", "lost", "found", "count", "transfer", "other")

_NOT_CONTENT = frozenset({"event_id", "observed_at", "digest", "company"})


def identity(event: FactEvent) -> tuple[str, ...]:
    """The parts by which the source itself tells this event from every other of its type."""
    match event:
        case OrderPlaced():
            return (event.order_id,)
        case OrderCancelled():
            return (event.event_id,)
        case DispatchConfirmed():
            return (event.shipment_id,)
        case RefundIssued():
            return (event.refund_id,)
        case StockAdjusted():
            return (event.event_id, event.sku, event.location)


def digest_of(event: FactEvent) -> bytes:
    """16 bytes that are equal exactly when two events of one identity say the same.

    Compared decoded: 1.5 equals 1.50, an absent optional field equals null, `event_id` and `observed_at` do not matter
    (contract section 1). The event's own `digest` is not read.
    """
    text = json.dumps(_canonical(event, _NOT_CONTENT), ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()[:DIGEST_BYTES]


def differing_fields(first: FactEvent, second: FactEvent) -> list[str]:
    """Where two events of one identity differ, as `lines[0].quantity`; names only, for values may be personal."""
    return list(_differing("", _canonical(first, _NOT_CONTENT), _canonical(second, _NOT_CONTENT)))


def _differing(name: str, first: object, second: object) -> Iterator[str]:
    if isinstance(first, dict) and isinstance(second, dict):
        for each in dict.fromkeys((*first, *second)):
            yield from _differing(f"{name}.{each}" if name else each, first.get(each), second.get(each))
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for number, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from _differing(f"{name}[{number}]", one, other)
    elif first != second:
        yield name


def _canonical(value: object, leave_out: Iterable[str] = ()) -> object:
    if is_dataclass(value):
        pairs = ((f.name, getattr(value, f.name)) for f in fields(value) if f.name not in leave_out)
        return {name: _canonical(item) for name, item in pairs if item is not None and item != ()}
    if isinstance(value, tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, Decimal):
        return format(value.normalize(), "f") if value else "0"
    if isinstance(value, date):
        return value.isoformat()
    return value

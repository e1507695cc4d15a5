"""What all events of a shop share: in whose name they are made, what a change of an order is, and dead letters."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from connectors.base.context import EventContext
from connectors.base.source import RefusedRecord
from connectors.shopify import records
from connectors.shopify.settings import ShopifySettings
from schemas.events import FactEvent

ZERO = Decimal(0)
#: A fulfilment at no location, to be mapped like any other name of a place.
NO_LOCATION = "none"
#: What people do about an event that breaks the contract.
REMEDY = "correct it at Shopify"
MAX_VALUE_BYTES = 990_000  # a dead letter is one Kafka record, of 1 MiB at most
_PLAIN = re.compile(r"[ -~]{1,200}")


@dataclass(frozen=True, slots=True)
class ShopifyContext(EventContext[ShopifySettings]):
    """In whose name events are made.

    Attributes:
        counted_since: The locations whose counts are read, and when the first reading was done. What is sent from there
            later leaves the count too, see `dispatches`.
    """

    counted_since: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OrderChange:
    """One thing that has happened to an order.

    Attributes:
        key: Its name within the order.
        moment: Shopify's time at which it came to be; never changes, and the order was updated then or later.
        items: What is emitted for it.
        final: Whether it is over; else it is to be looked at again.
        undoes: The key and moment of what it takes back; unless that was emitted, this is nothing.
    """

    key: str
    moment: datetime
    items: tuple[FactEvent | RefusedRecord, ...] = ()
    final: bool = True
    undoes: tuple[str, datetime] | None = None


@dataclass(frozen=True, slots=True)
class NetTax:
    """An amount of money: without tax, and its tax. Both may be below zero."""

    net: Decimal = ZERO
    tax: Decimal = ZERO

    @property
    def gross(self) -> Decimal:
        return self.net + self.tax

    def __add__(self, other: "NetTax") -> "NetTax":
        return NetTax(self.net + other.net, self.tax + other.tax)

    def __neg__(self) -> "NetTax":
        return NetTax(-self.net, -self.tax)

    def __bool__(self) -> bool:
        return bool(self.net or self.tax)


def money_of(stated: Decimal, tax: Decimal, *, includes_tax: bool) -> NetTax:
    """An amount as Shopify writes it, with its tax in it or beside it."""
    return NetTax(stated - tax if includes_tax else stated, tax)


def is_charge(line: records.LineItem) -> bool:
    """Whether a line is money without goods: a tip, a fee, a service typed in by hand. It is never sent."""
    return line.sku is None and not line.requires_shipping and not line.is_gift_card


def sku_of(line: records.LineItem, settings: ShopifySettings) -> str | None:
    """Its own sku, or the configured one of its kind."""
    return line.sku or (settings.skus.gift_card if line.is_gift_card else settings.skus.custom)


def sum_of(bags: Sequence[records.MoneyBag]) -> Decimal:
    """Together, in the shop's currency."""
    return sum((bag.amount for bag in bags), ZERO)


def unreadable(order_id: str, updated_at: str, raw: object, fault: str, events: Sequence[str]) -> RefusedRecord:
    """The dead letter of an order that cannot be read.

    What of it is wanted is not emitted, so there is one in any case.
    """
    event_type = "order_placed" if "order_placed" in events or not events else events[0]
    error = f"{fault}; report it, and replay it edited"
    return refused(event_type, f"order-{order_id}-{updated_at}", raw, error, order_id=order_id)


def refused(
    event_type: str, digest: str, raw: object, error: str, *, reason: str = "invalid_event", **ids: str | None
) -> RefusedRecord:
    """A dead letter. Names in it are Shopify's own, which are short and plain; what is not is left out."""
    plain = digest if _PLAIN.fullmatch(digest) else hashlib.sha256(digest.encode("utf-8", "replace")).hexdigest()
    value = json.dumps(raw, default=str, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return RefusedRecord(
        event_type=event_type,
        reason=reason,
        error=error,
        value=value[:MAX_VALUE_BYTES],
        origin="shopify",
        digest=plain,
        number=0,
        **{name: text if text is not None and _PLAIN.fullmatch(text) else None for name, text in ids.items()},
    )

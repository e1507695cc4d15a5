"""A shop behind Shopify's GraphQL Admin API: an ASGI app with a ledger, strict, written from Shopify's documentation.

What it does as the real one: the token and scopes; versions (a retired one is answered by the oldest live one); the bucket
of points with THROTTLED and MAX_COST_EXCEEDED; unknown fields refused; keyset cursors that expire; an index that lags
behind; whole seconds, a clock of its own; bulk operations in JSON lines, with their limits, grouped only where that is
asked for, that fail, are cancelled and expire, their files served in ranges; webhooks signed over their bytes, sent at least
once, in any order, given up after eight tries, their subscription then removed.

A dropped connection is `ConnectionDroppedError`, raised out of the app; a test's transport maps it.
"""

import base64
import hashlib
import hmac
import itertools
import json
import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from email.utils import format_datetime
from random import Random
from typing import Any, Final, TypeAlias

from lab.simulators.wire import ConnectionDroppedError, Receive, Scope, Send, whole_body

Row: TypeAlias = dict[str, Any]

_CENT: Final = Decimal("0.01")
MAX_QUERY_COST: Final = 1000
_TRIES: Final = 8
_BULK_KEPT: Final = timedelta(days=7)
_BULK_CONNECTIONS: Final = 5


class _GraphQLError(Exception):
    def __init__(self, message: str, code: str | None) -> None:
        super().__init__(message)
        self.code = code


# ---- the schema: what may be asked ----------------------------------------------------------------------------------

_MONEY: Final = {"shopMoney": ("object", "Money"), "presentmentMoney": ("object", "Money")}
_BAG: Final = ("object", "MoneyBag")


def _scalars(names: str) -> dict[str, tuple[str, str]]:
    return {name: ("scalar", "") for name in names.split()}


TYPES: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "Query": {
        "orders": ("connection", "Order"), "order": ("object", "Order"), "fulfillment": ("object", "Fulfillment"),
        "refund": ("object", "Refund"), "location": ("object", "Location"), "node": ("object", "Node"),
        "nodes": ("nodes", "Node"), "locations": ("connection", "Location"),
        "currentAppInstallation": ("object", "AppInstallation"), "webhookSubscriptions": ("connection", "Subscription"),
    },
    "AppInstallation": {"accessScopes": ("list", "AccessScope")},
    "AccessScope": _scalars("handle"),
    "Subscription": _scalars("id topic"),
    "Mutation": {"bulkOperationRunQuery": ("object", "BulkPayload")},
    "BulkPayload": {"bulkOperation": ("object", "BulkOperation"), "userErrors": ("list", "UserError")},
    "UserError": _scalars("field message code"),
    "Node": _scalars("id"),
    "BulkOperation": _scalars("id status errorCode objectCount url partialDataUrl createdAt completedAt"),
    "Money": _scalars("amount currencyCode"),
    "MoneyBag": _MONEY,
    "TaxLine": {**_scalars("title rate"), "priceSet": _BAG},
    "Allocation": {"allocatedAmountSet": _BAG},
    "Customer": _scalars("id displayName"),
    "Address": _scalars("name company address1 address2 city zip province provinceCode country countryCodeV2 phone"),
    "Transaction": {**_scalars("id kind status gateway processedAt createdAt"), "amountSet": _BAG},
    "ShippingLine": {
        **_scalars("id title code source"), "originalPriceSet": _BAG, "discountAllocations": ("list", "Allocation"),
        "taxLines": ("list", "TaxLine"),
    },
    "LineItem": {
        **_scalars("id sku name title quantity currentQuantity unfulfilledQuantity requiresShipping isGiftCard"),
        "originalUnitPriceSet": _BAG, "discountAllocations": ("list", "Allocation"), "taxLines": ("list", "TaxLine"),
        "duties": ("list", "TaxedPrice"),
    },
    "TaxedPrice": {"price": _BAG, "taxLines": ("list", "TaxLine")},
    "Location": {**_scalars("id name isActive"), "inventoryLevels": ("connection", "InventoryLevel")},
    "Tracking": _scalars("company number url"),
    "Fulfillment": {
        **_scalars("id name status createdAt updatedAt"), "location": ("object", "Location"),
        "trackingInfo": ("list", "Tracking"), "fulfillmentLineItems": ("connection", "FulfillmentLineItem"),
    },
    "FulfillmentLineItem": {**_scalars("id quantity"), "lineItem": ("object", "LineItem")},
    "RefundLineItem": {
        **_scalars("id quantity restockType restocked"), "lineItem": ("object", "LineItem"),
        "location": ("object", "Location"), "subtotalSet": _BAG, "totalTaxSet": _BAG, "priceSet": _BAG,
    },
    "RefundShippingLine": {**_scalars("id"), "subtotalAmountSet": _BAG, "taxAmountSet": _BAG},
    "RefundDuty": {"amountSet": _BAG},
    "OrderAdjustment": {**_scalars("id reason"), "amountSet": _BAG, "taxAmountSet": _BAG},
    "Refund": {
        **_scalars("id createdAt updatedAt note"), "duties": ("list", "RefundDuty"), "totalRefundedSet": _BAG,
        "refundLineItems": ("connection", "RefundLineItem"), "transactions": ("connection", "Transaction"),
        "refundShippingLines": ("connection", "RefundShippingLine"),
        "orderAdjustments": ("connection", "OrderAdjustment"),
    },
    "Sale": {
        **_scalars("id actionType lineType quantity"), "totalAmount": _BAG, "totalTaxAmount": _BAG,
        "lineItem": ("object", "LineItem"),
    },
    "Agreement": {**_scalars("id happenedAt reason"), "sales": ("connection", "Sale")},
    "Order": {
        **_scalars(
            "id name createdAt processedAt updatedAt cancelledAt cancelReason closedAt test edited taxesIncluded sourceName "
            "displayFinancialStatus displayFulfillmentStatus email note tags"
        ),
        **dict.fromkeys(
            ("totalPriceSet", "currentTotalPriceSet", "totalTaxSet", "originalTotalDutiesSet",
             "originalTotalAdditionalFeesSet"), _BAG,
        ),
        "customer": ("object", "Customer"), "shippingAddress": ("object", "Address"),
        "billingAddress": ("object", "Address"), "lineItems": ("connection", "LineItem"),
        "shippingLines": ("connection", "ShippingLine"), "transactions": ("list", "Transaction"),
        "fulfillments": ("list", "Fulfillment"), "refunds": ("list", "Refund"),
        "agreements": ("connection", "Agreement"), "additionalFees": ("list", "TaxedPrice"),
    },
    "Quantity": _scalars("name quantity updatedAt"),
    "InventoryItem": _scalars("id sku tracked duplicateSkuCount"),
    "InventoryLevel": {
        **_scalars("id updatedAt"), "quantities": ("list", "Quantity"), "item": ("object", "InventoryItem"),
        "location": ("object", "Location"),
    },
}  # fmt: skip
#: A type's fields that only one of its kinds has: `... on ProductSale { lineItem }`.
_FRAGMENTS: Final = {"ProductSale": "PRODUCT", "GiftCardSale": "GIFT_CARD", "TipSale": "TIP"}
_ONLY_IN_FRAGMENTS: Final = {"Sale": {"lineItem"}}
_SCOPES: Final = {
    "orders": "read_orders", "order": "read_orders", "fulfillment": "read_orders", "refund": "read_orders",
    "nodes": "read_orders", "location": "read_inventory", "bulkOperationRunQuery": "read_orders",
    "locations": "read_locations", "currentAppInstallation": "", "webhookSubscriptions": "",
}  # fmt: skip


# ---- the language ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    alias: str
    arguments: Mapping[str, Any]
    selection: "tuple[_Field | _Inline, ...]"


@dataclass(frozen=True, slots=True)
class _Inline:
    type: str
    selection: "tuple[_Field | _Inline, ...]"


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str


_TOKEN: Final = re.compile(r'[\s,]+|#[^\n]*|(\.\.\.|[{}()\[\]:!$=@]|"(?:[^"\\\n]|\\.)*"|-?\d+(?:\.\d+)?|[_A-Za-z]\w*)')


class _Parser:
    """As much of GraphQL as clients of a shop write: one operation, variables, arguments, aliases, inline fragments."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise _GraphQLError(f'syntax error, unexpected "{text[at]}"', None)
            if found[1]:
                self._tokens.append(found[1])
            at = found.end()
        self._tokens.append("")
        self._at = 0

    @property
    def _next(self) -> str:
        return self._tokens[self._at]

    def _take(self, wanted: str | None = None) -> str:
        token = self._next
        if wanted is not None and token != wanted:
            raise _GraphQLError(f'syntax error, unexpected "{token}", expecting "{wanted}"', None)
        self._at += 1
        return token

    def operation(self) -> tuple[str, str, set[str], "tuple[_Field | _Inline, ...]"]:
        """Kind, name, declared variables, selection."""
        kind, name, declared = "query", "", set()
        if self._next in ("query", "mutation"):
            kind = self._take()
            if self._next not in ("(", "{"):
                name = self._take()
            if self._next == "(":
                self._take()
                while self._next != ")":
                    self._take("$")
                    declared.add(self._take())
                    self._take(":")
                    while self._next not in ("$", ")"):
                        self._take()
                self._take(")")
        selection = self._selection()
        self._take("")
        return kind, name, declared, selection

    def _selection(self) -> "tuple[_Field | _Inline, ...]":
        self._take("{")
        found: list[_Field | _Inline] = []
        while self._next != "}":
            if self._next == "...":
                self._take()
                self._take("on")
                found.append(_Inline(self._take(), self._selection()))
                continue
            alias = name = self._take()
            if self._next == ":":
                self._take()
                name = self._take()
            arguments: dict[str, Any] = {}
            if self._next == "(":
                self._take()
                while self._next != ")":
                    argument = self._take()
                    self._take(":")
                    arguments[argument] = self._value()
                self._take(")")
            found.append(_Field(name, alias, arguments, self._selection() if self._next == "{" else ()))
        self._take("}")
        return tuple(found)

    def _value(self) -> Any:
        word = self._take()
        if word == "$":
            return _Variable(self._take())
        if word == "[":
            found = []
            while self._next != "]":
                found.append(self._value())
            self._take("]")
            return found
        if word.startswith('"'):
            return json.loads(word)
        if word.lstrip("-").isdigit():
            return int(word)
        return {"true": True, "false": False, "null": None}.get(word, word)


# ---- the shop -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Webhook:
    """A delivery that is under way."""

    topic: str
    body: bytes
    id: str
    event_id: str
    triggered_at: str
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to the next request: `http` (a status), `graphql` (an error code), `drop`, `html`, `late` (dropped after)."""

    kind: str
    status: int = 503
    code: str = "INTERNAL_SERVER_ERROR"
    headers: Mapping[str, str] = field(default_factory=dict)


class Shop:
    """The shop's data, what people do in it, and the app as `__call__`.

    Args:
        clock: Aware time; the shop's own is `skew_s` ahead of it.
        domain: Its own.
        token: The app's.
        secret: The app's client secret, for webhooks.
        random: For rates and orders of delivery.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], datetime],
        domain: str = "demo.myshopify.com",
        token: str = "shpat_demo",  # noqa: S107 -- a simulator's
        secret: str = "shpss_demo",  # noqa: S107 -- a simulator's
        currency: str = "GBP",
        random: Random | None = None,
        skew_s: float = 0,
        bucket: float = 2000,
        restore: float = 100,
    ) -> None:
        self._clock, self.domain, self.token, self.secret, self.currency = clock, domain, token, secret, currency
        self._random = random or Random(1)  # noqa: S311 -- faults, not secrets
        self.skew_s, self.maximum, self.restore = skew_s, bucket, restore
        self.versions = ("2026-01", "2026-04", "2026-07", "2026-10")
        self.scopes = {*filter(None, _SCOPES.values()), "read_all_orders", "read_products"}
        self.orders: dict[str, Row] = {}
        self.levels: dict[tuple[str, str], Row] = {}
        self.locations: dict[str, Row] = {}
        self.items: dict[str, Row] = {}
        self.index_lag_s = 0.0
        self.faults: deque[Fault] = deque()
        self.rates: dict[str, float] = {}
        self.before: Callable[[str], None] = lambda _operation: None
        self.calls: list[str] = []
        self.throttled = 0
        self.leaked: list[str] = []
        self.subscriptions: set[str] = set()
        self.outbox: list[Webhook] = []
        self._available, self._available_at = bucket, self.now()
        self._ids = itertools.count(5_000_000_001)
        self._numbers = itertools.count(1001)
        self._cursor_epoch = 0
        self._indexed: dict[str, tuple[str, str]] = {}
        self.bulk_failures: deque[str] = deque()
        self._version = self.versions[1]
        self._bulk: dict[str, Row] = {}
        self._files: dict[str, bytes] = {}

    def now(self) -> datetime:
        """The shop's time, whole seconds."""
        return (self._clock() + timedelta(seconds=self.skew_s)).replace(microsecond=0)

    def stamp(self) -> str:
        """Its text, at the shop's offset."""
        return self.now().astimezone(UTC).isoformat().replace("+00:00", "Z")

    def _gid(self, kind: str) -> str:
        return f"gid://shopify/{kind}/{next(self._ids)}"

    def bag(self, amount: Decimal | str | int) -> Row:
        """An amount in both currencies."""
        text = str(Decimal(amount).quantize(_CENT, ROUND_HALF_UP))
        money = {"amount": text, "currencyCode": self.currency}
        return {"shopMoney": money, "presentmentMoney": dict(money)}

    # ---- what people do in it

    def add_location(self, number: str, name: str = "Shop") -> str:
        """A place that has stock."""
        self.locations[number] = {"id": f"gid://shopify/Location/{number}", "name": name, "isActive": True}
        return number

    def place_order(
        self,
        *lines: Mapping[str, Any],
        taxes_included: bool = True,
        rate: str = "0.2",
        shipping: str | None = "3.60",
        paid: bool = True,
        **fields: Any,
    ) -> str:
        """A customer orders; lines are `{"sku", "quantity", "price", "discount"?}`. Returns the order's number."""
        gid = self._gid("Order")
        rows = [self._line(line, taxes_included, Decimal(rate)) for line in lines]
        freight = [self._freight(shipping, taxes_included, Decimal(rate))] if shipping is not None else []
        total = sum((self._gross(row) for row in [*rows, *freight]), Decimal(0))
        tax = sum((self._tax(row) for row in [*rows, *freight]), Decimal(0))
        if not taxes_included:
            total += tax
        address = {
            "name": "Mia Odum", "company": None, "address1": "4 Lime Row", "address2": None, "city": "Leeds",
            "zip": "LS1 4XX", "province": None, "provinceCode": None, "country": "United Kingdom",
            "countryCodeV2": "GB", "phone": None,
        }  # fmt: skip
        order = {
            "id": gid, "name": f"#{next(self._numbers)}", "createdAt": self.stamp(), "processedAt": self.stamp(),
            "updatedAt": self.stamp(), "cancelledAt": None, "cancelReason": None, "closedAt": None, "test": False,
            "edited": False, "taxesIncluded": taxes_included, "sourceName": "web", "email": "mia@example.test",
            "displayFinancialStatus": "PENDING", "displayFulfillmentStatus": "UNFULFILLED", "note": None, "tags": [],
            "totalPriceSet": self.bag(total), "currentTotalPriceSet": self.bag(total), "totalTaxSet": self.bag(tax),
            "originalTotalDutiesSet": None, "originalTotalAdditionalFeesSet": None, "additionalFees": [], "customer": None,
            "shippingAddress": address, "billingAddress": address, "lineItems": rows, "shippingLines": freight,
            "transactions": [], "fulfillments": [], "refunds": [], "agreements": [], **fields,
        }  # fmt: skip
        order["agreements"].append(
            self._agreement("ORDER", [self._sale(row, row["quantity"], taxes_included) for row in [*rows, *freight]])
        )
        number = gid.rpartition("/")[2]
        self.orders[number] = order
        self._tell("orders/create", number)
        if paid:
            self.pay(number)
        return number

    def pay(self, number: str) -> None:
        """The customer's money arrives."""
        order = self.orders[number]
        order["transactions"].append(self._transaction("SALE", order["totalPriceSet"]["shopMoney"]["amount"]))
        order["displayFinancialStatus"] = "PAID"
        self.touch(number, "orders/paid")

    def touch(self, number: str, topic: str = "orders/updated", **fields: Any) -> None:
        """Something about an order changes, if only its time."""
        self.orders[number].update(fields)
        self.orders[number]["updatedAt"] = self.stamp()
        self._tell(topic, number)

    def add_line(self, number: str, line: Mapping[str, Any], rate: str = "0.2") -> str:
        """An edit adds a line."""
        order = self.orders[number]
        row = self._line(line, order["taxesIncluded"], Decimal(rate))
        order["lineItems"].append(row)
        order["edited"] = True
        sale = self._sale(row, row["quantity"], order["taxesIncluded"])
        order["agreements"].append(self._agreement("ORDER_EDIT", [sale]))
        self.touch(number, "orders/edited")
        return str(row["id"]).rpartition("/")[2]

    def remove(self, number: str, line: int, quantity: int) -> str:
        """An edit takes units off that were not sent: a refund without money."""
        self.orders[number]["edited"] = True
        return self.refund(number, [(line, quantity, "CANCEL", None)], money="0")

    def cancel(self, number: str, *, refunded: bool = True) -> None:
        """The order is cancelled; what was paid goes back, what was not sent goes to stock."""
        order = self.orders[number]
        order["cancelledAt"], order["cancelReason"] = self.stamp(), "CUSTOMER"
        rows = [(at, row["unfulfilledQuantity"], "CANCEL", None) for at, row in enumerate(order["lineItems"])]
        rows = [row for row in rows if row[1]]
        if rows and refunded:
            was_paid = any(each["kind"] == "SALE" for each in order["transactions"])
            self.refund(number, rows, money=None if was_paid else "0")
        self.touch(number, "orders/cancelled")

    def fulfil(
        self, number: str, location: str | None, lines: Mapping[int, int], *, status: str = "SUCCESS", company: str | None = None,
        tracking: str | None = None,
    ) -> str:  # fmt: skip
        """Units leave from a location; lines by their place in the order."""
        order = self.orders[number]
        rows = []
        for at, quantity in lines.items():
            row = order["lineItems"][at]
            if quantity > row["unfulfilledQuantity"]:
                raise ValueError("Invalid fulfillment order line item quantity requested.")
            row["unfulfilledQuantity"] -= quantity
            rows.append({"id": self._gid("FulfillmentLineItem"), "quantity": quantity, "lineItem": row})
            if location is not None and row["sku"]:
                self._move(str(row["sku"]), location, -quantity)
        one = {
            "id": self._gid("Fulfillment"), "name": f"{order['name']}.{len(order['fulfillments']) + 1}", "status": status,
            "createdAt": self.stamp(), "updatedAt": self.stamp(),
            "location": self.locations[location] if location is not None else None,
            "trackingInfo": [{"company": company, "number": tracking, "url": None}] if tracking or company else [],
            "fulfillmentLineItems": rows,
        }  # fmt: skip
        order["fulfillments"].append(one)
        self.touch(number, "fulfillments/create")
        return str(one["id"]).rpartition("/")[2]

    def finish_fulfilment(self, number: str, at: int, status: str) -> None:
        """A fulfilment becomes SUCCESS, CANCELLED ..."""
        one = self.orders[number]["fulfillments"][at]
        one["status"], one["updatedAt"] = status, self.stamp()
        self.touch(number, "fulfillments/update")

    def refund(
        self, number: str, lines: Iterable[tuple[int, int, str, str | None]] = (), *, shipping: str | None = None,
        adjustment: str | None = None, duties: str | None = None, money: str | None = None, status: str = "SUCCESS",
        gateways: Sequence[str] = ("shopify_payments",), note: str | None = None,
    ) -> str:  # fmt: skip
        """Money goes back: lines (place, quantity, restock type, location), freight with its tax, an amount beside them.

        `money` overrides the sum that is paid; what it differs by becomes an adjustment, as Shopify makes one.
        """
        order = self.orders[number]
        rows, total = [], Decimal(0)
        for at, quantity, restock, location in lines:
            line = order["lineItems"][at]
            share = Decimal(quantity) / line["quantity"]
            subtotal = (self._gross(line) * share).quantize(_CENT, ROUND_HALF_UP)
            tax = (self._tax(line) * share).quantize(_CENT, ROUND_HALF_UP)
            total += subtotal + (0 if order["taxesIncluded"] else tax)
            line["currentQuantity"] -= quantity
            if restock in ("CANCEL", "NO_RESTOCK"):
                line["unfulfilledQuantity"] -= min(quantity, line["unfulfilledQuantity"])
            if restock == "RETURN" and location is not None and line["sku"]:
                self._move(str(line["sku"]), location, quantity)
            rows.append(
                {
                    "id": self._gid("RefundLineItem"), "quantity": quantity, "restockType": restock, "lineItem": line,
                    "restocked": restock != "NO_RESTOCK", "priceSet": line["originalUnitPriceSet"],
                    "location": self.locations[location] if location is not None else None,
                    "subtotalSet": self.bag(subtotal), "totalTaxSet": self.bag(tax),
                }
            )  # fmt: skip
        freight = []
        if shipping is not None:
            its_tax = self._part_tax(Decimal(shipping), order)
            total += Decimal(shipping) + (0 if order["taxesIncluded"] else its_tax)
            freight = [
                {
                    "id": self._gid("RefundShippingLine"),
                    "subtotalAmountSet": self.bag(shipping),
                    "taxAmountSet": self.bag(its_tax),
                }
            ]
        extra = Decimal(adjustment or 0)
        total += extra + Decimal(duties or 0)
        if money is not None:
            extra += Decimal(money) - total
            total = Decimal(money)
        adjustments = (
            [
                {
                    "id": self._gid("OrderAdjustment"),
                    "reason": "REFUND_DISCREPANCY",
                    "amountSet": self.bag(-extra),
                    "taxAmountSet": self.bag(0),
                }
            ]
            if extra
            else []
        )
        parts = [(total / len(gateways)).quantize(_CENT) for _ in gateways]
        parts[-1] = total - sum(parts[:-1], Decimal(0))
        paid = [
            self._transaction("REFUND", str(part), gateway, status)
            for part, gateway in zip(parts, gateways, strict=True)
            if part
        ]
        one = {
            "id": self._gid("Refund"), "createdAt": self.stamp(), "updatedAt": self.stamp(), "note": note,
            "duties": [{"amountSet": self.bag(duties)}] if duties else [], "totalRefundedSet": self.bag(total),
            "refundLineItems": rows, "refundShippingLines": freight, "orderAdjustments": adjustments, "transactions": paid,
        }  # fmt: skip
        order["refunds"].append(one)
        order["transactions"] += paid
        if total:
            order["displayFinancialStatus"] = "PARTIALLY_REFUNDED"
        # Shopify tells of the refund before the order shows it.
        self._tell("refunds/create", number)
        self.touch(number)
        return str(one["id"]).rpartition("/")[2]

    def finish_refund(self, number: str, at: int, status: str = "SUCCESS") -> None:
        """The money of a refund is on its way no more."""
        for one in self.orders[number]["refunds"][at]["transactions"]:
            one["status"], one["processedAt"] = status, self.stamp()
        self.touch(number)

    def set_level(self, sku: str, location: str, quantity: int, /, **item: Any) -> None:
        """Somebody counts."""
        row = self._level(sku, location)
        row["item"].update(item)
        row["on_hand"] = quantity
        row["updatedAt"] = self.stamp()
        self._tell("inventory_levels/update", sku)

    def _move(self, sku: str, location: str, delta: int) -> None:
        if (sku, location) in self.levels:
            self.set_level(sku, location, self.levels[sku, location]["on_hand"] + delta)

    def _level(self, sku: str, location: str) -> Row:
        if sku not in self.items:
            self.items[sku] = {"id": self._gid("InventoryItem"), "sku": sku, "tracked": True, "duplicateSkuCount": 0}
        if (sku, location) not in self.levels:
            item = self.items[sku]
            gid = f"{self._gid('InventoryLevel')}?inventory_item_id={str(item['id']).rpartition('/')[2]}"
            self.levels[sku, location] = {
                "id": gid,
                "item": item,
                "location": self.locations[location],
                "on_hand": 0,
                "updatedAt": self.stamp(),
            }
        return self.levels[sku, location]

    def _line(self, line: Mapping[str, Any], included: bool, rate: Decimal) -> Row:
        price, quantity = Decimal(line["price"]), int(line["quantity"])
        cut = Decimal(line.get("discount", 0))
        own = Decimal(line.get("rate", rate))
        paid = price * quantity - cut
        tax = (paid * own / (1 + own) if included else paid * own).quantize(_CENT, ROUND_HALF_UP)
        return {
            "id": self._gid("LineItem"), "sku": line.get("sku"), "name": line.get("name", "Tea"), "title": "Tea",
            "quantity": quantity, "currentQuantity": quantity, "unfulfilledQuantity": quantity,
            "requiresShipping": line.get("requires_shipping", True), "isGiftCard": line.get("gift_card", False),
            "originalUnitPriceSet": self.bag(price),
            "discountAllocations": [{"allocatedAmountSet": self.bag(cut)}] if cut else [], "duties": [],
            "taxLines": [{"title": "VAT", "rate": float(own), "priceSet": self.bag(tax)}] if own else [],
        }  # fmt: skip

    def _freight(self, amount: str, included: bool, rate: Decimal) -> Row:
        paid = Decimal(amount)
        tax = (paid * rate / (1 + rate) if included else paid * rate).quantize(_CENT, ROUND_HALF_UP)
        return {
            "id": self._gid("ShippingLine"), "title": "Next day", "code": "ND", "source": "shopify",
            "originalPriceSet": self.bag(amount), "discountAllocations": [], "quantity": None,
            "taxLines": [{"title": "VAT", "rate": float(rate), "priceSet": self.bag(tax)}] if rate else [],
        }  # fmt: skip

    def _gross(self, row: Row) -> Decimal:
        price = row.get("originalUnitPriceSet") or row["originalPriceSet"]
        paid = Decimal(price["shopMoney"]["amount"]) * (row["quantity"] or 1)
        return paid - sum(
            (Decimal(each["allocatedAmountSet"]["shopMoney"]["amount"]) for each in row["discountAllocations"]),
            Decimal(0),
        )

    def _tax(self, row: Row) -> Decimal:
        return sum((Decimal(each["priceSet"]["shopMoney"]["amount"]) for each in row["taxLines"]), Decimal(0))

    def _part_tax(self, amount: Decimal, order: Row) -> Decimal:
        row = order["shippingLines"][0]
        return (self._tax(row) * amount / self._gross(row)).quantize(_CENT, ROUND_HALF_UP)

    def _transaction(self, kind: str, amount: str, gateway: str = "shopify_payments", status: str = "SUCCESS") -> Row:
        return {
            "id": self._gid("OrderTransaction"), "kind": kind, "status": status, "gateway": gateway,
            "processedAt": self.stamp(), "createdAt": self.stamp(), "amountSet": self.bag(amount),
        }  # fmt: skip

    def _sale(self, row: Row, quantity: int | None, included: bool) -> Row:
        is_freight = "sku" not in row
        kind = "SHIPPING" if is_freight else "GIFT_CARD" if row["isGiftCard"] else "PRODUCT"
        total = self._gross(row) + (0 if included else self._tax(row))
        return {
            "id": self._gid("Sale"), "actionType": "ORDER", "lineType": kind, "quantity": quantity,
            "totalAmount": self.bag(total), "totalTaxAmount": self.bag(self._tax(row)),
            "lineItem": None if is_freight else row,
        }  # fmt: skip

    def _agreement(self, reason: str, sales: list[Row]) -> Row:
        return {"id": self._gid("SalesAgreement"), "happenedAt": self.stamp(), "reason": reason, "sales": sales}

    # ---- webhooks

    def _tell(self, topic: str, number: str) -> None:
        if topic not in self.subscriptions:
            return
        body = json.dumps({"id": number, "admin_graphql_api_id": f"gid://shopify/Order/{number}"}).encode()
        event = f"{next(self._ids)}"
        self.outbox.append(Webhook(topic, body, f"{next(self._ids)}", event, self.stamp()))

    async def deliver(self, post: Callable[[Mapping[str, str], bytes], Awaitable[int]]) -> None:
        """Send what waits once: in any order, some twice, some not at all (`rates`: `twice`, `lost`).

        Args:
            post: Sends headers and body to the subscription's address; returns the status, 0 when nothing answered.
        """
        waiting, self.outbox = self.outbox, []
        self._random.shuffle(waiting)
        for one in waiting:
            if one.topic not in self.subscriptions or self._random.random() < self.rates.get("lost", 0):
                continue
            for _ in range(2 if self._random.random() < self.rates.get("twice", 0) else 1):
                status = await post(self.headers_of(one), one.body)
            if not 200 <= status < 300:
                one.tries += 1
                if one.tries >= _TRIES:
                    self.subscriptions.discard(one.topic)
                else:
                    self.outbox.append(one)

    def headers_of(self, one: Webhook) -> dict[str, str]:
        """The headers of a delivery, with its signature."""
        mac = hmac.new(self.secret.encode(), one.body, hashlib.sha256).digest()
        return {
            "Content-Type": "application/json", "X-Shopify-Topic": one.topic, "X-Shopify-Shop-Domain": self.domain,
            "X-Shopify-Hmac-SHA256": base64.b64encode(mac).decode(), "X-Shopify-API-Version": self.versions[1],
            "X-Shopify-Webhook-Id": one.id, "X-Shopify-Event-Id": one.event_id, "X-Shopify-Triggered-At": one.triggered_at,
        }  # fmt: skip

    # ---- over HTTP

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        body = await whole_body(receive)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        status, extra, answer = self._answer(scope["method"], scope["path"], headers, body)
        extra = {"date": format_datetime(self.now().astimezone(UTC), usegmt=True), **extra}
        raw = [(name.encode(), value.encode()) for name, value in extra.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": answer})

    def _answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if path.startswith("/bulk/"):
            if "x-shopify-access-token" in headers:
                self.leaked.append(path)
            return self._serve_file(path, headers.get("range", ""))
        match = re.fullmatch(r"/admin/api/(\d{4}-\d\d)/graphql\.json", path)
        if match is None or method != "POST":
            return _json(404 if match is None else 406, {"errors": "Not Found"})
        fault = self._fault()
        if fault is not None and fault.kind in ("http", "html"):
            text = {"errors": "Exceeded 2 calls per second for api client."}
            return _json(fault.status, text, fault.headers) if fault.kind == "http" else (fault.status, {}, b"<html>")
        if fault is not None and fault.kind == "drop":
            raise ConnectionDroppedError
        if not hmac.compare_digest(headers.get("x-shopify-access-token", "").encode(), self.token.encode()):
            return _json(
                401, {"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"}
            )
        version = self._version = match[1] if match[1] in self.versions else self.versions[0]
        try:
            asked = json.loads(body)
            if fault is not None and fault.kind == "graphql":
                raise _GraphQLError("Internal error", fault.code)  # noqa: TRY301 -- one way out
            answer = self._run(asked["query"], asked.get("variables") or {})
        except _GraphQLError as error:
            answer = {"errors": [{"message": str(error), "extensions": {"code": error.code}}]}
            if error.code is None:
                del answer["errors"][0]["extensions"]
        except (ValueError, KeyError, TypeError):
            return _json(400, {"errors": "Bad Request"})
        if fault is not None and fault.kind == "late":
            raise ConnectionDroppedError
        return _json(200, answer, {"x-shopify-api-version": version})

    def _serve_file(self, path: str, wanted: str) -> tuple[int, dict[str, str], bytes]:
        """A result as its storage has it: behind an address that is signed for a week, whole or from a byte on."""
        found = self._files.get(path)
        one = next((each for each in self._bulk.values() if path in (each["path"], f"{each['path']}.partial")), None)
        if found is None or one is None or _time(one["createdAt"]) + _BULK_KEPT < self.now():
            return 403, {}, b"<Error><Code>ExpiredToken</Code></Error>"
        if self._random.random() < self.rates.get("drop", 0):
            raise ConnectionDroppedError
        start = re.fullmatch(r"bytes=(\d+)-", wanted)
        if start is None:
            return 200, {}, found
        at = int(start[1])
        if at >= len(found):
            return 416, {"content-range": f"bytes */{len(found)}"}, b""
        return 206, {"content-range": f"bytes {at}-{len(found) - 1}/{len(found)}"}, found[at:]

    def _fault(self) -> Fault | None:
        if self.faults:
            return self.faults.popleft()
        if self._random.random() < self.rates.get("html", 0):
            return Fault("html", 502)
        if self._random.random() < self.rates.get("drop", 0):
            return Fault("drop")
        return None

    def _run(self, document: str, variables: Mapping[str, Any]) -> Row:
        kind, name, declared, selection = _Parser(document).operation()
        if unknown := variables.keys() - declared:
            raise _GraphQLError(f"Variable ${min(unknown)} is not declared", "undefinedVariable")
        self.before(name)
        run = _Run(self, variables)
        root = "Mutation" if kind == "mutation" else "Query"
        cost = run.requested(root, selection)
        if cost > MAX_QUERY_COST:
            raise _GraphQLError(
                f"Query cost is {cost}, which exceeds the single query max cost limit ({MAX_QUERY_COST}).",
                "MAX_COST_EXCEEDED",
            )
        available = self._refill()
        if cost > available:
            self.throttled += 1
            return {
                "errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}],
                "extensions": self._cost(cost, None),
            }
        for each in selection:
            scope = _SCOPES.get(each.name, "read_orders") if isinstance(each, _Field) else ""
            if isinstance(each, _Field) and scope and scope not in self.scopes:
                raise _GraphQLError(f"Access denied for {each.name} field.", "ACCESS_DENIED")
        self.calls.append(name)
        data = run.resolve(root, selection, {})
        self._available -= run.actual
        return {"data": data, "extensions": self._cost(cost, run.actual)}

    def _refill(self) -> float:
        now = self._clock()
        passed = max(0.0, (now - self._available_at).total_seconds())
        self._available = min(self.maximum, self._available + passed * self.restore)
        self._available_at = now
        return self._available

    def _cost(self, requested: int, actual: int | None) -> Row:
        status = {
            "maximumAvailable": self.maximum,
            "currentlyAvailable": int(self._available),
            "restoreRate": self.restore,
        }
        return {"cost": {"requestedQueryCost": requested, "actualQueryCost": actual, "throttleStatus": status}}

    # ---- what queries find

    def expire_cursors(self) -> None:
        """No page's cursor is known any more."""
        self._cursor_epoch += 1

    def root(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """A field of Query or Mutation."""
        gid = str(arguments.get("id", ""))
        number = gid.rpartition("/")[2]
        match name:
            case "orders":
                return self._changed(arguments)
            case "order":
                return self.orders.get(number)
            case "fulfillment":
                return next((f for o in self.orders.values() for f in o["fulfillments"] if f["id"] == gid), None)
            case "refund":
                return next((r for o in self.orders.values() for r in o["refunds"] if r["id"] == gid), None)
            case "location":
                return self.locations.get(number)
            case "node":
                return self._look_bulk(gid)
            case "locations":
                return list(self.locations.values())
            case "currentAppInstallation":
                return {"accessScopes": [{"handle": each} for each in sorted(self.scopes)]}
            case "webhookSubscriptions":
                topics = sorted(self.subscriptions)
                return [
                    {"id": f"gid://shopify/WebhookSubscription/{at}", "topic": each.replace("/", "_").upper()}
                    for at, each in enumerate(topics, 1)
                ]
            case "nodes":
                return [self._node(str(each)) for each in arguments["ids"]]
            case _:
                return self._start_bulk(str(arguments["query"]), grouped=arguments.get("groupObjects"))

    def _node(self, gid: str) -> Row | None:
        match gid.split("/")[3:4]:
            case ["Order"]:
                return self.orders.get(gid.rpartition("/")[2])
            case ["Fulfillment"] | ["Refund"] as kind:
                part: Row | None = self.root(kind[0].lower(), {"id": gid})
                return part
            case _:
                return None

    def _changed(self, arguments: Mapping[str, Any]) -> list[Row]:
        lag = timedelta(seconds=self.index_lag_s)
        for number, order in self.orders.items():
            if _time(order["updatedAt"]) + lag <= self.now() or not lag:
                self._indexed[number] = (order["updatedAt"], order["id"])
        since, searched = _search(arguments.get("query"))
        if arguments.get("sortKey") not in (None, "UPDATED_AT"):
            raise _GraphQLError("sortKey", "argumentLiteralsIncompatible")
        rows = sorted((at, gid) for at, gid in self._indexed.values() if since is None or _time(at) >= since)
        # The row is as it is now, its place in the list as the index has it.
        found = [{**self.orders[gid.rpartition("/")[2]], "updatedAt": at, "_key": [at, gid]} for at, gid in rows]
        return [row for row in found if searched(_time(row["createdAt"]))]

    def levels_of(self, location: Row, query: str | None) -> list[Row]:
        """The counts of a location, in no order that means anything."""
        since = _since(query)
        return [
            {**row, "_key": [row["id"]]}
            for row in sorted(self.levels.values(), key=lambda row: str(row["id"]))
            if row["location"] is location and (since is None or _time(row["updatedAt"]) >= since)
        ]

    def cursor(self, key: object) -> str:
        """A page's end, opaque."""
        return base64.b64encode(json.dumps([self._cursor_epoch, key]).encode()).decode()

    def key(self, cursor: str) -> Any:
        """What a cursor stands for.

        Raises:
            _GraphQLError: It has expired.
        """
        try:
            epoch, key = json.loads(base64.b64decode(cursor))
        except ValueError:
            epoch, key = -1, None
        if epoch != self._cursor_epoch:
            raise _GraphQLError("Invalid cursor for current pagination sort.", None)
        return key

    # ---- bulk operations

    def _start_bulk(self, query: str, *, grouped: bool | None) -> Row:
        def refuse(message: str, code: str) -> Row:
            error = {"field": ["query"], "message": message, "code": code}
            return {"bulkOperation": None, "userErrors": [error]}

        is_new = self._version >= "2026-01"
        running = sum(one["status"] == "RUNNING" for one in self._bulk.values())
        if running >= (5 if is_new else 1):
            what = "A bulk query operation for this app and shop is already in progress"
            return refuse(what, "LIMIT_REACHED" if is_new else "OPERATION_IN_PROGRESS")
        gid = self._gid("BulkOperation")
        kind, _, _, selection = _Parser(query).operation()
        lines: list[Row] = []
        try:
            _check_bulk(kind, selection)
            _Run(self, {}).flatten("Query", selection, {}, None, lines)
        except _GraphQLError as error:
            return refuse(str(error), "INVALID_QUERY")
        if not (not is_new if grouped is None else grouped):
            # Each kind after its parents, but not beside them.
            lines.sort(key=lambda line: "__parentId" in line)
        path = f"/bulk/{gid.rpartition('/')[2]}.jsonl"
        self._files[path] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        one = {
            "id": gid, "status": "RUNNING", "errorCode": None, "objectCount": str(len(lines)), "partialDataUrl": None,
            "url": f"https://{self.domain}{path}" if lines else None, "looks": 1, "createdAt": self.stamp(),
            "completedAt": None, "path": path,
        }  # fmt: skip
        self._bulk[gid] = one
        return {"bulkOperation": {**one, "status": "CREATED"}, "userErrors": []}

    def _look_bulk(self, gid: str) -> Row | None:
        one = self._bulk.get(gid)
        if one is None:
            return None
        if one["status"] == "RUNNING":
            one["looks"] -= 1
            if one["looks"] < 0:
                one["status"], one["completedAt"] = "COMPLETED", self.stamp()
                if self.bulk_failures:
                    self._fail_bulk(one, self.bulk_failures.popleft())
        elif one["status"] == "COMPLETED" and _time(one["createdAt"]) + _BULK_KEPT < self.now():
            one["status"] = "EXPIRED"
        return {**one, "url": one["url"] if one["status"] == "COMPLETED" else None}

    def _fail_bulk(self, one: Row, error: str) -> None:
        """`CANCELED`, or FAILED with an error code and what was found by then: the last order of it lacks lines."""
        if error == "CANCELED":
            one["status"] = error
            return
        one["status"], one["errorCode"] = "FAILED", error
        found = self._files[one["path"]]
        self._files[f"{one['path']}.partial"] = b"".join(found.splitlines(keepends=True)[: found.count(b"\n") // 2])
        one["partialDataUrl"] = f"https://{self.domain}{one['path']}.partial"


def _check_bulk(kind: str, selection: "tuple[_Field | _Inline, ...]") -> None:
    """What a bulk operation may ask for (shopify.dev, "Perform bulk operations", read 2026-11-21).

    Raises:
        _GraphQLError: It may not.
    """
    if kind != "query" or len(selection) != 1 or not isinstance(selection[0], _Field):
        raise _GraphQLError("Bulk queries must have exactly one top-level field.", None)
    if TYPES["Query"].get(selection[0].name, ("",))[0] != "connection":
        raise _GraphQLError("Bulk queries must contain at least one connection.", None)
    found = _connections("Query", selection)
    if len(found) > _BULK_CONNECTIONS:
        raise _GraphQLError("Bulk queries cannot contain more than 5 connections.", None)
    if max(depth for depth, _ in found) > 2:
        raise _GraphQLError("Bulk queries cannot contain connections with a nesting depth greater than 2.", None)
    for _, nodes in found:
        has_id = any(isinstance(each, _Field) and each.name == "id" for each in nodes)
        if not has_id and any(depth > 0 for depth, _ in _connections_in(nodes)):
            raise _GraphQLError("The parent field must have id selected for nested connections.", None)


def _connections(type_name: str, selection: "Sequence[_Field | _Inline]", depth: int = 0) -> "list[tuple[int, Any]]":
    """Every connection, by how deep it lies, with what is asked of its nodes."""
    found: list[tuple[int, Any]] = []
    for each in selection:
        if not isinstance(each, _Field) or each.name not in TYPES[type_name]:
            continue
        kind, inner = TYPES[type_name][each.name]
        if kind == "connection":
            nodes = _nodes_of(each)
            found += [(depth, nodes), *_connections(inner, nodes, depth + 1)]
        elif kind != "scalar":
            found += _connections(inner, each.selection, depth)
    return found


def _connections_in(nodes: "Sequence[_Field | _Inline]") -> "list[tuple[int, Any]]":
    edges = [each for each in nodes if isinstance(each, _Field) and _nodes_of(each)]
    return [(1, _nodes_of(each)) for each in edges]


class _Run:
    """One query at work: checks it against the schema, reckons its cost, finds what it asks for."""

    def __init__(self, shop: Shop, variables: Mapping[str, Any]) -> None:
        self._shop, self._variables = shop, variables
        self.actual = 0

    def requested(self, type_name: str, selection: Sequence[_Field | _Inline]) -> int:
        """The most that it can cost: an object is a point, rows are as many as are asked for."""
        if type_name == "Node":
            kinds = [each for each in selection if isinstance(each, _Inline)]
            own = [each for each in selection if not isinstance(each, _Inline)]
            self._fields(type_name, own)
            return max((self.requested(self._kind(each), each.selection) for each in kinds), default=0)
        cost = 0
        for each in self._fields(type_name, selection):
            kind, inner = TYPES[type_name][each.name]
            if kind == "scalar":
                continue
            if kind == "nodes":
                ids = self._value(each.arguments["ids"])
                if not isinstance(ids, list) or len(ids) > 250:
                    raise _GraphQLError("ids must be a list of at most 250", "BAD_REQUEST")
                cost += len(ids) * (1 + self.requested(inner, each.selection))
                continue
            if not each.selection:
                raise _GraphQLError(f"Field must have selections (field '{each.name}')", "selectionMismatch")
            if kind == "connection":
                cost += self._first(each) * (1 + self.requested(inner, _nodes_of(each)))
            elif kind == "list" and "first" in each.arguments:
                cost += self._first(each) * (1 + self.requested(inner, each.selection))
            else:
                cost += 1 + self.requested(inner, each.selection)
        return cost

    def _kind(self, each: _Inline) -> str:
        if each.type not in TYPES:
            raise _GraphQLError(f"No such type {each.type}", "undefinedType")
        return each.type

    def _fields(self, type_name: str, selection: Sequence[_Field | _Inline], *, inside: bool = False) -> list[_Field]:
        found: list[_Field] = []
        for each in selection:
            if isinstance(each, _Inline):
                inner = type_name if each.type in _FRAGMENTS else self._kind(each)
                found += self._fields(inner, each.selection, inside=True)
                continue
            if each.name not in TYPES[type_name]:
                raise _GraphQLError(f"Field '{each.name}' doesn't exist on type '{type_name}'", "undefinedField")
            if not inside and each.name in _ONLY_IN_FRAGMENTS.get(type_name, ()):
                raise _GraphQLError(f"Field '{each.name}' doesn't exist on type '{type_name}'", "undefinedField")
            found.append(each)
        return found

    def _first(self, each: _Field) -> int:
        first = self._value(each.arguments.get("first"))
        if not isinstance(first, int) or not 1 <= first <= 250:
            raise _GraphQLError("you must provide one of first or last, from 1 to 250", "BAD_REQUEST")
        return first

    def _value(self, value: Any) -> Any:
        if isinstance(value, _Variable):
            return self._variables.get(value.name)
        return [self._value(each) for each in value] if isinstance(value, list) else value

    def resolve(self, type_name: str, selection: Sequence[_Field | _Inline], row: Mapping[str, Any]) -> Row:
        """The answer to a selection."""
        found: Row = {}
        for each in selection:
            if isinstance(each, _Inline) and type_name == "Node":
                if f"/{each.type}/" in str(row["id"]):
                    found |= self.resolve(each.type, each.selection, row)
                continue
            if isinstance(each, _Inline):
                if _FRAGMENTS.get(each.type, row.get("lineType")) == row.get("lineType"):
                    found |= self.resolve(each.type if each.type in TYPES else type_name, each.selection, row)
                continue
            kind, inner = TYPES[type_name][each.name]
            arguments = {name: self._value(value) for name, value in each.arguments.items()}
            value = self._find(type_name, each.name, arguments, row)
            if kind == "scalar" or value is None:
                found[each.alias] = value
            elif kind == "nodes":
                self.actual += len(value)
                found[each.alias] = [one and self.resolve(inner, each.selection, one) for one in value]
            elif kind == "object":
                self.actual += 1
                found[each.alias] = self.resolve(inner, each.selection, value)
            elif kind == "list":
                rows = value[: arguments["first"]] if arguments.get("first") else value
                self.actual += len(rows)
                found[each.alias] = [self.resolve(inner, each.selection, one) for one in rows]
            else:
                found[each.alias] = self._page(inner, each, arguments, value)
        return found

    def _find(self, type_name: str, name: str, arguments: Mapping[str, Any], row: Mapping[str, Any]) -> Any:
        if type_name in ("Query", "Mutation"):
            return self._shop.root(name, arguments)
        if (type_name, name) == ("Location", "inventoryLevels"):
            return self._shop.levels_of(self._shop.locations[str(row["id"]).rpartition("/")[2]], arguments.get("query"))
        if (type_name, name) == ("InventoryLevel", "quantities"):
            known = {"on_hand": row["on_hand"], "available": row["on_hand"] - row.get("committed", 0)}
            return [{"name": one, "quantity": known[one], "updatedAt": row["updatedAt"]} for one in arguments["names"]]
        return row[name]

    def _page(self, inner: str, each: _Field, arguments: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Row:
        first, after = int(arguments["first"]), arguments.get("after")
        if after is not None:
            last = self._shop.key(str(after))
            rows = [row for row in rows if _key_of(row) > last]
        page = rows[:first]
        self.actual += len(page)
        found: Row = {}
        for part in each.selection:
            if not isinstance(part, _Field):
                raise _GraphQLError("no fragments here", "undefinedField")
            if part.name == "nodes":
                found[part.alias] = [self.resolve(inner, part.selection, row) for row in page]
            elif part.name == "pageInfo":
                end = self._shop.cursor(_key_of(page[-1])) if page else None
                found[part.alias] = {"hasNextPage": len(rows) > first, "endCursor": end}
            else:
                raise _GraphQLError(f"Field '{part.name}' doesn't exist on type '{inner}Connection'", "undefinedField")
        return found

    def flatten(
        self, type_name: str, selection: Sequence[_Field | _Inline], row: Mapping[str, Any], parent: str | None, out: list[Row]
    ) -> None:  # fmt: skip
        """A bulk query's rows, each after the one it belongs to."""
        for each in self._fields(type_name, selection):
            kind, inner = TYPES[type_name][each.name]
            if kind == "list" and any(
                TYPES[inner].get(one.name, ("",))[0] == "connection" for one in self._fields(inner, each.selection)
            ):
                raise _GraphQLError(
                    "Queries that contain a connection field within a list field are not supported.", None
                )
            if kind != "connection":
                continue
            nodes = _nodes_of(each)
            arguments = {name: self._value(value) for name, value in each.arguments.items()}
            for one in self._find(type_name, each.name, arguments, row):
                own = [part for part in self._fields(inner, nodes) if TYPES[inner][part.name][0] != "connection"]
                line = self.resolve(inner, own, one)
                out.append({**line, "__parentId": parent} if parent is not None else line)
                self.flatten(inner, nodes, one, str(one["id"]), out)


def _nodes_of(each: _Field) -> tuple[_Field | _Inline, ...]:
    for part in each.selection:
        if isinstance(part, _Field) and part.name == "nodes":
            return part.selection
        if isinstance(part, _Field) and part.name == "edges":
            return next(
                (inner.selection for inner in part.selection if isinstance(inner, _Field) and inner.name == "node"), ()
            )
    return ()


def _key_of(row: Mapping[str, Any]) -> Any:
    return row.get("_key") or [row.get("id")]


_WORD: Final = re.compile(r"(updated_at|created_at):(>=|<)'(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)'")


def _search(query: str | None) -> tuple[datetime | None, Callable[[datetime], bool]]:
    """From when on something was changed, and whether it was created in time."""
    since: datetime | None = None
    bounds: list[tuple[str, datetime]] = []
    for word in query.split(" AND ") if query else ():
        found = _WORD.fullmatch(word)
        if found is None or (found[1], found[2]) == ("updated_at", "<"):
            raise _GraphQLError("the simulator knows no such search", "BAD_REQUEST")
        if found[1] == "updated_at":
            since = _time(found[3])
        else:
            bounds.append((found[2], _time(found[3])))
    return since, lambda at: all(at >= bound if sign == ">=" else at < bound for sign, bound in bounds)


def _since(query: str | None) -> datetime | None:
    return _search(query)[0]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _json(status: int, body: object, headers: Mapping[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    return status, {"content-type": "application/json", **(headers or {})}, json.dumps(body).encode()


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        kind = "startup" if message["type"] == "lifespan.startup" else "shutdown"
        await send({"type": f"lifespan.{kind}.complete"})
        if kind == "shutdown":
            return

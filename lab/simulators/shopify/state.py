"""The shop: its orders, counts and locations, and what people do in it."""

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from lab.simulators.shopify.products import ProductShelf
from lab.simulators.shopify.refunds import RefundLine, refund_row
from lab.simulators.shopify.rows import ADDRESS, Row, RowMaker, gross_of, number_of, tax_of
from lab.simulators.shopify.webhooks import Webhook, WebhookOutbox


class ShopState(WebhookOutbox):
    """A shop's data. Orders are known by their number, the last part of their id.

    Args:
        clock: Aware time; the shop's own is `skew_s` ahead of it.
        domain: Its own.
        secret: The app's client secret, for webhooks.
        version: Of the API, in webhooks.
        currency: The shop's.
        random: For rates and orders of delivery.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], datetime],
        domain: str,
        secret: str,
        version: str,
        currency: str,
        random: Random,
        skew_s: float,
    ) -> None:
        super().__init__(domain, secret, version, random)
        self._clock, self.skew_s = clock, skew_s
        self.orders: dict[str, Row] = {}
        self.levels: dict[tuple[str, str], Row] = {}
        self.locations: dict[str, Row] = {}
        self.rows = RowMaker(currency, self.stamp)
        self.products = ProductShelf(self.rows)
        self.bag = self.rows.bag
        self._numbers = itertools.count(1001)

    def now(self) -> datetime:
        """The shop's time, whole seconds."""
        return (self._clock() + timedelta(seconds=self.skew_s)).replace(microsecond=0)

    def stamp(self) -> str:
        """Its text, at the shop's offset."""
        return self.now().astimezone(UTC).isoformat().replace("+00:00", "Z")

    def add_location(self, number: str, name: str = "Shop") -> str:
        """A place that has stock."""
        self.locations[number] = {"id": f"gid://shopify/Location/{number}", "name": name, "isActive": True}
        return number

    # ---- orders

    def place_order(
        self,
        *lines: Mapping[str, Any],
        taxes_included: bool = True,
        rate: str = "0.2",
        shipping: str | None = "3.60",
        duties: str | None = None,
        at_till: bool = False,
        paid: bool = True,
        **fields: Any,
    ) -> str:
        """A customer orders.

        Args:
            lines: `{"sku", "quantity", "price", "discount"?, "rate"?}`.
            taxes_included: Whether prices hold tax.
            rate: Of lines that have none of their own, and of the rest.
            shipping: What the customer pays for it; None: nothing is sent.
            duties: Their price, taxed on top; they are part of the total (shopify.dev, `Duty.taxLines`).
            at_till: A sale of a shop: it has neither address.
            paid: Whether the money is there at once.
            fields: Of the order, as they are.

        Returns:
            The order's number.
        """
        own = Decimal(rate)
        gid = self.rows.gid("Order")
        rows = [self.rows.line(line, taxes_included, own) for line in lines]
        freight = [self.rows.freight(shipping, taxes_included, own)] if shipping is not None else []
        sold = [*rows, *freight]
        sales = [self.rows.sale(row, row["quantity"], taxes_included) for row in sold]
        tax = sum((tax_of(row) for row in sold), Decimal(0))
        total = sum((gross_of(row) for row in sold), Decimal(0)) + (0 if taxes_included else tax)
        if duties is not None:
            its_tax = Decimal(duties) * own
            rows[0]["duties"] = [{"price": self.bag(duties), "taxLines": self.rows.taxes(own, its_tax)}]
            sales.append(self.rows.charge("DUTY", Decimal(duties) + its_tax, its_tax))
            total, tax = total + Decimal(duties) + its_tax, tax + its_tax
        order = {
            **_order_row(gid, f"#{next(self._numbers)}", self.stamp(), at_till=at_till),
            "taxesIncluded": taxes_included,
            "totalPriceSet": self.bag(total),
            "currentTotalPriceSet": self.bag(total),
            "totalTaxSet": self.bag(tax),
            "originalTotalDutiesSet": self.bag(duties) if duties is not None else None,
            "lineItems": rows,
            "shippingLines": freight,
            "agreements": [self.rows.agreement("ORDER", sales)],
            **fields,
        }
        number = number_of(order)
        self.orders[number] = order
        self._announce("orders/create", number)
        if paid:
            self.pay(number)
        return number

    def pay(self, number: str, amount: str | None = None) -> None:
        """The customer's money arrives; all of it where no amount is said."""
        order = self.orders[number]
        order["transactions"].append(
            self.rows.transaction("SALE", amount or order["totalPriceSet"]["shopMoney"]["amount"])
        )
        order["displayFinancialStatus"] = "PAID"
        self.touch(number, "orders/paid")

    def touch(self, number: str, topic: str = "orders/updated", **fields: Any) -> None:
        """Something about an order changes, if only its time."""
        self.orders[number].update(fields)
        self.orders[number]["updatedAt"] = self.stamp()
        self._announce(topic, number)

    def add_line(self, number: str, line: Mapping[str, Any], rate: str = "0.2") -> str:
        """An edit adds a line."""
        order = self.orders[number]
        row = self._add(order, line, rate, "ORDER_EDIT")
        order["edited"] = True
        self.touch(number, "orders/edited")
        return number_of(row)

    def exchange(
        self, number: str, at: int, line: Mapping[str, Any], location: str, *, rate: str = "0.2", fee: str = "0"
    ) -> str:
        """A line comes back whole, and other goods go out: the money is netted, a return's fee with it.

        The order's lines and totals then hold both; only its agreements say which were sold when (shopify.dev
        changelogs, "Return Sales and Exchange APIs", 2024-04, and on netting, 2024-07). It is not `edited`.

        Args:
            number: The order's.
            at: Which line comes back.
            line: What goes out.
            location: Where the goods come back to.
            rate: Of the new line's tax.
            fee: What the return costs, without tax.

        Returns:
            The new line's number.
        """
        order = self.orders[number]
        old = order["lineItems"][at]
        fees = [self.rows.charge("FEE", Decimal(fee), Decimal(0))] if Decimal(fee) else []
        back = self.rows.sale(old, -old["quantity"], order["taxesIncluded"])
        row = self._add(order, line, rate, "RETURN", back, *fees)
        new = order["agreements"][-1]["sales"][0]["totalAmount"]["shopMoney"]["amount"]
        for name, amount in (("totalPriceSet", Decimal(new)), ("totalTaxSet", tax_of(row))):
            order[name] = self.bag(Decimal(order[name]["shopMoney"]["amount"]) + amount)
        rest = -Decimal(back["totalAmount"]["shopMoney"]["amount"]) - Decimal(fee) - Decimal(new)
        if rest < 0:
            self.pay(number, str(-rest))
        self.refund(
            number, [(at, old["quantity"], "RETURN", location)], money=str(max(rest, Decimal(0))), explained=False
        )
        return number_of(row)

    def _add(self, order: Row, line: Mapping[str, Any], rate: str, reason: str, *more: Row) -> Row:
        row = self.rows.line(line, order["taxesIncluded"], Decimal(rate))
        order["lineItems"].append(row)
        sale = self.rows.sale(row, row["quantity"], order["taxesIncluded"])
        order["agreements"].append(self.rows.agreement(reason, [sale, *more]))
        return row

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

    # ---- fulfilments and refunds

    def fulfil(
        self,
        number: str,
        location: str | None,
        lines: Mapping[int, int],
        *,
        status: str = "SUCCESS",
        company: str | None = None,
        tracking: str | None = None,
    ) -> str:
        """Units leave from a location; lines by their place in the order."""
        order = self.orders[number]
        rows = []
        for at, quantity in lines.items():
            row = order["lineItems"][at]
            if quantity > row["unfulfilledQuantity"]:
                raise ValueError("Invalid fulfillment order line item quantity requested.")
            row["unfulfilledQuantity"] -= quantity
            rows.append({"id": self.rows.gid("FulfillmentLineItem"), "quantity": quantity, "lineItem": row})
            if location is not None and row["sku"]:
                self._move(str(row["sku"]), location, -quantity)
        one = {
            "id": self.rows.gid("Fulfillment"),
            "name": f"{order['name']}.{len(order['fulfillments']) + 1}",
            "status": status,
            "createdAt": self.stamp(),
            "updatedAt": self.stamp(),
            "location": self.locations[location] if location is not None else None,
            "trackingInfo": [{"company": company, "number": tracking, "url": None}] if tracking or company else [],
            "fulfillmentLineItems": rows,
        }
        order["fulfillments"].append(one)
        self.touch(number, "fulfillments/create")
        return number_of(one)

    def finish_fulfilment(self, number: str, at: int, status: str) -> None:
        """A fulfilment becomes SUCCESS, CANCELLED ..."""
        one = self.orders[number]["fulfillments"][at]
        one["status"], one["updatedAt"] = status, self.stamp()
        self.touch(number, "fulfillments/update")

    def refund(self, number: str, lines: Iterable[RefundLine] = (), **options: Any) -> str:
        """Money goes back: lines (place, quantity, restock type, location); `options` as of `refunds.refund_row`."""
        order = self.orders[number]
        rows: Sequence[RefundLine] = list(lines)
        one = refund_row(self.rows, order, rows, self.locations, self.stamp(), **options)
        for at, quantity, restock, location in rows:
            line = order["lineItems"][at]
            line["currentQuantity"] -= quantity
            if restock in ("CANCEL", "NO_RESTOCK"):
                line["unfulfilledQuantity"] -= min(quantity, line["unfulfilledQuantity"])
            if restock == "RETURN" and location is not None and line["sku"]:
                self._move(str(line["sku"]), location, quantity)
        given_back = [
            self.rows.sale(order["lineItems"][at], -quantity, order["taxesIncluded"]) for at, quantity, _, _ in rows
        ]
        order["agreements"].append(self.rows.agreement("REFUND", given_back))
        order["refunds"].append(one)
        order["transactions"] += one["transactions"]
        if one["transactions"]:
            order["displayFinancialStatus"] = "PARTIALLY_REFUNDED"
        # Shopify announces the refund before the order shows it.
        self._announce("refunds/create", number)
        self.touch(number)
        return number_of(one)

    def finish_refund(self, number: str, at: int, status: str = "SUCCESS") -> None:
        """The money of a refund is on its way no more."""
        for one in self.orders[number]["refunds"][at]["transactions"]:
            one["status"], one["processedAt"] = status, self.stamp()
        self.touch(number)

    # ---- counts

    def set_level(self, sku: str, location: str, quantity: int, /, **item: Any) -> None:
        """Somebody counts."""
        row = self._level(sku, location)
        row["item"].update(item)
        row["on_hand"] = quantity
        row["updatedAt"] = self.stamp()
        self._announce("inventory_levels/update", sku)

    def _move(self, sku: str, location: str, delta: int) -> None:
        if (sku, location) in self.levels:
            self.set_level(sku, location, self.levels[sku, location]["on_hand"] + delta)

    def _level(self, sku: str, location: str) -> Row:
        item = self.products.item(sku)
        if (sku, location) not in self.levels:
            self.levels[sku, location] = {
                "id": f"{self.rows.gid('InventoryLevel')}?inventory_item_id={number_of(item)}",
                "item": item,
                "location": self.locations[location],
                "on_hand": 0,
                "updatedAt": self.stamp(),
            }
        return self.levels[sku, location]

    def _announce(self, topic: str, number: str) -> None:
        if topic not in self.subscriptions:
            return
        body = json.dumps({"id": number, "admin_graphql_api_id": f"gid://shopify/Order/{number}"}).encode()
        event = self.rows.number()
        self.outbox.append(Webhook(topic, body, self.rows.number(), event, self.stamp()))


def _order_row(gid: str, name: str, now: str, *, at_till: bool) -> Row:
    """What every new order has, before its lines and amounts."""
    address = None if at_till else dict(ADDRESS)
    return {
        "id": gid,
        "name": name,
        "createdAt": now,
        "processedAt": now,
        "updatedAt": now,
        "cancelledAt": None,
        "cancelReason": None,
        "closedAt": None,
        "test": False,
        "edited": False,
        "sourceName": "pos" if at_till else "web",
        "email": None if at_till else "mia@example.test",
        "displayFinancialStatus": "PENDING",
        "displayFulfillmentStatus": "UNFULFILLED",
        "note": None,
        "tags": [],
        "additionalFees": [],
        "metafield": None,
        "originalTotalAdditionalFeesSet": None,
        "customer": None,
        "shippingAddress": address,
        "billingAddress": address,
        "transactions": [],
        "fulfillments": [],
        "refunds": [],
    }

"""A Magento 2 shop as its buyers and merchants know it: orders, invoices, shipments and credit memos."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from lab.simulators.magento.prices import (
    ROW_AMOUNTS,
    SHIPPING_COMPENSATION,
    STEP,
    ZERO,
    CartItem,
    Fields,
    PriceRules,
    applied_tax,
    base_column,
    cents,
    repeats_its_parts,
)

LISTS = ("orders", "invoices", "shipments", "creditmemos")


class ActionRefusedError(Exception):
    """The shop does not allow this: more than is left, on hold, and so on."""


@dataclass
class MagentoShop(PriceRules):
    """One installation.

    Attributes:
        clock: The shop's own, which may be off.
        prices_include_tax: Whether catalogue prices do.
        tax_on_total: Tax is computed on the total and its rows may miss it by a cent (prices without tax only).
        base_rate: Base currency for one unit of the order's.
        child_rows: Whether shipments of bundles name the children beside the parent.
        lists: By name and entity_id, every row as the API has it.
        hidden: Rows that are not yet committed: (list, id) to the moment they are.
    """

    clock: Callable[[], datetime]
    prices_include_tax: bool = False
    tax_on_total: bool = False
    currency: str = "GBP"
    base_currency: str = "GBP"
    base_rate: Decimal = Decimal(1)
    child_rows: bool = True
    lists: dict[str, dict[int, Fields]] = field(default_factory=lambda: {name: {} for name in LISTS})
    hidden: dict[tuple[str, int], datetime] = field(default_factory=dict)
    _items: int = 900

    def _now(self) -> str:
        return self.clock().astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")

    def _next(self, name: str) -> int:
        return max(self.lists[name], default=450 if name == "orders" else 0) + 1

    def _next_item(self) -> int:
        self._items += 1
        return self._items

    def put(self, name: str, row: Fields) -> int:
        """Add a row as it is: whatever a module of the shop may have written.

        Columns that the shop finds and sorts by one way and tells another are told as in its field `_as`.
        """
        entity_id = int(row.get("entity_id") or self._next(name))
        self.lists[name][entity_id] = row
        return entity_id

    def touch(self, name: str, entity_id: int, **fields: Any) -> None:
        self.lists[name][entity_id] |= {**fields, "updated_at": self._now()}

    # ---- orders

    def place(
        self,
        *cart: CartItem,
        state: str = "new",
        shipping: Decimal = ZERO,
        shipping_rate: Decimal = Decimal(20),
        shipping_discount_percent: Decimal = ZERO,
        gift_card: Decimal = ZERO,
        customer: int | None = None,
        country: str | None = "GB",
        visible_at: datetime | None = None,
        **fields: Any,
    ) -> int:
        """A buyer orders; `shipping` is net."""
        order_id = self._next("orders")
        items = [row for cart_item in cart for row in self.cart_rows(order_id, cart_item, self._next_item)]
        header = self.shipping_amounts(shipping, shipping_rate, shipping_discount_percent / 100)
        row: Fields = {"entity_id": order_id, "increment_id": f"{order_id:09}", "state": state, "status": state}
        row |= {"store_id": 1, "created_at": self._now(), "updated_at": self._now()}
        row |= {"order_currency_code": self.currency, "base_currency_code": self.base_currency, **header}
        for prefix in ("", "base_"):
            row |= self.order_totals(items, header, prefix, gift_card)
        address = {
            "firstname": "Mia",
            "lastname": "Odum",
            "street": ["4 Lime Row", "Flat 2"],
            "city": "Leeds",
            "postcode": "LS1 4XX",
            "country_id": country,
            "telephone": "0113 000000",
            "email": "mia@example.test",
        }
        virtual = all(item.get("is_virtual") for item in items)
        extension: Fields = {
            "gift_cards_amount": gift_card,
            "base_gift_cards_amount": cents(gift_card * self.base_rate),
        }
        if not virtual:
            assignment = {"shipping": {"method": "flatrate_flatrate", "address": address}}
            extension["shipping_assignments"] = [assignment]
        extension["item_applied_taxes"] = [
            *(
                applied_tax("product", item["item_id"], country, item["tax_percent"], item["tax_amount"])
                for item in items
                if item.get("tax_percent") and not repeats_its_parts(item, items)
            ),
            *(
                [applied_tax("shipping", None, country, shipping_rate, header["shipping_tax_amount"])]
                if shipping
                else []
            ),
        ]
        row |= {
            "customer_id": customer,
            "customer_is_guest": 0 if customer else 1,
            "customer_email": "mia@example.test",
            "billing_address": address,
            "payment": {"method": "stripe_payments", "amount_ordered": row["grand_total"]},
            "items": items,
            "total_paid": None,
            "total_due": row["grand_total"],
            "extension_attributes": extension,
            **fields,
        }
        self.lists["orders"][order_id] = row
        if visible_at is not None:
            self.hidden["orders", order_id] = visible_at
        return order_id

    # ---- what the merchant does

    def order(self, order_id: int) -> Fields:
        return self.lists["orders"][order_id]

    def item_ids(self, order_id: int, sku: str) -> list[int]:
        return [item["item_id"] for item in self.order(order_id)["items"] if item["sku"] == sku]

    def invoice(self, order_id: int, quantities: Mapping[int, Decimal] | None = None) -> int:
        """The buyer has paid; without quantities for everything."""
        order = self._open(order_id)
        wanted = _wanted(
            order, quantities, lambda item: item["qty_ordered"] - item["qty_invoiced"] - item["qty_canceled"]
        )
        for item, quantity in wanted:
            item["qty_invoiced"] += quantity
        invoice_id = self._document("invoices", order_id, wanted, state=2)
        order |= {"total_paid": order["grand_total"], "total_due": ZERO}
        self._move_on(order)
        return invoice_id

    def ship(
        self,
        order_id: int,
        quantities: Mapping[int, Decimal] | None = None,
        *,
        tracks: Sequence[tuple[str, str, str]] = (("15501234567890", "DPD", "custom"),),
        source_code: str | None = "wh-uk",
        **fields: Any,
    ) -> int:
        """Goods leave; without quantities all that is left. Tracks are (number, title, carrier_code)."""
        order = self._open(order_id)
        wanted = [
            (item, quantity)
            for item, quantity in _wanted(order, quantities, _to_ship)
            if not item["is_virtual"] and (self.child_rows or item["parent_item_id"] is None or quantities is not None)
        ]
        if not wanted:
            raise ActionRefusedError("We cannot create an empty shipment.")
        for item, quantity in _wanted(order, quantities, _to_ship):
            item["qty_shipped"] += quantity
        rows = [
            {"entity_id": n, "track_number": number, "title": title, "carrier_code": code, "created_at": self._now()}
            for n, (number, title, code) in enumerate(tracks, 1)
        ]
        shipment_id = self._document("shipments", order_id, wanted, tracks=rows, comments=[], **fields)
        extension = {"source_code": source_code} if source_code is not None else []
        self.lists["shipments"][shipment_id]["extension_attributes"] = extension
        self._move_on(order)
        return shipment_id

    def track(self, shipment_id: int, number: str, title: str = "DPD") -> None:
        tracks = self.lists["shipments"][shipment_id]["tracks"]
        tracks.append({"track_number": number, "title": title, "carrier_code": "custom", "created_at": self._now()})
        self.touch("shipments", shipment_id)

    def refund(
        self,
        order_id: int,
        quantities: Mapping[int, Decimal] | None = None,
        *,
        shipping: Decimal = ZERO,
        adjustment_positive: Decimal = ZERO,
        adjustment_negative: Decimal = ZERO,
        online: bool = False,
        **fields: Any,
    ) -> int:
        """Money back; without quantities for all that is left, with {} for no goods. `shipping` is net."""
        order = self.order(order_id)
        left = _wanted(order, quantities, lambda item: item["qty_invoiced"] - item["qty_refunded"])
        rows = [_refund_row(order, item, quantity) for item, quantity in left]
        share = shipping / order["shipping_amount"] if order["shipping_amount"] else ZERO
        header: Fields = {
            "shipping_amount": shipping,
            "shipping_incl_tax": cents(order["shipping_incl_tax"] * share),
            "shipping_tax_amount": cents(order["shipping_tax_amount"] * share),
            "adjustment_positive": adjustment_positive,
            "adjustment_negative": adjustment_negative,
            "adjustment": adjustment_positive - adjustment_negative,
        }
        header |= {f"base_{name}": cents(value * self.base_rate) for name, value in header.items()}
        for prefix in ("", "base_"):
            priced = [row for row in rows if not row["_repeats"]]
            net, tax, discount, hidden = (sum((row.get(prefix + n, ZERO) for row in priced), ZERO) for n in ROW_AMOUNTS)
            tax += header[f"{prefix}shipping_tax_amount"]
            # A credit memo has no columns for the shipping's discount and its compensation: they are in its own.
            if order[f"{prefix}shipping_discount_amount"]:
                discount += (order[f"{prefix}shipping_discount_amount"] * share).quantize(STEP)
            hidden += cents(order[base_column(SHIPPING_COMPENSATION) if prefix else SHIPPING_COMPENSATION] * share)
            total = net - discount + hidden + tax + header[f"{prefix}shipping_amount"] + header[f"{prefix}adjustment"]
            names = ("subtotal", "discount_amount", "tax_amount", "discount_tax_compensation_amount", "grand_total")
            header |= {prefix + n: v for n, v in zip(names, (net, -discount, tax, hidden, total), strict=True)}
        for row in rows:
            del row["_repeats"]
        currencies = {name: order[name] for name in ("order_currency_code", "base_currency_code")}
        memo_id = self._next("creditmemos")
        self.lists["creditmemos"][memo_id] = {
            "entity_id": memo_id,
            "increment_id": f"{memo_id:09}",
            "order_id": order_id,
            "invoice_id": 1 if online else None,
            "state": 2,
            "store_id": order["store_id"],
            "created_at": self._now(),
            "updated_at": self._now(),
            **currencies,
            **header,
            "items": rows,
            "comments": [],
            **fields,
        }
        for item, quantity in left:
            item["qty_refunded"] += quantity
        self._move_on(order)
        return memo_id

    def cancel(self, order_id: int) -> None:
        """What is neither invoiced nor shipped will not be."""
        order = self._open(order_id)
        for item in order["items"]:
            left = item["qty_ordered"] - item["qty_invoiced"]
            item["qty_canceled"] = max(ZERO, min(left, _to_ship(item)))
        if all(item["qty_canceled"] == item["qty_ordered"] for item in order["items"]):
            order["state"] = order["status"] = "canceled"
        self._move_on(order)

    def hold(self, order_id: int) -> None:
        self.touch("orders", order_id, state="holded", status="holded", hold_before_state=self.order(order_id)["state"])

    def unhold(self, order_id: int) -> None:
        self.touch("orders", order_id, state=self.order(order_id)["hold_before_state"])

    def _open(self, order_id: int) -> Fields:
        order = self.order(order_id)
        if order["state"] in ("canceled", "closed", "holded"):
            raise ActionRefusedError(f"The order is {order['state']}.")
        return order

    def _document(self, name: str, order_id: int, rows: Sequence[tuple[Fields, Decimal]], **fields: Any) -> int:
        entity_id = self._next(name)
        self.lists[name][entity_id] = {
            "entity_id": entity_id,
            "increment_id": f"{entity_id:09}",
            "order_id": order_id,
            "store_id": self.order(order_id)["store_id"],
            "created_at": self._now(),
            "updated_at": self._now(),
            "items": [
                {"entity_id": n, "order_item_id": item["item_id"], "sku": item["sku"], "qty": quantity}
                for n, (item, quantity) in enumerate(rows, 1)
            ],
            **fields,
        }
        return entity_id

    def _move_on(self, order: Fields) -> None:
        items = [item for item in order["items"] if item["parent_item_id"] is None]
        paid = all(item["qty_invoiced"] + item["qty_canceled"] >= item["qty_ordered"] for item in items)
        shipped = all(item["is_virtual"] or _to_ship(item) <= 0 for item in order["items"])
        state = order["state"]
        if state in ("new", "pending_payment", "payment_review") and any(item["qty_invoiced"] for item in items):
            state = "processing"
        if state == "processing" and paid and shipped:
            state = "complete"
        if (
            state != "canceled"
            and any(item["qty_refunded"] for item in items)
            and all(item["qty_refunded"] + item["qty_canceled"] >= item["qty_ordered"] for item in items)
        ):
            state = "closed"
        self.touch("orders", order["entity_id"], state=state, status=state)


def _to_ship(item: Fields) -> Decimal:
    taken = item["qty_shipped"] + item["qty_refunded"] + item["qty_canceled"]
    return max(ZERO, Decimal(item["qty_ordered"] - taken))


def _refund_row(order: Fields, item: Fields, quantity: Decimal) -> Fields:
    """A row's share; the last one takes what is left of it."""
    row: Fields = {
        "entity_id": item["item_id"],
        "order_item_id": item["item_id"],
        "sku": item["sku"],
        "qty": quantity,
    }
    reached, ordered = item["qty_refunded"] + quantity, item["qty_ordered"]
    for name in (*ROW_AMOUNTS, *(f"base_{name}" for name in ROW_AMOUNTS)):
        if name not in item:
            continue
        taken = item.setdefault("_taken", {})
        share = (item[name] if reached == ordered else cents(item[name] * reached / ordered)) - taken.get(name, ZERO)
        taken[name] = taken.get(name, ZERO) + share
        row[name] = share
    return row | {"_repeats": repeats_its_parts(item, order["items"])}


def _wanted(
    order: Fields, quantities: Mapping[int, Decimal] | None, left: Callable[[Fields], Decimal]
) -> list[tuple[Fields, Decimal]]:
    """Rows with quantities; children follow their parent, unless they are named themselves."""
    found: list[tuple[Fields, Decimal]] = []
    by_id = {item["item_id"]: item for item in order["items"]}
    for item in order["items"]:
        parent = by_id.get(item["parent_item_id"])
        if quantities is None:
            quantity = left(item)
        elif item["item_id"] in quantities:
            quantity = Decimal(quantities[item["item_id"]])
        elif parent is not None and parent["item_id"] in quantities:
            quantity = quantities[parent["item_id"]] * item["qty_ordered"] / parent["qty_ordered"]
        else:
            quantity = ZERO
        if quantity > left(item):
            raise ActionRefusedError(f"The quantity of {item['sku']} is more than is left.")
        if quantity > 0:
            found.append((item, quantity))
    return found

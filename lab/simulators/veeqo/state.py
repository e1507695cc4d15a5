"""A Veeqo account: warehouses, stock, orders, allocations, shipments, each change at the account's own clock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from lab.simulators.veeqo.wire import Json, VeeqoRefusedError

_PENNY: Final = Decimal("0.01")
_STATUSES: Final = frozenset(
    {"awaiting_payment", "awaiting_stock", "awaiting_fulfillment", "shipped", "on_hold", "cancelled", "refunded"}
)
_CARRIERS: Final = {
    1: "Royal Mail",
    2: "FedEx",
    3: "Other",
    4: "DPD",
    5: "UPS",
    9: "DHL",
    12: "Parcelforce",
    14: "Yodel",
}

_ADDRESS: Final[Json] = {
    "first_name": "Mia",
    "last_name": "Odum",
    "company": None,
    "address1": "4 Lime Row",
    "address2": None,
    "city": "Leeds",
    "state": "",
    "zip": "LS1 4XX",
    "country": "GB",
    "phone": None,
    "email": "mia@example.test",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an order to place; price, discount and rate as Veeqo has them: net, per unit, a fraction."""

    sku: str
    quantity: int
    price: str
    rate: str = "0.2"
    discount: str = "0"


class Account:
    """One Veeqo account.

    Args:
        clock: The account's time, aware; skewed against everybody else's if the caller likes.
        canary: Stands wherever Veeqo embeds a user's API key or a marketplace token.
    """

    def __init__(self, clock: Callable[[], datetime], *, canary: str = "not-for-you") -> None:
        self._clock = clock
        self._secret = canary
        self._ids = iter(range(1, 10**9))
        self.warehouses: dict[int, str] = {}
        self.channels: dict[int, Json] = {31: {"id": 31, "type_code": "direct", "name": "Shop", "currency_code": "GBP"}}
        self.products: list[Json] = []
        self.orders: dict[int, Json] = {}
        self.touches_on_ship = True  # whether a shipment moves its order's updated_at (not documented)

    # ---- what happens in the account

    def add_warehouse(self, warehouse_id: int, name: str) -> None:
        self.warehouses[warehouse_id] = name
        for sellable in self._sellables():
            sellable["stock_entries"].append(self._entry(sellable["id"], warehouse_id, Decimal(0)))

    def add_channel(self, channel_id: int, type_code: str, currency: str = "GBP") -> None:
        self.channels[channel_id] = {
            "id": channel_id,
            "type_code": type_code,
            "name": type_code.title(),
            "currency_code": currency,
        }

    def add_product(self, sku: str, stock: Mapping[int, int | str] | None = None) -> int:
        """A product of one sellable; its id is the sellable's."""
        sellable_id = 800 + next(self._ids)
        entries = [
            self._entry(sellable_id, warehouse, Decimal((stock or {}).get(warehouse, 0)))
            for warehouse in self.warehouses
        ]
        sellable = {
            "id": sellable_id,
            "type": "ProductVariant",
            "title": sku.title(),
            "sku_code": sku,
            "tax_rate": Decimal("20.0"),
            "stock_entries": entries,
        }
        now = self.now()
        self.products.insert(
            0, {"id": sellable_id, "title": sku.title(), "created_at": now, "updated_at": now, "sellables": [sellable]}
        )
        return sellable_id

    def set_stock(self, sku: str, warehouse: int, level: int | str) -> None:
        """Somebody counts: the figure on the shelf is set."""
        self._set_physical(self.entry(sku, warehouse), Decimal(level))

    def place_order(self, *lines: Line, **changes: Any) -> int:
        """An order as a shop sends it; `changes` are fields of the order, before its totals are computed.

        `lines` become `line_items`; the delivery, less its discount, is taxed as the highest line. A `total_tax` among
        the changes stands beside whatever rates the lines have, as marketplaces' orders do.
        """
        order_id = changes.pop("id", None) or 70_000 + next(self._ids)
        now = self.now()
        items = [self._line(line) for line in lines]
        channel = self.channels[changes.pop("channel_id", 31)]
        address = dict(_ADDRESS)
        order: Json = {
            "id": order_id,
            "number": f"P-{order_id}",
            "status": "awaiting_fulfillment",
            "created_at": now,
            "updated_at": now,
            "due_date": None,
            "shipped_at": None,
            "cancelled_at": None,
            "cancel_reason": None,
            "delivery_cost": Decimal(0),
            "shipping_discount": Decimal(0),
            "merged_to_id": None,
            "additional_order_level_taxless_discount": Decimal(0),
            "adjustment_amount": Decimal(0),
            "refund_amount": None,
            "channel": {**channel, "user": {"login": "owner", "api_key": self._secret}},
            "customer": {"id": 91, "email": "mia@example.test", "phone": None, "billing_address": dict(address)},
            "deliver_to": address,
            "delivery_method": {"id": 5, "name": "Next day", "cost": Decimal("3.0")},
            "payment": {"payment_type": "paypal", "reference_number": f"R{order_id}", "token": self._secret},
            "created_by": {"id": 1, "api_key": self._secret},
            "line_items": items,
            "allocations": [],
            "returns": [],
            "tags": [],
        }
        order |= changes
        if order["status"] not in _STATUSES:
            raise ValueError(f"{order['status']} is no status of Veeqo's")
        _total(order, given=changes)
        self.orders[order_id] = order
        return int(order_id)

    def touch(self, order_id: int, **changes: Any) -> None:
        """A person or a rule changes fields of an order."""
        self.orders[order_id] |= {**changes, "updated_at": self.now()}

    def cancel(self, order_id: int, reason: str | None = None) -> None:
        for allocation in self.orders[order_id]["allocations"]:
            if allocation["shipment"] is None:
                self._reserve(allocation, -1)
        self.orders[order_id]["allocations"] = [
            each for each in self.orders[order_id]["allocations"] if each["shipment"] is not None
        ]
        self.touch(order_id, status="cancelled", cancelled_at=self.now(), cancel_reason=reason)

    def delete_order(self, order_id: int) -> None:
        del self.orders[order_id]

    def release(self, allocation: Json) -> None:
        """End what an allocation reserves."""
        self._reserve(allocation, -1)

    def allocate(
        self, order_id: int, warehouse: int, units: Mapping[str, int], *, allocation_id: int | None = None
    ) -> int:
        """Reserve units of an order in a warehouse."""
        if warehouse not in self.warehouses:
            raise VeeqoRefusedError(404, "Not Found")
        order = self.orders[order_id]
        for sku, quantity in units.items():
            if quantity <= 0 or quantity > self._unallocated(order, sku):
                raise VeeqoRefusedError(400, "Allocation exceeds what is ordered")
        allocation_id = allocation_id or 5_000 + next(self._ids)
        allocation: Json = {
            "id": allocation_id,
            "order_id": order_id,
            "packed_completely": None,
            "warehouse": {"id": warehouse, "name": self.warehouses[warehouse], "user": {"api_key": self._secret}},
            "line_items": [
                {
                    "id": 9_000 + next(self._ids),
                    "quantity": quantity,
                    "picked_quantity": quantity,
                    "sellable": self._short(sku),
                }
                for sku, quantity in units.items()
            ],
            "shipment": None,
        }
        order["allocations"].append(allocation)
        self._reserve(allocation, 1)
        self.touch(order_id)
        return allocation_id

    def ship(
        self,
        order_id: int,
        allocation_id: int,
        *,
        carrier: int = 4,
        tracking: str | None = "155",
        notifies: bool = False,
        updates_shop: bool = True,
    ) -> int:
        """What is allocated leaves: stock falls, the reservation ends."""
        order = self.orders[order_id]
        allocation = next((each for each in order["allocations"] if each["id"] == allocation_id), None)
        if allocation is None:
            raise VeeqoRefusedError(404, "Not Found")
        if allocation["shipment"] is not None:
            raise VeeqoRefusedError(400, "Allocation has already been shipped")
        shipment_id = 6_000 + next(self._ids)
        number = None if tracking is None else {"id": next(self._ids), "tracking_number": f" {tracking} "}
        allocation["shipment"] = {
            "id": shipment_id,
            "created_at": self.now(),
            "allocation_id": allocation_id,
            "order_id": order_id,
            "carrier_id": carrier,
            "carrier": {"id": carrier, "name": _CARRIERS.get(carrier, "Other")},
            "tracking_number": number,
            "outbound_label_charges": [],
            "notify_customer": notifies,
            "update_remote_order": updates_shop,
        }
        self._reserve(allocation, -1)
        self._move(allocation, -1)
        if all(not self._unshipped(order, line["sellable"]["sku_code"]) for line in order["line_items"]):
            order |= {"status": "shipped", "shipped_at": self.now()}
        if self.touches_on_ship:
            self.touch(order_id)
        return shipment_id

    def dispatch(self, order_id: int, warehouse: int, units: Mapping[str, int], **how: Any) -> int:
        """Allocate and ship in one go; the shipment's id."""
        return self.ship(order_id, self.allocate(order_id, warehouse, units), **how)

    def unship(self, shipment_id: int) -> None:
        for order in self.orders.values():
            for allocation in order["allocations"]:
                if allocation["shipment"] and allocation["shipment"]["id"] == shipment_id:
                    allocation["shipment"] = None
                    self._move(allocation, 1)
                    self._reserve(allocation, 1)
                    self.touch(order["id"], status="awaiting_fulfillment", shipped_at=None)
                    return
        raise VeeqoRefusedError(404, "Not Found")

    # ---- what a checker reads

    def physical(self, sku: str, warehouse: int) -> Decimal:
        return Decimal(self.entry(sku, warehouse)["physical_stock_level"])

    def entry(self, sku: str, warehouse: int) -> Json:
        for sellable in self._sellables():
            for entry in sellable["stock_entries"]:
                if sellable["sku_code"] == sku and entry["warehouse_id"] == warehouse:
                    found: Json = entry
                    return found
        raise VeeqoRefusedError(404, "Not Found")

    def shipped(self) -> dict[tuple[int, str, int], int]:
        """Units that left, by order, sku and warehouse."""
        found: dict[tuple[int, str, int], int] = {}
        for order in self.orders.values():
            for allocation in order["allocations"]:
                for line in allocation["line_items"] if allocation["shipment"] else []:
                    key = (order["id"], line["sellable"]["sku_code"], allocation["warehouse"]["id"])
                    found[key] = found.get(key, 0) + line["quantity"]
        return found

    def now(self) -> str:
        return self.time().isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def time(self) -> datetime:
        return self._clock().astimezone(UTC)

    # ---- inside

    def _sellables(self) -> list[Json]:
        return [sellable for product in self.products for sellable in product["sellables"]]

    def _sellable(self, sku: str) -> Json:
        found = next((each for each in self._sellables() if each["sku_code"] == sku), None)
        if found is None:
            raise VeeqoRefusedError(404, "Not Found")
        return found

    def _short(self, sku: str) -> Json:
        sellable = self._sellable(sku)
        return {name: sellable[name] for name in ("id", "sku_code", "title", "tax_rate")}

    def _entry(self, sellable_id: int, warehouse: int, level: Decimal) -> Json:
        return {
            "sellable_id": sellable_id,
            "warehouse_id": warehouse,
            "infinite": False,
            "location": "A-01",
            "warehouse": {"id": warehouse, "name": self.warehouses[warehouse]},
            "physical_stock_level": level,
            "allocated_stock_level": Decimal(0),
            "available_stock_level": level,
            "incoming_stock_level": Decimal(0),
            "updated_at": self.now(),
        }

    def _set_physical(self, entry: Json, level: Decimal) -> None:
        entry["physical_stock_level"] = level
        entry["available_stock_level"] = level - entry["allocated_stock_level"]
        entry["updated_at"] = self.now()

    def _reserve(self, allocation: Json, sign: int) -> None:
        for line in allocation["line_items"]:
            entry = self.entry(line["sellable"]["sku_code"], allocation["warehouse"]["id"])
            entry["allocated_stock_level"] += sign * line["quantity"]
            entry["available_stock_level"] = entry["physical_stock_level"] - entry["allocated_stock_level"]

    def _move(self, allocation: Json, sign: int) -> None:
        for line in allocation["line_items"]:
            entry = self.entry(line["sellable"]["sku_code"], allocation["warehouse"]["id"])
            self._set_physical(entry, entry["physical_stock_level"] + sign * line["quantity"])

    def _line(self, line: Line) -> Json:
        return {
            "id": next(self._ids),
            "price_per_unit": Decimal(line.price),
            "quantity": line.quantity,
            "tax_rate": Decimal(line.rate),
            "taxless_discount_per_unit": Decimal(line.discount),
            "sellable": self._short(line.sku),
        }

    def _unallocated(self, order: Json, sku: str) -> int:
        taken = [line for each in order["allocations"] for line in each["line_items"]]
        return _ordered(order, sku) - sum(int(x["quantity"]) for x in taken if x["sellable"]["sku_code"] == sku)

    def _unshipped(self, order: Json, sku: str) -> int:
        gone = [line for each in order["allocations"] if each["shipment"] for line in each["line_items"]]
        return _ordered(order, sku) - sum(int(x["quantity"]) for x in gone if x["sellable"]["sku_code"] == sku)


def _total(order: Json, given: Mapping[str, Any]) -> None:
    nets = [
        (item["price_per_unit"] - item["taxless_discount_per_unit"]) * item["quantity"] for item in order["line_items"]
    ]
    off = order["additional_order_level_taxless_discount"]
    whole = sum(nets, Decimal(0))
    rates = [item["tax_rate"] for item in order["line_items"]]
    tax = sum(
        ((net - (off * net / whole if whole else 0)) * rate for net, rate in zip(nets, rates, strict=True)),
        Decimal(0),
    )
    delivery = order["delivery_cost"] - order["shipping_discount"]
    tax += delivery * max(rates, default=Decimal(0))
    totals = {
        "subtotal_price": (whole - off).quantize(_PENNY, ROUND_HALF_UP),
        "total_discounts": sum(
            (item["taxless_discount_per_unit"] * item["quantity"] for item in order["line_items"]), off
        ),
        "total_tax": tax.quantize(_PENNY, ROUND_HALF_UP),
    }
    order |= {name: value for name, value in totals.items() if name not in given}
    if "total_price" not in given:
        order["total_price"] = order["subtotal_price"] + delivery + order["total_tax"]


def _ordered(order: Json, sku: str) -> int:
    return sum(int(line["quantity"]) for line in order["line_items"] if line["sellable"]["sku_code"] == sku)

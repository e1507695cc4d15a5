"""A Veeqo account and its REST API, in memory: for tests, the demo and users without an account (Veeqo has no sandbox).

Written from Veeqo's documentation and fixtures (reference of 2026-11-21). `Account` is the ledger: warehouses, stock,
orders, allocations, shipments, each change at the account's own clock. `Veeqo` is the ASGI side: keys, the leaky bucket,
lists newest first with offset paging that rows shift under, and what goes wrong: 429 without Retry-After, HTML errors,
dropped connections, cut bodies, lists without their length, numbers as texts, objects that are lists of one. It is
stricter than Veeqo where a client's mistake would else pass: an unknown parameter is 400.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from email.utils import format_datetime
from json.encoder import encode_basestring_ascii
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import parse_qsl

from lab.simulators.wire import ConnectionDroppedError, Receive, Scope, Send, whole_body

Json: TypeAlias = dict[str, Any]

_PENNY: Final = Decimal("0.01")
_STATUSES: Final = frozenset(
    {"awaiting_payment", "awaiting_stock", "awaiting_fulfillment", "shipped", "on_hold", "cancelled", "refunded"}
)
_ORDER_FILTERS: Final = frozenset({"updated_at_min", "created_at_min", "status", "created[before]", "created[after]"})
_SHIPMENT_FIELDS: Final = frozenset(
    {"tracking_number_attributes", "carrier_id", "notify_customer", "update_remote_order"}
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


class RefusedError(Exception):
    """A request that Veeqo refuses.

    Attributes:
        status: HTTP's.
        text: What `error_messages` says.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


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
            "id": channel_id, "type_code": type_code, "name": type_code.title(), "currency_code": currency,
        }  # fmt: skip

    def add_product(self, sku: str, stock: Mapping[int, int | str] | None = None) -> int:
        """A product of one sellable; its id is the sellable's."""
        sellable_id = 800 + next(self._ids)
        entries = [
            self._entry(sellable_id, warehouse, Decimal((stock or {}).get(warehouse, 0)))
            for warehouse in self.warehouses
        ]
        sellable = {
            "id": sellable_id, "type": "ProductVariant", "title": sku.title(), "sku_code": sku,
            "tax_rate": Decimal("20.0"), "stock_entries": entries,
        }  # fmt: skip
        now = self.now()
        self.products.insert(
            0, {"id": sellable_id, "title": sku.title(), "created_at": now, "updated_at": now, "sellables": [sellable]}
        )
        return sellable_id

    def set_stock(self, sku: str, warehouse: int, level: int | str) -> None:
        """Somebody counts: the figure on the shelf is set."""
        self._set_physical(self.entry(sku, warehouse), Decimal(level))

    def place_order(self, *lines: Line, **changes: Any) -> int:
        """An order as a shop sends it; `changes` are fields of the order, before its totals are reckoned.

        `lines` become `line_items`; `delivery_cost` is taxed as the highest line.
        """
        order_id = changes.pop("id", None) or 70_000 + next(self._ids)
        now = self.now()
        items = [self._line(line) for line in lines]
        channel = self.channels[changes.pop("channel_id", 31)]
        address = {
            "first_name": "Mia", "last_name": "Odum", "company": None, "address1": "4 Lime Row", "address2": None,
            "city": "Leeds", "state": "", "zip": "LS1 4XX", "country": "GB", "phone": None, "email": "mia@example.test",
        }  # fmt: skip
        order: Json = {
            "id": order_id, "number": f"P-{order_id}", "status": "awaiting_fulfillment", "created_at": now,
            "updated_at": now, "due_date": None, "shipped_at": None, "cancelled_at": None, "cancel_reason": None,
            "delivery_cost": Decimal(0), "additional_order_level_taxless_discount": Decimal(0),
            "adjustment_amount": Decimal(0), "refund_amount": None,
            "channel": {**channel, "user": {"login": "owner", "api_key": self._secret}},
            "customer": {"id": 91, "email": "mia@example.test", "phone": None, "billing_address": dict(address)},
            "deliver_to": address, "delivery_method": {"id": 5, "name": "Next day", "cost": Decimal("3.0")},
            "payment": {"payment_type": "paypal", "reference_number": f"R{order_id}", "token": self._secret},
            "created_by": {"id": 1, "api_key": self._secret},
            "line_items": items, "allocations": [], "returns": [], "tags": [],
        }  # fmt: skip
        order |= changes
        if order["status"] not in _STATUSES:
            raise ValueError(f"{order['status']} is no status of Veeqo's")
        self._total(order, given=changes)
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

    def allocate(self, order_id: int, warehouse: int, units: Mapping[str, int]) -> int:
        """Reserve units of an order in a warehouse."""
        if warehouse not in self.warehouses:
            raise RefusedError(404, "Not Found")
        order = self.orders[order_id]
        for sku, quantity in units.items():
            if quantity <= 0 or quantity > self._unallocated(order, sku):
                raise RefusedError(400, "Allocation exceeds what is ordered")
        allocation_id = 5_000 + next(self._ids)
        allocation: Json = {
            "id": allocation_id, "order_id": order_id, "packed_completely": None,
            "warehouse": {"id": warehouse, "name": self.warehouses[warehouse], "user": {"api_key": self._secret}},
            "line_items": [
                {"id": 9_000 + next(self._ids), "quantity": quantity, "picked_quantity": quantity, "sellable": self._short(sku)}
                for sku, quantity in units.items()
            ],
            "shipment": None,
        }  # fmt: skip
        order["allocations"].append(allocation)
        self._reserve(allocation, 1)
        self.touch(order_id)
        return allocation_id

    def ship(self, order_id: int, allocation_id: int, *, carrier: int = 4, tracking: str | None = "155") -> int:
        """What is allocated leaves: stock falls, the reservation ends."""
        order = self.orders[order_id]
        allocation = next((each for each in order["allocations"] if each["id"] == allocation_id), None)
        if allocation is None:
            raise RefusedError(404, "Not Found")
        if allocation["shipment"] is not None:
            raise RefusedError(400, "Allocation has already been shipped")
        shipment_id = 6_000 + next(self._ids)
        number = None if tracking is None else {"id": next(self._ids), "tracking_number": f" {tracking} "}
        allocation["shipment"] = {
            "id": shipment_id, "created_at": self.now(), "allocation_id": allocation_id, "order_id": order_id,
            "carrier_id": carrier, "carrier": {"id": carrier, "name": _CARRIERS.get(carrier, "Other")},
            "tracking_number": number, "outbound_label_charges": [], "notify_customer": False,
            "update_remote_order": True,
        }  # fmt: skip
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
        raise RefusedError(404, "Not Found")

    # ---- what a checker reads

    def physical(self, sku: str, warehouse: int) -> Decimal:
        return Decimal(self.entry(sku, warehouse)["physical_stock_level"])

    def entry(self, sku: str, warehouse: int) -> Json:
        for sellable in self._sellables():
            for entry in sellable["stock_entries"]:
                if sellable["sku_code"] == sku and entry["warehouse_id"] == warehouse:
                    found: Json = entry
                    return found
        raise RefusedError(404, "Not Found")

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
            raise RefusedError(404, "Not Found")
        return found

    def _short(self, sku: str) -> Json:
        sellable = self._sellable(sku)
        return {name: sellable[name] for name in ("id", "sku_code", "title", "tax_rate")}

    def _entry(self, sellable_id: int, warehouse: int, level: Decimal) -> Json:
        return {
            "sellable_id": sellable_id, "warehouse_id": warehouse, "infinite": False, "location": "A-01",
            "warehouse": {"id": warehouse, "name": self.warehouses[warehouse]}, "physical_stock_level": level,
            "allocated_stock_level": Decimal(0), "available_stock_level": level, "incoming_stock_level": Decimal(0),
            "updated_at": self.now(),
        }  # fmt: skip

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
            "id": next(self._ids), "price_per_unit": Decimal(line.price), "quantity": line.quantity,
            "tax_rate": Decimal(line.rate), "taxless_discount_per_unit": Decimal(line.discount),
            "sellable": self._short(line.sku),
        }  # fmt: skip

    def _total(self, order: Json, given: Mapping[str, Any]) -> None:
        nets = [
            (item["price_per_unit"] - item["taxless_discount_per_unit"]) * item["quantity"]
            for item in order["line_items"]
        ]
        off = order["additional_order_level_taxless_discount"]
        whole = sum(nets, Decimal(0))
        rates = [item["tax_rate"] for item in order["line_items"]]
        tax = sum(
            ((net - (off * net / whole if whole else 0)) * rate for net, rate in zip(nets, rates, strict=True)),
            Decimal(0),
        )
        tax += order["delivery_cost"] * max(rates, default=Decimal(0))
        totals = {
            "subtotal_price": (whole - off).quantize(_PENNY, ROUND_HALF_UP),
            "total_discounts": sum(
                (item["taxless_discount_per_unit"] * item["quantity"] for item in order["line_items"]), off
            ),
            "total_tax": tax.quantize(_PENNY, ROUND_HALF_UP),
        }
        order |= {name: value for name, value in totals.items() if name not in given}
        if "total_price" not in given:
            order["total_price"] = order["subtotal_price"] + order["delivery_cost"] + order["total_tax"]

    def _ordered(self, order: Json, sku: str) -> int:
        return sum(int(line["quantity"]) for line in order["line_items"] if line["sellable"]["sku_code"] == sku)

    def _unallocated(self, order: Json, sku: str) -> int:
        taken = [line for each in order["allocations"] for line in each["line_items"]]
        return self._ordered(order, sku) - sum(int(x["quantity"]) for x in taken if x["sellable"]["sku_code"] == sku)

    def _unshipped(self, order: Json, sku: str) -> int:
        gone = [line for each in order["allocations"] if each["shipment"] for line in each["line_items"]]
        return self._ordered(order, sku) - sum(int(x["quantity"]) for x in gone if x["sellable"]["sku_code"] == sku)


FaultKind: TypeAlias = Literal["throttle", "html_500", "html_503", "unauthorized", "drop", "cut", "not_a_list"]


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong, for the next `times` requests whose path begins so, after `skip` of them."""

    kind: FaultKind
    path: str = "/"
    times: int = 1
    skip: int = 0


@dataclass(slots=True)
class Manners:
    """How the server behaves where its documentation is silent, or its habits differ.

    Attributes:
        capacity, drain_per_s: The leaky bucket of a key; capacity 0: none.
        tells_totals: Whether lists have the X-Total-* and X-Per-Page headers.
        tells_date: Whether answers have a Date.
        max_page_size: What larger pages are cut to.
        page_cap: Pages beyond it are empty.
        numbers_as_texts: Whether money comes as texts.
        lists_of_one: Whether single objects sometimes come as lists.
        before_filter: Whether created[before] is understood.
    """

    capacity: int = 100
    drain_per_s: float = 5.0
    tells_totals: bool = True
    tells_date: bool = True
    max_page_size: int = 100
    page_cap: int = 100
    numbers_as_texts: bool = False
    lists_of_one: bool = False
    before_filter: bool = True


@dataclass(slots=True)
class _Bucket:
    level: float = 0.0
    at_s: float = 0.0


class Veeqo:
    """The ASGI app.

    Args:
        account: What it serves.
        keys: The API keys that are let in.
        monotonic: Seconds, for the bucket.
        manners: How it behaves.

    Attributes:
        faults: What goes wrong next, in order.
        served: (method, path, query) of every request, refused ones too.
        throttled: How many were over the bucket.
        after_page: Called after each page of a list, with its path and number: rows may change under the reader.
    """

    def __init__(
        self,
        account: Account,
        keys: frozenset[str],
        monotonic: Callable[[], float],
        manners: Manners | None = None,
    ) -> None:
        self.account = account
        self.keys = keys
        self.manners = manners or Manners()
        self.faults: list[Fault] = []
        self.served: list[tuple[str, str, dict[str, str]]] = []
        self.throttled = 0
        self.after_page: Callable[[str, int], None] = lambda _path, _page: None
        self._monotonic = monotonic
        self._buckets: dict[str, _Bucket] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan of a server."""
        if scope["type"] == "lifespan":
            while (await receive())["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = await whole_body(receive)
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        self.served.append((scope["method"], scope["path"], query))
        began = self.account.time()  # rows are of this moment, whatever happens while they are sent
        status, extra, answer = self._answer(scope["method"], scope["path"], query, headers, body)
        lines = [("content-type", "application/json"), *extra]
        if self.manners.tells_date:
            lines.append(("date", format_datetime(began, usegmt=True)))
        raw = [(name.encode(), value.encode()) for name, value in lines]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": answer})

    def _answer(
        self, method: str, path: str, query: dict[str, str], headers: Mapping[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        fault = self._fault(path)
        if fault == "drop":
            raise ConnectionDroppedError("the simulator dropped the connection")
        if fault in ("html_500", "html_503"):
            return int(fault[-3:]), [], b"<html><body><h1>We're sorry, but something went wrong.</h1></body></html>"
        if fault == "throttle" or self._is_over(headers):
            self.throttled += 1
            return 429, [], b"Rate limit exceeded"
        key = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        if fault == "unauthorized" or key not in self.keys:
            return 401, [], b'{"error_messages":"Invalid API key"}'
        try:
            status, extra, value = self._route(method, path, query, body)
        except RefusedError as error:
            if error.status == 404:
                return 404, [], b'{"status":"404","error":"Not Found"}'
            return error.status, [], dump({"error_messages": [error.text]}).encode()
        if fault == "not_a_list":
            value = {"unexpected": True}
        text = b"" if value is None else dump(self._drifted(value)).encode()
        return status, extra, text[: len(text) // 2] if fault == "cut" else text

    def _fault(self, path: str) -> FaultKind | None:
        for fault in self.faults:
            if path.startswith(fault.path):
                if fault.skip:
                    fault.skip -= 1
                    return None
                fault.times -= 1
                if fault.times <= 0:
                    self.faults.remove(fault)
                return fault.kind
        return None

    def _is_over(self, headers: Mapping[str, str]) -> bool:
        if not self.manners.capacity:
            return False
        bucket, now = self._buckets.setdefault(headers.get("x-api-key", ""), _Bucket()), self._monotonic()
        bucket.level = max(0.0, bucket.level - (now - bucket.at_s) * self.manners.drain_per_s)
        bucket.at_s = now
        if bucket.level + 1 > self.manners.capacity:
            return True
        bucket.level += 1
        return False

    def _route(
        self, method: str, path: str, query: dict[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], object]:
        match method, path.strip("/").split("/"):
            case "GET", ["orders"]:
                return self._list(path, query, self._orders(query), _ORDER_FILTERS)  # fmt: skip
            case "GET", ["products"]:
                return self._list(path, query, self.account.products, frozenset())
            case "GET", ["warehouses"]:
                rows = [{"id": number, "name": name} for number, name in self.account.warehouses.items()]
                return self._list(path, query, rows, frozenset())
            case "GET", ["orders", order_id]:
                return 200, [], self._order(order_id)
            case "POST", ["orders", order_id, "allocations"]:
                asked = _object(_body(body), "allocation", frozenset({"warehouse_id", "line_items_attributes"}))
                units = {self._sku(each["sellable_id"]): each["quantity"] for each in asked["line_items_attributes"]}
                self.account.allocate(self._order(order_id)["id"], asked["warehouse_id"], units)
                return 201, [], self._order(order_id)
            case "POST", ["shipments"]:
                asked = _body(body)
                how = _object(asked, "shipment", _SHIPMENT_FIELDS)  # fmt: skip
                number = (how.get("tracking_number_attributes") or {}).get("tracking_number")
                order = self._order(str(asked.get("order_id")))
                shipment = self.account.ship(
                    order["id"], asked.get("allocation_id", 0), carrier=how.get("carrier_id", 3), tracking=number
                )
                return 201, [], {"id": shipment}
            case "DELETE", ["shipments", shipment_id]:
                self.account.unship(_number(shipment_id))
                return 204, [], None
            case "PUT", ["orders", order_id, "cancel"]:
                self.account.cancel(self._order(order_id)["id"], _body(body).get("cancel_reason"))
                return 200, [], self._order(order_id)
            case "PUT" | "GET", ["sellables", sellable_id, "warehouses", warehouse, "stock_entry"]:
                sku, number = self._sku(_number(sellable_id)), _number(warehouse)
                if method == "PUT":
                    found = _body(body)
                    found = found.get("stock_entry", found)
                    if not found.keys() <= {"physical_stock_level", "infinite", "location"}:
                        raise RefusedError(500, "unknown attribute")
                    self.account.set_stock(sku, number, found["physical_stock_level"])
                return 200, [], self.account.entry(sku, number)
            case _:
                raise RefusedError(404, "Not Found")

    def _order(self, order_id: str) -> Json:
        order = self.account.orders.get(_number(order_id))
        if order is None:
            raise RefusedError(404, "Not Found")
        return order

    def _sku(self, sellable_id: int) -> str:
        for product in self.account.products:
            for sellable in product["sellables"]:
                if sellable["id"] == sellable_id:
                    return str(sellable["sku_code"])
        raise RefusedError(404, "Not Found")

    def _orders(self, query: Mapping[str, str]) -> list[Json]:
        rows = list(self.account.orders.values())
        since, newer, after, before = (
            _query_time(query[name]) if name in query else None
            for name in ("updated_at_min", "created_at_min", "created[after]", "created[before]")
        )
        if since is not None:
            rows = [row for row in rows if _time(row["updated_at"]) >= since]
        if newer is not None:
            rows = [row for row in rows if _time(row["created_at"]) >= newer]
        if after is not None:
            rows = [row for row in rows if _time(row["created_at"]) > after]
        if before is not None and self.manners.before_filter:
            rows = [row for row in rows if _time(row["created_at"]) < before]
        if "status" in query:
            rows = [row for row in rows if row["status"] == query["status"]]
        return sorted(rows, key=lambda row: (_time(row["created_at"]), row["id"]), reverse=True)

    def _list(
        self, path: str, query: Mapping[str, str], rows: list[Json], filters: frozenset[str]
    ) -> tuple[int, list[tuple[str, str]], object]:
        unknown = query.keys() - filters - {"page", "page_size"}
        if unknown:
            raise RefusedError(400, f"unknown parameters: {', '.join(sorted(unknown))}")
        size = min(_number(query.get("page_size", "12")), self.manners.max_page_size)
        page = _number(query.get("page", "1"))
        if page < 1 or size < 1:
            raise RefusedError(400, "page and page_size begin at 1")
        found = rows[(page - 1) * size : page * size] if page <= self.manners.page_cap else []
        headers = []
        if self.manners.tells_totals:
            headers = [
                ("X-Total-Count", str(len(rows))), ("X-Total-Pages-Count", str(-(-len(rows) // size))),
                ("X-Page-Index", str(page)), ("X-Per-Page", str(size)),
            ]  # fmt: skip
        answer = json.loads(dump(found), parse_float=Decimal)  # as it is now, whatever happens after
        self.after_page(path, page)
        return 200, headers, answer

    def _drifted(self, value: object, name: str = "") -> object:
        if isinstance(value, dict):
            inner = {key: self._drifted(each, key) for key, each in value.items()}
            return (
                [inner] if self.manners.lists_of_one and name in ("deliver_to", "payment", "tracking_number") else inner
            )
        if isinstance(value, list):
            return [self._drifted(each) for each in value]
        return str(value) if isinstance(value, Decimal) and self.manners.numbers_as_texts else value


def dump(value: object) -> str:
    """JSON with decimals as numbers, exactly."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{encode_basestring_ascii(str(k))}:{dump(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(dump, value)) + "]"
    return format(value, "f") if isinstance(value, Decimal) else json.dumps(value)


def _body(body: bytes) -> Json:
    try:
        found = json.loads(body, parse_float=Decimal)
    except ValueError:
        raise RefusedError(400, "the body is not JSON") from None
    if not isinstance(found, dict):
        raise RefusedError(400, "the body is not an object")
    return found


def _object(body: Json, name: str, known: frozenset[str]) -> Json:
    found = body.get(name)
    if not isinstance(found, dict):
        raise RefusedError(400, f"{name} is missing")
    if found.keys() - known:
        raise RefusedError(500, "unknown attribute")  # as Veeqo does
    return found


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise RefusedError(404, "Not Found")
    return int(text)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _query_time(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        raise RefusedError(400, "not a time as YYYY-MM-DD HH:MM:SS") from None

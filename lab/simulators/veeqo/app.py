"""A Veeqo account's REST API, in memory: for tests, the demo and users without an account (Veeqo has no sandbox).

Written from Veeqo's documentation and fixtures (read 2026-11-21 and 2026-11-30). Keys, the leaky bucket, lists newest
first with offset paging that rows shift under, and what goes wrong: 429 without Retry-After, HTML errors, dropped
connections, cut bodies, lists without their length, numbers as texts, objects that are lists of one. It is stricter
than Veeqo where a client's mistake would else pass: an unknown parameter is 400.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from email.utils import format_datetime
from typing import Final
from urllib.parse import parse_qsl

from lab.simulators.veeqo.faults import Behaviour, FaultKind, VeeqoFault
from lab.simulators.veeqo.state import Account
from lab.simulators.veeqo.wire import (
    Json,
    VeeqoRefusedError,
    body_of,
    dump,
    number_of,
    object_in,
    query_time,
    time_of,
)
from lab.simulators.veeqo.writes import (
    change_allocation,
    create_order,
    create_product,
    sellable_of,
    units_of,
    update_product,
)
from lab.simulators.wire import ConnectionDroppedError, Receive, Scope, Send, whole_body

_ORDER_FILTERS: Final = frozenset(
    {"updated_at_min", "created_at_min", "status", "query", "created[before]", "created[after]"}
)
_SHIPMENT_FIELDS: Final = frozenset(
    {"tracking_number_attributes", "carrier_id", "notify_customer", "update_remote_order"}
)


@dataclass(slots=True)
class _RequestBucket:
    level: float = 0.0
    at_s: float = 0.0


class VeeqoServer:
    """The ASGI app.

    Args:
        account: What it serves.
        keys: The API keys that are let in.
        monotonic: Seconds, for the bucket.
        behaviour: How it behaves.

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
        behaviour: Behaviour | None = None,
    ) -> None:
        self.account = account
        self.keys = keys
        self.behaviour = behaviour or Behaviour()
        self.faults: list[VeeqoFault] = []
        self.served: list[tuple[str, str, dict[str, str]]] = []
        self.throttled = 0
        self.after_page: Callable[[str, int], None] = lambda _path, _page: None
        self._monotonic = monotonic
        self._buckets: dict[str, _RequestBucket] = {}

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
        if self.behaviour.tells_date:
            lines.append(("date", format_datetime(began, usegmt=True)))
        raw = [(name.encode(), value.encode()) for name, value in lines]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": answer})

    def _answer(
        self, method: str, path: str, query: dict[str, str], headers: Mapping[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        fault = self._fault(method, path)
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
        except VeeqoRefusedError as error:
            if error.status == 404:
                return 404, [], b'{"status":"404","error":"Not Found"}'
            if error.status == 500:
                return 500, [], b"<html><body><h1>We're sorry, but something went wrong.</h1></body></html>"
            return error.status, [], dump({"error_messages": [error.text]}).encode()
        if fault == "lost":
            raise ConnectionDroppedError("the simulator dropped the connection")
        if fault == "not_a_list":
            value = {"unexpected": True}
        text = b"" if value is None else dump(self._drifted(value)).encode()
        return status, extra, text[: len(text) // 2] if fault == "cut" else text

    def _fault(self, method: str, path: str) -> FaultKind | None:
        for fault in self.faults:
            if path.startswith(fault.path) and fault.method in ("", method):
                if fault.skip:
                    fault.skip -= 1
                    return None
                fault.times -= 1
                if fault.times <= 0:
                    self.faults.remove(fault)
                return fault.kind
        return None

    def _is_over(self, headers: Mapping[str, str]) -> bool:
        if not self.behaviour.capacity:
            return False
        bucket, now = self._buckets.setdefault(headers.get("x-api-key", ""), _RequestBucket()), self._monotonic()
        bucket.level = max(0.0, bucket.level - (now - bucket.at_s) * self.behaviour.drain_per_s)
        bucket.at_s = now
        if bucket.level + 1 > self.behaviour.capacity:
            return True
        bucket.level += 1
        return False

    def _route(
        self, method: str, path: str, query: dict[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], object]:
        match method, path.strip("/").split("/"):
            case "GET", ["orders"]:
                return self._list(path, query, self._orders(query), _ORDER_FILTERS)
            case "POST", ["orders"]:
                order = create_order(self.account, body_of(body))
                return 201, [("Location", f"/orders/{order['id']}")], order
            case "GET", ["products"]:
                return self._list(path, query, self._products(query), frozenset({"query"}))
            case "POST", ["products"]:
                return 201, [], create_product(self.account, body_of(body))
            case "PUT", ["products", product_id]:
                return 200, [], update_product(self.account, number_of(product_id), body_of(body))
            case "GET", ["warehouses"]:
                rows = [{"id": number, "name": name} for number, name in self.account.warehouses.items()]
                return self._list(path, query, rows, frozenset())
            case "GET", ["orders", order_id]:
                return 200, [], self._order(order_id)
            case "POST", ["orders", order_id, "allocations"]:
                asked = object_in(body_of(body), "allocation", frozenset({"warehouse_id", "line_items_attributes"}))
                units = units_of(self.account, asked)
                self.account.allocate(self._order(order_id)["id"], asked["warehouse_id"], units)
                return 201, [], self._order(order_id)
            case "PUT", ["orders", order_id, "allocations", allocation_id]:
                number = self._order(order_id)["id"]
                change_allocation(self.account, number, number_of(allocation_id), body_of(body))
                return 200, [], self._order(order_id)
            case "POST", ["shipments"]:
                asked = body_of(body)
                how = object_in(asked, "shipment", _SHIPMENT_FIELDS)
                order = self._order(str(asked.get("order_id")))
                shipment = self.account.ship(
                    order["id"],
                    asked.get("allocation_id", 0),
                    carrier=how.get("carrier_id", 3),
                    tracking=(how.get("tracking_number_attributes") or {}).get("tracking_number"),
                    notifies=how.get("notify_customer", False),
                    updates_shop=how.get("update_remote_order", True),
                )
                return 201, [], {"id": shipment}
            case "DELETE", ["shipments", shipment_id]:
                self.account.unship(number_of(shipment_id))
                return 204, [], None
            case "PUT", ["orders", order_id, "cancel"]:
                self.account.cancel(self._order(order_id)["id"], body_of(body).get("cancel_reason"))
                return 200, [], self._order(order_id)
            case "PUT" | "GET", ["sellables", sellable_id, "warehouses", warehouse, "stock_entry"]:
                sku = str(sellable_of(self.account, number_of(sellable_id))["sku_code"])
                number = number_of(warehouse)
                if method == "PUT":
                    found = body_of(body)
                    found = found.get("stock_entry", found)
                    if not found.keys() <= {"physical_stock_level", "infinite", "location"}:
                        raise VeeqoRefusedError(500, "unknown attribute")
                    self.account.set_stock(sku, number, found["physical_stock_level"])
                return 200, [], self.account.entry(sku, number)
            case _:
                raise VeeqoRefusedError(404, "Not Found")

    def _order(self, order_id: str) -> Json:
        order = self.account.orders.get(number_of(order_id))
        if order is None:
            raise VeeqoRefusedError(404, "Not Found")
        return order

    def _products(self, query: Mapping[str, str]) -> list[Json]:
        """All, or those in which the text is found somewhere: near hits are among them."""
        text = query.get("query", "").casefold()
        return [
            product
            for product in self.account.products
            if any(text in f"{product['title']} {each['sku_code']}".casefold() for each in product["sellables"])
        ]

    def _orders(self, query: Mapping[str, str]) -> list[Json]:
        rows = list(self.account.orders.values())
        since, newer, after, before = (
            query_time(query[name]) if name in query else None
            for name in ("updated_at_min", "created_at_min", "created[after]", "created[before]")
        )
        if since is not None:
            rows = [row for row in rows if time_of(row["updated_at"]) >= since]
        if newer is not None:
            rows = [row for row in rows if time_of(row["created_at"]) >= newer]
        if after is not None:
            rows = [row for row in rows if time_of(row["created_at"]) > after]
        if before is not None and self.behaviour.before_filter:
            rows = [row for row in rows if time_of(row["created_at"]) < before]
        if "query" in query:
            text = query["query"].casefold()
            rows = [row for row in rows if text in f"{row['number']} {row['id']}".casefold()]
        if "status" in query:
            rows = [row for row in rows if row["status"] == query["status"]]
        return sorted(rows, key=lambda row: (time_of(row["created_at"]), row["id"]), reverse=True)

    def _list(
        self, path: str, query: Mapping[str, str], rows: list[Json], filters: frozenset[str]
    ) -> tuple[int, list[tuple[str, str]], object]:
        unknown = query.keys() - filters - {"page", "page_size"}
        if unknown:
            raise VeeqoRefusedError(400, f"unknown parameters: {', '.join(sorted(unknown))}")
        size = min(number_of(query.get("page_size", "12")), self.behaviour.max_page_size)
        page = number_of(query.get("page", "1"))
        if page < 1 or size < 1:
            raise VeeqoRefusedError(400, "page and page_size begin at 1")
        found = rows[(page - 1) * size : page * size] if page <= self.behaviour.page_cap else []
        headers = []
        if self.behaviour.tells_totals:
            headers = [
                ("X-Total-Count", str(len(rows))),
                ("X-Total-Pages-Count", str(-(-len(rows) // size))),
                ("X-Page-Index", str(page)),
                ("X-Per-Page", str(size)),
            ]
        answer = json.loads(dump(found), parse_float=Decimal)  # as it is now, whatever happens after
        self.after_page(path, page)
        return 200, headers, answer

    def _drifted(self, value: object, name: str = "") -> object:
        if isinstance(value, dict):
            inner = {key: self._drifted(each, key) for key, each in value.items()}
            return (
                [inner]
                if self.behaviour.lists_of_one and name in ("deliver_to", "payment", "tracking_number")
                else inner
            )
        if isinstance(value, list):
            return [self._drifted(each) for each in value]
        return str(value) if isinstance(value, Decimal) and self.behaviour.numbers_as_texts else value

"""A shop behind Shopify's GraphQL Admin API: an ASGI app, strict, written from Shopify's documentation.

What it does as the real one: the token and scopes; versions (a retired one is answered by the oldest live one); the
bucket of points with THROTTLED and MAX_COST_EXCEEDED; the schema (`schema`), against which graphql-core checks each
query; keyset cursors that expire; an index that lags behind; whole seconds, a clock of its own; bulk operations
(`bulk`); mutations (`mutations`); webhooks (`webhooks`). `state` is what people do in the shop.

A dropped connection is `ConnectionDroppedError`, raised out of the app; a test's transport maps it.
"""

import base64
import hmac
import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import floor
from random import Random
from typing import Any, Final

from lab.simulators.shopify.bulk import BulkOperationStore
from lab.simulators.shopify.faults import InjectedAnswer, RefusedQueryError
from lab.simulators.shopify.mutations import ShopMutations, fulfillment_orders
from lab.simulators.shopify.queries import RunningQuery, checked, fields_of
from lab.simulators.shopify.rows import Row
from lab.simulators.shopify.schema import SCOPES
from lab.simulators.shopify.state import ShopState
from lab.simulators.wire import ConnectionDroppedError, Receive, Scope, Send, whole_body

MAX_QUERY_COST: Final = 1000
MUTATION_COST: Final = 10
_WORD: Final = re.compile(r"(updated_at|created_at):(>=|<)'(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)'")


class Shop(ShopState):
    """A shop, and the app as `__call__`.

    Args:
        clock: Aware time; the shop's own is `skew_s` ahead of it.
        domain: Its own.
        token: The app's.
        secret: The app's client secret, for webhooks.
        currency: The shop's.
        random: For rates and orders of delivery.
        skew_s: How far its clock is ahead.
        bucket: Points at most.
        restore: Points that come back in a second.
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
        self.versions = ("2026-01", "2026-04", "2026-07", "2026-10")
        self.version = self.versions[1]
        super().__init__(
            clock=clock,
            domain=domain,
            secret=secret,
            version=self.version,
            currency=currency,
            random=random or Random(1),  # noqa: S311 -- faults, not secrets
            skew_s=skew_s,
        )
        self.token = token
        self.maximum, self.restore, self.available = bucket, restore, bucket
        self._available_at = self.now()
        self.scopes = {*filter(None, SCOPES.values()), "read_all_orders", "read_products"}
        self.index_lag_s = 0.0
        self.faults: deque[InjectedAnswer] = deque()
        self.before: Callable[[str], None] = lambda _operation: None
        self.calls: list[str] = []
        self.throttled = 0
        self.leaked: list[str] = []
        self.mutations = ShopMutations(self)
        self.bulk = BulkOperationStore(self, self.rows, domain)
        self._cursor_epoch = 0
        self._indexed: dict[str, tuple[str, str]] = {}

    # ---- over HTTP

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        body = await whole_body(receive)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        status, extra, answer = self.answer(scope["method"], scope["path"], headers, body)
        extra = {"date": format_datetime(self.now().astimezone(UTC), usegmt=True), **extra}
        raw = [(name.encode(), value.encode()) for name, value in extra.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": answer})

    def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one answer.

        Raises:
            ConnectionDroppedError: There is none.
        """
        if path.startswith("/bulk/"):
            if "x-shopify-access-token" in headers:
                self.leaked.append(path)
            if path in self.bulk.files and self._random.random() < self.rates.get("drop", 0):
                raise ConnectionDroppedError
            return self.bulk.serve(path, headers.get("range", ""), self.now())
        match = re.fullmatch(r"/admin/api/(\d{4}-\d\d)/graphql\.json", path)
        if match is None or method != "POST":
            return _json(404 if match is None else 406, {"errors": "Not Found"})
        fault = self._fault(body)
        if fault is not None and fault.kind in ("http", "html"):
            text = {"errors": "Exceeded 2 calls per second for api client."}
            return _json(fault.status, text, fault.headers) if fault.kind == "http" else (fault.status, {}, b"<html>")
        if fault is not None and fault.kind == "drop":
            raise ConnectionDroppedError
        if not hmac.compare_digest(headers.get("x-shopify-access-token", "").encode(), self.token.encode()):
            return _json(
                401, {"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"}
            )
        self.version = match[1] if match[1] in self.versions else self.versions[0]
        try:
            asked = json.loads(body)
            if fault is not None and fault.kind == "graphql":
                raise RefusedQueryError("Internal error", fault.code)  # noqa: TRY301 -- one way out
            answer = self.run(asked["query"], asked.get("variables") or {})
        except RefusedQueryError as error:
            answer = {"errors": [{"message": str(error), "extensions": {"code": error.code}}]}
            if error.code is None:
                del answer["errors"][0]["extensions"]
        except (ValueError, KeyError, TypeError):
            return _json(400, {"errors": "Bad Request"})
        if fault is not None and fault.kind == "late":
            raise ConnectionDroppedError
        if fault is None and (rate := self.rates.get("late", 0)) and self._random.random() < rate:
            raise ConnectionDroppedError
        if fault is not None and fault.kind == "throttled_late":
            answer = {"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]}
        return _json(200, answer, {"x-shopify-api-version": self.version})

    def _fault(self, body: bytes) -> InjectedAnswer | None:
        if self.faults and f" {self.faults[0].operation}(".encode() in (body if self.faults[0].operation else b" ("):
            return self.faults.popleft()
        if self._random.random() < self.rates.get("html", 0):
            return InjectedAnswer("html", 502)
        if self._random.random() < self.rates.get("drop", 0):
            return InjectedAnswer("drop")
        return None

    def run(self, text: str, variables: Mapping[str, Any]) -> Row:
        """What a query answers, with what it cost.

        Raises:
            RefusedQueryError: It is refused.
        """
        document, operation = checked(text)
        declared = {each.variable.name.value for each in operation.variable_definitions or ()}
        if unknown := variables.keys() - declared:
            raise RefusedQueryError(f"Variable ${min(unknown)} is not declared", "undefinedVariable")
        name = operation.name.value if operation.name else ""
        self.before(name)
        query = RunningQuery(self, document, variables)
        root = "Mutation" if operation.operation.value == "mutation" else "Query"
        base = MUTATION_COST if root == "Mutation" else 0
        cost = base + query.requested(root, operation.selection_set)
        if cost > MAX_QUERY_COST:
            raise RefusedQueryError(
                f"Query cost is {cost}, which exceeds the single query max cost limit ({MAX_QUERY_COST}).",
                "MAX_COST_EXCEEDED",
            )
        if cost > self._refill():
            self.throttled += 1
            error = {"message": "Throttled", "extensions": {"code": "THROTTLED"}}
            return {"errors": [error], "extensions": self._cost(cost, None)}
        for field, _ in fields_of(root, operation.selection_set):
            scope = SCOPES[field.name.value]
            if scope and scope not in self.scopes:
                raise RefusedQueryError(f"Access denied for {field.name.value} field.", "ACCESS_DENIED")
        self.calls.append(name)
        data = query.run()
        self.available -= base + query.actual
        return {"data": data, "extensions": self._cost(cost, base + query.actual)}

    def _refill(self) -> float:
        now = self._clock()
        passed = max(0.0, (now - self._available_at).total_seconds())
        self.available = min(self.maximum, self.available + passed * self.restore)
        self._available_at = now
        return self.available

    def _cost(self, requested: int, actual: int | None) -> Row:
        status = {
            "maximumAvailable": self.maximum,
            "currentlyAvailable": floor(self.available),
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
                return self.bulk.look(gid, self.now(), self.stamp())
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
            case "shop":
                return {"currencyCode": self.rows.currency}
            case "productVariants":
                return self.products.search(arguments.get("query"))
            case "fulfillmentOrder":
                orders = (one for each in self.orders.values() for one in fulfillment_orders(each, self.locations))
                return next((one for one in orders if one["id"] == gid), None)
            case name if name != "bulkOperationRunQuery":
                return self.mutations.run(name, arguments, self.version)
            case _:
                grouped = arguments.get("groupObjects")
                return self.bulk.start(str(arguments["query"]), self.version, self.stamp(), grouped=grouped)

    def _node(self, gid: str) -> Row | None:
        match gid.split("/")[3:4]:
            case ["Order"]:
                return self.orders.get(gid.rpartition("/")[2])
            case ["Fulfillment"] | ["Refund"] as kind:
                part: Row | None = self.root(kind[0].lower(), {"id": gid})
                return part
            case ["InventoryItem"]:
                return next((row for row in self.products.items.values() if row["id"] == gid), None)
            case ["ProductVariant"]:
                return next((row for row in self.products.variants if row["id"] == gid), None)
            case _:
                return None

    def _changed(self, arguments: Mapping[str, Any]) -> list[Row]:
        lag = timedelta(seconds=self.index_lag_s)
        for number, order in self.orders.items():
            if _time(order["updatedAt"]) + lag <= self.now() or not lag:
                self._indexed[number] = (order["updatedAt"], order["id"])
        since, searched = _search(arguments.get("query"))
        if arguments.get("sortKey") not in (None, "UPDATED_AT"):
            raise RefusedQueryError("sortKey", "argumentLiteralsIncompatible")
        rows = sorted((at, gid) for at, gid in self._indexed.values() if since is None or _time(at) >= since)
        # The row is as it is now, its place in the list as the index has it.
        found = [{**self.orders[gid.rpartition("/")[2]], "updatedAt": at, "_key": [at, gid]} for at, gid in rows]
        return [row for row in found if searched(_time(row["createdAt"]))]

    def levels_of(self, location: Row, query: str | None) -> list[Row]:
        """The counts of a location, in no order that means anything."""
        since, _ = _search(query)
        return [
            {**row, "_key": [row["id"]]}
            for row in sorted(self.levels.values(), key=lambda row: str(row["id"]))
            if row["location"] is location and (since is None or _time(row["updatedAt"]) >= since)
        ]

    def belonging(self, name: str, row: Row, arguments: Mapping[str, Any]) -> Any:
        """A level of an item, the fulfilment orders of an order."""
        if name == "fulfillmentOrders":
            return fulfillment_orders(row, self.locations)
        return next(
            (
                level
                for level in self.levels.values()
                if level["item"] is row and level["location"]["id"] == arguments["locationId"]
            ),
            None,
        )

    def cursor(self, key: object) -> str:
        """A page's end, opaque."""
        return base64.b64encode(json.dumps([self._cursor_epoch, key]).encode()).decode()

    def key(self, cursor: str) -> Any:
        """What a cursor stands for.

        Raises:
            RefusedQueryError: It has expired.
        """
        try:
            epoch, key = json.loads(base64.b64decode(cursor))
        except ValueError:
            epoch, key = -1, None
        if epoch != self._cursor_epoch:
            raise RefusedQueryError("Invalid cursor for current pagination sort.", None)
        return key


def _search(query: str | None) -> tuple[datetime | None, Callable[[datetime], bool]]:
    """From when on something was changed, and whether it was created in time."""
    since: datetime | None = None
    bounds: list[tuple[str, datetime]] = []
    for word in query.split(" AND ") if query else ():
        found = _WORD.fullmatch(word)
        if found is None or (found[1], found[2]) == ("updated_at", "<"):
            raise RefusedQueryError("the simulator knows no such search", "BAD_REQUEST")
        if found[1] == "updated_at":
            since = _time(found[3])
        else:
            bounds.append((found[2], _time(found[3])))
    return since, lambda at: all(at >= bound if sign == ">=" else at < bound for sign, bound in bounds)


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

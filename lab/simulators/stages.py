"""The vendors' simulators as a process serves them: the API as it is, and below `/_simulator/` what makes things happen.

    POST /_simulator/acts      a list of acts in one vocabulary for all vendors; answers with what each returned
    GET  /_simulator/ledger    everything that the vendor knows, decimals as text
    GET  /_simulator/counters  requests, throttled ones, faults, webhooks sent, sweeps over the stock
    POST /_simulator/faults    {kind: share of requests from 0 to 1}
    POST /_simulator/webhooks  {"url": where deliveries go to}

An act is `{"act": "order" | "dispatch" | "refund" | "count", ...}`; an order is named by its `number`, its lines by their
place in it (from 0), prices are net and rates in percent:

    order     number, country, lines [{sku, name, quantity, price, rate}], shipping (net), rate (of the shipping)
    dispatch  order, place, carrier, tracking, lines [[place in the order, quantity]] (at SEKO: skus instead of places)
    refund    order, place, restock, lines [[place in the order, quantity]], shipping (net)
    count     sku, place, delta, reason: so many more or fewer are there than the figure says

Imports nothing of ours but the simulators.
"""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from time import monotonic
from typing import Any, Final, Protocol, TypeAlias

import httpx

from lab.simulators.magento import app as magento
from lab.simulators.seko import app as seko
from lab.simulators.seko.state import AVAILABLE as SEKO_AVAILABLE
from lab.simulators.shopify import app as shopify
from lab.simulators.veeqo.app import VeeqoServer
from lab.simulators.veeqo.faults import Behaviour, VeeqoFault
from lab.simulators.veeqo.state import Account as VeeqoAccount
from lab.simulators.veeqo.state import Line as VeeqoLine
from lab.simulators.veeqo.wire import VeeqoRefusedError
from lab.simulators.wire import ConnectionDroppedError, Receive, Scope, Send, whole_body

App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Json: TypeAlias = dict[str, Any]
Act: TypeAlias = Mapping[str, Any]

_LATE_S: Final = 1.0
#: SEKO's codes are each client's own; these are this one's.
_CODES: Final = {"damaged": "DMG", "lost": "LST", "found": "FND", "count": "CC"}
#: As Veeqo numbers them.
_CARRIERS: Final = {"royal mail": 1, "dpd": 4, "dhl": 9}


class Stage(Protocol):
    """One vendor with a ledger, and what people do there."""

    app: App
    counters: Counter[str]

    def order(self, act: Act) -> object: ...

    def dispatch(self, act: Act) -> object: ...

    def refund(self, act: Act) -> object: ...

    def count(self, act: Act) -> object: ...

    def fail(self, rates: Mapping[str, float]) -> None:
        """How often each kind of fault happens from now on; raises ValueError for a kind that the vendor lacks."""

    def before(self, path: str) -> None:
        """A request for its API comes in."""

    def tally(self) -> Mapping[str, int]:
        """What has been counted."""

    def ledger(self) -> Json: ...

    async def push(self, url: str, client: httpx.AsyncClient) -> None:
        """Send what waits to whom it concerns, once."""


class _Stage:
    """What most of them have in common: no stock of their own, nothing to push."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.counters: Counter[str] = Counter()
        self._clock = clock
        self._numbers: dict[str, Any] = {}  # of orders, to the vendor's own ids

    def count(self, _act: Act) -> object:
        raise ValueError("it counts no stock")

    def refund(self, _act: Act) -> object:
        raise ValueError("it has no refunds")

    def before(self, _path: str) -> None:
        self.counters["requests"] += 1

    def tally(self) -> Mapping[str, int]:
        return self.counters

    async def push(self, _url: str, _client: httpx.AsyncClient) -> None:
        return


class Magento(_Stage):
    """`data`: `seed`, `credentials` (fields of magento.Credentials), `late`: the share of orders that show up later."""

    def __init__(self, data: Mapping[str, Any], clock: Callable[[], datetime]) -> None:
        super().__init__(clock)
        self._random = Random(data.get("seed", 1))  # noqa: S311 -- faults, not secrets
        self._late = float(data.get("late", 0))
        self.shop = magento.Shop(clock)
        credentials = magento.Credentials(**data.get("credentials", {}))
        self._api = magento.build_app(
            self.shop, credentials=credentials, random=self._random, settings=magento.Settings(rates={})
        )
        self.app: App = self._api

    def order(self, act: Act) -> object:
        wishes = [
            magento.Wish(
                sku=line["sku"],
                quantity=Decimal(line["quantity"]),
                price=Decimal(line["price"]),
                rate=Decimal(line["rate"]),
            )
            for line in act["lines"]
        ]
        # Its transaction is committed later than it was begun, and meanwhile nobody sees it.
        late = self._random.random() < self._late
        order_id = self.shop.place(
            *wishes,
            shipping=Decimal(act["shipping"]),
            shipping_rate=Decimal(act["rate"]),
            country=act["country"],
            increment_id=act["number"],
            visible_at=self._clock() + timedelta(seconds=_LATE_S) if late else None,
        )
        self.counters["late"] += late
        self.shop.invoice(order_id)
        self._numbers[act["number"]] = order_id
        return order_id

    def dispatch(self, act: Act) -> object:
        tracks = [(act["tracking"], act["carrier"], "custom")]
        rows = self._rows(act)
        return self.shop.ship(self._numbers[act["order"]], rows, tracks=tracks, source_code=act["place"])

    def refund(self, act: Act) -> object:
        rows, shipping = self._rows(act), Decimal(act["shipping"])
        return self.shop.refund(self._numbers[act["order"]], rows, shipping=shipping)

    def _rows(self, act: Act) -> dict[int, Decimal]:
        items = self.shop.order(self._numbers[act["order"]])["items"]
        return {items[at]["item_id"]: Decimal(quantity) for at, quantity in act["lines"]}

    def fail(self, rates: Mapping[str, float]) -> None:
        self._api.settings.rates = {magento.Kind(kind): rate for kind, rate in rates.items()}

    def ledger(self) -> Json:
        return {name: list(rows.values()) for name, rows in self.shop.lists.items()}


class Shopify(_Stage):
    """`data`: `seed`, `domain`, `token`, `secret`, `bucket`, `restore` (per second), `index_lag_s`, `locations` {id: name}."""

    _RATES = frozenset({"html", "drop", "twice", "lost"})
    _TOPICS = frozenset(
        {
            "orders/create", "orders/updated", "orders/edited", "orders/paid", "orders/cancelled", "refunds/create",
            "fulfillments/create", "fulfillments/update",
        }
    )  # fmt: skip

    def __init__(self, data: Mapping[str, Any], clock: Callable[[], datetime]) -> None:
        super().__init__(clock)
        known = {name: data[name] for name in ("domain", "token", "secret") if name in data}
        self.shop = shopify.Shop(
            clock=clock,
            random=Random(data.get("seed", 1)),  # noqa: S311 -- faults, not secrets
            bucket=float(data.get("bucket", 2000)),
            restore=float(data.get("restore", 100)),
            **known,
        )
        self.shop.index_lag_s = float(data.get("index_lag_s", 0))
        for number, name in data.get("locations", {}).items():
            self.shop.add_location(number, name)
        self.shop.subscriptions = set(self._TOPICS)
        self.app: App = self.shop

    def order(self, act: Act) -> object:
        address = {
            "name": "Mia Odum", "company": None, "address1": "4 Lime Row", "address2": None, "city": "Leeds",
            "zip": "LS1 4XX", "province": None, "provinceCode": None, "country": None,
            "countryCodeV2": act["country"], "phone": None,
        }  # fmt: skip
        lines = [
            {
                "sku": line["sku"],
                "name": line["name"],
                "quantity": line["quantity"],
                "price": line["price"],
                "rate": Decimal(line["rate"]) / 100,
            }
            for line in act["lines"]
        ]
        number = self.shop.place_order(
            *lines,
            taxes_included=False,
            rate=str(Decimal(act["rate"]) / 100),
            shipping=act["shipping"] if Decimal(act["shipping"]) else None,
            name=f"#{act['number']}",
            shippingAddress=address,
            billingAddress=address,
        )
        self._numbers[act["number"]] = number
        return number

    def dispatch(self, act: Act) -> object:
        lines = {at: int(quantity) for at, quantity in act["lines"]}
        number = self._numbers[act["order"]]
        return self.shop.fulfil(number, act["place"], lines, company=act["carrier"], tracking=act["tracking"])

    def refund(self, act: Act) -> object:
        kind = "RETURN" if act["restock"] else "NO_RESTOCK"
        rows = [(at, int(quantity), kind, act["place"]) for at, quantity in act["lines"]]
        shipping = act["shipping"] if Decimal(act["shipping"]) else None
        return self.shop.refund(self._numbers[act["order"]], rows, shipping=shipping)

    def fail(self, rates: Mapping[str, float]) -> None:
        if unknown := rates.keys() - self._RATES:
            raise ValueError(
                f"a shop of Shopify knows no {min(unknown)}; write one of {', '.join(sorted(self._RATES))}"
            )
        self.shop.rates = dict(rates)

    def tally(self) -> Mapping[str, int]:
        return self.counters | Counter(throttled=self.shop.throttled, queries=len(self.shop.calls))

    def ledger(self) -> Json:
        return {"orders": list(self.shop.orders.values())}

    async def push(self, url: str, client: httpx.AsyncClient) -> None:
        async def post(headers: Mapping[str, str], body: bytes) -> int:
            self.counters["webhooks"] += 1
            try:
                return (await client.post(url, headers=dict(headers), content=body)).status_code
            except httpx.HTTPError:
                self.counters["webhooks_unanswered"] += 1
                return 0

        await self.shop.deliver(post)


class Veeqo(_Stage):
    """`data`: `seed`, `key`, `warehouses` {id: name}, `products` [[sku, {warehouse id: level}]], `manners` (of the server)."""

    _KINDS = frozenset({"throttle", "html_500", "html_503", "drop", "cut"})

    def __init__(self, data: Mapping[str, Any], clock: Callable[[], datetime]) -> None:
        super().__init__(clock)
        self._random = Random(data.get("seed", 1))  # noqa: S311 -- faults, not secrets
        self._rates: Mapping[str, float] = {}
        self.account = VeeqoAccount(clock)
        for number, name in data.get("warehouses", {}).items():
            self.account.add_warehouse(int(number), name)
        self._opening: list[Json] = []
        for sku, levels in data.get("products", ()):
            self.account.add_product(sku, {int(number): level for number, level in levels.items()})
            self._opening += [{"sku": sku, "place": number, "level": level} for number, level in levels.items()]
        self._entries = {
            (sellable["sku_code"], entry["warehouse_id"]): entry
            for product in self.account.products
            for sellable in product["sellables"]
            for entry in sellable["stock_entries"]
        }
        self._counts: list[Json] = []
        self._swept = False
        manners = Behaviour(**data.get("manners", {}))
        self._api = VeeqoServer(self.account, frozenset({data.get("key", "veeqo-key")}), monotonic, manners)
        self.app: App = self._api

    def order(self, act: Act) -> object:
        lines = [
            VeeqoLine(line["sku"], int(line["quantity"]), line["price"], str(Decimal(line["rate"]) / 100))
            for line in act["lines"]
        ]
        address = {
            "first_name": "Mia", "last_name": "Odum", "company": None, "address1": "4 Lime Row", "address2": None,
            "city": "Leeds", "state": "", "zip": "LS1 4XX", "country": act["country"], "phone": None,
            "email": "mia@example.test",
        }  # fmt: skip
        order_id = self.account.place_order(
            *lines, number=f"P-{act['number']}", delivery_cost=Decimal(act["shipping"]), deliver_to=address
        )
        self._numbers[act["number"]] = order_id
        return order_id

    def dispatch(self, act: Act) -> object:
        order = self.account.orders[self._numbers[act["order"]]]
        units: Counter[str] = Counter()
        for at, quantity in act["lines"]:
            units[order["line_items"][at]["sellable"]["sku_code"]] += int(quantity)
        carrier = _CARRIERS.get(act["carrier"].replace("-", " ").casefold(), 3)
        return self.account.dispatch(order["id"], int(act["place"]), units, carrier=carrier, tracking=act["tracking"])

    def count(self, act: Act) -> object:
        place, delta = int(act["place"]), Decimal(act["delta"])
        level = self._entries[act["sku"], place]["physical_stock_level"] + delta
        self.account.set_stock(act["sku"], place, level)
        count = {"sku": act["sku"], "place": place, "delta": delta, "reason": act["reason"], "at": self.account.now()}
        self._counts.append(count)
        return level

    def before(self, path: str) -> None:
        super().before(path)
        # Whoever has swept over all stock looks at the orders next.
        self.counters["sweeps"] += self._swept and path.startswith("/orders")
        self._swept = path.startswith("/products")
        kind = next((kind for kind, rate in self._rates.items() if self._random.random() < rate), None)
        if kind is not None:
            self._api.faults.append(VeeqoFault(kind))  # type: ignore[arg-type]  # checked by `fail`

    def fail(self, rates: Mapping[str, float]) -> None:
        if unknown := rates.keys() - self._KINDS:
            raise ValueError(f"Veeqo knows no fault {min(unknown)}; write one of {', '.join(sorted(self._KINDS))}")
        self._rates = dict(rates)

    def tally(self) -> Mapping[str, int]:
        return self.counters | Counter(throttled=self._api.throttled)

    def ledger(self) -> Json:
        now = [
            {"sku": sku, "place": place, "level": entry["physical_stock_level"]}
            for (sku, place), entry in self._entries.items()
        ]
        return {
            "orders": list(self.account.orders.values()), "counts": self._counts, "opening": self._opening, "stock": now,
        }  # fmt: skip


class Seko(_Stage):
    """`data`: `seed`, `key`, `secret`, `dcs`, `cadence_s`, `lag_s`, `stock` [[dc, sku, units]].

    It is told of parcels, not of orders: one that leaves in two is two of SEKO's orders with the same reference.
    """

    _RATES = frozenset(
        {"lost", "twice", "reorder", "no_answer", "throttle", "down", "html", "drop", "refused"}
    )  # fmt: skip

    def __init__(self, data: Mapping[str, Any], clock: Callable[[], datetime]) -> None:
        super().__init__(clock)
        known = {name: data[name] for name in ("key", "secret", "dcs") if name in data}
        random = Random(data.get("seed", 1))  # noqa: S311 -- faults, not secrets
        self.hub = seko.Hub(clock=clock, random=random, **known)
        self.hub.cadence_s = float(data.get("cadence_s", 900))
        self.hub.lag_s = float(data.get("lag_s", 0))
        for dc, sku, units in data.get("stock", ()):
            self.hub.stock[dc, SEKO_AVAILABLE, sku, ""] = int(units)
        self.app: App = self.hub

    def order(self, _act: Act) -> object:
        raise ValueError("it sells nothing")

    def dispatch(self, act: Act) -> object:
        self.counters["parcels"] += 1
        number = f"W-{self.counters['parcels']}"
        units: Counter[str] = Counter()
        for sku, quantity in act["lines"]:
            units[sku] += int(quantity)
        self.hub.load_order(number, units, reference=str(act["order"]), dc=act["place"])
        self.hub.dispatch(number, courier=act["carrier"], tracking=act["tracking"])
        return number

    def count(self, act: Act) -> object:
        code = _CODES.get(act["reason"], "OTH")
        self.hub.adjust(act["sku"], int(act["delta"]), dc=act["place"], code=code, description=act["reason"])
        return code

    def fail(self, rates: Mapping[str, float]) -> None:
        if unknown := rates.keys() - self._RATES:
            raise ValueError(f"SEKO knows no {min(unknown)}; write one of {', '.join(sorted(self._RATES))}")
        self.hub.faults.rates = dict(rates)

    def tally(self) -> Mapping[str, int]:
        ends = Counter(f"messages_{each.ended or 'waiting'}" for each in self.hub.messages)
        return self.counters | ends

    def ledger(self) -> Json:
        now = [
            {"sku": sku, "place": dc, "level": units}
            for (dc, kind, sku, _), units in self.hub.stock.items()
            if kind == SEKO_AVAILABLE
        ]
        return {"said": [{"service": each.service, **each.row} for each in self.hub.messages], "stock": now}

    async def push(self, url: str, client: httpx.AsyncClient) -> None:
        async def post(headers: Mapping[str, str], body: bytes) -> int:
            self.counters["webhooks"] += 1
            try:
                return (await client.post(url, headers=dict(headers), content=body)).status_code
            except httpx.HTTPError as error:
                self.counters["webhooks_unanswered"] += 1
                raise ConnectionError(str(error)) from error

        await self.hub.push(post)


STAGES: Final[Mapping[str, Callable[[Mapping[str, Any], Callable[[], datetime]], Stage]]] = {
    "magento": Magento,
    "shopify": Shopify,
    "veeqo": Veeqo,
    "seko": Seko,
}


class Door:
    """A stage as an ASGI app; `webhooks` goes out about every `push_s` seconds while it is up."""

    def __init__(self, stage: Stage, *, url: str = "", push_s: float = 0.5) -> None:
        self._stage = stage
        self._url = url
        self._push_s = push_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or the lifespan of a server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        path = scope["path"]
        if path.startswith("/_simulator/"):
            await _reply(
                send, *self._administer(scope["method"], path.removeprefix("/_simulator/"), await whole_body(receive))
            )
            return
        self._stage.before(path)
        try:
            await self._stage.app(scope, receive, send)
        except ConnectionDroppedError:
            self._stage.counters["dropped"] += 1
            close = (scope.get("extensions") or {}).get("simulator.drop")
            if close is None:
                raise
            close()
            while (await receive())["type"] != "http.disconnect":
                pass

    def _administer(self, method: str, what: str, body: bytes) -> tuple[int, object]:
        try:
            match method, what:
                case "POST", "acts":
                    told = json.loads(body)
                    return 200, [self._act(each) for each in told]
                case "GET", "ledger":
                    return 200, self._stage.ledger()
                case "GET", "counters":
                    return 200, self._stage.tally()
                case "POST", "faults":
                    self._stage.fail({str(kind): float(rate) for kind, rate in json.loads(body).items()})
                    return 200, {}
                case "POST", "webhooks":
                    self._url = str(json.loads(body)["url"])
                    return 200, {}
                case _:
                    return 404, {"error": "there is no such thing"}
        except (ValueError, KeyError, TypeError, LookupError, magento.NotAllowedError, VeeqoRefusedError) as error:
            return 400, {"error": f"{type(error).__name__}: {error}"}

    def _act(self, act: Act) -> object:
        match act["act"]:
            case "order":
                return self._stage.order(act)
            case "dispatch":
                return self._stage.dispatch(act)
            case "refund":
                return self._stage.refund(act)
            case "count":
                return self._stage.count(act)
            case other:
                raise ValueError(f"nobody does {other!r}")

    async def _live(self, receive: Receive, send: Send) -> None:
        pushing: asyncio.Task[None] | None = None
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                pushing = asyncio.create_task(self._push())
                await send({"type": "lifespan.startup.complete"})
                continue
            if pushing is not None:
                pushing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await pushing
            await send({"type": "lifespan.shutdown.complete"})
            return

    async def _push(self) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            while True:
                await asyncio.sleep(self._push_s)
                if self._url:
                    await self._stage.push(self._url, client)


def build_stage(name: str, data: Mapping[str, Any]) -> Stage:
    """A vendor as a configuration describes it; its clock is `skew_s` seconds ahead of ours.

    Raises:
        ValueError: A fault that the vendor does not know.
    """
    skew = timedelta(seconds=float(data.get("skew_s", 0)))
    stage = STAGES[name](data, lambda: datetime.now(UTC) + skew)
    stage.fail({kind: float(rate) for kind, rate in data.get("faults", {}).items()})
    return stage


async def _reply(send: Send, status: int, value: object) -> None:
    body = json.dumps(_told(value)).encode()
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


def _told(value: object) -> object:
    """As JSON has it: decimals as text, what is only the simulator's own (a key that begins with `_`) left out."""
    match value:
        case Mapping():
            return {str(name): _told(each) for name, each in value.items() if not str(name).startswith("_")}
        case str() | None | bool() | int() | float():
            return value
        case Sequence():
            return [_told(each) for each in value]
        case Decimal():
            return format(value, "f")
        case _:
            return str(value)

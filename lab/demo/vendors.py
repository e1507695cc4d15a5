"""The same sales as four vendors at once, and a till.

Magento, Shopify and Veeqo sell; which of them an order belongs to follows from its number, whatever else is in the data
(a refunded one is never Veeqo's, which has no refunds). SEKO's two facilities send what the two shops sold, and count
what is there; Veeqo has a warehouse of its own. Each vendor's simulator is a process of its own, and what happens is made to happen there
(`lab/simulators/vendors/server.py`), a little at a time and now: the week is pressed into a minute, and times are today's.
Refunds that name no order, and lines that cannot be read, stay in files: the till's (kind `ims`).
"""

import asyncio
import hashlib
import json
import secrets
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from lab.demo import vendor_ledgers
from lab.demo.inputs import Said, Start
from lab.demo.processes import ProcessError, ask_json
from lab.feed import sales as feeding
from lab.feed.sales import Entry, Feed, Writer, warehouse_toml

TILL = "till"
SHOPS = ("magento", "shopify", "veeqo")
VENDORS = (*SHOPS, "seko")
#: What goes wrong at each, as shares of its requests (Shopify's `twice` and `lost`: of its webhooks).
FAULTS: Mapping[str, Mapping[str, float]] = {
    "magento": {"throttled": 0.02, "maintenance": 0.01, "internal": 0.01, "dropped": 0.02, "truncated": 0.01},
    "shopify": {"html": 0.01, "drop": 0.02, "twice": 0.3, "lost": 0.3},
    "veeqo": {"throttle": 0.02, "html_503": 0.01, "drop": 0.02, "cut": 0.01},
    "seko": {"lost": 0.1, "twice": 0.2, "reorder": 0.3, "no_answer": 0.1, "throttle": 0.02, "down": 0.02, "drop": 0.02},
}
#: WhsCode -> each vendor's own name for it. Veeqo's warehouse is its own.
PLACES: Mapping[str, Mapping[str, str]] = {
    "magento": {"LON1": "main", "WEB1": "dotcom"},
    "shopify": {"LON1": "31", "WEB1": "32"},
    "veeqo": {"VEQ1": "11"},
    "seko": {"LON1": "DCLON1", "WEB1": "DCWEB1"},
    TILL: {"LON1": "MAIN", "WEB1": "DOTCOM"},
}
_UNMAPPED = "DCAMZ1"
_CODES = {location: code for code, location in feeding.PLACES.items()}
_CARRIERS = {"royal-mail": 1, "royal mail": 1, "dpd": 2, "dhl": 3}
_SECRETS = {
    "magento": ("consumer_key", "consumer_secret", "token", "token_secret"),
    "shopify": ("token", "secret"),
    "veeqo": ("key",),
    "seko": ("key", "secret"),
}
_DISPATCHERS = ("veeqo", "seko")
_KINDS = ("order", "dispatch", "refund", "count")  # in this order within one step
_FLOWS = {"order": "order_placed", "dispatch": "dispatch_confirmed", "refund": "refund_issued"}
_ACTS_AT_ONCE = 200
_READY_S = 60.0
#: Sweeps over Veeqo's stock to wait for at the end: one is under way, the next sees all but what it counts again.
_SWEEPS = 3
_QUIET_S = 8.0  # longer than any poll's interval


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that happens at a vendor, as `lab/simulators/vendors/server.py` takes it."""

    at: datetime
    vendor: str
    body: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.body["action"])

    @property
    def flow(self) -> str | None:
        """The event that it comes to; none for what a shop is told of by SEKO, and for counts, which are netted."""
        told = self.kind != "dispatch" or self.vendor in _DISPATCHERS
        return _FLOWS.get(self.kind) if told else None


@dataclass(frozen=True, slots=True)
class Plan:
    """A feed, split.

    Attributes:
        acts: By time.
        till: What stays in files, by time.
        opening: (sku, WhsCode) -> units that are there before the first act.
        countries: (country, rate) of the orders: each is a tax code of the shops.
    """

    acts: tuple[Act, ...]
    till: tuple[Entry, ...]
    opening: Mapping[tuple[str, str], Decimal]
    countries: frozenset[tuple[str, str]]

    @property
    def expected(self) -> Counter[str]:
        """Events by flow that the acts come to, counts aside."""
        return Counter(flow for act in self.acts if (flow := act.flow) is not None)


@dataclass(slots=True)
class _Sold:
    vendor: str
    skus: list[str]
    open: list[Decimal] = field(default_factory=list)


def vendor_of(order_id: str, *, refunded: bool) -> str:
    """Whose order it is."""
    digest = int.from_bytes(hashlib.sha256(order_id.encode()).digest()[:4])
    return SHOPS[digest % 2] if refunded else SHOPS[digest % 3]


def split(made: Feed) -> Plan:
    """Split a feed among the vendors and the till."""
    return _Splitter(made).split()


class _Splitter:
    def __init__(self, made: Feed) -> None:
        self._entries = sorted((*made.shop, *made.warehouse), key=lambda entry: entry.at)
        self._orders: dict[str, _Sold] = {}
        self._acts: list[Act] = []
        self._till: list[Entry] = []
        self._leaves: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        self._countries: set[tuple[str, str]] = set()

    def split(self) -> Plan:
        events = [(entry, _parsed(entry.line)) for entry in self._entries]
        refunded = {
            event["order_id"]
            for _, event in events
            if event is not None and "refund_id" in event and "order_id" in event
        }
        seen: set[str] = set()
        for entry, event in events:
            repeated = entry.line in seen
            seen.add(entry.line)
            if event is None or (event["type"] == "refund_issued" and "order_id" not in event):
                self._till.append(entry)
            elif not repeated:
                self._take(entry, event, refunded)
        return Plan(tuple(self._acts), tuple(self._till), dict(self._leaves), frozenset(self._countries))

    def _take(self, entry: Entry, event: dict[str, Any], refunded: set[str]) -> None:
        match event["type"]:
            case "order_placed":
                self._order(entry.at, event, refunded=event["order_id"] in refunded)
            case "dispatch_confirmed":
                self._dispatch(entry.at, event)
            case "refund_issued":
                self._refund(entry.at, event)
            case _:
                self._adjust(entry, event)

    def _order(self, at: datetime, event: dict[str, Any], *, refunded: bool) -> None:
        number, lines = event["order_id"], event["lines"]
        vendor = vendor_of(number, refunded=refunded)
        self._orders[number] = _Sold(
            vendor, [line["sku"] for line in lines], [Decimal(line["quantity"]) for line in lines]
        )
        country = event.get("ship_to", {}).get("country", "GB")
        rate = lines[0]["tax_rate"]
        self._countries.add((country, rate))
        self._acts.append(
            Act(at, vendor, {
                "action": "order", "number": number, "country": country, "rate": rate,
                "shipping": event.get("shipping", {}).get("amount", "0"),
                "lines": [
                    {"sku": line["sku"], "name": line.get("name", line["sku"]), "quantity": line["quantity"],
                     "price": line["unit_price"], "rate": line["tax_rate"]}
                    for line in lines
                ],
            })
        )  # fmt: skip
        if vendor == "veeqo":
            for line in lines:
                self._leaves[line["sku"], "VEQ1"] += 0  # it must know the product

    def _dispatch(self, at: datetime, event: dict[str, Any]) -> None:
        sold = self._orders[event["order_id"]]
        code = "VEQ1" if sold.vendor == "veeqo" else _CODES[event["location"]]
        lines = [part for line in event["lines"] for part in self._taken(sold, line)]
        for at_line, quantity in lines:
            self._leaves[sold.skus[at_line], code] += quantity
        self._acts.append(
            Act(at, sold.vendor, {
                "action": "dispatch", "order": event["order_id"], "place": PLACES[sold.vendor][code],
                "carrier": event["carrier"], "tracking": event["tracking_numbers"][0],
                "lines": [[at_line, str(quantity)] for at_line, quantity in lines],
            })
        )  # fmt: skip
        if sold.vendor not in _DISPATCHERS:
            shop = self._acts[-1].body
            parcel = {"place": PLACES["seko"][code], "lines": [[sold.skus[n], str(quantity)] for n, quantity in lines]}
            self._acts.append(Act(at, "seko", {**shop, **parcel}))

    @staticmethod
    def _taken(sold: _Sold, line: Mapping[str, Any]) -> Iterator[tuple[int, Decimal]]:
        """Which lines of the order; where the warehouse does not say, the first that have some left."""
        wanted = Decimal(line["quantity"])
        named = line.get("line_id")
        for at_line, sku in enumerate(sold.skus):
            taken = min(wanted, sold.open[at_line])
            if taken and (sku == line["sku"] if named is None else at_line == int(named) - 1):
                sold.open[at_line] -= taken
                wanted -= taken
                yield at_line, taken

    def _refund(self, at: datetime, event: dict[str, Any]) -> None:
        sold, lines = self._orders[event["order_id"]], event["lines"]
        self._acts.append(
            Act(at, sold.vendor, {
                "action": "refund", "order": event["order_id"],
                "place": PLACES[sold.vendor][_CODES[lines[0]["location"]]], "restock": lines[0]["restock"],
                "shipping": event.get("shipping", {}).get("amount", "0"),
                "lines": [[int(line["line_id"]) - 1, line["quantity"]] for line in lines],
            })
        )  # fmt: skip

    def _adjust(self, entry: Entry, event: dict[str, Any]) -> None:
        """A third of the items is counted by Veeqo, the others by SEKO."""
        sku, delta = event["sku"], Decimal(event["delta"])
        code = _CODES.get(event["location"])
        vendor = "veeqo" if code == "LON1" and vendor_of(sku.upper(), refunded=False) == "veeqo" else "seko"
        if vendor == "veeqo":
            code = "VEQ1"
        if code is not None:
            self._leaves[sku, code] += max(-delta, Decimal(0))
        place = _UNMAPPED if code is None else PLACES[vendor][code]
        body = {"action": "count", "sku": sku, "place": place, "delta": event["delta"], "reason": event["reason"]}
        self._acts.append(Act(entry.at, vendor, body))


class Vendors:
    """The vendors' simulators and the till, as the demo's `Input`.

    Args:
        made: The sales.
        folder: For configurations, secrets, and the till's files.
        urls: Vendor -> where its simulator is; none: `open` starts them.
    """

    def __init__(self, made: Feed, folder: Path, urls: Mapping[str, str] | None = None) -> None:
        self._made, self._folder = made, folder
        self._plan = split(made)
        self._writer = Writer({TILL: self._plan.till}, folder / "in")
        self._urls = dict(urls or {})
        self._next = 0
        self._ids: dict[str, Any] = {}  # of orders, the vendor's own
        self._mark: int | None = None
        self._quiet: tuple[Mapping[str, int], float] = ({}, 0.0)

    @property
    def about(self) -> str:
        counts = Counter(act.vendor for act in self._plan.acts)
        told = ", ".join(f"{counts[vendor]:,} at {vendor.title()}" for vendor in VENDORS)
        return f"{self._made.first} to {self._made.last} pressed into now: {told}, {len(self._plan.till):,} lines of the till"

    @property
    def lines(self) -> int:
        return len(self._plan.acts) + len(self._plan.till)

    @property
    def left(self) -> int:
        return len(self._plan.acts) - self._next + self._writer.left

    def moments(self, steps: int) -> list[datetime]:
        return self._made.moments(steps)

    # ---- before

    def prepare(self) -> None:
        """Write the simulators' configurations, the secrets and the till's inbox."""
        (self._folder / "in" / TILL).mkdir(parents=True, exist_ok=True)
        (self._folder / "secrets").mkdir(mode=0o700, exist_ok=True)
        keys: dict[str, dict[str, str]] = {}
        for vendor, names in _SECRETS.items():
            keys[vendor] = {name: secrets.token_urlsafe(18) for name in names}
            for name, value in keys[vendor].items():
                (self._folder / "secrets" / f"{vendor}-{name}").write_text(value, encoding="utf-8")
        skus = sorted({sku for sku, code in self._plan.opening if code == "VEQ1"})
        settings: dict[str, dict[str, Any]] = {
            "magento": {"credentials": keys["magento"], "late": 0.1},
            "shopify": {
                **keys["shopify"], "domain": "acme.myshopify.com", "locations": {"31": "Main", "32": "Dotcom"},
                "restore": 1000, "index_lag_s": 1, "skew_s": 2,
            },
            "veeqo": {
                **keys["veeqo"], "warehouses": {"11": "Veeqo"}, "behaviour": {"capacity": 40, "drain_per_s": 10},
                "products": [[sku, {"11": str(self._plan.opening[sku, "VEQ1"])}] for sku in skus],
            },
            "seko": {
                **keys["seko"], "dcs": [*PLACES["seko"].values(), _UNMAPPED], "cadence_s": 2, "lag_s": 1,
                "stock": [
                    [PLACES["seko"][code], sku, str(units)]
                    for (sku, code), units in self._plan.opening.items()
                    if code in PLACES["seko"]
                ],
            },
        }  # fmt: skip
        for vendor, each in settings.items():
            (self._folder / f"{vendor}.json").write_text(json.dumps(each), encoding="utf-8")

    async def open(self, start: Start) -> None:
        self.prepare()
        command = [sys.executable, "-m", "lab.simulators"]
        children = [
            await start(vendor, [*command, vendor, "--port", "0", "--config", f"{vendor}.json"]) for vendor in VENDORS
        ]
        for vendor, child in zip(VENDORS, children, strict=True):
            port = await child.says(r"listening on (\d+)", _READY_S)
            self._urls[vendor] = f"http://127.0.0.1:{port}"

    def configuration(self, **connection: Any) -> str:
        told = {f"{country}-{rate}": "O1" if Decimal(rate) else "O0" for country, rate in self._plan.countries}
        return feeding.configuration(
            self._made, tax_codes=feeding.TAX_CODES | told, carriers=_CARRIERS, rooms=_rooms(self._urls), **connection
        )

    def simulator(self, **b1: Any) -> dict[str, object]:
        stock: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for (sku, code), units in self._plan.opening.items():
            stock[self._made.items.get(sku, sku), code] += units
        warehouses: Any = self._made.master["Warehouses"]
        master = {
            **self._made.master,
            "Warehouses": [*warehouses, {"WarehouseCode": "VEQ1", "WarehouseName": "Veeqo"}],
            "stock": [
                {"item": item, "warehouse": code, "quantity": str(units)}
                for (item, code), units in sorted(stock.items())
                if units
            ],
        }
        return feeding.simulator(replace(self._made, master=master), **b1)

    async def connect(self, url: str) -> None:
        """Veeqo's first sweep is the baseline: what changes before it is nobody's. Then things begin to go wrong."""
        for vendor in ("shopify", "seko"):
            await self._ask(vendor, "webhooks", {"url": f"{url}/{vendor}"})
        deadline = time.monotonic() + _READY_S
        while not await self._sweeps():
            if time.monotonic() > deadline:
                raise ProcessError(f"Veeqo's stock was not read in {_READY_S:.0f} s; see connect.log")
            await asyncio.sleep(0.2)
        for vendor, rates in FAULTS.items():
            await self._ask(vendor, "faults", rates)

    # ---- meanwhile

    async def write(self, upto: datetime) -> None:
        self._writer.write(upto)
        acts, at = self._plan.acts, self._next
        while at < len(acts) and acts[at].at < upto:
            at += 1
        due = acts[self._next : at]
        for kind in _KINDS:
            await asyncio.gather(
                *(self._do(vendor, [a.body for a in due if (a.vendor, a.kind) == (vendor, kind)]) for vendor in VENDORS)
            )
        self._next = at

    async def _do(self, vendor: str, acts: Sequence[Mapping[str, Any]]) -> None:
        for at in range(0, len(acts), _ACTS_AT_ONCE):
            some = acts[at : at + _ACTS_AT_ONCE]
            if vendor == "seko":  # it knows orders by what the shop calls them
                some = [{**act, "order": self._ids[act["order"]]} if "order" in act else act for act in some]
            answers = await self._ask(vendor, "actions", some)
            self._ids |= {act["number"]: answer for act, answer in zip(some, answers, strict=True) if "number" in act}

    async def missing(self, received: Mapping[str, int]) -> str:
        sweeps = await self._sweeps()
        self._mark = sweeps if self._mark is None else self._mark
        for flow, count in self._plan.expected.items():
            if received.get(flow, 0) < count:
                return f"{count - received.get(flow, 0):,} of {flow}"
        if sweeps < self._mark + _SWEEPS:
            return "a sweep over Veeqo's stock"
        now = time.monotonic()
        if received != self._quiet[0]:
            self._quiet = dict(received), now
        return "" if now - self._quiet[1] >= _QUIET_S else "a moment without news"

    async def said(self) -> Said:
        ledgers = {vendor: await self._ask(vendor, "ledger") for vendor in VENDORS}
        for vendor, ledger in ledgers.items():
            (self._folder / f"{vendor}-ledger.json").write_text(json.dumps(ledger), encoding="utf-8")
        told = {
            vendor: list(vendor_ledgers.READERS[vendor](ledger, dispatches=vendor in _DISPATCHERS))
            for vendor, ledger in ledgers.items()
        }
        return Said(feeding.inputs(self._folder / "in"), told, vendor_ledgers.shelves(ledgers["veeqo"]))

    async def _sweeps(self) -> int:
        return int((await self._ask("veeqo", "counters")).get("sweeps", 0))

    async def _ask(self, vendor: str, what: str, body: Any = None) -> Any:
        method = "GET" if body is None else "POST"
        return await ask_json(vendor, self._urls[vendor], method, f"/_simulator/{what}", body)


def _rooms(urls: Mapping[str, str]) -> str:
    """Warehouses and connectors of the configuration."""
    places = {vendor: ", ".join(f'"{name}" = "{code}"' for code, name in own.items()) for vendor, own in PLACES.items()}
    return f"""\
{warehouse_toml("LON1", "seko", PLACES["seko"]["LON1"], ["magento", "shopify"])}
{warehouse_toml("WEB1", "seko", PLACES["seko"]["WEB1"], ["magento", "shopify"])}
{warehouse_toml("VEQ1", "veeqo", "11", ["veeqo"], "adjustment")}
[webhooks]
port = 0
[connectors.magento]
kind = "magento"
company = "acme"
base_url = "{urls["magento"]}"
consumer_key = "file:secrets/magento-consumer_key"
consumer_secret = "file:secrets/magento-consumer_secret"
access_token = "file:secrets/magento-token"
access_token_secret = "file:secrets/magento-token_secret"
flows = ["orders", "creditmemos"]
poll_interval_s = 1
overlap_s = 60
orders = {{ warehouse = "LON1" }}
locations = {{ {places["magento"]} }}
[connectors.shopify]
kind = "shopify"
company = "acme"
shop = "acme.myshopify.com"
url = "{urls["shopify"]}"
access_token = "file:secrets/shopify-token"
webhook_secrets = ["file:secrets/shopify-secret"]
events = ["order_placed", "order_cancelled", "refund_issued"]
poll_interval_s = 5
overlap_s = 20
orders = {{ warehouse = "LON1" }}
locations = {{ {places["shopify"]} }}
[connectors.veeqo]
kind = "veeqo"
company = "acme"
url = "{urls["veeqo"]}"
api_key = "file:secrets/veeqo-key"
poll_interval_s = 1
stock_interval_s = 5
stock_reason = "count"
overlap_s = 20
memory_days = 1
requests_per_s = 10
burst = 30
orders = {{ warehouse = "VEQ1" }}
locations = {{ {places["veeqo"]} }}
[connectors.seko]
kind = "seko"
company = "acme"
url = "{urls["seko"]}/hub/api"
api_key = "file:secrets/seko-key"
push_secrets = ["file:secrets/seko-secret"]
order_source = ["magento", "shopify"]
order_id = "SalesOrderReference"
poll_interval_s = 4
overlap_s = 30
slice_s = 600
first_look_s = 60
gap_patience_s = 60
dcs = {json.dumps([*PLACES["seko"].values(), _UNMAPPED])}
reasons = {{ DMG = "damaged", LST = "lost", FND = "found", CC = "count" }}
locations = {{ {places["seko"]} }}
[connectors.{TILL}]
kind = "ims"
company = "acme"
inbox = "in/{TILL}"
poll_interval_s = 0.2
orders = {{ warehouse = "LON1" }}
locations = {{ {places[TILL]} }}
"""


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return event

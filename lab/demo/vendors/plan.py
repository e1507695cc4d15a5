"""The same sales, split among four vendors and a till."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from lab.demo.vendors.names import CODE_OF_LOCATION, DISPATCHERS, SHOPS, UNMAPPED_FACILITY, VENDOR_PLACES
from lab.feed.feed import Feed, FeedEntry

_FLOW_OF_ACTION = {"order": "order_placed", "dispatch": "dispatch_confirmed", "refund": "refund_issued"}


@dataclass(frozen=True, slots=True)
class VendorAction:
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
        told = self.kind != "dispatch" or self.vendor in DISPATCHERS
        return _FLOW_OF_ACTION.get(self.kind) if told else None


@dataclass(frozen=True, slots=True)
class SalesPlan:
    """A feed, split_sales.

    Attributes:
        actions: By time.
        till: What stays in files, by time.
        opening: (sku, WhsCode) -> units that are there before the first action.
        countries: (country, rate) of the orders: each is a tax code of the shops.
    """

    actions: tuple[VendorAction, ...]
    till: tuple[FeedEntry, ...]
    opening: Mapping[tuple[str, str], Decimal]
    countries: frozenset[tuple[str, str]]

    @property
    def expected(self) -> Counter[str]:
        """Events by flow that the actions come to, counts aside."""
        return Counter(flow for action in self.actions if (flow := action.flow) is not None)


@dataclass(slots=True)
class _OwnedOrder:
    vendor: str
    skus: list[str]
    open: list[Decimal] = field(default_factory=list)


def vendor_of(order_id: str, *, refunded: bool) -> str:
    """Whose order it is."""
    digest = int.from_bytes(hashlib.sha256(order_id.encode()).digest()[:4])
    return SHOPS[digest % 2] if refunded else SHOPS[digest % 3]


def split_sales(made: Feed) -> SalesPlan:
    """Split a feed among the vendors and the till."""
    return _SalesSplitter(made).split()


class _SalesSplitter:
    def __init__(self, made: Feed) -> None:
        self._entries = sorted((*made.shop, *made.warehouse), key=lambda entry: entry.at)
        self._orders: dict[str, _OwnedOrder] = {}
        self._actions: list[VendorAction] = []
        self._till: list[FeedEntry] = []
        self._leaves: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        self._countries: set[tuple[str, str]] = set()

    def split(self) -> SalesPlan:
        events = [(entry, _event_of(entry.line)) for entry in self._entries]
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
        return SalesPlan(tuple(self._actions), tuple(self._till), dict(self._leaves), frozenset(self._countries))

    def _take(self, entry: FeedEntry, event: dict[str, Any], refunded: set[str]) -> None:
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
        self._orders[number] = _OwnedOrder(
            vendor, [line["sku"] for line in lines], [Decimal(line["quantity"]) for line in lines]
        )
        country = event.get("ship_to", {}).get("country", "GB")
        rate = lines[0]["tax_rate"]
        self._countries.add((country, rate))
        self._actions.append(
            VendorAction(
                at,
                vendor,
                {
                    "action": "order",
                    "number": number,
                    "country": country,
                    "rate": rate,
                    "shipping": event.get("shipping", {}).get("amount", "0"),
                    "lines": [
                        {
                            "sku": line["sku"],
                            "name": line.get("name", line["sku"]),
                            "quantity": line["quantity"],
                            "price": line["unit_price"],
                            "rate": line["tax_rate"],
                        }
                        for line in lines
                    ],
                },
            )
        )
        if vendor == "veeqo":
            for line in lines:
                self._leaves[line["sku"], "VEQ1"] += 0  # it must know the product

    def _dispatch(self, at: datetime, event: dict[str, Any]) -> None:
        sold = self._orders[event["order_id"]]
        code = "VEQ1" if sold.vendor == "veeqo" else CODE_OF_LOCATION[event["location"]]
        lines = [part for line in event["lines"] for part in self._taken(sold, line)]
        for at_line, quantity in lines:
            self._leaves[sold.skus[at_line], code] += quantity
        self._actions.append(
            VendorAction(
                at,
                sold.vendor,
                {
                    "action": "dispatch",
                    "order": event["order_id"],
                    "place": VENDOR_PLACES[sold.vendor][code],
                    "carrier": event["carrier"],
                    "tracking": event["tracking_numbers"][0],
                    "lines": [[at_line, str(quantity)] for at_line, quantity in lines],
                },
            )
        )
        if sold.vendor not in DISPATCHERS:
            shop = self._actions[-1].body
            parcel = {
                "place": VENDOR_PLACES["seko"][code],
                "lines": [[sold.skus[n], str(quantity)] for n, quantity in lines],
            }
            self._actions.append(VendorAction(at, "seko", {**shop, **parcel}))

    @staticmethod
    def _taken(sold: _OwnedOrder, line: Mapping[str, Any]) -> Iterator[tuple[int, Decimal]]:
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
        self._actions.append(
            VendorAction(
                at,
                sold.vendor,
                {
                    "action": "refund",
                    "order": event["order_id"],
                    "place": VENDOR_PLACES[sold.vendor][CODE_OF_LOCATION[lines[0]["location"]]],
                    "restock": lines[0]["restock"],
                    "shipping": event.get("shipping", {}).get("amount", "0"),
                    "lines": [[int(line["line_id"]) - 1, line["quantity"]] for line in lines],
                },
            )
        )

    def _adjust(self, entry: FeedEntry, event: dict[str, Any]) -> None:
        """A third of the items is counted by Veeqo, the others by SEKO."""
        sku, delta = event["sku"], Decimal(event["delta"])
        code = CODE_OF_LOCATION.get(event["location"])
        vendor = "veeqo" if code == "LON1" and vendor_of(sku.upper(), refunded=False) == "veeqo" else "seko"
        if vendor == "veeqo":
            code = "VEQ1"
        if code is not None:
            self._leaves[sku, code] += max(-delta, Decimal(0))
        place = UNMAPPED_FACILITY if code is None else VENDOR_PLACES[vendor][code]
        body = {"action": "count", "sku": sku, "place": place, "delta": event["delta"], "reason": event["reason"]}
        self._actions.append(VendorAction(entry.at, vendor, body))


def _event_of(line: str) -> dict[str, Any] | None:
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return event

"""Shopify as a vendor that can be told to sell, dispatch and refund, and that sends webhooks."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Any

import httpx

from lab.simulators.shopify import app as shopify
from lab.simulators.vendors.actions import Action, App, BaseVendor, Json


class ShopifyVendor(BaseVendor):
    """Its `data`, all optional.

    `seed`, `domain`, `token`, `secret`, `bucket`, `restore` (per second), `index_lag_s`, `locations` {id: name},
    `products` [[sku, price, {id of a location: level}]].
    """

    _RATES = frozenset({"html", "drop", "late", "twice", "lost"})
    _TOPICS = frozenset(
        {
            "orders/create",
            "orders/updated",
            "orders/edited",
            "orders/paid",
            "orders/cancelled",
            "refunds/create",
            "fulfillments/create",
            "fulfillments/update",
        }
    )

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
        for sku, price, levels in data.get("products", ()):
            self.shop.products.add(sku, price=price)
            for place, level in levels.items():
                self.shop.set_level(sku, place, int(level))
        self.shop.subscriptions = set(self._TOPICS)
        self.app: App = self.shop

    def order(self, action: Action) -> object:
        address = {
            "name": "Mia Odum",
            "company": None,
            "address1": "4 Lime Row",
            "address2": None,
            "city": "Leeds",
            "zip": "LS1 4XX",
            "province": None,
            "provinceCode": None,
            "country": None,
            "countryCodeV2": action["country"],
            "phone": None,
        }
        lines = [
            {
                "sku": line["sku"],
                "name": line["name"],
                "quantity": line["quantity"],
                "price": line["price"],
                "rate": Decimal(line["rate"]) / 100,
            }
            for line in action["lines"]
        ]
        number = self.shop.place_order(
            *lines,
            taxes_included=False,
            rate=str(Decimal(action["rate"]) / 100),
            shipping=action["shipping"] if Decimal(action["shipping"]) else None,
            name=f"#{action['number']}",
            shippingAddress=address,
            billingAddress=address,
        )
        self._numbers[action["number"]] = number
        return number

    def dispatch(self, action: Action) -> object:
        lines = {at: int(quantity) for at, quantity in action["lines"]}
        number = self._numbers[action["order"]]
        return self.shop.fulfil(number, action["place"], lines, company=action["carrier"], tracking=action["tracking"])

    def refund(self, action: Action) -> object:
        kind = "RETURN" if action["restock"] else "NO_RESTOCK"
        rows = [(at, int(quantity), kind, action["place"]) for at, quantity in action["lines"]]
        shipping = action["shipping"] if Decimal(action["shipping"]) else None
        return self.shop.refund(self._numbers[action["order"]], rows, shipping=shipping)

    def fail(self, rates: Mapping[str, float]) -> None:
        if unknown := rates.keys() - self._RATES:
            raise ValueError(
                f"a shop of Shopify knows no {min(unknown)}; write one of {', '.join(sorted(self._RATES))}"
            )
        self.shop.rates = dict(rates)

    def tally(self) -> Mapping[str, int]:
        return self.counters | Counter(throttled=self.shop.throttled, queries=len(self.shop.calls))

    def ledger(self) -> Json:
        shop = self.shop
        return {
            "orders": list(shop.orders.values()),
            "variants": [{name: each[name] for name in ("sku", "price", "barcode")} for each in shop.products.variants],
            "stock": [
                {"sku": sku, "place": place, "level": row["on_hand"]} for (sku, place), row in shop.levels.items()
            ],
            "written": [
                {"what": what, "subject": subject, "times": times}
                for (what, subject), times in shop.mutations.done.items()
            ],
            "notified": dict(shop.mutations.notified),
        }

    async def push(self, url: str, client: httpx.AsyncClient) -> None:
        async def post(headers: Mapping[str, str], body: bytes) -> int:
            self.counters["webhooks"] += 1
            try:
                return (await client.post(url, headers=dict(headers), content=body)).status_code
            except httpx.HTTPError:
                self.counters["webhooks_unanswered"] += 1
                return 0

        await self.shop.deliver(post)

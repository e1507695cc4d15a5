"""The shop of the contract suite.

Orders on three pages and what became of them, one that nobody can read, and a count.
"""

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from connectors.shopify import source as module
from connectors.shopify.queries import ORDER
from connectors.shopify.source import ShopifySource
from lab.simulators.shopify.app import Shop

CANARY = "canary-5ecret"
ENVIRON = {"SHOPIFY_TOKEN": CANARY}
SETTINGS = {"shop": "demo.myshopify.com", "access_token": "env:SHOPIFY_TOKEN", "stock_locations": ["31"]}
FACTS = frozenset(
    {
        ("order-placed", "5000000001"),
        ("order-placed", "5000000015"),
        ("order-placed", "5000000022"),
        ("order-placed", "5000000043"),
        ("order-placed", "5000000050"),
        ("dispatch-confirmed", "5000000030"),
        ("refund-issued", "5000000033"),
        ("order-cancelled", "5000000015-cancelled"),
    }
)
BAD = "5000000008"


def fill(_folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "LIST_ROWS", 2)
    monkeypatch.setattr(module, "BATCH_ORDERS", 2)


def shop_of(clock: Any) -> Shop:
    """What happened until now; the clock stands still, so the bucket has to last."""
    ago = timedelta(hours=1)
    shop = Shop(clock=lambda: clock.now() - ago, token=CANARY, bucket=1e9)
    shop.add_location("31", "Main")
    line = {"sku": "A", "quantity": 2, "price": "12.00"}
    one, bad, two, _ = (shop.place_order(line, email="canary@example.com") for _ in range(4))
    shop.orders[bad]["lineItems"][0]["quantity"] = CANARY
    shop.fulfil(one, "31", {0: 2})
    shop.refund(one, [(0, 1, "RETURN", "31")])
    shop.cancel(two)
    shop.set_level("A", "31", 5)
    for _ in range(2):
        shop.place_order(line)
    ago = timedelta(0)
    return shop


def source_of(name: str, settings: Any, clock: Any, _folder: Path) -> ShopifySource:
    return ShopifySource(name, settings, clock, transport=httpx.ASGITransport(shop_of(clock)))


def letters_of(clock: Any) -> tuple[tuple[str, bytes, str, str], ...]:
    """The order as it was fetched, its pages put together."""
    variables = {"id": f"gid://shopify/Order/{BAD}", "first": 20, "after": None}
    answer = json.loads(json.dumps(shop_of(clock).run(ORDER, variables)), parse_float=Decimal)
    raw = answer["data"]["order"]
    raw["lineItems"], raw["agreements"] = raw["lineItems"]["nodes"], []
    value = json.dumps(raw, default=str, ensure_ascii=False, separators=(",", ":")).encode()
    return (("order-placed-dead-letter", value, "invalid_event", "shopify"),)

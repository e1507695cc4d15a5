"""The shop of the contract suite.

Orders on three pages, cancellations, shipments, refunds, and two rows nobody can take.
"""

from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from connectors.magento.source import MagentoSource
from lab.simulators.magento.app import build_app
from lab.simulators.magento.prices import CartItem
from lab.simulators.magento.state import MagentoShop
from lab.simulators.magento.wire import encoded

CANARY = "canary-5ecret"
ENVIRON = {
    "MAGENTO_KEY": "consumer-key",
    "MAGENTO_SECRET": "consumer-secret",
    "MAGENTO_TOKEN": "access-token",
    "MAGENTO_TOKEN_SECRET": "access-token-secret",
}
SETTINGS = {
    "base_url": "https://shop.example",
    "page_size": 3,
    "consumer_key": "env:MAGENTO_KEY",
    "consumer_secret": "env:MAGENTO_SECRET",
    "access_token": "env:MAGENTO_TOKEN",
    "access_token_secret": "env:MAGENTO_TOKEN_SECRET",
}
FACTS = frozenset(
    {
        *(("order-placed", str(order_id)) for order_id in (451, 452, 453, 455, 456)),
        ("order-cancelled", "453-cancel"),
        ("order-cancelled", "creditmemo-2"),
        ("dispatch-confirmed", "1"),
        ("dispatch-confirmed", "2"),
        ("refund-issued", "1"),
        ("refund-issued", "2"),
    }
)


def shop_of(clock: Any) -> MagentoShop:
    shop = MagentoShop(clock.now)
    for n in range(6):
        shop.place(
            CartItem(sku=f"S{n}", quantity=Decimal(3), price=Decimal(10)), state="processing", shipping=Decimal(2)
        )
    (two,) = shop.item_ids(452, "S1")
    (three,) = shop.item_ids(453, "S2")
    shop.invoice(451)
    shop.ship(451)
    shop.refund(451, shipping=Decimal(2))
    shop.invoice(452)
    shop.ship(452, {two: Decimal(1)})
    shop.refund(452, {two: Decimal(3)})
    shop.invoice(453, {three: Decimal(1)})
    shop.cancel(453)
    shop.touch("orders", 454, customer_email=CANARY, grand_total=CANARY)
    shop.ship(455, source_code=None, remark=CANARY)
    return shop


def source_of(name: str, settings: Any, clock: Any, _folder: Path) -> MagentoSource:
    return MagentoSource(name, settings, clock, transport=httpx.ASGITransport(build_app(shop_of(clock))))


def letters_of(clock: Any) -> tuple[tuple[str, bytes, str, str], ...]:
    lists = shop_of(clock).lists
    return (
        ("order-placed-dead-letter", encoded(lists["orders"][454]), "invalid_event", "orders/454"),
        ("dispatch-confirmed-dead-letter", encoded(lists["shipments"][3]), "invalid_event", "shipments/3"),
    )

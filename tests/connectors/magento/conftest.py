"""A simulated shop with a clock that tests set, and sources that read it without sockets."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from connectors.base.source import Batch
from connectors.magento.settings import MagentoSettings
from connectors.magento.source import MagentoSource
from lab.simulators.magento.app import MagentoApi, build_app
from lab.simulators.magento.prices import CartItem
from lab.simulators.magento.state import MagentoShop
from tests.connectors.wire import Wire

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ENVIRON = {
    "KEY": "consumer-key",
    "SECRET": "consumer-secret",
    "TOKEN": "access-token",
    "TOKEN_SECRET": "access-token-secret",
}
OAUTH = {
    "consumer_key": "env:KEY",
    "consumer_secret": "env:SECRET",
    "access_token": "env:TOKEN",
    "access_token_secret": "env:TOKEN_SECRET",
}


@dataclass
class Clock:
    at: datetime = NOW

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def passes(self, **delta: float) -> None:
        self.at += timedelta(**delta)


def settings_of(**fields: Any) -> MagentoSettings:
    table = {"kind": "magento", "company": "acme", "base_url": "https://shop.example", **OAUTH, **fields}
    return MagentoSettings.model_validate(table, context={"environ": ENVIRON})


@dataclass
class Stall:
    """A shop and what we have read of it."""

    clock: Clock = field(default_factory=Clock)
    shop: MagentoShop = None  # type: ignore[assignment]
    app: MagentoApi = None  # type: ignore[assignment]
    cursor: str | None = None
    sources: list[MagentoSource] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shop = MagentoShop(self.clock.now)
        self.app = build_app(self.shop)

    def source(self, **fields: Any) -> MagentoSource:
        made = MagentoSource("shop", settings_of(**fields), self.clock, transport=Wire(self.app))
        self.sources.append(made)
        return made

    async def batches(self, source: MagentoSource) -> list[Batch]:
        """What there is until it is idle; the cursor moves."""
        found = []
        for _ in range(1000):
            batch = await source.read(self.cursor)
            if batch.idle and not batch.items:
                assert batch.cursor == self.cursor
                return found
            assert batch.cursor != self.cursor
            self.cursor = batch.cursor
            found.append(batch)
        raise AssertionError("never idle")

    async def events(self, source: MagentoSource | None = None) -> list[Any]:
        return [event for batch in await self.batches(source or self.source()) for event in batch.events]


@pytest.fixture
async def stall():
    made = Stall()
    yield made
    for source in made.sources:
        await source.close()


@pytest.fixture
def cart_item() -> Callable[..., CartItem]:
    def make(sku: str = "TEA-250", quantity: str = "2", price: str = "20", **fields: Any) -> CartItem:
        numbers = {
            name: Decimal(value) if isinstance(value, str) and name != "kind" else value
            for name, value in fields.items()
        }
        return CartItem(sku=sku, quantity=Decimal(quantity), price=Decimal(price), **numbers)

    return make

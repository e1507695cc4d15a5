"""A shop, time that only moves when told, and a source that reads it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.base.cursors import CURSORS, Cursors
from connectors.base.levels import resolve
from connectors.shopify.bulk import BulkOperations
from connectors.shopify.settings import ShopifySettings
from connectors.shopify.source import ShopifySource
from lab.simulators.shopify.app import Shop
from tests.connectors.wire import Wire

TOKEN = "shpat_canary-5ecret"


@dataclass
class Time:
    at: datetime = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class Play:
    time: Time
    shop: Shop
    settings: ShopifySettings
    source: ShopifySource
    operations: BulkOperations
    cursor: str | None = None
    items: list[Any] = field(default_factory=list)
    known: dict[Any, Any] = field(default_factory=dict)

    async def look(self, seconds: float = 60) -> list[Any]:
        """Time goes by, then the source reads until it is idle; returns what it said, levels as deltas."""
        self.time.at += timedelta(seconds=seconds)
        said: list[Any] = []
        while True:
            batch = await self.source.read(self.cursor)
            resolved = resolve(batch.items, self.known)
            self.known |= resolved.changes
            said += resolved.items
            self.cursor = batch.cursor
            if batch.idle:
                self.items += said
                return said


@pytest.fixture
async def make_play():
    opened: list[ShopifySource | BulkOperations] = []

    def make(*, shop: Shop | None = None, **changes: Any) -> Play:
        time = Time()
        found = shop or Shop(clock=time.now, token=TOKEN, skew_s=changes.pop("skew_s", 0))
        if not found.locations:
            found.add_location("31", "Main")
            found.add_location("32", "Shop")
        table = {
            "kind": "shopify",
            "company": "acme",
            "shop": found.domain,
            "access_token": "env:TOKEN",
            "webhook_secrets": ["env:SECRET", "env:OLD"],
            **changes,
        }
        environ = {"TOKEN": TOKEN, "SECRET": found.secret, "OLD": "shpss_old"}
        settings = ShopifySettings.model_validate(table, context={"environ": environ})
        source = ShopifySource("shop", settings, time, transport=Wire(found), sleep=time.sleep)
        operations = BulkOperations(source._client, settings, transport=Wire(found))
        opened.extend((source, operations))
        return Play(time, found, settings, source, operations)

    yield make
    for each in opened:
        await each.close()


@pytest.fixture
def play(make_play: Callable[..., Play]) -> Play:
    return make_play()


@pytest.fixture
def make_cursors(broker: Any, codec: Any, play: Play) -> Callable[[str], Cursors]:
    return lambda name: Cursors(name, broker, codec, play.time, topic=CURSORS, partition=0)

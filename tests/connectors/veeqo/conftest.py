"""A Veeqo account with one shop and two warehouses, a clock that is moved by hand, and sources that read it."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from connectors.base.levels import Level, resolve
from connectors.base.source import Batch
from connectors.veeqo.settings import VeeqoSettings
from connectors.veeqo.source import VeeqoSource
from lab.simulators.veeqo.app import VeeqoServer
from lab.simulators.veeqo.faults import Behaviour
from lab.simulators.veeqo.state import Account
from tests.connectors.wire import Wire

START = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
KEY = "canary-5ecret"
MAIN, NORTH = 11, 12


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - START).total_seconds()

    def pass_s(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class QuotingWire(Wire):
    """Its error quotes the headers, the key among them: whoever passes the text on gives the key away."""

    def said_of(self, request: httpx.Request) -> str:
        return f"dropped {request.headers}"


def settings(**changes: Any) -> VeeqoSettings:
    table = {"kind": "veeqo", "company": "acme", "api_key": "env:VEEQO_KEY", **changes}
    return VeeqoSettings.model_validate(table, context={"environ": {"VEEQO_KEY": KEY}})


@dataclass
class Stand:
    """An account, its server, and whoever reads it; `said` and `levels` are what a runtime would have made of it."""

    clock: Hand
    account: Account
    server: VeeqoServer
    cursor: str | None = None
    said: list[Any] = field(default_factory=list)
    deltas: list[Any] = field(default_factory=list)
    refused: list[Any] = field(default_factory=list)
    levels: dict[tuple[str, str], Level] = field(default_factory=dict)
    opened: list[VeeqoSource] = field(default_factory=list)

    def source(self, **changes: Any) -> VeeqoSource:
        source = VeeqoSource("vq", settings(**changes), self.clock, transport=QuotingWire(self.server))
        self.opened.append(source)
        return source

    def take(self, batch: Batch) -> None:
        resolved = resolve(batch.items, self.levels)
        self.levels |= resolved.changes
        self.said += batch.events
        self.refused += batch.refused
        self.deltas += [item for item in resolved.items if hasattr(item, "delta")]
        self.cursor = batch.cursor

    async def look(self, source: VeeqoSource) -> list[Any]:
        """Read until idle; the events of this look."""
        before = len(self.said)
        for _ in range(1000):
            batch = await source.read(self.cursor)
            self.take(batch)
            if batch.idle:
                return self.said[before:]
        raise AssertionError("it never rests")

    async def later(self, source: VeeqoSource, seconds: float = 301) -> list[Any]:
        self.clock.pass_s(seconds)
        return await self.look(source)

    def delta_of(self, sku: str, warehouse: int = MAIN) -> int:
        return sum(each.delta for each in self.deltas if (each.sku, each.location) == (sku, str(warehouse)))


@pytest.fixture
async def make_stand() -> AsyncIterator[Callable[..., Stand]]:
    made: list[Stand] = []

    def make(**manners: Any) -> Stand:
        clock = Hand()
        account = Account(clock.now, canary="canary-market")
        account.add_warehouse(MAIN, "Main")
        account.add_warehouse(NORTH, "North")
        for sku in ("TEA", "CUP", "POT"):
            account.add_product(sku, {MAIN: 100, NORTH: 50})
        server = VeeqoServer(account, frozenset({KEY}), clock.monotonic, Behaviour(**{"capacity": 0, **manners}))
        made.append(Stand(clock, account, server))
        return made[-1]

    yield make
    for stand in made:
        for source in stand.opened:
            await source.close()


@pytest.fixture
def stand(make_stand: Callable[..., Stand]) -> Stand:
    return make_stand()

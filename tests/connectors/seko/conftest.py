"""A client's facility, time that only moves when told, the door that it pushes to, and a source that polls it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from connectors.base.dead_letters import DeadLetters
from connectors.base.metrics import NoMetrics
from connectors.base.publisher import Publisher
from connectors.base.source import RefusedRecord
from connectors.seko.hook import hook_of
from connectors.seko.settings import SekoSettings
from connectors.seko.source import SekoSource
from connectors.webhooks.ingest import WebhookIngest
from connectors.webhooks.server import WebhookServer
from connectors.webhooks.settings import WebhookSettings
from lab.simulators.seko.app import Hub
from lab.simulators.seko.state import AVAILABLE
from schemas.events import EVENT_TYPES
from tests.connectors.wire import Wire

KEY, SECRET, OLD = "key-canary-5ecret", "push-canary-5ecret", "old-canary-5ecret"
ENVIRON = {"KEY": KEY, "SECRET": SECRET, "OLD": OLD}


@dataclass
class Time:
    at: datetime = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def settings_of(**changes: Any) -> SekoSettings:
    table = {
        "kind": "seko",
        "company": "acme",
        "push_secrets": ["env:SECRET", "env:OLD"],
        "api_key": "env:KEY",
        "locations": {"DCCL01": "LON1"},
        **changes,
    }
    return SekoSettings.model_validate(table, context={"environ": ENVIRON})


@dataclass
class Play:
    time: Time
    hub: Hub
    settings: SekoSettings
    broker: Any
    codec: Any
    cursor: str | None = None
    woken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source = SekoSource("seko", self.settings, self.time, transport=Wire(self.hub))
        broker, codec, time = self.broker, self.codec, self.time
        intake = WebhookIngest(
            Publisher(broker, codec, time, str), DeadLetters(broker, codec, time, str, lambda _: 0), NoMetrics()
        )
        hook = hook_of("seko", self.settings)
        assert hook is not None
        door = WebhookServer([hook], intake, time, WebhookSettings(), wake=self.woken.append)
        self.door = httpx.AsyncClient(transport=httpx.ASGITransport(door.app), base_url="http://door")

    async def post(self, headers: Any, body: bytes) -> int:
        return (await self.door.post("/seko", content=body, headers=headers)).status_code

    async def push(self, minutes: float = 15) -> None:
        """Time goes by, and iHub's scheduler runs."""
        self.time.at += timedelta(minutes=minutes)
        await self.hub.push(self.post)

    async def look(self, minutes: float = 0) -> list[Any]:
        """Time goes by, then the source reads until it is idle; returns what it said."""
        self.time.at += timedelta(minutes=minutes)
        said: list[Any] = []
        for _ in range(50):
            batch = await self.source.read(self.cursor)
            said += batch.items
            self.cursor = batch.cursor
            if batch.idle:
                return said
        raise AssertionError("the source is never idle")

    def pushed(self, topic: str) -> list[Any]:
        return [self.codec.decode(one.value, tuple(EVENT_TYPES.values())) for one in self.broker.all(topic)]

    def deltas(self) -> list[tuple[str, str, int, str]]:
        return [(one.sku, one.location, int(one.delta), one.reason) for one in self.pushed("stock-adjusted")]

    async def close(self) -> None:
        await self.source.close()
        await self.door.aclose()


@pytest.fixture
async def make_play(broker: Any, codec: Any):
    opened: list[Play] = []

    def make(*, dcs: tuple[str, ...] = ("DCCL01",), **changes: Any) -> Play:
        time = Time()
        hub = Hub(clock=time.now, key=KEY, secret=SECRET, dcs=dcs)
        hub.stock = {(dc, AVAILABLE, sku, ""): 100 for dc in dcs for sku in ("A", "B", "007")}
        opened.append(Play(time, hub, settings_of(**changes), broker, codec))
        return opened[-1]

    yield make
    for play in opened:
        await play.close()


@pytest.fixture
def play(make_play: Callable[..., Play]) -> Play:
    return make_play()


def letters(items: list[Any]) -> list[str]:
    return [item.error for item in items if isinstance(item, RefusedRecord)]

"""Which webhooks a process that runs connectors serves."""

import asyncio
from pathlib import Path
from typing import Any

import httpx

from connectors.base.clock import SystemClock
from connectors.base.metrics import NoMetrics
from schemas.codec import embedded_codec
from streams.config.load import parse
from streams.connect.group import ConnectorFactory, ConnectorGroup
from streams.telemetry.metrics import Metrics
from tests.streams.fakes import ENVIRON, MemoryLog, example

SHOPIFY = {"kind": "shopify", "company": "acme", "shop": "acme.myshopify.com", "access_token": "env:TOKEN"}


def factory_of(folder: Path, **shopify: Any) -> ConnectorFactory:
    data = example()
    data["webhooks"] = {"port": 0}
    data["connectors"]["web"] = {**SHOPIFY, **shopify}
    config = parse(data, folder, {**ENVIRON, "TOKEN": "t", "SECRET": "s"})
    return ConnectorFactory(config, MemoryLog.of(config), embedded_codec(), SystemClock(), NoMetrics())


def test_without_a_webhook_there_is_no_door(tmp_path: Path) -> None:
    assert factory_of(tmp_path).door(lambda _name: None) is None
    assert factory_of(tmp_path, webhook_secrets="env:SECRET", enabled=False).door(lambda _name: None) is None


async def test_a_connector_with_a_secret_has_a_door_that_lets_no_stranger_in(tmp_path: Path) -> None:
    door = factory_of(tmp_path, webhook_secrets="env:SECRET").door(lambda _name: None)
    assert door is not None
    async with door, httpx.AsyncClient(trust_env=False) as client:
        assert door.url.startswith("http://127.0.0.1:")
        assert (await client.post(f"{door.url}/web", content=b"{}")).status_code == 401
        assert (await client.post(f"{door.url}/other", content=b"{}")).status_code == 404


async def test_a_wake_up_reaches_the_connector_that_runs_here_and_no_other(tmp_path: Path) -> None:
    woken, running = [], asyncio.Event()

    class Running:
        def wake(self) -> None:
            woken.append(True)

        async def run(self, stop: asyncio.Event) -> None:
            running.set()
            await stop.wait()

    factory = factory_of(tmp_path)
    components = Metrics(factory.config).components
    group = ConnectorGroup(factory.config, lambda _name, _settings: Running(), components)  # type: ignore[arg-type,return-value]
    group.wake("web")
    group.take(range(factory.config.kafka.partitions))
    await running.wait()
    await asyncio.sleep(0)
    group.wake("web")
    group.wake("nobody")
    await group.close()
    group.wake("web")
    assert woken == [True]

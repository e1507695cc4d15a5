"""A shop, a warehouse, a worker and a B1 in one process and in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.flows.world import FlowLoop, World


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual": FlowLoop}


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Virtual time does not wait for threads: what is put into one runs at once."""

    async def inline(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    monkeypatch.setattr(asyncio, "to_thread", inline)


@pytest.fixture
async def open_world(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[World]]]:
    """Makes worlds; keyword arguments are changes of the company's settings."""
    opened: list[World] = []

    async def make(*, connectors: Mapping[str, Any] | None = None, **company: Any) -> World:
        world = World(tmp_path / str(len(opened)), company, connectors or {})
        opened.append(world)
        await world.start()
        return world

    yield make
    for world in opened:
        await world.close()


@pytest.fixture
async def world(open_world: Callable[..., Awaitable[World]]) -> World:
    return await open_world()

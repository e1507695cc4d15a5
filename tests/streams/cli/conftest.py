"""Every command against a broker in memory: `streams(...)` runs one and gives its exit code, output and errors."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
import time_machine

from connectors.sap_b1.service_layer import ServiceLayer
from connectors.sap_b1.settings import CompanySettings
from schemas.records import SealedEpoch
from streams import cli
from streams.cli import shell
from streams.config.load import Config
from streams.kafka.log import Log
from tests.streams.cli.posters import PosterBeside
from tests.streams.facts import NOW, World, adjustment
from tests.streams.fakes import PASSWORD, ROOT


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


Streams = Callable[..., Ran]


@pytest.fixture(autouse=True)
def now() -> Iterator[None]:
    """Commands ask the machine what time it is; the files and records that they are given here are of one day."""
    with time_machine.travel(NOW.timestamp(), tick=True):
        yield


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a valid streams.toml, two partitions of everything and a free port."""
    shutil.copy(ROOT / "streams.example.toml", tmp_path / "streams.toml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACME_B1_PASSWORD", PASSWORD)
    monkeypatch.setenv("STREAMS__KAFKA__PARTITIONS", "2")
    monkeypatch.setenv("STREAMS__KAFKA__COMPANY_PARTITIONS", "2")
    monkeypatch.setenv("STREAMS__METRICS__PORT", "0")
    monkeypatch.delenv("STREAMS_CONFIG", raising=False)
    return tmp_path


@pytest.fixture
def world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """What the commands find when they open Kafka."""
    world = World(shell.read_config(folder / "streams.toml"))

    @asynccontextmanager
    async def open_log(_config: Config, _timeout_s: float = 10) -> AsyncIterator[Log]:
        await world.log.topics()  # raises where the broker is away
        yield world.log

    monkeypatch.setattr(shell, "open_log", open_log)
    return world


@pytest.fixture
def poster(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[PosterBeside]:
    """A worker that runs whenever a command has opened Kafka."""
    poster = PosterBeside(world)

    @asynccontextmanager
    async def open_log(_config: Config, _timeout_s: float = 10) -> AsyncIterator[Log]:
        async with poster.beside():
            yield world.log

    monkeypatch.setattr(shell, "open_log", open_log)

    @asynccontextmanager
    async def open_service_layer(_settings: CompanySettings) -> AsyncIterator[ServiceLayer]:
        yield poster.b1

    monkeypatch.setattr(shell, "open_service_layer", open_service_layer)
    with structlog.testing.capture_logs():  # a worker's, not the command's
        yield poster


@pytest.fixture
def streams(folder: Path, capsys: pytest.CaptureFixture[str]) -> Streams:
    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        code = cli.run(arguments)
        out, err = capsys.readouterr()
        assert PASSWORD not in out + err
        assert "Traceback" not in out + err
        return Ran(code, out, err)

    return run


def at_once(work: Any) -> Any:
    """Run a coroutine from a test that is no coroutine, as the commands start loops of their own."""
    return asyncio.run(work)


@pytest.fixture
def lost(world: World) -> World:
    """Partition 1 is sealed up to 2; the log has lost that and three events more."""

    async def happen() -> None:
        epoch = SealedEpoch(
            number=0,
            prev_digest=bytes(16),
            start=0,
            end=2,
            sealed_at=NOW - timedelta(days=1),
            config_version="c",
            cause="length",
            batches=(),
        )
        await world.log.send("stock-sealed", 1, b"1", world.codec.encode(epoch))
        for n in range(6):
            await world.fact("stock_adjusted", adjustment(f"e{n}"), partition=1)
        await world.log.delete_records("stock-adjusted", 1, 5)

    at_once(happen())
    return world

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from connectors.base.errors import FatalError
from streams import cli
from streams.cli import service
from streams.config.load import Config
from streams.telemetry.metrics import Metrics
from tests.streams.cli.conftest import Streams
from tests.streams.facts import World
from tests.streams.fakes import ROOT, MemoryLog

pytestmark = pytest.mark.usefixtures("world")


class Part:
    """Stands in for a room: asks this process to stop as soon as it is ready, and drains."""

    def __init__(self, signal_number: int | None = None, error: Exception | None = None, drains: bool = True) -> None:
        self.signal, self.error, self.drains = signal_number, error, drains
        self.ended = self.cancelled = False
        self.ready: Any = None

    async def run(self, config: Config, stop: asyncio.Event, *, log: Any, metrics: Metrics, codec: Any) -> None:
        assert config.companies
        assert isinstance(log, MemoryLog)
        metrics.vitals.ready("worker")
        self.ready = metrics.vitals.waiting()
        if self.error:
            raise self.error
        if self.signal:
            os.kill(os.getpid(), self.signal)
        try:
            await stop.wait()
            if not self.drains:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        self.ended = True


@pytest.fixture
def rooms(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(**parts: Part) -> None:
        for name, part in parts.items():
            path = {"worker": "streams.worker.main", "connect": "streams.connect.runner"}[name]
            module = ModuleType(path)
            module.run = part.run  # type: ignore[attr-defined]
            monkeypatch.setitem(sys.modules, path, module)

    return put


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_up_drains_every_part_on_a_signal_and_is_exit_0(streams: Streams, rooms: Any, number: int) -> None:
    worker, connect = Part(number), Part()
    rooms(worker=worker, connect=connect)
    ran = streams("up")
    assert ran.code == 0
    assert (worker.ended, connect.ended) == (True, True)
    assert "http://127.0.0.1:" in ran.err
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_worker_alone_is_ready_when_its_room_says_so(streams: Streams, rooms: Any) -> None:
    worker = Part(signal.SIGTERM)
    rooms(worker=worker)
    assert streams("worker").code == 0
    assert worker.ready == {}


def test_the_first_part_that_fails_ends_the_others_and_is_told(streams: Streams, rooms: Any) -> None:
    connect = Part()
    rooms(worker=Part(error=FatalError("B1 refuses the password; mend it")), connect=connect)
    ran = streams("up")
    assert ran.code == 1
    assert "B1 refuses the password" in ran.err
    assert connect.ended


def test_of_an_unknown_failure_only_its_type_is_told(streams: Streams, rooms: Any) -> None:
    rooms(worker=Part(error=ValueError("jane@example.com")))
    ran = streams("worker")
    assert ran.code == 1
    assert "ValueError" in ran.err
    assert "jane" not in ran.err


def test_what_does_not_drain_in_time_is_left_behind(
    streams: Streams, rooms: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "DRAIN_S", 0.05)
    worker = Part(signal.SIGTERM, drains=False)
    rooms(worker=worker)
    assert streams("worker").code == 0
    assert worker.cancelled


def test_nothing_starts_on_topics_that_differ(streams: Streams, rooms: Any, world: World) -> None:
    world.log._topics.pop("erp-orders")
    connect = Part()
    rooms(connect=connect)
    ran = streams("connect")
    assert ran.code == 1
    assert "erp-orders" in ran.err
    assert "streams topics apply" in ran.err
    assert connect.ready is None


def test_metrics_are_served_while_it_runs(streams: Streams, rooms: Any) -> None:
    seen: dict[str, Any] = {}

    class Looking(Part):
        async def run(self, config: Config, stop: asyncio.Event, *, log: Any, metrics: Metrics, codec: Any) -> None:
            url = next(line for line in iter(self.urls) if line)
            async with httpx.AsyncClient(trust_env=False) as client:
                seen["ready"] = (await client.get(f"{url}/readyz")).status_code
                metrics.vitals.ready("worker")
                seen["then"] = (await client.get(f"{url}/readyz")).status_code

        urls: list[str]

    looking = Looking()
    looking.urls = []
    started = service.Health.start

    async def start(health: Any) -> None:
        await started(health)
        looking.urls.append(health.url)

    patch = pytest.MonkeyPatch()
    patch.setattr(service.Health, "start", start)
    rooms(worker=looking)
    try:
        ran = streams("worker")
    finally:
        patch.undo()
    assert ran.code == 0
    assert seen == {"ready": 503, "then": 200}
    assert all(json.loads(line) for line in ran.err.splitlines() if line.startswith("{"))


@pytest.mark.parametrize("command", ["up", "worker", "connect"])
def test_sigterm_before_anything_is_imported_ends_a_service_as_if_it_had_run(folder: Path, command: str) -> None:
    script = (
        "import os, signal, sys\n"
        "from streams import cli\n"
        "from streams.cli import signals\n"
        "remember = signals.remember\n"
        "def at_once():\n"
        "    remember()\n"
        "    assert 'streams.cli.commands' not in sys.modules\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "signals.remember = at_once\n"
        f"sys.argv = ['streams', {command!r}]\n"
        "cli.main()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, "http://" in ran.stderr) == (0, False), ran.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["up"], True),
        (["worker", "-c", "x.toml"], True),
        (["connect", "-c", "x.toml"], True),
        (["connect", "try", "shop", "file"], False),
        (["status"], False),
        ([], False),
    ],
)
def test_only_services_remember_it_and_other_commands_die_of_it(arguments: list[str], expected: bool) -> None:
    assert cli.is_service(arguments) is expected


def test_a_second_sigterm_during_the_exit_changes_nothing(folder: Path) -> None:
    """SIGTERM again and again, until the process is gone: it has stopped cleanly, so it is exit 0."""
    script = (
        "import asyncio, sys, types\n"
        "from contextlib import asynccontextmanager\n"
        "from streams import cli\n"
        "from streams.cli import shell\n"
        "from tests.streams.facts import World\n"
        "from pathlib import Path\n"
        "world = World(shell.read_config(Path('streams.toml')))\n"
        "@asynccontextmanager\n"
        "async def open_log(config, timeout_s=10):\n"
        "    yield world.log\n"
        "shell.open_log = open_log\n"
        "worker = types.ModuleType('streams.worker.main')\n"
        "async def run(config, stop, **_ports):\n"
        "    print('running', flush=True)\n"
        "    await stop.wait()\n"
        "worker.run = run\n"
        "sys.modules[worker.__name__] = worker\n"
        "sys.argv = ['streams', 'worker']\n"
        "cli.main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    sent = 0
    while process.poll() is None and sent < 30_000:
        process.send_signal(signal.SIGTERM)
        sent += 1
        time.sleep(0.001)
    process.stdout.close()
    assert process.wait(timeout=30) == 0
    assert sent > 2

"""Kafka, the simulated B1, workers and connectors, as processes of the same commands that run anywhere."""

import asyncio
import json
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient

from lab.demo.inputs import DemoInput
from lab.demo.processes import Child, ProcessError, ask, ask_json, bounded
from lab.demo.screen import ProgressScreen
from lab.kafka.broker import Kafka
from lab.kafka.errors import KafkaSetupError
from streams.cli import shell
from streams.cli.examination import examine
from streams.config.load import Config
from streams.kafka import topics
from streams.kafka.log import Log

SPEED = 0.2
LOST_REPLIES = 0.03
READY_TIMEOUT_S = 90.0
BROKER_TIMEOUT_S = 60.0
B1_USERS = ("streams-1", "streams-2", "streams-3")
_FRACTIONS = {0.2: "fifth", 0.25: "quarter", 0.5: "half"}


class DemoSystem:
    """Kafka, B1, the workers and the connectors of one demo.

    Lifecycle: `start`, `open_log`, `prepare`, `start_pipeline`; `ask_to_stop` at the end. The stack ends what is left.

    Attributes:
        children: Every process that was started.
        workers: Those that run a worker, also of one that was killed.
        urls: Process -> where its metrics are.
    """

    def __init__(self, screen: ProgressScreen, source: DemoInput, folder: Path, stack: AsyncExitStack) -> None:
        self._screen, self._input, self._folder, self._stack = screen, source, folder, stack
        self.children: list[Child] = []
        self.workers: list[Child] = []
        self.urls: dict[str, str] = {}
        self._connect: Child | None = None
        self._b1_url = ""

    async def start(self) -> Config:
        """Kafka and B1, and the configuration that names them."""
        password, folder = secrets.token_urlsafe(18), self._folder
        b1 = self._input.simulator(password=password, speed=SPEED, lost_replies=LOST_REPLIES)
        b1["users"] = dict.fromkeys(("streams", *B1_USERS), password)
        (folder / "simulator.json").write_text(json.dumps(b1), encoding="utf-8")
        (folder / "password").write_text(password, encoding="utf-8")
        (folder / "password").chmod(0o600)
        await self._input.open(self._child)
        command = [sys.executable, "-m", "lab.simulators", "sap_b1", "--port", "0", "--config", "simulator.json"]
        simulator = await self._child("b1", command)
        servers, prefix = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", ""), ""
        if servers:
            prefix = f"demo-{secrets.token_hex(4)}-"
            self._screen.message(f"Kafka at {servers}, topics {prefix}...")
        else:
            broker = Kafka(folder / "kafka")
            self._stack.push_async_callback(asyncio.to_thread, broker.close)
            await in_thread(broker.start)
            servers = broker.bootstrap_servers
            self._screen.message(f"Apache Kafka at {servers}, process {broker.pid}")
        port = await simulator.wait_for_output(r"listening on (\d+)", READY_TIMEOUT_S)
        self._b1_url = f"http://127.0.0.1:{port}"
        self._screen.message(
            f"SAP Business One (simulated) on port {port}, process {simulator.pid}; its service times are "
            f"a {_FRACTIONS.get(SPEED, SPEED)} of a real one's; {LOST_REPLIES:.0%} of its replies get lost"
        )
        text = self._input.configuration(
            bootstrap_servers=servers,
            service_layer_url=f"{self._b1_url}/b1s/v2",
            password="file:password",  # noqa: S106 -- a reference
            topic_prefix=prefix,
        )
        (folder / "streams.toml").write_text(text, encoding="utf-8")
        config = shell.read_config_and_secrets(folder / "streams.toml")
        if prefix:
            self._stack.push_async_callback(self._remove_topics, config)
        return config

    async def _remove_topics(self, config: Config) -> None:
        """Leave somebody else's cluster as we found it."""
        admin: Any = AIOKafkaAdminClient(bootstrap_servers=config.kafka.bootstrap_servers, **config.kafka.security())
        try:
            async with bounded(f"Kafka to remove the topics {config.kafka.topic_prefix}...", BROKER_TIMEOUT_S):
                try:
                    await admin.start()
                    there = set(await admin.list_topics())
                    await admin.delete_topics([topic.name for topic in topics.wanted(config) if topic.name in there])
                finally:
                    await admin.close()
        except ProcessError as error:
            self._screen.message(f"{error}; remove them by hand", is_fault=True)

    @asynccontextmanager
    async def open_log(self, config: Config) -> AsyncIterator[Log]:
        opened = shell.open_log(config, 30)
        log = await opened.__aenter__()
        try:
            yield log
        finally:
            try:
                async with bounded("the connection to Kafka to close", BROKER_TIMEOUT_S):
                    await opened.__aexit__(None, None, None)
            except ProcessError as error:
                self._screen.message(str(error), is_fault=True)  # what was to be found out has been found out

    async def prepare(self, log: Log, config: Config) -> None:
        """`streams topics apply` and `streams doctor --install`."""
        made = await topics.apply(log, config)
        found = [one for findings in (await examine(config, install=True)).values() for one in findings]
        failed = [f"{one.name}: {one.detail}" for one in found if not one.ok]
        if failed:
            raise shell.CommandError("; ".join(failed), "run it again; when it stays, tell b1-streams' maintainers")
        self._screen.message(f"{len(made)} topics made; the doctor installed the claim table in B1 and proved it")

    async def start_pipeline(self) -> None:
        self._connect = await self.streams("connect")
        for number in (1, 2):
            self.workers.append(await self.streams("worker", number))
        self._stack.callback(self.ask_to_stop)  # in an emergency, all at once; then each is waited for
        for child in (self._connect, *self.workers):
            await self.wait_ready(child)
        names = ", ".join(f"{child.name} ({child.pid})" for child in (*self.workers, self._connect))
        self._screen.message(f"running: {names}")
        await self._input.connect(await self._webhook_url())

    async def _webhook_url(self) -> str:
        """Where webhooks go to, where there are some."""
        assert self._connect is not None  # noqa: S101 -- just started
        if "[webhooks]" not in (self._folder / "streams.toml").read_text(encoding="utf-8"):
            return ""
        return await self._connect.wait_for_output(
            r'(?m)^(?=.*webhooks_listening).*"url": ?"(http[^"]+)"', READY_TIMEOUT_S
        )

    def ask_to_stop(self) -> list[Child]:
        """SIGTERM to every process of ours that runs; these."""
        living = [child for child in (self._connect, *self.workers) if child is not None and child.ended is None]
        for child in living:
            child.ask_to_stop()
        return living

    async def streams(self, command: str, number: int = 0) -> Child:
        """A `streams` process; each worker is a B1 user of its own, so that its sessions can be told from others'."""
        environ = dict(os.environ)
        if number:
            environ["STREAMS__COMPANIES__ACME__USERNAME"] = B1_USERS[number - 1]
        name = f"{command}-{number}" if number else command
        streams = [sys.executable, "-c", "from streams.cli import main; main()"]  # the script need not be on the PATH
        return await self._child(name, [*streams, command, "-c", "streams.toml"], environ)

    async def _child(self, name: str, command: list[str], environ: Mapping[str, str] | None = None) -> Child:
        child = await Child.start(name, command, self._folder, environ)
        self._stack.push_async_callback(child.close)
        self.children.append(child)
        return child

    async def wait_ready(self, child: Child) -> None:
        self.urls[child.name] = await child.wait_for_output(r"metrics and health on (\S+)", READY_TIMEOUT_S)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while (await ask(self.urls[child.name], "GET", "/readyz"))[0] != 200:
            child.check()
            if time.monotonic() > deadline:
                raise ProcessError(f"{child.name} is not ready after {READY_TIMEOUT_S:.0f} s:\n{child.tail()}")
            await asyncio.sleep(0.2)

    async def b1(self, method: str, what: str, body: Mapping[str, Any] | None = None) -> Any:
        return await ask_json("the simulated B1", self._b1_url, method, f"/_simulator/{what}", body)


async def in_thread(work: Callable[[], object]) -> None:
    """Blocking work that must not be left half done: when we are cancelled, it ends first."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        with suppress(KafkaSetupError):
            await task
        raise

"""What the benchmarks have in common: a broker, a configuration, processes that say how far they are."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from lab.simulators.sap_b1.state.company import Company
from streams.config.load import Config, parse
from streams.kafka.client import KafkaLog
from tests.bench import corpus

ROOT = Path(__file__).parents[2]
PASSWORD = "bench-only"
PUSH_SECRET = "bench-push"
ENVIRON = {"ACME_B1_PASSWORD": PASSWORD, "SEKO_PUSH": PUSH_SECRET}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class World:
    """One run of the benchmarks."""

    bootstrap_servers: str
    folder: Path
    quick: bool
    progress: Callable[[str], None]

    def prefix(self) -> str:
        """For topics and groups that nothing else has."""
        return f"bench{uuid.uuid4().hex[:8]}-"

    def with_log(self, work: Callable[[KafkaLog], Coroutine[Any, Any, T]]) -> T:
        """Run something on the broker, from outside of every candidate."""

        async def run() -> T:
            log = KafkaLog(self.bootstrap_servers, linger_ms=5)
            await log.start()
            try:
                return await work(log)
            finally:
                await log.stop()

        return asyncio.run(run())


@contextmanager
def open_world(*, quick: bool, needs_broker: bool, progress: Callable[[str], None]) -> Iterator[World]:
    """A broker of our own, or the one that KAFKA_BOOTSTRAP_SERVERS names."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="b1-streams-bench-")))
        servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "")
        if needs_broker and not servers:
            from lab.kafka.broker import Kafka

            progress("starting Kafka")
            servers = stack.enter_context(Kafka(heap_mb=1024)).bootstrap_servers
        yield World(servers, folder, quick, progress)


def settings(bootstrap_servers: str, prefix: str, **company: Any) -> dict[str, Any]:
    """A `streams.toml` as a dict: one company, a shop, and the warehouse of the corpus."""
    return {
        "kafka": {
            "bootstrap_servers": bootstrap_servers,
            "topic_prefix": prefix,
            "partitions": corpus.PARTITIONS,
            "company_partitions": 2,
            "replication_factor": 1,
            "local": True,
        },
        "metrics": {"host": "127.0.0.1", "port": 0},
        "companies": {
            corpus.COMPANY: {
                "partition": 0,
                "service_layer_url": "http://127.0.0.1:1/b1s/v2",
                "company_db": "SBO_ACME",
                "username": "streams",
                "password": "env:ACME_B1_PASSWORD",
                "timezone": "Europe/London",
                "currency": "GBP",
                "customers": {"policy": "account", "card_code": "C-WEB"},
                "tax": {"field": "VatGroup", "default": "O1", "codes": {"GB-20": "O1"}},
                "warehouses": {
                    corpus.WAREHOUSE: {
                        "owner": corpus.SOURCE,
                        "location": corpus.LOCATION,
                        "sellable_on": ["shop"],
                        "returns_by": "refund",
                        "gl_account": {"damaged": "5100", "lost": "5100", "found": "4900", "count": "4900"},
                    },
                },
                **company,
            },
        },
        "connectors": {
            "shop": {
                "kind": "ims",
                "company": corpus.COMPANY,
                "inbox": "in/shop",
                "orders": {"warehouse": corpus.WAREHOUSE},
            },
            corpus.SOURCE: {"kind": "ims", "company": corpus.COMPANY, "inbox": "in/warehouse", "order_source": "shop"},
        },
    }


def config(data: Mapping[str, Any]) -> Config:
    return parse(data, ROOT, ENVIRON)


class RoundConfig(Config):
    """Shares all topics with other rounds but the chain, and has a group of its own.

    A round starts from nothing on the same input.

    The prefix is `<shared>-<round>-`.
    """

    __slots__ = ()

    @classmethod
    def of(cls, config: Config) -> "RoundConfig":
        return cls(**{each.name: getattr(config, each.name) for each in fields(Config)})

    @property
    def _shared(self) -> str:
        return self.kafka.topic_prefix.split("-")[0] + "-"

    def topic(self, name: str) -> str:
        return (self.kafka.topic_prefix if name == "stock-sealed" else self._shared) + name

    def name_of(self, topic: str) -> str:
        return topic.removeprefix(self.kafka.topic_prefix).removeprefix(self._shared)


MASTER: dict[str, Any] = {
    "BusinessPartners": [{"CardCode": "C-WEB", "CardName": "Web", "CardType": "cCustomer"}],
    "Warehouses": [{"WarehouseCode": corpus.WAREHOUSE, "WarehouseName": "London"}],
    "ChartOfAccounts": [{"Code": "4900", "Name": "Stock found"}, {"Code": "5100", "Name": "Stock lost"}],
    "VatGroups": [{"Code": "O1", "Name": "20 %", "Rate": "20"}],
}


def master_data(items: int) -> dict[str, Any]:
    """B1's side of the corpus, with stock enough that nothing is refused."""
    names = corpus.skus(items)
    return {
        **MASTER,
        "Items": [{"ItemCode": sku, "ItemName": sku} for sku in names],
        "stock": [{"item": sku, "warehouse": corpus.WAREHOUSE, "quantity": "1000000"} for sku in names],
    }


def on_hand(company: Company, items: int) -> dict[str, int]:
    """What has come in or gone out since the start, in millionths of units, by sku."""
    moved = {sku: int((company.on_hand(sku, corpus.WAREHOUSE) - 1_000_000) * 1_000_000) for sku in corpus.skus(items)}
    return {sku: units for sku, units in moved.items() if units}


class ProcessFailedError(Exception):
    """A candidate ended, or said nothing for too long; its own words are in the message."""


class Child:
    """A candidate in a process of its own.

    It answers by lines `name json` on its standard output, and is told words by its input.

    Use as a context manager: what is left of it is killed at the end.
    """

    def __init__(
        self, folder: Path, module: str, *arguments: str, environ: Mapping[str, str] | None = None, python: str = ""
    ) -> None:
        """Start it.

        Args:
            folder: Where its standard error goes.
            module: What to run; a file's path with another interpreter.
            arguments: Its own.
            environ: Beside ours.
            python: An interpreter that has other packages; by default ours.
        """
        program = [python, module] if python else [sys.executable, "-m", module]
        self._errors = folder / f"{Path(module).stem.rpartition('.')[2]}-{uuid.uuid4().hex[:6]}.log"
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*program, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                env={**os.environ, **ENVIRON, **(environ or {})},
            )
        os.set_blocking(self._output, False)
        self._rest = b""
        self._lines: list[tuple[str, dict[str, Any]]] = []

    @property
    def _output(self) -> int:
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n".encode())
        self.process.stdin.flush()

    def heard(self) -> list[tuple[str, dict[str, Any]]]:
        """All lines so far."""
        while True:
            try:
                data = os.read(self._output, 65_536)
            except BlockingIOError:
                return self._lines
            if not data:
                return self._lines
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                name, _, text = line.decode().partition(" ")
                if text.startswith("{"):
                    self._lines.append((name, json.loads(text)))

    def wait_for(self, name: str, timeout_s: float = 120) -> dict[str, Any]:
        """The first line of that name.

        Raises:
            ProcessFailedError: It ended without, or takes too long.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            ended = self.process.poll() is not None
            for heard, fields_ in self.heard():
                if heard == name:
                    return fields_
            if ended or time.monotonic() > deadline:
                why = f"ended with {self.process.returncode}" if ended else f"has not said {name!r} in {timeout_s} s"
                raise ProcessFailedError(f"{why}: {self.errors()}")
            time.sleep(0.005)

    def errors(self) -> str:
        return self._errors.read_text(encoding="utf-8", errors="replace")[-3_000:]

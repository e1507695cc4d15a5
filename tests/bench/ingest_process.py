"""One candidate of the ingest benchmark in a process of its own: `python -m tests.bench.ingest_process NAME SPEC.json`.

Says `ready`, waits for `go` on its input, works through the topic, says `done` with CPU and times. Every candidate gets
its go when it is connected and may read; what aiokafka has fetched ahead by then is the same for all (a fetch of each
partition).
"""

import asyncio
import io
import json
import logging
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import fastavro
import faust
from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.types import TP

from connectors.base.clock import SystemClock
from connectors.sap_b1.service_layer import NotSentError
from schemas.codec import embedded_codec
from streams.faust_host.settings import SETTINGS
from streams.faust_host.streams_app import StreamsApp
from streams.kafka.client import KafkaLog
from streams.ports import Ports
from streams.telemetry.metrics import Metrics
from streams.windows.partition import StockPartition
from streams.worker.main import tune_garbage_collector
from streams.worker.pipeline import SEALED, STOCK
from tests.bench import world
from tests.bench.corpus import Sums


@dataclass(frozen=True, slots=True)
class Spec:
    """What the parent has prepared."""

    settings: dict[str, Any]
    topic: str
    ends: dict[int, int]  # of the input's partitions

    @property
    def servers(self) -> str:
        servers: str = self.settings["kafka"]["bootstrap_servers"]
        return servers

    @property
    def prefix(self) -> str:
        prefix: str = self.settings["kafka"]["topic_prefix"]
        return prefix

    @property
    def events(self) -> int:
        return sum(self.ends.values())


def tell(name: str, **fields: Any) -> None:
    os.write(_OUT, f"{name} {json.dumps(fields)}\n".encode())


class Meter:
    """From the first event to the end."""

    def __init__(self) -> None:
        self._cpu = self._start = 0.0

    def start(self) -> None:
        """With the first event; later calls change nothing."""
        if not self._start:
            self._cpu, self._start = _cpu_s(), time.monotonic()

    def done(self, end: float | None = None, **fields: Any) -> None:
        tell("done", cpu_s=_cpu_s() - self._cpu, start=self._start, end=end or time.monotonic(), **fields)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def told() -> None:
    """Wait for a word: the go, or the stop."""
    loop, word = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, word.set)
    await word.wait()
    loop.remove_reader(sys.stdin)
    os.read(sys.stdin.fileno(), 64)


# ---- the reference


async def bare(spec: Spec) -> None:
    """aiokafka's `getmany`, and nothing else: fetched, decompressed, checked by CRC, counted."""
    await _fetched(spec, len)


async def floor(spec: Spec) -> None:
    """The least that anybody does who uses aiokafka and fastavro: fetched, decoded into a dict, thrown away."""
    schema = fastavro.schema.load_schema(str(world.ROOT / "schemas" / "avro" / "stock_adjusted.v1.avsc"))
    read = fastavro.schemaless_reader

    def decoded(value: bytes) -> int:
        stream = io.BytesIO(value)
        stream.seek(5)
        try:
            read(stream, schema, None)
        except Exception:  # noqa: BLE001 -- the malformed ones of the corpus
            return len(value)
        return len(value)

    await _fetched(spec, decoded)


async def _fetched(spec: Spec, size_of: Callable[[bytes], int]) -> None:
    consumer: Any = AIOKafkaConsumer(  # type: ignore[no-untyped-call]  # aiokafka has no types
        bootstrap_servers=spec.servers,
        group_id=None,
        enable_auto_commit=False,
        max_partition_fetch_bytes=SETTINGS["consumer_max_fetch_size"],
    )
    await consumer.start()
    tps = [TopicPartition(spec.topic, number) for number in spec.ends]
    consumer.assign(tps)
    await consumer.seek_to_beginning(*tps)
    await asyncio.sleep(0.5)
    meter, records, size, most = Meter(), 0, 0, spec.events
    tell("ready")
    await told()
    meter.start()
    while records < most:
        for batch in (await consumer.getmany(timeout_ms=250)).values():
            records += len(batch)
            for record in batch:
                size += size_of(record.value)
    meter.done(sums=f"{records} records, {size} bytes")
    await consumer.stop()


# ---- ours


class NoErp:
    """Ingest ends at the seal: no call may reach B1, and none waits for it."""

    async def ping(self) -> bool:
        return False

    async def close(self) -> None: ...

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def refuse(*_arguments: Any) -> Any:
            raise NotSentError(f"{name}: there is no B1 in this benchmark")

        return refuse


class Gated(StreamsApp):
    """The app as it is, whose stock partitions are let go together.

    What is sealed is not read on (its road is benchmark 3).
    """

    def __init__(self, spec: Spec, config: world.RoundConfig, ports: Ports, **settings: Any) -> None:
        super().__init__(config, ports, **settings)
        self._ends, self._round = spec.ends, config
        self._gone = False
        self.held: set[TP] = set()
        self.sealed = asyncio.Event()
        self.meter = Meter()
        self._ending: set[asyncio.Task[None]] = set()
        take = self.pipeline.take

        async def take_to_the_end(topic: str, partition: int, batch: Any) -> None:
            if topic == STOCK:
                self.meter.start()
            await take(topic, partition, batch)
            owned = self.pipeline.partitions.get(partition)
            if topic == STOCK and owned is not None and owned.open_events:
                last = owned._window.rows[-1][0].offset
                if last + 1 == self._ends[partition]:
                    self._ending.add(asyncio.create_task(self._seal_the_last(owned)))

        self.pipeline.take = take_to_the_end  # type: ignore[method-assign]  # the bench's gate

    async def _seal_the_last(self, partition: StockPartition) -> None:
        """The last window of a partition would wait for its length; that is a setting, not a cost."""
        await partition.seal("length")
        if all(partition.end == self._ends[number] for number, partition in self.pipeline.partitions.items()):
            self.sealed.set()

    async def on_assigned(self, tps: set[TP]) -> None:
        self.held = set()
        tell("assigned", partitions=sorted(tp.partition for tp in tps if self._round.name_of(tp.topic) == STOCK))
        await super().on_assigned(tps)

    def resume(self, tp: TP) -> None:
        name = self._round.name_of(tp.topic)
        if name == STOCK and not self._gone:
            self.held.add(tp)
            if len(self.held) == len(self.pipeline.partitions):
                tell("ready", partitions=sorted(tp.partition for tp in self.held))
        elif name != SEALED:
            super().resume(tp)

    def go(self) -> None:
        self._gone = True
        for tp in self.held:
            super().resume(tp)


async def ours(spec: Spec) -> None:
    """The real app: decode, check, dedupe, window, seal, meter, commit."""
    config = world.RoundConfig.of(world.config(spec.settings))
    log = KafkaLog(spec.servers)
    await log.start()
    tune_garbage_collector()
    ports = Ports(log, embedded_codec(), SystemClock(), Random(1), Metrics(config), lambda _company: NoErp())  # type: ignore[arg-type,return-value]  # all it is asked
    app = Gated(spec, config, ports, broker=f"kafka://{spec.servers}")
    app.finalize()
    await app.start()
    await told()
    app.go()
    await app.sealed.wait()
    end = time.monotonic()
    if not await app.consumer.commit():  # it may only have joined one under way
        await app.consumer.commit()
    committed = {tp.partition: at.offset for tp in app.held if (at := app.watermark(tp)) is not None}
    app.meter.done(end, committed=sum(committed.values()), partitions=len(app.held))
    await told()  # who leaves now makes the others rebalance while they are measured
    await app.stop()
    await log.stop()


# ---- the rivals: Faust as its documentation has it, with its own settings


class Adjusted(faust.Record):
    """What an agent gets in Faust's own way; of our fields those that it uses."""

    event_id: str
    sku: str
    location: str
    delta: Decimal
    reason: str
    occurred_at: datetime


def _read_avro() -> Callable[[bytes], Any]:
    schema = fastavro.schema.load_schema(str(world.ROOT / "schemas" / "avro" / "stock_adjusted.v1.avsc"))
    read = fastavro.schemaless_reader

    def decode(value: bytes) -> Any:
        if value[0]:
            raise ValueError("not in the Confluent wire format")
        stream = io.BytesIO(value)
        stream.seek(5)
        fields: Any = read(stream, schema, None)
        return Adjusted.from_data(fields)

    return decode


async def _plain_faust(spec: Spec, add: Callable[[faust.App], Callable[[Adjusted], None]]) -> None:
    app = faust.App(
        f"{spec.prefix}faust",
        broker=f"kafka://{spec.servers}",
        topic_partitions=len(spec.ends),
        web_enabled=False,
        datadir=Path(sys.argv[-1]).parent / "faust",
    )
    topic = app.topic(spec.topic, value_type=bytes, value_serializer="raw", key_serializer="raw")
    count = add(app)
    decode, meter, finished = _read_avro(), Meter(), asyncio.Event()
    sums, seen, read, most = Sums(), set[tuple[str, str, str]](), 0, spec.events

    @app.agent(topic)
    async def adjust(stream: Any) -> None:
        nonlocal read
        async for value in stream:
            meter.start()
            read += 1
            try:
                event = decode(value)
            except (EOFError, IndexError, ValueError, UnicodeDecodeError):
                sums.malformed += 1
            else:
                identity = (event.event_id, event.sku, event.location)
                if identity in seen:
                    sums.repeats += 1
                else:
                    seen.add(identity)
                    count(event)
                    sums.count(event.sku, int(event.delta.scaleb(6)))
            if read == most:
                finished.set()

    app.finalize()
    tell("ready")
    await told()
    await app.start()
    await finished.wait()
    meter.done(sums=str(sums))


async def table(spec: Spec) -> None:
    """A windowed Table; dedupe in a set that a restart would lose, sums not sealed, nothing refused durably."""

    def add(app: faust.App) -> Callable[[Adjusted], None]:
        stock = app.Table("stock", default=int).tumbling(60.0, expires=3600.0)

        def count(event: Adjusted) -> None:
            stock[f"{event.sku}/{event.location}"] += int(event.delta.scaleb(6))

        return count

    await _plain_faust(spec, add)


async def in_a_dict(spec: Spec) -> None:
    """The same with a plain dict in place of the Table."""

    def add(_app: faust.App) -> Callable[[Adjusted], None]:
        stock: dict[tuple[str, str], Decimal] = {}

        def count(event: Adjusted) -> None:
            key = event.sku, event.location
            stock[key] = stock.get(key, Decimal(0)) + event.delta

        return count

    await _plain_faust(spec, add)


CANDIDATES: Mapping[str, Callable[[Spec], Awaitable[None]]] = {
    "bare": bare,
    "floor": floor,
    "ours": ours,
    "table": table,
    "dict": in_a_dict,
}

_OUT = os.dup(1)


def main() -> None:
    name, path = sys.argv[1:]
    given = json.loads(Path(path).read_text(encoding="utf-8"))
    ends = {int(number): end for number, end in given["ends"].items()}
    logging.basicConfig(level=logging.ERROR)
    start = datetime.now(UTC)
    try:
        asyncio.run(_run(CANDIDATES[name](Spec(given["settings"], given["topic"], ends))))
    except BaseException as error:
        logging.getLogger(__name__).exception("%s failed, started %s", name, start)
        raise SystemExit(1) from error


async def _run(candidate: Awaitable[None]) -> None:
    await candidate
    if "faust" in sys.argv[1] or sys.argv[1] in ("table", "dict"):
        os._exit(0)  # Faust's own stop takes seconds, and has nothing to keep


if __name__ == "__main__":
    main()

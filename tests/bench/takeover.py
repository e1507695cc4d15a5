"""After SIGKILL of its predecessor.

How soon a worker posts orders, and seals windows with millions of ids in the horizon.

Real processes, a real broker, a simulated B1 over HTTP. The horizon is filled by epochs in the form and chain of the
real ones.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from connectors.base.log import Outgoing
from schemas.codec import Codec, embedded_codec
from schemas.events import Customer, OrderLine, OrderPlaced, StockAdjusted, digest_of
from schemas.records import SealedEpoch, StockBatch
from streams.chain.rule import Head
from streams.config.load import Config
from streams.kafka.client import KafkaLog
from streams.kafka.log import partition_of
from streams.kafka.topics import apply
from tests.bench import corpus, world
from tests.bench.harness import Bar, Check, Figure, Outcome
from tests.bench.world import ROOT, ProcessFailedError, World

ITEMS = 200
_EPOCH, _BATCH = 1_000, 20
_WORKER = "from streams.cli import main; main()"


def run(place: World) -> Outcome:
    ids = 100_000 if place.quick else 2_000_000
    place.progress(f"takeover: sealing {ids:,} ids into the horizon")
    prefix = place.prefix()
    with simulator(place.folder) as erp_url:
        data = world.settings(
            place.bootstrap_servers, prefix, service_layer_url=f"{erp_url}/b1s/v2", window={"length_s": 1}
        )
        file = place.folder / f"{prefix}streams.toml"
        file.write_text(toml(data), encoding="utf-8")
        config = world.config(data)
        place.with_log(lambda log: _fill(log, config, ids))
        asyncio.run(_commit_ends(config, place.with_log(lambda log: _ends(log, config))))
        return place.with_log(lambda log: _take_over(log, config, file, erp_url, place, ids))


async def _fill(log: KafkaLog, config: Config, ids: int) -> None:
    """Epochs as the windows seal them; their input range is empty, as nobody reads what is before the chain's end."""
    await apply(log, config)
    codec, names, now = embedded_codec(), corpus.skus(ITEMS), datetime.now(UTC) - timedelta(hours=1)
    topic, number = config.topic("stock-sealed"), 0
    for partition in range(corpus.PARTITIONS):
        head = Head()
        for _ in range(ids // corpus.PARTITIONS // _EPOCH):
            batches = []
            for at in range(_EPOCH // _BATCH):
                members = tuple(f"old-{number + n:010d}" for n in range(_BATCH))
                number += _BATCH
                batches.append(
                    StockBatch(
                        company=corpus.COMPANY,
                        source=corpus.SOURCE,
                        sku=names[at],
                        location=corpus.LOCATION,
                        reason="count",
                        posting_date=now.date(),
                        net=Decimal(_BATCH),
                        event_ids=members,
                        offsets=(0,) * _BATCH,
                        deltas=(Decimal(1),) * _BATCH,
                        digests=os.urandom(16 * _BATCH),
                    )
                )
            value = codec.encode(
                SealedEpoch(
                    number=head.number,
                    prev_digest=head.digest,
                    start=0,
                    end=0,
                    sealed_at=now,
                    config_version="bench",
                    cause="members",
                    batches=tuple(batches),
                )
            )
            head = head.after(value)
            await log.send_many([Outgoing(topic, str(partition).encode(), value, partition)])


async def _ends(log: KafkaLog, config: Config) -> dict[int, int]:
    return {number: (await log.bounds(config.topic("stock-sealed"), number))[1] for number in range(corpus.PARTITIONS)}


async def _commit_ends(config: Config, ends: Mapping[int, int]) -> None:
    """What is in the horizon has been queued long ago."""
    consumer: Any = AIOKafkaConsumer(  # type: ignore[no-untyped-call]  # aiokafka has no types
        bootstrap_servers=config.kafka.bootstrap_servers, group_id=config.group, enable_auto_commit=False
    )
    await consumer.start()
    tps = {TopicPartition(config.topic("stock-sealed"), number): end for number, end in ends.items()}
    consumer.assign(list(tps))
    await consumer.commit(tps)
    await consumer.stop()


class Traffic:
    """An order every half second and a stock event of each partition; knows when each order was published."""

    def __init__(self, log: KafkaLog, config: Config, codec: Codec) -> None:
        self._log, self._config, self._codec = log, config, codec
        self.published: dict[str, float] = {}
        self._number = 0
        names = corpus.skus(ITEMS)
        found = {partition_of(sku.encode(), corpus.PARTITIONS): sku for sku in names}
        self._sku_of = [found[number] for number in range(corpus.PARTITIONS)]

    async def run(self) -> None:
        while True:
            await asyncio.gather(self._order(), self._stock(), asyncio.sleep(0.5))

    async def _order(self) -> None:
        self._number += 1
        order_id, now = f"T{self._number}", datetime.now(UTC)
        event = OrderPlaced(
            source="shop",
            company=corpus.COMPANY,
            event_id=order_id,
            occurred_at=now,
            observed_at=now,
            digest=b"",
            order_id=order_id,
            order_number=order_id,
            currency="GBP",
            customer=Customer(id="C1", email="a@example.com", name="A"),
            lines=(
                OrderLine(
                    line_id="1", sku=self._sku_of[self._number % 12], quantity=Decimal(1), unit_price=Decimal("9.50")
                ),
            ),
        )
        await self._send("order-placed", order_id, event, None)
        self.published[order_id] = time.monotonic()

    async def _stock(self) -> None:
        now = datetime.now(UTC)
        for partition, sku in enumerate(self._sku_of):
            event = StockAdjusted(
                source=corpus.SOURCE,
                company=corpus.COMPANY,
                event_id=f"new-{self._number}-{partition}",
                occurred_at=now,
                observed_at=now,
                digest=b"",
                sku=sku,
                location=corpus.LOCATION,
                delta=Decimal(1),
                reason="count",
            )
            await self._send("stock-adjusted", sku, event, partition)

    async def _send(self, topic: str, key: str, event: Any, partition: int | None) -> None:
        value = self._codec.encode(replace(event, digest=digest_of(event)))
        await self._log.send(self._config.topic(topic), partition, key.encode(), value)


async def _take_over(log: KafkaLog, config: Config, file: Path, erp_url: str, place: World, ids: int) -> Outcome:
    traffic = Traffic(log, config, embedded_codec())
    feeding = asyncio.create_task(traffic.run())
    workers: list[subprocess.Popen[bytes]] = []
    try:
        place.progress("takeover: the first worker starts")
        started = time.monotonic()
        workers.append(_worker(file, place.folder))
        fresh = await _watch(log, config, erp_url, traffic, started, workers[-1], place.folder)
        await asyncio.sleep(2 if place.quick else 5)
        place.progress("takeover: SIGKILL")
        workers[-1].send_signal(signal.SIGKILL)
        workers[-1].wait()
        killed = time.monotonic()
        workers.append(_worker(file, place.folder))
        orders_s, seals_s = await _watch(log, config, erp_url, traffic, killed, workers[-1], place.folder)
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        for worker in workers:
            worker.kill()
            worker.wait()
    note = f"{ids:,} ids in the horizon, {corpus.PARTITIONS} partitions; session 10 s, windows of 1 s included"
    return Outcome(
        (
            Figure("fresh start: first order document", "s", (fresh[0],)),
            Figure("fresh start: all partitions seal", "s", (fresh[1],)),
            Figure("takeover: first order document", "s", (orders_s,), note),
            Figure("takeover: all partitions seal", "s", (seals_s,), note),
        ),
        (
            Check("takeover: order documents", orders_s, "s", Bar("at most", 15, ratio=False), note),
            Check("takeover: windows sealed", seals_s, "s", Bar("at most", 25, ratio=False), note),
        ),
    )


async def _watch(
    log: KafkaLog,
    config: Config,
    erp_url: str,
    traffic: Traffic,
    since: float,
    worker: subprocess.Popen[bytes],
    folder: Path,
) -> tuple[float, float]:
    """Seconds until an order that was published since then is a document, and until each partition has a new epoch."""
    ends = await _ends(log, config)
    orders_s = seals_s = 0.0
    while not (orders_s and seals_s):
        await asyncio.sleep(0.1)
        now = time.monotonic() - since
        if worker.poll() is not None or now > 120:
            raise ProcessFailedError(
                f"the worker {'ended' if worker.poll() is not None else 'is too slow'}: {_words(folder)}"
            )
        if not orders_s:
            wanted = {order_id for order_id, at in traffic.published.items() if at >= since}
            if wanted & await asyncio.to_thread(_orders, erp_url):
                orders_s = now
        if not seals_s and all(end > ends[number] for number, end in (await _ends(log, config)).items()):
            seals_s = now
    return orders_s, seals_s


def _worker(file: Path, folder: Path) -> "subprocess.Popen[bytes]":
    with (folder / "worker.log").open("ab") as words:
        return subprocess.Popen(
            [sys.executable, "-c", _WORKER, "worker", "-c", str(file)],
            cwd=ROOT,
            env={**os.environ, **world.ENVIRON},
            stdout=words,
            stderr=words,
        )


def _words(folder: Path) -> str:
    return (folder / "worker.log").read_text(encoding="utf-8", errors="replace")[-3_000:]


def _orders(erp_url: str) -> set[str]:
    with urllib.request.urlopen(f"{erp_url}/_simulator/ledger", timeout=10) as answer:
        ledger = json.load(answer)
    return {str(document.get("NumAtCard")) for document in ledger["documents"] if document["entity"] == "Orders"}


@contextmanager
def simulator(folder: Path) -> Iterator[str]:
    """A B1 at a fifth of the service times, with the claim table."""
    file = folder / "simulator.json"
    company = {"with_claims": True, "master_data": world.master_data(ITEMS)}
    given = {"speed": 0.2, "users": {"streams": world.PASSWORD}, "companies": {"SBO_ACME": company}}
    file.write_text(json.dumps(given), encoding="utf-8")
    with (folder / "simulator.log").open("ab") as words:
        process = subprocess.Popen(
            [sys.executable, "-m", "lab.simulators", "sap_b1", "--port", "0", "--config", str(file)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=words,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        if not line.startswith("listening"):
            raise ProcessFailedError((folder / "simulator.log").read_text(encoding="utf-8")[-2_000:])
        yield f"http://127.0.0.1:{line.split()[-1]}"
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def toml(data: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """Tables of tables, and values that JSON writes as TOML does."""
    plain = {key: value for key, value in data.items() if not isinstance(value, Mapping)}
    text = "".join(f"{json.dumps(key)} = {json.dumps(value)}\n" for key, value in plain.items())
    if path and plain:
        text = f"[{'.'.join(map(json.dumps, path))}]\n{text}"
    return text + "".join(toml(value, (*path, key)) for key, value in data.items() if isinstance(value, Mapping))

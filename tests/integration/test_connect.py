"""Two processes share the connectors on a real broker; one dies."""

import asyncio
import json
import os
import random
import signal
import string
import subprocess
import sys
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest

from connectors.base.cursors import partition_of
from schemas.codec import embedded_codec
from schemas.events import StockAdjusted
from streams.config.load import load
from streams.kafka import topics
from streams.query.positions import positions

pytestmark = pytest.mark.kafka
PROCESS = Path(__file__).with_name("connect_process.py")
NAMES = ("north", "south", "east", "west", "attic", "cellar")
PARTITIONS = 4


def write_config(folder, kafka, prefix, names=NAMES):
    sections = [
        f"""
[kafka]
bootstrap_servers = "{kafka}"
topic_prefix = "{prefix}"
partitions = {PARTITIONS}
company_partitions = 1
replication_factor = 1
local = true
[companies.acme]
service_layer_url = "http://127.0.0.1:1/b1s/v2"
company_db = "SBO"
username = "streams"
password = "env:B1_PASSWORD"
timezone = "Europe/London"
currency = "GBP"
customers = {{ policy = "account", card_code = "C" }}
[companies.acme.warehouses.W1]
owner = "{names[0]}"
location = "MAIN"
"""
    ]
    sections += [
        f"""
[connectors.{name}]
kind = "ims"
company = "acme"
inbox = "in/{name}"
poll_interval_s = 0.1
"""
        for name in names
    ]
    (folder / "streams.toml").write_text("".join(sections))
    return load(folder / "streams.toml", {"B1_PASSWORD": "x"})


@contextmanager
def processes(folder, count):
    """Their output goes to files, so that nobody has to read a pipe."""
    environ = {**os.environ, "B1_PASSWORD": "x", "PYTHONPATH": str(Path.cwd()), "PYTHONUNBUFFERED": "1"}
    started, outputs = [], []
    for number in range(count):
        output = folder / f"out-{len(list(folder.glob('out-*')))}-{number}.log"
        with output.open("wb") as file:
            command = [sys.executable, str(PROCESS), str(folder / "streams.toml")]
            started.append(subprocess.Popen(command, env=environ, stdout=file, stderr=subprocess.STDOUT))
        outputs.append(output)
    try:
        yield started, outputs
    except BaseException:
        for process, output in zip(started, outputs, strict=True):
            sys.stderr.write(f"--- {output.name}, ended with {process.poll()}:\n{output.read_text()[-4000:]}\n")
        raise
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
            process.wait()


def put(folder, connector, name, start, count):
    lines = [
        json.dumps(
            {
                "type": "stock_adjusted",
                "event_id": f"{connector}-{n}",
                "occurred_at": "2026-11-20T09:30:00Z",
                "sku": f"S{n % 5}",
                "location": "MAIN",
                "delta": "1",
                "reason": "found",
            }
        )
        for n in range(start, start + count)
    ]
    inbox = folder / "in" / connector
    inbox.mkdir(parents=True, exist_ok=True)
    (inbox / f"{name}.part").write_text("\n".join(lines))
    (inbox / f"{name}.part").rename(inbox / name)
    return {f"{connector}-{n}" for n in range(start, start + count)}


async def published(log, config):
    codec, found = embedded_codec(), []
    for partition in range(PARTITIONS):
        topic = config.topic("stock-adjusted")
        _, end = await log.bounds(topic, partition)
        async with aclosing(log.read(topic, partition, 0, end)) as batches:
            async for batch in batches:
                found += [codec.decode(record.value, StockAdjusted).event_id for record in batch]
    return found


async def until(condition, what, timeout_s=60.0):
    async with asyncio.timeout(timeout_s):
        while not (found := await condition()):  # noqa: ASYNC110 -- other processes have no events of ours
            await asyncio.sleep(0.1)
    assert found, what
    return found


async def test_two_processes_share_the_connectors_and_one_takes_over_when_the_other_dies(
    kafka, log, topic_prefix, tmp_path
):
    config = write_config(tmp_path, kafka, topic_prefix)
    assert len({partition_of(name, PARTITIONS) for name in NAMES}) > 1
    await topics.apply(log, config)
    expected = set()
    for name in NAMES:
        expected |= put(tmp_path, name, "a.jsonl", 0, 1200)

    async def all_there():
        return set(await published(log, config)) == expected

    with processes(tmp_path, 2) as ((one, two), outputs):
        await until(all_there, "the first files are published")

        async def shared():
            return all("connector_started" in output.read_text() for output in outputs)

        await until(shared, "both run connectors")
        for name in NAMES:
            expected |= put(tmp_path, name, "b.jsonl", 1200, 3000)
        os.kill(one.pid, signal.SIGKILL)
        await until(all_there, "the survivor has read everything")

        async def tidied():
            return all((tmp_path / "in" / name / "done" / "b.jsonl").exists() for name in NAMES)

        await until(tidied, "all files are done")
        two.terminate()
        assert await asyncio.to_thread(two.wait, 20) == 0
    found = await published(log, config)
    # What the dead one had sent and not confirmed came again: under the same id, and of at most a batch per connector.
    assert len(found) - len(expected) <= 500 * len(NAMES)
    standing = await positions(config, log, embedded_codec())
    assert {json.loads(position.cursor)["file"] for position in standing.values()} == {"b.jsonl"}


async def test_a_connector_that_has_lost_its_name_stops_the_start_with_the_remedy(kafka, log, topic_prefix, tmp_path):
    config = write_config(tmp_path, kafka, topic_prefix, names=("shop",))
    await topics.apply(log, config)
    expected = put(tmp_path, "shop", "a.jsonl", 0, 3)
    long = json.loads((tmp_path / "in/shop/a.jsonl").read_text().splitlines()[0])
    long |= {"event_id": "long", "note": "".join(random.Random(7).choices(string.printable[:62], k=989_700))}
    (tmp_path / "in/shop/b.jsonl").write_text(f"{json.dumps(long)}\n{'y' * 3_000_000}\n")
    expected.add("long")

    async def all_there():
        return set(await published(log, config)) == expected

    with processes(tmp_path, 1) as ((process,), _):
        await until(all_there, "events as long as we take them are published")

        async def refused():
            return (await log.bounds(config.topic("dead-letter-state"), 0))[1] >= 1

        await until(refused, "a line that is too long has become a letter")
        process.terminate()
        assert await asyncio.to_thread(process.wait, 20) == 0
    write_config(tmp_path, kafka, topic_prefix, names=("store",))
    with processes(tmp_path, 1) as ((process,), (output,)):
        assert await asyncio.to_thread(process.wait, 30) == 1
        assert "shop" in output.read_text()
        assert "enabled = false" in output.read_text()

"""Real workers on a real broker, when topics lose records, are made anew, or hold what compression has made small."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from connectors.base.clock import SystemClock
from schemas.codec import embedded_codec
from schemas.records import DeadLetterState
from streams.chain import acceptance
from streams.config.load import Config, load
from streams.kafka import topics
from streams.kafka.client import KafkaLog
from tests.streams.facts import order
from tests.streams.fakes import ROOT

pytestmark = pytest.mark.kafka
CODEC, TOPIC = embedded_codec(), "order-placed"


@pytest.fixture
def settings(kafka: str, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The example's company, whose B1 does not answer: what is queued stays in its queue."""
    text = (ROOT / "streams.example.toml").read_text()
    for old, new in (
        ('"127.0.0.1:9092"', f'"{kafka}"'),
        ('topic_prefix = ""', f'topic_prefix = "{topic_prefix}"'),
        ("\npartitions = 12 ", "\npartitions = 2 "),
        ("company_partitions = 16", "company_partitions = 2"),
        ("https://b1.example:50000/b1s/v2", "http://127.0.0.1:9/b1s/v2"),
        ("port = 9464", "port = 0"),
    ):
        assert old in text, old
        text = text.replace(old, new)
    (tmp_path / "streams.toml").write_text(text)
    monkeypatch.setenv("ACME_B1_PASSWORD", "x")
    return load(tmp_path / "streams.toml", os.environ)


@contextmanager
def worker(folder: Path, name: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`streams worker`, and first of all whatever `sitecustomize.py` lies in the folder."""
    with (folder / name).open("w") as out:
        command = [
            sys.executable,
            "-c",
            "from streams.cli import main; main()",
            "worker",
            "-c",
            "streams.toml",
        ]
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(40)


def _said(folder: Path) -> str:
    return "\n".join(path.read_text()[-3000:] for path in sorted(folder.glob("worker*")))


def _peak_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


async def until(
    what: str, condition: object, process: "subprocess.Popen[bytes]", folder: Path, seconds: float = 60
) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():  # type: ignore[operator]
        said = _said(folder)
        assert process.poll() is None, f"the worker has ended: {said}"
        assert time.monotonic() < deadline, f"{what} has not come: {said}"
        await asyncio.sleep(0.25)


async def test_facts_that_are_gone_or_whose_topic_was_made_anew_are_held_alone_until_a_person_goes_on(
    settings: Config, log: KafkaLog, tmp_path: Path
) -> None:
    await topics.apply(log, settings)
    facts, queue, clock = settings.topic(TOPIC), settings.topic("erp-orders"), SystemClock()

    async def publish(first: int, last: int, partition: int) -> None:
        for n in range(first, last):
            await log.send(facts, partition, b"k", CODEC.encode(order(str(n))))

    async def queued() -> int:
        return (await log.bounds(queue, 0))[1]

    def said(name: str, words: str) -> object:
        async def is_said() -> bool:
            return words in (tmp_path / name).read_text()

        return is_said

    def are_queued(count: int) -> object:
        async def come() -> bool:
            return await queued() >= count

        return come

    await publish(0, 5, 0)
    with worker(tmp_path, "worker-1") as process:
        await until("what is published", are_queued(5), process, tmp_path)
        await asyncio.sleep(2)
    await publish(5, 10, 0)
    await log.delete_records(facts, 0, 8)
    await publish(100, 103, 1)
    with worker(tmp_path, "worker-2") as process:
        await until("what is lost", said("worker-2", "has lost 3 records that were never read"), process, tmp_path)
        await until("the other partition", are_queued(8), process, tmp_path)
        assert await queued() == 8
        found = await acceptance.accept(log, settings, CODEC, clock, TOPIC, 0, by="ann", why="retention")
        assert found is not None
        assert found.lost == 3
        await until("what is left", are_queued(10), process, tmp_path)
        await asyncio.sleep(2)
        process.send_signal(signal.SIGSTOP)  # retention is faster than a worker that stands still
        try:
            await publish(10, 15, 0)
            await log.delete_records(facts, 0, 14)
        finally:
            process.send_signal(signal.SIGCONT)
        await until(
            "what is lost since", said("worker-2", "has lost 4 records that were never read"), process, tmp_path
        )
        assert await acceptance.accept(log, settings, CODEC, clock, TOPIC, 0, by="ann", why="retention")
        await until("the last one", are_queued(11), process, tmp_path)
    await log._admin._client.delete_topics([facts])
    await asyncio.sleep(1)
    await topics.apply(log, settings)
    await publish(200, 204, 0)
    with worker(tmp_path, "worker-3") as process:
        await until("the other log", said("worker-3", "the topic was made anew"), process, tmp_path)
        assert await queued() == 11
        for partition in (0, 1):
            assert await acceptance.accept(log, settings, CODEC, clock, TOPIC, partition, by="ann", why="anew")
        await until("the new orders", are_queued(15), process, tmp_path)


async def test_a_record_that_compression_has_made_small_ends_no_worker(
    settings: Config, log: KafkaLog, tmp_path: Path
) -> None:
    """6 MiB of noughts are a letter with their first bytes; a gigabyte is never unpacked."""
    await topics.apply(log, settings)
    facts, letters = settings.topic(TOPIC), settings.topic(f"{TOPIC}-dead-letter")
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap_servers, compression_type="zstd", max_request_size=1 << 31
    )
    await producer.start()
    try:
        await producer.send_and_wait(facts, bytes(6 << 20), b"k", 0)
        await producer.send_and_wait(facts, bytes(1 << 30), b"k", 0)
    finally:
        await producer.stop()
    await log.send(facts, 0, b"k", CODEC.encode(order("1")))

    async def is_queued() -> bool:
        return (await log.bounds(settings.topic("erp-orders"), 0))[1] == 1

    with worker(tmp_path, "worker-1") as process:
        await until("the order behind it", is_queued, process, tmp_path)
        peak_kb = _peak_kb(process.pid)
    assert peak_kb < 700_000
    written = [one async for batch in log.read(letters, 0, 0) for one in batch]
    assert [dict(one.headers)["b1streams.reason"] for one in written] == [b"unreadable"] * 2
    states = [one async for batch in log.read(settings.topic("dead-letter-state"), 0, 0) for one in batch]
    offsets = {
        CODEC.decode(one.value or b"", DeadLetterState).offset
        for one in states
        if one.value is not None and (one.key or b"") and len(one.key or b"") == 16
    }
    assert offsets == {0, 1}


#: Python runs it at the start of every process that finds it: some bytes end whoever reads them.
KILLED_BY_A_RECORD = """
import os
from schemas.codec import Codec
decode = Codec.decode
def killed(codec, data, expect):
    return os._exit(137) if data == b"killer" else decode(codec, data, expect)
Codec.decode = killed
"""


async def test_a_record_that_has_ended_two_processes_is_a_dead_letter_unread(
    settings: Config, log: KafkaLog, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(KILLED_BY_A_RECORD)
    await topics.apply(log, settings)
    facts, queue = settings.topic(TOPIC), settings.topic("erp-orders")
    await log.send(facts, 0, b"k", b"killer")
    for start in (1, 2):
        with worker(tmp_path, f"worker-{start}") as process:
            assert await asyncio.to_thread(process.wait, 60) == 137
    await log.send(facts, 0, b"k", CODEC.encode(order("1")))

    async def is_queued() -> bool:
        return (await log.bounds(queue, 0))[1] == 1

    with worker(tmp_path, "worker-3") as process:
        await until("the order behind it", is_queued, process, tmp_path)
    (letter,) = [one async for batch in log.read(settings.topic(f"{TOPIC}-dead-letter"), 0, 0) for one in batch]
    assert (letter.value, dict(letter.headers)["b1streams.reason"]) == (b"killer", b"poison")
    assert b"2 processes ended at it" in dict(letter.headers)["__connect.errors.exception.message"]

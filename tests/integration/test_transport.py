import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.base.log import Outgoing
from lab.kafka.broker import Kafka
from streams.faust_host.watermarks import decode_counts
from streams.kafka.client import KafkaLog
from streams.kafka.log import BrokerTopic, Committed

pytestmark = pytest.mark.kafka
ROOT = Path(__file__).parents[2]
POSTED = ("flow", "posted")


class Worker:
    """A worker process and the events it has told."""

    def __init__(self, folder: Path, name: str, **given: Any) -> None:
        self._events_path = folder / f"{name}.events"
        self._read_to = 0
        self._events: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._stderr = folder / f"{name}.stderr"
        settings = folder / f"{name}.json"
        settings.write_text(json.dumps({"events": str(self._events_path), "mode": "shuffle", **given}))
        with self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("worker_process.py"), settings],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=stderr,
                stderr=stderr,
            )

    def events(self, name: str) -> list[dict[str, Any]]:
        if self._events_path.exists():
            with self._events_path.open("rb") as file:
                file.seek(self._read_to)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read_to += len(whole)
            for line in whole.decode().splitlines():
                kind, _, fields = line.partition(" ")
                self._events[kind].append(json.loads(fields))
        return self._events[name]

    def done(self, topic: str, partition: int) -> list[int]:
        return [each["offset"] for each in self.events("done") if each["tp"] == [topic, partition]]

    def taken(self, topic: str, partition: int) -> list[int]:
        batches = [each["offsets"] for each in self.events("taken") if each["tp"] == [topic, partition]]
        return [offset for batch in batches for offset in batch]

    def tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n".encode())
        self.process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self, timeout_s: float = 30) -> int:
        return await asyncio.to_thread(self.process.wait, timeout_s)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()

    def tail(self) -> str:
        return self._stderr.read_text()[-3000:]


@pytest.fixture
def start(tmp_path: Path, kafka: str, topic_prefix: str) -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def start_worker(**given: Any) -> Worker:
        defaults = {"bootstrap_servers": kafka, "group": f"{topic_prefix}group"}
        workers.append(Worker(tmp_path, f"w{len(workers)}", **{**defaults, **given}))
        return workers[-1]

    yield start_worker
    for worker in workers:
        worker.close()


async def until(check: Callable[[], object], *workers: Worker, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not check():
        for worker in workers:
            assert worker.process.poll() is None, worker.tail()
        assert time.monotonic() < deadline, "\n".join(worker.tail() for worker in workers)
        await asyncio.sleep(0.05)


async def committed(
    log: KafkaLog, group: str, at_least: dict[tuple[str, int], int]
) -> dict[tuple[str, int], Committed]:
    deadline = time.monotonic() + 20
    while True:
        found = await log.committed(group)
        if all(tp in found and found[tp].offset >= offset for tp, offset in at_least.items()):
            return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.1)


async def make(log: KafkaLog, name: str, records: int = 0, partitions: int = 1, size: int = 20) -> str:
    await log.create_topics([BrokerTopic(name, partitions, 1)])
    await log.send_many([Outgoing(name, None, b"x" * size, partition=n % partitions) for n in range(records)])
    return name


async def test_counts_survive_a_restart_and_match_the_committed_offset(
    log: KafkaLog, start: Callable[..., Worker], topic_prefix: str
) -> None:
    topic, group = await make(log, f"{topic_prefix}facts", 1_000), f"{topic_prefix}group"
    first = start(topics=[topic])
    await until(lambda: len(first.done(topic, 0)) == 1_000, first)
    first.signal(signal.SIGTERM)
    assert await first.ended() == 0, first.tail()
    assert await log.committed(group) == {(topic, 0): Committed(1_000, '{"flow":{"posted":1000}}')}
    await log.send_many([Outgoing(topic, None, b"x", partition=0) for _ in range(500)])
    second = start(topics=[topic])
    await committed(log, group, {(topic, 0): 1_500})
    second.signal(signal.SIGKILL)
    assert await log.committed(group) == {(topic, 0): Committed(1_500, '{"flow":{"posted":1500}}')}
    assert second.done(topic, 0)[0] >= 1_000


async def test_nothing_is_lost_and_nothing_overtakes_while_workers_join_leave_die_and_sleep(
    log: KafkaLog, start: Callable[..., Worker], topic_prefix: str
) -> None:
    """At every assignment, partition i of topics with equal counts lies on one worker."""
    group = f"{topic_prefix}group"
    pairs = [("erp-orders", "erp-stock", 16), ("stock-adjusted", "stock-sealed", 12)]
    pairs = [(topic_prefix + a, topic_prefix + b, partitions) for a, b, partitions in pairs]
    topics = [topic for a, b, _ in pairs for topic in (a, b)]
    counts = {topic: partitions for a, b, partitions in pairs for topic in (a, b)}
    await log.create_topics([BrokerTopic(topic, partitions, 1) for topic, partitions in counts.items()])
    workers: list[Worker] = []
    sent: dict[tuple[str, int], int] = defaultdict(int)
    over = asyncio.Event()

    async def feed() -> None:
        while not over.is_set():
            batch = [Outgoing(topic, None, b"x" * 50, partition=p) for topic in topics for p in range(counts[topic])]
            await log.send_many(batch * 5)
            for record in batch:
                sent[record.topic, record.partition or 0] += 5
            await asyncio.sleep(0.25)

    found: dict[tuple[str, int], set[int]] = defaultdict(set)

    def done() -> dict[tuple[str, int], set[int]]:
        for worker in workers:
            events = worker.events("done")
            for each in events:
                found[tuple(each["tp"])].add(each["offset"])
            events.clear()
        return found

    async def watch() -> None:
        while not over.is_set():
            marks = await log.committed(group)
            finished = done()
            for tp, mark in marks.items():
                missing = set(range(mark.offset)) - finished[tp]
                assert not missing, f"{tp} is committed at {mark.offset} with {sorted(missing)[:5]} unfinished"
                assert decode_counts(mark.metadata).get(POSTED, 0) == mark.offset
            await asyncio.sleep(0.5)

    def generations() -> set[int]:
        return {each["generation"] for worker in workers for each in worker.events("assigned")}

    async def next_generation(*alive: Worker, after: int) -> int:
        """Wait until these workers, and all partitions, are in one generation later than `after`."""

        def together() -> bool:
            ready = [max((each["generation"] for each in worker.events("ready")), default=0) for worker in alive]
            return min(ready) == max(ready) > after

        await until(together, *alive)
        return max(generations())

    def join() -> Worker:
        workers.append(start(topics=topics))
        return workers[-1]

    background = [asyncio.create_task(feed()), asyncio.create_task(watch())]
    a = join()
    at = await next_generation(a, after=0)
    b = join()
    at = await next_generation(a, b, after=at)
    c = join()
    at = await next_generation(a, b, c, after=at)
    c.signal(signal.SIGTERM)
    at = await next_generation(a, b, after=at)
    assert await c.ended() == 0, c.tail()
    d = join()
    at = await next_generation(a, b, d, after=at)
    a.signal(signal.SIGKILL)
    at = await next_generation(b, d, after=at)
    e = join()
    at = await next_generation(b, d, e, after=at)
    b.signal(signal.SIGSTOP)
    at = await next_generation(d, e, after=at)
    b.signal(signal.SIGCONT)
    at = await next_generation(b, d, e, after=at)
    d.signal(signal.SIGTERM)
    at = await next_generation(b, e, after=at)
    b.signal(signal.SIGTERM)
    at = await next_generation(e, after=at)
    over.set()
    await asyncio.gather(*background)
    await until(lambda: all(len(done()[tp]) == count for tp, count in sent.items()), e)
    marks = await committed(log, group, dict(sent))
    assert {tp: (count, count) for tp, count in sent.items()} == {
        tp: (mark.offset, decode_counts(mark.metadata)[POSTED]) for tp, mark in marks.items()
    }
    assert len(generations()) >= 10
    for worker in workers:
        for each in worker.events("assigned"):
            assigned = defaultdict(set)
            for topic, partition in each["tps"]:
                assigned[topic].add(partition)
            for one, other, _ in pairs:
                assert assigned[one] == assigned[other]


async def test_sigterm_with_unfinished_records_ends_in_time_and_commits_the_finished_prefix(
    log: KafkaLog, start: Callable[..., Worker], topic_prefix: str
) -> None:
    topic = await make(log, f"{topic_prefix}facts", 100)
    worker = start(topics=[topic], mode="hold", finish_first=7, drain_timeout=1)
    await until(lambda: len(worker.done(topic, 0)) == 7, worker)
    began = time.monotonic()
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0, worker.tail()
    assert 1 <= time.monotonic() - began < 8
    assert await log.committed(f"{topic_prefix}group") == {(topic, 0): Committed(7, '{"flow":{"posted":7}}')}


async def test_an_agent_that_finishes_nothing_is_given_no_more_than_the_cap(
    log: KafkaLog, start: Callable[..., Worker], topic_prefix: str
) -> None:
    topic = await make(log, f"{topic_prefix}facts", 8_000)
    worker = start(topics=[topic], mode="hold", max_open=2_000, settings={"broker_max_poll_records": 300})
    await until(lambda: len(worker.taken(topic, 0)) >= 2_000, worker)
    await asyncio.sleep(1)
    assert len(worker.taken(topic, 0)) < 2_300
    worker.tell("finish")
    await until(lambda: len(worker.done(topic, 0)) == 8_000, worker)


async def test_bytes_that_are_open_are_bounded_over_all_partitions(
    log: KafkaLog, start: Callable[..., Worker], topic_prefix: str
) -> None:
    topic = await make(log, f"{topic_prefix}facts", 4_000, partitions=8, size=600)
    worker = start(topics=[topic], mode="hold", max_open_bytes=500_000, settings={"broker_max_poll_records": 100})

    def taken() -> int:
        return sum(len(worker.taken(topic, partition)) for partition in range(8))

    await until(lambda: taken() >= 500, worker)
    await asyncio.sleep(1)
    assert taken() * 1_000 <= 500_000 + 100 * 1_000 + 8 * 100 * 1_000  # and one fetch of each partition
    worker.tell("finish")
    await until(lambda: taken() == 4_000, worker)


async def test_a_paused_partition_is_not_fetched_and_a_resumed_one_is(
    log: KafkaLog, start: Callable[..., Worker], topic_prefix: str
) -> None:
    topic = await make(log, f"{topic_prefix}facts", 2, partitions=2)
    worker = start(topics=[topic])
    await until(lambda: len(worker.done(topic, 0)) == len(worker.done(topic, 1)) == 1, worker)
    worker.tell(f"pause {topic} 0")
    await until(lambda: worker.events("obeyed"), worker)
    await asyncio.sleep(0.6)  # a fetch that was under way
    await log.send_many([Outgoing(topic, None, b"x", partition=n % 2) for n in range(20)])
    await until(lambda: len(worker.done(topic, 1)) == 11, worker)
    assert len(worker.done(topic, 0)) == 1
    lags: list[Any] = []
    deadline = time.monotonic() + 10
    while lags != [[0, 10], [1, 0]]:
        assert time.monotonic() < deadline, lags
        asked = len(worker.events("lag"))
        worker.tell("lag")
        await until(lambda asked=asked: len(worker.events("lag")) > asked, worker)
        lags = worker.events("lag")[-1]["lags"]
    worker.tell(f"resume {topic} 0")
    await until(lambda: len(worker.done(topic, 0)) == 11, worker)
    assert len(worker.events("assigned")) == 1


async def test_a_start_position_wins_over_the_committed_offset_and_is_committed_with_its_counts(
    log: KafkaLog, start: Callable[..., Worker], topic_prefix: str
) -> None:
    topic, group = await make(log, f"{topic_prefix}facts", 40, partitions=4), f"{topic_prefix}group"
    first = start(topics=[topic], mode="hold", finish_first=3)
    await committed(log, group, {(topic, partition): 3 for partition in range(4)})
    first.signal(signal.SIGKILL)
    await first.ended()
    # Later with counts, later without, the same, none at all.
    starts = [(topic, 0, 6, {"posted": 5, "no_op": 1}), (topic, 1, 6, None), (topic, 2, 3, None)]
    second = start(topics=[topic], mode="hold", starts=starts)
    marks = await committed(log, group, {(topic, 0): 6, (topic, 1): 6})
    assert marks == {
        (topic, 0): Committed(6, '{"flow":{"no_op":1,"posted":5}}'),
        (topic, 1): Committed(6, '{"flow":{"posted":3}}'),
        (topic, 2): Committed(3, '{"flow":{"posted":3}}'),
        (topic, 3): Committed(3, '{"flow":{"posted":3}}'),
    }
    await until(lambda: all(second.taken(topic, partition) for partition in range(4)), second)
    assert [second.taken(topic, partition)[0] for partition in range(4)] == [6, 6, 3, 3]


async def test_a_partition_is_read_again_after_a_rewind(
    log: KafkaLog, start: Callable[..., Worker], topic_prefix: str
) -> None:
    topic, group = await make(log, f"{topic_prefix}facts", 10), f"{topic_prefix}group"
    worker = start(topics=[topic], mode="plain")
    await committed(log, group, {(topic, 0): 10})
    worker.tell(f"rewind {topic} 0 4")
    await until(lambda: len(worker.done(topic, 0)) == 16, worker)
    assert worker.done(topic, 0)[10:] == list(range(4, 10))
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0, worker.tail()
    assert await log.committed(group) == {(topic, 0): Committed(10, '{"flow":{"posted":6}}')}


async def test_an_agent_that_raises_ends_the_worker_and_its_unfinished_records_come_again(
    log: KafkaLog, start: Callable[..., Worker], topic_prefix: str
) -> None:
    topic = await make(log, f"{topic_prefix}facts", 10)
    worker = start(topics=[topic], mode="raise")
    assert await worker.ended() == 1
    assert "an agent's own fault" in worker.tail()
    assert await log.committed(f"{topic_prefix}group") == {(topic, 0): Committed(3, '{"flow":{"posted":3}}')}


async def test_a_worker_that_is_delivered_nothing_while_there_is_something_ends(
    log: KafkaLog, start: Callable[..., Worker], topic_prefix: str
) -> None:
    topic = await make(log, f"{topic_prefix}facts", 10)
    worker = start(topics=[topic], mode="stuck", stall_timeout=1)
    assert await worker.ended() == 1
    assert "StalledError" in worker.tail()


async def test_a_rebalance_does_not_wait_for_an_assignment_that_is_slow_to_get_ready(
    log: KafkaLog, start: Callable[..., Worker], topic_prefix: str
) -> None:
    topic = await make(log, f"{topic_prefix}facts", 20, partitions=2)
    slow = start(topics=[topic], slow_generation=1)
    await until(lambda: slow.events("assigned"), slow)
    other = start(topics=[topic], slow_generation=1)
    await until(lambda: slow.events("ready") and other.events("ready"), slow, other, timeout_s=20)
    await until(lambda: len({*slow.done(topic, 0), *other.done(topic, 0)}) == 10, slow, other)
    assert not slow.events("releasing"), "an app that never got ready has nothing to release"


async def test_a_broker_that_is_killed_and_comes_back_is_survived(
    own_broker: Kafka, start: Callable[..., Worker], topic_prefix: str
) -> None:
    log = KafkaLog(own_broker.bootstrap_servers)
    await log.start()
    topic, group = await make(log, f"{topic_prefix}facts", 2_000, partitions=4), f"{topic_prefix}group"
    worker = start(topics=[topic], bootstrap_servers=own_broker.bootstrap_servers, drain_timeout=1, stop_timeout=3)
    await until(lambda: len(worker.events("done")) > 200, worker)
    await asyncio.to_thread(own_broker.kill)
    await asyncio.to_thread(own_broker.start)
    await log.send_many([Outgoing(topic, None, b"x", partition=n % 4) for n in range(400)])
    marks = await committed(log, group, {(topic, partition): 600 for partition in range(4)})
    assert [decode_counts(mark.metadata) for mark in marks.values()] == [{POSTED: 600}] * 4
    # And a worker that is told to end while the broker is away does end.
    await asyncio.to_thread(own_broker.kill)
    began = time.monotonic()
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0, worker.tail()
    assert time.monotonic() - began < 6
    await asyncio.to_thread(own_broker.start)
    await log.stop()

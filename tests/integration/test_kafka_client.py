import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, OffsetAndMetadata, TopicPartition

from connectors.base.errors import LogError, LogRefusedError, LogUnavailableError
from connectors.base.log import Outgoing, Record, Sent
from lab.kafka.broker import Kafka
from streams.kafka.client import READERS, KafkaLog
from streams.kafka.log import BrokerTopic, Committed, Log, partition_of

pytestmark = pytest.mark.kafka


@pytest.fixture
async def topic(log: KafkaLog, topic_prefix: str) -> str:
    name = f"{topic_prefix}facts"
    await log.create_topics([BrokerTopic(name, partitions=3, replication=1)])
    return name


@pytest.fixture
async def own_log(own_broker: Kafka) -> AsyncIterator[KafkaLog]:
    log = KafkaLog(own_broker.bootstrap_servers)
    await log.start()
    yield log
    await log.stop()


async def read(log: Log, topic: str, partition: int, start: int = 0, end: int | None = None) -> list[Record]:
    return [record async for batch in log.read(topic, partition, start, end) for record in batch]


async def test_a_sent_record_is_read_back_at_the_offset_that_send_gave(log: KafkaLog, topic: str) -> None:
    await log.send(topic, 1, b"k", b"first")
    sent = await log.send(topic, 1, b"k", b"second", [("why", b"x"), ("why", b"y")], timestamp_ms=1_700_000_000_123)
    assert sent == Sent(1, 1)
    assert await read(log, topic, 1, sent.offset) == [
        Record(topic, 1, 1, 1_700_000_000_123, b"k", b"second", (("why", b"x"), ("why", b"y")))
    ]


async def test_ten_thousand_records_keep_their_order_within_each_partition(log: KafkaLog, topic: str) -> None:
    outgoing = [Outgoing(topic, f"key-{n % 100}".encode(), str(n).encode()) for n in range(10_000)]
    sent = await log.send_many(outgoing)
    assert len(sent) == 10_000
    for partition in range(3):
        expected = [int(o.value or b"") for o, s in zip(outgoing, sent, strict=True) if s.partition == partition]
        records = await read(log, topic, partition)
        assert expected == [int(record.value or b"") for record in records]
        assert list(range(len(expected))) == [record.offset for record in records]


async def test_a_key_has_the_partition_that_every_kafka_client_gives_it(log: KafkaLog, topic: str, kafka: str) -> None:
    keys = [f"order-{n}".encode() for n in range(50)]
    ours = [sent.partition for sent in await log.send_many([Outgoing(topic, key, b"") for key in keys])]
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        theirs = [(await producer.send_and_wait(topic, b"", key)).partition for key in keys]
    assert theirs == ours == [partition_of(key, 3) for key in keys] == [await log.partition_for(topic, k) for k in keys]


async def test_a_range_is_read_without_its_end(log: KafkaLog, topic: str) -> None:
    await log.send_many([Outgoing(topic, None, str(n).encode(), partition=0) for n in range(100)])
    assert [record.offset for record in await read(log, topic, 0, 10, 13)] == [10, 11, 12]
    assert await read(log, topic, 0, 100) == []
    assert await read(log, topic, 0, 50, 50) == []
    assert [record.offset for record in await read(log, topic, 0, 99, 5_000)] == [99]


async def test_bounds_follow_sends_and_deletion_and_reading_starts_where_the_log_does(
    log: KafkaLog, topic: str
) -> None:
    assert await log.bounds(topic, 2) == (0, 0)
    await log.send_many([Outgoing(topic, None, b"x", partition=2) for _ in range(20)])
    assert await log.bounds(topic, 2) == (0, 20)
    await log.delete_records(topic, 2, 15)
    assert await log.bounds(topic, 2) == (15, 20)
    assert list(range(15, 20)) == [record.offset for record in await read(log, topic, 2)]


async def test_a_read_passes_the_gaps_that_compaction_leaves(log: KafkaLog, topic_prefix: str) -> None:
    name = f"{topic_prefix}states"
    settings = {
        "cleanup.policy": "compact",
        "segment.bytes": "1048576",
        "min.cleanable.dirty.ratio": "0.001",
        "segment.ms": "100",
        "max.compaction.lag.ms": "100",
    }
    await log.create_topics([BrokerTopic(name, 1, 1, settings)])
    await log.send_many([Outgoing(name, str(n % 5).encode(), str(n).encode()) for n in range(1_000)])
    deadline = time.monotonic() + 60
    offsets = list(range(1_000))
    while len(offsets) > 100 and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        await log.send(name, 0, b"5", b"rolls the segment")
        offsets = [record.offset for record in await read(log, name, 0, 0, 1_000)]
    assert offsets == [995, 996, 997, 998, 999]
    assert await read(log, name, 0, 0, 990) == [], "a range in which nothing is left"


async def test_the_first_offset_of_a_time_is_found(log: KafkaLog, topic: str) -> None:
    for minute in range(5):
        await log.send(topic, 0, None, b"x", timestamp_ms=1_700_000_000_000 + minute * 60_000)
    assert await log.offset_for_time(topic, 0, 1_700_000_000_000 + 60_001) == 2
    assert await log.offset_for_time(topic, 0, 0) == 0
    assert await log.offset_for_time(topic, 0, 1_800_000_000_000) == 5


async def test_committed_tells_offsets_and_what_lies_beside_them(
    log: KafkaLog, topic: str, topic_prefix: str, kafka: str
) -> None:
    group = f"{topic_prefix}group"
    assert await log.committed(group) == {}
    async with AIOKafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False) as consumer:
        consumer.assign([TopicPartition(topic, 0), TopicPartition(topic, 1)])
        await consumer.commit({TopicPartition(topic, 1): OffsetAndMetadata(7, '{"a":1}')})
    assert await log.committed(group) == {(topic, 1): Committed(7, '{"a":1}')}


async def test_topics_are_made_once_and_described_with_their_settings(log: KafkaLog, topic_prefix: str) -> None:
    name = f"{topic_prefix}made"
    wanted = BrokerTopic(name, 4, 1, {"retention.ms": "86400000", "cleanup.policy": "compact"})
    assert await log.create_topics([wanted]) == {name}
    assert await log.create_topics([wanted]) == set()
    found = await log.describe([name, f"{topic_prefix}missing"])
    assert {name} == set(found)
    assert (found[name].partitions, found[name].replication) == (4, 1)
    assert wanted.configs.items() <= found[name].configs.items()
    assert (await log.topics())[name] == 4
    assert not any(each.startswith("__") for each in await log.topics())


async def test_a_topic_that_the_broker_refuses_is_an_error(log: KafkaLog, topic_prefix: str) -> None:
    with pytest.raises(LogError, match="cannot create"):
        await log.create_topics([BrokerTopic(f"{topic_prefix}three", 1, replication=3)])


async def test_a_record_that_is_too_large_is_refused_and_the_next_one_goes(log: KafkaLog, topic: str) -> None:
    with pytest.raises(LogError) as refused:
        await log.send(topic, 0, None, b"x" * 5_000_000)
    assert isinstance(refused.value, LogRefusedError)
    assert await log.send(topic, 0, None, b"x") == Sent(0, 0)


async def test_more_readers_than_connections_take_turns_and_a_reader_that_leaves_early_gives_its_back(
    log: KafkaLog, topic: str
) -> None:
    await log.send_many([Outgoing(topic, None, str(n).encode(), partition=0) for n in range(5_000)])
    for _ in range(READERS + 2):
        async with contextlib.aclosing(log.read(topic, 0, 0)) as batches:
            async for _batch in batches:
                break
    counts = await asyncio.gather(*(read(log, topic, 0, start) for start in range(10)))
    assert [5_000 - start for start in range(10)] == [len(records) for records in counts]


async def test_sends_and_reads_survive_a_broker_that_is_killed(
    own_broker: Kafka, own_log: KafkaLog, topic_prefix: str
) -> None:
    topic = f"{topic_prefix}facts"
    await own_log.create_topics([BrokerTopic(topic, 1, 1)])
    await own_log.send_many([Outgoing(topic, None, b"x" * 1_000, partition=0) for _ in range(5_000)])
    async with contextlib.aclosing(own_log.read(topic, 0, 0)) as batches:
        seen = len(await anext(batches))
        await asyncio.to_thread(own_broker.kill)
        send = asyncio.create_task(own_log.send(topic, 0, None, b"meanwhile"))
        rest = asyncio.create_task(_count(batches))
        await asyncio.to_thread(own_broker.start)
        assert await rest + seen == 5_000
    sent = await send
    assert [record.value for record in await read(own_log, topic, 0, sent.offset)] == [b"meanwhile"]
    assert await own_log.bounds(topic, 0) == (0, 5_001), "an idempotent producer writes it once"


async def test_a_send_that_fails_says_so_and_a_fresh_producer_takes_over(own_broker: Kafka, topic_prefix: str) -> None:
    log = KafkaLog(own_broker.bootstrap_servers, delivery_timeout_s=1)
    await log.start()
    topic = f"{topic_prefix}facts"
    await log.create_topics([BrokerTopic(topic, 1, 1)])
    await asyncio.to_thread(own_broker.kill)
    with pytest.raises(LogError) as lost:
        await log.send(topic, 0, None, b"lost")
    assert isinstance(lost.value, LogUnavailableError)
    await asyncio.to_thread(own_broker.start)
    sent = await log.send(topic, 0, None, b"again")
    await log.stop()
    assert sent.partition == 0


async def _count(batches: AsyncIterator[list[Record]]) -> int:
    return sum([len(batch) async for batch in batches])


async def test_a_log_that_is_stopped_as_soon_as_it_was_started_says_nothing(kafka: str) -> None:
    """A command that has nothing to ask; aiokafka cannot stop a consumer whose own task has not begun."""
    for _ in range(5):
        log = KafkaLog(kafka)
        await log.start()
        await log.stop()

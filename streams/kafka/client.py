"""Kafka without groups and without Faust: awaited sends, reads by offset, bounds."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
)

from connectors.base.errors import LogError, LogRefusedError, LogUnavailableError, log_error
from connectors.base.log import Headers, Outgoing, Record, Sent
from streams.kafka.admin import Admin
from streams.kafka.connection import Connection, abandon
from streams.kafka.log import BrokerTopic, Committed, partition_of

log = structlog.get_logger(__name__)

#: A new consumer costs a connection and some threads' worth of memory at the broker; more readers than this wait.
READERS = 4


class KafkaLog:
    """`Log` on a real broker: a few readers, an admin client, and one idempotent producer once something is sent.

    Args:
        bootstrap_servers: `host:port`, separated by commas.
        security: aiokafka's own keyword arguments (`security_protocol`, `ssl_context`, `sasl_mechanism`,
            `sasl_plain_username`, `sasl_plain_password`).
        timeout_s: How long to go on asking (and, reading, to wait for the next record) while the broker is away.
        delivery_timeout_s: How long a send may take before it counts as failed.
        linger_ms: How long a record waits for company.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        security: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = 30,
        delivery_timeout_s: float = 60,
        linger_ms: int = 2,
    ) -> None:
        self._connection = Connection(bootstrap_servers, security or {}, "b1-streams", timeout_s)
        self._delivery_timeout_s = delivery_timeout_s
        self._linger_ms = linger_ms
        self._admin = Admin(self._connection)
        self._producer: Any = None
        self._started = self._producer_broken = False
        self._renewing = asyncio.Lock()
        self._retired: set[asyncio.Task[None]] = set()
        self._bounds_consumer: Any = None
        self._idle: list[Any] = []
        self._readers = asyncio.Semaphore(READERS)

    async def start(self) -> None:
        try:
            await self._admin.start()
            self._bounds_consumer = await self._connection.consumer()
            self._started = True
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        producer, self._producer, self._started = self._producer, None, False
        if producer is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await producer.flush()
            await abandon(producer)
        if self._retired:
            await asyncio.wait(self._retired)
        consumers, self._idle = [*self._idle, self._bounds_consumer], []
        self._bounds_consumer = None
        for consumer in consumers:
            if consumer is not None:
                await consumer.stop()
        await self._admin.stop()

    # ---- sending

    async def send(
        self,
        topic: str,
        partition: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        timestamp_ms: int | None = None,
    ) -> Sent:
        return (await self.send_many([Outgoing(topic, key, value, partition, headers, timestamp_ms)]))[0]

    async def send_many(self, records: Sequence[Outgoing]) -> list[Sent]:
        if not records:
            return []
        producer = await self._working_producer()
        deadline = time.monotonic() + self._delivery_timeout_s
        futures: list[asyncio.Future[Any]] = []
        try:
            async with asyncio.timeout(self._delivery_timeout_s):
                for record in records:
                    partition = record.partition
                    if partition is None and record.key is not None:
                        partition = partition_of(record.key, len(await producer.partitions_for(record.topic)))
                    future = await producer.send(
                        record.topic, record.value, record.key, partition, record.timestamp_ms, list(record.headers)
                    )
                    future.add_done_callback(_ignore_failure)
                    futures.append(future)
        except (KafkaError, TimeoutError) as error:
            raise self._not_delivered(producer, records, error) from error
        _, late = await asyncio.wait(futures, timeout=max(0, deadline - time.monotonic()))
        if late:
            raise self._not_delivered(producer, records, TimeoutError(f"nothing in {self._delivery_timeout_s} s"))
        for future in futures:
            failure = future.exception()
            if failure is not None:
                raise self._not_delivered(producer, records, failure) from failure
        sent = [Sent(future.result().partition, future.result().offset) for future in futures]
        if any(each.offset < 0 for each in sent):
            # A retry that came after the broker had forgotten the first try: written, but it cannot say where.
            raise LogUnavailableError(f"{records[0].topic}: written, at an offset that the broker no longer knows")
        return sent

    async def partition_for(self, topic: str, key: bytes) -> int:
        producer = await self._working_producer()
        return partition_of(
            key, len(await self._connection.ask(f"look at {topic}", lambda: producer.partitions_for(topic)))
        )

    def _not_delivered(self, producer: Any, records: Sequence[Outgoing], error: BaseException) -> LogError:
        ours = isinstance(error, MessageSizeTooLargeError | TopicAuthorizationFailedError)
        if not ours and producer is self._producer:
            # Its numbering may have a gap that the broker will never accept again (aiokafka#1017): the next send gets
            # a new producer.
            self._producer_broken = True
        topics = ", ".join(sorted({record.topic for record in records}))
        return log_error(f"{topics}: not known to be delivered: {error!r}", retriable=not ours)

    async def _working_producer(self) -> Any:
        if not self._started:
            raise LogRefusedError("the log is not started, or stopped")
        if self._producer is None or self._producer_broken:
            async with self._renewing:
                if self._producer is None or self._producer_broken:
                    fresh = await self._connection.producer(self._linger_ms)
                    old, self._producer, self._producer_broken = self._producer, fresh, False
                    if old is not None:
                        log.warning("producer_renewed")
                        task = asyncio.create_task(abandon(old))
                        self._retired.add(task)
                        task.add_done_callback(self._retired.discard)
        return self._producer

    # ---- reading

    async def read(
        self, topic: str, partition: int, start: int, end: int | None = None
    ) -> AsyncGenerator[list[Record], None]:
        first, last = await self.bounds(topic, partition)
        position = max(start, first)
        stop = last if end is None else min(end, last)
        if position >= stop:
            return
        tp = TopicPartition(topic, partition)
        async with self._reader(tp, position) as consumer:
            received_at = time.monotonic()
            while position < stop:
                try:
                    fetched = (await consumer.getmany(tp, timeout_ms=500)).get(tp, ())
                except OffsetOutOfRangeError:  # retention was faster than we
                    consumer.seek(tp, (await self.bounds(topic, partition))[0])
                    continue
                batch = [_record(each) for each in fetched if each.offset < stop]
                if batch:
                    yield batch
                    received_at = time.monotonic()
                # Beyond the last record where compaction has left a gap.
                reached = await consumer.position(tp)
                if reached > position:
                    position, received_at = reached, time.monotonic()
                elif time.monotonic() - received_at > self._connection.timeout_s:
                    raise LogUnavailableError(f"{topic}-{partition}: nothing after {position} in time")

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        tp = TopicPartition(topic, partition)

        async def ask() -> tuple[int, int]:
            first, end = await asyncio.gather(
                self._bounds_consumer.beginning_offsets([tp]), self._bounds_consumer.end_offsets([tp])
            )
            return int(first[tp]), int(end[tp])

        return await self._connection.ask(f"ask for the bounds of {topic}-{partition}", ask)

    async def offset_for_time(self, topic: str, partition: int, timestamp_ms: int) -> int:
        tp = TopicPartition(topic, partition)
        found = await self._connection.ask(
            f"look for a time in {topic}-{partition}",
            lambda: self._bounds_consumer.offsets_for_times({tp: timestamp_ms}),
        )
        return found[tp].offset if found[tp] is not None else (await self.bounds(topic, partition))[1]

    @contextlib.asynccontextmanager
    async def _reader(self, tp: TopicPartition, start: int) -> AsyncIterator[Any]:
        async with self._readers:
            consumer = self._idle.pop() if self._idle else await self._connection.consumer()
            try:
                consumer.assign([tp])
                consumer.seek(tp, start)
                yield consumer
            except KafkaError as error:
                await consumer.stop()
                raise log_error(
                    f"cannot read {tp.topic}-{tp.partition}: {error!r}", retriable=error.retriable
                ) from error
            except LogError:
                await consumer.stop()
                raise
            except BaseException:
                self._return_reader(consumer, tp)
                raise
            else:
                self._return_reader(consumer, tp)

    def _return_reader(self, consumer: Any, tp: TopicPartition) -> None:
        consumer.pause(tp)
        self._idle.append(consumer)

    # ---- groups and topics

    async def committed(self, group: str) -> dict[tuple[str, int], Committed]:
        return await self._admin.committed(group)

    async def topics(self) -> dict[str, int]:
        return await self._admin.topics()

    async def create_topics(self, topics: Iterable[BrokerTopic]) -> set[str]:
        return await self._admin.create_topics(topics)

    async def topic_ids(self, names: Iterable[str]) -> dict[str, str]:
        return await self._admin.topic_ids(names)

    async def describe(self, names: Iterable[str]) -> dict[str, BrokerTopic]:
        return await self._admin.describe(names)

    async def configure(self, topic: str, configs: Mapping[str, str]) -> None:
        await self._admin.configure(topic, configs)

    async def delete_records(self, topic: str, partition: int, before: int) -> None:
        await self._admin.delete_records(topic, partition, before)


def _ignore_failure(future: "asyncio.Future[Any]") -> None:
    """Keep the event loop from reporting a delivery that fails after its sender has gone."""
    if not future.cancelled():
        future.exception()


def _record(each: Any) -> Record:
    return Record(each.topic, each.partition, each.offset, each.timestamp, each.key, each.value, each.headers)

"""Kafka as the rest of the code sees it: awaited sends, reads by offset, bounds, topics. No groups, no Faust."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.partitioner import murmur2

log = structlog.get_logger(__name__)

Headers = Sequence[tuple[str, bytes]]
T = TypeVar("T")

#: A new consumer costs a connection and some threads' worth of memory at the broker; more readers than this wait.
READERS = 4
#: Bytes of one batch of a producer and of one fetch of a reader.
_BATCH_BYTES = 256 * 1024
_REQUEST_BYTES = 4 * 1024 * 1024 + 64 * 1024  # the largest record of schemas.topics, and what stands around it
_FETCH_BYTES = 1024 * 1024
_RETRY_S = 0.2


class LogError(Exception):
    """Kafka did not do what was asked, or did not say so in time.

    Attributes:
        retriable: The same call may succeed later. After a failed send nobody knows whether the record lies in the log:
            sending it again may write it twice, and its readers must know it by its identity.
    """

    def __init__(self, message: str, *, retriable: bool) -> None:
        super().__init__(message)
        self.retriable = retriable


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it lies in a partition; `timestamp_ms` is Unix time, set by whoever published it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to send; see `Log.send`."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    headers: Headers = ()
    timestamp_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """Where the broker has put a record."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Committed:
    """What a group has committed for a partition: the next offset to process, and what it wrote beside it."""

    offset: int
    metadata: str


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic to make, or as it is. `configs` are Kafka's own topic settings, all of them when read from the broker."""

    name: str
    partitions: int
    replication: int
    configs: Mapping[str, str] = field(default_factory=dict)


class Log(Protocol):
    """The broker, to those who send, read and look; `KafkaLog` is the real one.

    Every method may raise `LogError`.
    """

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Deliver what was sent, as far as the broker lets us within seconds, and disconnect."""

    async def send(
        self,
        topic: str,
        partition: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        timestamp_ms: int | None = None,
    ) -> Sent:
        """Send one record and wait until all in-sync replicas have it.

        Args:
            topic: An existing topic.
            partition: None: by the key (`partition_for`), or any when there is no key.
            key: Ordering and compaction go by it.
            value: None is a tombstone; it needs a key.
            headers: May repeat names.
            timestamp_ms: Unix time; None: now.
        """

    async def send_many(self, records: Sequence[Outgoing]) -> list[Sent]:
        """Send records, in order within each partition, and wait for all of them; answers in the same order."""

    async def partition_for(self, topic: str, key: bytes) -> int:
        """The partition in which every producer of ours puts this key."""

    def read(
        self, topic: str, partition: int, start: int, end: int | None = None
    ) -> AsyncGenerator[list[Record], None]:
        """Read a range without a group, in batches and in order.

        Close it when leaving early (`contextlib.aclosing`): it holds one of a few connections.

        Args:
            topic: An existing topic.
            partition: One of its partitions.
            start: First offset; when the log starts later, reading does too (see `bounds`).
            end: Offset to stop before; at most, and by default, the end at the time of the call.
        """

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """The first offset that is still there, and the one that the next record will get."""

    async def offset_for_time(self, topic: str, partition: int, timestamp_ms: int) -> int:
        """The first offset whose record is of this time (Unix) or later; the end when there is none."""

    async def committed(self, group: str) -> dict[tuple[str, int], Committed]:
        """All that a group has committed, by topic and partition."""

    async def topics(self) -> dict[str, int]:
        """Number of partitions of each topic, Kafka's own topics aside."""

    async def create_topics(self, topics: Iterable[Topic]) -> set[str]:
        """Make topics and wait until they can be used; the names of those that were not there before."""

    async def describe(self, names: Iterable[str]) -> dict[str, Topic]:
        """Topics as they are; those that do not exist are left out."""

    async def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Let Kafka forget the records before this offset."""


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, as Kafka's own clients have it (murmur2)."""
    number: int = murmur2(key)  # type: ignore[no-untyped-call]  # aiokafka has no types
    return (number & 0x7FFFFFFF) % partitions


def calm(client: Any) -> None:
    """Let aiokafka take breath when every broker refuses: else it asks for metadata 2,700 times a second."""
    update = client._metadata_update

    async def update_calmly(*arguments: Any) -> Any:
        done = await update(*arguments)
        if not done:
            await asyncio.sleep(0.5)
        return done

    client._metadata_update = update_calmly


class KafkaLog:
    """`Log` on a real broker: one idempotent producer, a few readers, an admin client.

    Args:
        bootstrap_servers: `host:port`, separated by commas.
        security: aiokafka's own keyword arguments (`security_protocol`, `ssl_context`, `sasl_mechanism`,
            `sasl_plain_username`, `sasl_plain_password`).
        client_id: Seen in the broker's logs and quotas.
        timeout_s: How long to go on asking (and, reading, to wait for the next record) while the broker is away.
        delivery_timeout_s: How long a send may take before it counts as failed.
        linger_ms: How long a record waits for company.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        security: Mapping[str, Any] | None = None,
        *,
        client_id: str = "b1-streams",
        timeout_s: float = 30,
        delivery_timeout_s: float = 60,
        linger_ms: int = 2,
    ) -> None:
        self._connection = {"bootstrap_servers": bootstrap_servers, "client_id": client_id, **(security or {})}
        self._timeout_s = timeout_s
        self._delivery_timeout_s = delivery_timeout_s
        self._linger_ms = linger_ms
        self._producer: Any = None
        self._producer_broken = False
        self._renewing = asyncio.Lock()
        self._retired: set[asyncio.Task[None]] = set()
        self._admin: Any = None
        self._asker: Any = None
        self._idle: list[Any] = []
        self._slots = asyncio.Semaphore(READERS)

    async def start(self) -> None:
        try:
            self._admin = await self._ask("connect", self._new_admin)
            self._asker = await self._ask("connect", self._new_consumer)
            self._producer = await self._ask("connect", self._new_producer)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await producer.flush()
            await _abandon(producer)
        if self._retired:
            await asyncio.wait(self._retired)
        consumers, self._idle = [*self._idle, self._asker], []
        self._asker = None
        for consumer in consumers:
            if consumer is not None:
                await consumer.stop()
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.close()

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
                    future.add_done_callback(_look_at)
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
            raise LogError(f"{records[0].topic}: written, at an offset that the broker no longer knows", retriable=True)
        return sent

    async def partition_for(self, topic: str, key: bytes) -> int:
        producer = await self._working_producer()
        return partition_of(key, len(await self._ask(f"look at {topic}", lambda: producer.partitions_for(topic))))

    def _not_delivered(self, producer: Any, records: Sequence[Outgoing], error: BaseException) -> LogError:
        ours = isinstance(error, MessageSizeTooLargeError | TopicAuthorizationFailedError)
        if not ours and producer is self._producer:
            # Its numbering may have a gap that the broker will never accept again (aiokafka#1017): the next send gets
            # a new producer.
            self._producer_broken = True
        topics = ", ".join(sorted({record.topic for record in records}))
        return LogError(f"{topics}: not known to be delivered: {error!r}", retriable=not ours)

    async def _working_producer(self) -> Any:
        if self._producer_broken:
            async with self._renewing:
                if self._producer_broken:
                    fresh = await self._ask("connect", self._new_producer)
                    old, self._producer, self._producer_broken = self._producer, fresh, False
                    log.warning("producer_renewed")
                    task = asyncio.create_task(_abandon(old))
                    self._retired.add(task)
                    task.add_done_callback(self._retired.discard)
        if self._producer is None:
            raise LogError("the log is not started, or stopped", retriable=False)
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
            heard = time.monotonic()
            while position < stop:
                try:
                    fetched = (await consumer.getmany(tp, timeout_ms=500)).get(tp, ())
                except OffsetOutOfRangeError:  # retention was faster than we
                    consumer.seek(tp, (await self.bounds(topic, partition))[0])
                    continue
                batch = [_record(each) for each in fetched if each.offset < stop]
                if batch:
                    yield batch
                    heard = time.monotonic()
                # Beyond the last record where compaction has left a gap.
                reached = await consumer.position(tp)
                if reached > position:
                    position, heard = reached, time.monotonic()
                elif time.monotonic() - heard > self._timeout_s:
                    raise LogError(f"{topic}-{partition}: nothing after {position} in time", retriable=True)

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        tp = TopicPartition(topic, partition)

        async def ask() -> tuple[int, int]:
            first, end = await asyncio.gather(self._asker.beginning_offsets([tp]), self._asker.end_offsets([tp]))
            return int(first[tp]), int(end[tp])

        return await self._ask(f"ask for the bounds of {topic}-{partition}", ask)

    async def offset_for_time(self, topic: str, partition: int, timestamp_ms: int) -> int:
        tp = TopicPartition(topic, partition)
        found = await self._ask(
            f"look for a time in {topic}-{partition}", lambda: self._asker.offsets_for_times({tp: timestamp_ms})
        )
        return found[tp].offset if found[tp] is not None else (await self.bounds(topic, partition))[1]

    @contextlib.asynccontextmanager
    async def _reader(self, tp: TopicPartition, start: int) -> AsyncIterator[Any]:
        async with self._slots:
            consumer = self._idle.pop() if self._idle else await self._ask("connect", self._new_consumer)
            try:
                consumer.assign([tp])
                consumer.seek(tp, start)
                yield consumer
            except KafkaError as error:
                await consumer.stop()
                raise LogError(
                    f"cannot read {tp.topic}-{tp.partition}: {error!r}", retriable=error.retriable
                ) from error
            except LogError:
                await consumer.stop()
                raise
            except BaseException:
                self._lay_by(consumer, tp)
                raise
            else:
                self._lay_by(consumer, tp)

    def _lay_by(self, consumer: Any, tp: TopicPartition) -> None:
        consumer.pause(tp)
        self._idle.append(consumer)

    # ---- groups and topics

    async def committed(self, group: str) -> dict[tuple[str, int], Committed]:
        found = await self._ask(
            f"ask what {group} has committed", lambda: self._admin.list_consumer_group_offsets(group)
        )
        return {(tp.topic, tp.partition): Committed(at.offset, at.metadata or "") for tp, at in found.items()}

    async def topics(self) -> dict[str, int]:
        found = await self._ask("list the topics", self._admin.describe_topics)
        return {each["topic"]: len(each["partitions"]) for each in found if not each["is_internal"]}

    async def create_topics(self, topics: Iterable[Topic]) -> set[str]:
        wanted = {each.name: each for each in topics}
        if not wanted:
            return set()
        new = [
            NewTopic(t.name, t.partitions, t.replication, topic_configs=dict(t.configs))  # type: ignore[no-untyped-call]  # aiokafka has no types
            for t in wanted.values()
        ]
        answer = await self._ask("create topics", lambda: self._admin.create_topics(new))
        created = set()
        for name, code, *message in answer.topic_errors:
            error = for_code(code)
            if code == 0:
                created.add(name)
            elif error is not TopicAlreadyExistsError:
                raise LogError(f"cannot create {name}: {error.__name__} {message[0] or ''}", retriable=error.retriable)

        async def usable() -> None:
            found = await self._admin.describe_topics(list(wanted))
            led = {
                each["topic"]
                for each in found
                if each["partitions"] and all(partition["leader"] >= 0 for partition in each["partitions"])
            }
            if led != set(wanted):
                raise TimeoutError(f"no leader yet: {sorted(set(wanted) - led)}")

        await self._ask("wait for the topics", usable)
        return created

    async def describe(self, names: Iterable[str]) -> dict[str, Topic]:
        wanted = set(names)
        found = await self._ask("list the topics", self._admin.describe_topics)
        there = {each["topic"]: each["partitions"] for each in found if each["topic"] in wanted}
        if not there:
            return {}
        resources = [
            ConfigResource(ConfigResourceType.TOPIC, name)  # type: ignore[no-untyped-call]  # aiokafka has no types
            for name in sorted(there)
        ]
        answers = await self._ask("read topic settings", lambda: self._admin.describe_configs(resources))
        configs = {
            name: {entry[0]: entry[1] for entry in entries}
            for answer in answers
            for _code, _message, _kind, name, entries in answer.resources
        }
        return {
            name: Topic(name, len(partitions), min(len(p["replicas"]) for p in partitions), configs[name])
            for name, partitions in there.items()
        }

    async def delete_records(self, topic: str, partition: int, before: int) -> None:
        wanted = {TopicPartition(topic, partition): RecordsToDelete(before)}  # type: ignore[no-untyped-call]  # aiokafka has no types
        await self._ask(f"delete records of {topic}-{partition}", lambda: self._admin.delete_records(wanted))

    # ---- the clients

    async def _ask(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until there is an answer, an error that stays, or no time left."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                async with asyncio.timeout(max(0.1, deadline - time.monotonic())):
                    return await ask()
            except (KafkaError, OSError, TimeoutError) as error:
                stays = isinstance(error, KafkaError) and not error.retriable
                if stays or time.monotonic() + _RETRY_S > deadline:
                    raise LogError(f"could not {what}: {error!r}", retriable=not stays) from error
                await asyncio.sleep(_RETRY_S)

    async def _new_producer(self) -> Any:
        return await _started(
            AIOKafkaProducer(  # type: ignore[no-untyped-call]  # aiokafka has no types
                **self._connection,
                acks="all",
                enable_idempotence=True,
                compression_type="zstd",  # cramjam's lz4 takes four times as long for the same ratio
                linger_ms=self._linger_ms,
                max_batch_size=_BATCH_BYTES,
                max_request_size=_REQUEST_BYTES,
                request_timeout_ms=30_000,
            )
        )

    async def _new_consumer(self) -> Any:
        return await _started(
            AIOKafkaConsumer(  # type: ignore[no-untyped-call]  # aiokafka has no types
                **self._connection,
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="none",
                max_partition_fetch_bytes=_FETCH_BYTES,
                fetch_max_wait_ms=100,
            )
        )

    async def _new_admin(self) -> Any:
        admin: Any = AIOKafkaAdminClient(**self._connection)
        calm(admin._client)
        try:
            await admin.start()
        except BaseException:
            await admin.close()
            raise
        return admin


async def _started(client: Any) -> Any:
    calm(client.client if isinstance(client, AIOKafkaProducer) else client._client)
    try:
        await client.start()
    except BaseException:
        await client.stop()
        raise
    return client


async def _abandon(producer: Any) -> None:
    """Stop a producer that may wait for a broker for ever; what it has not delivered has failed."""
    producer._message_accumulator.fail_all(KafkaError("the producer is being closed"))
    with contextlib.suppress(TimeoutError, KafkaError):
        async with asyncio.timeout(10):
            await producer.stop()


def _look_at(future: "asyncio.Future[Any]") -> None:
    """A delivery that fails after its sender has gone is no news to the event loop."""
    if not future.cancelled():
        future.exception()


def _record(each: Any) -> Record:
    return Record(each.topic, each.partition, each.offset, each.timestamp, each.key, each.value, each.headers)

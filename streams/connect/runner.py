"""`streams connect`: any number of processes that share the connectors through Kafka's group membership.

A connector belongs to the partition of `connector-cursors` that its name hashes to, and runs where that partition is.
The group only says who should; that two never both count is the cursor chain's work (`connectors/base/cursors.py`).
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from connectors.base.clock import Clock, SystemClock
from connectors.base.cursors import CURSORS, Cursors, LostRaceError, Position, connector_of, owner_of, partition_of
from connectors.base.dead_letters import DeadLetters
from connectors.base.errors import FatalError, RetriableError
from connectors.base.metrics import ConnectorMetrics, NoMetrics
from connectors.base.publisher import Outgoing, Publisher, Sent, Stored
from connectors.base.settings import ConnectorSettings
from connectors.registry import KINDS
from connectors.runtime import Runtime, wait
from connectors.webhooks import Server, WebhookIngest, WebhookServer
from schemas.codec import Codec, embedded_codec
from streams.config.load import Config
from streams.kafka import client as kafka
from streams.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

#: A process that is gone is noticed after this; its connectors then start elsewhere.
SESSION_S = 10.0
#: What a connector may take to see its batch through when it has to let go: below the session, so that the group waits.
#: What takes longer is cut off, and done again by whoever comes next.
RELEASE_S = 5.0
_LOOK_S = 0.5


class LogBroker:
    """The log, as connectors know it: their records, and their errors."""

    def __init__(self, log: kafka.Log) -> None:
        self._log = log

    async def send_many(self, records: Sequence[Outgoing]) -> Sequence[Sent]:
        try:
            # Field by field the log's own; to copy every record would cost a tenth of sending it.
            return await self._log.send_many(cast(Sequence[kafka.Outgoing], records))
        except kafka.LogError as error:
            raise _translated(error) from error

    async def read(self, topic: str, partition: int, start: int, end: int) -> AsyncGenerator[Sequence[Stored], None]:
        try:
            async with aclosing(self._log.read(topic, partition, start, end)) as batches:
                async for batch in batches:
                    yield batch
        except kafka.LogError as error:
            raise _translated(error) from error

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        try:
            return await self._log.bounds(topic, partition)
        except kafka.LogError as error:
            raise _translated(error) from error


def _translated(error: kafka.LogError) -> RetriableError | FatalError:
    return RetriableError(str(error)) if error.retriable else FatalError(str(error))


async def run(
    config: Config,
    stop: asyncio.Event,
    *,
    log: kafka.Log,
    metrics: Metrics,
    codec: Codec | None = None,
    clock: Clock | None = None,
) -> None:
    """Run the connectors that fall to this process, until told to stop.

    Args:
        config: Names them.
        stop: Set: finish the batches under way, leave the group, return.
        log: Started, and not stopped here.
        metrics: Counts into `metrics.sources`; `metrics.vitals` is ready once the group has answered.
        codec: Of the configured registry; by default of the embedded one.
        clock: By default the machine's.

    Raises:
        FatalError: A connector cannot go on without a person, or the configuration lacks one that has been here.
        RetriableError: Kafka did not answer when we started.
    """
    broker = LogBroker(log)
    await check_orphans(config, broker)
    stage = ConnectorFactory(config, broker, codec or embedded_codec(), clock or SystemClock(), metrics.sources)
    crew = ConnectorGroup(config, stage.runtime)
    door = stage.door(crew.wake)
    metrics.vitals.expect("connect", "waits for its share of the connectors")
    listener = _Listener(crew, lambda: metrics.vitals.ready("connect"))
    consumer: Any = AIOKafkaConsumer(
        bootstrap_servers=config.kafka.bootstrap_servers,
        client_id="b1-streams-connect",
        group_id=f"{config.group}-connect",
        enable_auto_commit=False,
        auto_offset_reset="latest",
        session_timeout_ms=int(SESSION_S * 1000),
        heartbeat_interval_ms=1000,
        **config.kafka.security(),
    )  # type: ignore[no-untyped-call]  # aiokafka has no types
    kafka.calm(consumer._client)
    consumer.subscribe([config.topic(CURSORS)], listener=listener)
    try:
        if door is not None:
            await door.start()
        await _unless(stop, consumer.start())  # joining a group whose members have just died takes a session or two
        while not stop.is_set() and not crew.failed.done():
            # The group takes a member that does not fetch for dead; what comes is the connectors' own and not for us.
            try:
                await consumer.getmany(timeout_ms=int(_LOOK_S * 1000))
            except KafkaError as error:
                if not error.retriable:
                    raise FatalError(f"Kafka refuses the group {config.group}-connect: {error!r}") from error
                await asyncio.sleep(_LOOK_S)
            metrics.vitals.beat("connect")
    except KafkaError as error:
        raise RetriableError(f"Kafka did not answer: {error!r}") from error
    finally:
        if door is not None:
            await door.stop()
        await crew.close()
        await consumer.stop()
        metrics.vitals.end("connect")
    if crew.failed.done():
        crew.failed.result()


async def _unless(stop: asyncio.Event, call: Coroutine[Any, Any, None]) -> None:
    """See a call through, or leave it when we are told to stop."""
    calling, stopping = asyncio.ensure_future(call), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({calling, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if calling.done():
            calling.result()
    finally:
        calling.cancel()
        stopping.cancel()
        await asyncio.gather(calling, stopping, return_exceptions=True)


async def check_orphans(config: Config, broker: LogBroker) -> None:
    """Refuse to start where a connector that has been here is no longer in the configuration (design section 16.11).

    Raises:
        FatalError: With the names, and what to do.
        RetriableError: Kafka did not answer.
    """
    topic = config.topic(CURSORS)
    found: dict[str, set[bytes]] = {}
    for partition in range(config.kafka.partitions):
        start, end = await broker.bounds(topic, partition)
        async with aclosing(broker.read(topic, partition, start, end)) as batches:
            async for batch in batches:
                for stored in batch:
                    cursor = connector_of(stored.key) if stored.key is not None else None
                    if cursor is None or stored.key is None or (name := owner_of(cursor)) in config.connectors:
                        continue
                    if stored.value is None:
                        found.get(name, set()).discard(stored.key)
                    else:
                        found.setdefault(name, set()).add(stored.key)
    orphans = sorted(name for name, keys in found.items() if keys)
    if orphans:
        names = ", ".join(orphans)
        raise FatalError(
            f"{topic} knows connectors that the configuration does not: {names}. A connector's name is part of the "
            "identity of its events, so under a new name everything would be read and posted again. Give the connector "
            "its old name back; if it is gone for good, keep its section with enabled = false"
        )


async def positions(config: Config, log: kafka.Log, codec: Codec) -> dict[str, Position]:
    """Where every connector stands, with the levels that ended there as no-ops; nobody is disturbed.

    Raises:
        RetriableError: Kafka did not answer.
        FatalError: A cursor cannot be read.
    """
    stage = ConnectorFactory(config, LogBroker(log), codec, SystemClock(), NoMetrics())
    found = {name: stage.cursors(name) for name in config.connectors}
    for cursors in found.values():
        await cursors.look()
    return {name: cursors.position for name, cursors in found.items()}


@dataclass(frozen=True, slots=True)
class ConnectorFactory:
    """What the connectors of a process share."""

    config: Config
    broker: LogBroker
    codec: Codec
    clock: Clock
    metrics: ConnectorMetrics

    def cursors(self, name: str) -> Cursors:
        topic, partition = self.config.topic(CURSORS), partition_of(name, self.config.kafka.partitions)
        return Cursors(name, self.broker, self.codec, self.clock, topic=topic, partition=partition)

    def door(self, wake: Callable[[str], None]) -> Server | None:
        """Where vendors push to; None where no connector has a webhook."""
        connectors = [(name, each) for name, each in self.config.connectors.items() if each.enabled]
        hooks = [hook for name, each in connectors if (hook := KINDS[each.kind].hook(name, each)) is not None]
        if not hooks:
            return None
        topic, settings = self.config.topic, self.config.webhooks
        publisher = Publisher(self.broker, self.codec, self.clock, topic)
        letters = DeadLetters(self.broker, self.codec, self.clock, topic, self.config.company_partition)
        intake = WebhookIngest(publisher, letters, self.metrics)
        return Server(WebhookServer(hooks, intake, self.clock, settings, wake=wake).app, settings)

    def runtime(self, name: str, settings: ConnectorSettings) -> Runtime:
        topic = self.config.topic
        return Runtime(
            KINDS[settings.kind].source(name, settings, self.clock),
            cursors=self.cursors(name),
            publisher=Publisher(self.broker, self.codec, self.clock, topic),
            letters=DeadLetters(self.broker, self.codec, self.clock, topic, self.config.company_partition),
            metrics=self.metrics,
            poll_interval_s=settings.poll_interval_s,
        )


class ConnectorGroup:
    """The connectors that run in this process.

    Lifecycle: `take` partitions, `release` all, as often as the group changes; `close` once.

    Attributes:
        failed: Done when a connector has ended with an error; the process has to stop.
    """

    def __init__(self, config: Config, runtime: Callable[[str, ConnectorSettings], Runtime]) -> None:
        self._connectors: Mapping[str, ConnectorSettings] = config.connectors
        self._partitions = config.kafka.partitions
        self._runtime = runtime
        self._running: dict[str, tuple[asyncio.Event, asyncio.Task[None]]] = {}
        self._runtimes: dict[str, Runtime] = {}
        self._closed = False
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self, partitions: Collection[int]) -> None:
        """Start the connectors of these partitions; none once closed: the group may change while we leave it."""
        if self._closed:
            return
        for name, settings in self._connectors.items():
            if settings.enabled and partition_of(name, self._partitions) in partitions and name not in self._running:
                stop = asyncio.Event()
                task = asyncio.create_task(self._tend(name, settings, stop), name=f"connector {name}")
                task.add_done_callback(self._look_at)
                self._running[name] = stop, task
                log.info("connector_started", connector=name)

    def wake(self, name: str) -> None:
        """Let a connector look now, if it runs here; elsewhere its poll comes to it."""
        if name in self._running and name in self._runtimes:
            self._runtimes[name].wake()

    async def release(self) -> None:
        """Stop all of them: after their batches where those end in time, else at once."""
        running, self._running = self._running, {}
        if not running:
            return
        for stop, _ in running.values():
            stop.set()
        tasks = [task for _, task in running.values()]
        _, late = await asyncio.wait(tasks, timeout=RELEASE_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        log.info("connectors_stopped", items=sorted(running), count=len(running), failures=len(late))

    async def close(self) -> None:
        """Stop all of them for good."""
        self._closed = True
        await self.release()

    async def _tend(self, name: str, settings: ConnectorSettings, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                self._runtimes[name] = self._runtime(name, settings)
                await self._runtimes[name].run(stop)
            except LostRaceError as error:
                # Whoever has it now runs it. If the group still says that it is ours by then, we take it back.
                log.warning("connector_taken_over", connector=name, error=str(error))
                await wait(stop, SESSION_S)

    def _look_at(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.failed.done():
            log.error("connector_ended", connector=task.get_name(), error=str(error))
            self.failed.set_exception(error)
            self.failed.exception()  # whoever looks at it later, it is not lost news to the event loop


class _Listener(ConsumerRebalanceListener):
    def __init__(self, crew: ConnectorGroup, on_answer: Callable[[], None]) -> None:
        self._crew = crew
        self._on_answer = on_answer

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._crew.release()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._crew.take({each.partition for each in assigned})
        self._on_answer()

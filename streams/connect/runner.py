"""`streams connect`: any number of processes that share the connectors through Kafka's group membership.

A connector belongs to the partition of `connector-cursors` that its name hashes to, and runs where that partition is.
The group only says who should; that two never both count is the cursor chain's work (`connectors/base/cursors.py`).
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from connectors.base.clock import SystemClock
from connectors.base.cursors import CURSORS
from connectors.base.errors import FatalError, RetriableError
from schemas.codec import Codec
from streams.config.load import Config
from streams.connect.group import SESSION_S, CompanyFeeds, ConnectorFactory, ConnectorGroup
from streams.connect.retire import check_orphans
from streams.kafka.connection import slow_down_refused_updates
from streams.kafka.log import Log
from streams.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_LOOK_S = 0.5


async def run(config: Config, stop: asyncio.Event, *, log: Log, metrics: Metrics, codec: Codec) -> None:
    """Run the connectors that fall to this process, until `stop` is set.

    Args:
        config: Names them.
        stop: Set: finish the batches under way, leave the group, return.
        log: Started, and not stopped here.
        metrics: Counts into `metrics.sources`; `metrics.vitals` is ready once the group has answered.
        codec: Of the configured registry.

    Raises:
        FatalError: Kafka refuses us, or the configuration lacks a connector that has been here.
        RetriableError: Kafka did not answer when we started.
    """
    broker = log
    await check_orphans(config, broker)
    factory = ConnectorFactory(config, broker, codec, SystemClock(), metrics.sources, metrics.components)
    feeds = CompanyFeeds(factory)
    group = ConnectorGroup(
        config, factory.runtime, metrics.components, lambda name, settings: factory.deliverer(name, settings, feeds)
    )
    webhooks = factory.door(group.wake)
    metrics.vitals.expect("connect", "waits for its share of the connectors")
    listener = _Listener(group, lambda: metrics.vitals.ready("connect"))
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
    slow_down_refused_updates(consumer._client)
    consumer.subscribe([config.topic(CURSORS)], listener=listener)
    try:
        if webhooks is not None:
            await webhooks.start()
        await _unless(stop, consumer.start())  # joining a group whose members have just died takes a session or two
        while not stop.is_set() and not group.failed.done():
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
        if webhooks is not None:
            await webhooks.stop()
        await group.close()
        await consumer.stop()
        metrics.vitals.end("connect")
    if group.failed.done():
        group.failed.result()


async def _unless(stop: asyncio.Event, call: Coroutine[Any, Any, None]) -> None:
    """See a call through, or leave it when `stop` is set."""
    calling, stopping = asyncio.ensure_future(call), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({calling, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if calling.done():
            calling.result()
    finally:
        calling.cancel()
        stopping.cancel()
        await asyncio.gather(calling, stopping, return_exceptions=True)


class _Listener(ConsumerRebalanceListener):
    def __init__(self, group: ConnectorGroup, on_answer: Callable[[], None]) -> None:
        self._group = group
        self._on_answer = on_answer

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._group.release()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._group.take({each.partition for each in assigned})
        self._on_answer()

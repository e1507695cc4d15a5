"""aiokafka's consumer, in the thread where Faust runs it."""

from collections.abc import Collection, Mapping
from typing import Any

from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import CommitFailedError, IllegalStateError, NoOffsetForPartitionError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.faust_host.settings import FETCH_WAIT_S
from streams.kafka.connection import slow_down_refused_updates
from streams.kafka.decompression import bound_decompression
from streams.ports import RawRecord


class RawFetches(dict[Any, Any]):
    """What aiokafka has fetched, by partition, its records left as they were decoded.

    To make a `ConsumerRecord` of each takes as long again as to decode it.
    """

    def __setitem__(self, tp: Any, fetched: Any) -> None:
        if isinstance(fetched, FetchResult):
            fetched._partition_records._consumer_record = _unchanged
        super().__setitem__(tp, fetched)


def _unchanged(_tp: Any, record: RawRecord) -> RawRecord:
    return record


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """aiokafka's consumer in its own thread; these methods run there."""

    async def on_start(self) -> None:
        bound_decompression()
        await super().on_start()
        consumer: Any = self._ensure_consumer()
        consumer._fetcher._records = RawFetches()

    def _create_worker_consumer(self, transport: driver.Transport) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = int(FETCH_WAIT_S * 1000)
        slow_down_refused_updates(consumer._client)
        return consumer

    async def _fetch_records(self, *arguments: Any, **named: Any) -> Any:
        try:
            return await super()._fetch_records(*arguments, **named)
        except NoOffsetForPartitionError:  # a partition without a commit, before its start is sought
            return {}

    async def fetch_committed(self, tps: Collection[TP]) -> dict[TP, OffsetAndMetadata]:
        coordinator: Any = self._ensure_consumer()._coordinator
        found = await coordinator.fetch_committed_offsets([driver.ensure_aiokafka_TP(tp) for tp in tps])
        return {TP(tp.topic, tp.partition): committed for tp, committed in found.items()}

    async def commit_watermarks(self, offsets: Mapping[TP, OffsetAndMetadata], generation: int) -> bool:
        """Commit as a member of `generation`, or not at all.

        aiokafka commits with whatever membership it has; without one (just expelled) the broker takes the commit of an
        empty group, and an old watermark would replace what others have committed since.
        """
        consumer: Any = self._ensure_consumer()
        if consumer._coordinator.generation != generation:
            return False
        try:
            await consumer.commit({driver.ensure_aiokafka_TP(tp): offset for tp, offset in offsets.items()})
        except (CommitFailedError, IllegalStateError) as error:
            self.log.info("Not committed, the group has moved on: %r", error)
            return False
        return True

    async def ends_and_positions(self, tps: Collection[TP]) -> tuple[dict[TP, int], dict[TP, int]]:
        """Ends of partitions, and the positions of the fetcher where it has one."""
        consumer: Any = self._ensure_consumer()
        ends = await consumer.end_offsets([driver.ensure_aiokafka_TP(tp) for tp in tps])
        subscription = consumer._subscription.subscription
        states = subscription.assignment._tp_state if subscription and subscription.assignment else {}
        positions = {TP(*tp): state.position for tp, state in states.items() if state.has_valid_position}
        return {TP(*tp): end for tp, end in ends.items()}, positions

    async def keep_membership(self) -> None:
        """Fetching nothing on purpose is not idleness (`broker_max_poll_interval`)."""
        with self._ensure_consumer()._subscription.fetch_context():
            pass

"""A topic read by a consumer group, with positions that are committed by hand and words beside them."""

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from connectors.base.errors import log_error
from connectors.base.log import Record
from streams.kafka.connection import Connection
from streams.kafka.log import Committed


class GroupConsumer:
    """One member of a group on one topic. Lifecycle: `start`; `poll` and `commit`; `stop`.

    Attributes:
        assigned: The partitions that are ours, each with a number that changes when it comes back.
    """

    def __init__(self, connection: Connection, topic: str, group: str) -> None:
        self._connection, self._topic, self._group = connection, topic, group
        self._consumer: Any = None
        self._assignments = 0
        self.assigned: dict[int, int] = {}

    async def start(self) -> None:
        """Join.

        Raises:
            LogError: The broker does not let us.
        """
        self._consumer = await self._connection.group_consumer(self._group)
        self._consumer.subscribe([self._topic], listener=_Assignments(self))

    async def stop(self) -> None:
        """Leave; the others take over at once."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(KafkaError):
                await consumer.stop()

    async def poll(self, timeout_s: float) -> list[Record]:
        """What has come, in order within each partition; nothing after `timeout_s`.

        Raises:
            LogError: The group cannot be read.
        """
        try:
            fetched = await self._consumer.getmany(timeout_ms=int(timeout_s * 1000), max_records=1_000)
        except KafkaError as error:
            raise log_error(f"cannot read {self._topic}: {error!r}", retriable=error.retriable) from error
        return [
            Record(each.topic, each.partition, each.offset, each.timestamp, each.key, each.value, each.headers)
            for records in fetched.values()
            for each in records
        ]

    async def commit(self, positions: Mapping[int, Committed]) -> None:
        """Commit; where the partition has gone to somebody else, nothing.

        Raises:
            LogError: The broker does not answer.
        """
        try:
            await self._consumer.commit(
                {
                    TopicPartition(self._topic, partition): OffsetAndMetadata(place.offset, place.metadata)
                    for partition, place in positions.items()
                }
            )
        except (CommitFailedError, IllegalStateError):
            return
        except KafkaError as error:
            raise log_error(f"cannot commit {self._topic}: {error!r}", retriable=error.retriable) from error

    def take(self, partitions: Iterable[int]) -> None:
        """They are ours from now on."""
        for partition in partitions:
            self._assignments += 1
            self.assigned[partition] = self._assignments

    def give(self, partitions: Iterable[int]) -> None:
        """They are ours no longer."""
        for partition in partitions:
            self.assigned.pop(partition, None)


class _Assignments(ConsumerRebalanceListener):
    def __init__(self, reader: GroupConsumer) -> None:
        self._reader = reader

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._reader.give(each.partition for each in revoked)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._reader.take(each.partition for each in assigned)

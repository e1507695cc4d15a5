"""aiokafka's clients, made as we need them, and questions to the broker that are asked until there is an answer."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from connectors.base.errors import log_error
from streams.kafka.decompression import bound_decompression

T = TypeVar("T")

#: Bytes of one batch of a producer and of one fetch of a reader.
_BATCH_BYTES = 256 * 1024
_REQUEST_BYTES = 4 * 1024 * 1024 + 64 * 1024  # the largest record of schemas.topics, and what stands around it
_FETCH_BYTES = 1024 * 1024
_RETRY_DELAY_S = 0.2
_REFUSED_DELAY_S = 0.5


class Connection:
    """How the broker is reached; makes clients and asks questions.

    Args:
        bootstrap_servers: `host:port`, separated by commas.
        security: aiokafka's own keyword arguments.
        client_id: Seen in the broker's logs and quotas.
        timeout_s: How long to go on asking while the broker is away.
    """

    def __init__(self, bootstrap_servers: str, security: Mapping[str, Any], client_id: str, timeout_s: float) -> None:
        bound_decompression()
        self._arguments = {"bootstrap_servers": bootstrap_servers, "client_id": client_id, **security}
        self.timeout_s = timeout_s

    async def ask(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until there is an answer.

        Args:
            what: Completes "could not ...".
            ask: Called again after each error that may pass.

        Raises:
            LogError: An error that stays, or no time left.
        """
        deadline = time.monotonic() + self.timeout_s
        while True:
            try:
                async with asyncio.timeout(max(0.1, deadline - time.monotonic())):
                    return await ask()
            except (KafkaError, OSError, TimeoutError) as error:
                stays = isinstance(error, KafkaError) and not error.retriable
                if stays or time.monotonic() + _RETRY_DELAY_S > deadline:
                    raise log_error(f"could not {what}: {error!r}", retriable=not stays) from error
                await asyncio.sleep(_RETRY_DELAY_S)

    async def producer(self, linger_ms: int) -> Any:
        """A started idempotent producer; a record waits `linger_ms` for company."""
        return await self.ask("connect", lambda: self._new_producer(linger_ms))

    async def consumer(self) -> Any:
        """A started consumer without a group."""
        return await self.ask("connect", self._new_consumer)

    async def group_consumer(self, group: str) -> Any:
        """A started consumer of a group; it begins at the oldest record where the group has committed nothing."""
        return await self.ask("connect", lambda: self._new_group_consumer(group))

    async def admin(self) -> Any:
        """A started admin client."""
        return await self.ask("connect", self._new_admin)

    async def _new_producer(self, linger_ms: int) -> Any:
        producer = AIOKafkaProducer(  # type: ignore[no-untyped-call]  # aiokafka has no types
            **self._arguments,
            acks="all",
            enable_idempotence=True,
            compression_type="zstd",  # cramjam's lz4 takes four times as long for the same ratio
            linger_ms=linger_ms,
            max_batch_size=_BATCH_BYTES,
            max_request_size=_REQUEST_BYTES,
            request_timeout_ms=30_000,
        )
        return await _started(producer, producer.client, producer.stop)

    async def _new_consumer(self) -> Any:
        consumer: Any = AIOKafkaConsumer(  # type: ignore[no-untyped-call]  # aiokafka has no types
            **self._arguments,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=100,
        )
        return await _started(consumer, consumer._client, consumer.stop)

    async def _new_group_consumer(self, group: str) -> Any:
        consumer: Any = AIOKafkaConsumer(  # type: ignore[no-untyped-call]  # aiokafka has no types
            **self._arguments,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=_FETCH_BYTES,
        )
        return await _started(consumer, consumer._client, consumer.stop)

    async def _new_admin(self) -> Any:
        admin: Any = AIOKafkaAdminClient(**self._arguments)
        return await _started(admin, admin._client, admin.close)


async def _started(client: Any, network: Any, stop: Callable[[], Awaitable[None]]) -> Any:
    slow_down_refused_updates(network)
    try:
        await client.start()
    except BaseException:
        await stop()
        raise
    await asyncio.sleep(0)  # its own tasks begin: aiokafka (0.14) cannot stop one that has not
    return client


def slow_down_refused_updates(network: Any) -> None:
    """Let an aiokafka network client wait when every broker refuses: else it asks for metadata 2,700 times a second."""
    update = network._metadata_update

    async def update_or_wait(*arguments: Any) -> Any:
        done = await update(*arguments)
        if not done:
            await asyncio.sleep(_REFUSED_DELAY_S)
        return done

    network._metadata_update = update_or_wait


async def abandon(producer: Any) -> None:
    """Stop a producer that may wait for a broker for ever; what it has not delivered has failed."""
    producer._message_accumulator.fail_all(KafkaError("the producer is being closed"))
    # aiokafka's own errors too: after a broker's death it finds batches gone that it still wanted to fail (KeyError)
    with contextlib.suppress(Exception):
        async with asyncio.timeout(10):
            await producer.stop()

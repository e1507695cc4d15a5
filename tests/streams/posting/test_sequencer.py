"""A cancellation waits for what its order did before it (architecture section 15.3)."""

import asyncio

import pytest

from schemas.records import Posting
from streams.posting.sequencer import CancellationBarrier
from tests.builders import posting
from tests.streams.fakes import MemoryLog, config

CONFIG = config()


def cancellation(timestamp_ms: int = 1000) -> Posting:
    return posting("order_cancelled", partition=1, timestamp_ms=timestamp_ms)


class Orders:
    def __init__(self) -> None:
        self.log = MemoryLog.of(CONFIG)
        self.barrier = CancellationBarrier(self.log, CONFIG.topic, CONFIG.group, 0)

    async def published(self, topic: str, timestamp_ms: int, partition: int = 1) -> None:
        await self.log.send(topic, partition, b"1", b"x", timestamp_ms=timestamp_ms)

    async def queued(self) -> None:
        await self.log.send("erp-orders", 0, b"acme", b"x")

    def routed(self, topic: str, offset: int) -> None:
        self.log.commit(CONFIG.group, topic, 1, offset)

    async def passes(self, timestamp_ms: int = 1000) -> bool:
        waiting = asyncio.create_task(self.barrier.passed(cancellation(timestamp_ms)))
        await asyncio.sleep(5)
        if waiting.done():
            return True
        waiting.cancel()
        return False


async def test_with_nothing_before_it_it_goes_on_at_once() -> None:
    assert await Orders().passes()


@pytest.mark.parametrize("topic", ["order-placed", "dispatch-confirmed"])
async def test_it_waits_until_what_was_published_before_it_is_routed_and_admitted(topic: str) -> None:
    scene = Orders()
    await scene.published(topic, 1000)
    assert not await scene.passes()
    await scene.queued()
    scene.routed(topic, 1)
    assert not await scene.passes()
    scene.barrier.admitted = 1
    assert await scene.passes()


async def test_what_was_published_later_on_another_partition_or_is_no_part_of_it_is_not_waited_for() -> None:
    scene = Orders()
    await scene.published("dispatch-confirmed", 1001)
    await scene.published("order-placed", 500, partition=0)
    await scene.published("refund-issued", 500)
    assert await scene.passes()


async def test_it_goes_on_as_soon_as_the_last_of_them_is_there() -> None:
    scene = Orders()
    await scene.published("order-placed", 1)
    await scene.published("order-placed", 2000)
    waiting = asyncio.create_task(scene.barrier.passed(cancellation()))
    await asyncio.sleep(3)
    scene.routed("order-placed", 1)
    await asyncio.wait_for(waiting, 1)

"""A cancellation waits for what its order did before it (architecture section 15.3)."""

import asyncio

import pytest

from schemas.records import Posting
from streams.kafka.log import Committed
from streams.posting.admission import InputPositions
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
        self.inputs = InputPositions({})
        self.barrier.reached = self.inputs.reached

    async def published(self, topic: str, timestamp_ms: int, partition: int = 1) -> None:
        self.log.now_ms = timestamp_ms
        await self.log.send(topic, partition, b"1", b"x", timestamp_ms=timestamp_ms + 5_000)  # its publisher's clock

    async def queued(self) -> None:
        await self.log.send("erp-orders", 0, b"acme", b"x")

    def routed(self, topic: str, offset: int) -> None:
        self.log.commit(CONFIG.group, topic, 1, offset)

    def admitted(self, topic: str, offset: int) -> None:
        """Up to and with this place of the input, by a posting of ours."""
        self.inputs.advance(posting("order_placed", topic=topic, partition=1, offset=offset))

    async def passes(self, timestamp_ms: int = 1000) -> bool:
        return await self.barrier.passed(cancellation(timestamp_ms), 5.0)


async def test_with_nothing_before_it_it_goes_on_at_once() -> None:
    assert await Orders().passes()


@pytest.mark.parametrize("topic", ["order-placed", "dispatch-confirmed"])
async def test_it_waits_for_the_places_of_its_inputs_and_not_for_the_end_of_the_queue(topic: str) -> None:
    """Thousands may lie behind it, and are not fetched while it waits for them."""
    scene = Orders()
    await scene.published(topic, 999)
    await scene.published(topic, 1000)
    for _ in range(10):
        await scene.queued()
    assert not await scene.passes()
    scene.admitted(topic, 0)
    assert not await scene.passes()
    scene.admitted(topic, 1)
    assert scene.barrier.admitted == 0
    assert await scene.passes()


async def test_a_dispatch_whose_publishers_clock_runs_ahead_is_not_overtaken() -> None:
    """It was in Kafka first, and its own stamp says 5 s later."""
    scene = Orders()
    await scene.published("dispatch-confirmed", 999)
    assert not await scene.passes(1000)
    scene.admitted("dispatch-confirmed", 0)
    assert await scene.passes(1000)


async def test_where_the_last_before_it_is_anothers_what_was_queued_when_it_was_routed_is_enough() -> None:
    scene = Orders()
    await scene.published("dispatch-confirmed", 1000)
    await scene.queued()
    scene.routed("dispatch-confirmed", 1)
    assert not await scene.passes()
    for _ in range(10):
        await scene.queued()  # more and more behind it
    scene.barrier.admitted = 1
    assert await scene.passes()
    assert not scene.barrier._behind


async def test_however_many_wait_the_broker_is_asked_once_at_a_time() -> None:
    scene = Orders()
    await scene.published("order-placed", 1000)
    asking, most, committed = 0, 0, scene.log.committed

    async def slow(group: str) -> dict[tuple[str, int], Committed]:
        nonlocal asking, most
        asking += 1
        most = max(most, asking)
        await asyncio.sleep(1)
        asking -= 1
        return await committed(group)

    scene.log.committed = slow  # type: ignore[method-assign]
    waiting = [
        asyncio.create_task(scene.barrier.passed(posting("order_cancelled", k=str(n), partition=1, timestamp_ms=1000)))
        for n in range(50)
    ]
    await asyncio.sleep(3)
    scene.routed("order-placed", 1)
    assert all(await asyncio.gather(*waiting))
    assert most == 1


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


async def test_the_last_of_several_facts_is_waited_for_and_not_the_one_before_it() -> None:
    scene = Orders()
    for _ in range(2):
        await scene.published("dispatch-confirmed", 1000)
    scene.routed("dispatch-confirmed", 1)
    assert not await scene.passes()
    scene.routed("dispatch-confirmed", 2)
    assert await scene.passes()

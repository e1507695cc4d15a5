"""A poster beside a command: it works off its company's queue in memory while the command runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from connectors.base.clock import SystemClock
from schemas.events import TYPE_NAMES, OrderEvent
from schemas.topics import fact_topic
from streams.chain.keys import event_key
from streams.chain.log import ANCHORS, Anchors
from streams.dead_letters.publisher import DeadLetterPublisher
from streams.ports import Ports
from streams.posting.poster import Poster
from streams.telemetry.metrics import Metrics
from tests import builders
from tests.streams.facts import NOW, World
from tests.streams.posting.b1 import B1
from tests.streams.records import FakeBatch, raw


class PosterBeside:
    """The poster of `acme` over a world's log; `beside` runs it.

    Attributes:
        runs: False: no worker runs.
    """

    def __init__(self, world: World) -> None:
        self.b1, self.runs = B1(0.01, SystemClock().now), True
        self._world, self._next = world, 0

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        if not self.runs:
            yield
            return
        config, log, codec = self._world.config, self._world.log, self._world.codec
        clock, metrics = SystemClock(), Metrics(config)
        ports = Ports(log, codec, clock, Random(1), metrics, lambda _: self.b1)
        letters = DeadLetterPublisher(log, codec, config.topic, lambda _: 0, clock, metrics)
        poster = Poster("acme", config, ports, letters, Anchors(log, codec, ANCHORS))
        await poster.open({}, self._next)
        pump = asyncio.create_task(self._pump(poster))
        try:
            yield
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
            await poster.close()

    async def _pump(self, poster: Poster) -> None:
        topic, batches, position = self._world.config.topic("erp-orders"), list[FakeBatch](), self._next
        while True:
            records = self._world.log._records[topic, 0][position:]
            if records:
                batches.append(FakeBatch([raw(topic, one.offset, one.value, one.key) for one in records]))
                position += len(records)
                await poster.take(batches[-1])
            while batches and batches[0].all_finished:
                batches.pop(0)
            self._next = batches[0].records[0].offset if batches else position
            await asyncio.sleep(0.02)

    async def work_off(self, *events: OrderEvent) -> None:
        """Queue events and return when each has ended."""
        async with self.beside():
            codec, log = self._world.codec, self._world.log
            for event in events:
                kind = TYPE_NAMES[type(event)]
                posting = builders.posting(
                    kind,
                    k=event_key(event),
                    source=event.source,
                    order_id=event.order_id,
                    digest=event.digest,
                    topic=fact_topic(kind),
                    offset=(await log.bounds("erp-orders", 0))[1],
                    timestamp_ms=int(NOW.timestamp() * 1000),
                    key=b"k",
                    value=codec.encode(event),
                )
                await log.send("erp-orders", 0, b"acme", codec.encode(posting))
            _, end = await log.bounds("erp-orders", 0)
            async with asyncio.timeout(30):
                while self._next < end:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

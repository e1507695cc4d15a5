"""A real topic loses its records under a sealed chain.

Nothing is read before a person has accepted it, then it goes on.
"""

from random import Random
from typing import Any

import pytest

from connectors.base.clock import SystemClock
from schemas.codec import embedded_codec
from streams.chain import loss as acceptance
from streams.chain.log import ANCHORS, Anchors
from streams.dead_letters.publisher import DeadLetterPublisher
from streams.kafka import topics
from streams.kafka.client import KafkaLog
from streams.ports import Ports
from streams.telemetry.metrics import Metrics
from streams.windows.epoch import Composer
from streams.windows.partition import InputLostError, StockPartition
from streams.windows.rules import StockRules
from tests.streams.fakes import config
from tests.streams.records import FakeBatch, raw_of
from tests.streams.windows.test_epoch import event

pytestmark = pytest.mark.kafka
CODEC = embedded_codec()


async def test_a_partition_whose_records_are_gone_goes_on_once_that_is_accepted(
    kafka: str, log: KafkaLog, topic_prefix: str
) -> None:
    settings = config(bootstrap_servers=kafka, topic_prefix=topic_prefix)
    await topics.apply(log, settings)
    topic, clock = settings.topic("stock-adjusted"), SystemClock()
    for name in "abcd":
        await log.send(topic, 0, b"key", CODEC.encode(event(name)))

    def room() -> StockPartition:
        ports = Ports(log, CODEC, clock, Random(1), Metrics(settings), lambda _: None)  # type: ignore[arg-type, return-value]
        rules, anchors = StockRules(settings.maps), Anchors(log, CODEC, settings.topic(ANCHORS))
        letters = DeadLetterPublisher(log, CODEC, settings.topic, lambda _: 0, clock, ports.metrics)
        limits = settings.companies["acme"].window
        composer = Composer(CODEC, rules, settings.version)
        return StockPartition(0, settings, ports, composer, rules, letters, anchors, lambda _: limits)

    async def batch(start: int) -> Any:
        records = [raw_of(one) async for batch in log.read(topic, 0, start) for one in batch]
        return FakeBatch(records)

    first = room()
    start = await first.open(None, 0)
    whole = await batch(start)
    first.take(FakeBatch(whole.records[:1]))
    await first.seal("length")
    assert await acceptance.find(log, settings, CODEC, clock, 0) is None

    await log.delete_records(topic, 0, 3)
    with pytest.raises(InputLostError):
        await room().open(1, 0)
    found = await acceptance.accept(log, settings, CODEC, clock, 0, by="ann", why="a disk was lost")
    assert found is not None
    assert (found.reached, found.log_start, found.log_end, found.lost) == (1, 3, 4, 2)
    later = room()
    assert await later.open(1, 0) == 3
    later.take(await batch(3))
    await later.seal("length")
    assert (later.end, later.no_ops) == (4, 2)

"""Kafka away: said once in the log, and shown for as long as it lasts; nobody is ready meanwhile."""

import asyncio

from structlog.testing import capture_logs

from connectors.base.log import Record
from schemas.codec import embedded_codec
from streams.telemetry.component_states import REMINDER_S, TOPIC, ComponentStateWriter
from streams.telemetry.kafka_watch import ANSWER_S, LOOK_S, KafkaWatch
from streams.telemetry.metrics import Metrics
from tests.streams.fakes import MemoryLog, config
from tests.streams.virtual import Clock, run

CONFIG = config()


async def read_all(log: MemoryLog) -> list[Record]:
    return [record async for batch in log.read(CONFIG.topic(TOPIC), 0, 0) for record in batch]


class Silent(MemoryLog):
    """A broker that has been killed: connections are refused, or nobody answers."""

    silent = False

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        if self.silent:
            await asyncio.sleep(3_600)
        return await super().bounds(topic, partition)


def test_a_broker_that_does_not_answer_is_said_once_a_minute_and_keeps_us_from_being_ready() -> None:
    async def scene() -> None:
        log, metrics = Silent.of(CONFIG), Metrics(CONFIG, Clock())
        metrics.vitals.ready("start")
        watching = asyncio.create_task(KafkaWatch(log, CONFIG.topic(TOPIC), metrics.components, metrics.vitals).run())
        await asyncio.sleep(LOOK_S)
        assert not metrics.vitals.waiting()
        assert not metrics.components.not_working()
        log.silent = True
        with capture_logs() as lines:
            await asyncio.sleep(LOOK_S + ANSWER_S + 1)
            (state,) = metrics.components.not_working()
            assert (state.kind, state.state, state.reason, state.owner) == ("kafka", "away", "kafka_away", "platform")
            assert metrics.vitals.waiting() == {"kafka": "no answer in 10 s"}
            assert len(lines) == 1
            await asyncio.sleep(2 * REMINDER_S)
            assert len(lines) <= 3
        log.silent = False
        await asyncio.sleep(LOOK_S + ANSWER_S)
        assert not metrics.vitals.waiting()
        assert not metrics.components.not_working()
        watching.cancel()

    run(scene())


def test_what_kafka_cannot_be_told_is_not_published() -> None:
    async def scene() -> None:
        log, metrics = MemoryLog.of(CONFIG), Metrics(CONFIG, Clock())
        metrics.components.report("kafka", "kafka", "kafka_away", "no answer")
        metrics.components.report("connector", next(iter(CONFIG.connectors)), "source_away", "502")
        await ComponentStateWriter(metrics.components, log, embedded_codec(), CONFIG.topic(TOPIC)).publish()
        keys = [record.key for record in await read_all(log)]
        assert keys == [f"connector/{next(iter(CONFIG.connectors))}".encode()]

    run(scene())

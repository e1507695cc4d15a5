"""From the topic to a web server: a real group on a real broker."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from random import Random

import pytest

from connectors.base.clock import SystemClock
from connectors.base.notices import NoticeWriter
from schemas.codec import embedded_codec
from streams.config.load import parse
from streams.kafka import topics
from streams.kafka.client import KafkaLog
from streams.notices import runner
from streams.telemetry.metrics import Metrics
from tests.connectors.notices.servers import WebServer, listening
from tests.streams.fakes import ENVIRON, ROOT, example
from tests.streams.notices.test_grouping import DEAD

pytestmark = pytest.mark.kafka


async def until(server: WebServer, count: int) -> list[int]:
    """How many notices each message has, once there are so many in all."""
    async with asyncio.timeout(60):
        while True:
            told = [sum(group["count"] for group in json.loads(body)["groups"]) for _, body in server.requests]
            if sum(told) >= count:
                return told
            await asyncio.sleep(0.1)


async def test_two_thousand_notices_are_few_messages_and_the_next_process_goes_on_where_this_one_stopped(
    log: KafkaLog, topic_prefix: str, kafka: str
) -> None:
    server = WebServer([503])
    async with listening(server.handle) as port:
        data = example()
        data["kafka"] = {**data["kafka"], "bootstrap_servers": kafka, "topic_prefix": topic_prefix}
        data["notices"] = {
            "group_wait_s": 1,
            "group_interval_s": 1,
            "targets": {"ops": {"webhook": f"http://127.0.0.1:{port}/x"}},
        }
        config = parse(data, ROOT, ENVIRON)
        await topics.apply(log, config)
        codec, clock, metrics = embedded_codec(), SystemClock(), Metrics(config)
        writer = NoticeWriter(log, codec, config.topic, config.company_partition)

        async def serve_until(count: int) -> list[int]:
            stop = asyncio.Event()
            running = asyncio.create_task(
                runner.run(config, stop, log=log, codec=codec, clock=clock, random=Random(1), metrics=metrics)
            )
            told = await until(server, count)
            await asyncio.sleep(3)  # the position is committed
            stop.set()
            await running
            return told

        await writer.write([replace(DEAD, id=f"n{n}", at=datetime.now(UTC)) for n in range(2_000)])
        first = await serve_until(4_000)  # the first message was answered with 503, and came again
        assert first[0] == first[1]
        assert len(first) <= 4
        assert server.requests[0][0]["webhook-id"] == server.requests[1][0]["webhook-id"]
        server.requests.clear()
        await writer.write([replace(DEAD, id="last", at=datetime.now(UTC))])
        assert await serve_until(1) == [1]

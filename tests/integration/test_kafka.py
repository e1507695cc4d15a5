import asyncio
from pathlib import Path

import pytest

from connectors.base.errors import LogError
from lab.kafka.broker import Kafka
from lab.kafka.errors import KafkaSetupError
from streams.kafka.client import KafkaLog
from streams.kafka.log import BrokerTopic

pytestmark = pytest.mark.kafka


async def test_data_and_port_outlive_a_kill_and_a_stop(own_broker: Kafka, topic_prefix: str) -> None:
    address, topic = own_broker.bootstrap_servers, f"{topic_prefix}facts"
    log = KafkaLog(address)
    await log.start()
    await log.create_topics([BrokerTopic(topic, 1, 1)])
    await log.send(topic, 0, None, b"kept")
    for end in (own_broker.kill, own_broker.stop):
        await asyncio.to_thread(end)
        assert own_broker.pid is None
        await asyncio.to_thread(own_broker.start)
        assert own_broker.bootstrap_servers == address
        assert [record.value async for batch in log.read(topic, 0, 0) for record in batch] == [b"kept"]
    await log.stop()


async def test_a_topic_that_nobody_made_does_not_make_itself(own_broker: Kafka, topic_prefix: str) -> None:
    log = KafkaLog(own_broker.bootstrap_servers, delivery_timeout_s=1)
    await log.start()
    with pytest.raises(LogError):
        await log.send(f"{topic_prefix}typo", 0, None, b"x")
    assert f"{topic_prefix}typo" not in await log.topics()
    await log.stop()


def test_a_broker_that_cannot_start_says_why(own_broker: Kafka, tmp_path: Path) -> None:
    """Its port is taken."""
    with pytest.raises(KafkaSetupError, match="in use"), Kafka(tmp_path / "data", port=own_broker.port):
        pass

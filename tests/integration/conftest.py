"""A broker that tests may kill, and a log on each."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from lab.kafka.broker import Kafka
from lab.kafka.jars import cache_folder
from streams.kafka.client import KafkaLog


@pytest.fixture(scope="session")
def own_broker() -> Iterator[Kafka]:
    """A broker beside the shared one; whoever kills it starts it again.

    Somebody else's cluster (`KAFKA_BOOTSTRAP_SERVERS`) is not ours to kill, and spares the jars.
    """
    if os.environ.get("KAFKA_BOOTSTRAP_SERVERS") and not cache_folder().is_dir():
        pytest.skip("needs a broker that it may kill, and Kafka's jars are not installed")
    with Kafka() as broker:
        yield broker


@pytest.fixture
async def log(kafka: str) -> AsyncIterator[KafkaLog]:
    log = KafkaLog(kafka)
    await log.start()
    yield log
    await log.stop()

"""A broker that tests may kill, and a log on each."""

from collections.abc import AsyncIterator, Iterator

import pytest

from lab.kafka.broker import Kafka
from streams.kafka.client import KafkaLog


@pytest.fixture(scope="session")
def own_broker() -> Iterator[Kafka]:
    """A broker beside the shared one; whoever kills it starts it again."""
    with Kafka() as broker:
        yield broker


@pytest.fixture
async def log(kafka: str) -> AsyncIterator[KafkaLog]:
    log = KafkaLog(kafka)
    await log.start()
    yield log
    await log.stop()

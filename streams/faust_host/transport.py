"""Faust's transport with our consumer, and a producer that is idempotent and waits for all replicas."""

from collections.abc import Mapping
from typing import Any

from faust.transport.drivers import aiokafka as driver

from streams.faust_host.consumer import Consumer
from streams.kafka.connection import slow_down_refused_updates


class Producer(driver.Producer):
    """Idempotent, `acks=all`."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    def _new_producer(self, transactional_id: str | None = None) -> Any:
        producer = super()._new_producer(transactional_id)
        slow_down_refused_updates(producer.client)
        return producer


class Transport(driver.Transport):
    Consumer = Consumer
    Producer = Producer

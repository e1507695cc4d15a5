"""Runs in a copy of the repository that has version 2 of `order_placed`; see tests/flows/test_second_version.py."""

import json
import os

from schemas.events import OrderPlaced
from tests.flows.world import World, order


async def test_records_of_both_versions_become_orders(world: World) -> None:
    """A record of version 1 lies in the topic, and files with and without the new field follow."""
    left = json.loads(os.environ["RECORD_OF_V1"])
    topic = world.config.topic("order-placed")
    key, value = bytes.fromhex(left["key"]), bytes.fromhex(left["value"])
    headers = [(name, bytes.fromhex(text)) for name, text in left["headers"]]
    await world.log.send(topic, left["partition"], key, value, headers)

    await world.says("shop", order("1002", gift_message="For Ada"))
    await world.says("shop", order("1003"))

    assert {document["NumAtCard"] for document in world.documents("Orders")} == {"1001", "1002", "1003"}
    messages = {}
    for partition in range(world.config.kafka.partitions):
        async for records in world.log.read(topic, partition, 0):
            for record in records:
                assert record.value is not None
                event = world.codec.decode(record.value, OrderPlaced)
                messages[event.order_id] = (int.from_bytes(record.value[1:5], "big"), event.gift_message)  # type: ignore[attr-defined]
    assert messages == {"1001": (1, None), "1002": (14, "For Ada"), "1003": (14, None)}


async def test_what_version_1_wrote_is_the_same_event_when_it_is_read_again(world: World) -> None:
    """The digest of an event without the new field is what it was: a repeat is a no-op, not `id_reuse`."""
    left = json.loads(os.environ["RECORD_OF_V1"])
    key, value = bytes.fromhex(left["key"]), bytes.fromhex(left["value"])
    await world.log.send(world.config.topic("order-placed"), left["partition"], key, value)

    await world.says("shop", order("1001"))

    assert len(world.documents("Orders")) == 1
    assert await world.ends("order_placed") == {"posted": 1, "no_op": 1}

"""What connectors that are no longer configured have left behind, and how that is ended."""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import aclosing

from connectors.base.clock import Clock
from connectors.base.cursors import CURSORS, Cursors, connector_of, owner_of
from connectors.base.errors import FatalError
from connectors.base.log import Broker, Outgoing
from schemas.codec import Codec
from streams.config.load import Config

#: Where a record of `connector-cursors` lies: its partition and key.
CursorPlace = tuple[int, bytes]


class UnpublishedError(Exception):
    """A connector has written down counts that perhaps were never published: ended now, they would be lost."""


async def left_behind(config: Config, broker: Broker) -> Mapping[str, set[CursorPlace]]:
    """Connectors that have been here and are not configured, each with what stands of its cursors and levels.

    Raises:
        RetriableError: Kafka did not answer.
    """
    topic = config.topic(CURSORS)
    found: defaultdict[str, set[CursorPlace]] = defaultdict(set)
    for partition in range(config.kafka.partitions):
        start, end = await broker.bounds(topic, partition)
        async with aclosing(broker.read(topic, partition, start, end)) as batches:
            async for batch in batches:
                for stored in batch:
                    cursor = connector_of(stored.key) if stored.key is not None else None
                    if cursor is None or stored.key is None or (name := owner_of(cursor)) in config.connectors:
                        continue
                    if stored.value is None:
                        found[name].discard((partition, stored.key))
                    else:
                        found[name].add((partition, stored.key))
    return {name: places for name, places in sorted(found.items()) if places}


async def check_orphans(config: Config, broker: Broker) -> None:
    """Refuse to start where a connector that has been here is no longer configured (architecture section 15.11).

    Raises:
        FatalError: With the names, and what to do.
        RetriableError: Kafka did not answer.
    """
    if orphans := await left_behind(config, broker):
        raise FatalError(orphans_text(config, orphans))


def orphans_text(config: Config, orphans: Mapping[str, object]) -> str:
    """What is wrong, and what to do, in a sentence."""
    names, first = ", ".join(orphans), next(iter(orphans))
    return (
        f"{config.topic(CURSORS)} knows connectors that the configuration does not: {names}. A connector's name is "
        "part of the identity of its events, so under a new name everything would be read and posted again; give the "
        "connector its old name back, keep the section with enabled = false, or end it for good: "
        f"streams connect retire {first}"
    )


async def retire(config: Config, broker: Broker, codec: Codec, clock: Clock, places: Collection[CursorPlace]) -> None:
    """End a connector that is no longer configured: its cursors and levels, see `left_behind`, are deleted.

    Raises:
        UnpublishedError: See there; nothing is changed.
        LostRaceError: It is running still, in a process with an older configuration.
        RetriableError: Kafka did not answer; again is harmless.
        FatalError: A cursor cannot be read.
    """
    cursors = {json.loads(key)[0]: partition for partition, key in places}
    for cursor, partition in sorted(cursors.items()):
        standing = Cursors(cursor, broker, codec, clock, topic=config.topic(CURSORS), partition=partition)
        await standing.load()  # shuts out whoever has it
        if standing.unconfirmed:
            raise UnpublishedError(
                f"{len(standing.unconfirmed)} changes of {cursor}'s counts are written down and perhaps not published"
            )
    records = [
        Outgoing(topic=config.topic(CURSORS), partition=partition, key=key, value=None)
        for partition, key in sorted(places)
    ]
    await broker.send_many(records)

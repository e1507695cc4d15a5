"""How far an input of orders was read, by what became of its events."""

from contextlib import aclosing

from schemas.codec import Codec
from schemas.records import Posting
from schemas.topics import QUEUES
from streams.config.load import Config
from streams.kafka.log import Log
from streams.posting.admission import InputPositions
from streams.posting.queued import counts_of, unfinished
from streams.query.dead_letters import standing

_ERP_ORDERS, _ = QUEUES


async def read_up_to(log: Log, config: Config, codec: Codec, topic: str, partition: int, number: int) -> int:
    """The offset behind the last event that has been admitted, is queued, or has a dead letter; 0: there is none.

    It outlives the topic and the group's commit of it. `topic` is one of `schemas.topics.ORDER_FACTS`, `number` that of
    the partition's log (`streams.chain.known_logs`).

    Raises:
        LogError: The broker cannot be reached.
        CodecError: A state of a dead letter was written by something newer than we are.
    """
    place = config.topic(topic), partition, number
    committed = await log.committed(config.group)
    letters = (await standing(log, config, codec)).values()
    reached = [letter.offset + 1 for letter in letters if (letter.topic, letter.partition, letter.log) == place]
    commits = counts_of(config, _ERP_ORDERS, committed)
    reached += [InputPositions(counts, lambda *_: number).reached(*place[:2]) for counts in commits]
    async with aclosing(unfinished(log, config, codec, _ERP_ORDERS, committed)) as waiting:
        reached += [
            queued.offset + 1
            async for queued in waiting
            if isinstance(queued, Posting) and (queued.topic, queued.partition, queued.log) == place
        ]
    return max(reached, default=0)

"""How far an input of orders was read, by what became of its events."""

from contextlib import aclosing

from schemas.codec import Codec, CodecError
from schemas.records import LetterCommand, Posting
from streams.config.load import Config
from streams.dead_letters.commands import QUEUED
from streams.faust_host.watermarks import decode_counts
from streams.kafka.log import Log
from streams.posting.admission import InputPositions
from streams.query.dead_letters import standing
from streams.query.reading import partitions_of

_QUEUE = "erp-orders"


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
    queue = config.topic(_QUEUE)
    for each in partitions_of(config, _QUEUE):
        start, end = await log.bounds(queue, each)
        if (at := committed.get((queue, each))) is not None:
            positions = InputPositions(decode_counts(at.metadata), lambda *_: number)
            reached.append(positions.reached(*place[:2]))
            start = max(start, at.offset)
        async with aclosing(log.read(queue, each, start, end)) as batches:
            async for records in batches:
                for record in records:
                    posting = _posting(codec, record.value)
                    if posting is not None and (posting.topic, posting.partition, posting.log) == place:
                        reached.append(posting.offset + 1)
    return max(reached, default=0)


def _posting(codec: Codec, value: bytes | None) -> Posting | None:
    try:
        queued: Posting | LetterCommand = codec.decode(value or b"", QUEUED)
    except CodecError:
        return None
    return queued if isinstance(queued, Posting) else None

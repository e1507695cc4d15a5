"""What lies in the companies' queues and is not finished, for whoever is not their poster. Reads only."""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing

from schemas.codec import Codec, CodecError
from schemas.records import LetterCommand, Posting
from schemas.topics import QUEUES
from streams.config.load import Config
from streams.dead_letters.commands import QUEUED
from streams.faust_host.watermarks import decode_counts
from streams.kafka.log import Committed, Log
from streams.ports import Counts
from streams.posting.foreign import queue_of
from streams.query.reading import partitions_of

#: The group's commits, by topic (of the broker) and partition.
Commits = Mapping[tuple[str, int], Committed]


def decode_queued(codec: Codec, value: bytes | None) -> Posting | LetterCommand | None:
    """None: it is none of ours."""
    try:
        queued: Posting | LetterCommand = codec.decode(value or b"", QUEUED)
    except CodecError:
        return None
    return queued


def counts_of(config: Config, queue: str, committed: Commits) -> Iterator[Counts]:
    """What the commit of each partition of a queue says, where there is one."""
    for partition in partitions_of(config, queue):
        if (at := committed.get((config.topic(queue), partition))) is not None:
            yield decode_counts(at.metadata)


async def unfinished(
    log: Log, config: Config, codec: Codec, queue: str, committed: Commits
) -> AsyncGenerator[Posting | LetterCommand]:
    """What lies in a queue behind its commits; what is none of ours is passed over.

    Raises:
        LogError: The broker cannot be reached.
    """
    topic = config.topic(queue)
    for partition in partitions_of(config, queue):
        start, end = await log.bounds(topic, partition)
        if (at := committed.get((topic, partition))) is not None:
            start = max(start, at.offset)
        async with aclosing(log.read(topic, partition, start, end)) as batches:
            async for records in batches:
                for record in records:
                    if (queued := decode_queued(codec, record.value)) is not None:
                        yield queued


async def queued_for(log: Log, config: Config, codec: Codec, company: str) -> int | None:
    """How many postings wait for a company's B1; None where nothing is known of such a company.

    Raises:
        LogError: The broker cannot be reached.
    """
    count, known = 0, False
    committed = await log.committed(config.group)
    for queue in QUEUES:
        owner = queue_of(company).items()
        known = known or any(owner <= counts.items() for counts in counts_of(config, queue, committed))
        async with aclosing(unfinished(log, config, codec, queue, committed)) as waiting:
            async for queued in waiting:
                count += queued.company == company
    return count if count or known else None

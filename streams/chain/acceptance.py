"""A person goes on where the log of a partition is another one, or has lost records: for whatever is read by offset.

The input of a chain goes on by one more epoch (`loss`), every other partition by its next number in `known-logs`.
"""

from connectors.base.clock import Clock
from schemas.codec import Codec
from schemas.topics import CONSUMED
from streams.chain import loss
from streams.chain.known_logs import KnownLogs, LogMismatch
from streams.chain.loss import Disagreement
from streams.config.load import Config
from streams.kafka.log import Log

#: A chain without an input: only another log in its place needs a person.
DOCUMENTS = "erp-documents"
#: What is read from a committed offset, and the chain of a company's stock documents.
READ_TOPICS = (*CONSUMED, DOCUMENTS)

Found = Disagreement | LogMismatch


async def find(log: Log, config: Config, codec: Codec, clock: Clock, topic: str, partition: int) -> Found | None:
    """Why a partition is not read; None where nothing keeps it.

    Args:
        log: Kafka.
        config: The configuration in force.
        codec: Of the configured registry.
        clock: Time.
        topic: One of `READ_TOPICS`.
        partition: One of its partitions.

    Raises:
        LogError: The broker cannot be reached.
        ChainRootError: The input's chain has lost its beginning; nothing can be accepted.
    """
    mismatch = await _mismatch(log, config, codec, clock, topic, partition)
    if topic == loss.INPUT:
        is_another = mismatch is not None and mismatch.is_another
        return await loss.find(log, config, codec, clock, partition, is_another=is_another)
    return mismatch


async def accept(
    log: Log,
    config: Config,
    codec: Codec,
    clock: Clock,
    topic: str,
    partition: int,
    *,
    by: str,
    why: str,
    read_up_to: int = 0,
) -> Found | None:
    """Go on where the log begins; see `find`.

    `by` names the person and `why` what has happened; both are kept. `read_up_to` is what is known of how far the log
    was read beside its commit, which Kafka forgets with the topic.

    Returns:
        What has been accepted; None where there is nothing to accept.

    Raises:
        LogError: Nobody knows whether it is accepted; look again.
        ChainRootError: As `find`.
        OvertakenError: Nothing is accepted.
    """
    mismatch = await _mismatch(log, config, codec, clock, topic, partition)
    found: Found | None = mismatch
    if topic == loss.INPUT:
        mismatch = mismatch if mismatch is not None and mismatch.is_another else None
        found = await loss.accept(log, config, codec, clock, partition, by=by, why=why, is_another=mismatch is not None)
    if mismatch is not None:
        logs = KnownLogs(log, codec, config, clock)
        reached = max(read_up_to, mismatch.reached if found is None else found.reached)
        await logs.accept(
            mismatch.topic,
            partition,
            mismatch.log_start,
            mismatch.lost,
            by=by,
            why=why,
            reached=reached if mismatch.lost is None else None,
        )
    return found


async def _mismatch(
    log: Log, config: Config, codec: Codec, clock: Clock, topic: str, partition: int
) -> LogMismatch | None:
    place = config.topic(topic), partition
    found = (await KnownLogs(log, codec, config, clock).examine([place], remember=False))[place]
    if not isinstance(found, LogMismatch) or (topic == DOCUMENTS and not found.is_another):
        return None
    return found

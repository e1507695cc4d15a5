"""A person accepts that an input log and its chain disagree.

What lies between is lost, and reading goes on (architecture section 5).

A partition of `stock-adjusted` is not read where its chain is sealed up to an offset that the log does not hold: the
topic was re-created, or has lost records. The way on is one more record of the chain: an epoch without events that
leads from where the chain is to where the log begins, and says who accepted that and why. Whoever owns the partition
finds it there, atomically or not at all.
"""

import asyncio
from dataclasses import dataclass

from connectors.base.clock import Clock
from schemas.codec import Codec
from schemas.records import Anchor, SealedEpoch
from streams.chain.log import ANCHORS, Anchors, ChainLog
from streams.config.load import Config
from streams.faust_host.watermarks import decode_counts
from streams.kafka.log import Log

INPUT, CHAIN = "stock-adjusted", "stock-sealed"
#: How the cause of such an epoch begins; who and why follow.
ACCEPTED_CAUSE = "accepted by "
#: Where the commit of an input partition says which of them it has followed: the epoch's number, counted from 1.
ACCEPTED = ("accepted", "")


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An input partition whose log does not hold the offset that is read next.

    Attributes:
        log_start, log_end: What the log holds, `[log_start, log_end)`.
        reached: The offset that is read next: up to it everything is sealed, or committed.
        no_ops: As the chain counts them.
        is_another: The log is another one than was read (`known_logs`).
    """

    partition: int
    log_start: int
    log_end: int
    reached: int
    no_ops: int
    is_another: bool = False

    @property
    def topic(self) -> str:
        return INPUT

    @property
    def lost(self) -> int:
        """Events that are known to have been published and never read.

        Those of a topic that was re-created nobody can count.
        """
        return 0 if self.is_another else max(0, self.log_start - self.reached)

    def __str__(self) -> str:
        holds = (
            f"{INPUT}/{self.partition} holds offsets {self.log_start} to {self.log_end}, its chain is sealed "
            f"up to {self.reached}"
        )
        lost = (
            f"{self.lost} events were published and never read"
            if self.lost
            else "the topic was re-created, or its end is lost: what was published after the last seal is not known"
        )
        return f"{holds}: {lost}; reading would go on at {self.log_start}"


class _Chain:
    """The chain of one input partition, walked to its end."""

    def __init__(self, log: Log, config: Config, codec: Codec, clock: Clock, partition: int) -> None:
        self.end = self.no_ops = self.accepted = 0
        anchors = Anchors(log, codec, config.topic(ANCHORS))
        self.log: ChainLog[SealedEpoch] = ChainLog(
            log,
            config.topic(CHAIN),
            partition,
            lambda value: codec.decode(value, SealedEpoch),
            self,
            anchors,
            clock.now,
        )

    def restore(self, anchor: Anchor) -> None:
        self.end, self.no_ops = anchor.end, anchor.no_ops

    def visit(self, offset: int, record: SealedEpoch) -> None:
        self.end, self.no_ops = record.end, record.no_ops
        if record.cause.startswith(ACCEPTED_CAUSE):
            self.accepted = record.number + 1

    def reached(self) -> tuple[int, int]:
        return self.end, self.no_ops


def next_offset(end: int, committed: int | None, log_start: int, *, sealed_any: bool, follows: bool) -> int:
    """The input offset to be read next. Pure.

    Args:
        end: Up to where the chain is sealed.
        committed: What the group has committed; None: nothing.
        log_start: The first offset that the log holds.
        sealed_any: Whether the chain has any record.
        follows: Whether the commit was made after the last acceptance in the chain: else it is of a log that is gone.
    """
    start = max(end, committed or 0) if follows else end
    return start if sealed_any else max(start, log_start)


async def find(
    log: Log, config: Config, codec: Codec, clock: Clock, partition: int, *, is_another: bool = False
) -> Disagreement | None:
    """Where log and chain of an input partition disagree; None where they do not.

    `is_another`: they do, whatever the offsets are.

    Raises:
        LogError: The broker cannot be reached.
        ChainRootError: The chain itself has lost its beginning; nothing can be accepted.
    """
    chain = _Chain(log, config, codec, clock, partition)
    await chain.log.open()
    return await _compare(log, config, chain, partition, is_another=is_another)


async def _compare(log: Log, config: Config, chain: _Chain, partition: int, *, is_another: bool) -> Disagreement | None:
    topic = config.topic(INPUT)
    (log_start, log_end), committed = await asyncio.gather(log.bounds(topic, partition), log.committed(config.group))
    at = committed.get((topic, partition))
    follows = at is not None and decode_counts(at.metadata).get(ACCEPTED, 0) == chain.accepted
    reached = next_offset(
        chain.end, None if at is None else at.offset, log_start, sealed_any=chain.log.head.number > 0, follows=follows
    )
    if log_start <= reached <= log_end and not is_another:
        return None
    return Disagreement(partition, log_start, log_end, reached, chain.no_ops, is_another)


class OvertakenError(Exception):
    """Somebody else has sealed or accepted meanwhile."""


async def accept(
    log: Log,
    config: Config,
    codec: Codec,
    clock: Clock,
    partition: int,
    *,
    by: str,
    why: str,
    is_another: bool = False,
) -> Disagreement | None:
    """Go on where the log begins; what lies between ends as `no_op`: discarded by this person.

    `by` names the person and `why` what has happened; both are kept in the chain for as long as the chain is.

    Returns:
        What has been accepted; None where there is nothing to accept.

    Raises:
        LogError: Nobody knows whether it is accepted; look again.
        ChainRootError: As `find`.
        OvertakenError: Nothing is accepted.
    """
    chain = _Chain(log, config, codec, clock, partition)
    await chain.log.open()
    found = await _compare(log, config, chain, partition, is_another=is_another)
    if found is None:
        return None
    head = chain.log.head
    epoch = SealedEpoch(
        number=head.number,
        prev_digest=head.digest,
        start=chain.end,
        end=found.log_start,
        sealed_at=clock.now(),
        config_version=config.version,
        cause=f"{ACCEPTED_CAUSE}{by}: {why}",
        batches=(),
        no_ops=found.no_ops + found.lost,
    )
    if not await chain.log.append([(codec.encode(epoch), epoch)], str(partition).encode()):
        raise OvertakenError(f"the chain of {INPUT}/{partition} has gone on meanwhile; look again")
    return found

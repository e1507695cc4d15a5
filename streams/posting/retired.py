"""Companies that a person has ended: what their queues still hold is refused, one by one, as `foreign`."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import aclosing
from typing import Any

import structlog

from schemas.codec import Codec, CodecError
from schemas.records import LetterCommand, Posting
from schemas.topics import QUEUES
from streams.audit.trail import AuditTrail
from streams.config.load import Config
from streams.dead_letters.commands import QUEUED
from streams.dead_letters.publisher import DeadLetterPublisher
from streams.faust_host.watermarks import decode_counts
from streams.kafka.log import Log
from streams.ports import RawRecord, RecordBatch
from streams.posting.admission import LogNumber, first_log, sequence_of
from streams.posting.foreign import posting_of_another, queue_of, record_of_nobody
from streams.posting.in_flight import KINDS

logger = structlog.get_logger(__name__)

#: The command in the audit chain, which is the record of who has been ended.
RETIRE = "company retire"
#: How often a queue that nobody has looks whether its company has been ended.
DECISION_POLL_S = 30.0


async def retired_companies(trail: AuditTrail) -> frozenset[str]:
    """Names of all companies that have been ended.

    Raises:
        LogError: The broker cannot be reached.
        ChainRootError: See `streams.chain.rule`.
    """
    return frozenset(record.what for record in await trail.records() if record.action == RETIRE)


async def queued_for(log: Log, config: Config, codec: Codec, company: str) -> int | None:
    """How many postings wait for a company's B1; None where nothing is known of such a company.

    Raises:
        LogError: The broker cannot be reached.
    """
    queued, known = 0, False
    committed = await log.committed(config.group)
    for name in QUEUES:
        topic = config.topic(name)
        for partition in range(config.kafka.company_partitions):
            at = committed.get((topic, partition))
            known = known or (at is not None and queue_of(company).items() <= decode_counts(at.metadata).items())
            start, end = await log.bounds(topic, partition)
            start = max(start, at.offset) if at is not None else start
            async with aclosing(log.read(topic, partition, start, end)) as batches:
                async for records in batches:
                    queued += sum(_company_of(codec, record.value) == company for record in records)
    return queued if queued or known else None


def _company_of(codec: Codec, value: bytes | None) -> str | None:
    try:
        queued: Posting | LetterCommand = codec.decode(value or b"", QUEUED)
    except CodecError:
        return None
    return queued.company


class OwnerlessQueue:
    """A company partition that the configuration gives to nobody: it waits for its company, or for its end.

    Lifecycle: `take` batches; `run` until cancelled.
    """

    def __init__(
        self,
        letters: DeadLetterPublisher,
        codec: Codec,
        retired: Callable[[], Awaitable[Collection[str]]],
        log_number: LogNumber = first_log,
    ) -> None:
        """`log_number` says which log of a queue is read."""
        self._letters, self._codec, self._retired, self._log_number = letters, codec, retired, log_number
        self._batches: asyncio.Queue[RecordBatch] = asyncio.Queue()

    def take(self, batch: RecordBatch) -> None:
        """Keep a batch unopened: nothing of it is lost, nothing more of its partition is fetched meanwhile."""
        self._batches.put_nowait(batch)

    async def run(self) -> None:
        """Refuse what is an ended company's, one batch after the other.

        Raises:
            LogError: A dead letter could not be written; the offsets stay.
        """
        while True:
            batch = await self._batches.get()
            waiting = list(batch.open())
            while batch.live:
                retired = await self._retired() if waiting else ()
                waiting = [record for record in waiting if not await self._refuse(batch, record, retired)]
                if not waiting:
                    break
                logger.critical(
                    "no company has this partition; add it back, or: streams company retire NAME",
                    topic=batch.topic,
                    partition=batch.partition,
                    company=_company_of(self._codec, waiting[0].value),
                )
                await asyncio.sleep(DECISION_POLL_S)

    async def _refuse(self, batch: RecordBatch, record: RawRecord, retired: Collection[str]) -> bool:
        log = self._log_number(batch.topic, batch.partition)
        try:
            queued: Posting | LetterCommand = self._codec.decode(record.value or b"", QUEUED)
            event: Any = self._codec.decode(queued.value, KINDS[queued.kind]) if isinstance(queued, Posting) else None
        except (CodecError, KeyError) as error:
            await self._letters.refuse([record_of_nobody("", batch, record, log, error)])
        else:
            if queued.company not in retired:
                return False
            if isinstance(queued, Posting):  # a command of a person ends with the company
                await self._letters.refuse([posting_of_another("", queued, event, sequence_of(log, record.offset))])
        batch.finish(record.offset)
        return True

"""Companies that a person has ended: what their queues still hold is refused, one by one, as `foreign`."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import structlog

from schemas.codec import Codec, CodecError
from schemas.records import LetterCommand, Posting
from streams.audit.trail import AuditTrail
from streams.dead_letters.commands import QUEUED
from streams.dead_letters.publisher import DeadLetterPublisher
from streams.ports import RawRecord, RecordBatch
from streams.posting.admission import LogNumber, first_log, sequence_of
from streams.posting.foreign import posting_of_another, record_of_nobody
from streams.posting.in_flight import KINDS
from streams.posting.queued import decode_queued

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
                first = decode_queued(self._codec, waiting[0].value)
                logger.critical(
                    "no company has this partition; add it back, or: streams company retire NAME",
                    topic=batch.topic,
                    partition=batch.partition,
                    company=first.company if first is not None else None,
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

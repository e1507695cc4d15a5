"""The sealed stock documents of one company: which batch lies in which document (D3).

A document is sealed before it is sent, so a crash re-sends the identical request. A batch goes into a second document
only when the first can never be applied any more: its claim lies in B1 as `void`, written by us before the batch is
free again.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from datetime import date

import structlog

from connectors.base.errors import LogError, LogUnavailableError
from schemas.records import Anchor, DocumentLine, StockDocument
from streams.chain.keys import document_key
from streams.chain.log import Anchors, ChainLog
from streams.config.load import Config
from streams.ports import Ports
from streams.posting.sealed_batches import SealedBatches

logger = structlog.get_logger(__name__)

#: How often sealed documents are looked after.
_KEEP_INTERVAL_S = 3600.0


class SealedDocuments:
    """Lifecycle: `open`; `of` asks where a batch lies; `seal` adds a document; `keep` now and then.

    Its poster serialises the calls.

    Attributes:
        log_start: The first offset that the log held when it was last looked after: no batch of an earlier document
            comes again, for the log outlives the queue.
    """

    def __init__(self, company: str, config: Config, ports: Ports, anchors: Anchors) -> None:
        self._company, self._config_version = company, config.version
        self._log, self._codec, self._now = ports.log, ports.codec, ports.clock.now
        self._batches = SealedBatches()
        self.log_start = 0
        self._chain: ChainLog[StockDocument] = ChainLog(
            ports.log,
            config.topic("erp-documents"),
            config.company_partition(company),
            lambda value: ports.codec.decode(value, StockDocument),
            self,
            anchors,
            ports.clock.now,
        )

    def restore(self, anchor: Anchor) -> None:
        """Nothing older is needed: postings are kept for a shorter time than documents."""

    def visit(self, offset: int, record: StockDocument) -> None:
        self._batches.add(record.batch_ks, offset)

    def reached(self) -> tuple[int, int]:
        return 0, 0

    @property
    def place(self) -> str:
        return f"{self._chain.topic}/{self._chain.partition}"

    async def open(self) -> None:
        """Walk the chain.

        Raises:
            ChainRootError: see `streams.chain.rule`.
        """
        await self._chain.open()
        await self._chain.anchor()

    async def keep(self) -> None:
        """Write today's anchor and let go of what the log has let go of; called every hour or so.

        Without an anchor a chain that outlives its log's retention in one process could not be walked by the next one.

        Raises:
            LogError: Nothing is lost, and the next call does it.
        """
        await self._chain.anchor()
        self.log_start, _ = await self._log.bounds(self._chain.topic, self._chain.partition)
        self._batches.forget(self.log_start)

    async def of(self, k: str) -> tuple[int, StockDocument] | None:
        """The last sealed document that holds this batch, with its offset; None where none does."""
        offset = self._batches.get(k)
        if offset is None:
            return None
        async with aclosing(self._log.read(self._chain.topic, self._chain.partition, offset, offset + 1)) as batches:
            async for records in batches:
                for record in records:
                    document = self._codec.decode(record.value or b"", StockDocument)
                    return (offset, document) if k in document.batch_ks else None
        raise LogUnavailableError(f"{self._chain.topic}/{self._chain.partition}: offset {offset} cannot be read again")

    async def seal(
        self,
        direction: str,
        posting_date: date,
        account: str | None,
        lines: tuple[DocumentLine, ...],
        batch_ks: Sequence[str],
    ) -> tuple[int, StockDocument] | None:
        """Make a document durable.

        Returns:
            Its offset and itself; None when another poster's record came first: stop posting until reassigned.
        """
        head = self._chain.head
        document = StockDocument(
            number=head.number,
            prev_digest=head.digest,
            k=document_key(self._company, head.number, head.digest, lines, batch_ks),
            company=self._company,
            direction=direction,
            posting_date=posting_date,
            account=account,
            lines=lines,
            batch_ks=tuple(batch_ks),
            sealed_at=self._now(),
            config_version=self._config_version,
        )
        if not await self._chain.append([(self._codec.encode(document), document)], self._company.encode()):
            return None
        return self._chain.position - 1, document


async def look_after(sealed: SealedDocuments, serialised: asyncio.Lock) -> None:
    """Keep memory and the next start bounded, until cancelled; `serialised` is held by whoever seals."""
    while True:
        await asyncio.sleep(_KEEP_INTERVAL_S)
        try:
            async with serialised:
                await sealed.keep()
        except LogError as error:
            logger.warning("sealed documents are not looked after", place=sealed.place, error=str(error))

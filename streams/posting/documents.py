"""The sealed stock documents of one company: which batch lies in which document (D3).

A document is sealed before it is sent, so a crash re-sends the identical request. A batch goes into a second document
only when the first can never be applied any more: its claim lies in B1 as `void`, written by us before the batch is
free again.
"""

from collections.abc import Sequence
from contextlib import aclosing
from datetime import date

from connectors.base.errors import LogUnavailableError
from schemas.records import Anchor, DocumentLine, StockDocument
from streams.chain.keys import document_key
from streams.chain.log import Anchors, ChainLog
from streams.config.load import Config
from streams.ports import Ports


class SealedDocuments:
    """Lifecycle: `open`; `of` asks where a batch lies; `seal` adds a document. Its poster serialises the calls."""

    def __init__(self, company: str, config: Config, ports: Ports, anchors: Anchors) -> None:
        self._company, self._config_version = company, config.version
        self._log, self._codec, self._now = ports.log, ports.codec, ports.clock.now
        self._offset_of: dict[int, int] = {}
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
        for k in record.batch_ks:
            self._offset_of[_short(k)] = offset

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

    async def of(self, k: str) -> tuple[int, StockDocument] | None:
        """The last sealed document that holds this batch, with its offset; None where none does."""
        offset = self._offset_of.get(_short(k))
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


def _short(k: str) -> int:
    """60 bits of a K: what memory holds of it; the record itself has the last word."""
    return hash(k) & ((1 << 60) - 1)

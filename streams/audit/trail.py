"""Writes and reads the audit chain: two records a command, one before it changes anything, one with its result."""

import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace

from connectors.base.clock import Clock
from schemas.codec import Codec
from schemas.records import Anchor, AuditRecord
from streams.audit.verify import AuditVerdict, Entry, verify
from streams.chain.log import ANCHORS, Anchors, ChainLog
from streams.chain.rule import Head
from streams.config.load import Config
from streams.kafka.log import Log

AUDIT = "audit"
#: How often a writer tries that meets another one each time.
_TRIES = 20
#: What a text of a record may have, in characters: a selection of very many ids is named by its hash.
_TEXT_MAX_CHARS, _CUT = 20_000, "..."


class AuditLostError(Exception):
    """Others wrote first, again and again; nothing was written."""


@dataclass(slots=True)
class Running:
    """A command under way; whoever runs it sets `result`, in a few words or as JSON."""

    command: str
    result: str = "done"


class AuditTrail:
    """The chain of one cluster. One may be made wherever it is needed; several may write at once."""

    def __init__(self, log: Log, config: Config, codec: Codec, clock: Clock) -> None:
        self._log, self._codec, self._clock, self._topic = log, codec, clock, config.topic(AUDIT)
        self._anchors = Anchors(log, codec, config.topic(ANCHORS))

    @asynccontextmanager
    async def command(
        self,
        action: str,
        *,
        by: str,
        what: str,
        company: str = "",
        selection_hash: str | None = None,
        why: str | None = None,
        command: str | None = None,
    ) -> AsyncIterator[Running]:
        """Around what a command changes: nothing is changed that is not in the chain.

        Args:
            action: The command, as people write it: `dlq discard`.
            by: The person.
            what: What it is about: a selection as JSON, a name.
            company: Whose; empty: no single company's.
            selection_hash: Of the dead letters that it is about.
            why: The person's reason.
            command: The id that its effects name; None: a new one.

        Raises:
            LogError: Nobody knows whether the record is written; nothing was changed.
            ChainRootError: See `streams.chain.rule`.
            AuditLostError: Nothing was changed.
        """
        record = AuditRecord(
            number=0,
            prev_digest=b"",
            id="",
            at=self._clock.now(),
            by=by,
            action=action,
            company=company,
            command=command or new_id(),
            what=_cut(what),
            selection_hash=selection_hash,
            why=None if why is None else _cut(why),
        )
        await self._write(record)
        running = Running(record.command)
        try:
            yield running
        except BaseException as error:
            running.result = f"stopped by {type(error).__name__}"
            raise
        finally:
            await self._write(replace(record, at=self._clock.now(), result=_cut(running.result)))

    async def records(self) -> list[AuditRecord]:
        """What stands in the chain, the oldest first.

        Raises:
            LogError: The broker cannot be reached.
            ChainRootError: See `streams.chain.rule`.
        """
        reader = _AuditReader()
        await self._chain(reader).open()
        return reader.records

    async def verify(self) -> AuditVerdict:
        """Whether all that was written is there, as it was written.

        Raises:
            LogError: The broker cannot be reached.
        """
        start, end = await self._log.bounds(self._topic, 0)
        entries: list[Entry] = []
        async with aclosing(self._log.read(self._topic, 0, start, end)) as batches:
            async for records in batches:
                entries += [Entry(record.offset, record.value or b"") for record in records]
        return verify(
            entries,
            start,
            end,
            await self._anchors.of(self._topic, 0),
            lambda value: self._codec.decode(value, AuditRecord),
        )

    def _chain(self, reader: "_AuditReader") -> ChainLog[AuditRecord]:
        return ChainLog(
            self._log,
            self._topic,
            0,
            lambda value: self._codec.decode(value, AuditRecord),
            reader,
            self._anchors,
            self._clock.now,
        )

    async def _write(self, record: AuditRecord) -> None:
        chain = self._chain(_AuditReader())
        await chain.open()
        named = replace(record, id=new_id())
        for _ in range(_TRIES):
            linked = replace(named, number=chain.head.number, prev_digest=chain.head.digest)
            if await chain.append([(self._codec.encode(linked), linked)], record.company.encode()):
                await self._anchor(chain)
                return
        raise AuditLostError("others write to the audit chain again and again; run the command again")

    async def _anchor(self, chain: ChainLog[AuditRecord]) -> None:
        """Behind every record: a command may be the last for longer than the topic keeps its records."""
        start, _ = await self._log.bounds(self._topic, 0)
        known = await self._anchors.of(self._topic, 0)
        now = self._clock.now()
        head: Head = chain.head
        anchor = Anchor(
            topic=self._topic, partition=0, offset=chain.position, number=head.number, digest=head.digest, end=0, at=now
        )
        await self._anchors.write(anchor, [old for old in known if old.offset < start and old.at.date() != now.date()])


class _AuditReader:
    def __init__(self) -> None:
        self.records: list[AuditRecord] = []

    def restore(self, anchor: Anchor) -> None:
        return

    def visit(self, offset: int, record: AuditRecord) -> None:
        self.records.append(record)

    def reached(self) -> tuple[int, int]:
        return 0, 0


def new_id() -> str:
    """An id that nobody else has: of a command, of a record."""
    return secrets.token_hex(8)


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_MAX_CHARS else text[: _TEXT_MAX_CHARS - len(_CUT)] + _CUT

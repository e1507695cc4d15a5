"""Reads an inbox, file by file and record by record, and can go on after any record."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from connectors.base.clock import Clock
from connectors.base.context import EventContext
from connectors.base.errors import RetriableError
from connectors.base.source import Batch, Item, StockLevel
from connectors.ims.address import InboxAddress
from connectors.ims.files import open_reader
from connectors.ims.inboxes import Inbox, open_inbox
from connectors.ims.inboxes.folder import names_in
from connectors.ims.inboxes.inbox import MAX_NAME_BYTES, File, Memory, is_plain
from connectors.ims.reader import FilePosition, Reader
from connectors.ims.settings import ImsSettings, mapping_of
from schemas.events import DispatchConfirmed

log = structlog.get_logger(__name__)

#: A batch is one send and one cursor record. 500 lines keep the broker's round trips (a few ms each) below a tenth of
#: the work. The bytes bound what is in memory, and also the record of a level: even if all lines are of one position,
#: their pending deltas (in base64) stay below 1 MiB.
BATCH_LINES = 500
BATCH_BYTES = 512 * 1024
#: Names of files that nobody will read, in the cursor of an inbox on a server.
MAX_UNMAPPED_SHOWN = 100
_EPOCH = datetime.fromtimestamp(0, UTC)


def unread_files(settings: ImsSettings) -> list[str]:
    """The names of the files in the inbox that are not read to their end, in the order in which they are read.

    Of an inbox on a server that is nobody's guess: none.
    """
    if not isinstance(settings.inbox, Path):
        return []
    try:
        return sorted(name for name in names_in(settings.inbox) if is_ours(name, settings))
    except FileNotFoundError:
        return []


def unmapped_files(settings: ImsSettings, cursor: str | None) -> list[str]:
    """The names of files in the inbox that nobody will read, as they can be shown.

    Of an inbox on a server, as the connector saw it last and wrote down in its cursor.
    """
    if isinstance(settings.inbox, InboxAddress):
        return list(FilePosition.from_text(cursor).unmapped) if cursor is not None else []
    if settings.inbox is None:
        return []
    try:
        return _unmapped(names_in(settings.inbox), settings)
    except FileNotFoundError:
        return []


def _unmapped(names: Iterable[str], settings: ImsSettings) -> list[str]:
    found = (name for name in names if not name.startswith(".") and not name.endswith(".part"))
    return sorted(
        name.encode(errors="backslashreplace").decode()[:MAX_NAME_BYTES]
        for name in found
        if not is_ours(name, settings)
    )


def is_ours(name: str, settings: ImsSettings) -> bool:
    """Whether a file of that name would be read."""
    return is_plain(name) and (name.endswith(".jsonl") or mapping_of(name, settings) is not None)


class ImsSource:
    """An inbox as a `Source`.

    A file is put aside by the first read whose cursor says that all of it is acknowledged.

    Args:
        name: The connector's.
        settings: Its own.
        clock: When a line was read.
        inbox: In position of the one that the settings name.
    """

    def __init__(self, name: str, settings: ImsSettings, clock: Clock, *, inbox: Inbox | None = None) -> None:
        self.name = name
        self.company = settings.company
        self._settings = settings
        self._clock = clock
        self._inbox = inbox or open_inbox(settings)
        self._open: Reader | None = None
        self._names: list[str] = []  # still to be read of the last look, the next one last
        self._finished: FilePosition | None = None  # put aside: not to be asked for again
        self._unmapped: tuple[str, ...] = ()
        self._counted: set[str] = set()
        self._dispatching: set[str] = set()
        self._warned: set[str] = set()
        self._net_since = (settings.start_at or _EPOCH) if settings.levels_include_dispatches else None

    async def read(self, cursor: str | None) -> Batch:
        position = FilePosition.from_text(cursor) if cursor is not None else None
        try:
            return await self._read(cursor, position)
        except OSError as error:
            self._close_file()
            raise RetriableError(f"{self.name}: a file cannot be read ({error.strerror}); repair the disk") from error
        except RetriableError as error:
            self._close_file()
            raise RetriableError(f"{self.name}: {error}", retry_after_s=error.retry_after_s) from error

    async def close(self) -> None:
        self._close_file()
        await self._inbox.close()

    def _close_file(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None
        self._names.clear()

    async def _read(self, cursor: str | None, position: FilePosition | None) -> Batch:
        if self._open is None or self._open.position != position:
            if self._open is not None:
                self._close_file()
            self._open = await self._reopen(position)
        if self._open is not None and self._open.is_read:
            await self._finish(self._open)
            self._finished = position
        if self._open is None:
            self._open = await self._next(position.memory if position is not None else ())
        if self._open is None:
            return Batch((), self._with_unmapped(cursor, position), idle=True)
        items = await asyncio.to_thread(self._read_batch, self._open)
        if self._open.is_read:
            at = self._open.position
            self._open.position = replace(at, memory=self._inbox.remember(at.memory, self._open.file))
        return Batch(items, self._open.position.to_text(), net_since=self._net_since)

    def _read_batch(self, reader: Reader) -> tuple[Item, ...]:
        items: list[Item] = []
        size = 0
        for step in reader.steps(EventContext(self.name, self.company, self._settings, self._clock.now())):
            size += step.size
            if step.item is not None:
                items.append(step.item)
                self._watch_counts(step.item)
            if len(items) >= BATCH_LINES or size >= BATCH_BYTES:
                break
        return tuple(items)

    def _watch_counts(self, item: Item) -> None:
        """Warn once of a place whose counts and dispatches come here, while nobody has said how they go together."""
        if self._settings.levels_include_dispatches is not None or not isinstance(item, StockLevel | DispatchConfirmed):
            return
        here, other = (self._counted, self._dispatching)[:: 1 if isinstance(item, StockLevel) else -1]
        here.add(item.location)
        if item.location in other and item.location not in self._warned:
            self._warned.add(item.location)
            log.warning(
                "levels_beside_dispatches",
                connector=self.name,
                location=item.location,
                remedy="set levels_include_dispatches: true where a count falls with each dispatch, else false",
            )

    async def _reopen(self, position: FilePosition | None) -> Reader | None:
        """The file that the cursor names, at its position, if it still is what it was."""
        if position is None or position == self._finished:
            return None
        file = await self._inbox.open(position.file, position.memory)
        if file is None:
            return None
        if file.digest != position.digest:
            file.close()
            return None
        return await self._reader(file, position, position.memory)

    async def _next(self, memory: Memory) -> Reader | None:
        """The next file that has not been read; those that have been and came back are put out of the way."""
        if not self._names:
            names = await self._inbox.look()
            self._warn_unmapped(names)
            self._names = sorted((name for name in names if is_ours(name, self._settings)), reverse=True)
        while self._names:
            file = await self._inbox.open(self._names[-1], memory)
            if file is not None:
                reader = await self._reader(file, None, memory)
                if not (reader.is_read or file.is_known):
                    self._names.pop()
                    return reader
                await self._finish(reader)
            self._names.pop()
        return None

    async def _reader(self, file: File, position: FilePosition | None, memory: Memory) -> Reader:
        try:
            return await asyncio.to_thread(open_reader, file, position, memory, self._settings)
        except BaseException:
            file.close()
            raise

    async def _finish(self, reader: Reader) -> None:
        """Put a file aside that is read, unless it has become another one meanwhile."""
        position = reader.position
        reader.close()
        self._open = None
        moved_to = await self._inbox.finish(reader.file)
        if moved_to is None:
            log.warning("file_changed", connector=self.name, file=position.file)
        else:
            log.info("file_done", connector=self.name, file=position.file, lines=position.line, moved_to=moved_to)

    def _warn_unmapped(self, names: Sequence[str]) -> None:
        """Log once which files nobody will read."""
        unmapped = tuple(_unmapped(names, self._settings))
        for name in sorted(set(unmapped) - set(self._unmapped)):
            log.warning(
                "file_not_read", connector=self.name, file=name, remedy="name it *.jsonl, or add a csv or json mapping"
            )
        self._unmapped = unmapped

    def _with_unmapped(self, cursor: str | None, position: FilePosition | None) -> str | None:
        """The cursor, with what lies on a server and nobody will read.

        `streams status` can look there only through us.
        """
        shown = self._unmapped[:MAX_UNMAPPED_SHOWN] if isinstance(self._settings.inbox, InboxAddress) else ()
        if shown == (position.unmapped if position is not None else ()):
            return cursor
        return replace(position or FilePosition("", ""), unmapped=shown).to_text()

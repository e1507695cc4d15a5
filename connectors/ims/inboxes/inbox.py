"""What the source asks of an inbox, and what all of them share."""

import asyncio
import hashlib
import tempfile
import unicodedata
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol, Self

from connectors.base.errors import RetriableError

DONE = "done"
MAX_NAME_BYTES = 255
#: An index or a listing of more names than this is no inbox any more.
MAX_FILES = 5000

#: Marks of files that were read, newest last, for an inbox that cannot put them aside. Part of the cursor.
Memory = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class File:
    """One file, open for reading; whoever has it closes it.

    Attributes:
        name: In the inbox.
        handle: Its bytes, seekable.
        size: How many there were when it was opened.
        digest: SHA-256 of them, hexadecimal: the same name with other content is another file.
        stamp: The inbox's own: tells it from one that has taken its place since.
        is_known: It was read before, and has come back with the same name and content.
        modified: When it was modified last, as the inbox says; aware. None: it does not say.
    """

    name: str
    handle: BinaryIO
    size: int
    digest: str
    stamp: tuple[object, ...]
    is_known: bool
    modified: datetime | None = None

    def close(self) -> None:
        self.handle.close()


class Inbox(Protocol):
    """A place with files.

    Lifecycle: any of the calls, one at a time; `close` once. After an error each may be called again. A call that was
    cut off in the middle has done all of what it does, or nothing.

    Every call raises RetriableError where the inbox cannot be had now, FatalError where it never will without a person.
    """

    async def look(self) -> Sequence[str]:
        """The names of the plain files that are there; folders and links are none."""

    async def open(self, name: str, memory: Memory) -> File | None:
        """Open a file; None: it is gone, or surely one that was read."""

    async def finish(self, file: File) -> str | None:
        """Put a file aside that is read, and say where it is now; None: it is gone, or has become another one."""

    def remember(self, memory: Memory, file: File) -> Memory:
        """The memory once all of a file is acknowledged."""

    async def close(self) -> None:
        """Let go of connections."""


class NoInbox:
    """Of a connector that only receives: there is never a file."""

    async def look(self) -> Sequence[str]:
        return ()

    async def open(self, name: str, memory: Memory) -> File | None:
        del name, memory
        return None

    async def finish(self, file: File) -> str | None:
        del file
        return None

    def remember(self, memory: Memory, file: File) -> Memory:
        del file
        return memory

    async def close(self) -> None:
        """Nothing is held."""


def is_plain(name: str) -> bool:
    """Whether a name is one of a file in the folder itself, and can be shown and stored."""
    return (
        0 < len(name.encode(errors="surrogateescape")) <= MAX_NAME_BYTES
        and name not in (".", "..")
        and not set("/\\") & set(name)
        and not any(unicodedata.category(each) in ("Cc", "Cs") for each in name)
    )


def done_names(name: str, digest: str) -> tuple[str, str]:
    """What a file is called in `done`, and what where that name is taken by another content."""
    return name, f"{name}.{digest[:12]}"


class Spool:
    """A fetched file on this machine's disk, without a name there: it is gone when it is closed.

    Args:
        what: For messages.
        limit: Bytes; beyond, the file is not taken.
    """

    def __init__(self, what: str, limit: int) -> None:
        self._what, self._limit = what, limit
        self._hash = hashlib.sha256()
        self.size = 0
        self.handle: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 -- closed by whoever has the file

    @classmethod
    async def fill(cls, what: str, limit: int, chunks: AsyncGenerator[bytes, None]) -> Self:
        """Fetch all of a file.

        Raises:
            RetriableError: It is too large.
        """
        spool = await asyncio.to_thread(cls, what, limit)
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    await asyncio.to_thread(spool._add, chunk)
        except BaseException:
            spool.handle.close()
            raise
        return spool

    def _add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size > self._limit:
            raise RetriableError(
                f"{self._what} has more than {self._limit} bytes; split it at the source, or raise max_file_bytes"
            )
        self._hash.update(chunk)
        try:
            self.handle.write(chunk)
        except OSError as error:
            raise RetriableError(
                f"{self._what} cannot be kept here ({error.strerror}); make room in {tempfile.gettempdir()}, or set "
                "TMPDIR"
            ) from error

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

"""A folder of this machine. A file that is read moves to its `done/`."""

import asyncio
import hashlib
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TypeVar

from connectors.base.errors import RetriableError
from connectors.ims.inboxes.inbox import DONE, File, Memory, done_names, is_plain

_T = TypeVar("_T")

#: Tells a file that has been replaced or written to from one that has not, without reading it.
_Stamp = tuple[int, int, int]


class FolderInbox:
    """See `Inbox`. What is read is known by what lies in `done/`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digests: dict[Path, tuple[_Stamp, str]] = {}

    async def look(self) -> Sequence[str]:
        return await self._try(self._look)

    async def open(self, name: str, memory: Memory) -> File | None:
        del memory
        return await self._try(lambda: self._open(name))

    async def finish(self, file: File) -> str | None:
        return await self._try(lambda: self._finish(file))

    def remember(self, memory: Memory, file: File) -> Memory:
        del file
        return memory

    async def close(self) -> None:
        """Nothing is held."""

    async def _try(self, work: Callable[[], _T]) -> _T:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            what = f"{error.filename or self._folder} cannot be read: {error.strerror or type(error).__name__}"
            raise RetriableError(f"{what}; fix its rights, or the disk") from error

    def _look(self) -> list[str]:
        self._folder.mkdir(parents=True, exist_ok=True)
        return names_in(self._folder)

    def _open(self, name: str) -> File | None:
        if not is_plain(name):
            return None
        path = self._folder / name
        try:
            handle = _open_plain(path)
        except FileNotFoundError:
            return None
        try:
            stamp = _stamp(os.fstat(handle.fileno()))
            digest = self._digest(path, handle, stamp)
            modified = datetime.fromtimestamp(stamp[2] // 1_000_000 / 1000, UTC)
            return File(name, handle, stamp[1], digest, stamp, self._is_done(name, stamp[1], digest), modified)
        except BaseException:
            handle.close()
            raise

    def _digest(self, path: Path, handle: BinaryIO, stamp: _Stamp) -> str:
        known = self._digests.get(path)
        if known is None or known[0] != stamp:
            handle.seek(0)
            known = (stamp, hashlib.file_digest(handle, "sha256").hexdigest())  # type: ignore[arg-type]  # typeshed wants readinto
            self._digests[path] = known
        return known[1]

    def _is_done(self, name: str, size: int, digest: str) -> bool:
        """Whether `done/` has a file of this name and content."""
        paths = [self._folder / DONE / each for each in done_names(name, digest)]
        return any(path.is_file() and path.stat().st_size == size and self._digest_of(path) == digest for path in paths)

    def _digest_of(self, path: Path) -> str:
        with path.open("rb") as handle:
            return self._digest(path, handle, _stamp(os.fstat(handle.fileno())))

    def _finish(self, file: File) -> str | None:
        path, done = self._folder / file.name, self._folder / DONE
        try:
            if _stamp(path.stat()) != file.stamp:
                return None
        except FileNotFoundError:
            return None
        done.mkdir(exist_ok=True)
        first, second = (done / each for each in done_names(file.name, file.digest))
        target = first if not first.exists() else second
        number = 2
        while target.exists():
            target = second.with_name(f"{second.name}.{number}")
            number += 1
        path.rename(target)
        self._digests.pop(path, None)
        return f"{DONE}/{target.name}"


def names_in(folder: Path) -> list[str]:
    """The plain files of a folder; a link is none: it could lead out of it."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]


def _open_plain(path: Path) -> BinaryIO:
    # A link that took the file's place since we looked is not followed.
    return os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)), "rb")


def _stamp(stat: os.stat_result) -> _Stamp:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns

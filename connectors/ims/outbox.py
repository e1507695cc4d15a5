"""Writes what B1 says into a folder: one JSON-lines file per effect.

The order in which a file becomes visible:

1. It is written under a name of its own that ends in `.part`.
2. It is fsynced.
3. It is renamed: whoever looks into the folder sees it whole or not at all.
4. The folder is fsynced, once for all files of a call. Only then is the effect sent.
"""

import asyncio
import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path
from typing import Any

from connectors.base.clock import Clock
from connectors.base.errors import FatalError, OutcomeUnknownError, RetriableError
from connectors.base.sink import ChannelEffect, Delivered
from connectors.ims.settings import ImsOutSettings, ImsSettings

#: Of the effects that replace one another, the later one counts whatever the order of the files.
_LATEST_WINS = frozenset({"item_changed", "price_changed", "stock_level"})
_OURS = re.compile(
    r"(item_changed|price_changed|stock_level|order_released|order_withdrawn|delivery_posted)-.+\.part", re.ASCII
)
_PLAIN_K = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
#: A file system commits together what several threads wait for: where an fsync takes 5 ms, 20,000 files take 13 s
#: and not 100 s. On a virtual disk that acknowledges at once 8 s, as with one thread (2026-12-01, two shared cores).
_THREADS = 8


@dataclass(frozen=True, slots=True)
class _Draft:
    """One file that is to be.

    Attributes:
        is_there: Whether it was there before, with this content.
        error: Why it will not be; None: it may.
        is_refused: Whether it never will.
    """

    k: str
    target: Path
    part: Path
    line: bytes
    is_there: bool = False
    error: str | None = None
    is_refused: bool = False

    def failed(self, error: str, *, is_refused: bool = False) -> "_Draft":
        return replace(self, error=error, is_refused=is_refused)

    @property
    def result(self) -> Delivered:
        if self.error is None:
            return Delivered(k=self.k, outcome="sent", ref=self.target.name)
        if self.is_refused:
            return Delivered(k=self.k, outcome="refused", reason="channel_refused", error=self.error)
        return Delivered(k=self.k, outcome="away", error=self.error)


class ImsSink:
    """An outbox as a `Sink`.

    A file is named after its effect, so that the same effect again is the same file with the same bytes, whether or
    not the receiver has taken it meanwhile: nothing has to be known of an earlier try.

    Args:
        name: The connector's.
        settings: Its own; `out` is there.
    """

    def __init__(self, name: str, settings: ImsSettings, _clock: Clock) -> None:
        if not isinstance(settings.out, ImsOutSettings):
            raise FatalError(f"{name} has no outbox; add [connectors.{name}.out] with outbox")
        self._name = name
        self._folder = settings.out.outbox
        self._is_prepared = False
        self._token = secrets.token_hex(4)
        self._threads: ThreadPoolExecutor | None = None

    async def deliver(self, effects: Sequence[ChannelEffect]) -> Sequence[Delivered]:
        return await asyncio.to_thread(self._deliver, effects)

    async def current(self, effects: Sequence[ChannelEffect]) -> Mapping[str, str | None]:
        """Nothing: a folder does not say what its reader shows."""
        del effects
        return {}

    async def close(self) -> None:
        if self._threads is not None:
            await asyncio.to_thread(self._threads.shutdown)
            self._threads = None

    def _deliver(self, effects: Sequence[ChannelEffect]) -> list[Delivered]:
        try:
            self._prepare()
            drafts = self._written([self._draft(each) for each in effects])
        except OSError as error:
            raise RetriableError(self._words(error)) from error
        drafts = [self._revealed(draft) for draft in drafts]
        if any(draft.error is None for draft in drafts):
            try:
                _fsync_folder(self._folder)
            except OSError as error:
                raise OutcomeUnknownError(self._words(error)) from error
        away = [draft.error for draft in drafts if draft.error is not None and not draft.is_refused]
        if drafts and len(away) == len(drafts):
            raise RetriableError(away[0])
        return [draft.result for draft in drafts]

    def _prepare(self) -> None:
        """Make the folder where it is missing, and clear away what an earlier process left half written.

        Only at the start: a folder that vanishes later is a disk or a share that is away, and is not made anew.
        """
        if not self._is_prepared:
            self._folder.mkdir(parents=True, exist_ok=True)
            with os.scandir(self._folder) as entries:
                stale = [entry.path for entry in entries if _OURS.fullmatch(entry.name)]
            for path in stale:
                Path(path).unlink(missing_ok=True)
            self._is_prepared = True
        if not os.access(self._folder, os.W_OK | os.X_OK):
            self._folder.stat()  # says that it is missing, where it is
            raise PermissionError(13, "no right to write there", str(self._folder))

    def _draft(self, effect: ChannelEffect) -> _Draft:
        name = f"{effect.type}-{effect.k}.jsonl"
        # Another process may still write the same file; each has a `.part` of its own, and the rename is atomic.
        part = self._folder / f"{name}.{self._token}.part"
        draft = _Draft(effect.k, self._folder / name, part, line_of(effect))
        if not _PLAIN_K.fullmatch(effect.k):
            return draft.failed("its identity cannot be the name of a file", is_refused=True)
        return draft

    def _write(self, draft: _Draft) -> _Draft:
        """Write the `.part`, durably, unless the file is there."""
        if draft.error is not None:
            return draft
        try:
            present = _content(draft.target)
            if present is None:
                _write_durably(draft.part, draft.line)
            elif present == draft.line:
                return replace(draft, is_there=True)
            else:
                what = f"{draft.target.name} is there with other content, and no file is rewritten"
                return draft.failed(f"{what}; look who writes there", is_refused=True)
        except OSError as error:
            with suppress(OSError):
                draft.part.unlink(missing_ok=True)
            return draft.failed(self._words(error))
        return draft

    def _revealed(self, draft: _Draft) -> _Draft:
        if draft.error is not None or draft.is_there:
            return draft
        try:
            draft.part.replace(draft.target)
        except OSError as error:  # also where a process that takes over has cleared the `.part` away
            return draft.failed(self._words(error))
        return draft

    def _written(self, drafts: Sequence[_Draft]) -> list[_Draft]:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"outbox-{self._name}")
        return list(self._threads.map(self._write, drafts))

    def _words(self, error: OSError) -> str:
        what = error.strerror or type(error).__name__
        return f"{self._name}: nothing can be written to {self._folder}: {what}; free space, or fix the folder's rights"


def line_of(effect: ChannelEffect) -> bytes:
    """The one line of an effect's file (contract section 3): its type, its content, and the time of the reading.

    The time is there only where a later reading replaces an earlier one.
    """
    fields: dict[str, Any] = {"type": effect.type, **effect.content}
    if effect.type in _LATEST_WINS:
        fields["as_of"] = effect.as_of.astimezone(UTC).isoformat()
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _write_durably(path: Path, line: bytes) -> None:
    with path.open("wb") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

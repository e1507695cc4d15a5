"""Whether an inbox can be looked into, wherever it is, and an outbox written to."""

import asyncio
import os
from pathlib import Path

from connectors.base.clock import Clock
from connectors.base.doctor import Finding, look
from connectors.base.errors import FatalError
from connectors.ims.inboxes import open_inbox
from connectors.ims.settings import ImsSettings


async def examine(_name: str, settings: ImsSettings, _wanted: frozenset[str], _clock: Clock) -> list[Finding]:
    """Look into the inbox; nothing is opened or moved there. What places a file may name, nobody can be asked."""
    inbox = open_inbox(settings)
    out = settings.out

    async def names() -> str:
        folder = settings.inbox
        if isinstance(folder, Path):
            if not folder.exists():
                return "not there yet; the first look makes it"
            if not (folder.is_dir() and os.access(folder, os.R_OK | os.W_OK | os.X_OK)):
                raise FatalError("the inbox is no folder in which files can be moved; make it one, or fix its rights")
        return f"answers; {len(await inbox.look())} files wait"

    try:
        findings = [] if settings.inbox is None else [await look("inbox", names)]
        if out is not None:
            findings.append(await look("outbox", lambda: asyncio.to_thread(_writable, out.outbox)))
        return findings
    finally:
        await inbox.close()


def _writable(folder: Path) -> str:
    if not folder.exists():
        return "not there yet; the first delivery makes it"
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise FatalError("the outbox is no folder that can be written to; make it one, or fix its rights")
    return "can be written to"

"""The inbox of the contract suite on servers: the same files, fetched over SFTP and over HTTPS."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from connectors.ims.inboxes import HttpsInbox
from connectors.ims.source import ImsSource
from tests.connectors.ims.servers import HOST_KEY, PASSWORD, USER, WebFolder, sftp_server

ENVIRON = {"PASSWORD": PASSWORD}
SFTP = {"inbox": f"sftp://{USER}@127.0.0.1/in", "password": "env:PASSWORD", "host_key": HOST_KEY.get_fingerprint()}
HTTPS = {"inbox": "https://files.example/in/", "token": "env:PASSWORD"}

_port = 0


@asynccontextmanager
async def serve_sftp() -> AsyncIterator[None]:
    global _port
    async with sftp_server() as _port:
        yield


def sftp_source(name: str, settings: Any, clock: Any, folder: Path) -> ImsSource:
    address = replace(settings.inbox, port=_port, path=f"{folder}/in/")
    return ImsSource(name, settings.model_copy(update={"inbox": address}), clock)


def https_source(name: str, settings: Any, clock: Any, folder: Path) -> ImsSource:
    inbox = HttpsInbox(settings.inbox, settings, httpx.ASGITransport(WebFolder(folder / "in")))
    return ImsSource(name, settings, clock, inbox=inbox)

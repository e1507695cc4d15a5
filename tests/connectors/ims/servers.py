"""Servers with files: SFTP on a free loopback port, HTTPS as an ASGI app.

What they serve is a folder of this machine.
"""

import email.utils
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import asyncssh

USER, PASSWORD = "wms", "canary-5ecret"
HOST_KEY = asyncssh.generate_private_key("ssh-ed25519")
CLIENT_KEY = asyncssh.generate_private_key("ssh-ed25519")


class _Server(asyncssh.SSHServer):
    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == USER and key.public_data == CLIENT_KEY.public_data


@asynccontextmanager
async def sftp_server() -> AsyncIterator[int]:
    """The port of an SFTP server that shows this machine's files."""
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=_Server, server_host_keys=[HOST_KEY], sftp_factory=True
    )
    try:
        yield server.get_port()
    finally:
        server.close()
        await server.wait_closed()


@dataclass
class WebFolder:
    """A folder behind `https://host/in/`, as an ASGI app.

    Attributes:
        index: `etag`, `nginx` (size and mtime), or `names`.
        validates: Answers have ETag and Last-Modified.
        deletes: DELETE is allowed.
        asked: Method and path of every request.
        answers: Ready answers, by path: status, headers, body.
    """

    folder: Path
    token: str = PASSWORD
    index: str = "etag"
    validates: bool = True
    deletes: bool = True
    asked: list[str] = field(default_factory=list)
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        method, path = scope["method"], unquote(scope["raw_path"].decode().partition("?")[0])
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append(f"{method} {path}")
        status, extra, body = self._answer(method, path, headers)
        sent = {"content-length": str(len(body)), **extra}
        start = {"status": status, "headers": [(k.encode(), v.encode()) for k, v in sent.items()]}
        await send({"type": "http.response.start", **start})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})

    def _answer(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        if headers.get("authorization") != f"Bearer {self.token}":
            return 401, {}, f"no {headers}".encode()
        if path in self.answers:
            return self.answers[path]
        if path == "/in/":
            return 200, {}, json.dumps([self._row(each) for each in sorted(self.folder.iterdir())]).encode()
        file = self.folder / path.removeprefix("/in/")
        if not file.is_file():
            return 404, {}, b""
        found = self._validators(file)
        if method == "DELETE":
            if not self.deletes:
                return 405, {}, b""
            if headers.get("if-match") not in (None, found.get("etag")):
                return 412, {}, b""
            file.unlink()
            return 204, {}, b""
        return 200, found, file.read_bytes()

    def _row(self, file: Path) -> object:
        if file.is_dir():
            return {"name": file.name, "type": "directory"}
        if self.index == "names":
            return file.name
        if self.index == "etag":
            return {"name": file.name, "etag": _etag(file), "size": file.stat().st_size}
        return {"name": file.name, "type": "file", "mtime": _date(file), "size": file.stat().st_size}

    def _validators(self, file: Path) -> dict[str, str]:
        return {"etag": _etag(file), "last-modified": _date(file)} if self.validates else {}


def _etag(file: Path) -> str:
    return f'"{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}"'


def _date(file: Path) -> str:
    return email.utils.formatdate(file.stat().st_mtime, usegmt=True)

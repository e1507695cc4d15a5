"""A folder on an SFTP server. A file that is read moves to its `done/`, there."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast

import asyncssh
from asyncssh.constants import FILEXFER_TYPE_REGULAR

from connectors.base.errors import ConnectorError, CredentialsRefusedError, FatalError, RetriableError
from connectors.ims.address import InboxAddress
from connectors.ims.inboxes.inbox import DONE, MAX_FILES, File, Memory, Spool, done_names, is_plain
from connectors.ims.settings import ImsSettings

CONNECT_S = 30.0
#: For one request, or one chunk of a file.
ANSWER_S = 60.0
_KEEP_ALIVE_S = 15
_CHUNK_BYTES = 1024 * 1024

# It tells user names and paths at INFO.
logging.getLogger("asyncssh").setLevel(logging.WARNING)

_Stamp = tuple[int | None, int | None]


class SftpInbox:
    """See `Inbox`. What is read is known by what lies in `done/` there; a file is fetched whole before it is read."""

    def __init__(self, address: InboxAddress, settings: ImsSettings) -> None:
        self._address, self._settings = address, settings
        self._connection: asyncssh.SSHClientConnection | None = None
        self._sftp: asyncssh.SFTPClient | None = None
        self._digests: dict[str, tuple[_Stamp, str]] = {}

    async def look(self) -> Sequence[str]:
        names: list[str] = []
        async with self._server("cannot be listed") as sftp, asyncio.timeout(ANSWER_S):
            try:
                async for entry in sftp.scandir(self._address.path):
                    if entry.attrs.type == FILEXFER_TYPE_REGULAR:
                        names.append(_text(entry.filename))
                    if len(names) > MAX_FILES:
                        raise RetriableError(
                            f"{self._address} has more than {MAX_FILES} files; move those away that are no input"
                        )
            except asyncssh.SFTPNoSuchFile:
                raise RetriableError(f"{self._address} is no folder; make it there, or fix inbox") from None
        return names

    async def open(self, name: str, memory: Memory) -> File | None:
        del memory
        if not is_plain(name):
            return None
        async with self._server(f"{name} cannot be fetched") as sftp:
            stamp = await self._stamp(sftp, self._path(name))
            if stamp is None:
                return None
            spool = await self._fetch(sftp, self._path(name))
            try:
                await self._check_same(sftp, name, stamp, spool.size)
                is_known = await self._is_done(sftp, name, spool)
            except BaseException:
                spool.handle.close()
                raise
        modified = datetime.fromtimestamp(stamp[1], UTC) if stamp[1] is not None else None
        return File(name, spool.handle, spool.size, spool.digest, stamp, is_known, modified)

    async def finish(self, file: File) -> str | None:
        async with self._server(f"{file.name} cannot be moved to {DONE}") as sftp:
            if await self._stamp(sftp, self._path(file.name)) != file.stamp:
                return None
            async with asyncio.timeout(ANSWER_S):
                if not await sftp.isdir(self._path(DONE)):
                    await sftp.mkdir(self._path(DONE))
                first, second = done_names(file.name, file.digest)
                target, number = first, 1
                while await sftp.exists(self._path(DONE, target)):
                    target = second if number == 1 else f"{second}.{number}"
                    number += 1
                await sftp.rename(self._path(file.name), self._path(DONE, target))
        return f"{DONE}/{target}"

    def remember(self, memory: Memory, file: File) -> Memory:
        del file
        return memory

    async def close(self) -> None:
        connection, self._connection, self._sftp = self._connection, None, None
        if connection is not None:
            connection.abort()
            await connection.wait_closed()

    def _path(self, *names: str) -> str:
        return self._address.path + "/".join(names)

    async def _stamp(self, sftp: asyncssh.SFTPClient, path: str) -> _Stamp | None:
        """What tells a file from one that has taken its place; None: there is no plain file."""
        try:
            async with asyncio.timeout(ANSWER_S):
                attributes = await sftp.lstat(path)
        except asyncssh.SFTPNoSuchFile:
            return None
        return (attributes.size, attributes.mtime) if attributes.type == FILEXFER_TYPE_REGULAR else None

    async def _check_same(self, sftp: asyncssh.SFTPClient, name: str, stamp: _Stamp, size: int) -> None:
        if await self._stamp(sftp, self._path(name)) != stamp or size != stamp[0]:
            raise RetriableError(
                f"{self._address}: {name} changes while it is read; write it as {name}.part, then rename"
            )

    async def _fetch(self, sftp: asyncssh.SFTPClient, path: str) -> Spool:
        async def chunks() -> AsyncGenerator[bytes, None]:
            async with sftp.open(path, "rb") as handle:
                while True:
                    async with asyncio.timeout(ANSWER_S):
                        chunk = cast(bytes, await handle.read(_CHUNK_BYTES))
                    if not chunk:
                        return
                    yield chunk

        return await Spool.fill(f"{self._address}: {path.rpartition('/')[2]}", self._settings.max_file_bytes, chunks())

    async def _is_done(self, sftp: asyncssh.SFTPClient, name: str, spool: Spool) -> bool:
        """Whether `done/` has a file of this name and content. It is fetched where its size says that it may be one."""
        for each in done_names(name, spool.digest):
            path = self._path(DONE, each)
            stamp = await self._stamp(sftp, path)
            if stamp is None or stamp[0] != spool.size:
                continue
            known = self._digests.get(path)
            if known is None or known[0] != stamp:
                done = await self._fetch(sftp, path)
                done.handle.close()
                known = self._digests[path] = stamp, done.digest
            if known[1] == spool.digest:
                return True
        return False

    @asynccontextmanager
    async def _server(self, what: str) -> AsyncIterator[asyncssh.SFTPClient]:
        """The connection, made when there is none; given up after any error, whose words are not ours to repeat."""
        try:
            yield self._sftp or await self._connect()
        except ConnectorError:
            raise
        except asyncssh.SFTPPermissionDenied:
            raise RetriableError(f"{self._address}: {what}: not permitted; fix the user's rights there") from None
        except (OSError, asyncssh.Error) as error:
            await self.close()
            raise RetriableError(
                f"{self._address}: {what} ({type(error).__name__}); see that the server runs"
            ) from None
        except BaseException:
            await self.close()
            raise

    async def _connect(self) -> asyncssh.SFTPClient:
        client = _Client(self._settings.host_key)
        try:
            async with asyncio.timeout(CONNECT_S):
                self._connection, _ = await asyncssh.create_connection(
                    lambda: client,
                    self._address.host,
                    self._address.port,
                    username=self._address.user,
                    known_hosts=self._known_hosts(),
                    keepalive_interval=_KEEP_ALIVE_S,
                    # Nothing but what the settings name: no agent, no keys and no configuration of whoever runs this.
                    config=None,
                    agent_path=None,
                    gss_auth=False,
                    gss_kex=False,
                    **self._credentials(),
                )
                self._sftp = await self._connection.start_sftp_client(path_errors="surrogateescape")
                return self._sftp
        except asyncssh.HostKeyNotVerifiable:
            shown = f" (it shows {client.seen})" if client.seen else ""
            raise FatalError(
                f"{self._address}: the server's key is not the one we know{shown}; ask its owner whether it has "
                "changed. "
                "Only if it has: fix host_key or known_hosts, then restart"
            ) from None
        except (asyncssh.PermissionDenied, asyncssh.IllegalUserName):
            raise CredentialsRefusedError(
                f"{self._address}: the server does not let us in; fix the user, password or key_file, then restart"
            ) from None

    def _known_hosts(self) -> Any:
        if self._settings.known_hosts is None:
            return [], [], []  # not none: that would be anybody; the client below decides
        try:
            return asyncssh.read_known_hosts(str(self._settings.known_hosts))
        except (OSError, ValueError):
            raise FatalError(
                f"{self._settings.known_hosts} cannot be read as known hosts; write it with ssh-keyscan, and check it"
            ) from None

    def _credentials(self) -> dict[str, Any]:
        settings = self._settings
        found: dict[str, Any] = {"client_keys": None}
        if settings.password is not None:
            found["password"] = settings.password.reveal()
        if settings.key_file is not None:
            passphrase = settings.key_passphrase.reveal() if settings.key_passphrase is not None else None
            try:
                found["client_keys"] = [asyncssh.import_private_key(settings.key_file.reveal() + "\n", passphrase)]
            except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError):
                raise CredentialsRefusedError(
                    "key_file is no private key that we can open; write it with ssh-keygen, and add key_passphrase if "
                    "it has "
                    "one. Then it must be PKCS#8: openssl pkcs8 -topk8"
                ) from None
        return found


class _Client(asyncssh.SSHClient):
    """Knows the server by its fingerprint, where the settings have one; it is asked only about keys not known yet."""

    def __init__(self, host_key: str | None) -> None:
        self._host_key = host_key
        self.seen: str | None = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        del host, addr, port
        self.seen = key.get_fingerprint("sha256")
        return self.seen == self._host_key


def _text(name: str | bytes) -> str:
    return name.decode(errors="surrogateescape") if isinstance(name, bytes) else name

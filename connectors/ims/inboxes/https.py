"""Files behind a URL with an index. What is read is remembered in the cursor, or deleted at the server.

The index is a JSON array at the folder's own URL: of names, or of objects with `name` and, as far as it knows them,
`etag`, `size`, `mtime` and `type` ("file", or it is passed over). nginx writes it with `autoindex_format json`.
"""

import base64
import hashlib
import json
import ssl
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

import httpx

from connectors.base.errors import FatalError, RetriableError
from connectors.base.http import HttpClient, StatusRule, http_date, retry_after_s, status_error
from connectors.ims.address import InboxAddress
from connectors.ims.inboxes.inbox import MAX_FILES, File, Memory, Spool, is_plain
from connectors.ims.settings import ImsSettings

MAX_INDEX_BYTES = 4 * 1024 * 1024
#: Files that were read and are in the index no more; one that comes back after so many others is read again, which its
#: events' identities make harmless. With those that are in the index, the cursor stays below 200 KB.
REMEMBERED = 1000
_MARK_CHARS = 11
_REFUSED = StatusRule(FatalError, "which is a refusal", "fix token or password, or its rights, then restart")
_RULES = {401: _REFUSED, 403: _REFUSED}


@dataclass(frozen=True, slots=True)
class _Entry:
    """One row of the index.

    Attributes:
        version: Tells one content from another; None: the index does not say.
        modified: When the file was modified; None: the index does not say so that we can read it.
    """

    name: str
    size: int | None
    version: str | None
    modified: datetime | None = None


class HttpsInbox:
    """See `Inbox`.

    Args:
        address: The folder's URL.
        settings: Credentials, CA file, what to do with a file that is read.
        transport: In place of the network.
    """

    def __init__(
        self, address: InboxAddress, settings: ImsSettings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._address, self._settings = address, settings
        host = f"[{address.host}]" if ":" in address.host else address.host
        self._base = f"{address.scheme}://{host}:{address.port}{quote(address.path)}"
        self._http = HttpClient(
            str(address),
            headers={"accept-encoding": "identity", **_credentials(address, settings)},
            timeout_s=60.0,
            max_body_bytes=MAX_INDEX_BYTES,
            too_large_remedy="take old files away there",
            verify=_trusted(settings) if transport is None else True,
            transport=transport,
        )
        self._index: dict[str, _Entry] | None = None
        self._looked_up: tuple[Memory, frozenset[str]] = ((), frozenset())
        self._finished: dict[str, object] = {}  # name = mark, until the cursor says so as well

    async def look(self) -> Sequence[str]:
        answer = await self._http.get(self._base, what="the index")
        self._check(answer.status, answer.headers, "the index")
        self._index = {each.name: each for each in self._entries(answer.body)}
        self._finished = {name: mark for name, mark in self._finished.items() if name in self._index}
        return list(self._index)

    async def open(self, name: str, memory: Memory) -> File | None:
        if not is_plain(name):
            return None
        if self._index is None:
            await self.look()
        entry = await self._versioned(name, self._index or {})
        if entry is None:
            return None
        mark = _mark(name, entry.version)
        if not self._deletes and (self._finished.get(name) == mark or mark in self._versions(memory)):
            return None
        return await self._fetch(entry, memory)

    async def finish(self, file: File) -> str | None:
        if not self._deletes:
            self._finished[file.name] = file.stamp[0]
            return file.name
        etag, modified = file.stamp[1:]
        headers = {"if-match": str(etag)} if etag else {"if-unmodified-since": str(modified)}
        # Servers that delete without looking at the condition are not rare.
        answer = await self._http.request("HEAD", self._url(file.name), what=file.name)
        if answer.status in (404, 410) or _validators(answer.headers) != (etag, modified):
            return None
        self._check(answer.status, answer.headers, file.name)
        answer = await self._http.request("DELETE", self._url(file.name), what=file.name, headers=headers)
        if answer.status in (403, 405, 501):
            raise FatalError(
                f"{self._address}: {file.name} cannot be deleted ({answer.status}); allow DELETE there, or write "
                'done = "keep", then restart'
            )
        if answer.status in (404, 410, 412):
            return None
        self._check(answer.status, answer.headers, file.name)
        return "deleted"

    def remember(self, memory: Memory, file: File) -> Memory:
        """The marks of the files in the index and of the last thousand others."""
        mark = f"{file.stamp[0]}{_mark(file.name, file.digest)}"
        there = {_mark(each.name, each.version) for each in (self._index or {}).values()}
        others = [each for each in memory if each[:_MARK_CHARS] not in there and each != mark]
        dropped = set(others[: max(0, len(others) - REMEMBERED)])
        return (*(each for each in memory if each not in dropped and each != mark), mark)

    async def close(self) -> None:
        await self._http.close()

    def _versions(self, memory: Memory) -> frozenset[str]:
        # Of one and the same memory thousands of files are looked up in a row.
        if self._looked_up[0] is not memory:
            self._looked_up = memory, frozenset(each[:_MARK_CHARS] for each in memory)
        return self._looked_up[1]

    @property
    def _deletes(self) -> bool:
        return self._settings.done == "delete"

    def _url(self, name: str) -> str:
        return self._base + quote(name, safe="")

    def _entries(self, body: bytes) -> list[_Entry]:
        try:
            rows = json.loads(body)
        except (ValueError, RecursionError):
            rows = None
        if not isinstance(rows, list):
            raise RetriableError(
                f'{self._address}: the index is no JSON array of names; let the server answer ["a.jsonl", ...] there '
                "(nginx: autoindex_format json)"
            )
        found = [entry for row in rows if (entry := _entry(row)) is not None]
        if len(found) > MAX_FILES:
            raise RetriableError(
                f"{self._address}: the index has more than {MAX_FILES} files; take old ones away, or write done = "
                '"delete"'
            )
        return found

    async def _versioned(self, name: str, index: dict[str, _Entry]) -> _Entry | None:
        """A row of the index with its version.

        Where the index does not say, the server is asked, once for each look.
        """
        entry = index.get(name)
        if entry is None or entry.version is not None or self._deletes:
            return entry
        answer = await self._http.request("HEAD", self._url(name), what=name)
        if answer.status in (404, 410):
            return None
        self._check(answer.status, answer.headers, name)
        etag, modified = _validators(answer.headers)
        if etag is None and modified is None:
            raise RetriableError(
                f"{self._address}: nothing tells whether {name} has been replaced; write etag, or size and mtime, into "
                'the index, or let the server send ETag or Last-Modified, or write done = "delete"'
            )
        version = f"{etag} {modified} {answer.headers.get('content-length')}"
        index[name] = _Entry(name, entry.size, version)
        return index[name]

    async def _fetch(self, entry: _Entry, memory: Memory) -> File | None:
        async with self._http.stream("GET", self._url(entry.name), what=entry.name) as response:
            if response.status_code in (404, 410):
                return None
            self._check(response.status_code, response.headers, entry.name)
            length = response.headers.get("content-length")
            size = int(length) if length is not None and length.isdecimal() else entry.size
            if size is None and "transfer-encoding" not in response.headers:
                raise RetriableError(
                    f"{self._address}: nothing tells where {entry.name} ends; let the server send Content-Length"
                )
            validators = _validators(response.headers)
            if self._deletes and validators == (None, None):
                raise FatalError(
                    f"{self._address}: {entry.name} has neither ETag nor Last-Modified, so that deleting it could hit "
                    'another file; let the server send one, or write done = "keep", then restart'
                )
            what = f"{self._address}: {entry.name}"
            spool = await Spool.fill(what, self._settings.max_file_bytes, _chunks(response))
        if spool.size != (spool.size if size is None else size) or entry.size not in (None, spool.size):
            spool.handle.close()
            raise RetriableError(f"{what} has another length than was said; write it whole, then let the index name it")
        mark = _mark(entry.name, entry.version or spool.digest)
        known = _mark(entry.name, spool.digest)
        is_known = any(each[_MARK_CHARS:] == known for each in memory)
        modified = http_date(validators[1]) or entry.modified
        return File(entry.name, spool.handle, spool.size, spool.digest, (mark, *validators), is_known, modified)

    def _check(self, status: int, headers: httpx.Headers, what: str) -> None:
        """Raise what an answer means that is none we can use."""
        if not 200 <= status < 300:
            now = http_date(headers.get("date")) or datetime.now(UTC)
            raise status_error(f"{self._address}: {what}", status, _RULES, retry_after_s(headers, now))
        if headers.get("content-encoding", "identity") != "identity":
            raise RetriableError(f"{self._address}: {what} comes compressed, which we did not ask for; turn that off")


async def _chunks(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    async for chunk in response.aiter_raw():
        yield chunk


def _trusted(settings: ImsSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except OSError:
        raise FatalError(f"{settings.ca_file} has no CA certificates (PEM); fix ca_file, then restart") from None


def _credentials(address: InboxAddress, settings: ImsSettings) -> dict[str, str]:
    # Of its own, so that no frame of ours that raises has the secret among its locals
    if settings.token is not None:
        return {"authorization": f"Bearer {settings.token.reveal()}"}
    if settings.password is not None:
        pair = f"{address.user}:{settings.password.reveal()}".encode()
        return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


def _entry(row: object) -> _Entry | None:
    """A row of the index; None: it is no file."""
    if isinstance(row, str):
        return _Entry(row, None, None)
    if not isinstance(row, dict) or not isinstance(row.get("name"), str) or row.get("type", "file") != "file":
        return None
    size = row.get("size")
    size = size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None
    etag, modified = row.get("etag"), row.get("mtime")
    version = f"etag {etag}" if etag else f"{size} {modified}" if size is not None and modified else None
    return _Entry(row["name"], size, version, _moment(modified))


def _moment(modified: object) -> datetime | None:
    """A time as indexes write it: an HTTP date (nginx), or ISO 8601 with its offset."""
    if not isinstance(modified, str):
        return None
    try:
        moment = datetime.fromisoformat(modified)
    except ValueError:
        return http_date(modified)
    return moment.astimezone(UTC) if moment.tzinfo is not None else None


def _validators(headers: httpx.Headers) -> tuple[str | None, str | None]:
    """What tells that a file is still the same: a strong ETag, and when it was modified."""
    etag = headers.get("etag")
    return (etag if etag and not etag.startswith("W/") else None), headers.get("last-modified")


def _mark(name: str, what: str | None) -> str:
    digest = hashlib.sha256(f"{name}\0{what}".encode(errors="surrogatepass")).digest()
    return base64.urlsafe_b64encode(digest)[:_MARK_CHARS].decode()

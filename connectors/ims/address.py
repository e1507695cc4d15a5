"""Where an inbox is: a folder, or a folder on a server."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast
from urllib.parse import unquote, urlsplit

from pydantic import ValidationInfo

from connectors.base.settings import folder_of, invalid, is_bare_http


@dataclass(frozen=True, slots=True)
class InboxAddress:
    """A folder on a server.

    Attributes:
        path: From the root, as the server has it: nothing is escaped.
    """

    scheme: Literal["sftp", "https", "http"]
    user: str | None
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{user}{host}:{self.port}{self.path}"


PORTS: Mapping[str, int] = {"sftp": 22, "https": 443, "http": 80}


def an_outbox(outbox: object, info: ValidationInfo) -> Path:
    """The folder, from where relative paths start."""
    if isinstance(outbox, Path):
        return folder_of(info) / outbox
    if not isinstance(outbox, str) or not outbox.strip() or "://" in outbox:
        raise invalid("outbox", "is not a folder; write a path, relative to the configuration file")
    return folder_of(info) / outbox


def an_inbox(inbox: object, info: ValidationInfo) -> Path | InboxAddress | None:
    if inbox is None:
        return None
    if isinstance(inbox, Path | InboxAddress):
        return folder_of(info) / inbox if isinstance(inbox, Path) else inbox
    if not isinstance(inbox, str) or not inbox.strip():
        raise invalid("inbox", "is not a folder; write a path, relative to the configuration file")
    if "://" not in inbox:
        return folder_of(info) / inbox
    try:
        parts = urlsplit(inbox)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise invalid("inbox", "is no URL; write sftp://user@host/path or https://host/path/") from None
    if parts.scheme not in PORTS or not host:
        raise invalid(
            "inbox", "is no URL that we can read; write a folder, sftp://user@host/path or https://host/path/"
        )
    if parts.password is not None:
        raise invalid("inbox_secret", 'carries a password; take it out, and write password = "env:NAME"')
    if parts.query or parts.fragment:
        raise invalid("inbox", "carries more than an address; take out what follows ? or #")
    if is_bare_http(parts, info):
        raise invalid("plain_http", "would send credentials and files unencrypted; use https://")
    path = unquote(parts.path) or "/"
    if any(part in (".", "..") for part in path.split("/")) or "\0" in path:
        raise invalid("inbox", "has . or .. in its path; write the path as it is")
    user = unquote(parts.username) if parts.username else None
    scheme = cast(Literal["sftp", "https", "http"], parts.scheme)
    return InboxAddress(scheme, user, host, port or PORTS[scheme], path.rstrip("/") + "/")

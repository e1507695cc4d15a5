"""Logins that B1 has refused, remembered across processes: a few wrong tries lock an account for everybody."""

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import gettempdir

from connectors.base.clock import Clock
from connectors.base.settings import Secret

#: B1 locks an account after three wrong passwords by its default policy, and forgets them after half an hour.
REFUSED_LOGIN_PAUSE_S = 1800.0
#: So few bytes of a digest tell a changed password, and help nobody to guess the old one.
_MARK_BYTES = 2


def state_file(environ: Mapping[str, str]) -> Path:
    """Where they are remembered on this machine: `$XDG_STATE_HOME` or `~/.local/state`, below `b1-streams`."""
    state = environ.get("XDG_STATE_HOME")
    folder = Path(state) if state else Path(environ.get("HOME") or gettempdir()) / ".local" / "state"
    return folder / "b1-streams" / "refused-logins.json"


class RefusedLogin:
    """One login, and when B1 refused it last.

    Args:
        url, credentials, password: What B1 is asked with. A changed password is another login.
        clock: Ours; wall time, as another process reads what this one wrote.
        path: Shared with other processes; None keeps it in this one. A file that cannot be written is done without.
    """

    def __init__(
        self, url: str, credentials: Mapping[str, str], password: Secret, clock: Clock, path: Path | None
    ) -> None:
        self._name = json.dumps([url, *sorted(credentials.items())])
        self._password, self._clock, self._path = password, clock, path
        self._refused_at_s: float | None = None

    def wait_s(self) -> float:
        """How long this login must not be tried; 0 when it may be."""
        refused_at_s = self._refused_at_s
        row = self._read().get(self._name)
        if isinstance(row, Mapping) and isinstance(row.get("at"), int | float) and row.get("mark") == self._mark():
            refused_at_s = max(row["at"], refused_at_s or row["at"])
        if refused_at_s is None:
            return 0.0
        since_s = self._clock.now().timestamp() - refused_at_s
        return REFUSED_LOGIN_PAUSE_S - since_s if 0 <= since_s < REFUSED_LOGIN_PAUSE_S else 0.0

    def remember(self) -> None:
        """B1 has refused it now."""
        self._refused_at_s = self._clock.now().timestamp()
        self._write({**self._read(), self._name: {"at": self._refused_at_s, "mark": self._mark()}})

    def forget(self) -> None:
        """B1 has taken it."""
        self._refused_at_s = None
        rows = self._read()
        if rows.pop(self._name, None) is not None:
            self._write(rows)

    def _mark(self) -> str:
        digest = hashlib.scrypt(self._password.reveal().encode(), salt=self._name.encode(), n=2**14, r=8, p=1)
        return base64.b16encode(digest[:_MARK_BYTES]).decode()

    def _read(self) -> dict[str, object]:
        if self._path is None:
            return {}
        try:
            rows = json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return rows if isinstance(rows, dict) else {}

    def _write(self, rows: Mapping[str, object]) -> None:
        if self._path is None:
            return
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = self._path.with_suffix(f".{os.getpid()}")
            new.write_text(json.dumps(rows), "utf-8")
            new.replace(self._path)

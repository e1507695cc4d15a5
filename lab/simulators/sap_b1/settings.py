"""How the server behaves: times and limits."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class ServiceLayerSettings:
    """How the server behaves; times in seconds are multiplied by `speed`, except `lock_wait_s`.

    Attributes:
        speed: 1 is a real installation, 0.2 takes a fifth of the times, 0 no time at all.
        base_s: a document, before its lines.
        per_line_s: each of its lines.
        row_s: a row of a user table or master data (a claim).
        read_s: a query.
        login_s: a login; another one during it collides.
        lock_wait_s: how long a request waits for an item that another holds, then it is refused as locked.
        session_limit: sessions of one company at a time, None for any number.
        session_limit_error: status, code, text of a login beyond it (nothing public says what B1 answers).
        session_timeout_min: idle minutes after which a session ends.
        password_tries: wrong passwords after which the account is locked.
        login_overlap_rate: share of overlapping logins that fail with 500 / 299 (live: 2 of 8).
        serialise_sessions: whether the requests of one session run one after another (unknown of B1).
        refuse_encoded_slash: whether `%2F` in a path is a 404 from Apache.
    """

    speed: float = 1.0
    base_s: float = 0.080
    per_line_s: float = 0.004
    row_s: float = 0.028
    read_s: float = 0.005
    login_s: float = 0.300
    lock_wait_s: float = 5.0
    session_limit: int | None = None
    session_limit_error: tuple[int, int, str] = (500, 100000085, "Maximum number of sessions of this user is reached")
    session_timeout_min: float = 30.0
    password_tries: int = 3
    login_overlap_rate: float = 1.0
    serialise_sessions: bool = False
    refuse_encoded_slash: bool = True

    def changed(self, changes: Mapping[str, Any]) -> "ServiceLayerSettings":
        """These settings with some fields replaced, from JSON."""
        # JSON is read with exact decimals; times are floats.
        values: dict[str, Any] = {
            name: float(value) if isinstance(value, Decimal) else value for name, value in changes.items()
        }
        if "session_limit_error" in values:
            values["session_limit_error"] = tuple(values["session_limit_error"])
        return replace(self, **values)

"""What goes wrong between a client and the Service Layer: by rate, or by a script for the next n requests. Pure.

A fault is chosen once per HTTP request. A `$batch` matches a script by its own path (`$batch`) or by any request in it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from fnmatch import fnmatchcase
from random import Random
from typing import Any, Final, Literal


class FaultKind(StrEnum):
    """Every fault, with what the client sees."""

    LOST_BEFORE = "lost_reply_before_commit"
    """The connection drops; nothing happened."""
    LOST_AFTER = "lost_reply_after_commit"
    """The connection drops (`at`: before the first byte, or in the body); it happened."""
    LATE_COMMIT = "late_commit"
    """The connection drops; it happens `after_s` later (`holds`: with its locks held meanwhile)."""
    TRUNCATED_BATCH = "truncated_batch"
    """It happened; the answer to the batch ends in the middle, as a complete HTTP response."""
    REORDERED_BATCH = "reordered_batch"
    """It happened; the parts of the answer are in reverse order."""
    HTML_502 = "html_502"
    """Apache's page (`commit`: after it happened)."""
    HTML_503 = "html_503"
    """Apache's page (`commit`: after it happened)."""
    LOGIN_COLLISION = "login_collision"
    """500 / 299 on Login."""
    SESSION_KILL = "session_kill"
    """The session is gone before the request: 401 / 301."""
    DUPLICATE = "duplicate"
    """-2035, entry already exists; nothing happened."""
    LOCKED = "locked"
    """-2035 in its "Object locked" meaning; nothing happened."""
    CONFLICT = "conflict"
    """-2039; nothing happened."""
    APPROVAL = "approval"
    """The document becomes a draft: -2028."""
    SLOW = "slow"
    """The answer takes `after_s` longer."""
    CLOSED_PERIOD = "closed_period"
    """-4013; nothing happened."""
    MACHINERY = "machinery"
    """-1116 under HTTP 400, as if it were a refusal: the Service Layer's process is broken; nothing happened."""
    ERROR = "error"
    """`status`, `code`, `text`; nothing happened unless `commit`."""


_RateScope = Literal["writes", "batches", "logins", "documents", "all"]
# Which requests a rate applies to; a script says so itself.
_SCOPES: Final[Mapping[FaultKind, _RateScope]] = {
    FaultKind.LOST_BEFORE: "writes",
    FaultKind.LOST_AFTER: "writes",
    FaultKind.LATE_COMMIT: "writes",
    FaultKind.TRUNCATED_BATCH: "batches",
    FaultKind.REORDERED_BATCH: "batches",
    FaultKind.HTML_502: "all",
    FaultKind.HTML_503: "all",
    FaultKind.LOGIN_COLLISION: "logins",
    FaultKind.SESSION_KILL: "all",
    FaultKind.DUPLICATE: "writes",
    FaultKind.LOCKED: "writes",
    FaultKind.CONFLICT: "writes",
    FaultKind.APPROVAL: "documents",
    FaultKind.SLOW: "all",
    FaultKind.CLOSED_PERIOD: "documents",
    FaultKind.MACHINERY: "writes",
    FaultKind.ERROR: "all",
}
_DOCUMENTS: Final = frozenset(
    {
        "Orders",
        "DeliveryNotes",
        "Invoices",
        "CreditNotes",
        "InventoryGenEntries",
        "InventoryGenExits",
        "StockTransfers",
    }
)
_SESSION_PATHS: Final = frozenset({"Login", "Logout"})
#: Method and path below the service root.
MethodAndPath = tuple[str, str]


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """One fault and its parameters; which of them count is said at its `FaultKind`.

    Attributes:
        kind: what happens.
        method: HTTP method it waits for, `*` for any.
        path: pattern of the path below the service root (`Orders`, `Orders(*)/Cancel`, `$batch`, `Login`); `*` is any
            but Login and Logout.
        times: how many matching requests it hits.
        skip: how many matching requests pass first.
        after_s: delay in seconds, as it is (not scaled by the simulator's speed).
        at: where the connection drops.
        holds: whether a late commit keeps its locks while it waits.
        commit: whether the request is executed before the bad answer.
        status: HTTP status of `error`.
        code: B1 code of `error`.
        text: B1 text of `error`.
    """

    kind: FaultKind
    method: str = "*"
    path: str = "*"
    times: int = 1
    skip: int = 0
    after_s: float = 1.0
    at: Literal["before_first_byte", "mid_body"] = "before_first_byte"
    holds: bool = False
    commit: bool = False
    status: int = 500
    code: int = -1
    text: str = "Internal error (-1) occurred"

    def matches(self, calls: Sequence[MethodAndPath]) -> bool:
        """Whether one of the requests is meant."""
        return any(
            self.method in ("*", method)
            and (path not in _SESSION_PATHS if self.path == "*" else _fits(path, self.path))
            for method, path in calls
        )


def _fits(path: str, pattern: str) -> bool:
    # OData paths contain no brackets but round ones, so fnmatch's classes cannot be meant.
    return fnmatchcase(path.partition("?")[0], pattern.replace("[", "[[]"))


def read_fault(data: Mapping[str, Any]) -> InjectedFault:
    """A fault from JSON.

    Raises:
        ValueError: for an unknown kind or field.
    """
    unknown = data.keys() - {one.name for one in fields(InjectedFault)}
    if unknown:
        raise ValueError(f"unknown fields of a fault: {', '.join(sorted(unknown))}")
    after_s = float(data.get("after_s", 1))
    return InjectedFault(**{**data, "kind": FaultKind(data["kind"]), "after_s": after_s})


@dataclass(slots=True)
class _FaultScript:
    fault: InjectedFault
    skip: int
    left: int


@dataclass(slots=True)
class FaultPlan:
    """The faults in force. Scripts come first, in order; then each rate is drawn, in the order of `FaultKind`.

    Attributes:
        injected: how often each kind was played.
        outage: everything answers HTML 503 (`html_503`), or drops the connection (`drop`); None is normal service.
    """

    injected: dict[str, int] = field(default_factory=dict)
    outage: Literal["html_503", "drop"] | None = None
    _rates: dict[FaultKind, tuple[float, InjectedFault]] = field(default_factory=dict)
    _scripts: list[_FaultScript] = field(default_factory=list)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> "FaultPlan":
        """Faults from JSON: see `update`."""
        faults = cls()
        faults.update(data)
        return faults

    def update(self, data: Mapping[str, Any]) -> None:
        """Change what is in force.

        Args:
            data: `clear` (true: drop all rates and scripts first), `rates`: kind -> share of requests 0 to 1, or
                {"rate": share, ...fields of InjectedFault}, `scripts`: [{"kind", ...fields of InjectedFault}].

        Raises:
            ValueError: for an unknown kind, field or key.
        """
        unknown = data.keys() - {"clear", "rates", "scripts"}
        if unknown:
            raise ValueError(f"unknown keys: {', '.join(sorted(unknown))}")
        if data.get("clear"):
            self._rates.clear()
            self._scripts.clear()
        for name, value in data.get("rates", {}).items():
            self.rate(name, **(dict(value) if isinstance(value, Mapping) else {"rate": value}))
        for script in data.get("scripts", ()):
            self.script(**script)

    def rate(self, kind: str, rate: float, **parameters: Any) -> None:
        """Play a fault for a share of the requests it can hit, from 0 (never) to 1."""
        share = float(rate)
        if not 0 <= share <= 1:
            raise ValueError(f"the rate of {kind} is not between 0 and 1: {rate}")
        self._rates[FaultKind(kind)] = (share, read_fault({**parameters, "kind": kind}))

    def script(self, kind: str, **parameters: Any) -> None:
        """Play a fault for the next `times` matching requests after `skip` others."""
        fault = read_fault({**parameters, "kind": kind})
        if fault.kind is FaultKind.LOGIN_COLLISION and fault.path == "*":
            fault = read_fault({**parameters, "kind": kind, "path": "Login"})
        self._scripts.append(_FaultScript(fault, fault.skip, fault.times))

    @property
    def scripts_left(self) -> int:
        """How many scripted faults have not been played yet."""
        return sum(script.left for script in self._scripts)

    def choose(self, calls: Sequence[MethodAndPath], random: Random) -> InjectedFault | None:
        """The fault of one HTTP request, if any.

        Args:
            calls: (method, path below the service root) of the request and of each request in its batch.
            random: drawn once per rate that can hit this request.
        """
        for script in self._scripts:
            if script.left and script.fault.matches(calls):
                if script.skip:
                    script.skip -= 1
                    continue
                script.left -= 1
                return self._played(script.fault)
        for kind in FaultKind:
            share, fault = self._rates.get(kind, (0.0, None))
            if fault is None or not share or not _reaches(_SCOPES[kind], calls):
                continue
            if (fault.path == "*" or fault.matches(calls)) and random.random() < share:
                return self._played(fault)
        return None

    def _played(self, fault: InjectedFault) -> InjectedFault:
        self.injected[fault.kind.value] = self.injected.get(fault.kind.value, 0) + 1
        return fault


def _reaches(scope: _RateScope, calls: Iterable[MethodAndPath]) -> bool:
    for method, path in calls:
        if scope == "logins":
            if path == "Login":
                return True
        elif path in _SESSION_PATHS:
            return False
        elif (
            scope == "all"
            or (scope == "batches" and path == "$batch")
            or (scope == "writes" and method != "GET" and path != "$batch" and "Service_" not in path)
            or (scope == "documents" and method == "POST" and path in _DOCUMENTS)
        ):
            return True
    return False

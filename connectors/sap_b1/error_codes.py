"""The one table of what an answer means for a write, by phase, HTTP status, SAP code and text; each row has its source.

Rows are read from above and the first match decides. SAP's code alone is not precise enough (-10 is every business
rule, -2035 both "exists" and "locked"), so rows may match the text as well; the texts are those of the English
session language, which the login asks for. "guide", "apiref", "live" and "code" are SAP's user guide, SAP's API
reference, published recordings against real servers and public client code; "faults" is this project's own posting
protocol. All read 2026-11-21.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class OutcomeClass(StrEnum):
    """What a write came to, and so what the poster does next (architecture section 4)."""

    APPLIED = "applied"
    EXISTS = "exists"  # look up the claim, adopt
    NOT_SENT = "not_sent"  # nothing left this machine: send again
    SESSION = "session"  # log in once for all, send again
    LOCKED = "locked"  # retry this lane with full jitter, park after lock_park_after_s
    UNAVAILABLE = "unavailable"  # nothing happened; pause the company's intake
    REJECTED = "rejected"  # dead letter or park, with owner
    UNKNOWN = "unknown"  # it may have landed: send the identical request again


class Phase(StrEnum):
    """Where an answer was seen."""

    LOGIN = "login"
    READ = "read"
    WRITE = "write"  # the answer to a whole write, a proxy's included
    PART = "part"  # inside a complete $batch answer: SAP itself has spoken, and a failed change set is rolled back


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one answer means.

    Attributes:
        outcome: The class.
        reason: A name of `schemas.letters.REASONS` where the class is REJECTED after login, else None.
            `approval_required` is a suspicion until a draft with the document's key has been found.
        line: The line that B1's text names, counted as B1 does; None where it names none.
        sap_code: A label for metrics: one of 20 known codes, `other`, or `none`.
    """

    outcome: OutcomeClass
    reason: str | None
    line: int | None
    sap_code: str


@dataclass(frozen=True, slots=True)
class ErrorCodeRow:
    source: str
    outcome: OutcomeClass
    reason: str | None = None
    phases: frozenset[Phase] = frozenset(Phase)
    statuses: range = range(400, 600)
    codes: frozenset[str] = frozenset()  # empty: any
    text: re.Pattern[str] | None = None

    def matches(self, phase: Phase, status: int, code: str, text: str) -> bool:
        return (
            phase in self.phases
            and status in self.statuses
            and (not self.codes or code in self.codes)
            and (self.text is None or self.text.search(text) is not None)
        )


def _re(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


def _codes(*codes: int) -> frozenset[str]:
    return frozenset(str(code) for code in codes)


_LOGIN, _READ, _WRITES = frozenset({Phase.LOGIN}), frozenset({Phase.READ}), frozenset({Phase.WRITE, Phase.PART})
_SERVER = range(500, 600)
_O = OutcomeClass

ROWS: tuple[ErrorCodeRow, ...] = (
    # Login: REJECTED is a wrong user, password or company, tried three times and never more (an account lock-out)
    ErrorCodeRow("live; older texts: code (n=4)", _O.REJECTED, phases=_LOGIN, codes=_codes(-304, -306, 100000027)),
    ErrorCodeRow("live: 8 logins at once, 2 failed", _O.UNAVAILABLE, phases=_LOGIN, codes=_codes(299)),
    ErrorCodeRow(
        "no public text; architecture section 6: a login refused for the limit waits and says so",
        _O.UNAVAILABLE,
        phases=_LOGIN,
        text=_re(r"session|licen[cs]e|maximum|limit"),
    ),
    ErrorCodeRow("code: any other 401 at login", _O.REJECTED, phases=_LOGIN, statuses=range(401, 402)),
    ErrorCodeRow("faults: nothing was written by a login", _O.UNAVAILABLE, phases=_LOGIN),
    # The session and the node
    ErrorCodeRow("guide, live", _O.SESSION, codes=_codes(301)),
    ErrorCodeRow("guide, live", _O.SESSION, statuses=range(401, 402)),
    ErrorCodeRow("live: stale metadata of one node; a new login lands elsewhere", _O.UNAVAILABLE, codes=_codes(407)),
    ErrorCodeRow("faults: 429 is not applied", _O.UNAVAILABLE, statuses=range(429, 430)),
    ErrorCodeRow("faults: a 5xx on a read changed nothing", _O.UNAVAILABLE, phases=_READ, statuses=_SERVER),
    ErrorCodeRow("faults: 413 is not applied", _O.REJECTED, "erp_refused", statuses=range(413, 414)),
    # Exists, or locked: -2035 says both in the field, so the claim is looked up before anything is decided (T8)
    ErrorCodeRow("code (n about 10), live; locked: R155", _O.EXISTS, phases=_WRITES, codes=_codes(-2035)),
    ErrorCodeRow(
        "live: business rule -10 for a key that is taken",
        _O.EXISTS,
        phases=_WRITES,
        codes=_codes(-10),
        text=_re(r"already (?:exists|assigned)"),
    ),
    # Periods before locks: the period's text says "locked"
    ErrorCodeRow("code (field notes, captured live)", _O.REJECTED, "period_closed", _WRITES, codes=_codes(-4013)),
    ErrorCodeRow(
        "code (n=4): outside the period's window of dates",
        _O.REJECTED,
        "period_closed",
        _WRITES,
        text=_re(r"posting period (?:is )?(?:locked|closed)|deviates from permissible range"),
    ),
    ErrorCodeRow(
        "live: base keys without BaseType",
        _O.REJECTED,
        "erp_refused",
        _WRITES,
        text=_re(r"internal error \(-5002\)"),
    ),
    ErrorCodeRow(
        "guide; transient: code. At most until lock_park_after_s", _O.LOCKED, phases=_WRITES, codes=_codes(-2039)
    ),
    ErrorCodeRow("guide: If-Match met another version", _O.LOCKED, phases=_WRITES, statuses=range(412, 413)),
    ErrorCodeRow(
        "vendor: record lock or a blocking process. At most until lock_park_after_s",
        _O.LOCKED,
        phases=_WRITES,
        text=_re(
            r"internal error \(-?\d+\) occurred|deadlock|another user|\block(?:ed)?\b.{0,40}\b(?:by|record|user)\b"
        ),
    ),
    ErrorCodeRow(
        "faults: texts that say locked", _O.LOCKED, phases=_WRITES, text=_re(r"\b(?:is|object|record|item) locked\b")
    ),
    # Refusals with a name of their own
    ErrorCodeRow("guide", _O.REJECTED, "not_permitted", _WRITES, codes=_codes(-6006)),
    ErrorCodeRow("guide", _O.REJECTED, "not_permitted", _WRITES, statuses=range(403, 404)),
    ErrorCodeRow("code (n>6)", _O.REJECTED, "negative_stock", _WRITES, codes=_codes(-10), text=_re(r"negative")),
    ErrorCodeRow("code", _O.REJECTED, "negative_stock", _WRITES, codes=_codes(10001153)),
    ErrorCodeRow(
        "code: message id before the text",
        _O.REJECTED,
        "negative_stock",
        _WRITES,
        text=_re(r"\b10001153\b|insufficient quantity|falls into negative inventory"),
    ),
    ErrorCodeRow("code (n=6)", _O.REJECTED, "batch_or_serial_missing", _WRITES, codes=_codes(-4014, 480000112)),
    ErrorCodeRow(
        "code (n=6)",
        _O.REJECTED,
        "batch_or_serial_missing",
        _WRITES,
        text=_re(r"\b480000112\b|selection of batch/serial"),
    ),
    ErrorCodeRow(
        "SAP KBA 2693418; 'inactive' is expected, not captured",
        _O.REJECTED,
        "inactive_item",
        _WRITES,
        text=_re(r"\binvalid item\b|^(?!.*(?:partner|customer|warehouse|branch|account|project)).*\binactive\b"),
    ),
    ErrorCodeRow(
        "live: a code in the payload that does not exist",
        _O.REJECTED,
        "unknown_item",
        _WRITES,
        codes=_codes(-2028),
        text=_re(r"ItemCode\]"),
    ),
    ErrorCodeRow(
        "live: PATCH, DELETE and actions on a missing record",
        _O.REJECTED,
        "erp_refused",
        _WRITES,
        codes=_codes(-2028),
        text=_re(r"does not exist"),
    ),
    ErrorCodeRow(
        "apiref: an approval procedure makes a draft and answers this; the sink looks in Drafts",
        _O.REJECTED,
        "approval_required",
        _WRITES,
        codes=_codes(-2028),
    ),
    ErrorCodeRow(
        "live: a mandatory user field without a value",
        _O.REJECTED,
        "erp_refused",
        frozenset({Phase.PART}),
        text=_re(r"cannot insert the value null"),
    ),
    # The rest
    ErrorCodeRow("faults: any 5xx after sending, a proxy's included", _O.UNKNOWN, phases=_WRITES, statuses=_SERVER),
    ErrorCodeRow("guide: 4xx is a business or payload error", _O.REJECTED, "erp_refused", _WRITES),
    ErrorCodeRow("guide: a query that B1 does not take", _O.REJECTED, "erp_refused", _READ),
)

# What metrics may say: everything else is "other", so that a customer's own refusal numbers make no series
_LABELS = _codes(
    *(301, -304, 299, 407, 201, -1, -10, -1000, -1004, -1029, -2028, -2035, -2039, -4002, -4013, -4014, -5002, -5006),
    *(-6006, 10001153),
)
_LINE = re.compile(r"\[line:\s*(\d+)\]", re.IGNORECASE)


def classify(phase: Phase, status: int, code: str | int | None, text: str) -> Verdict:
    """Say what an answer means.

    Args:
        phase: Where it was seen.
        status: HTTP status, of the part where there are parts.
        code: SAP's code as it stands in the error; None where the body is not SAP's.
        text: SAP's text.
    """
    known = "" if code is None else str(code)
    label = "none" if not known else known if known in _LABELS else "other"
    if 200 <= status < 300:
        return Verdict(OutcomeClass.APPLIED, None, None, label)
    found = _LINE.search(text)
    line = int(found[1]) if found else None
    for row in ROWS:
        if row.matches(phase, status, known, text):
            return Verdict(row.outcome, row.reason, line, label)
    # 1xx and 3xx: nobody that speaks for B1 answers so
    return Verdict(OutcomeClass.UNKNOWN if phase in _WRITES else OutcomeClass.UNAVAILABLE, None, line, label)


_QUOTED = re.compile(r"(?<!\w)'.*?'(?!\w)|\"[^\"]*\"|`[^`]*`|“[^”]*”", re.DOTALL)
_EMAIL = re.compile(r"[^\s<>\[\]()'\"]+@[^\s<>\[\]()'\"]+")
_NUMBER = re.compile(r"(\A\d{4,12} - )|\+?\d[\d ()/.-]{5,}\d")  # the first group is SAP's message id
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def redact(text: str, limit: int = 300) -> str:
    """SAP's text without the field values that it quotes, on one line, at most `limit` characters.

    Quoted passages, e-mail addresses and long numbers go (a leading message id stays); field names and line numbers
    stay.
    """
    text = _CONTROL.sub(" ", text).strip()
    text = _EMAIL.sub("…", _QUOTED.sub("'…'", text))
    text = _NUMBER.sub(lambda found: found[1] or "…", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"

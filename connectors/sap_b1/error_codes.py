"""The one table of what an answer means for a write, by phase, HTTP status, SAP code and text; each row has its source.

Rows are read from above and the first match decides. SAP's code alone is not precise enough (-10 is every business
rule, -2035 both "exists" and "locked"), so rows may also ask for the message id that B1 puts before or behind its text
("10001153 - ...", "[Message 131-183]"), which is the same in every session language, and only where there is neither
for its words, which are those of the English session language that the login asks for. A text "(n) ..." is no word of
B1's but of the customer's own notification procedure (SBO_SP_TransactionNotification), whatever it says.

"guide", "apiref", "live" and "code" are SAP's user guide, SAP's API reference, published recordings against real
servers and public client code; "faults" is this project's own posting protocol. Read 2026-11-21 and 2026-11-30.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from connectors.sap_b1.redaction import redact

__all__ = [
    "ROWS",
    "ErrorCodeRow",
    "OutcomeClass",
    "Phase",
    "Verdict",
    "classify",
    "redact",
    "row_of",
    "says_guard_works",
    "says_guarded",
    "says_locked",
]


class OutcomeClass(StrEnum):
    """What a write came to, and so what the poster does next (architecture section 4)."""

    APPLIED = "applied"
    EXISTS = "exists"  # look up the claim, adopt
    NOT_SENT = "not_sent"  # nothing left this machine: send again
    SESSION = "session"  # log in once for all, send again
    LOCKED = "locked"  # retry this lane with full jitter, park after lock_park_after_s
    UNAVAILABLE = "unavailable"  # nothing happened; pause the company's intake
    MACHINERY = "machinery"  # B1 has broken on it and says so as if it refused it: as UNAVAILABLE, never a refusal
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
    """One row of the table; of what it leaves empty everything matches.

    Attributes:
        source: Who says so.
        outcome: What it means.
        reason: See `Verdict`.
        phases: Where it may be seen.
        statuses: HTTP statuses.
        codes: SAP's codes; a row that has them is the only one that may speak for its words.
        ids: Message ids; one of them, or the text, has to be there.
        text: SAP's words.
    """

    source: str
    outcome: OutcomeClass
    reason: str | None = None
    phases: frozenset[Phase] = frozenset(Phase)
    statuses: range = range(400, 600)
    codes: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    text: re.Pattern[str] | None = None

    def matches(self, phase: Phase, status: int, code: str, ids: frozenset[str], text: str) -> bool:
        """Whether the row speaks for an answer; `ids` are the message ids in it."""
        return (
            phase in self.phases
            and status in self.statuses
            and (not self.codes or code in self.codes)
            and (
                (not self.ids and self.text is None)
                or not self.ids.isdisjoint(ids)
                or (self.text is not None and self.text.search(text) is not None)
            )
        )


def _re(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


def _codes(*codes: int) -> frozenset[str]:
    return frozenset(str(code) for code in codes)


_LEADING_ID = re.compile(r"\A\s*(\d{1,4}-\d{1,4}|\d{3,10})(?=\s*[-–:]\s|\s+[^\W\d])")
_BRACKETED_ID = re.compile(r"\[[^\]\d]{0,20}(\d{1,4}-\d{1,4})\]")
_GUARD_WORKS = _re(r"\A\s*\(20203\) b1-streams guard\b")
_GUARDED = _re(r"\A\s*\(2020[12]\) b1-streams guard\b")
_CUSTOM_TEXT = _re(r"\A\s*\(\d{1,10}\)\s*\S")


def _message_ids(code: str, text: str) -> frozenset[str]:
    """What may be one: the code itself, what stands before the text, what stands in brackets."""
    leading = _LEADING_ID.match(text)
    return frozenset({code, *([leading[1]] if leading else []), *_BRACKETED_ID.findall(text)})


_LOGIN, _READ = frozenset({Phase.LOGIN}), frozenset({Phase.READ})
_PART, _WHOLE = frozenset({Phase.PART}), frozenset({Phase.WRITE})
_WRITES, _ANY = _PART | _WHOLE, _PART | _WHOLE | _READ
_CLIENT, _SERVER = range(400, 500), range(500, 600)
_NO_CODE = frozenset({""})  # what a proxy or a web server sends is none of SAP's
_BUSINESS = _codes(-10, -5002)
_O = OutcomeClass

# What only the machinery behind a document says: database, Service Layer, landscape directory (SLD)
_BROKEN = _re(
    r"could not commit transaction|sequence was dropped|invalid xml file.{0,20}sapbobscom|"
    r"(?:database instance|db credentials) from sld|switch company error|"
    r"communication link failure|transaction log for database .{1,130} is full|memory allocation failed"
)
_LOCK = _re(
    r"\bdeadlock|lock request time ?out|lock wait time ?out|"
    r"\blocked by (?:another )?user\b|\bobject (?:is )?locked\b|another user or another operation modified"
)

ROWS: tuple[ErrorCodeRow, ...] = (
    # Login: REJECTED is a wrong user, password or company, tried once in half an hour (an account lock-out)
    ErrorCodeRow(
        "code (n=4), vendor: the landscape directory restarts; the same password is right afterwards",
        _O.UNAVAILABLE,
        phases=_LOGIN,
        text=_re(r"DB credentials|bound database instance|switch company error"),
    ),
    ErrorCodeRow("code: B1 cannot switch to the company", _O.UNAVAILABLE, phases=_LOGIN, codes=_codes(-8037)),
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
    # The session, the node, and who answers in B1's place
    ErrorCodeRow(
        "guide, live: 401 alone, a number 301 inside another answer may be anybody's",
        _O.SESSION, statuses=range(401, 402),
    ),
    ErrorCodeRow("faults: 429 is not applied", _O.UNAVAILABLE, phases=_ANY, statuses=range(429, 430)),
    ErrorCodeRow("faults: 413 is not applied", _O.REJECTED, "erp_refused", _ANY, range(413, 414)),
    ErrorCodeRow("our block in it: docs/guard-procedure.md", _O.EXISTS, phases=_WRITES, text=_GUARDED),
    ErrorCodeRow(
        "code (n=3): the notification procedure's own words, inside a change set (rolled back)",
        _O.REJECTED, "erp_refused", _PART, text=_CUSTOM_TEXT,
    ),
    ErrorCodeRow(
        "code (n=3): the notification procedure's own words, to a request on its own",
        _O.REJECTED, "erp_refused", _WHOLE, _CLIENT, text=_CUSTOM_TEXT,
    ),
    ErrorCodeRow(
        "live: stale metadata of one node (500); a new login lands elsewhere",
        _O.UNAVAILABLE, phases=_ANY, statuses=_SERVER, codes=_codes(407),
    ),
    # Exists, or locked: -2035 says both in the field, so the claim is looked up before anything is decided (T8)
    ErrorCodeRow("code (n about 10), live; locked: R155", _O.EXISTS, phases=_WRITES, codes=_codes(-2035)),
    # Locks in the database's or B1's own words, then machinery that failed
    ErrorCodeRow(
        "SQL Server 1205, 1222; HANA 131, 133; R155: in their own words",
        _O.LOCKED, phases=_WRITES, text=_LOCK,
    ),
    ErrorCodeRow(
        "B1SLayer#81, field notes: 400 for all documents until a restart",
        _O.MACHINERY, phases=_PART, codes=_codes(-1116),
    ),
    ErrorCodeRow("field notes (n=3), the databases' own words", _O.MACHINERY, phases=_PART, text=_BROKEN),
    ErrorCodeRow(
        "the same to a request on its own", _O.MACHINERY, phases=_WHOLE | _READ, statuses=_CLIENT, codes=_codes(-1116)
    ),
    ErrorCodeRow(
        "the same to a request on its own",
        _O.MACHINERY, phases=_WHOLE | _READ, statuses=_CLIENT, text=_BROKEN,
    ),
    ErrorCodeRow("faults: a 5xx on a read changed nothing", _O.UNAVAILABLE, phases=_READ, statuses=_SERVER),
    ErrorCodeRow(
        "live: business rule -10 for a key that is taken",
        _O.EXISTS, phases=_WRITES, codes=_codes(-10), ids=frozenset({"1320000140"}),
        text=_re(r"already (?:exists|assigned)"),
    ),
    # What ends by itself, or when somebody has done something in B1. The period's text says "locked", too
    ErrorCodeRow("code (field notes, captured live)", _O.REJECTED, "period_closed", _WRITES, codes=_codes(-4013)),
    ErrorCodeRow(
        "help.sap.com 10000156; code (n=4): outside the period's window of dates",
        _O.REJECTED, "period_closed", _WRITES, ids=frozenset({"10000156"}),
        text=_re(r"posting period (?:is )?(?:locked|closed)|date deviates from (?:the )?(?:permissible|defined) range"),
    ),
    ErrorCodeRow(
        "public logs (n=2): no rate for the currency on that day",
        _O.REJECTED, "rate_missing", _WRITES, codes=_BUSINESS, text=_re(r"update the exchange rate|\[\w+\.DocRate\]"),
    ),
    ErrorCodeRow(
        "public logs (n=2): a stock count with Freeze",
        _O.REJECTED, "item_frozen", _WRITES, codes=_BUSINESS, ids=frozenset({"131"}),
        text=_re(r"\bis frozen in (?:warehouse|bin)\b"),
    ),
    ErrorCodeRow(
        "live: base keys without BaseType",
        _O.REJECTED, "erp_refused", _WRITES, codes=_codes(-5002), text=_re(r"internal error \(-5002\)"),
    ),
    ErrorCodeRow(
        "guide; transient: code. At most until lock_park_after_s", _O.LOCKED, phases=_WRITES, codes=_codes(-2039)
    ),
    ErrorCodeRow("B1 client: message 131-183 is -2039's", _O.LOCKED, phases=_WRITES, ids=frozenset({"131-183"})),
    ErrorCodeRow("guide: If-Match met another version", _O.LOCKED, phases=_WRITES, statuses=range(412, 413)),
    ErrorCodeRow(
        "vendor: record lock or a blocking process. At most until lock_park_after_s",
        _O.LOCKED, phases=_WRITES, text=_re(r"\binternal error \(-?\d+\) occurred"),
    ),
    # Refusals with a name of their own
    ErrorCodeRow("guide", _O.REJECTED, "not_permitted", _WRITES, codes=_codes(-6006)),
    ErrorCodeRow(
        "code (n>6); SAP KBA 2693418 has it behind 10001069",
        _O.REJECTED, "negative_stock", _WRITES, codes=_BUSINESS | _codes(10001153), ids=frozenset({"10001153"}),
        text=_re(r"falls into negative inventory|insufficient quantity for item"),
    ),
    ErrorCodeRow("code (n=6)", _O.REJECTED, "batch_or_serial_missing", _WRITES, codes=_codes(-4014)),
    ErrorCodeRow(
        "code (n=6); without an id: public client",
        _O.REJECTED, "batch_or_serial_missing", _WRITES, ids=frozenset({"480000112"}),
        text=_re(r"selection of batch/serial|specify a valid batch/serial|\b(?:batch|serial)\b.{0,80}\bdoes not exist"),
    ),
    ErrorCodeRow(
        "SAP KBA 2693418: 10001069 is an item's, 10001071 a customer's",
        _O.REJECTED, "inactive_item", _WRITES, codes=_BUSINESS, ids=frozenset({"10001069"}),
        text=_re(r"\binvalid item\b|\A(?:\d+\s*-?\s*)?item\b(?! group).{0,80}\binactive\b"),
    ),
    ErrorCodeRow(
        "live: a code in the payload that does not exist",
        _O.REJECTED, "unknown_item", _WRITES, codes=_codes(-2028), text=_re(r"ItemCode\]"),
    ),
    ErrorCodeRow(
        "live: PATCH, DELETE and actions on a missing record",
        _O.REJECTED, "erp_refused", _WRITES, codes=_codes(-2028), text=_re(r"does not exist"),
    ),
    ErrorCodeRow(
        "apiref: an approval procedure makes a draft and answers this; the sink looks in Drafts",
        _O.REJECTED, "approval_required", _WRITES, codes=_codes(-2028),
    ),
    ErrorCodeRow(
        "live: a mandatory user field without a value",
        _O.REJECTED, "erp_refused", _PART, text=_re(r"cannot insert the value null"),
    ),
    # The rest
    ErrorCodeRow("faults: any 5xx after sending, a proxy's included", _O.UNKNOWN, phases=_WRITES, statuses=_SERVER),
    ErrorCodeRow(
        "faults: nobody knows what became of a request that timed out",
        _O.UNKNOWN, phases=_WRITES, statuses=range(408, 409),
    ),
    ErrorCodeRow(
        "live: a page of Apache's or a proxy's, B1 has not spoken",
        _O.UNAVAILABLE, phases=_WHOLE, codes=_NO_CODE,
    ),
    ErrorCodeRow("guide", _O.REJECTED, "not_permitted", _WRITES, range(403, 404)),
    ErrorCodeRow("guide: 4xx is a business or payload error, in B1's words", _O.REJECTED, "erp_refused", _WRITES),
    ErrorCodeRow("guide: a query that B1 does not take", _O.REJECTED, "erp_refused", _READ),
)  # fmt: skip

# What metrics may say: everything else is "other", so that a customer's own refusal numbers make no series
_LABELS = _codes(
    *(301, -304, 299, 407, 201, -1, -10, -1000, -1004, -1029, -1116, -2028, -2035, -2039, -4002, -4013, -4014, -5002),
    *(-5006, -6006),
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
    row = row_of(phase, status, known, text)
    if row is not None:
        return Verdict(row.outcome, row.reason, line, label)
    # 1xx and 3xx: nobody that speaks for B1 answers so
    return Verdict(OutcomeClass.UNKNOWN if phase in _WRITES else OutcomeClass.UNAVAILABLE, None, line, label)


def row_of(phase: Phase, status: int, code: str | None, text: str) -> ErrorCodeRow | None:
    """The row that decides about an answer; None for one that is no error."""
    known = code or ""
    ids = _message_ids(known, text)
    return next((row for row in ROWS if row.matches(phase, status, known, ids, text)), None)


def says_guarded(text: str) -> bool:
    """Whether our block of the notification procedure has refused a second document, or one that was given up."""
    return _GUARDED.search(text) is not None


def says_guard_works(text: str) -> bool:
    """Whether our block of the notification procedure has refused the doctor's draft."""
    return _GUARD_WORKS.search(text) is not None


def says_locked(text: str) -> bool:
    """Whether B1's words say that somebody holds a record: -2035 alone may as well be a key that is taken."""
    return _LOCK.search(text) is not None and _CUSTOM_TEXT.match(text) is None

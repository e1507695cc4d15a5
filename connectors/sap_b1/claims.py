"""The claim table: the row that makes a document exist once. Installing it, proving that it works, reading it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from connectors.base.clock import Clock
from connectors.base.errors import OutcomeUnknownError, RetriableError
from connectors.sap_b1.change_set import B1Answer, B1Request
from connectors.sap_b1.error_codes import OutcomeClass, Phase, classify
from connectors.sap_b1.service_layer import (
    AnswerUnknownError,
    ServiceLayer,
    UnavailableError,
    describe,
    quote_literal,
    read_rows,
)

T = TypeVar("T")

TABLE = "STREAMS_CLAIM"
ENTITY = f"U_{TABLE}"  # a user table without object is exposed under its name with U_ (guide)
KS_PER_QUERY = 20
#: Kinds whose withdrawn claim is followed by another attempt where the event is replayed.
EVENT_KINDS = frozenset({"order_placed", "order_cancelled", "dispatch_confirmed", "invoice", "refund_issued"})
_TRIES = 5  # of a write whose answer was lost; at 3 % lost replies all of them are in one of 40 million

CLAIM_FIELDS: tuple[tuple[str, int], ...] = (("KIND", 30), ("DIGEST", 32), ("VERSION", 254), ("STATE", 20))
# One definition serves all: user fields of one marketing document's title or rows are those of every other one,
# inventory documents and drafts included
DOCUMENT_FIELDS: tuple[tuple[str, str, int], ...] = (
    ("ORDR", "STREAMS_KEY", 60),
    ("ORDR", "STREAMS_ORDER", 60),
    ("RDR1", "STREAMS_LINE", 100),
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A row of the claim table.

    Attributes:
        k: Its key, and `U_STREAMS_KEY` of the document that it claims.
        kind: What is claimed: an event type, `invoice`, `stock_batch` or `stock_document`.
        digest: The event's 16 bytes (a stock document's own).
        version: `1 <topic>/<partition>/<offset>` of the fact it was made from: tells a redelivery from a source's
            repeat.
        state: `posted`; `void` (a withdrawn document, which then never exists); `discarded` (by a person); `intent`
            (tiers guard and lookup: its document was about to be sent, and is there or not).
        attempt: 0; n where an event is tried anew after attempt n - 1 was withdrawn, which B1 must have shown: so each
            attempt has a row of its own, of all of them at most one is `posted`, and no request of an older attempt can
            be applied any more. The document carries K, whatever the attempt.
        plan: Of an intent whose kind has no document: the digest of its requests, by which they are known again.
        writer: Of an intent: time and chance, which write made it. Whoever finds his own has not sent its document yet.
    """

    k: str
    kind: str
    digest: bytes
    version: str
    state: str = "posted"
    attempt: int = 0
    plan: str = ""
    writer: str = ""

    @property
    def code(self) -> str:
        """Its primary key in B1: K, or `K.n`."""
        return f"{self.k}.{self.attempt}" if self.attempt else self.k

    @property
    def may_be_tried_anew(self) -> bool:
        """Whether it is withdrawn and of an event; a withdrawn stock document's batches go into others instead."""
        return self.state == "void" and self.kind in EVENT_KINDS

    def request(self) -> B1Request:
        """The part of a change set that makes this row, or fails the whole set where it exists."""
        return B1Request(
            "POST",
            ENTITY,
            {
                "Code": self.code,
                "Name": f"{self.code}#{self.plan}#{self.writer}" if self.plan or self.writer else self.code,
                "U_KIND": self.kind,
                "U_DIGEST": self.digest.hex(),
                "U_VERSION": self.version,
                "U_STATE": self.state,
            },
        )

    def marked(self, state: str) -> B1Request:
        """The request that gives this row, which stands, another state."""
        return B1Request("PATCH", f"{ENTITY}({quote_literal(self.code)})", {"U_STATE": state})

    def removed(self) -> B1Request:
        """The request that takes this row away."""
        return B1Request("DELETE", f"{ENTITY}({quote_literal(self.code)})")


def claims_query(ks: Sequence[str]) -> str:
    """The path that lists the claims of up to `KS_PER_QUERY` keys, by primary key."""
    return f"{ENTITY}?$filter={' or '.join(f'Code eq {quote_literal(k)}' for k in ks)}"


def parse_claim(row: Mapping[str, object]) -> Claim:
    digest = _text(row, "U_DIGEST")
    try:
        raw = bytes.fromhex(digest)
    except ValueError:
        raw = digest.encode()  # somebody edited it: no digest of ours is equal to it
    code = _text(row, "Code")
    k, _, number = code.partition(".")
    attempt = int(number) if number.isdecimal() else 0
    _, plan, writer = (*_text(row, "Name").split("#", 2), "", "")[:3]
    return Claim(
        k if attempt else code,
        _text(row, "U_KIND"),
        raw,
        _text(row, "U_VERSION"),
        _text(row, "U_STATE") or "posted",
        attempt,
        plan,
        writer,
    )


def _text(row: Mapping[str, object], name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value)


async def look_up(service_layer: ServiceLayer, ks: Sequence[str]) -> dict[str, Claim]:
    """The claims that exist among these keys, each of its last attempt."""
    chunks = [ks[start : start + KS_PER_QUERY] for start in range(0, len(ks), KS_PER_QUERY)]
    pages = await read_rows(service_layer, [claims_query(chunk) for chunk in chunks])
    claims = [parse_claim(row) for rows in pages for row in rows]
    return await last_attempts(service_layer, {claim.k: claim for claim in claims if claim.k in set(ks)})


async def last_attempts(service_layer: ServiceLayer, claims: Mapping[str, Claim]) -> dict[str, Claim]:
    """Claims by K, each of its last attempt: asks only for those that are withdrawn."""
    last, withdrawn = dict(claims), [k for k, claim in claims.items() if claim.may_be_tried_anew]
    chunks = [withdrawn[start : start + KS_PER_QUERY] for start in range(0, len(withdrawn), KS_PER_QUERY)]
    paths = [
        f"{ENTITY}?$filter=" + " or ".join(f"startswith(Code,{quote_literal(k + '.')})" for k in chunk)
        for chunk in chunks
    ]
    for rows in await read_rows(service_layer, paths) if paths else []:
        for claim in map(parse_claim, rows):
            if claim.k in last and claim.attempt > last[claim.k].attempt:
                last[claim.k] = claim
    return last


async def missing(service_layer: ServiceLayer) -> list[str]:
    """What `install` would make: `@STREAMS_CLAIM`, `@STREAMS_CLAIM.KIND`, `ORDR.STREAMS_KEY` ..."""
    tables, *fields = await read_rows(
        service_layer,
        [f"UserTablesMD?$filter=TableName eq {quote_literal(TABLE)}"]
        + [f"UserFieldsMD?$filter=TableName eq {quote_literal(table)}" for table in _tables()],
    )
    there = {(table, _text(row, "Name")) for table, rows in zip(_tables(), fields, strict=True) for row in rows}
    gone = [] if any(_text(row, "TableName") == TABLE for row in tables) else [f"@{TABLE}"]
    return gone + [f"{table}.{name}" for table, name, _ in _fields() if (table, name) not in there]


async def install(service_layer: ServiceLayer) -> list[str]:
    """Make the claim table and the user fields where they are missing. Harmless to repeat, and for two at once.

    B1 changes its tables for this: nobody should be posting, and some nodes of the Service Layer show the new fields
    only after a restart (guide, live).

    Returns:
        What was made.

    Raises:
        InstallError: B1 refused, most likely for want of a superuser's rights.
        NotSentError, UnavailableError, AnswerUnknownError, FatalError: As `ServiceLayer`.
    """
    made = []
    body: dict[str, object]
    for name in await missing(service_layer):
        if name == f"@{TABLE}":
            path = "UserTablesMD"
            body = {"TableName": TABLE, "TableDescription": "b1-streams claims", "TableType": "bott_NoObject"}
        else:
            table, _, field = name.partition(".")
            size = next(size for of, called, size in _fields() if (of, called) == (table, field))
            path = "UserFieldsMD"
            body = {
                "TableName": table,
                "Name": field,
                "Description": f"b1-streams {field.removeprefix('STREAMS_').lower()}",
                "Type": "db_Alpha",
                "SubType": "st_None",
                "Size": size,
                "EditSize": size,
            }
        answer = await insist(partial(service_layer.post, path, body))
        if answer.ok:
            made.append(name)
        elif classify(Phase.WRITE, answer.status, *answer.error).outcome is not OutcomeClass.EXISTS:
            raise InstallError(f"B1 did not make {name}: {describe(answer)}")
    return made


class InstallError(Exception):
    """B1 refused to make a table or a field. The message is in our own words."""


def _fields() -> list[tuple[str, str, int]]:
    return [(f"@{TABLE}", name, size) for name, size in CLAIM_FIELDS] + list(DOCUMENT_FIELDS)


def _tables() -> list[str]:
    return list(dict.fromkeys(table for table, _, _ in _fields()))


#: How a second document is kept out, best first; each installation that gives one gives those after it.
TIERS = ("claim", "guard", "lookup")
#: The row in which the doctor leaves the tier that it has proven: `U_STATE`; `none` where nothing keeps a second out.
_TIER_CODE, _TIER_KIND = "tier", "proof"


async def proven_tier(service_layer: ServiceLayer) -> str | None:
    """The tier that the doctor has proven here, or `none`; None: it was never asked.

    Raises:
        NotSentError, UnavailableError, FatalError: As `ServiceLayer.read`.
    """
    (rows,) = await read_rows(service_layer, [claims_query([_TIER_CODE])])
    return next((parse_claim(row).state for row in rows), None)


async def record_tier(service_layer: ServiceLayer, tier: str | None) -> None:
    """Leave in B1 what was proven, for every worker that starts.

    Raises:
        NotSentError, UnavailableError, AnswerUnknownError, FatalError: As `ServiceLayer`.
    """
    row = Claim(_TIER_CODE, _TIER_KIND, bytes(16), "0 proof", tier or "none")
    if not (await insist(partial(service_layer.change_set, [row.request()])))[0].ok:
        _final((await insist(partial(service_layer.change_set, [row.marked(row.state)])))[0])


@dataclass(frozen=True, slots=True)
class ClaimProof:
    """What a company's B1 did when it was tried.

    Attributes:
        second_refused: A second row of one `Code` was refused, as `exists`.
        rolls_back: A change set whose document was refused left no claim.
        row_ms: What one claim row adds to a change set, in milliseconds; None where it could not be measured.
        detail: What happened instead, where one of them is False.
    """

    second_refused: bool
    rolls_back: bool
    row_ms: float | None
    detail: str = ""


_ROWS = 10
_ANSWERS = (OutcomeClass.EXISTS, OutcomeClass.REJECTED)


async def prove(service_layer: ServiceLayer, clock: Clock, token: str) -> ClaimProof:
    """Try the claim at the customer's company. Leaves nothing behind.

    Args:
        service_layer: The company's.
        clock: Measures the cost.
        token: Random characters, so that two proofs at once do not meet: at most 20, letters and digits.

    Raises:
        NotSentError, UnavailableError, AnswerUnknownError, FatalError: As `ServiceLayer`; rows may then be left,
        named `proof-`.
    """
    first, *many = [
        Claim(f"proof-{token}-{number}", "proof", bytes(16), "0 proof", "void") for number in range(_ROWS + 1)
    ]
    dropped = Claim(f"proof-{token}-dropped", "proof", bytes(16), "0 proof", "void")
    # No lines and a card that does not exist: B1 cannot add such an order under any settings
    never = B1Request("POST", "Orders", {"CardCode": "B1STREAMS-PROOF", "DocumentLines": []})
    try:
        answers, one_ms = await _timed(service_layer, clock, [first.request()])
        # The token is ours alone: a row that is there already was written by a try whose answer was lost.
        if not (_final(answers[0]).ok or _exists(answers[0])):
            return ClaimProof(False, False, None, f"no claim row can be written: {describe(answers[0])}")
        measured = answers[0].ok
        again = _final((await insist(partial(service_layer.change_set, [first.request()])))[0])
        exists = _exists(again)
        refused = _final((await insist(partial(service_layer.change_set, [dropped.request(), never])))[-1])
        left = await look_up(service_layer, [first.k, dropped.k])
        answers, many_ms = await _timed(service_layer, clock, [claim.request() for claim in many])
        row_ms = max(0.0, (many_ms - one_ms) / (_ROWS - 1)) if measured and answers[-1].ok else None
    finally:
        await _sweep(service_layer, [first.k, dropped.k, *(claim.k for claim in many)])
    detail = []
    if not exists:
        detail.append(f"a second row of one Code was answered: {describe(again)}")
    if first.k not in left:
        detail.append("a claim row that was written is not found again")
    if refused.ok or dropped.k in left:
        detail.append("a change set whose document was refused left its claim behind")
    return ClaimProof(exists and first.k in left, not refused.ok and dropped.k not in left, row_ms, "; ".join(detail))


async def _timed(
    service_layer: ServiceLayer, clock: Clock, requests: Sequence[B1Request]
) -> tuple[list[B1Answer], float]:
    """The answers, and how long the last try took (ms)."""

    async def write() -> tuple[list[B1Answer], float]:
        started = clock.monotonic()
        answers = await service_layer.change_set(requests)
        return answers, (clock.monotonic() - started) * 1000

    return await insist(write)


async def insist(write: Callable[[], Awaitable[T]]) -> T:
    """Send a write that is harmless to repeat until its answer arrives.

    Raises:
        AnswerUnknownError: It did not arrive several times in a row.
    """
    for _ in range(_TRIES - 1):
        with suppress(AnswerUnknownError):
            return await write()
    return await write()


def _exists(answer: B1Answer) -> bool:
    return classify(Phase.PART, answer.status, *answer.error).outcome is OutcomeClass.EXISTS


def _final(answer: B1Answer) -> B1Answer:
    """The answer, where it is one to what was asked.

    Raises:
        UnavailableError: B1 was busy, locked or out of order: nothing is known of the claim.
    """
    if not answer.ok and classify(Phase.PART, answer.status, *answer.error).outcome not in _ANSWERS:
        raise UnavailableError(f"B1 did not take part in the proof: {describe(answer)}")
    return answer


async def _sweep(service_layer: ServiceLayer, ks: Sequence[str]) -> None:
    try:
        left = await look_up(service_layer, ks)
        if left:
            rows = [B1Request("DELETE", f"{ENTITY}({quote_literal(k)})") for k in left]
            await insist(partial(service_layer.change_set, rows))
    except (RetriableError, OutcomeUnknownError):
        return  # the error under way, if any, says more; the rows are `void`, kind `proof`: nobody ever reads them

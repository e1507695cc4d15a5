"""Writes documents to B1, each exactly once: its claim and itself in one change set. Looks up what is there already."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from connectors.sap_b1.change_set import B1Answer, B1Request, decimal_of
from connectors.sap_b1.claims import KS_PER_QUERY, Claim, claims_query, last_attempts, look_up, parse_claim
from connectors.sap_b1.documents import order_cancelled
from connectors.sap_b1.error_codes import OutcomeClass, Phase, Verdict, classify, says_guarded, says_locked
from connectors.sap_b1.order import DocumentView, OrderView, invoice_query, parse, parse_invoices, queries
from connectors.sap_b1.service_layer import (
    AnswerUnknownError,
    NotSentError,
    ServiceLayer,
    UnavailableError,
    describe,
    quote_literal,
    read_rows,
)
from schemas.records import Document

ENTITIES: Mapping[str, tuple[str, ...]] = {
    "order_placed": ("Orders",),
    "dispatch_confirmed": ("DeliveryNotes",),
    "invoice": ("Invoices",),
    "refund_issued": ("CreditNotes",),
    "stock_document": ("InventoryGenEntries", "InventoryGenExits", "StockTransfers"),
}
"""Where the document of a claim of this kind lies; a kind that is not here has a claim and no document."""


@dataclass(frozen=True, slots=True)
class Found:
    """What B1 has under one K.

    Attributes:
        ref: Its document, a draft (`Drafts`) where that is all there is; of several the one that is not cancelled.
        body: That document as B1 shows it.
        draft: An approval procedure made a draft, and nobody has decided yet.
        cancelled: A person cancelled it; it is never posted again.
        copies: Documents of this K that stand, cancelled ones and their mirrors aside. More than one must never be.
    """

    claim: Claim | None = None
    ref: Document | None = None
    body: Mapping[str, Any] | None = None
    draft: bool = False
    cancelled: bool = False
    copies: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one change set.

    Attributes:
        outcome: Its class; after NOT_SENT, UNAVAILABLE, LOCKED and UNKNOWN the identical request may be sent again.
        document: B1's body of the document that was made (APPLIED) or found (EXISTS).
        ref: Its place; the draft's, where only a draft was found.
        reason: A name of `schemas.letters.REASONS` where REJECTED; where LOCKED, what it is if repeating never helps:
            None is `item_locked`, `erp_refused` says that B1 named no lock but a key that is taken.
        error: What was wrong, B1's words in it, nothing about people.
        line: The line that B1 named, counted from 1; None: none.
        item: The ItemCode that the refusal is about, where B1's words or the line say so; None: nobody knows.
        sap_code: A label for metrics.
        claim: The row that stood under the main K already: its digest and version tell whose it is.
        found: For EXISTS, what stood under each K of the change set.
        cancelled: The document that was found has been cancelled by a person.
        orphan: UNKNOWN that no repetition will settle: a claim without its document, or two documents of one K. Page.
        retry_after_s: How long B1 asked us to wait.
        answered: Somebody did answer; where UNKNOWN and nobody did, B1 may be at it still.
    """

    outcome: OutcomeClass
    document: Mapping[str, Any] | None = None
    ref: Document | None = None
    reason: str | None = None
    error: str | None = None
    line: int | None = None
    item: str | None = None
    sap_code: str = "none"
    claim: Claim | None = None
    found: Mapping[str, Found] = field(default_factory=dict)
    cancelled: bool = False
    orphan: bool = False
    retry_after_s: float | None = None
    answered: bool = True


class B1Sink:
    """One company's documents. Holds no state: one may be made wherever it is needed."""

    def __init__(self, service_layer: ServiceLayer) -> None:
        self._service_layer = service_layer

    async def write(self, claims: Sequence[Claim], plan_requests: Sequence[B1Request]) -> Written:
        """Send one change set: the claims, then the document's parts. Never repeats anything by itself.

        The main claim is the first that is not `void`, or else the first.

        Raises:
            FatalError: As `ServiceLayer`.
        """
        requests = [claim.request() for claim in claims] + list(plan_requests)
        try:
            answers = await self._service_layer.change_set(requests)
            if all(answer.ok for answer in answers):
                return _made(plan_requests, answers[len(claims) :])
            return await self._refused(claims, plan_requests, answers[0])
        except (NotSentError, UnavailableError, AnswerUnknownError) as error:
            return _not_known(error)

    async def write_claimed(self, claim: Claim, requests: Sequence[B1Request]) -> Written:
        """Send the document of a claim that stands already, as an intent. Never repeats anything by itself.

        Raises:
            FatalError: As `ServiceLayer`.
        """
        try:
            answers = await self._service_layer.change_set(requests)
            if all(answer.ok for answer in answers):
                return _made(requests, answers)
            answer = answers[0]
            verdict = classify(Phase.PART, answer.status, *answer.error)
            if verdict.outcome is OutcomeClass.EXISTS or answer.error[0] == "-2028":
                found = await self.document_of(claim)
                if found is not None:
                    words = f"{found.error}. {_words(requests, answer)}" if found.error else None
                    return replace(found, sap_code=verdict.sap_code, error=words)
            return _without(verdict, answer, requests)
        except (NotSentError, UnavailableError, AnswerUnknownError) as error:
            return _not_known(error)

    async def document_of(self, claim: Claim) -> Written | None:
        """What has become of an intent: as `write` answers where the claim stands; None: there is no document of it.

        Raises:
            NotSentError, UnavailableError, FatalError: As `ServiceLayer.read`.
        """
        found = await self.look_up([claim.k])
        written = _adopted([claim], claim, found, Verdict(OutcomeClass.EXISTS, None, None, "none"))
        return None if is_open(written) else written

    async def is_cancelled(self, requests: Sequence[B1Request]) -> bool:
        """Whether the order of a cancellation is as these requests of it leave it.

        Raises:
            NotSentError, UnavailableError, FatalError: As `ServiceLayer.read`.
        """
        entry = requests[0].path.partition("(")[2].partition(")")[0]
        (rows,) = await read_rows(self._service_layer, [f"Orders?$filter=DocEntry eq {entry}"])
        return any(order_cancelled.is_done(requests, row) for row in rows)

    async def look_up(self, ks: Sequence[str]) -> dict[str, Found]:
        """What B1 has under each K: claim, document, draft. One round trip for most, two where documents are missing.

        Raises:
            NotSentError, UnavailableError, FatalError: As `ServiceLayer.read`.
        """
        ks = list(dict.fromkeys(ks))
        asked: list[tuple[str | None, str]] = [(None, claims_query(chunk)) for chunk in _chunks(ks)]
        entity: str | None
        for entity in dict.fromkeys(entity for entities in ENTITIES.values() for entity in entities):
            mine = [k for k in ks if entity in ENTITIES.get(kind_of(k), ())]
            asked += [(entity, _documents_query(entity, chunk)) for chunk in _chunks(mine)]
        found = dict.fromkeys(ks, Found())
        for (entity, _), rows in zip(asked, await read_rows(self._service_layer, [p for _, p in asked]), strict=True):
            for row in rows:
                if entity is None:
                    claim = parse_claim(row)
                    if claim.k in found:
                        found[claim.k] = replace(found[claim.k], claim=claim)
                elif (k := row.get("U_STREAMS_KEY")) in found:
                    found[str(k)] = _with_document(found[str(k)], entity, row)
        without = [k for k in ks if found[k].ref is None and kind_of(k) in ENTITIES]
        if without:
            found.update(await self._drafts(without, found))
        claims = {k: entry.claim for k, entry in found.items() if entry.claim is not None}
        for k, claim in (await last_attempts(self._service_layer, claims)).items():
            found[k] = replace(found[k], claim=claim)
        return found

    async def orders(self, order_ks: Sequence[str]) -> dict[str, OrderView | None]:
        """What B1 remembers of each order; None where it has none.

        Raises:
            NotSentError, UnavailableError, FatalError: As `ServiceLayer.read`.
        """
        views: dict[str, OrderView | None] = dict.fromkeys(order_ks)
        for chunk in _chunks(list(views)):
            pages = await read_rows(self._service_layer, queries(chunk))
            views.update(parse(pages, chunk))
        return views

    async def invoices(self, order: OrderView) -> tuple[DocumentView, ...]:
        """The invoices that people made for an order, where we make none (`invoices.on = "never"`).

        Raises:
            NotSentError, UnavailableError, FatalError: As `ServiceLayer.read`.
        """
        return parse_invoices((await read_rows(self._service_layer, [invoice_query(order)]))[0])

    async def preview(self, body: Mapping[str, Any]) -> Written:
        """What B1 would make of an order, as `document`; nothing is saved. REJECTED where `write` would be, too.

        Raises:
            FatalError: As `ServiceLayer`.
        """
        try:
            answer = await self._service_layer.post("OrdersService_Preview", {"Document": body})
        except (NotSentError, UnavailableError, AnswerUnknownError) as error:
            return _not_known(error)
        if answer.ok:
            return Written(OutcomeClass.APPLIED, document=answer.body or {})
        verdict = classify(Phase.WRITE, answer.status, *answer.error)
        said = _said(verdict, verdict.reason, _words([B1Request("POST", "Orders", body)], answer))
        match verdict.outcome:
            case OutcomeClass.EXISTS:  # nothing is saved, so it cannot be in its own way
                reason = None if says_locked(answer.error[1]) else "erp_refused"
                return replace(said, outcome=OutcomeClass.LOCKED, reason=reason)
            case OutcomeClass.REJECTED if verdict.reason in (None, "approval_required"):
                return replace(said, reason="erp_refused")
            case _:
                return said

    async def _refused(self, claims: Sequence[Claim], plan_requests: Sequence[B1Request], answer: B1Answer) -> Written:
        verdict = classify(Phase.PART, answer.status, *answer.error)
        error = _words(plan_requests, answer)
        item = _item_of(plan_requests, verdict.line, answer.error[1])
        if not claims:
            return _said(verdict, verdict.reason, error, item)
        main = next((claim for claim in claims if claim.state != "void"), claims[0])
        match verdict.outcome:
            case OutcomeClass.EXISTS:
                # The claims alone first: a lock is answered by one small read
                if await self._standing(claims):
                    return _adopted(claims, main, await self.look_up([claim.k for claim in claims]), verdict)
                guarded = await self.document_of(main) if says_guarded(answer.error[1]) else None
                return guarded or _without(verdict, answer, plan_requests)
            case OutcomeClass.REJECTED if answer.error[0] == "-2028" and plan_requests:
                entry = (await self.look_up([main.k]))[main.k]
                stands = entry.claim is not None and entry.claim.state != "intent"
                if stands and entry.claim is not None and entry.claim.attempt >= main.attempt:
                    return _adopted([main], main, {main.k: entry}, verdict)
                if entry.draft:
                    waits = f"an approval procedure of B1 made a draft of it; approve or reject the draft. {error}"
                    return replace(_said(verdict, "approval_required", waits), ref=entry.ref, found={main.k: entry})
                reason = verdict.reason if verdict.reason != "approval_required" else "erp_refused"
                return _said(verdict, reason, error, item)
            case _:
                return _without(verdict, answer, plan_requests)

    async def _standing(self, claims: Sequence[Claim]) -> bool:
        """Whether one of the claims, or a later attempt at it, stands in B1; withdrawn earlier ones do not count."""
        there = await look_up(self._service_layer, [claim.k for claim in claims])
        return any(claim.k in there and there[claim.k].attempt >= claim.attempt for claim in claims)

    async def _drafts(self, ks: Sequence[str], found: Mapping[str, Found]) -> dict[str, Found]:
        drafts: dict[str, Found] = {}
        pages = await read_rows(self._service_layer, [_documents_query("Drafts", chunk) for chunk in _chunks(ks)])
        stock = [k for k in ks if "StockTransfers" in ENTITIES[kind_of(k)]]
        # Transfers have drafts of their own; a B1 that does not show them has none
        paths = [_documents_query("StockTransferDrafts", chunk) for chunk in _chunks(stock)]
        answers = await self._service_layer.read(paths) if paths else []
        for entity, rows in [("Drafts", rows) for rows in pages] + [
            ("StockTransferDrafts", _rows(answer)) for answer in answers
        ]:
            for row in rows:
                k = row.get("U_STREAMS_KEY")
                # A draft that is closed has become a document, or was thrown away
                if k in ks and row.get("DocumentStatus") != "bost_Close":
                    drafts[str(k)] = replace(found[str(k)], ref=_ref(entity, row), body=row, draft=True)
        return drafts


def kind_of(k: str) -> str:
    """The kind in a K, `<kind>-<26 characters>`."""
    return k.rpartition("-")[0]


def total_of(document: Mapping[str, Any]) -> Decimal | None:
    """A document's gross total in its own currency: B1 fills `DocTotalFc` for a foreign one only."""
    return decimal_of(document.get("DocTotalFc")) or decimal_of(document.get("DocTotal"))


def _not_known(error: NotSentError | UnavailableError | AnswerUnknownError) -> Written:
    match error:
        case NotSentError():
            return Written(OutcomeClass.NOT_SENT, error=str(error), retry_after_s=error.retry_after_s)
        case UnavailableError():
            return Written(OutcomeClass.UNAVAILABLE, error=str(error), retry_after_s=error.retry_after_s)
        case _:
            return Written(
                OutcomeClass.UNKNOWN, error=str(error), retry_after_s=error.retry_after_s, answered=error.answered
            )


def _made(plan_requests: Sequence[B1Request], answers: Sequence[B1Answer]) -> Written:
    for request, answer in zip(plan_requests, answers, strict=True):
        if request.method == "POST" and answer.body is not None and "DocEntry" in answer.body:
            return Written(OutcomeClass.APPLIED, document=answer.body, ref=_ref(request.path, answer.body))
    return Written(OutcomeClass.APPLIED)


def _said(verdict: Verdict, reason: str | None, error: str, item: str | None = None) -> Written:
    return Written(verdict.outcome, reason=reason, error=error, line=verdict.line, item=item, sap_code=verdict.sap_code)


def is_open(written: Written) -> bool:
    """Whether an intent stands and nothing of it was found."""
    is_intent = written.claim is None or written.claim.state == "intent"
    return written.outcome is OutcomeClass.EXISTS and written.ref is None and is_intent


def _without(verdict: Verdict, answer: B1Answer, requests: Sequence[B1Request]) -> Written:
    """What a refusal says where nothing of ours stands in B1."""
    error, item = _words(requests, answer), _item_of(requests, verdict.line, answer.error[1])
    match verdict.outcome:
        case OutcomeClass.EXISTS:
            # Somebody holds a record, an insert of the same row is under way (T8), or it is another key that is taken,
            # which no repetition will help
            reason = None if says_locked(answer.error[1]) else "erp_refused"
            return _said(replace(verdict, outcome=OutcomeClass.LOCKED), reason, error, item)
        case OutcomeClass.SESSION:
            return Written(OutcomeClass.UNAVAILABLE, error=error, sap_code=verdict.sap_code)
        case OutcomeClass.REJECTED if verdict.reason == "approval_required":
            return _said(verdict, "erp_refused", error, item)
        case _:
            return _said(verdict, verdict.reason, error, item)


def _words(requests: Sequence[B1Request], answer: B1Answer) -> str:
    what = requests[-1].path.partition("?")[0] if requests else "a claim"
    return f"B1 refused {what}: {describe(answer, requests)}"[:300]


def _item_of(requests: Sequence[B1Request], line: int | None, text: str) -> str | None:
    """The item that a refusal is about: of the line that B1 names, else the only one, else the one in B1's words."""
    bodies = [request.body for request in requests if request.body is not None]
    lines = [row for body in bodies for row in body.get("DocumentLines") or body.get("StockTransferLines") or ()]
    codes = [str(row["ItemCode"]) if row.get("ItemCode") else None for row in lines]
    if line is not None and len(bodies) == 1 and 0 < line <= len(codes):
        return codes[line - 1]
    known = {code for code in codes if code is not None}
    if len(known) == 1:
        return known.pop()
    named = [code for code in known if re.search(rf"(?<!\w){re.escape(code)}(?!\w)", text)]
    return max(named, key=len, default=None)


def _adopted(claims: Sequence[Claim], main: Claim, found: Mapping[str, Found], verdict: Verdict) -> Written:
    """What the claims that stand already make of a write."""
    entry = found[main.k]
    said = Written(OutcomeClass.EXISTS, claim=entry.claim, found=found, sap_code=verdict.sap_code)
    for claim in claims:
        there = found[claim.k].claim
        if there is None:
            continue
        if there.kind != claim.kind:
            whose = f"a {there.kind} ({there.state}, made from {there.version[2:]})"
            error = f"the claim {claim.k} in B1 is one of {whose}, ours of a {claim.kind}; find out who wrote it"
            return replace(said, outcome=OutcomeClass.REJECTED, reason="key_conflict", error=error)
        if "void" not in (there.state, claim.state) and there.digest != claim.digest:
            error = (
                f"the claim {claim.k} in B1 was made from {there.version[2:]}, with other content under one identity"
            )
            return replace(said, outcome=OutcomeClass.REJECTED, reason="id_reuse", error=error)
    if entry.draft and (entry.claim is None or entry.claim.state == "intent"):
        error = "an approval procedure of B1 made a draft of it; approve or reject the draft"
        return replace(said, outcome=OutcomeClass.REJECTED, reason="approval_required", error=error, ref=entry.ref)
    if entry.copies > 1:
        one = f", {entry.ref.object} {entry.ref.doc_num} among them" if entry.ref is not None else ""
        error = f"{entry.copies} documents in B1 carry {main.k}{one}; a person must decide which one stands"
        return replace(said, outcome=OutcomeClass.UNKNOWN, error=error, orphan=True)
    claimed = entry.claim is not None and entry.claim.state == "posted" and main.kind in ENTITIES
    if claimed and entry.ref is None:
        made = f"{main.kind}, made from {main.version[2:]}"
        error = (
            f"the claim {main.k} ({made}) stands in B1 without its document; look for who deleted it, or restored B1"
        )
        return replace(said, outcome=OutcomeClass.UNKNOWN, error=error, orphan=True)
    return replace(said, document=entry.body, ref=entry.ref, cancelled=entry.cancelled)


def _chunks(ks: Sequence[str]) -> list[Sequence[str]]:
    return [ks[start : start + KS_PER_QUERY] for start in range(0, len(ks), KS_PER_QUERY)]


def _documents_query(entity: str, ks: Sequence[str]) -> str:
    return f"{entity}?$filter={' or '.join(f'U_STREAMS_KEY eq {quote_literal(k)}' for k in ks)}&$orderby=DocEntry"


def _rows(answer: B1Answer) -> list[Mapping[str, Any]]:
    value = answer.body.get("value") if answer.ok and answer.body is not None else None
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def _with_document(found: Found, entity: str, row: Mapping[str, Any]) -> Found:
    """Add one document: a standing one comes before cancelled ones, and a mirror (csCancellation) is none of ours."""
    if row.get("CancelStatus") == "csCancellation":
        return found
    cancelled = row.get("Cancelled") in {"tYES", "Y"} or row.get("CancelStatus") == "csYes"
    if cancelled and found.ref is not None:
        return found
    copies = found.copies + (not cancelled)
    return replace(found, ref=_ref(entity, row), body=row, cancelled=cancelled, copies=copies)


def _ref(entity: str, row: Mapping[str, Any]) -> Document:
    return Document(
        object=entity,
        doc_entry=int(decimal_of(row.get("DocEntry")) or 0),
        doc_num=int(decimal_of(row.get("DocNum")) or 0),
    )

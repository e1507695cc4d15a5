"""Posts the events of orders: one event against B1's memory of its order, to documents (D2, architecture section 6)."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from connectors.base.errors import Refusal
from connectors.sap_b1.claims import Claim
from connectors.sap_b1.documents import (
    DocumentPlan,
    dispatch_confirmed,
    invoice,
    order_cancelled,
    order_placed,
    refund_issued,
)
from connectors.sap_b1.error_codes import OutcomeClass
from connectors.sap_b1.mapping import CompanyMap
from connectors.sap_b1.master import Codes, MasterData
from connectors.sap_b1.master_data import MasterDataCache
from connectors.sap_b1.order import DocumentView, OrderView, placed
from connectors.sap_b1.sink import ENTITIES, B1Sink, Found, Written, total_of
from schemas.events import DispatchConfirmed, OrderCancelled, OrderEvent, OrderPlaced, RefundIssued
from schemas.records import Document, StockBatch
from streams.chain.keys import invoice_key, order_key
from streams.flow_control.lanes import Lanes
from streams.ports import Ports
from streams.posting.erp import ITEM_REASONS, OWN_PATIENCE_S, Erp, with_words
from streams.posting.in_flight import Ended, InFlightPosting
from streams.posting.lifecycle import Trigger
from streams.posting.order_memory import OrderMemory
from streams.posting.reuse import FirstEvents

_SHARED_PATIENCE_S = 2.0
#: Refusals that need no second try: what they say does not depend on what we remember.
_SETTLED = frozenset({"erp_cannot", "item_locked", "not_permitted"})


@dataclass(frozen=True, slots=True)
class _Known:
    """The order that an event names: under which K, and what B1 remembers of it."""

    k: str
    view: OrderView | None


class OrderPosting:
    """Posts events of orders; its caller runs each order in sequence."""

    def __init__(
        self, mapping: CompanyMap, erp: Erp, sink: B1Sink, master: MasterDataCache, lanes: Lanes, ports: Ports
    ) -> None:
        self._map, self._erp, self._sink, self._master, self._lanes = mapping, erp, sink, master, lanes
        self._first_events = FirstEvents(ports.log, ports.codec)
        self._clock, self._metrics, self._crash_point = ports.clock, ports.metrics, ports.crash_point
        # A reading of several that fails is soon tried one by one: only one of them may be to blame
        self._memory = OrderMemory(
            lambda ks: erp.ask(lambda: sink.orders(ks), OWN_PATIENCE_S if len(ks) == 1 else _SHARED_PATIENCE_S)
        )

    async def post(self, work: InFlightPosting) -> Ended:
        """Return when the event has ended: its documents are in B1, or it is known that there is nothing to do.

        A refusal is final only after claim and order were read again and still say so (architecture section 15.1): what
        we remember may be old, and what refuses a repetition may be the first.

        Raises:
            Refusal: final.
        """
        event = _order_event(work)
        if work.letter is not None and work.letter.reason == "approval_required":
            self._forget(event)  # what was approved is not from us
            decided = await self.adopt(work)
            if decided is not None:
                return decided
        refused: Refusal | None = None
        # With what we remember, then with what B1 says now; each time its claim is looked up after that reading
        for _ in range(2):
            try:
                return await self._try(work)
            except Refusal as refusal:
                if refusal.reason in ("id_reuse", "key_conflict", "approval_required"):
                    raise
                refused = refusal
            self._forget(event)
            await self._master.forget(_codes(event, self._map))
            adopted = await self.adopt(work, is_done=refused.reason == "over_cancelled")
            if adopted is not None:
                return adopted
            if refused.reason in _SETTLED:
                break
        raise refused if refused is not None else RuntimeError("a refusal is what ends the loop")

    async def adopt(self, work: InFlightPosting, *, is_done: bool = False) -> Ended | None:
        """How an event ends that B1 has already; None where it has not, or not all of it.

        An approval procedure turns a document into a draft and drops its claim; approved, it stands without one, and
        gets it here.

        `is_done`: B1 shows that nothing is left to cancel, so the intent of a cancellation has been carried out.

        Raises:
            Refusal: the claim is of other content or another kind, or nobody has decided about a draft yet: sending it
                again would make another.
        """
        event, kinds = _order_event(work), {work.k: work.posting.kind}
        if isinstance(event, DispatchConfirmed) and self._map.settings.invoices.on == "dispatch":
            kinds[invoice_key(event.company, event.source, event.shipment_id)] = "invoice"
        found = await self._look_up(list(kinds))
        first = found[work.k]
        for k, kind in kinds.items():
            entry = found[k]
            if entry.claim is not None and entry.claim.may_be_tried_anew:
                return None  # withdrawn, because B1 could not do it: as if it had never been sent
            is_intent = entry.claim is not None and entry.claim.state == "intent"
            if is_intent and (entry.draft or (entry.ref is None and (kind in ENTITIES or not is_done))):
                return None  # nobody knows what became of it: writing it will say
            if entry.claim is not None:
                await self._check_claim(work, entry.claim)
                if kind in ENTITIES and entry.claim.state == "posted" and entry.ref is None:
                    raise _without_document(entry.claim)
                if is_intent and kind not in ENTITIES:
                    await self._erp.write([replace(entry.claim, state="posted")], [], lock_patience_s=float("inf"))
            elif entry.draft:
                error = "a draft of it waits in B1 for an approval; approve or reject the draft"
                raise Refusal("approval_required", error, waits_for="approval")
            elif entry.ref is not None:
                claim = Claim(k, kind, work.posting.digest, work.origin)
                await self._erp.write([claim], [], lock_patience_s=float("inf"))
            elif k == work.k or not first.cancelled:
                return None
        refs = [entry.ref for entry in found.values() if entry.ref is not None]
        return _adopted(work, first.claim, first.cancelled, refs)

    async def has_nothing_to_do(self, work: InFlightPosting) -> bool:
        """Whether B1 says now that an event needs no document: of such an end it has no trace."""
        event = _order_event(work)
        try:
            if isinstance(event, OrderCancelled):
                return (await self._cancellation(work, event))[1].no_op is not None
            return isinstance(event, RefundIssued) and (await self._refund(work, event))[1].no_op is not None
        except Refusal:
            return False

    # ---- per event

    async def _try(self, work: InFlightPosting) -> Ended:
        match _order_event(work):
            case OrderPlaced() as event:
                return await self._order_placed(work, event)
            case DispatchConfirmed() as event:
                return await self._dispatch_confirmed(work, event)
            case OrderCancelled() as event:
                return await self._order_cancelled(work, event)
            case RefundIssued() as event:
                return await self._refund_issued(work, event)

    async def _order_placed(self, work: InFlightPosting, event: OrderPlaced) -> Ended:
        codes = order_placed.codes_needed(event, self._map)
        plan = order_placed.build(event, work.k, work.k, self._map, await self._get(codes))
        await self._prepare(plan)
        if self._map.settings.totals.preview and plan.expected_total is not None:
            total = await self._preview(plan)
            if total is not None and total != plan.expected_total:
                raise Refusal(
                    "total_mismatch",
                    f"B1 would make it {total}, the order says {plan.expected_total} {event.currency}: compare tax "
                    "codes, "
                    "rounding and freight, then edit and replay",
                )
        ended, written = await self._write(work, work.k, plan)
        if written is not None and written.ref is not None:
            self._memory.put(placed(work.k, written.ref, written.document or plan.body))
        return ended

    async def _dispatch_confirmed(self, work: InFlightPosting, event: DispatchConfirmed) -> Ended:
        known = await self._order(event)
        view, documents = known.view, list[Document]()
        delivery = None if view is None else next((one for one in view.deliveries if one.k == work.k), None)
        if view is None or delivery is None:
            plan = dispatch_confirmed.build(
                event,
                work.k,
                known.k,
                self._map,
                await self._get(dispatch_confirmed.codes_needed(event, self._map, view)),
                view,
            )
            ended, written = await self._write(work, work.k, plan)
            if written is None:  # B1 had it: what we remember is old
                view = await self._again(known.k)
                if ended.outcome == "adopted_cancelled":
                    return ended
            elif view is not None and written.ref is not None:
                view = view.with_document(written.ref, written.document or plan.body)
                self._memory.put(view)
            documents += ended.documents
        else:
            found = (await self._look_up([work.k]))[work.k]
            if found.claim is not None:
                await self._check_claim(work, found.claim)
            ours = found.claim is None or found.claim.version == work.origin
            ended = Ended(Trigger.ADOPTED if ours else Trigger.FOUND_OTHERS)
            documents.append(Document(object=delivery.object, doc_entry=delivery.doc_entry, doc_num=delivery.doc_num))
        if self._map.settings.invoices.on == "dispatch":
            documents += await self._invoice(work, event, known.k, view)
        return replace(ended, documents=tuple(documents))

    async def _invoice(
        self, work: InFlightPosting, event: DispatchConfirmed, order_k: str, view: OrderView | None
    ) -> Sequence[Document]:
        k = invoice_key(event.company, event.source, event.shipment_id)
        there = None if view is None else next((one for one in view.invoices if one.k == k), None)
        if there is not None:
            return [Document(object=there.object, doc_entry=there.doc_entry, doc_num=there.doc_num)]
        await self._crash_point("i1")
        codes = invoice.codes_needed(event, self._map, view)
        plan = invoice.build(event, k, order_k, self._map, await self._get(codes), view, delivery_k=work.k)
        ended, written = await self._write(work, k, plan, kind="invoice")
        if written is None:
            await self._again(order_k)
        elif view is not None and written.ref is not None:
            self._memory.put(view.with_document(written.ref, written.document or plan.body))
        return ended.documents

    async def _order_cancelled(self, work: InFlightPosting, event: OrderCancelled) -> Ended:
        adopted = await self.adopt(work)  # what is cancelled looks like too much being cancelled
        if adopted is not None:
            return adopted
        known, plan = await self._cancellation(work, event)
        ended, _ = await self._write(work, work.k, plan)
        self._memory.forget(known.k)
        return ended

    async def _cancellation(self, work: InFlightPosting, event: OrderCancelled) -> tuple[_Known, DocumentPlan]:
        known = await self._order(event)
        return known, order_cancelled.build(event, work.k, known.k, self._map, await self._get(Codes()), known.view)

    async def _refund_issued(self, work: InFlightPosting, event: RefundIssued) -> Ended:
        known, plan = await self._refund(work, event)
        await self._prepare(plan)
        ended, written = await self._write(work, work.k, plan)
        if written is None:
            self._memory.forget(known.k)
        elif known.view is not None and written.ref is not None:
            self._memory.put(known.view.with_document(written.ref, written.document or plan.body))
        return ended

    async def _refund(self, work: InFlightPosting, event: RefundIssued) -> tuple[_Known, DocumentPlan]:
        known = await self._order(event) if event.order_id is not None else _Known("", None)
        view, found = known.view, tuple[DocumentView, ...]()
        if view is not None and refund_issued.needs_invoices(self._map, view):
            found = await self._erp.ask(lambda: self._sink.invoices(view), OWN_PATIENCE_S)
        master = await self._get(refund_issued.codes_needed(event, self._map, view))
        return known, refund_issued.build(event, work.k, known.k or None, self._map, master, view, found=found)

    # ---- steps

    async def _order(self, event: DispatchConfirmed | OrderCancelled | RefundIssued) -> _Known:
        """The order among those its sources may mean; found under two it is nobody's (contract section 4)."""
        ks = _order_ks(event, self._map)
        views = await asyncio.gather(*(self._memory.get(k) for k in ks))
        found = [_Known(k, view) for k, view in zip(ks, views, strict=True) if view is not None]
        if len(found) > 1:
            raise Refusal(
                "order_not_found",
                f"order {event.order_id!r} exists under several of {', '.join(self._map.order_sources(event.source))}; "
                f"name one source in connectors.{event.source}.order_source",
                waits_for=ks[0],
            )
        return found[0] if found else _Known(ks[0], None)

    def _forget(self, event: OrderEvent) -> None:
        for k in _order_ks(event, self._map):
            self._memory.forget(k)

    async def _again(self, k: str) -> OrderView | None:
        self._memory.forget(k)
        return await self._memory.get(k)

    async def _get(self, codes: Codes) -> MasterData:
        return await self._erp.master_data(self._master, codes)

    async def _look_up(self, ks: Sequence[str]) -> Mapping[str, Found]:
        return await self._erp.ask(lambda: self._sink.look_up(ks), OWN_PATIENCE_S)

    async def _preview(self, plan: DocumentPlan) -> Decimal | None:
        """The total that B1 would give an order; None where it names none.

        Raises:
            Refusal: B1's, or `item_locked`.
        """
        previewed = await self._erp.preview(plan.body, lock_patience_s=self._map.settings.lock_park_after_s)
        if previewed.outcome is not OutcomeClass.APPLIED:
            raise _refusal(previewed)
        return total_of(previewed.document or {})

    async def _prepare(self, plan: DocumentPlan) -> None:
        """New customers, one at a time: already there is as good as made."""
        for request in plan.before:
            written = await self._erp.write([], [request], lock_patience_s=0, own_patience_s=OWN_PATIENCE_S)
            if written.outcome is OutcomeClass.REJECTED:
                raise _refusal(written)

    async def _write(
        self, work: InFlightPosting, k: str, plan: DocumentPlan, kind: str | None = None
    ) -> tuple[Ended, Written | None]:
        """Write one plan under one claim; the second value is None where B1 had it already.

        Raises:
            Refusal: B1's, or `item_locked`.
        """
        if plan.no_op is not None:  # what leaves nothing to do may be this very event, written by who had it before us
            adopted = await self.adopt(work, is_done=True) if k == work.k else None
            return adopted or Ended(Trigger.NOTHING_TO_DO), None
        claim = Claim(k, kind or work.posting.kind, work.posting.digest, work.origin)
        asked = self._clock.monotonic()
        async with self._lanes.hold(plan.items) as lanes:
            self._metrics.lane_wait.observe(self._clock.monotonic() - asked)
            written = await self._erp.write(
                [claim],
                plan.requests,
                lock_patience_s=self._map.settings.lock_park_after_s,
                own_patience_s=OWN_PATIENCE_S,
                lanes=lanes,
            )
        match written.outcome:
            case OutcomeClass.APPLIED:
                return Ended(Trigger.CREATED, (written.ref,) if written.ref else ()), written
            case OutcomeClass.EXISTS:
                await self._check_claim(work, written.claim)
                refs = [written.ref] if written.ref is not None else []
                return _adopted(work, written.claim, written.cancelled, refs), None
            case _:
                if written.reason == "id_reuse":
                    await self._check_claim(work, written.claim)
                raise _refusal(written)

    async def _check_claim(self, work: InFlightPosting, claim: Claim | None) -> None:
        if claim is None:
            return
        if claim.digest != work.posting.digest and claim.state != "void":
            difference = await self._first_events.difference(work, claim.version)
            raise Refusal("id_reuse", f"B1 has this identity with other content: {difference}. The first stands")


def _adopted(work: InFlightPosting, claim: Claim | None, cancelled: bool, refs: Sequence[Document]) -> Ended:
    """A redelivery of the very record that made it is the posting; any other occurrence is a repeat."""
    discarded = claim is not None and claim.state == "discarded"
    first = not discarded and (claim is None or claim.version == work.origin)
    return Ended(Trigger.ADOPTED if first else Trigger.FOUND_OTHERS, tuple(refs), cancelled)


def _without_document(claim: Claim) -> Refusal:
    made = f"{claim.kind}, made from {claim.version[2:]}"
    error = f"the claim {claim.k} ({made}) stands in B1 without its document; look for who deleted it, or restored B1"
    return Refusal("key_conflict", error)


def _order_ks(event: OrderEvent, mapping: CompanyMap) -> list[str]:
    if event.order_id is None:
        return []
    sources = (event.source,) if isinstance(event, OrderPlaced) else mapping.order_sources(event.source)
    return [order_key(event.company, source, event.order_id) for source in sources]


def _order_event(work: InFlightPosting) -> OrderEvent:
    if isinstance(work.event, StockBatch):
        raise TypeError("a stock batch is no event of an order")
    return work.event


def _codes(event: OrderEvent, mapping: CompanyMap) -> Codes:
    match event:
        case OrderPlaced():
            return order_placed.codes_needed(event, mapping)
        case DispatchConfirmed():
            return dispatch_confirmed.codes_needed(event, mapping)
        case RefundIssued():
            return refund_issued.codes_needed(event, mapping)
        case OrderCancelled():
            return Codes()


def _refusal(written: Written) -> Refusal:
    """What B1 said no with, or what it would not say yes to for a lock."""
    if written.outcome is OutcomeClass.LOCKED:
        held = "somebody holds one of its items, or the order, open in B1; it goes on when they let go"
        taken = "B1 goes on saying that something of it exists already, and has no claim of ours"
        return Refusal(written.reason or "item_locked", with_words(taken if written.reason else held, written))
    return Refusal(written.reason or "erp_refused", written.error or "B1 refused it", waits_for=_waits_for(written))


def _waits_for(written: Written) -> str | None:
    reason = written.reason or ""
    if reason in ITEM_REASONS and written.item is not None:
        return f"item:{written.item}"
    waits = {"period_closed": "period", "negative_stock": "stock", "approval_required": "approval"}
    return {**waits, "rate_missing": "rate"}.get(reason)

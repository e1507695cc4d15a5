"""Stock batches into documents.

Merged while they wait, sealed before they are sent, freed only when that is void (D2, D3).
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from decimal import Decimal

import structlog

from connectors.base.errors import Refusal
from connectors.sap_b1.claims import Claim
from connectors.sap_b1.documents import stock
from connectors.sap_b1.error_codes import OutcomeClass
from connectors.sap_b1.mapping import CompanyMap
from connectors.sap_b1.master import Codes
from connectors.sap_b1.master_data import MasterDataCache
from connectors.sap_b1.sink import B1Sink, Written
from schemas.codec import UnencodableError
from schemas.records import StockBatch, StockDocument
from streams.chain.rule import ChainRootError
from streams.flow_control.lanes import Lanes
from streams.flow_control.slots import Slot
from streams.ports import Ports
from streams.posting.documents import SealedDocuments, look_after
from streams.posting.erp import ITEM_REASONS, OWN_PATIENCE_S, Erp, with_words
from streams.posting.group_commit import ALONE, MAX_NET, Freed, InFlightDocument, Pool, Waiting
from streams.posting.in_flight import Ended, InFlightPosting
from streams.posting.lifecycle import Trigger
from streams.telemetry.metrics import Metrics

logger = structlog.get_logger(__name__)

#: How long a batch waits for company while sessions are free (0.5 s gives most of the merging at any rate).
_LINGER_S = 0.5
#: How long a document of several lines goes on meeting a lock before it is taken apart, so that one item does not stop
#: the others.
_SHARED_LOCK_PATIENCE_S = 2.0
#: The same where B1 fails at a document of several batches, and answers otherwise.
_SHARED_OWN_PATIENCE_S = 5.0
#: Into how many parts it is taken then: each try takes seconds, so few rounds count more than few documents. What is
#: refused at once is halved.
_PARTS_WHERE_SLOW = 64


class StockPosting:
    """Lifecycle: `run` walks the sealed documents, then commits groups; `post` ends one batch.

    `quiesce`, `stop`, `close`.
    """

    def __init__(
        self,
        mapping: CompanyMap,
        erp: Erp,
        sink: B1Sink,
        master: MasterDataCache,
        lanes: Lanes,
        sealed: SealedDocuments,
        ports: Ports,
        in_term: Callable[[], Awaitable[bool]],
    ) -> None:
        """`in_term` says whether nobody has taken over the company up to now."""
        self._map, self._erp, self._sink, self._master = mapping, erp, sink, master
        self._lanes, self._sealed, self._in_term = lanes, sealed, in_term
        self._metrics, self._crash_point = ports.metrics, ports.crash_point
        self._pool = Pool(mapping.settings.window.max_lines)
        self._ready = asyncio.Event()
        self._wake = asyncio.Event()
        self._sealing = asyncio.Lock()
        self._in_flight: dict[int, InFlightDocument] = {}
        self._void: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting = True
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lanes.on_free = self._wake.set

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            LogError: the broker does not answer; the process must end.
        """
        try:
            await self._sealed.open()
        except ChainRootError as error:
            logger.critical("stock is not posted", error=str(error))
            await asyncio.Event().wait()
        self._ready.set()
        commit, keep = asyncio.create_task(self._commit()), asyncio.create_task(look_after(self._sealed, self._sealing))
        try:
            await asyncio.wait({commit, self._failed}, return_when=asyncio.FIRST_COMPLETED)
            for ended in (commit, self._failed):
                if ended.done():
                    ended.result()
        finally:
            for task in (commit, keep):
                task.cancel()
            await asyncio.gather(commit, keep, return_exceptions=True)

    def quiesce(self) -> set[asyncio.Task[None]]:
        """Seal nothing more; what is under way."""
        self._accepting = False
        return set(self._tasks)

    def stop(self) -> None:
        """Let go of what is under way."""
        for task in list(self._tasks):
            task.cancel()

    async def close(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def post(self, work: InFlightPosting) -> Ended:
        """Return when the batch has ended.

        Raises:
            Refusal: B1 or its master data refuse it, alone in a document, and no document that holds it can ever be
                posted.
        """
        batch, k = work.event, work.k
        if not isinstance(batch, StockBatch):
            raise TypeError("only stock batches go into stock documents")
        if not batch.net:
            return Ended(Trigger.NOTHING_TO_DO)
        await self._ready.wait()
        # So many of the others add up to what a line can hold.
        limit = ALONE if abs(batch.net) >= MAX_NET else self._pool.max_lines
        in_flight = await self._document_of(k)
        while True:
            if in_flight is not None:
                work.attempts += 1
                ended = await asyncio.shield(in_flight.ended)
                if isinstance(ended, Ended):
                    return ended
                if k in ended.refusals:
                    raise ended.refusals[k]
                limit = ended.limits[k]
            resolved = await self._resolve(batch)
            waiting = Waiting(k, resolved, limit, asyncio.get_running_loop().create_future())
            self._pool.add(waiting)
            self._wake.set()
            in_flight = await waiting.turn or await self._document_of(k)

    async def holds(self, k: str) -> bool:
        """Whether a sealed document that may still be posted holds a batch."""
        await self._ready.wait()
        return await self._standing(k) is not None

    async def _document_of(self, k: str) -> InFlightDocument | None:
        """The sealed document that holds a batch already: it is sent again as it is.

        None where none does, or it is void.
        """
        found = await self._standing(k)
        if found is None:
            return None
        offset, document = found
        return self._in_flight.get(offset) or self._send(offset, document)

    async def _standing(self, k: str) -> tuple[int, StockDocument] | None:
        """The last sealed document that holds a batch, unless we know that it can never be posted."""
        found = await self._sealed.of(k)
        return None if found is None or found[0] in self._void else found

    async def _resolve(self, batch: StockBatch) -> stock.ResolvedBatch:
        codes = stock.codes_needed(batch, self._map)
        return stock.resolve(batch, self._map, await self._erp.master_data(self._master, codes))

    # ---- group commit

    async def _commit(self) -> None:
        """Whenever a slot is free: seal what waits, oldest first, and send it."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not len(self._pool):
                continue
            if len(self._pool) < self._pool.max_lines:
                await asyncio.sleep(_LINGER_S)
            while len(self._pool):
                await self._erp.breaker.wait_closed()
                async with self._erp.slots.hold(low_priority=True) as slot:
                    if not await self._commit_one(slot):
                        break

    async def _commit_one(self, slot: Slot) -> bool:
        """Seal the next document and send it in this slot; False where nothing can be sent now."""
        picked = self._pool.pick(self._lanes.is_free) if self._accepting else []
        if not picked:
            return False
        # Documents of another poster, walked since these began to wait, may hold them: those stand
        taken = [waiting for waiting in picked if await self._standing(waiting.k) is not None]
        picked, sealed = (picked, None) if taken else await self._seal_fitting(picked)
        if sealed is not None and not await self._in_term():
            # Our successor has walked the chain before this document was in it, and may have refused its batches since.
            # We never send it, so that the successor decides what becomes of it.
            logger.warning("stock is posted by another worker now", document=sealed[1].k)
            self._accepting = False
            return False
        in_flight = None if sealed is None else self._send(*sealed, slot.hand_over())
        for waiting in picked:
            waiting.turn.set_result(in_flight)
        if in_flight is not None:
            await asyncio.sleep(0)  # it takes its lanes, so that the next document is not picked from the same items
        return True

    async def _seal_fitting(self, picked: list[Waiting]) -> tuple[list[Waiting], tuple[int, StockDocument] | None]:
        """Seal as many of these as one record holds."""
        while picked:
            try:
                return picked, await self._seal(picked)
            except UnencodableError as error:
                picked = self._pool.halve(picked, error)
        return [], None

    async def _seal(self, picked: list[Waiting]) -> tuple[int, StockDocument] | None:
        async with self._sealing:
            first = picked[0].batch
            sealed = await self._sealed.seal(
                first.direction,
                first.posting_date,
                first.account,
                stock.merge(waiting.batch for waiting in picked),
                [waiting.k for waiting in picked],
            )
        await self._crash_point("s1")
        return sealed

    def _send(self, offset: int, document: StockDocument, slot: Slot | None = None) -> InFlightDocument:
        """Send a sealed document in a task of its own.

        Without a slot it is one that was sealed before, and is sent again.
        """
        in_flight = InFlightDocument(offset, document, asyncio.get_running_loop().create_future())
        self._in_flight[offset] = in_flight
        task = asyncio.create_task(self._run_document(in_flight, slot), name="document")
        self._tasks.add(task)
        task.add_done_callback(self._on_sent)
        return in_flight

    def _on_sent(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self._failed.done():
            self._failed.set_exception(error)

    # ---- one document

    async def _run_document(self, in_flight: InFlightDocument, slot: Slot | None) -> None:
        try:
            async with slot or nullcontext():
                ended = await self._post(in_flight.document, in_flight.offset, slot)
        finally:
            self._in_flight.pop(in_flight.offset, None)
        if isinstance(ended, Freed) and not ended.stands:
            self._void = {at for at in self._void if at >= self._sealed.log_start} | {in_flight.offset}
        in_flight.ended.set_result(ended)
        self._wake.set()

    async def _post(self, document: StockDocument, offset: int, slot: Slot | None) -> Ended | Freed:
        digest = hashlib.sha256(document.k.encode()).digest()[:16]
        claim = Claim(document.k, "stock_document", digest, f"1 {self._sealed.place}/{offset}")
        lock_s = _SHARED_LOCK_PATIENCE_S if len(document.lines) > 1 else self._map.settings.lock_park_after_s
        own_s = _SHARED_OWN_PATIENCE_S if len(document.batch_ks) > 1 else OWN_PATIENCE_S
        items = {line.item_code for line in document.lines}
        if slot is not None and not all(map(self._lanes.is_free, items)):
            # An order took one while it was sealed, and waits for a slot: whoever has one must not wait for a lane
            slot.release()
        async with self._lanes.hold(items) as lanes:
            if slot is None and (decided := await self._decided(claim, document)) is not None:
                return decided
            try:
                codes = stock.codes_needed(document, self._map)
                master = await self._erp.master_data(self._master, codes)
                plan = stock.build(document, self._map, master)
            except Refusal as refusal:
                refused = Written(OutcomeClass.REJECTED, reason=refusal.reason, error=refusal.error)
                return await self._withdraw(claim, document, refused, slot)
            written = await self._erp.write(
                [claim], plan.requests, lock_patience_s=lock_s, own_patience_s=own_s, stock=True, slot=slot, lanes=lanes
            )
            await self._crash_point("s2")
            match written.outcome:
                case OutcomeClass.APPLIED:
                    self._pool.went_well()
                    _count(self._metrics, document)
                    return Ended(Trigger.CREATED, (written.ref,) if written.ref else ())
                case OutcomeClass.EXISTS:
                    return await self._found(document, written)
                case OutcomeClass.REJECTED if written.reason == "approval_required":
                    return _waiting(document, written.error)
                case _:
                    if written.outcome is OutcomeClass.LOCKED:
                        self._pool.met_lock()
                    return await self._withdraw(claim, document, written, slot)

    async def _decided(self, claim: Claim, document: StockDocument) -> Ended | Freed | None:
        """What an approval procedure has made of a document that is sent again.

        Approved, it stands without its claim, and gets it.
        """
        found = (await self._erp.ask(lambda: self._sink.look_up([document.k])))[document.k]
        if found.claim is not None or (found.ref is None and not found.draft):
            return None
        if found.draft:
            return _waiting(document)
        await self._erp.write([claim], [], lock_patience_s=float("inf"), stock=True)
        return Ended(Trigger.ADOPTED, (found.ref,) if found.ref else (), found.cancelled)

    async def _found(self, document: StockDocument, written: Written) -> Ended | Freed:
        if written.claim is not None and written.claim.state == "void":
            return await self._freed(document, written)
        return Ended(Trigger.ADOPTED, (written.ref,) if written.ref else (), written.cancelled)

    async def _withdraw(
        self, claim: Claim, document: StockDocument, refused: Written, slot: Slot | None
    ) -> Ended | Freed:
        """Make sure in B1 that the document can never be applied, however late; only then are its batches free."""
        void = Claim(claim.k, claim.kind, claim.digest, claim.version, "void")
        written = await self._erp.write([void], [], lock_patience_s=float("inf"), stock=True, slot=slot)
        await self._crash_point("s3")
        if written.outcome is OutcomeClass.EXISTS and written.claim is not None and written.claim.state != "void":
            return await self._found(document, written)
        return await self._freed(document, refused)

    async def _freed(self, document: StockDocument, refused: Written) -> Freed:
        ks, lines = document.batch_ks, len(document.lines)
        if len(ks) == 1 and refused.outcome is not OutcomeClass.EXISTS:
            item = document.lines[0].item_code
            if refused.outcome is OutcomeClass.LOCKED and refused.reason is None:
                sentence = f"item {item!r} is held by somebody in B1; it goes on when they let go"
                refusal = Refusal("item_locked", with_words(sentence, refused), waits_for=f"item:{item}")
            else:
                reason = refused.reason or "erp_refused"
                waits = f"item:{item}" if reason in ITEM_REASONS or reason == "negative_stock" else None
                refusal = Refusal(reason, refused.error or "B1 refused the document", waits_for=waits)
            return Freed({}, {ks[0]: refusal})
        is_slow = refused.outcome is OutcomeClass.LOCKED or refused.reason == "erp_cannot"
        limit = ALONE if lines == 1 else max(1, lines // (_PARTS_WHERE_SLOW if is_slow else 2))
        await self._master.forget(Codes(items=frozenset(line.item_code for line in document.lines)))
        return Freed(dict.fromkeys(ks, limit), {})


def _count(metrics: Metrics, document: StockDocument) -> None:
    metrics.batches("posted").inc(len(document.batch_ks))
    direction = {"entry": "in", "exit": "out", "transfer": "transfer"}[document.direction]
    metrics.units_posted.add(direction, sum((line.quantity for line in document.lines), Decimal(0)))


def _waiting(document: StockDocument, error: str | None = None) -> Freed:
    """All of its batches wait for one draft; the document still stands and is sent again when they are.

    `error`: what was said of it, with B1's words, where B1 has just said it.
    """
    refusal = Refusal(
        "approval_required",
        error or "a draft of it waits in B1 for an approval; approve or reject the draft",
        waits_for="approval",
    )
    return Freed({}, dict.fromkeys(document.batch_ks, refusal), stands=True)

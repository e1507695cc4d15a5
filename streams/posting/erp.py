"""One company's ERP as the poster uses it.

A write comes back only when its outcome is known (architecture section 4).
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

import structlog

from connectors.base.errors import FatalError, OutcomeUnknownError, Refusal, RetriableError
from connectors.sap_b1.claims import ENTITY, EVENT_KINDS, TIERS, Claim, missing, proven_tier
from connectors.sap_b1.error_codes import OutcomeClass
from connectors.sap_b1.master import Codes, MasterData
from connectors.sap_b1.master_data import MasterDataCache
from connectors.sap_b1.service_layer import (
    AnswerUnknownError,
    B1Request,
    NotInstalledError,
    NotSentError,
    QueryRefusedError,
    ServiceLayer,
    TierTooLowError,
    UnavailableError,
)
from connectors.sap_b1.sink import ENTITIES, B1Sink, Written
from schemas.topics import flow_of
from streams.flow_control.circuit_breaker import BreakerState, CircuitBreaker, Probe
from streams.flow_control.lanes import HeldLanes
from streams.flow_control.slots import Slot, Slots
from streams.ports import Ports
from streams.posting.attempts import NOT_DONE, Attempts, Patience, attended_s
from streams.posting.intents import IntentWriter
from streams.posting.own_failures import OwnFailures, WriteInProgress, own_pause_s
from streams.telemetry.metrics import Metrics

T = TypeVar("T")
logger = structlog.get_logger(__name__)

#: What is refused for these waits for an item of B1's.
ITEM_REASONS = frozenset({"inactive_item", "unknown_item", "item_frozen"})
#: How long a request may fail for its own sake before it is made impossible and refused.
OWN_PATIENCE_S = 180.0
#: How long a query that B1 refuses for want of rights is asked again.
_RIGHTS_PATIENCE_S = 60.0


class Erp:
    """Writes and reads of one company.

    Writes at most as many at a time as there are slots, nothing while the breaker is open. Afterwards the slots are
    given out slowly: one, then with each answer twice as many.

    Attributes:
        writes: Those in progress, for the gauges.
        installed: Whether claim table and fields are there; None: not looked at.
    """

    def __init__(self, sink: B1Sink, breaker: CircuitBreaker, slots: Slots, ports: Ports, tier: str = "claim") -> None:
        """`tier` is how a second document is kept out: claim, guard or lookup."""
        self.breaker, self.slots = breaker, slots
        self.writes: set[WriteInProgress] = set()
        self.installed: Probe | None = None
        self._sink, self._clock, self._random, self._crash_point = sink, ports.clock, ports.random, ports.crash_point
        self._failures = OwnFailures()
        self._attempts = Attempts(breaker, slots, self._failures, ports)
        self._intents = None if tier == "claim" else IntentWriter(tier, sink, self._attempts, self.ask, ports)
        breaker.observe(self._on_breaker)

    def _on_breaker(self, state: BreakerState, _reason: str, _hold_reason: str | None) -> None:
        if state == "closed":
            self.slots.slow_start()

    # ---- writing

    async def write(
        self,
        claims: Sequence[Claim],
        requests: Sequence[B1Request],
        *,
        lock_patience_s: float,
        own_patience_s: float = math.inf,
        stock: bool = False,
        slot: Slot | None = None,
        lanes: HeldLanes | None = None,
    ) -> Written:
        """Send one change set until its outcome is known.

        When one that fails for its own sake has had its tries, its claim is written as `void`, so that it can never be
        applied, and it is refused as `erp_cannot`. Where the claim of an event is void already, its next attempt is
        made.

        Args:
            claims: The rows that make it happen once.
            requests: What they claim; may be empty.
            lock_patience_s: See `Patience`, for this and the others.
            own_patience_s: The same.
            stock: The same.
            slot: The same.
            lanes: The same.

        Returns:
            APPLIED, EXISTS, REJECTED or LOCKED.
        """
        patience = Patience(lock_patience_s, own_patience_s, stock, slot, lanes, document=bool(requests))
        main = next((one for one in claims if one.state != "void"), None)
        while True:
            with self.track(*claims[:1]) as progress:
                written = await self._send(progress, claims, requests, patience)
                if written.outcome in NOT_DONE:
                    return await self._give_up(progress, claims, written, patience)
            found = written.claim
            if written.outcome is not OutcomeClass.EXISTS or main is None or main.kind not in EVENT_KINDS:
                return written
            if found is None or found.state != "void":
                return written
            claims = [replace(one, attempt=found.attempt + 1) if one.k == main.k else one for one in claims]

    async def _send(
        self, progress: WriteInProgress, claims: Sequence[Claim], requests: Sequence[B1Request], patience: Patience
    ) -> Written:
        if self._intents is not None and claims:
            (claim,) = claims
            return await self._intents.write(progress, claim, requests, patience)
        drafted = partial(self._drafted, claims, requests)
        return await self._attempts.until_known(
            progress, partial(self._sink.write, claims, requests), patience, drafted
        )

    async def preview(self, body: Mapping[str, object], *, lock_patience_s: float) -> Written:
        """What B1 would make of an order; nothing is saved.

        Returns:
            APPLIED, REJECTED or LOCKED.
        """
        with self.track() as progress:
            written = await self._attempts.until_known(
                progress, partial(self._sink.preview, body), Patience(lock_patience_s, OWN_PATIENCE_S)
            )
        return _cannot(progress, written) if written.outcome in NOT_DONE else written

    @contextmanager
    def track(self, claim: Claim | None = None) -> Iterator[WriteInProgress]:
        """What the gauges see of a write, for as long as it goes on."""
        progress = WriteInProgress(flow_of(claim.kind) if claim is not None else "order_placed")
        self.writes.add(progress)
        try:
            yield progress
        finally:
            self.writes.discard(progress)
            self._failures.ended(progress)

    async def _give_up(
        self, progress: WriteInProgress, claims: Sequence[Claim], failed: Written, patience: Patience
    ) -> Written:
        """Make sure in B1 that it can never be applied; only then it is refused."""
        refused = _cannot(progress, failed)
        if not claims:
            return refused
        void = [replace(one, state="void") for one in claims]
        written = await self.write(void, [], lock_patience_s=math.inf, stock=patience.stock, lanes=patience.lanes)
        await self._crash_point("v1")
        landed = written.outcome is OutcomeClass.EXISTS and written.claim is not None and written.claim.state != "void"
        return written if landed or written.outcome is OutcomeClass.REJECTED else refused

    async def _drafted(self, claims: Sequence[Claim], requests: Sequence[B1Request]) -> Written | None:
        """What an approval procedure has made of a write whose answer was lost.

        It dropped the claim, so repeating makes another.

        A document without its claim is a draft that was approved since; whoever waits for the approval adopts it.
        """
        claim = next((one for one in claims if one.kind in ENTITIES and one.state == "posted"), None)
        if claim is None or not requests:
            return None
        try:
            found = (await self.ask(lambda: self._sink.look_up([claim.k]), OWN_PATIENCE_S))[claim.k]
        except Refusal:
            return None  # nobody can say; the identical request is harmless
        if found.claim is not None or found.ref is None:
            return None
        error = "an approval procedure of B1 made a draft of it; approve or reject the draft"
        return Written(
            OutcomeClass.REJECTED, reason="approval_required", error=error, ref=found.ref, found={claim.k: found}
        )

    # ---- reading

    async def ask(self, question: Callable[[], Awaitable[T]], patience_s: float = math.inf) -> T:
        """Read from B1; waits while it is away.

        Raises:
            Refusal: B1 refuses this question, or fails at it, for `patience_s`, though it answers others.
        """
        failures, since_s = 0, math.inf
        while True:
            await self.breaker.wait_closed()
            limit_s = patience_s
            try:
                return await question()
            except QueryRefusedError as error:
                reason, words = error.reason, str(error)
                if await self._not_installed(error):
                    continue
                limit_s = min(limit_s, _RIGHTS_PATIENCE_S) if math.isfinite(limit_s) else limit_s
            except NotSentError as error:
                self.breaker.trip(str(error), asked_s=error.retry_after_s)
                continue
            except (UnavailableError, AnswerUnknownError) as error:
                reason, words = "erp_cannot", str(error)
                if error.retry_after_s is not None:
                    self.breaker.trip(words, asked_s=error.retry_after_s)
                if not self.breaker.is_closed or not await self.breaker.answers():
                    continue
            except FatalError as error:
                self.breaker.hold_for(error)
                continue
            failures += 1
            since_s = min(since_s, attended_s(self.breaker, self._clock))
            if failures > 2 and attended_s(self.breaker, self._clock) - since_s >= limit_s:
                raise Refusal(reason, f"{words} ({failures} times, and B1 answers otherwise)")
            await asyncio.sleep(own_pause_s(failures) * self._random.uniform(0.75, 1.25))

    async def master_data(self, cache: MasterDataCache, codes: Codes) -> MasterData:
        """What B1 has for these codes; asked together with others', and alone where that fails.

        Raises:
            Refusal: As `ask`, or B1 refuses to be asked for one of them.
        """
        asked = 0

        async def question() -> MasterData:
            nonlocal asked
            asked += 1
            return await cache.get(codes, alone=asked > 2)

        return await self.ask(question, OWN_PATIENCE_S)

    async def _not_installed(self, refused: QueryRefusedError) -> bool:
        """Whether it is refused because somebody has removed the claim table or our fields: nothing goes on then."""
        if self.installed is None or refused.status == 403:
            return False
        try:
            if await self.installed():
                return False
        except (RetriableError, FatalError) as error:
            self.breaker.trip(str(error), until=self.installed, hold_reason=error.hold_reason)
        return True


def _cannot(progress: WriteInProgress, failed: Written) -> Written:
    error = f"B1 fails at it each time ({progress.failures + 1} tries) and takes others: {failed.error or 'no answer'}"
    return replace(failed, outcome=OutcomeClass.REJECTED, reason="erp_cannot", error=error[:400])


async def answers_reads(service_layer: ServiceLayer) -> bool:
    """Whether B1 itself answers: a cheap read in a session. `/ping/` says nothing, the web server answers it alone.

    Raises:
        RetriableError: It does not, and why.
        FatalError: It refuses the login.
    """
    await service_layer.read([f"{ENTITY}?$select=Code&$top=1"])
    return True


def with_words(sentence: str, written: Written) -> str:
    """Our sentence with B1's words behind it: whoever acts needs both."""
    return sentence if written.error is None else f"{sentence}. {written.error}"


async def is_installed(service_layer: ServiceLayer, company: str, tier: str, metrics: Metrics) -> bool:
    """Whether claim table and fields are there, and B1 keeps doubles out as well as `tier` needs it.

    Without them B1 would refuse everything, or take it twice. Tier claim is believed where the doctor was never asked.

    Raises:
        RetriableError: They are not, or B1 does not say.
        FatalError: It refuses the login.
    """
    try:
        absent = await missing(service_layer)
        proven = None if absent else await proven_tier(service_layer)
    except OutcomeUnknownError as error:
        raise UnavailableError(str(error)) from None
    is_enough = tier == "claim" if proven is None else proven in TIERS[: TIERS.index(tier) + 1]
    metrics.idempotency_tier(company).set(TIERS.index(tier) + 1 if is_enough and not absent else 0)
    if absent:
        raise NotInstalledError(f"B1 lacks {', '.join(absent)}: run streams doctor --install")
    if not is_enough:
        found = "streams doctor has not proven it" if proven is None else f"streams doctor has proven {proven}"
        raise TierTooLowError(f"idempotency is {tier}, and {found}: run streams doctor and do what it says")
    return True

"""One company's ERP as the poster uses it.

A write comes back only when its outcome is known (architecture section 4).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog

from connectors.base.errors import FatalError, OutcomeUnknownError, RetriableError
from connectors.base.retry import FullJitter
from connectors.sap_b1.claims import Claim, missing
from connectors.sap_b1.error_codes import OutcomeClass
from connectors.sap_b1.service_layer import AnswerUnknownError, B1Request, NotSentError, ServiceLayer, UnavailableError
from connectors.sap_b1.sink import ENTITIES, B1Sink, Written
from streams.dead_letters.publisher import flow_of
from streams.flow_control.circuit_breaker import CircuitBreaker
from streams.flow_control.slots import Slot, Slots
from streams.ports import Ports
from streams.telemetry.metrics import Metrics

T = TypeVar("T")
logger = structlog.get_logger(__name__)

#: What is refused for these waits for an item of B1's.
ITEM_REASONS = frozenset({"inactive_item", "unknown_item", "item_frozen"})
_LOCK_BASE_S, _LOCK_CAP_S = 0.25, 10.0
_OWN_LOCK_PATIENCE_S = 30.0  # longer than B1 goes on with a request whose client has gone


@dataclass(slots=True, eq=False)
class WriteInProgress:
    """A write, and since when (monotonic seconds) its outcome is unknown, or a lock is in its way."""

    flow: str
    unknown_since: float | None = None
    locked_since: float | None = None


class Erp:
    """Writes and reads of one company.

    Writes at most as many at a time as there are slots, nothing while the breaker is open.

    Attributes:
        writes: Those in progress, for the gauges.
    """

    def __init__(self, sink: B1Sink, breaker: CircuitBreaker, slots: Slots, ports: Ports) -> None:
        self.breaker, self.slots = breaker, slots
        self.writes: set[WriteInProgress] = set()
        self._sink, self._clock, self._metrics, self._crash_point = sink, ports.clock, ports.metrics, ports.crash_point
        self._locks = FullJitter(ports.random, _LOCK_BASE_S, _LOCK_CAP_S)

    async def write(
        self,
        claims: Sequence[Claim],
        requests: Sequence[B1Request],
        *,
        lock_patience_s: float,
        stock: bool = False,
        slot: Slot | None = None,
        progress: WriteInProgress | None = None,
    ) -> Written:
        """Send one change set until its outcome is known.

        An unknown outcome is resolved by the identical request; a second one in a row opens the breaker, and nothing is
        given up for it.

        Args:
            claims: The rows that make it happen once.
            requests: What they claim; may be empty.
            lock_patience_s: How long to go on meeting a lock before answering `LOCKED`.
            stock: It waits behind orders for its slots.
            slot: The caller's, for the first attempt, if it is still held; released after that.
            progress: The caller's, where it writes again after a lock.

        Returns:
            APPLIED, EXISTS, REJECTED or LOCKED.
        """
        if progress is None:
            with self.track(*claims[:1]) as tracked:
                return await self._write(tracked, claims, requests, lock_patience_s, slot, stock=stock)
        return await self._write(progress, claims, requests, lock_patience_s, slot, stock=stock)

    @contextmanager
    def track(self, claim: Claim | None = None) -> Iterator[WriteInProgress]:
        """What the gauges see of a write, for as long as it goes on."""
        progress = WriteInProgress(flow_of(claim.kind) if claim is not None else "order_placed")
        self.writes.add(progress)
        try:
            yield progress
        finally:
            self.writes.discard(progress)

    async def lock_pause(self, attempt: int) -> None:
        """Full jitter, growing with the attempts that met a lock."""
        await asyncio.sleep(self._locks.wait_s(attempt))

    async def _write(
        self,
        progress: WriteInProgress,
        claims: Sequence[Claim],
        requests: Sequence[B1Request],
        lock_patience_s: float,
        slot: Slot | None,
        *,
        stock: bool,
    ) -> Written:
        metrics, unknown, locked = self._metrics, 0, 0
        while True:
            held = slot if slot is not None and slot.held else None
            if held is None:
                await self.breaker.wait_closed()
            try:
                async with held or self.slots.hold(low_priority=stock):
                    await self._crash_point("c2")
                    metrics.erp_inflight_requests.inc()
                    try:
                        written = await self._sink.write(claims, requests)
                    finally:
                        metrics.erp_inflight_requests.dec()
            except FatalError as exc:
                logger.critical("held until a person acts", error=str(exc))
                self.breaker.hold(str(exc))
                continue
            await self._crash_point("c6")
            if written.outcome is not OutcomeClass.APPLIED:
                metrics.erp_errors("change_set", written.outcome.value, written.sap_code).inc()
            if written.outcome is not OutcomeClass.UNKNOWN:
                unknown = 0
            match written.outcome:
                case OutcomeClass.UNKNOWN if written.orphan:
                    return replace(written, outcome=OutcomeClass.REJECTED, reason="key_conflict")
                case OutcomeClass.UNKNOWN:
                    unknown += 1
                    progress.unknown_since = progress.unknown_since or self._clock.monotonic()
                    if unknown > 1:
                        self.breaker.trip(written.error or "B1 does not say what became of a write")
                    if (drafted := await self._drafted(claims, requests)) is not None:
                        metrics.ambiguous_resolutions(drafted.outcome.value).inc()
                        return drafted
                case OutcomeClass.NOT_SENT | OutcomeClass.UNAVAILABLE | OutcomeClass.MACHINERY | OutcomeClass.SESSION:
                    self.breaker.trip(written.error or "B1 is away")
                case OutcomeClass.LOCKED:
                    now = self._clock.monotonic()
                    progress.locked_since = progress.locked_since or now
                    # While the end of an earlier attempt is not known, the lock may be its own: nobody else gets our
                    # lanes
                    patience_s = (
                        lock_patience_s
                        if progress.unknown_since is None
                        else max(lock_patience_s, _OWN_LOCK_PATIENCE_S)
                    )
                    if now - progress.locked_since >= patience_s:
                        return written
                    await self.lock_pause(locked)
                    locked += 1
                case OutcomeClass.APPLIED | OutcomeClass.EXISTS | OutcomeClass.REJECTED:
                    if progress.unknown_since is not None:
                        metrics.ambiguous_resolutions(written.outcome.value).inc()
                    return written
            metrics.retries(progress.flow, written.outcome.value).inc()

    async def _drafted(self, claims: Sequence[Claim], requests: Sequence[B1Request]) -> Written | None:
        """What an approval procedure has made of a write whose answer was lost.

        It dropped the claim, so repeating makes another.

        A document without its claim is a draft that was approved since; whoever waits for the approval adopts it.
        """
        claim = next((one for one in claims if one.kind in ENTITIES and one.state == "posted"), None)
        if claim is None or not requests:
            return None
        found = (await self.ask(lambda: self._sink.look_up([claim.k])))[claim.k]
        if found.claim is not None or found.ref is None:
            return None
        error = "an approval procedure of B1 made a draft of it; approve or reject the draft"
        return Written(
            OutcomeClass.REJECTED, reason="approval_required", error=error, ref=found.ref, found={claim.k: found}
        )

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """Read from B1; waits while it is away."""
        while True:
            await self.breaker.wait_closed()
            try:
                return await question()
            except (NotSentError, UnavailableError, AnswerUnknownError) as exc:
                self.breaker.trip(str(exc))
            except FatalError as exc:
                logger.critical("held until a person acts", error=str(exc))
                self.breaker.hold(str(exc))


def with_words(sentence: str, written: Written) -> str:
    """Our sentence with B1's words behind it: whoever acts needs both."""
    return sentence if written.error is None else f"{sentence}. {written.error}"


async def is_installed(service_layer: ServiceLayer, company: str, metrics: Metrics) -> bool:
    """Whether claim table and fields are there: without them B1 would refuse everything, or take it twice."""
    try:
        absent = await missing(service_layer)
    except (RetriableError, OutcomeUnknownError) as exc:
        logger.warning("B1 is away", company=company, error=str(exc))
        return False
    except FatalError as exc:
        logger.critical("held until a person acts", company=company, error=str(exc))
        return False
    metrics.idempotency_tier(company).set(0 if absent else 1)
    if absent:
        logger.error("run streams doctor --install", company=company, missing=absent)
    return not absent

"""One request to B1, sent until its outcome is known, or until it has had its tries."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from connectors.base.clock import Clock
from connectors.base.errors import FatalError
from connectors.sap_b1.error_codes import OutcomeClass
from connectors.sap_b1.sink import Written
from streams.flow_control.circuit_breaker import CircuitBreaker
from streams.flow_control.lanes import HeldLanes
from streams.flow_control.slots import Slot, Slots
from streams.ports import Ports
from streams.posting.own_failures import OwnFailures, WriteInProgress, own_pause_s

Send = Callable[[], Awaitable[Written]]
Resolve = Callable[[], Awaitable[Written | None]]

_LOCK_BASE_S, _LOCK_CAP_S = 0.25, 10.0
#: Longer than B1 goes on with a request whose client has gone.
ABANDONED_REQUEST_S = 45.0
#: A lost answer is most likely bad luck: so often the identical request is sent soon, its lanes kept; then they are
#: given back when B1 cannot be at it any more.
_QUICK_TRIES = 5
#: What B1 has not done, as far as anybody knows.
NOT_DONE = frozenset({OutcomeClass.UNKNOWN, OutcomeClass.UNAVAILABLE, OutcomeClass.MACHINERY, OutcomeClass.SESSION})


@dataclass(frozen=True, slots=True)
class Patience:
    """How a request is sent, and when it is given up.

    Attributes:
        lock_s: How long to go on meeting a lock.
        own_s: How long to go on where it fails for its own sake; without an end where it must be done.
        stock: It waits behind orders for its slots.
        slot: The caller's, for the first attempt, if it is still held; released after that.
        lanes: The caller's; given back between tries, except while an attempt of ours may still be in service, and held
            again at the end.
        document: It is one that B1's machinery for documents takes or refuses.
    """

    lock_s: float
    own_s: float = math.inf
    stock: bool = False
    slot: Slot | None = None
    lanes: HeldLanes | None = None
    document: bool = False


class Attempts:
    """Sends at most as many requests at a time as there are slots, nothing while the breaker is open."""

    def __init__(self, breaker: CircuitBreaker, slots: Slots, failures: OwnFailures, ports: Ports) -> None:
        self._breaker, self._slots, self._failures = breaker, slots, failures
        self._clock, self._metrics, self._crash_point = ports.clock, ports.metrics, ports.crash_point
        self._random = ports.random

    async def until_known(
        self, progress: WriteInProgress, send: Send, patience: Patience, resolve: Resolve | None = None
    ) -> Written:
        """Send until the outcome is known.

        An unknown outcome is resolved by the identical request. One that fails again and again while B1 answers others
        is tried with doubling pauses.

        Args:
            progress: What is known of it; the caller's.
            send: One attempt, always the identical one.
            patience: When it is given up.
            resolve: Asked after an unknown outcome, what has become of it otherwise.

        Returns:
            APPLIED, EXISTS, REJECTED; LOCKED or one of `NOT_DONE` where patience has ended.
        """
        while True:
            written = await self._send(progress, send, patience)
            pause_s = await self._pause_after(progress, written, patience, resolve)
            if isinstance(pause_s, Written):
                if patience.document and written.outcome in (OutcomeClass.APPLIED, OutcomeClass.REJECTED):
                    self._failures.took_one()
                return pause_s
            self._metrics.retries(progress.flow, written.outcome.value).inc()
            if pause_s:
                await self._rest(progress, pause_s, patience.lanes, locked=written.outcome is OutcomeClass.LOCKED)

    async def _send(self, progress: WriteInProgress, send: Send, patience: Patience) -> Written:
        """One attempt, as soon as B1 is there and a slot is free; what has failed already waits behind the rest."""
        metrics, slot = self._metrics, patience.slot
        while True:
            held = slot if slot is not None and slot.held else None
            if held is None:
                await self._breaker.wait_closed()
            async with held or self._slots.hold(low_priority=patience.stock or progress.failures > 0):
                if not self._breaker.is_closed:  # it has opened while this one waited for its slot
                    continue
                await self._crash_point("c2")
                metrics.erp_inflight_requests.inc()
                progress.sent_at = self._clock.monotonic()
                try:
                    written = await send()
                except FatalError as error:
                    self._breaker.hold_for(error)
                    continue
                finally:
                    metrics.erp_inflight_requests.dec()
            break
        await self._crash_point("c6")
        if written.outcome is not OutcomeClass.APPLIED:
            metrics.erp_errors("change_set", written.outcome.value, written.sap_code).inc()
        return written

    async def _pause_after(
        self, progress: WriteInProgress, written: Written, patience: Patience, resolve: Resolve | None
    ) -> Written | float:
        """What an attempt came to, or how long to wait before the next one, in seconds."""
        now = self._clock.monotonic()
        if written.outcome is OutcomeClass.NOT_SENT:
            self._breaker.trip(written.error or "B1 is away", asked_s=written.retry_after_s)
            return 0.0
        if written.outcome in NOT_DONE:
            return await self._pause_after_failure(progress, written, patience.own_s, resolve)
        self._breaker.succeeded()
        self._slots.succeeded()
        progress.unknown_in_a_row = 0
        if written.outcome is OutcomeClass.LOCKED:
            # B1 waits for a lock itself, for seconds, before it says so
            progress.locked_since = progress.locked_since or progress.sent_at
            # While the end of an earlier attempt is not known, the lock may be its own: nobody else gets our lanes
            own = self._in_service_s(progress) > 0
            if now - progress.locked_since >= (max(patience.lock_s, ABANDONED_REQUEST_S) if own else patience.lock_s):
                return written
            progress.locks += 1
            return self._lock_pause_s(progress.locks)
        if progress.unknown_since is not None:
            self._metrics.ambiguous_resolutions(written.outcome.value).inc()
        return written

    async def _pause_after_failure(
        self, progress: WriteInProgress, written: Written, own_patience_s: float, resolve: Resolve | None
    ) -> Written | float:
        if written.orphan:
            return replace(written, outcome=OutcomeClass.REJECTED, reason="key_conflict")
        opened, error = self._breaker.opened, written.error or "B1 does not say what became of a write"
        if written.outcome is OutcomeClass.UNKNOWN:
            progress.unknown_since = progress.unknown_since or self._clock.monotonic()
            progress.unknown_in_a_row += 1
            if not written.answered:
                progress.unanswered_at = self._clock.monotonic()
            if resolve is not None and (resolved := await resolve()) is not None:
                self._metrics.ambiguous_resolutions(resolved.outcome.value).inc()
                return resolved
            if progress.unknown_in_a_row == 1 and written.retry_after_s is None:
                return 0.0
        if written.retry_after_s is not None:
            self._breaker.trip(error, asked_s=written.retry_after_s)
            return 0.0
        if not await self._breaker.answers() or self._breaker.opened != opened:
            return 0.0
        self._failures.failed(progress, attended_s(self._breaker, self._clock))
        if self._failures.speaks_for_all(progress):
            self._breaker.trip(f"B1 answers reads and fails at every write: {error}")
        elif self._failures.has_had_its_tries(progress, attended_s(self._breaker, self._clock), own_patience_s):
            return written
        return own_pause_s(progress.failures) * self._random.uniform(0.75, 1.25)

    async def _rest(self, progress: WriteInProgress, pause_s: float, lanes: HeldLanes | None, *, locked: bool) -> None:
        """Wait before the next try, without lanes where nothing of ours can be in service."""
        in_service_s = self._in_service_s(progress)
        if lanes is None or (in_service_s and (locked or progress.failures <= _QUICK_TRIES)):
            await asyncio.sleep(pause_s)
            return
        await asyncio.sleep(in_service_s)
        lanes.let_go()
        await asyncio.sleep(pause_s)
        await lanes.take()

    def _in_service_s(self, progress: WriteInProgress) -> float:
        """How long B1 may still be at an attempt that was not answered, in seconds."""
        if progress.unanswered_at is None:
            return 0.0
        return max(0.0, progress.unanswered_at + ABANDONED_REQUEST_S - self._clock.monotonic())

    def _lock_pause_s(self, locks: int) -> float:
        """Jitter over the upper half of a bound that doubles: so one item is never asked for more than it must be."""
        bound_s = min(_LOCK_CAP_S, _LOCK_BASE_S * 2.0 ** min(locks - 1, 20))
        return self._random.uniform(bound_s / 2, bound_s)


def attended_s(breaker: CircuitBreaker, clock: Clock) -> float:
    """Monotonic seconds, without those in which B1 was away."""
    return clock.monotonic() - breaker.open_s

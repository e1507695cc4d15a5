"""One company's ERP as the poster uses it: a write comes back only when its outcome is known (design section 4)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from random import Random
from typing import TypeVar

import structlog

from connectors.base.errors import FatalError
from connectors.sap_b1.claims import Claim
from connectors.sap_b1.error_codes import OutcomeClass
from connectors.sap_b1.service_layer import AnswerUnknownError, NotSentError, Request, UnavailableError
from connectors.sap_b1.sink import ENTITIES, B1Sink, Written
from streams.dead_letters.publisher import flow_of
from streams.flow_control.lanes import Slots
from streams.ports import Ports

T = TypeVar("T")
logger = structlog.get_logger(__name__)

_LOCK_BASE_S, _LOCK_CAP_S = 0.25, 10.0
_PAUSE_BASE_S, _PAUSE_CAP_S = 0.25, 30.0
_OWN_LOCK_S = 30.0  # longer than B1 goes on with a request whose client has gone


@dataclass(frozen=True, slots=True)
class Jitter:
    """Full jitter: uniform between nothing and a doubling bound, so that waiters never come back together."""

    random: Random
    base_s: float
    cap_s: float

    def wait_s(self, attempt: int) -> float:
        return self.random.uniform(0, min(self.cap_s, self.base_s * 2 ** min(attempt, 20)))


class Gate:
    """Open while B1 answers. Closed, nothing is sent and nothing is dead-lettered; a ping after each jittered wait opens it again."""

    def __init__(self, company: str, ping: Callable[[], Awaitable[bool]], ports: Ports) -> None:
        self._company, self._ping, self._clock, self._metrics = company, ping, ports.clock, ports.metrics
        self._jitter = Jitter(ports.random, _PAUSE_BASE_S, _PAUSE_CAP_S)
        self.on_failure: Callable[[BaseException], None] = lambda _: None
        self._open = asyncio.Event()
        self._open.set()
        self._probe: asyncio.Task[None] | None = None
        self._closed_at: float | None = None
        self._closed_for = 0.0

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    @property
    def closed_s(self) -> float:
        """How long it has been closed in all: the age clock of what waits stands still meanwhile (design 16.10)."""
        now = 0.0 if self._closed_at is None else self._clock.monotonic() - self._closed_at
        return self._closed_for + now

    async def wait(self) -> None:
        await self._open.wait()

    def close(self, why: str, until: Callable[[], Awaitable[bool]] | None = None) -> None:
        """Pause the company's intake; it opens by itself when `until` (by default a ping) says so."""
        if self._shut(why):
            self._probe = asyncio.create_task(self._open_again(until or self._ping))
            self._probe.add_done_callback(self._probed)

    def _probed(self, probe: asyncio.Task[None]) -> None:
        """A fault of ours must not leave the gate closed unseen."""
        if not probe.cancelled() and (error := probe.exception()) is not None:
            self.on_failure(error)

    def hold(self, why: str) -> None:
        """Pause until a person has acted and the process is started again."""
        self._shut(why)
        if self._probe is not None:
            self._probe.cancel()

    def _shut(self, why: str) -> bool:
        if not self._open.is_set():
            return False
        logger.warning("intake paused", company=self._company, reason=why)
        self._metrics.intake_paused(self._company).set(1)
        self._open.clear()
        self._closed_at = self._clock.monotonic()
        return True

    async def _open_again(self, until: Callable[[], Awaitable[bool]]) -> None:
        attempt = 0
        while True:
            await asyncio.sleep(self._jitter.wait_s(attempt))
            attempt += 1
            if await until():
                break
        if self._closed_at is not None:
            self._closed_for += self._clock.monotonic() - self._closed_at
            self._closed_at = None
        self._metrics.intake_paused(self._company).set(0)
        logger.info("intake resumed", company=self._company)
        self._open.set()

    async def stop(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.gather(self._probe, return_exceptions=True)


@dataclass(slots=True, eq=False)
class Trouble:
    """A write under way, and since when (monotonic seconds) its end is not known, or a lock is in its way."""

    flow: str
    unknown_since: float | None = None
    locked_since: float | None = None


class Erp:
    """Writes and reads of one company, at most `in_flight` at a time, none while the gate is closed."""

    def __init__(self, sink: B1Sink, gate: Gate, slots: Slots, ports: Ports) -> None:
        self.gate, self.slots = gate, slots
        self.troubles: set[Trouble] = set()
        self._sink, self._clock, self._metrics, self._crash_point = sink, ports.clock, ports.metrics, ports.crash_point
        self._locks = Jitter(ports.random, _LOCK_BASE_S, _LOCK_CAP_S)

    async def write(
        self,
        claims: Sequence[Claim],
        requests: Sequence[Request],
        *,
        lock_patience_s: float,
        stock: bool = False,
        slot_held: bool = False,
        trouble: Trouble | None = None,
    ) -> Written:
        """Send one change set until what became of it is known.

        An unknown answer is resolved by the identical request; a second one in a row closes the gate, and nothing is given up for it.

        Args:
            claims: the rows that make it happen once.
            requests: what they claim; may be empty.
            lock_patience_s: how long to go on meeting a lock before answering `LOCKED`.
            stock: it waits behind orders for its slot.
            slot_held: the caller has acquired a slot for the first attempt; it is released here.
            trouble: the caller's, where it writes again after a lock.

        Returns:
            APPLIED, EXISTS, REJECTED or LOCKED.
        """
        if trouble is None:
            with self.trouble(*claims[:1]) as own:
                return await self._write(own, claims, requests, lock_patience_s, stock=stock, slot_held=slot_held)
        return await self._write(trouble, claims, requests, lock_patience_s, stock=stock, slot_held=slot_held)

    @contextmanager
    def trouble(self, claim: Claim | None = None) -> Iterator[Trouble]:
        """What the gauges see of a write, for as long as it goes on."""
        trouble = Trouble(flow_of(claim.kind) if claim is not None else "order_placed")
        self.troubles.add(trouble)
        try:
            yield trouble
        finally:
            self.troubles.discard(trouble)

    async def lock_pause(self, attempt: int) -> None:
        """Full jitter, growing with the attempts that met a lock."""
        await asyncio.sleep(self._locks.wait_s(attempt))

    async def _write(
        self, trouble: "Trouble", claims: Sequence[Claim], requests: Sequence[Request], lock_patience_s: float, *, stock: bool,
        slot_held: bool,
    ) -> Written:  # fmt: skip
        metrics, unknown, locked = self._metrics, 0, 0
        while True:
            if not slot_held:
                await self.gate.wait()
                await self.slots.acquire(stock=stock)
            slot_held = False
            try:
                await self._crash_point("c2")
                metrics.erp_inflight_requests.inc()
                try:
                    written = await self._sink.write(claims, requests)
                finally:
                    metrics.erp_inflight_requests.dec()
            except FatalError as exc:
                logger.critical("held until a person acts", error=str(exc))
                self.gate.hold(str(exc))
                continue
            finally:
                self.slots.release()
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
                    trouble.unknown_since = trouble.unknown_since or self._clock.monotonic()
                    if unknown > 1:
                        self.gate.close(written.error or "B1 does not say what became of a write")
                    if (drafted := await self._drafted(claims, requests)) is not None:
                        metrics.ambiguous_resolutions(drafted.outcome.value).inc()
                        return drafted
                case OutcomeClass.NOT_SENT | OutcomeClass.UNAVAILABLE | OutcomeClass.SESSION:
                    self.gate.close(written.error or "B1 is away")
                case OutcomeClass.LOCKED:
                    now = self._clock.monotonic()
                    trouble.locked_since = trouble.locked_since or now
                    # While the end of an earlier attempt is not known, the lock may be its own: nobody else gets our lanes
                    patience_s = lock_patience_s if trouble.unknown_since is None else max(lock_patience_s, _OWN_LOCK_S)
                    if now - trouble.locked_since >= patience_s:
                        return written
                    await self.lock_pause(locked)
                    locked += 1
                case OutcomeClass.APPLIED | OutcomeClass.EXISTS | OutcomeClass.REJECTED:
                    if trouble.unknown_since is not None:
                        metrics.ambiguous_resolutions(written.outcome.value).inc()
                    return written
            metrics.retries(trouble.flow, written.outcome.value).inc()

    async def _drafted(self, claims: Sequence[Claim], requests: Sequence[Request]) -> Written | None:
        """What an approval procedure has made of a write whose answer was lost: it dropped the claim, so repeating makes another.

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
            await self.gate.wait()
            try:
                return await question()
            except (NotSentError, UnavailableError, AnswerUnknownError) as exc:
                self.gate.close(str(exc))
            except FatalError as exc:
                logger.critical("held until a person acts", error=str(exc))
                self.gate.hold(str(exc))

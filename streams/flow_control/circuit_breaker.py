"""A circuit breaker: while an outside system is away nothing is sent to it, and nothing is given up because of it."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Literal

import structlog

from connectors.base.clock import Clock
from connectors.base.errors import FatalError, RetriableError

logger = structlog.get_logger(__name__)

Probe = Callable[[], Awaitable[bool]]
"""Whether the system answers. A RetriableError is a no with a reason, a FatalError holds the breaker."""
BreakerState = Literal["closed", "open", "held"]
Observer = Callable[[BreakerState, str, str | None], None]
"""Told of a change: state, reason, and its name in `schemas.components.HOLD_REASONS`; None: it has none of its own."""

_PROBE_BASE_S, _PROBE_CAP_S = 0.25, 30.0
_MAX_DOUBLINGS = 20
#: What is held without a time of its own is asked again after this.
_HELD_RETRY_S = 300.0


class CircuitBreaker:
    """Closed while the system answers; open while it is away; held while a person has to act.

    Open, it is probed after a pause that doubles from 0.25 s to 30 s. A probe that succeeds closes it, but the pause
    begins at 0.25 s again only once something has succeeded (`succeeded`): where probes succeed and everything else
    fails, it goes on growing.

    Attributes:
        state: As it stands.
        reason: Why it is not closed; "" where it is.
        opened: How often it has opened.
        on_failure: Called with what a probe has raised that is no answer: an open breaker that nobody closes must not
            go unseen.
    """

    def __init__(self, name: str, probe: Probe, clock: Clock, random: Random) -> None:
        self._name, self._probe, self._clock, self._random = name, probe, clock, random
        self.state: BreakerState = "closed"
        self.reason = ""
        self.opened = 0
        self.on_failure: Callable[[BaseException], None] = lambda _: None
        self._observers: list[Observer] = []
        self._closed = asyncio.Event()
        self._closed.set()
        self._probing: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[bool] | None = None
        self._opened_at: float | None = None
        self._open_s = 0.0
        self._failures = 0  # since something last succeeded

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()

    @property
    def open_s(self) -> float:
        """How long it has been open in all.

        The age of what waits stands still meanwhile (architecture section 15.10).
        """
        now_s = 0.0 if self._opened_at is None else self._clock.monotonic() - self._opened_at
        return self._open_s + now_s

    def observe(self, observer: Observer) -> None:
        """Have every change of state or reason told."""
        self._observers.append(observer)

    async def wait_closed(self) -> None:
        await self._closed.wait()

    async def answers(self) -> bool:
        """Probe it now, closed as it is; opens it where the answer is no. One probe for all who ask meanwhile."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> bool:
        try:
            return await self._answers()
        finally:
            self._asking = None

    async def _answers(self) -> bool:
        opened = self.opened
        asked_s: float | None = None
        hold_reason: str | None = None
        try:
            if await self._probe():
                return self.opened == opened
            why = "it does not answer"
        except RetriableError as error:
            why, asked_s, hold_reason = str(error), error.retry_after_s, error.hold_reason
        except FatalError as error:
            self.hold_for(error)
            return False
        self.trip(why, asked_s=asked_s, hold_reason=hold_reason)
        return False

    def trip(
        self, why: str, *, asked_s: float | None = None, until: Probe | None = None, hold_reason: str | None = None
    ) -> None:
        """Open it.

        Args:
            why: For people.
            asked_s: How long the system asked us to wait, in seconds.
            until: What closes it in place of its own probe.
            hold_reason: See `Observer`.
        """
        if self._closed.is_set():
            self._open("open", why, hold_reason)
            self._probe_after(self._pause_s(asked_s), until or self._probe)

    def hold_for(self, error: FatalError) -> None:
        """Open it until a person has acted; asked again when the error says that it does no harm (five minutes)."""
        self._open("held", str(error), error.hold_reason)
        self._probe_after(_held_pause_s(error), self._probe)

    def succeeded(self) -> None:
        """The system has done what it was asked, not only answered a probe."""
        self._failures = 0

    async def stop(self) -> None:
        tasks = [task for task in (self._probing, self._asking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _open(self, state: BreakerState, why: str, hold_reason: str | None) -> None:
        if self._opened_at is None:
            self._opened_at = self._clock.monotonic()
            self.opened += 1
            self._closed.clear()
        self._become(state, why, hold_reason)

    def _become(self, state: BreakerState, reason: str, hold_reason: str | None) -> None:
        if (self.state, self.reason) == (state, reason):
            return
        if self.state != state:
            logger.warning("circuit breaker", system=self._name, state=state, reason=reason)
        self.state, self.reason = state, reason
        for observer in self._observers:
            observer(state, reason, hold_reason)

    def _pause_s(self, asked_s: float | None = None) -> float:
        bound_s = min(_PROBE_CAP_S, _PROBE_BASE_S * 2.0 ** min(self._failures, _MAX_DOUBLINGS))
        self._failures += 1
        return max(asked_s or 0.0, bound_s * self._random.uniform(0.75, 1.25))

    def _probe_after(self, pause_s: float, probe: Probe) -> None:
        if self._probing is not None:
            self._probing.cancel()
        self._probing = asyncio.create_task(self._close_again(pause_s, probe))
        self._probing.add_done_callback(self._probed)

    async def _close_again(self, pause_s: float, probe: Probe) -> None:
        while True:
            await asyncio.sleep(pause_s)
            asked_s: float | None = None
            try:
                if await probe():
                    break
            except RetriableError as error:
                asked_s = error.retry_after_s
                self._become("open", str(error), error.hold_reason)
            except FatalError as error:
                self._become("held", str(error), error.hold_reason)
                pause_s = _held_pause_s(error)
                continue
            pause_s = self._pause_s(asked_s)
        if self._opened_at is not None:
            self._open_s += self._clock.monotonic() - self._opened_at
            self._opened_at = None
        self._probing = None
        self._become("closed", "", None)
        self._closed.set()

    def _probed(self, probing: asyncio.Task[None]) -> None:
        if not probing.cancelled() and (error := probing.exception()) is not None:
            self.on_failure(error)


def _held_pause_s(error: FatalError) -> float:
    return _HELD_RETRY_S if error.retry_in_s is None else max(_PROBE_CAP_S, error.retry_in_s)

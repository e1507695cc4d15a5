"""A circuit breaker: while an outside system is away nothing is sent to it, and nothing is given up because of it."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import structlog

from connectors.base.clock import Clock
from connectors.base.retry import FullJitter

logger = structlog.get_logger(__name__)

Probe = Callable[[], Awaitable[bool]]
_PROBE_BASE_S, _PROBE_CAP_S = 0.25, 30.0


class CircuitBreaker:
    """Closed while the system answers. `trip` opens it; a probe after each jittered wait closes it again.

    `hold` opens it for good.

    Attributes:
        on_failure: Called with what a probe has raised: an open breaker that nobody closes must not go unseen.
    """

    def __init__(
        self, name: str, probe: Probe, clock: Clock, random: Random, on_open: Callable[[bool], None] = lambda _: None
    ) -> None:
        """`on_open` is called with True when it opens and with False when it closes."""
        self._name, self._probe, self._clock, self._on_open = name, probe, clock, on_open
        self._backoff = FullJitter(random, _PROBE_BASE_S, _PROBE_CAP_S)
        self.on_failure: Callable[[BaseException], None] = lambda _: None
        self._closed = asyncio.Event()
        self._closed.set()
        self._probing: asyncio.Task[None] | None = None
        self._opened_at: float | None = None
        self._open_s = 0.0

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

    async def wait_closed(self) -> None:
        await self._closed.wait()

    def trip(self, why: str, until: Probe | None = None) -> None:
        """Open; it closes by itself when `until` (by default the probe it was made with) says so."""
        if self._open(why):
            self._probing = asyncio.create_task(self._close_again(until or self._probe))
            self._probing.add_done_callback(self._probed)

    def hold(self, why: str) -> None:
        """Open until a person has acted and the process is started again."""
        self._open(why)
        if self._probing is not None:
            self._probing.cancel()

    async def stop(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.gather(self._probing, return_exceptions=True)

    def _open(self, why: str) -> bool:
        if not self._closed.is_set():
            return False
        logger.warning("circuit breaker opened", system=self._name, reason=why)
        self._on_open(True)
        self._closed.clear()
        self._opened_at = self._clock.monotonic()
        return True

    async def _close_again(self, probe: Probe) -> None:
        attempt = 0
        while True:
            await asyncio.sleep(self._backoff.wait_s(attempt))
            attempt += 1
            if await probe():
                break
        if self._opened_at is not None:
            self._open_s += self._clock.monotonic() - self._opened_at
            self._opened_at = None
        self._on_open(False)
        logger.info("circuit breaker closed", system=self._name)
        self._closed.set()

    def _probed(self, probing: asyncio.Task[None]) -> None:
        if not probing.cancelled() and (error := probing.exception()) is not None:
            self.on_failure(error)

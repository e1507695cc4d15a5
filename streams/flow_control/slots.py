"""Slots: how many requests may be in flight at once, and who goes first when all are taken (D4)."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Self


class Slot:
    """The right to have one request in flight.

    Given back once, by leaving its block or by `release`, whichever comes first.
    """

    def __init__(self, give_back: Callable[[], None] | None) -> None:
        self._give_back = give_back

    @property
    def held(self) -> bool:
        return self._give_back is not None

    def release(self) -> None:
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back()

    def hand_over(self) -> "Slot":
        """The same right in a token of its own, for a task that outlives the block in which this one was taken."""
        taken, self._give_back = Slot(self._give_back), None
        return taken

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.release()


class Slots:
    """A fixed number of slots, first come, first served.

    Low priority waits behind the rest, but not longer than `patience_s`.
    """

    def __init__(self, count: int, patience_s: float = 2.0) -> None:
        self._count = self._limit = count
        self._taken, self._patience_s = 0, patience_s
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._low: deque[tuple[float, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, *, low_priority: bool = False) -> AsyncIterator[Slot]:
        """Wait for a slot and keep it for the body, or until it is released or handed over in it."""
        await self._acquire(low_priority=low_priority)
        async with Slot(self._give_back) as slot:
            yield slot

    def slow_start(self) -> None:
        """Give one slot at a time; with each success twice as many, up to all of them.

        Low priority waits behind the rest again, however long it has waited.
        """
        self._limit = 1
        now = asyncio.get_running_loop().time()
        self._low = deque((now, turn) for _, turn in self._low)

    def succeeded(self) -> None:
        """A request in a slot has been answered."""
        if self._limit < self._count:
            self._limit = min(self._count, self._limit * 2)
            self._grant()

    async def _acquire(self, *, low_priority: bool) -> None:
        loop = asyncio.get_running_loop()
        if self._taken < self._limit and not self._waiting and not self._low:
            self._taken += 1
            return
        turn = loop.create_future()
        if low_priority:
            self._low.append((loop.time(), turn))
        else:
            self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back()
            raise

    def _give_back(self) -> None:
        self._taken -= 1
        self._grant()

    def _grant(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._taken < self._limit and (self._waiting or self._low):
            aged = bool(self._low) and now - self._low[0][0] >= self._patience_s
            turn = self._waiting.popleft() if self._waiting and not aged else self._low.popleft()[1]
            if not turn.done():
                self._taken += 1
                turn.set_result(None)

"""Lanes: what may not be written to at the same time is written to one after the other (D4)."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class _Ticket:
    lanes: tuple[str, ...]
    missing: int
    ready: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class HeldLanes:
    """Lanes that are held, and may be given back and taken again meanwhile."""

    def __init__(self, lanes: "Lanes", names: Collection[str]) -> None:
        self._lanes, self._names = lanes, names
        self._ticket: _Ticket | None = None

    async def take(self) -> None:
        """Wait for all of them, behind who waits already."""
        self._ticket = self._lanes.join(self._names)
        await self._ticket.ready

    def let_go(self) -> None:
        """Give them back; harmless where they are not held."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self._lanes.leave(ticket)


class Lanes:
    """First come, first served, per lane.

    A ticket for several lanes joins all their queues at once, so no two can wait for each other.

    Whoever needs lanes of two kinds takes them in the same order (an order's lane before items'), for the same reason.
    """

    def __init__(self) -> None:
        self._queues: dict[str, deque[_Ticket]] = {}
        self.on_free: Callable[[], None] = lambda: None  # called when a lane has become free

    @property
    def active(self) -> int:
        return len(self._queues)

    @property
    def blocked(self) -> int:
        """Lanes in which somebody waits."""
        return sum(len(queue) > 1 for queue in self._queues.values())

    def is_free(self, lane: str) -> bool:
        return lane not in self._queues

    @asynccontextmanager
    async def hold(self, lanes: Collection[str]) -> AsyncIterator[HeldLanes]:
        """Wait for all of the lanes, keep them for the body, hand them on."""
        held = HeldLanes(self, lanes)
        try:
            await held.take()
            yield held
        finally:
            held.let_go()

    def join(self, lanes: Iterable[str]) -> _Ticket:
        names = tuple(sorted(set(lanes)))
        ticket = _Ticket(names, len(names))
        for name in names:
            queue = self._queues.setdefault(name, deque())
            queue.append(ticket)
            if queue[0] is ticket:
                ticket.missing -= 1
        if not ticket.missing:
            ticket.ready.set_result(None)
        return ticket

    def leave(self, ticket: _Ticket) -> None:
        for name in ticket.lanes:
            queue = self._queues[name]
            was_head = queue[0] is ticket
            queue.remove(ticket)
            if not queue:
                del self._queues[name]
                self.on_free()
            elif was_head:
                head = queue[0]
                head.missing -= 1
                if not head.missing and not head.ready.done():
                    head.ready.set_result(None)

"""The events of one order run one after the other, a cancellation after what its order did before it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from schemas.events import OrderCancelled
from schemas.records import Posting
from streams.kafka.log import Log
from streams.posting.in_flight import InFlightPosting

_POLL_S = 0.25


class CancellationBarrier:
    """Tells when what an order did before its cancellation has reached the company's queue (architecture section 15.3).

    Attributes:
        admitted: The offset of `erp-orders` up to which the poster has admitted; it keeps this.
    """

    def __init__(self, log: Log, topic: Callable[[str], str], group: str, partition: int) -> None:
        self._log, self._group, self._queue, self._partition = log, group, topic("erp-orders"), partition
        self._before = [topic("order-placed"), topic("dispatch-confirmed")]
        self.admitted = 0

    async def passed(self, posting: Posting) -> None:
        """Return when everything of the order that was published no later than `posting` is admitted (broker time).

        Events of one order lie on the same partition number of every order topic: same key, same count.
        """
        at_ms, partition = posting.timestamp_ms + 1, posting.partition
        reached = [
            (topic, partition, await self._log.offset_for_time(topic, partition, at_ms)) for topic in self._before
        ]
        while True:
            committed = await self._log.committed(self._group)
            if all(
                offset == 0 or ((place := committed.get((topic, partition))) is not None and place.offset >= offset)
                for topic, partition, offset in reached
            ):
                break
            await asyncio.sleep(_POLL_S)
        _, end = await self._log.bounds(self._queue, self._partition)
        # An event per batch would cost every posting for a few cancellations
        while self.admitted < end:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)


class Sequencer:
    """Runs what is added: of each order one at a time, in the order of `add`, different orders side by side.

    Lifecycle: `add` at any time; after `quiesce` nothing more is started.
    """

    def __init__(
        self,
        barrier: CancellationBarrier,
        run: Callable[[InFlightPosting], Awaitable[None]],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        """`run` takes a posting to its end; `spawn` starts a task that its owner watches."""
        self._barrier, self._run, self._spawn = barrier, run, spawn
        self._queues: dict[str, deque[InFlightPosting]] = {}
        self._accepting = True

    def quiesce(self) -> None:
        self._accepting = False

    def add(self, work: InFlightPosting) -> None:
        if isinstance(work.event, OrderCancelled) and work.letter is None:
            self._spawn(self._add_behind_barrier(work))
        else:
            self._enqueue(work)

    async def _add_behind_barrier(self, work: InFlightPosting) -> None:
        await self._barrier.passed(work.posting)
        work.sequence = self._barrier.admitted  # it comes after all that it waited for, in its dead letter too
        self._enqueue(work)

    def _enqueue(self, work: InFlightPosting) -> None:
        order = work.posting.order_id or work.k
        queue = self._queues.get(order)
        if queue is None:
            self._queues[order] = deque([work])
            self._spawn(self._run_order(order))
        else:
            queue.append(work)

    async def _run_order(self, order: str) -> None:
        queue = self._queues[order]
        while queue and self._accepting:
            await self._run(queue[0])
            queue.popleft()
        del self._queues[order]

"""The events of one order run one after the other, a cancellation after what its order did before it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from connectors.base.errors import Refusal
from schemas.events import OrderCancelled
from schemas.records import DeadLetterState, Posting
from streams.dead_letters.index import BEHIND_INPUTS
from streams.kafka.log import Committed, Log
from streams.posting.admission import InputPositions, sequence_of
from streams.posting.in_flight import InFlightPosting

_POLL_S = 0.25
#: How long a cancellation waits in memory. Then it is parked: until it ends, nothing behind it in the queue is
#: committed, and all of that would come again after a crash.
BARRIER_PATIENCE_S = 30.0


class _Target(NamedTuple):
    """Everything of an input partition before this offset."""

    topic: str
    partition: int
    offset: int


@dataclass(slots=True)
class InputReading:
    """What must be admitted of the inputs.

    Attributes:
        targets: Places that are not admitted yet.
        queue_end: The end of the queue when the routers had passed them: enough where nothing of ours has that place.
    """

    targets: list[_Target]
    queue_end: int | None = None


class CancellationBarrier:
    """Tells when what an order did before its cancellation has reached the poster (architecture section 15.3).

    It waits for places of the two inputs, by what is admitted of them. Where the last records before the cancellation
    are of another company, or were refused, their place is never admitted: then it is enough that the routers have
    passed them and that all that was queued by then is admitted.

    Attributes:
        admitted: The offset of `erp-orders` up to which the poster has admitted; it keeps this.
        queue_log: The number of that log.
        reached: Up to which offset an input partition is admitted, as far as it is this company's; it sets this.
    """

    def __init__(self, log: Log, topic: Callable[[str], str], group: str, partition: int) -> None:
        self._log, self._group, self._queue, self._partition = log, group, topic("erp-orders"), partition
        self._before = [topic("order-placed"), topic("dispatch-confirmed")]
        self._asking: asyncio.Task[dict[tuple[str, int], Committed]] | None = None
        self._behind: dict[str, InputReading] = {}  # what cancellations wait for, by K
        self.admitted = self.queue_log = 0
        self.reached: Callable[[str, int], int] = InputPositions({}).reached

    @property
    def next_sequence(self) -> int:
        """The place of what is admitted next."""
        return sequence_of(self.queue_log, self.admitted)

    async def passed(self, posting: Posting, patience_s: float = BARRIER_PATIENCE_S) -> bool:
        """Return when everything of the order that was published no later than `posting` is admitted (broker time).

        Returns:
            False: it is not admitted after `patience_s`.
        """
        reading = self._behind.get(posting.k)
        if reading is None:
            reading = await self._reading(posting.partition, posting.timestamp_ms + 1)
            self._behind[posting.k] = reading
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + patience_s
        while not await self.is_read(reading):
            if loop.time() >= deadline_s:
                return False
            # An event per batch would cost every posting for a few cancellations
            await asyncio.sleep(_POLL_S)
        self._behind.pop(posting.k, None)
        return True

    async def to_the_end(self, partition: int) -> InputReading:
        """All that lies in the inputs now."""
        return await self._reading(partition, None)

    async def _reading(self, partition: int, before_ms: int | None) -> InputReading:
        """Events of one order lie on the same partition number of every order topic: same key, same count."""
        offsets = []
        for topic in self._before:
            if before_ms is None:
                offsets.append((await self._log.bounds(topic, partition))[1])
            else:
                offsets.append(await self._log.offset_for_time(topic, partition, before_ms))
        return InputReading([_Target(topic, partition, at) for topic, at in zip(self._before, offsets, strict=True)])

    async def is_read(self, reading: InputReading) -> bool:
        """Whether all of it is admitted; asked again and again."""
        reading.targets = [each for each in reading.targets if self.reached(each.topic, each.partition) < each.offset]
        if not reading.targets:
            return True
        if reading.queue_end is None and await self._are_routed(reading.targets):
            _, reading.queue_end = await self._log.bounds(self._queue, self._partition)
        return reading.queue_end is not None and self.admitted >= reading.queue_end

    async def _committed(self) -> dict[tuple[str, int], Committed]:
        return await self._log.committed(self._group)

    async def _are_routed(self, targets: Iterable[_Target]) -> bool:
        """One question to the broker at a time, however many wait."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._committed())
        committed = await asyncio.shield(self._asking)
        places = ((committed.get((each.topic, each.partition)), each.offset) for each in targets)
        return all(place is not None and place.offset >= offset for place, offset in places)


class Sequencer:
    """Runs what is added: of each order one at a time, in the order of `add`, different orders side by side.

    Lifecycle: `add` at any time; after `quiesce` nothing more is started.
    """

    def __init__(
        self,
        barrier: CancellationBarrier,
        run: Callable[[InFlightPosting], Awaitable[None]],
        refuse: Callable[[InFlightPosting, Refusal], Awaitable[None]],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        """`run` takes a posting to its end, `refuse` ends it as that; `spawn` starts a task that its owner watches."""
        self._barrier, self._run, self._refuse, self._spawn = barrier, run, refuse, spawn
        self._queues: dict[str, deque[InFlightPosting]] = {}
        self._accepting = True

    def quiesce(self) -> None:
        self._accepting = False

    def add(self, work: InFlightPosting) -> None:
        if isinstance(work.event, OrderCancelled) and (work.letter is None or is_behind_inputs(work.letter)):
            self._spawn(self._add_behind_barrier(work))
        else:
            self._enqueue(work)

    async def _add_behind_barrier(self, work: InFlightPosting) -> None:
        if await self._barrier.passed(work.posting, BARRIER_PATIENCE_S if work.letter is None else 0.0):
            work.sequence = self._barrier.next_sequence  # it comes after all that it waited for, in its dead letter too
            self._enqueue(work)
        elif self._accepting:
            error = "waits until what was published before it has been read; it goes on by itself"
            await self._refuse(work, Refusal("order_not_found", error, waits_for=BEHIND_INPUTS))

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


def is_behind_inputs(letter: DeadLetterState) -> bool:
    """Whether it waits for our own reading, for nothing that B1 or another event must do."""
    return letter.waits_for == BEHIND_INPUTS

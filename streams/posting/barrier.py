"""A cancellation waits for what its order did before it: the facts of one order come in several topics (design section 16.3)."""

import asyncio
from collections.abc import Callable

from schemas.records import Posting
from streams.kafka.log import Log

_LOOK_S = 0.25


class Barrier:
    """Tells when the order and the dispatches published before a cancellation have reached the company's queue.

    Attributes:
        admitted: the offset of `erp-orders` up to which the poster has admitted; it keeps this.
    """

    def __init__(self, log: Log, topic: Callable[[str], str], group: str, partition: int) -> None:
        self._log, self._group, self._queue, self._partition = log, group, topic("erp-orders"), partition
        self._before = [topic("order-placed"), topic("dispatch-confirmed")]
        self.admitted = 0

    async def passed(self, posting: Posting) -> None:
        """Return when everything of the order that was published no later than `posting` is admitted (broker time).

        Events of one order lie on the same partition number of every order topic: same key, same count.
        """
        reached = [
            (
                topic,
                posting.partition,
                await self._log.offset_for_time(topic, posting.partition, posting.timestamp_ms + 1),
            )
            for topic in self._before
        ]
        while True:
            committed = await self._log.committed(self._group)
            if all(
                offset == 0 or ((place := committed.get((topic, partition))) is not None and place.offset >= offset)
                for topic, partition, offset in reached
            ):
                break
            await asyncio.sleep(_LOOK_S)
        _, end = await self._log.bounds(self._queue, self._partition)
        while self.admitted < end:  # noqa: ASYNC110  # an event per batch would cost every posting for a few cancellations
            await asyncio.sleep(_LOOK_S)

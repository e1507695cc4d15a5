"""The audit trail: what became of every posting, sent in groups. Nothing waits for it and nothing needs it for correctness."""

import asyncio
from collections.abc import Callable

from schemas.codec import Codec
from schemas.records import Outcome
from streams.log import Log, Outgoing

#: What may wait for the broker; beyond it the oldest are let go, for B1 and the letters hold the truth.
_MOST = 50_000


class Trail:
    """Lifecycle: `add` at any time; `run` sends until cancelled; `flush` before the end."""

    def __init__(self, log: Log, codec: Codec, topic: Callable[[str], str]) -> None:
        self._log, self._codec, self._topic = log, codec, topic("erp-outcomes")
        self._waiting: list[Outcome] = []
        self._some = asyncio.Event()

    def add(self, outcome: Outcome) -> None:
        self._waiting.append(outcome)
        del self._waiting[:-_MOST]
        self._some.set()

    async def run(self) -> None:
        while True:
            await self._some.wait()
            await self.flush()
            await asyncio.sleep(0.2)

    async def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._some.clear()
        if waiting:
            await self._log.send_many([await self._outgoing(outcome) for outcome in waiting])

    async def _outgoing(self, outcome: Outcome) -> Outgoing:
        place = (outcome.order_id or outcome.sku or outcome.k).encode()
        partition = await self._log.partition_for(self._topic, place)
        return Outgoing(
            topic=self._topic, partition=partition, key=outcome.k.encode(), value=self._codec.encode(outcome)
        )

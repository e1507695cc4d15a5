"""The audit trail: what became of every posting, sent in groups.

Nothing waits for it and nothing needs it for correctness.
"""

import asyncio
from collections.abc import Callable

import structlog

from connectors.base.errors import LogError
from connectors.base.log import Outgoing
from schemas.codec import Codec
from schemas.records import Outcome
from streams.kafka.log import Log

logger = structlog.get_logger(__name__)

#: What may wait for the broker; beyond it the oldest are let go, for B1 and the dead letters hold the truth.
_MAX_WAITING = 50_000
_RETRY_DELAY_S = 2.0


class OutcomeLog:
    """Lifecycle: `add` at any time; `run` sends until cancelled; `flush` before the end."""

    def __init__(self, log: Log, codec: Codec, topic: Callable[[str], str]) -> None:
        self._log, self._codec, self._topic = log, codec, topic("erp-outcomes")
        self._waiting: list[Outcome] = []
        self._some = asyncio.Event()

    def add(self, outcome: Outcome) -> None:
        self._waiting.append(outcome)
        del self._waiting[:-_MAX_WAITING]
        self._some.set()

    async def run(self) -> None:
        while True:
            await self._some.wait()
            sent = await self.flush()
            await asyncio.sleep(0.2 if sent else _RETRY_DELAY_S)

    async def flush(self) -> bool:
        """Send what waits; False where the broker did not take it: it is kept, and sent again."""
        waiting, self._waiting = self._waiting, []
        self._some.clear()
        try:
            if waiting:
                await self._log.send_many([await self._outgoing(outcome) for outcome in waiting])
        except LogError as error:
            logger.warning("outcomes wait", error=str(error), outcomes=len(waiting))
            self._waiting = [*waiting, *self._waiting][-_MAX_WAITING:]
            self._some.set()
            return False
        return True

    async def _outgoing(self, outcome: Outcome) -> Outgoing:
        place = (outcome.order_id or outcome.sku or outcome.k).encode()
        partition = await self._log.partition_for(self._topic, place)
        return Outgoing(
            topic=self._topic, partition=partition, key=outcome.k.encode(), value=self._codec.encode(outcome)
        )

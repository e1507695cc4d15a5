"""Which dead letters have blocked later events for too long."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

import structlog

from connectors.base.clock import Clock
from connectors.base.errors import LogError
from connectors.base.notices import NoticeWriter
from schemas.notices import of_blocker
from schemas.records import DeadLetterState

logger = structlog.get_logger(__name__)

_LOOK_INTERVAL_S = 30.0


class BlockedKeys:
    """Tells of each dead letter that blocks, once while it stands.

    Args:
        open_letters: What is dead, parked or held, of one company.
        writer: Writes the notices.
        clock: The time.
        after_s: How long a dead letter may block before that is news.
    """

    def __init__(
        self,
        open_letters: Callable[[], Iterable[DeadLetterState]],
        writer: NoticeWriter,
        clock: Clock,
        after_s: float,
    ) -> None:
        self._open_letters, self._writer, self._clock, self._after_s = open_letters, writer, clock, after_s
        self._told: set[str] = set()

    async def run(self) -> None:
        """Look now and then; where the broker does not answer, the next time."""
        while True:
            await asyncio.sleep(_LOOK_INTERVAL_S)
            try:
                await self.look()
            except LogError as error:
                logger.warning("notices are not written", error=str(error))

    async def look(self) -> None:
        """Write what is new.

        Raises:
            LogError: It may not be written; it is written again the next time, under the same id.
        """
        letters = {letter.id: letter for letter in self._open_letters()}
        waiting = Counter(letter.blocked_by for letter in letters.values() if letter.state == "held")
        now = self._clock.now()
        blockers = {
            id_: letters[id_]
            for id_ in waiting
            if id_ in letters and (now - letters[id_].first_failed_at).total_seconds() >= self._after_s
        }
        new = [of_blocker(letter, waiting[id_], now) for id_, letter in blockers.items() if id_ not in self._told]
        if new:
            await self._writer.write(new)
        self._told = set(blockers)

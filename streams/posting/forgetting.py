"""Lets go of closed dead letters after their time, so that memory and start of a poster are bounded."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from connectors.base.clock import Clock
from connectors.base.errors import LogError
from streams.dead_letters.closed import KEPT_S, counts_of, is_older, until_key
from streams.ports import Counts
from streams.posting.dead_letters import CompanyDeadLetters

logger = structlog.get_logger(__name__)

#: The first time soon after a start, then every hour.
_FIRST_S, _INTERVAL_S = 60.0, 3600.0
#: Adds to what the commits of `erp-orders` count, and commits; False: it is not known to be committed.
CountEnded = Callable[[Counts], Awaitable[bool]]


async def count_nowhere(counts: Counts) -> bool:
    """Nobody reads the counts."""
    return True


class Forgetting:
    """Lifecycle: `run` until cancelled."""

    def __init__(
        self, company: str, dead_letters: CompanyDeadLetters, clock: Clock, counts: Counts, count: CountEnded
    ) -> None:
        """`counts` are those of the commits at the start."""
        self._company, self._dead_letters, self._clock, self._count = company, dead_letters, clock, count
        self._until_s = counts.get(until_key(company), 0)

    async def run(self) -> None:
        await asyncio.sleep(_FIRST_S)
        while True:
            try:
                await self.forget()
            except LogError as error:
                logger.warning("closed dead letters are not forgotten", company=self._company, error=str(error))
            await asyncio.sleep(_INTERVAL_S)

    async def forget(self) -> None:
        """Count what was closed long ago in the commit, then write its tombstones; again from there after a crash.

        Raises:
            LogError: Not all are forgotten; the next call does it.
        """
        until_s = int(self._clock.now().timestamp()) - KEPT_S
        old = [letter for letter in self._dead_letters.index.closed() if is_older(letter, until_s)]
        if not old or not await self._dead_letters.in_term():
            return
        counts: dict[tuple[str, str], int] = {}
        if until_s > self._until_s:
            counts = counts_of(letter for letter in old if not is_older(letter, self._until_s))
            counts[until_key(self._company)] = until_s - self._until_s
            self._until_s = until_s  # whatever is committed from now on has both
        if await self._count(counts):
            await self._dead_letters.forget([letter for letter in old if is_older(letter, self._until_s)])

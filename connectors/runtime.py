"""Drives any source: read, write levels down, publish, await, move the cursor, back off."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from random import Random

import structlog

from connectors.base.cursors import Cursors, Position
from connectors.base.dead_letters import INBOX, DeadLetters
from connectors.base.delivery import deliver
from connectors.base.errors import RetriableError
from connectors.base.levels import resolve
from connectors.base.metrics import ConnectorMetrics
from connectors.base.publisher import Publisher
from connectors.base.retry import FullJitter, wait
from connectors.base.source import Batch, RefusedRecord, Source

log = structlog.get_logger(__name__)

#: The first tries come quickly, since most failures are a broker's leader moving (a second or two); a vendor that is
#: down for an hour is asked twice a minute.
BACK_OFF_BASE_S = 0.25
BACK_OFF_CAP_S = 30.0
#: Failures in a row of which nobody is told: a moment's trouble.
FAILURES_UNSAID = 3
#: Between two looks, however often it is woken.
WAKE_S = 1.0


class Runtime:
    """One connector at work.

    Lifecycle: `run` once; it ends when `stop` is set, after the batch under way, or with an error. The caller may also
    cancel it: what was under way is then done again by whoever comes next.
    """

    def __init__(
        self,
        source: Source,
        *,
        cursors: Cursors,
        publisher: Publisher,
        letters: DeadLetters,
        metrics: ConnectorMetrics,
        poll_interval_s: float,
        random: Random | None = None,
        on_state: Callable[[str | None], None] = lambda _why: None,
    ) -> None:
        """`on_state` is told why its looks go on failing, and with None that one has succeeded."""
        self._source = source
        self._cursors = cursors
        self._publisher = publisher
        self._letters = letters
        self._metrics = metrics
        self._poll_interval_s = poll_interval_s
        self._back_off = FullJitter(random or Random(), BACK_OFF_BASE_S, BACK_OFF_CAP_S)  # noqa: S311 -- no secret
        self._on_state = on_state
        self._loaded = False
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look soon, whatever the poll's interval: something may be new. Wakes that come together are one."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Read and publish until told to stop.

        Raises:
            LostRaceError: Another process runs this connector now.
            FatalError: A person has to act.
        """
        name, failures = self._source.name, 0
        try:
            while not stop.is_set():
                try:
                    idle = await self._turn()
                except RetriableError as error:
                    failures += 1
                    wait_s = self._back_off.wait_s(failures, error.retry_after_s)
                    self._metrics.failed(name, type(error).__name__)
                    if failures >= FAILURES_UNSAID:
                        self._on_state(str(error))
                    log.warning("connector_failed", connector=name, error=str(error), failures=failures, wait_s=wait_s)
                    await wait(stop, wait_s)
                    continue
                failures = 0
                self._on_state(None)
                self._metrics.looked(name, idle)
                if idle:
                    await self._rest(stop)
        finally:
            await self._source.close()

    async def _rest(self, stop: asyncio.Event) -> None:
        """Wait `poll_interval_s`, or until woken, and then at least a second: wakes come in swarms."""
        least_s = min(self._poll_interval_s, WAKE_S)
        await wait(stop, least_s)
        left_s = self._poll_interval_s - least_s
        if left_s > 0 and not stop.is_set():
            ends = [asyncio.create_task(stop.wait()), asyncio.create_task(self._woken.wait())]
            try:
                await asyncio.wait(ends, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in ends:
                    each.cancel()
        self._woken.clear()

    async def _turn(self) -> bool:
        """Read one batch and see it through; whether there is nothing more for now."""
        if not self._loaded:
            await self._cursors.load()
            await deliver(self._cursors.unconfirmed, self._source, self._publisher, self._letters, self._metrics)
            self._loaded = True
        batch = await self._source.read(self._cursors.position.cursor)
        # From here on a failure leaves us not knowing what the broker has.
        self._loaded = False
        await self._deliver(batch)
        self._loaded = True
        return batch.idle

    async def _deliver(self, batch: Batch) -> None:
        resolved = resolve(batch.items, self._cursors.levels, net_since=batch.net_since)
        await self._cursors.write_levels(resolved.changes)
        delivered = await deliver(resolved.items, self._source, self._publisher, self._letters, self._metrics)
        before = self._cursors.position
        refusals = [item.event_type or INBOX for item in delivered if isinstance(item, RefusedRecord)]
        no_ops = ["stock_adjusted"] * resolved.no_ops
        after = Position(batch.cursor, before.confirmed, _sum(before.no_op, no_ops), _sum(before.refused, refusals))
        if resolved.changes or after != before:
            await self._cursors.advance(after)
        if resolved.no_ops:
            self._metrics.no_op(self._source.name, "stock_adjusted", resolved.no_ops)


def _sum(counts: Mapping[str, int], more: Iterable[str]) -> dict[str, int]:
    total = dict(counts)
    for name in more:
        total[name] = total.get(name, 0) + 1
    return total

"""Reads Veeqo by polling: a sweep over counted stock, a walk over changed orders, then the comparison of the counts."""

import httpx

from connectors.base.clock import Clock
from connectors.base.context import EventContext
from connectors.base.errors import CursorUnusableError
from connectors.base.source import Batch, Item
from connectors.veeqo.client import VeeqoClient
from connectors.veeqo.memory import REPORT, REST, SWEEP, WALK, Memory
from connectors.veeqo.orders import order_items
from connectors.veeqo.reading import Reading
from connectors.veeqo.settings import VeeqoSettings
from connectors.veeqo.stock import has_news, report, sweep
from connectors.veeqo.walk import walk

#: A read ends after this many pages without news: 2 s of Veeqo's rate, well within the 5 s a connector has to let go.
PAGES_PER_READ = 10


class VeeqoSource:
    """A Veeqo account as a `Source`. All it remembers is in the cursor.

    What it reports depends on that and on Veeqo only.

    Where a walk begins the next time moves only when one has come to its end, and never past the moment at which it
    began.
    """

    def __init__(
        self, name: str, settings: VeeqoSettings, clock: Clock, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.name = name
        self.company = settings.company
        self._settings = settings
        self._clock = clock
        self._client = VeeqoClient(settings, clock, transport)

    async def read(self, cursor: str | None) -> Batch:
        memory = Memory.from_text(cursor)
        reading = Reading(memory, EventContext(self.name, self.company, self._settings, self._clock.now()))
        if memory.phase == REST:
            _begin(reading)
        items: list[Item] = []
        for _ in range(PAGES_PER_READ):
            items = await self._step(reading)
            if items or memory.phase == REST:
                break
        return Batch(tuple(items), memory.to_text(), idle=not items and memory.phase == REST)

    async def close(self) -> None:
        await self._client.close()

    async def _step(self, reading: Reading) -> list[Item]:
        memory = reading.memory
        match memory.phase:
            case "sweep":
                items, ended = await sweep(self._client, reading)
                if ended:
                    _begin_walk(reading)
            case "walk":
                items, ended = await walk(self._client, reading, lambda row: order_items(reading, row))
                if ended:
                    _finish_walk(reading)
            case "report":
                items, ended = report(reading)
                if ended:
                    memory.phase = REST
            case phase:
                raise CursorUnusableError(f"veeqo: the cursor names a phase {phase!r} that this version does not know")
        return items


def _begin(reading: Reading) -> None:
    memory, settings = reading.memory, reading.settings
    if "stock" in settings.reads and _is_due(memory.swept_ms, settings.stock_interval_s, reading.now_ms):
        memory.phase, memory.page = SWEEP, 1
        memory.swept_ms = reading.now_ms
    else:
        _begin_walk(reading)


def _begin_walk(reading: Reading) -> None:
    memory, settings = reading.memory, reading.settings
    if not {"orders", "dispatches"} & set(settings.reads):
        memory.phase = REPORT if has_news(memory) else REST
        return
    reach_s = settings.overlap_s
    if _is_due(memory.rechecked_ms, settings.recheck_interval_s, reading.now_ms):
        reach_s = max(reach_s, settings.memory_days * 86_400)
        memory.rechecked_ms = reading.now_ms
    memory.phase, memory.page = WALK, 1
    memory.reach_ms = int(reach_s * 1000)
    memory.started_ms = memory.top_ms = 0
    memory.before_ms = memory.total = None


def _finish_walk(reading: Reading) -> None:
    memory, settings = reading.memory, reading.settings
    reached_ms = min(memory.top_ms, memory.started_ms)
    if reached_ms:
        memory.since_ms = max(memory.since_ms or 0, reached_ms)
    if memory.since_ms is not None:
        kept_ms = max(settings.memory_days * 86_400, settings.overlap_s) * 1000
        # Twice, so that no look that reaches back as far finds an order that has been forgotten.
        memory.forget(memory.since_ms - int(2 * kept_ms))
    memory.phase = REPORT if has_news(memory) else REST
    memory.page = 1
    memory.started_ms = memory.top_ms = memory.reach_ms = 0
    memory.before_ms = memory.total = None


def _is_due(last_ms: int, interval_s: float, now_ms: int) -> bool:
    """Also when the clock was set back: then nobody knows how long ago it was."""
    return not last_ms <= now_ms < last_ms + interval_s * 1000

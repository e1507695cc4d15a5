"""Where everything stands: flows and dead letters from Kafka, counters from B1, metrics from the workers."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress

from connectors.base.errors import LogError
from lab.demo.disturbances import DisturbanceCounts
from lab.demo.inputs import DemoInput
from lab.demo.processes import Child, ask
from lab.demo.screen import ProgressScreen, Snapshot
from lab.demo.system import DemoSystem
from schemas.letters import OPEN_STATES
from streams.cli import shell
from streams.config.load import Config
from streams.kafka.log import Log
from streams.query import status
from streams.query.dead_letters import standing
from streams.query.status import Status

_RATE_SPAN_S = 6.0  # over which rates are shown
METRIC_NAMES = (
    "b1streams_window_epochs_sealed_total",
    "b1streams_item_lanes_active",
    "b1streams_item_lanes_blocked",
    "b1streams_erp_sessions_active",
)


class Watcher:
    """Reads where everything stands, and shows it. `now` is what it found last."""

    def __init__(
        self, screen: ProgressScreen, system: DemoSystem, source: DemoInput, disturbed: DisturbanceCounts
    ) -> None:
        self._screen, self._system, self._input, self._disturbed = screen, system, source, disturbed
        self.now = Snapshot(phase="starting", lines=source.lines)
        self._metrics: dict[str, Counter[str]] = {}  # as last read, also of processes that are gone
        self._history: deque[tuple[float, Mapping[str, status.FlowStatus], int]] = deque()

    def poster(self) -> Child | None:
        """The worker that has B1 sessions: the company's queue is its."""
        return next((w for w in self._system.workers if self._metrics.get(w.name, Counter())[METRIC_NAMES[3]]), None)

    async def look(self, log: Log, config: Config, phase: str) -> Status | None:
        """Read and screen where everything stands; None where Kafka could not tell right now."""
        codec = shell.codec_of(config)
        written = self._input.lines - self._input.left
        await asyncio.gather(*(self._scrape(child) for child in self._system.workers if child.ended is None))
        counters = await self._system.b1("GET", "counters")
        try:
            found = await status.read(log, config, codec, int(time.time() * 1000))
            letters = await standing(log, config, codec)
        except LogError:
            return None
        b1 = next(iter(counters["companies"].values()))
        sums: Counter[str] = Counter()
        for name, metrics in self._metrics.items():
            sums[METRIC_NAMES[0]] += metrics[METRIC_NAMES[0]]
            if name != self._disturbed.killed:
                sums.update({key: metrics[key] for key in METRIC_NAMES[1:]})
        rates, documents_per_s = self._rate(found.flows, int(b1["documents"]))
        self.now = Snapshot(
            elapsed_s=self._screen.elapsed_s,
            phase=phase,
            written=written,
            lines=self._input.lines,
            flows=found.flows,
            rates=rates,
            reasons=Counter(each.reason for each in letters.values() if each.state in OPEN_STATES),
            windows=sums[METRIC_NAMES[0]],
            lanes=sums[METRIC_NAMES[1]],
            queued=sums[METRIC_NAMES[2]],
            documents=int(b1["documents"]),
            documents_per_s=documents_per_s,
            calls=int(b1["calls"]),
            waits_people=int(b1["lock_waits_people"]),
            waits_own=int(b1["lock_waits_own"]),
            replies_lost=int(counters["faults"].get("lost_reply_after_commit", 0)),
            locked=tuple(self._disturbed.locked),
            locks=self._disturbed.locks,
            killed=int(self._disturbed.killed is not None),
        )
        self._screen.update(self.now)
        return found

    def _rate(
        self, flows: Mapping[str, status.FlowStatus], documents: int
    ) -> tuple[dict[str, tuple[float, float]], float]:
        """Per second, over the last seconds: events received and posted by flow, and documents."""
        now = self._screen.elapsed_s
        self._history.append((now, flows, documents))
        while len(self._history) > 2 and self._history[1][0] <= now - _RATE_SPAN_S:
            self._history.popleft()
        then, before, had = self._history[0]
        passed = max(now - then, 0.001)
        rates = {
            name: (
                max(0, flow.received - before[name].received) / passed,
                max(0, flow.posted - before[name].posted) / passed,
            )
            for name, flow in flows.items()
            if name in before
        }
        return rates, (documents - had) / passed

    async def _scrape(self, child: Child) -> None:
        """Read a worker's metrics; one that is going away or coming up is left as it was."""
        url = self._system.urls.get(child.name)
        if url is None:
            return
        with suppress(OSError):
            _, body = await ask(url, "GET", "/metrics")
            found: Counter[str] = Counter()
            for row in body.decode().splitlines():
                name = row.partition("{")[0]
                if name in METRIC_NAMES:
                    found[name] += int(float(row.rpartition(" ")[2]))
            self._metrics[child.name] = found

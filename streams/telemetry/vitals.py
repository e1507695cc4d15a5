"""Whether this process lives and may take work."""

import time
from collections.abc import Callable

from prometheus_client import Gauge

from streams.telemetry.families import Family


class Vitals:
    """Whether this process lives and may take work: what `/healthz` and `/readyz` answer.

    A stage that calls `beat` promises to do so again within the time it names, until it calls `end`. A part that is
    `expected` keeps the process from being ready until it calls `ready`.
    """

    def __init__(self, progress: Family[Gauge], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._progress, self._monotonic = progress, monotonic
        self._due: dict[str, float] = {}
        self._waits: dict[str, str] = {"start": "has not begun"}

    def beat(self, stage: str, within_s: float = 60) -> None:
        """The stage has moved, or has looked and found nothing to do."""
        self._due[stage] = self._monotonic() + within_s
        self._progress.labels(stage).set_to_current_time()

    def end(self, stage: str) -> None:
        self._due.pop(stage, None)

    def expect(self, part: str, why: str = "is starting") -> None:
        """Not ready because of this part, also when it was ready before."""
        self._waits.pop("start", None)
        self._waits[part] = why

    def ready(self, part: str) -> None:
        self._waits.pop(part, None)

    def stalled(self) -> list[str]:
        """Stages that have not moved for longer than they promised."""
        now = self._monotonic()
        return sorted(stage for stage, due in self._due.items() if due < now)

    def waiting(self) -> dict[str, str]:
        """What keeps us from taking work, by part; empty: nothing."""
        return dict(self._waits)

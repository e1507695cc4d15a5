"""Virtual time for tests of what waits: an hour costs what happens in it."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from tests.simulation.loop import VirtualLoop

T = TypeVar("T")
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Loop(VirtualLoop):
    """What a task raises and nobody reads is told, as everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.set_exception_handler(None)


class Clock:
    """`NOW` at the loop's second 0."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        return self._loop.time()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """For properties: each example in a loop of its own."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(coroutine)

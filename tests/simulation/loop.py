"""An event loop in virtual time whose processes can be stopped, killed and woken, as an operating system does it."""

import asyncio
import heapq
from collections import deque
from collections.abc import Coroutine
from contextvars import Context, ContextVar
from enum import Enum
from typing import Any

#: Whose code runs; None: the world's (broker, ERP, people).
PROCESS: ContextVar["Process | None"] = ContextVar("process", default=None)
_LIVELOCK = 300_000


class StuckError(Exception):
    """Nothing is ready and nothing is scheduled, or time does not go on: the run can never end."""


class State(Enum):
    RUNNING = "running"
    FROZEN = "frozen"  # SIGSTOP: goes on where it was
    DEAD = "dead"  # SIGKILL: nothing of it ever runs again


class Process:
    """One operating-system process: everything that runs in its context.

    What is due while it is not running is kept.
    """

    def __init__(self, name: str, loop: "VirtualLoop") -> None:
        self.name, self.state = name, State.RUNNING
        self._loop = loop
        self.held: deque[asyncio.Handle] = deque()
        self.context = Context()
        self.context.run(PROCESS.set, self)
        loop.processes.append(self)

    @property
    def running(self) -> bool:
        return self.state is State.RUNNING

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return self._loop.create_task(coroutine, context=self.context.copy())

    def freeze(self) -> None:
        if self.state is State.RUNNING:
            self.state = State.FROZEN

    def thaw(self) -> None:
        if self.state is State.FROZEN:
            self.state = State.RUNNING
            self._loop.release(self.held)

    def kill(self) -> None:
        self.state = State.DEAD


class VirtualLoop(asyncio.BaseEventLoop):
    """`time()` jumps to the next timer whenever nothing is ready, so that an hour costs what happens in it."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._steps = 0
        self.processes: list[Process] = []
        self.world = Context()
        self.set_exception_handler(lambda loop, context: None)

    def time(self) -> float:
        return self._now

    def in_world(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run it outside of every process."""
        return self.create_task(coroutine, context=self.world.copy())

    def later(self, delay_s: float, callback: Any, *arguments: Any) -> None:
        """As `call_later`, outside of every process."""
        self.call_later(delay_s, callback, *arguments, context=self.world)

    def release(self, held: deque[asyncio.Handle]) -> None:
        self._ready.extend(held)
        held.clear()

    def end(self) -> None:
        """Let everything that still waits unwind, dead processes too.

        So nothing complains when it is collected.
        """
        for process in self.processes:
            process.state = State.RUNNING
            self.release(process.held)
        for _ in range(20):
            tasks = asyncio.all_tasks(self)
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            self.run_until_complete(asyncio.wait(tasks, timeout=5))
        self.close()

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled
        if not ready:
            while scheduled and scheduled[0]._cancelled:
                heapq.heappop(scheduled)._scheduled = False
            if not scheduled:
                raise StuckError(f"nothing is ready and nothing is scheduled at {self._now:.3f} s")
            self._now, self._steps = max(self._now, scheduled[0]._when), 0
        while scheduled and scheduled[0]._when <= self._now:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            if not handle._cancelled:
                ready.append(handle)
        self._steps += len(ready)
        if self._steps > _LIVELOCK:
            raise StuckError(f"{self._steps} steps and still {self._now:.3f} s")
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(PROCESS)
            if process is not None and process.state is not State.RUNNING:
                process.held.append(handle)
            else:
                handle._run()

    def _process_events(self, event_list: Any) -> None: ...

    def _write_to_self(self) -> None: ...

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """A generator that a dead process left behind is not closed: its code never runs again."""

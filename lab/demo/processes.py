"""A process of the demo: in a session of its own, with a log file, ended by its pid; and how to ask one something."""

import asyncio
import json
import re
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_POLL_S = 0.05
_KILL_AFTER_S = 5.0
_DEAD_AFTER_S = 10.0
_ANSWER_S = 60.0
_LINE = 300


class ProcessError(Exception):
    """A process of the demo did not do what it should; the message ends with the last lines of its log."""


class Child:
    """One process. Lifecycle: `start`; then `ask_to_stop` and `wait`, or `kill`; `close` ends it in any case.

    Its session is its own: Ctrl-C at the demo's terminal must reach the demo alone, which then ends things in order.

    Attributes:
        log: Where its output goes.
    """

    def __init__(self, name: str, process: Process, log: Path) -> None:
        self.name, self.log = name, log
        self._process = process
        self._wanted = False

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None
    ) -> "Child":
        """Start a command in a folder; its log is `NAME.log` there."""
        log = folder / f"{name}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=folder, env=environ, stdin=DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.returncode

    def check(self) -> None:
        """Raises `ProcessError` when it has ended without being asked to."""
        if self.ended is not None and not self._wanted:
            raise ProcessError(f"{self.name} has ended with exit code {self.ended}:\n{self.tail()}")

    async def wait_for_output(self, pattern: str, timeout_s: float) -> str:
        """The first group of a pattern, once it is in the log.

        Raises:
            ProcessError: It ended before, or said nothing of the kind in time.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            found = re.search(pattern, self._text())
            if found is not None:
                return found[1]
            self.check()
            if asyncio.get_running_loop().time() > deadline:
                raise ProcessError(f"{self.name} did not come up in {timeout_s:.0f} s:\n{self.tail()}")
            await asyncio.sleep(_POLL_S)

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        self._wanted = True
        if self.ended is None:
            self._process.terminate()

    async def wait(self, timeout_s: float) -> int:
        """Its exit code; killed when it has not ended in time."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._process.wait()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """SIGKILL: it has no time to say goodbye to anybody."""
        self._wanted = True
        if self.ended is None:
            self._process.kill()
        async with bounded(f"the end of {self.name} ({self.pid}) after SIGKILL", _DEAD_AFTER_S):
            return await self._process.wait()

    async def close(self) -> None:
        """End it, whatever its state."""
        self.ask_to_stop()
        await self.wait(_KILL_AFTER_S)

    def tail(self, lines: int = 8) -> str:
        """The last lines of its log, each cut where a terminal would no longer show it."""
        return "\n".join(line[:_LINE] for line in self._text().splitlines()[-lines:])

    def _text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


@asynccontextmanager
async def bounded(what: str, timeout_s: float) -> AsyncIterator[None]:
    """Give something so much time, and say what it was when that is over.

    Raises:
        ProcessError: It took longer.
    """
    try:
        async with asyncio.timeout(timeout_s) as limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise ProcessError(f"gave up after {timeout_s:.0f} s of waiting for {what}") from error


async def ask(url: str, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    """One request on loopback, past any proxy of the environment; status and body.

    Raises:
        OSError: No answer.
    """
    place = urlsplit(url)

    def work() -> tuple[int, bytes]:
        connection = HTTPConnection(place.hostname or "", place.port or 0, timeout=_ANSWER_S)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, answer.read()
        except HTTPException as error:
            raise OSError(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()

    return await asyncio.to_thread(work)


async def ask_json(name: str, url: str, method: str, path: str, body: Any = None) -> Any:
    """The same of a process that must answer, with 200 and JSON.

    Raises:
        ProcessError: It does not.
    """
    try:
        status, answer = await ask(url, method, path, body)
    except OSError as error:
        raise ProcessError(f"{name} does not answer: {error}") from error
    if status != 200:
        raise ProcessError(f"{name} answers {method} {path} with {status}: {answer[:_LINE].decode(errors='replace')}")
    return json.loads(answer)

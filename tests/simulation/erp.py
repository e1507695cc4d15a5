"""A company's Service Layer without HTTP, over the simulators' ledger.

Locks, service time, and everything that goes wrong.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from connectors.sap_b1.service_layer import AnswerUnknownError, B1Answer, B1Request, NotSentError, UnavailableError
from lab.simulators.sap_b1.state import messages
from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.metadata import CLAIM_TABLE
from tests.simulation.broker import EPOCH_S
from tests.simulation.loop import Process, VirtualLoop

#: What a client waits for an answer, and what the server waits for a lock.
_CLIENT_S, _LOCK_S = 8.0, 3.0
#: Longer than a request goes on, or comes too late, after its client has given up.
_ABANDONED_S = 40.0


@dataclass(slots=True)
class ErpFaults:
    """What goes wrong with writes (and, where said, reads) while it is on. Shares of calls."""

    not_sent: float = 0.0  # reads and writes: nothing arrives
    lost_request: float = 0.0  # does not arrive, and the client does not know
    lost_answer: float = 0.0  # committed, and the client does not know
    late_commit: float = 0.0  # in service when the client gives up: holds its locks and commits afterwards
    late_arrival: float = 0.0  # arrives when the client has given up already
    server_error: float = 0.0  # rolled back, and a proxy says 502
    down: bool = False
    slow: float = 1.0  # times the service time


@dataclass(slots=True)
class Call:
    """One change set as its client sees it, for the rule that a lane is kept while B1 may be at it.

    Attributes:
        in_flight: Its client waits for an answer.
        unanswered_at: When its client last gave up without any answer; None: it never did, or knows the outcome.
    """

    name: str
    items: frozenset[str]
    in_flight: bool = False
    unanswered_at: float | None = None

    def is_open(self, now: float) -> bool:
        return self.in_flight or (self.unanswered_at is not None and now - self.unanswered_at < _ABANDONED_S)


class Server:
    """The company database and its node: shared by all processes, outlives them."""

    def __init__(self, loop: VirtualLoop, random: Random, company: Company) -> None:
        self.loop, self.random, self.company = loop, random, company
        self.faults = ErpFaults()
        self.trace: list[object] = []
        self.serial_faults: list[str] = []
        self.points: Callable[[Process, str], bool] = lambda process, name: False
        self.hits: Counter[str] = Counter()
        self._released = asyncio.Event()
        self._holders = 0

    def wake(self) -> None:
        self._released.set()
        self._released = asyncio.Event()

    async def serve(
        self, requests: Sequence[messages.Request], process: Process, extra_s: float
    ) -> list[messages.LedgerAnswer]:
        """Locks, time, commit. Runs in the world: the client's death does not stop it."""
        self.points(process, "c3")
        company = self.company
        work = company.work(requests)
        self._holders += 1
        holder = f"request:{self._holders}"
        taken: list[str] = []
        try:
            for name in (*sorted(work.items), *sorted(work.keys)):
                if not await self._take(name, holder):
                    return [company.locked_error().answer()]
                taken.append(name)
            service_s = self.random.uniform(0.02, 0.1) * (1 + work.lines / 4) * self.faults.slow
            await asyncio.sleep(service_s / 2)
            self.points(process, "c4")
            await asyncio.sleep(service_s / 2 + extra_s)
            answers = company.apply(requests, holder)
            sent = [(request.method, request.path, request.body) for request in requests]
            self.trace.append((round(self.loop.time(), 6), sent, [answer.status for answer in answers]))
            self.points(process, "c5")
            return answers
        finally:
            for name in taken:
                company.unlock(name, holder)
            self.wake()

    async def _take(self, name: str, holder: str) -> bool:
        until = self.loop.time() + _LOCK_S
        while not self.company.lock(name, holder):
            left = until - self.loop.time()
            if left <= 0:
                return False
            released = self._released
            waiter = asyncio.ensure_future(released.wait())
            await asyncio.wait({waiter}, timeout=left)
            waiter.cancel()
        return True


class SimServiceLayer:
    """`ServiceLayer` of one poster. A dead process's calls never come back."""

    def __init__(self, server: Server, process: Process) -> None:
        self._server, self._process = server, process
        self._calls: dict[str, Call] = {}

    async def change_set(self, requests: Sequence[B1Request]) -> list[B1Answer]:
        sent = [messages.Request(r.method, r.path, _exact(r.body)) for r in requests]
        call = self._begin(sent)
        call.in_flight = True
        try:
            answers = await self._change(sent)
        except AnswerUnknownError as error:
            if not error.answered:
                call.unanswered_at = self._server.loop.time()
            raise
        finally:
            call.in_flight = False
        call.unanswered_at = None
        return [B1Answer(answer.status, answer.body, answer.headers) for answer in answers]

    def _begin(self, requests: Sequence[messages.Request]) -> Call:
        """No two documents of one item are under way at a time, unless B1 cannot be at the first one any more."""
        work = self._server.company.work(requests)
        claims = claims_of(requests)
        # A document that goes alone is known by its key, as its claim is
        keys = [str(body.get("U_STREAMS_KEY", "-")) for request in requests if (body := request.body)]
        name = (claims or keys or ["-"])[0]
        for other in self._calls.values():
            if other.is_open(self._server.loop.time()) and other.name != name and (shared := other.items & work.items):
                self._server.serial_faults.append(
                    f"{name} is sent while the outcome of {other.name} is open, both move {sorted(shared)}"
                )
        call = self._calls.get(name)
        if call is None:
            call = self._calls[name] = Call(name, work.items)
        return call

    async def _change(self, requests: Sequence[messages.Request]) -> list[messages.LedgerAnswer]:
        server, random, faults = self._server, self._server.random, self._server.faults
        await self._connect()
        chance = random.random()
        sum_ = faults.lost_request
        if chance < sum_:
            await asyncio.sleep(_CLIENT_S)
            raise AnswerUnknownError("no answer in time")
        if chance < (sum_ := sum_ + faults.server_error):
            await asyncio.sleep(0.05)
            raise AnswerUnknownError("HTTP 502 of a proxy", answered=True)
        if chance < (sum_ := sum_ + faults.late_arrival):
            server.loop.later(_CLIENT_S + random.uniform(0, 20), self._arrive_late, requests)
            await asyncio.sleep(_CLIENT_S)
            raise AnswerUnknownError("no answer in time")
        late = chance < (sum_ := sum_ + faults.late_commit)
        lost = chance < sum_ + faults.lost_answer and not late
        extra_s = _CLIENT_S + random.uniform(0, 30) if late else 0.0
        served = server.loop.in_world(server.serve(requests, self._process, extra_s))
        done, _ = await asyncio.wait({served}, timeout=_CLIENT_S)
        if not done:
            raise AnswerUnknownError("no answer in time")
        if lost:
            raise AnswerUnknownError("the connection was cut")
        await asyncio.sleep(random.uniform(0.001, 0.01))
        return served.result()

    def _arrive_late(self, requests: Sequence[messages.Request]) -> None:
        self._server.loop.in_world(self._server.serve(requests, self._process, 0.0))

    async def _connect(self) -> None:
        server = self._server
        await asyncio.sleep(server.random.uniform(0.001, 0.01))
        if server.faults.down:
            raise UnavailableError("HTTP 503 before anything was written")
        if server.random.random() < server.faults.not_sent:
            raise NotSentError("connection refused")

    async def read(self, paths: Sequence[str]) -> list[B1Answer]:
        await self._connect()
        await asyncio.sleep(self._server.random.uniform(0.005, 0.02))
        answers = [self._server.company.read(path) for path in paths]
        await asyncio.sleep(self._server.random.uniform(0.001, 0.01))
        return [B1Answer(answer.status, answer.body, answer.headers) for answer in answers]

    async def post(self, path: str, body: Mapping[str, Any]) -> B1Answer:
        await self._connect()
        (answer,) = self._server.company.apply([messages.Request("POST", path, _exact(body))])
        await asyncio.sleep(self._server.random.uniform(0.005, 0.02))
        return B1Answer(answer.status, answer.body, answer.headers)

    async def ping(self) -> bool:
        await asyncio.sleep(0.005)
        return not self._server.faults.down

    async def close(self) -> None:
        await asyncio.sleep(0.001)


def claims_of(requests: Sequence[messages.Request]) -> list[str]:
    """The Ks that a change set claims."""
    return [str((request.body or {}).get("Code")) for request in requests if request.path == CLAIM_TABLE]


def _exact(value: Any) -> Any:
    """A body as it comes off the wire: a float has become the digits that JSON wrote for it."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, Mapping):
        return {name: _exact(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(member) for member in value]
    return value


def company_clock(loop: VirtualLoop) -> Callable[[], datetime]:
    return lambda: datetime.fromtimestamp(EPOCH_S, UTC) + timedelta(seconds=loop.time())

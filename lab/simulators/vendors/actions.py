"""What every vendor can be told to do, and what the vendors' simulators have in common."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Protocol, TypeAlias

import httpx

from lab.simulators.wire import Receive, Scope, Send

App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Json: TypeAlias = dict[str, Any]
Action: TypeAlias = Mapping[str, Any]


class SimulatedVendor(Protocol):
    """One vendor with a ledger, and what people do there."""

    app: App
    counters: Counter[str]

    def order(self, action: Action) -> object: ...

    def dispatch(self, action: Action) -> object: ...

    def refund(self, action: Action) -> object: ...

    def count(self, action: Action) -> object: ...

    def fail(self, rates: Mapping[str, float]) -> None:
        """How often each kind of fault happens from now on; raises ValueError for a kind that the vendor lacks."""

    def before(self, path: str) -> None:
        """A request for its API comes in."""

    def tally(self) -> Mapping[str, int]:
        """What has been counted."""

    def ledger(self) -> Json: ...

    async def push(self, url: str, client: httpx.AsyncClient) -> None:
        """Send what waits to whom it concerns, once."""


class BaseVendor:
    """What most of them have in common: no stock of their own, nothing to push."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.counters: Counter[str] = Counter()
        self._clock = clock
        self._numbers: dict[str, Any] = {}  # of orders, to the vendor's own ids

    def count(self, _action: Action) -> object:
        raise ValueError("it counts no stock")

    def refund(self, _action: Action) -> object:
        raise ValueError("it has no refunds")

    def before(self, _path: str) -> None:
        self.counters["requests"] += 1

    def tally(self) -> Mapping[str, int]:
        return self.counters

    async def push(self, _url: str, _client: httpx.AsyncClient) -> None:
        return

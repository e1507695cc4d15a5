"""What goes wrong at the hub: by chance, or for the next requests."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random


@dataclass(frozen=True, slots=True)
class HubFault:
    """What happens to the next request.

    `http` (a status), `drop`, `html` (502), `refused` (200 and not success): nothing is done. `lost`: it is done, and
    the connection drops before the answer. `pass`: nothing goes wrong.
    """

    kind: str
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)


_BY_RATE = {
    "throttle": HubFault("http", 429, {"Retry-After": "2"}),
    "down": HubFault("http", 503),
    "html": HubFault("html"),
    "drop": HubFault("drop"),
    "lost_answer": HubFault("lost"),
    "refused": HubFault("refused"),
}


class HubFaults:
    """Lifecycle: set `rates` (0 to 1, by name) and append to `next` at any time.

    Names of rates: those of requests (throttle, down, html, drop, lost_answer, refused) and those of pushes (lost:
    never sent; twice; reorder; no_answer: taken, and the hub does not know).
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.rates: dict[str, float] = {}
        self.next: deque[HubFault] = deque()

    def chance(self, name: str) -> bool:
        rate = self.rates.get(name, 0.0)
        return rate > 0 and self.random.random() < rate

    def of_request(self) -> HubFault | None:
        """What happens to this request."""
        if self.next:
            return self.next.popleft()
        return next((fault for name, fault in _BY_RATE.items() if self.chance(name)), None)

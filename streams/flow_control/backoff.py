"""How long to wait before the next attempt."""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class FullJitter:
    """Uniform between zero and a doubling bound, so that clients which failed together do not come back together."""

    random: Random
    base_s: float
    cap_s: float

    def wait_s(self, attempt: int) -> float:
        return self.random.uniform(0, min(self.cap_s, self.base_s * 2 ** min(attempt, 20)))

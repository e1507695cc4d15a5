"""When to try again: full jitter with a cap, and waits that end when the process is told to stop."""

import asyncio
from dataclasses import dataclass
from random import Random

_MAX_DOUBLINGS = 20


@dataclass(frozen=True, slots=True)
class FullJitter:
    """Waits drawn from nothing to a doubling bound, so that those who failed together do not come back together.

    Attributes:
        random: Where draws come from.
        base_s: Bound of the wait after attempt 0.
        cap_s: The bound never exceeds it.
    """

    random: Random
    base_s: float
    cap_s: float

    def wait_s(self, attempt: int, asked_s: float | None = None) -> float:
        """How long to wait.

        Args:
            attempt: How many attempts came before the one that failed.
            asked_s: How long the other side asked us to wait (`RetriableError.retry_after_s`): never less than that.
        """
        bound_s = min(self.cap_s, self.base_s * 2.0 ** min(attempt, _MAX_DOUBLINGS))
        return max(asked_s or 0.0, self.random.uniform(0.0, bound_s))


async def wait(stop: asyncio.Event, seconds: float) -> bool:
    """Wait so long, or until told to stop; whether that is so.

    Not `wait_for`: in Python 3.11 it swallows a cancellation that comes together with the event.
    """
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return False
    return True

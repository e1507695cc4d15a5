"""Waits are drawn below a doubling bound, and end at a cap, a deadline, or when told to stop."""

import asyncio
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base.errors import FatalError, RetriableError
from connectors.base.retry import FullJitter, retried, wait


@given(st.integers(0, 10_000), st.floats(0.01, 5), st.floats(5, 600), st.none() | st.floats(0, 5000), st.integers())
def test_a_wait_is_below_its_bound_but_never_shorter_than_was_asked(attempt, base_s, cap_s, asked_s, seed):
    wait_s = FullJitter(Random(seed), base_s, cap_s).wait_s(attempt, asked_s)
    bound_s = min(cap_s, base_s * 2 ** min(attempt, 20))
    assert (asked_s or 0.0) <= wait_s <= max(bound_s, asked_s or 0.0)


def test_the_draws_fill_the_whole_bound():
    jitter = FullJitter(Random(7), 1.0, 8.0)
    draws = sorted(jitter.wait_s(10) for _ in range(1000))
    assert draws[0] < 0.1
    assert draws[-1] > 7.9


class Action:
    def __init__(self, *errors: Exception) -> None:
        self._errors, self.calls, self.slept, self.now = list(errors), 0, list[float](), 0.0

    async def __call__(self) -> str:
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return "done"

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def retried(self, attempts: int, deadline_s: float = 1000.0) -> str:
        jitter = FullJitter(Random(1), 1.0, 30.0)
        return await retried(
            self, jitter, attempts=attempts, deadline_s=deadline_s, sleep=self.sleep, monotonic=lambda: self.now
        )


async def test_it_is_tried_until_it_succeeds():
    action = Action(RetriableError("busy"), RetriableError("busy", retry_after_s=5.0))
    assert await action.retried(3) == "done"
    assert (action.calls, len(action.slept)) == (3, 2)
    assert action.slept[1] >= 5.0


async def test_the_last_error_is_raised():
    action = Action(*[RetriableError(str(number)) for number in range(9)])
    with pytest.raises(RetriableError, match=r"^2$"):
        await action.retried(3)
    assert (action.calls, len(action.slept)) == (3, 2)


async def test_no_attempt_begins_after_the_deadline():
    action = Action(*[RetriableError("busy", retry_after_s=4.0)] * 9)
    with pytest.raises(RetriableError):
        await action.retried(9, deadline_s=10.0)
    assert action.calls == 3


async def test_another_error_ends_it_at_once():
    action = Action(FatalError("key"))
    with pytest.raises(FatalError):
        await action.retried(3)
    assert action.calls == 1


@pytest.mark.parametrize("steps", range(6))
async def test_a_cancellation_that_comes_together_with_the_stop_is_not_lost(steps: int) -> None:
    stop, after = asyncio.Event(), asyncio.Event()

    async def rest() -> None:
        await wait(stop, 60)
        await after.wait()  # where one that was swallowed would stay

    resting = asyncio.create_task(rest())
    await asyncio.sleep(0)
    stop.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    resting.cancel()
    await asyncio.wait([resting], timeout=1)
    assert resting.cancelled()


async def test_a_wait_says_whether_it_was_ended() -> None:
    stop = asyncio.Event()
    assert await wait(stop, 0.001) is False
    stop.set()
    assert await wait(stop, 60) is True

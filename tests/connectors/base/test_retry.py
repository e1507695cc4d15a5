"""Waits are drawn below a doubling bound, and end at a cap, or when told to stop."""

import asyncio
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base.retry import FullJitter, wait


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

"""What drives a source, apart from what the contract suite shows with every one of them."""

import asyncio

import pytest

from connectors.runtime import wait


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

"""Slots: never more in flight than there are, nobody starves, and each is given back once."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.flow_control.slots import Slots
from tests.streams.virtual import run


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 3), st.booleans()), max_size=20),
)
@settings(max_examples=150, deadline=None)
def test_never_more_than_so_many_are_in_flight_and_nobody_starves(
    count: int, work: list[tuple[int, bool, int, bool]]
) -> None:
    async def play() -> None:
        slots, in_flight, most, ended = Slots(count), 0, 0, 0

        async def one(at: int, stock: bool, seconds: int, gives_up: bool) -> None:
            nonlocal in_flight, most, ended
            await asyncio.sleep(at)
            try:
                async with asyncio.timeout(0.5 if gives_up else None), slots.hold(low_priority=stock):
                    in_flight += 1
                    most = max(most, in_flight)
                    try:
                        await asyncio.sleep(0.1 if gives_up else seconds)
                    finally:
                        in_flight -= 1
            except TimeoutError:
                pass
            ended += 1

        await asyncio.wait_for(asyncio.gather(*(one(*each) for each in work)), 100)
        assert ended == len(work)
        assert most <= count
        async with asyncio.timeout(1), AsyncExitStack() as stack:
            for _ in range(count):
                await stack.enter_async_context(slots.hold())  # all of them are back

    run(play())


@pytest.mark.parametrize(("waited_s", "first"), [(1.0, "order"), (3.0, "stock")])
async def test_orders_go_before_stock_until_stock_has_waited_long_enough(waited_s: float, first: str) -> None:
    """R21."""
    slots, turns = Slots(1, patience_s=2.0), list[str]()

    async def one(name: str, stock: bool) -> None:
        async with slots.hold(low_priority=stock):
            turns.append(name)

    async with slots.hold():
        tasks = [asyncio.create_task(one("stock", True))]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(one(f"order {n}", False)) for n in range(3)]
        await asyncio.sleep(waited_s)
    await asyncio.gather(*tasks)
    assert turns[0].startswith(first)
    assert sorted(turns) == ["order 0", "order 1", "order 2", "stock"]
    assert [turn for turn in turns if turn != "stock"] == ["order 0", "order 1", "order 2"]


async def free(slots: Slots, count: int) -> bool:
    """Whether so many more can be held."""
    try:
        async with asyncio.timeout(1), AsyncExitStack() as stack:
            for _ in range(count):
                await stack.enter_async_context(slots.hold())
    except TimeoutError:
        return False
    return True


async def test_a_slot_is_given_back_once_however_often_it_is_released() -> None:
    slots = Slots(1)
    async with slots.hold() as slot:
        slot.release()
        slot.release()
        assert not slot.held
        assert await free(slots, 1)
        assert not await free(slots, 2)
    assert await free(slots, 1)
    assert not await free(slots, 2)


async def test_a_slot_that_is_handed_over_outlives_its_block_and_ends_with_the_new_one() -> None:
    slots = Slots(1)
    async with slots.hold() as slot:
        other = slot.hand_over()
    assert (slot.held, other.held) == (False, True)
    assert not await free(slots, 1)
    async with other:
        pass
    assert await free(slots, 1)


async def test_after_an_outage_slots_are_given_out_slowly_and_orders_before_stock() -> None:
    slots, turns, most, in_flight = Slots(8, patience_s=2.0), list[str](), list[int](), 0

    async def one(name: str, stock: bool) -> None:
        nonlocal in_flight
        async with slots.hold(low_priority=stock):
            in_flight += 1
            turns.append(name)
            most.append(in_flight)
            await asyncio.sleep(0.1)
            in_flight -= 1
        slots.succeeded()

    async with AsyncExitStack() as stack:
        for _ in range(8):
            await stack.enter_async_context(slots.hold())
        tasks = [asyncio.create_task(one("stock", True))]
        tasks += [asyncio.create_task(one("order", False)) for _ in range(14)]
        await asyncio.sleep(3600)
        slots.slow_start()
    await asyncio.gather(*tasks)
    assert turns == ["order"] * 14 + ["stock"]
    assert most[:3] == [1, 1, 2]
    assert max(most) == 8


async def test_without_an_answer_no_more_slots_are_given_than_one() -> None:
    slots, most, in_flight = Slots(4), 0, 0
    slots.slow_start()

    async def one() -> None:
        nonlocal most, in_flight
        async with slots.hold():
            in_flight += 1
            most = max(most, in_flight)
            await asyncio.sleep(1)
            in_flight -= 1

    await asyncio.gather(*(one() for _ in range(6)))
    assert most == 1

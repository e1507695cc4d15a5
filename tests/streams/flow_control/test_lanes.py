"""Lanes and slots: nobody meets a lock of our own, nobody waits for ever, nobody overtakes."""

import asyncio
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.flow_control.lanes import Lanes, Slots
from tests.streams.virtual import run

#: Who comes when, wants which lanes, for how long; some give up while they wait.
WORK = st.lists(
    st.tuples(
        st.integers(0, 5), st.sets(st.sampled_from("abcde"), max_size=4), st.integers(0, 4), st.none() | st.integers(0, 3)
    ),
    max_size=25,
)  # fmt: skip


@given(WORK)
@settings(max_examples=200, deadline=None)
def test_no_two_hold_one_lane_nobody_overtakes_in_one_and_everybody_comes_through(
    work: list[tuple[int, set[str], int, int | None]],
) -> None:
    async def play() -> None:
        lanes = Lanes()
        holding: dict[str, int] = {}
        came: defaultdict[str, list[int]] = defaultdict(list)
        served: defaultdict[str, list[int]] = defaultdict(list)
        gave_up: set[int] = set()

        async def one(number: int, names: set[str], seconds: int) -> None:
            for name in names:
                came[name].append(number)
            try:
                async with lanes.hold(names):
                    for name in names:
                        assert name not in holding
                        holding[name] = number
                        served[name].append(number)
                    try:
                        await asyncio.sleep(seconds)
                    finally:
                        for name in names:
                            del holding[name]
            except asyncio.CancelledError:
                gave_up.add(number)

        async def comes(number: int, at: int, names: set[str], seconds: int, patience: int | None) -> None:
            await asyncio.sleep(at)
            task = asyncio.create_task(one(number, names, seconds))
            if patience is not None:
                await asyncio.sleep(patience)
                task.cancel()
            await task

        everything = [comes(n, *each) for n, each in enumerate(work)]
        await asyncio.wait_for(asyncio.gather(*everything), 10 + sum(seconds for _, _, seconds, _ in work) + 5)
        for name, numbers in served.items():
            in_order = [number for number in came[name] if number in numbers]
            assert numbers == in_order
        for number, (_, names, _, _) in enumerate(work):
            assert number in gave_up or all(number in served[name] for name in names)
        assert (lanes.active, lanes.blocked) == (0, 0)

    run(play())


async def test_lanes_are_counted_and_their_freedom_is_told() -> None:
    lanes, told = Lanes(), []
    lanes.on_free = lambda: told.append(lanes.active)
    async with lanes.hold(["a", "b"]):
        waiting = asyncio.create_task(_hold(lanes, ["b"]))
        await asyncio.sleep(0)
        assert (lanes.active, lanes.blocked, lanes.is_free("a"), lanes.is_free("c")) == (2, 1, False, True)
    await waiting
    assert lanes.is_free("b")
    assert told[-1] == 0


async def _hold(lanes: Lanes, names: list[str]) -> None:
    async with lanes.hold(names):
        pass


async def test_opposite_wishes_do_not_wait_for_each_other() -> None:
    lanes = Lanes()
    await asyncio.wait_for(asyncio.gather(*(_hold(lanes, ["a", "b"][::sign]) for sign in (1, -1) * 20)), 1)


# ---- slots


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 3), st.booleans()), max_size=20),
)
@settings(max_examples=150, deadline=None)
def test_never_more_than_so_many_are_in_flight_and_nobody_starves(
    count: int, work: list[tuple[int, bool, int, bool]]
) -> None:
    async def play() -> None:
        slots, flying, most, ended = Slots(count), 0, 0, 0

        async def one(at: int, stock: bool, seconds: int, gives_up: bool) -> None:
            nonlocal flying, most, ended
            await asyncio.sleep(at)
            try:
                async with asyncio.timeout(0.5 if gives_up else None), slots.hold(stock=stock):
                    flying += 1
                    most = max(most, flying)
                    try:
                        await asyncio.sleep(0.1 if gives_up else seconds)
                    finally:
                        flying -= 1
            except TimeoutError:
                pass
            ended += 1

        await asyncio.wait_for(asyncio.gather(*(one(*each) for each in work)), 100)
        assert ended == len(work)
        assert most <= count
        for _ in range(count):
            await asyncio.wait_for(slots.acquire(), 1)  # all of them are back

    run(play())


@pytest.mark.parametrize(("waited_s", "first"), [(1.0, "order"), (3.0, "stock")])
async def test_orders_go_before_stock_until_stock_has_waited_long_enough(waited_s: float, first: str) -> None:
    """R21."""
    slots, turns = Slots(1, patience_s=2.0), list[str]()

    async def one(name: str, stock: bool) -> None:
        async with slots.hold(stock=stock):
            turns.append(name)

    await slots.acquire()
    tasks = [asyncio.create_task(one("stock", True))]
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(one(f"order {n}", False)) for n in range(3)]
    await asyncio.sleep(waited_s)
    slots.release()
    await asyncio.gather(*tasks)
    assert turns[0].startswith(first)
    assert sorted(turns) == ["order 0", "order 1", "order 2", "stock"]
    assert [turn for turn in turns if turn != "stock"] == ["order 0", "order 1", "order 2"]

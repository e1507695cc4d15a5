"""Lanes: nobody meets a lock of our own, nobody waits for ever, nobody overtakes."""

import asyncio
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.flow_control.lanes import Lanes
from tests.streams.virtual import run

#: Who comes when, wants which lanes, for how long; some give up while they wait.
WORK = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.sets(st.sampled_from("abcde"), max_size=4),
        st.integers(0, 4),
        st.none() | st.integers(0, 3),
    ),
    max_size=25,
)


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


async def test_lanes_are_counted_and_a_free_one_is_announced() -> None:
    lanes, freed = Lanes(), []
    lanes.on_free = lambda: freed.append(lanes.active)
    async with lanes.hold(["a", "b"]):
        waiting = asyncio.create_task(_hold(lanes, ["b"]))
        await asyncio.sleep(0)
        assert (lanes.active, lanes.blocked, lanes.is_free("a"), lanes.is_free("c")) == (2, 1, False, True)
    await waiting
    assert lanes.is_free("b")
    assert freed[-1] == 0


async def _hold(lanes: Lanes, names: list[str]) -> None:
    async with lanes.hold(names):
        pass


async def test_opposite_wishes_do_not_wait_for_each_other() -> None:
    lanes = Lanes()
    await asyncio.wait_for(asyncio.gather(*(_hold(lanes, ["a", "b"][::sign]) for sign in (1, -1) * 20)), 1)

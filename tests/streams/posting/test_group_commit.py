"""What goes into the next document.

Everything waits once, is picked once, and never with what it must not be mixed with.
"""

import asyncio
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.sap_b1.documents.stock import ResolvedBatch, merge
from schemas.events import BatchQuantity
from streams.posting import group_commit
from streams.posting.group_commit import ALONE, Pool, Waiting
from tests.streams.virtual import run


def resolved(
    item: str = "A",
    direction: str = "entry",
    day: int = 1,
    account: str | None = None,
    reason: str = "found",
    lot: str | None = None,
) -> ResolvedBatch:
    return ResolvedBatch(
        item_code=item,
        warehouse="LON1",
        to_warehouse="RET1" if direction == "transfer" else None,
        direction=direction,
        posting_date=date(2026, 11, day),
        account=account,
        branch=None,
        reason=reason,
        quantity=Decimal(1),
        batches=(BatchQuantity(number=lot, quantity=Decimal(1)),) if lot else (),
    )


def waiting(k: str, batch: ResolvedBatch, limit: int = 50) -> Waiting:
    return Waiting(k, batch, limit, asyncio.get_running_loop().create_future())


BATCHES = st.builds(
    resolved,
    st.sampled_from("ABCDEFGH"),
    st.sampled_from(["entry", "exit", "transfer"]),
    st.sampled_from([1, 2]),
    st.sampled_from([None, "4900"]),
    st.sampled_from(["found", "count"]),
    st.sampled_from([None, None, "L1"]),
)
STEPS = st.lists(
    st.tuples(st.just("add"), BATCHES, st.sampled_from([50, 50, 50, 4, 2, 1, ALONE]))
    | st.tuples(st.just("pick"), st.frozensets(st.sampled_from("ABCDEFGH"), max_size=5), st.just(0))
    | st.tuples(st.sampled_from(["locked", "well"]), st.none(), st.just(0)),
    max_size=60,
)


@given(STEPS, st.integers(1, 8))
@settings(max_examples=300, deadline=None)
def test_everything_is_picked_exactly_once_and_every_document_keeps_its_limits(
    steps: list[tuple[str, Any, int]], max_lines: int
) -> None:
    async def play() -> None:
        pool, added, picked = Pool(max_lines), list[str](), list[str]()

        def check(group: list[Waiting], busy: frozenset[str]) -> None:
            lines = merge(one.batch for one in group)  # raises where groups are mixed
            assert len({one.batch.group for one in group}) == 1
            assert len(lines) <= min(pool.max_lines, *(max(1, one.limit) for one in group))
            assert not {one.batch.item_code for one in group} & busy
            if any(one.limit == ALONE for one in group):
                assert len(group) == 1
            picked.extend(one.k for one in group)

        for number, (step, what, limit) in enumerate(steps):
            match step:
                case "add":
                    added.append(str(number))
                    pool.add(waiting(str(number), what, limit))
                case "pick":
                    if group := pool.pick(lambda item, busy=what: item not in busy):  # type: ignore[misc]
                        check(group, what)
                case "locked":
                    pool.met_lock()
                case "well":
                    pool.went_well()
            assert 1 <= pool.max_lines <= max_lines
            assert len(pool) == len(added) - len(picked)
        while group := pool.pick(lambda _: True):
            check(group, frozenset())
        assert sorted(picked) == sorted(added)
        assert len(pool) == 0

    run(play())


async def test_batches_of_one_line_go_together_however_many_they_are() -> None:
    pool = Pool(2)
    for n in range(30):
        pool.add(waiting(str(n), resolved("ABC"[n % 3])))
    assert [one.k for one in pool.pick(lambda _: True)] == [str(n) for n in range(30) if n % 3 == 0] + [
        str(n) for n in range(30) if n % 3 == 1
    ]
    assert len(pool.pick(lambda _: True)) == 10


async def test_a_busy_item_stops_its_own_lines_only() -> None:
    pool = Pool(50)
    for n, item in enumerate("ABCA"):
        pool.add(waiting(str(n), resolved(item)))
    assert [one.k for one in pool.pick(lambda item: item != "A")] == ["1", "2"]
    assert pool.pick(lambda item: item != "A") == []
    assert [one.k for one in pool.pick(lambda _: True)] == ["0", "3"]


async def test_groups_take_turns_so_that_none_starves() -> None:
    pool = Pool(1)
    for n in range(6):
        pool.add(waiting(f"in {n}", resolved("ABCDEF"[n])))
        pool.add(waiting(f"out {n}", resolved("ABCDEF"[n], "exit")))
    turns = [pool.pick(lambda _: True)[0].k.split()[0] for _ in range(6)]
    assert turns == ["in", "out"] * 3


async def test_a_lock_halves_the_lines_and_success_adds_them_back_one_by_one() -> None:
    pool = Pool(50)
    pool.met_lock()
    assert pool.max_lines == 25
    for _ in range(10):
        pool.met_lock()
    assert pool.max_lines == 1
    for _ in range(60):
        pool.went_well()
    assert pool.max_lines == 50


async def test_one_record_never_holds_more_batches_than_the_broker_takes(monkeypatch: Any) -> None:
    monkeypatch.setattr(group_commit, "MAX_BATCHES", 4)
    pool = Pool(50)
    for n in range(10):
        pool.add(waiting(str(n), resolved("AB"[n % 2])))
    sizes = []
    while group := pool.pick(lambda _: True):
        sizes.append(len(group))
    assert sum(sizes) == 10
    assert max(sizes) <= 4


@given(st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 9_000)), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_serial_numbers_have_a_budget_in_bytes_and_one_batch_always_goes(batches: list[tuple[str, int]]) -> None:
    async def play() -> None:
        pool = Pool(50)
        for n, (item, serials) in enumerate(batches):
            numbers = tuple(f"{n:05d}{each:05d}" for each in range(serials))
            pool.add(waiting(str(n), replace(resolved(item), serials=numbers)))
        picked = list[str]()
        while group := pool.pick(lambda _: True):
            picked += [one.k for one in group]
            size = sum(one.numbers_bytes for one in group)
            assert size <= group_commit.MAX_NUMBERS_BYTES or len(group) == 1
        assert sorted(picked, key=int) == [str(n) for n in range(len(batches))]
        assert not len(pool)

    run(play())

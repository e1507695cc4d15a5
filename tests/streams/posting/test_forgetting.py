"""Closed dead letters are let go of after their time, and whoever counts comes to the same figures."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base.errors import LogUnavailableError
from schemas.records import DeadLetterState
from schemas.topics import BY_NAME
from streams.dead_letters.closed import KEPT_S, counts_of, until_key
from streams.faust_host.watermarks import encode_counts
from streams.kafka.log import Committed
from streams.posting import forgetting
from streams.posting.poster import Poster
from streams.query.status import FlowStatus, count
from tests import builders
from tests.streams.posting.under_test import PosterUnderTest, dispatch, order

HOUR_S = 3600.0
_TRAFFIC = {("order-placed", 0): 100, ("dispatch-confirmed", 0): 100, ("stock-adjusted", 0): 100}


class Counting(PosterUnderTest):
    """Attributes: `committed` is what the commits of the queue say beside its watermark."""

    def __init__(self) -> None:
        super().__init__()
        self.committed = Counter[tuple[str, str]]()
        self.takes_commits = True

    async def open(self, *_args: Any, **options: Any) -> Poster:
        async def add(counts: Any) -> bool:
            if self.takes_commits:
                self.committed.update(counts)
            return self.takes_commits

        return await super().open(dict(self.committed), count=add, **options)

    def figures(self) -> dict[str, FlowStatus]:
        return figures(self.committed, self.states().values())


def figures(committed: Any, states: Iterable[DeadLetterState]) -> dict[str, FlowStatus]:
    return count(_TRAFFIC, [Committed(0, encode_counts(committed))], states, {})


@pytest.fixture
async def desk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Counting]:
    """A dispatch that waited for its order and was posted, and an order that is still parked; kept for two hours."""
    monkeypatch.setattr(forgetting, "KEPT_S", int(2 * HOUR_S))
    desk = Counting()
    await desk.open()
    await desk.ended(await desk.take(dispatch("D1", "1"), order("2", "NEW")))
    await desk.ended(await desk.take(order("1")))
    await asyncio.sleep(60)
    assert sorted(state.state for state in desk.states().values()) == ["parked", "posted"]
    yield desk
    await desk.close()


def test_it_is_kept_for_as_long_as_its_record_may_come_again() -> None:
    """A segment is deleted as a whole, and is a week long."""
    assert ((BY_NAME["erp-orders"].retention_days or 0) + 7) * 86_400 <= KEPT_S  # type: ignore[operator]
    assert ((BY_NAME["order-placed"].retention_days or 0) + 7) * 86_400 <= KEPT_S  # type: ignore[operator]


async def test_after_its_time_a_closed_dead_letter_is_a_count_and_a_tombstone(desk: Counting) -> None:
    before = desk.figures()
    await asyncio.sleep(HOUR_S)
    assert len(desk.states()) == 2
    await asyncio.sleep(3 * HOUR_S)
    assert [state.state for state in desk.states().values()] == ["parked"]
    assert desk.committed["dispatch_confirmed", "posted"] == 1
    assert desk.figures() == before
    poster = desk.poster
    assert poster is not None
    assert len(poster._dead_letters.index._known) == 1
    assert poster._dead_letters.index.closed() == []


async def test_what_comes_again_after_that_makes_no_second_document(desk: Counting) -> None:
    await asyncio.sleep(4 * HOUR_S)
    await desk.close()
    desk.places["dispatch_confirmed"] = 1
    await desk.open()
    again = await desk.take(dispatch("D1", "1"), again=True)
    await desk.ended(again)
    assert len(desk.b1.documents("DeliveryNotes")) == 1


async def test_a_crash_between_count_and_tombstone_counts_nothing_twice(desk: Counting) -> None:
    before, send = desk.figures(), desk.log.send_many

    async def failing(records: Any) -> Any:
        if any(one.topic == "dead-letter-state" and one.value is None and b"/" not in one.key for one in records):
            raise LogUnavailableError("away")
        return await send(records)

    desk.log.send_many = failing  # type: ignore[method-assign]
    await asyncio.sleep(4 * HOUR_S)
    assert len(desk.states()) == 2
    assert desk.committed["dispatch_confirmed", "posted"] == 1
    assert desk.figures() == before
    await desk.close()
    desk.log.send_many = send  # type: ignore[method-assign]
    await desk.open()
    await asyncio.sleep(2 * HOUR_S)
    assert len(desk.states()) == 1
    assert desk.committed["dispatch_confirmed", "posted"] == 1
    assert desk.figures() == before


async def test_without_a_commit_nothing_is_forgotten(desk: Counting) -> None:
    """The group has moved on: our successor counts."""
    before = desk.figures()
    desk.takes_commits = False
    await asyncio.sleep(4 * HOUR_S)
    assert len(desk.states()) == 2
    assert desk.figures() == before


async def test_who_has_been_replaced_forgets_nothing(desk: Counting) -> None:
    replaced = desk.poster
    await desk.open()
    committed = Counter(desk.committed)
    assert replaced is not None
    replaced._dead_letters.index._known = {
        id_: replace(one, at=one.at - timedelta(days=100)) for id_, one in replaced._dead_letters.index._known.items()
    }
    await asyncio.sleep(1.5 * HOUR_S)
    assert desk.committed == committed
    assert len(desk.states()) == 2
    await replaced.close()


_KINDS = {
    "order_placed": {"event_type": "order_placed", "partition": 0},
    "dispatch_confirmed": {"event_type": "dispatch_confirmed", "partition": 0},
    "stock_batch": {"event_type": "stock_batch", "partition": 0, "members": ("a", "b", "c")},
    "of a connector": {"event_type": "order_placed", "partition": -1},
    "inbox": {"event_type": "inbox", "partition": 0},
}
_LETTERS = st.lists(
    st.tuples(
        st.sampled_from(sorted(_KINDS)),
        st.sampled_from(["dead", "parked", "held", "posted", "no_op", "replayed", "discarded"]),
        st.integers(0, 100),
        st.integers(0, 2),
    ),
    max_size=12,
)


@given(_LETTERS, st.lists(st.integers(0, 100), max_size=3), st.data())
def test_the_figures_stay_the_same_whatever_is_counted_and_whichever_tombstone_is_there(
    drawn: list[tuple[str, str, int, int]], untils: list[int], data: st.DataObject
) -> None:
    letters = [
        builders.dead_letter(
            n, state=state, at=datetime.fromtimestamp(at_s, UTC), republished=republished, **_KINDS[kind]
        )
        for n, (kind, state, at_s, republished) in enumerate(drawn)
    ]
    before = figures({}, letters)
    committed, counted_s = Counter[tuple[str, str]](), 0
    for until_s in sorted(untils):
        closed = [one for one in letters if one.state not in ("dead", "parked", "held")]
        fresh = [one for one in closed if counted_s < one.at.timestamp() <= until_s]
        committed.update(counts_of(fresh))
        committed[until_key("acme")] = counted_s = until_s
    gone = [
        one for one in letters if one.state not in ("dead", "parked", "held") and 0 < one.at.timestamp() <= counted_s
    ]
    tombstones = data.draw(st.sets(st.sampled_from([one.id for one in gone]))) if gone else set()
    assert figures(committed, [one for one in letters if one.id not in tombstones]) == before

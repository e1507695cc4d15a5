"""A wait ages only while B1 could be asked and the queue was read, and is tried once more before it is given up."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from connectors.base.errors import LogUnavailableError
from schemas.events import FactEvent
from schemas.records import DeadLetterState
from streams.posting.poster import Poster
from tests.streams.posting.under_test import CODEC, CONFIG, PosterUnderTest, dispatch, order
from tests.streams.virtual import NOW

#: A day of 24 hours, twelve times as fast: the poster looks once a second.
MAX_AGE_S, HOUR_S = 7200.0, 300.0


class Aging(PosterUnderTest):
    async def open(self, *args: Any, **options: Any) -> Poster:
        poster = await super().open(*args, **options)
        poster._dead_letters._park_max_age_s = MAX_AGE_S
        return poster


@pytest.fixture
async def desk() -> AsyncIterator[PosterUnderTest]:
    """A dispatch is parked for its order, another order for its item."""
    desk = Aging()
    desk.log.now_ms = int(NOW.timestamp() * 1000)
    await desk.open()
    await published(desk, order("2", "NEW"))
    await desk.ended(await desk.take(dispatch("D1", "1"), order("2", "NEW")))
    desk.log.commit(CONFIG.group, "order-placed", 0, 1)
    yield desk
    await desk.close()


def state_of(desk: PosterUnderTest, order_id: str) -> DeadLetterState:
    return next(state for state in desk.states().values() if state.order_id == order_id)


async def published(desk: PosterUnderTest, event: FactEvent) -> int:
    """It lies in its topic; no router has passed it."""
    return (await desk.log.send("order-placed", 0, b"1", CODEC.encode(event))).offset


async def test_what_waits_too_long_dies(desk: PosterUnderTest) -> None:
    await asyncio.sleep(MAX_AGE_S - HOUR_S)
    assert {state.state for state in desk.states().values()} == {"parked"}
    await asyncio.sleep(HOUR_S + 660)
    assert {(state.state, state.reason) for state in desk.states().values()} == {
        ("dead", "order_not_found"),
        ("dead", "unknown_item"),
    }
    assert all(MAX_AGE_S < state.waited_s < MAX_AGE_S + 660 for state in desk.states().values())


async def test_a_workers_downtime_is_no_age(desk: PosterUnderTest) -> None:
    """A weekend without a worker; the order has come meanwhile, and is read seconds after the start."""
    await asyncio.sleep(HOUR_S)
    await desk.close()
    await asyncio.sleep(3 * MAX_AGE_S)
    await desk.open()
    await asyncio.sleep(4)
    await desk.ended(await desk.take(order("1")))
    await asyncio.sleep(HOUR_S)
    assert state_of(desk, "1").state == "posted"
    assert (len(desk.b1.documents("Orders")), len(desk.b1.documents("DeliveryNotes"))) == (1, 1)
    assert state_of(desk, "2").state == "parked"


async def test_the_age_goes_on_after_a_restart(desk: PosterUnderTest) -> None:
    """It is written as it grows, in steps of a share of what it may become."""
    started = 0
    while state_of(desk, "1").state == "parked":
        await asyncio.sleep(2 * HOUR_S)
        await desk.close()
        await asyncio.sleep(10 * HOUR_S)
        await desk.open()
        started += 1
        assert started < 40
    assert 12 <= started <= 26
    writes = [one for one in desk.log._records["dead-letter-state", 0] if one.key == state_of(desk, "1").id.encode()]
    assert len(writes) <= 26


async def test_while_b1_is_away_or_the_broker_cannot_be_read_nothing_ages(
    desk: PosterUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.b1.away = True
    await asyncio.sleep(2 * MAX_AGE_S)
    desk.b1.away = False
    await asyncio.sleep(HOUR_S)
    read = desk.log.read

    def failing(topic: str, *place: Any) -> Any:
        if topic == "dead-letter-state":
            raise LogUnavailableError("away")
        return read(topic, *place)

    monkeypatch.setattr(desk.log, "read", failing)
    await desk.log.send("dead-letter-state", 0, b"another's", None)  # there is something to read
    await asyncio.sleep(2 * MAX_AGE_S)
    monkeypatch.setattr(desk.log, "read", read)
    await asyncio.sleep(HOUR_S)
    assert {state.state for state in desk.states().values()} == {"parked"}


@pytest.mark.parametrize("anothers", [False, True], ids=["ours", "the last is another company's"])
async def test_an_old_wait_is_not_given_up_before_what_lies_in_its_inputs_is_admitted(
    desk: PosterUnderTest, anothers: bool
) -> None:
    """Its order was published while it waited; the router is behind, and passes it after the wait is too old."""
    await asyncio.sleep(MAX_AGE_S - HOUR_S)
    event = order("1")
    at = await published(desk, event)
    if anothers:
        await published(desk, order("9", company="other"))
    await asyncio.sleep(5 * HOUR_S)
    assert state_of(desk, "1").state == "parked"
    batch = await desk.take(event)
    desk.log.commit(CONFIG.group, "order-placed", 0, at + 1 + anothers)
    await desk.ended(batch)
    await asyncio.sleep(HOUR_S)
    assert state_of(desk, "1").state == "posted"
    assert len(desk.b1.documents("DeliveryNotes")) == 1


async def test_a_person_who_replays_what_has_waited_too_long_begins_a_new_wait(desk: PosterUnderTest) -> None:
    await asyncio.sleep(MAX_AGE_S + HOUR_S * 3)
    dead = state_of(desk, "2")
    assert (dead.state, dead.waited_s > MAX_AGE_S) == ("dead", True)
    poster = desk.poster
    assert poster is not None
    entry = poster._dead_letters.index.get(dead.id)
    assert entry is not None
    assert not poster._dead_letters.has_expired(dead.id)
    await poster._dead_letters.change(replace(dead, state="parked"))
    assert state_of(desk, "2").waited_s == 0
    await asyncio.sleep(MAX_AGE_S - HOUR_S)
    assert state_of(desk, "2").state == "parked"


async def test_when_they_are_admitted_and_hold_no_order_it_is_given_up(desk: PosterUnderTest) -> None:
    await asyncio.sleep(MAX_AGE_S - HOUR_S)
    await published(desk, order("9"))
    await asyncio.sleep(5 * HOUR_S)
    assert state_of(desk, "1").state == "parked"
    await desk.ended(await desk.take(order("9")))
    await asyncio.sleep(120)
    assert (state_of(desk, "1").state, state_of(desk, "1").reason) == ("dead", "order_not_found")

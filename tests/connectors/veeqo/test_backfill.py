"""A span of an account: newest first, page by page, whatever arrives or leaves meanwhile."""

from datetime import timedelta

import pytest

from connectors.base.source import TimeRange
from connectors.veeqo.backfill import VeeqoBackfill
from lab.simulators.veeqo.state import Line
from tests.connectors.reading import names, read_all
from tests.connectors.veeqo.conftest import MAIN, START, QuotingWire, settings

DAY = TimeRange(START - timedelta(hours=1), START + timedelta(days=1))


@pytest.fixture
async def make_span(stand):
    def make(span=DAY, live=None, **changes):
        made = VeeqoBackfill("vq", settings(**changes), stand.clock, span, live, transport=QuotingWire(stand.server))
        stand.opened.append(made)
        return made

    return make


def order(stand, number):
    stand.clock.pass_s(1)
    return stand.account.place_order(Line("TEA", 1, "10.00"), id=number, number=f"P-{number}")


async def test_pages_come_newest_first_and_remember_no_orders(stand, make_span):
    for number in range(1, 8):
        order(stand, number)
    stand.account.dispatch(2, MAIN, {"TEA": 1})
    batches = await read_all(make_span(page_size=2))
    assert {name for name in names(batches) if name[0] == "OrderPlaced"} == {
        ("OrderPlaced", str(n)) for n in range(1, 8)
    }
    assert sum(name == "DispatchConfirmed" for name, _ in names(batches)) == 1
    assert sum(batch.records for batch in batches) == 7
    assert max(len(batch.cursor) for batch in batches) < 600
    reached = [batch.reached for batch in batches if batch.reached is not None]
    assert reached == sorted(reached, reverse=True)
    assert batches[-1].part == 1.0


async def test_orders_that_arrive_or_leave_meanwhile_hide_none(stand, make_span):
    for number in range(1, 10):
        order(stand, number)
    left = [9, 8]

    def between():
        order(stand, 100 + len(stand.account.orders))
        if left:
            stand.account.delete_order(left.pop())

    found = {event_id for _, event_id in names(await read_all(make_span(page_size=2), between))}
    assert {str(number) for number in range(1, 8)} <= found


async def test_only_what_happened_in_the_span_comes(stand, make_span):
    order(stand, 1)
    stand.clock.pass_s(86_400)
    order(stand, 2)
    stand.account.dispatch(1, MAIN, {"TEA": 1})
    span = TimeRange(stand.clock.at - timedelta(hours=1), stand.clock.at + timedelta(hours=1))
    stand.clock.pass_s(86_400)
    order(stand, 3)
    stand.account.dispatch(2, MAIN, {"TEA": 1})
    found = names(await read_all(make_span(span)))
    assert [name for name, _ in found] == ["OrderPlaced", "DispatchConfirmed"]
    assert ("OrderPlaced", "2") in found


async def test_what_the_live_source_remembers_is_past_and_its_counts_are_its_own(stand, make_span):
    order(stand, 1)
    stand.account.dispatch(1, MAIN, {"TEA": 1})
    await stand.look(stand.source())
    order(stand, 2)
    batches = await read_all(make_span(live=stand.cursor))
    assert names(batches) == [("OrderPlaced", "2")]
    assert sum(batch.already_past for batch in batches) == 2
    assert not any(batch.levels for batch in batches)


async def test_an_account_of_which_only_stock_is_read_has_no_past(stand, make_span):
    order(stand, 1)
    (batch,) = await read_all(make_span(reads=("stock",)))
    assert (batch.items, batch.idle) == ((), True)

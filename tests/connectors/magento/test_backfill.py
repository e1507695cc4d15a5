"""A span of a shop: each list once, by id; what was placed before and cancelled since.

What changes while it is read.
"""

from datetime import timedelta

import pytest

from connectors.base.errors import FatalError, RetriableError
from connectors.base.source import TimeRange
from connectors.magento.backfill import MagentoBackfill
from tests.connectors.magento.conftest import NOW, settings_of
from tests.connectors.reading import names, read_all
from tests.connectors.wire import Wire

DAY = TimeRange(NOW - timedelta(hours=1), NOW + timedelta(days=1))


@pytest.fixture
async def make_backfill(stall):
    def make(span=DAY, live=None, **fields):
        made = MagentoBackfill("shop", settings_of(**fields), stall.clock, span, live, transport=Wire(stall.app))
        stall.sources.append(made)
        return made

    return make


async def test_lists_come_in_turn_page_by_page_and_say_how_far_they_are(stall, cart_item, make_backfill):
    for _ in range(5):
        number = stall.shop.place(cart_item(), state="processing")
        stall.shop.invoice(number)
        stall.shop.ship(number)
    batches = await read_all(make_backfill(page_size=2))
    assert [name for name, _ in names(batches)] == ["OrderPlaced"] * 5 + ["DispatchConfirmed"] * 5
    assert [batch.records for batch in batches] == [2, 2, 1, 2, 2, 1, 0, 0]
    parts = [batch.part for batch in batches]
    assert parts == sorted(parts)
    assert parts[-1] == 1.0


async def test_rows_that_change_while_it_is_read_are_neither_missed_nor_twice(stall, cart_item, make_backfill):
    numbers = [stall.shop.place(cart_item(), state="processing") for _ in range(7)]

    def between():
        stall.clock.passes(seconds=1)
        stall.shop.touch("orders", numbers[0])
        stall.shop.touch("orders", numbers[-1])

    batches = await read_all(make_backfill(page_size=2), between)
    assert [event_id for _, event_id in names(batches)] == [str(number) for number in numbers]


async def test_what_was_made_outside_of_the_time_range_stays_outside(stall, cart_item, make_backfill):
    before = stall.shop.place(cart_item(), state="processing")
    stall.clock.passes(days=1)
    within = stall.shop.place(cart_item(), state="processing")
    stall.shop.invoice(before)
    stall.shop.ship(before)
    span = TimeRange(stall.clock.at - timedelta(hours=1), stall.clock.at + timedelta(hours=1))
    stall.clock.passes(days=1)
    stall.shop.place(cart_item(), state="processing")
    stall.shop.invoice(within)
    stall.shop.ship(within)
    assert names(await read_all(make_backfill(span))) == [("OrderPlaced", str(within)), ("DispatchConfirmed", "1")]


async def test_an_older_order_that_the_live_source_emitted_is_cancelled_and_one_it_never_emitted_is_not(
    stall, cart_item, make_backfill
):
    said = stall.shop.place(cart_item(), state="processing")
    source = stall.source()
    await stall.events(source)
    never = stall.shop.place(cart_item(), state="processing")
    stall.clock.passes(days=1)
    span = TimeRange(stall.clock.at - timedelta(hours=1), stall.clock.at + timedelta(hours=1))
    stall.shop.cancel(said)
    stall.shop.cancel(never)
    assert names(await read_all(make_backfill(span, stall.cursor))) == [("OrderCancelled", f"{said}-cancel")]
    assert names(await read_all(make_backfill(span))) == []


async def test_orders_and_shipments_that_the_live_source_emitted_are_past(stall, cart_item, make_backfill):
    number = stall.shop.place(cart_item(), state="processing")
    stall.shop.invoice(number)
    stall.shop.ship(number)
    await stall.events()
    late = stall.shop.place(cart_item(), state="processing")
    batches = await read_all(make_backfill(live=stall.cursor))
    assert names(batches) == [("OrderPlaced", str(late))]
    assert sum(batch.already_past for batch in batches) == 2


async def test_a_shop_that_does_not_keep_the_order_of_ids_is_not_believed(stall, cart_item, make_backfill, monkeypatch):
    for _ in range(4):
        stall.shop.place(cart_item(), state="processing")
    source = make_backfill(page_size=2)
    first = await source.read(None)
    search = source._reader.client.search

    async def wrong(path, groups, sort, size):
        return await search(path, groups[:2], sort, size)

    monkeypatch.setattr(source._reader.client, "search", wrong)
    with pytest.raises(RetriableError, match="order of entity_id"):
        await source.read(first.cursor)


@pytest.mark.parametrize("cursor", ["{}", "x", '["orders", "many"]'])
async def test_a_cursor_of_another_is_refused(make_backfill, cursor):
    with pytest.raises(FatalError, match="backfill"):
        await make_backfill().read(cursor)

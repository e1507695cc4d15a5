"""A span by bulk operations: what the live source says, wherever it is cut, whatever becomes of the operations."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from connectors.base.errors import FatalError, RetriableError
from connectors.base.source import RefusedRecord, TimeRange
from connectors.shopify import backfill as module
from connectors.shopify import client
from connectors.shopify.backfill import ShopifyBackfill, ShopifyBackfillCursor
from schemas.events import OrderPlaced, identity
from tests.connectors.wire import Wire

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ALL = TimeRange(START - timedelta(days=1), START + timedelta(days=1))
LINE = {"sku": "A", "quantity": 3, "price": "12.00"}


@pytest.fixture
async def make_span(play):
    opened = []

    def make(span=ALL, live=None, **changes):
        settings = play.settings.model_copy(update=changes)
        opened.append(
            ShopifyBackfill("shop", settings, play.time, span, live, transport=Wire(play.shop), sleep=play.time.sleep)
        )
        return opened[-1]

    yield make
    for each in opened:
        await each.close()


async def batches_of(source, cursor=None):
    found = []
    for _ in range(500):
        batch = await source.read(cursor)
        found.append(batch)
        cursor = batch.cursor
        if batch.idle:
            return found
    raise AssertionError("it never ends")


async def items_of(source, cursor=None):
    return [item for batch in await batches_of(source, cursor) for item in batch.items]


def said(items):
    """What was said under each identity; when it was observed does not matter."""
    found = {}
    for item in items:
        if isinstance(item, RefusedRecord):
            # The bytes are the order as it was then.
            found[item.event_type, item.digest] = (item.error, json.loads(item.value)["lineItems"][0]["id"])
        else:
            found[type(item).__name__, *identity(item)] = replace(item, observed_at=START, digest=item.digest)
    return found


async def story(play, step):
    """Orders and all that may happen to them, a minute apart; `step` is called after each."""
    shop = play.shop
    one = shop.place_order(LINE, {"sku": "B", "quantity": 1, "price": "3.10", "discount": "0.50"})
    await step()
    two = shop.place_order(LINE, taxes_included=False)
    bad = shop.place_order(LINE)
    shop.orders[bad]["lineItems"][0]["quantity"] = "many"
    await step()
    shop.fulfil(one, "31", {0: 2, 1: 1}, company="DPD", tracking="155")
    await step()
    shop.add_line(two, {"sku": "C", "quantity": 2, "price": "4.00"})
    await step()
    shop.refund(one, [(0, 1, "RETURN", "31")], shipping="1.00")
    await step()
    shop.remove(two, 0, 1)
    three = shop.place_order({**LINE, "sku": None})
    await step()
    shop.cancel(three)
    shop.fulfil(two, None, {0: 1})
    await step()
    for _ in range(4):
        shop.place_order(LINE, tags=["b1-streams"] if _ == 2 else [])
    await step()


async def test_it_says_what_the_live_source_says(play, make_span):
    await story(play, play.look)
    items = await items_of(make_span())
    assert said(items) == said(play.items)
    assert len(items) == len(said(items))


async def test_units_that_counts_take_off_are_given_back_as_the_live_source_does(make_play):
    play = make_play(stock_locations=["31"])
    play.shop.set_level("A", "31", 50)
    await play.look()
    await story(play, play.look)
    wire = Wire(play.shop)
    span = ShopifyBackfill("shop", play.settings, play.time, ALL, play.cursor, transport=wire, sleep=play.time.sleep)
    items = await items_of(span)
    await span.close()
    adjustments = {name for name in said(items) if name[0] == "StockAdjusted"}
    assert adjustments == {name for name in said(play.items) if "-dispatched" in name[1]}
    assert adjustments


async def test_spans_that_meet_say_everything_once(play, make_span):
    async def step():
        play.time.at += timedelta(minutes=1)

    await story(play, step)
    whole = await items_of(make_span())
    parts = []
    for minute in range(-1, 10):
        since = START + timedelta(minutes=minute)
        parts += await items_of(make_span(TimeRange(since, since + timedelta(minutes=1))))
    events = [item for item in parts if not isinstance(item, RefusedRecord)]
    assert said(parts) == said(whole)
    assert len(events) == len(said(events))


async def test_it_goes_on_from_every_cursor_and_says_the_same_again(play, make_span, monkeypatch):
    monkeypatch.setattr(module, "BATCH_ORDERS", 2)
    await story(play, play.look)
    batches = await batches_of(make_span())
    assert sum(len(batch.items) > 0 for batch in batches) >= 3
    for at, batch in enumerate(batches):
        rest = [item for each in batches[at + 1 :] for item in each.items]
        other = make_span()
        assert said(await items_of(other, batch.cursor)) == said(rest)
        if batch.items:
            before = batches[at - 1].cursor
            assert await make_span().read(before) == batch


async def test_how_far_it_is_and_what_it_does_is_told(play, make_span):
    await story(play, play.look)
    batches = await batches_of(make_span(TimeRange(START, START + timedelta(hours=1))))
    assert "gather" in batches[0].doing
    assert "rows so far" in batches[1].doing
    assert sum(batch.records for batch in batches) == len(play.shop.orders)
    assert batches[-1].part == 1.0
    assert 0 < next(batch.part for batch in batches if batch.records) < 1


@pytest.mark.parametrize("code", ["TIMEOUT", "INTERNAL_SERVER_ERROR"])
async def test_an_operation_that_fails_is_halved_and_its_partial_result_is_not_used(play, make_span, code):
    await story(play, play.look)
    whole = said(await items_of(make_span()))
    play.shop.bulk.failures.extend([code, code])
    source = make_span()
    batches = await batches_of(source)
    assert said([item for batch in batches for item in batch.items]) == whole
    assert sum("half as much" in batch.doing for batch in batches) == 2
    windows = [ShopifyBackfillCursor.from_text(batch.cursor).window for batch in batches]
    assert windows[-1].until == ALL.until
    fetched = [one for one in play.shop.bulk.operations.values() if one["status"] == "FAILED"]
    assert all(one["partialDataUrl"] for one in fetched)


async def test_an_operation_that_always_fails_waits_longer_and_never_ends_a_span_early(play, make_span, monkeypatch):
    play.shop.place_order(LINE)
    play.shop.bulk.failures.extend(["TIMEOUT"] * 60)
    began = play.time.at
    items = await items_of(make_span(TimeRange(START - timedelta(minutes=1), START + timedelta(minutes=5))))
    assert len(items) == 1
    assert play.time.at - began > timedelta(minutes=20)


async def test_a_denied_operation_stops_it_and_says_what_to_do(play, make_span):
    play.shop.bulk.failures.append("ACCESS_DENIED")
    with pytest.raises(FatalError, match="scopes"):
        await items_of(make_span())


async def test_a_cancelled_operation_is_made_anew(play, make_span):
    await story(play, play.look)
    play.shop.bulk.failures.append("CANCELED")
    assert said(await items_of(make_span())) == said(play.items)


@pytest.mark.parametrize("gone", ["expired", "file", "operation"])
async def test_a_result_that_is_gone_is_made_anew(play, make_span, monkeypatch, gone):
    monkeypatch.setattr(module, "BATCH_ORDERS", 2)
    await story(play, play.look)
    source = make_span()
    batch = await source.read(None)
    while not batch.items:
        batch = await source.read(batch.cursor)
    match gone:
        case "expired":
            play.time.at += timedelta(days=8)
        case "file":
            play.shop.bulk.files.clear()
        case _:
            play.shop.bulk.operations.clear()
    again = make_span()
    items = await items_of(again, batch.cursor)
    assert said(items) == said(play.items)
    assert any("made anew" in each.doing for each in await batches_of(make_span(), batch.cursor)) or gone != "expired"


async def test_connections_that_drop_lose_nothing(play, make_span, monkeypatch):
    monkeypatch.setattr(module, "BATCH_ORDERS", 2)
    monkeypatch.setattr(client, "LOST_PAUSES_S", ())
    await story(play, play.look)
    play.shop.rates["drop"] = 0.3
    source, cursor, items, failures = make_span(), None, [], 0
    for _ in range(500):
        try:
            batch = await source.read(cursor)
        except RetriableError:
            failures += 1
            continue
        items += batch.items
        cursor = batch.cursor
        if batch.idle:
            break
    assert said(items) == said(play.items)
    assert len(items) == len(said(items))
    assert failures > 3


async def test_an_operation_of_somebody_else_is_waited_for(play, make_span):
    play.shop.version = "2025-10"
    play.shop.versions = ("2025-10",)
    source = make_span(api_version="2025-10")
    await source._operations.start(source._query(ALL))
    with pytest.raises(RetriableError, match="another bulk"):
        await source.read(None)


async def test_a_part_with_many_lines_is_read_whole_and_many_parts_at_once(play, make_span):
    number = play.shop.place_order(*({**LINE, "sku": f"S{n}"} for n in range(30)))
    play.shop.fulfil(number, "31", dict.fromkeys(range(30), 1))
    for _ in range(60):
        other = play.shop.place_order(LINE)
        play.shop.fulfil(other, "31", {0: 1})
        play.shop.refund(other, [(0, 1, "RETURN", "31")])
    play.time.at += timedelta(seconds=1)
    play.shop.calls.clear()
    items = await items_of(make_span())
    assert len(items) == 2 + 3 * 60
    assert max(len(item.lines) for item in items if hasattr(item, "shipment_id")) == 30
    # 61 fulfilments and 60 refunds: not a query each.
    assert len(play.shop.calls) < 30
    await play.look()
    assert said(items) == said(play.items)


async def test_what_happened_to_an_older_order_in_the_span_comes_and_the_order_does_not(play, make_span):
    number = play.shop.place_order(LINE)
    play.time.at += timedelta(days=3)
    play.shop.fulfil(number, "31", {0: 1})
    play.time.at += timedelta(days=3)
    play.shop.refund(number, [(0, 1, "RETURN", "31")])
    span = TimeRange(START + timedelta(days=2), START + timedelta(days=4))
    items = await items_of(make_span(span))
    assert [type(item).__name__ for item in items] == ["DispatchConfirmed"]
    assert not any(isinstance(item, OrderPlaced) for item in items)


async def test_a_refund_that_is_not_over_is_left_to_the_live_source(play, make_span):
    number = play.shop.place_order(LINE)
    play.shop.fulfil(number, "31", {0: 3})
    play.shop.refund(number, [(0, 1, "RETURN", "31")], status="PENDING")
    items = await items_of(make_span())
    assert [type(item).__name__ for item in items] == ["OrderPlaced", "DispatchConfirmed"]


async def test_a_cursor_of_another_is_refused(make_span):
    with pytest.raises(FatalError, match="backfill"):
        await make_span().read(json.dumps({"since": 3}))

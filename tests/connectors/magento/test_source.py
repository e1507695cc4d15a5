import json
from datetime import timedelta
from decimal import Decimal

import pytest

from connectors.base.errors import FatalError, RetriableError
from connectors.magento import cursor as cursor_module
from connectors.magento import reading as reading_module
from connectors.magento.cursor import IdSet, ListProgress, MagentoCursor
from lab.simulators.magento import app as app_module
from lab.simulators.magento.faults import MagentoFault, MagentoFaultKind
from schemas.events import DispatchConfirmed, OrderCancelled, OrderPlaced, RefundIssued


def kinds(events):
    return [type(event).__name__ for event in events]


async def test_an_order_is_placed_once_it_is_in_a_state_that_counts(stall, cart_item):
    order_id = stall.shop.place(cart_item(), state="new")
    source = stall.source()
    assert await stall.events(source) == []
    stall.clock.passes(minutes=1)
    stall.shop.invoice(order_id)
    (event,) = await stall.events(source)
    assert (event.order_id, event.order_number) == (str(order_id), f"{order_id:09}")
    stall.clock.passes(minutes=1)
    stall.shop.ship(order_id)
    assert kinds(await stall.events(source)) == ["DispatchConfirmed"]


async def test_a_change_within_the_second_in_which_it_was_read_is_seen(stall, cart_item):
    order_id = stall.shop.place(cart_item(), state="new")
    source = stall.source()
    assert await stall.events(source) == []
    stall.shop.invoice(order_id)
    assert kinds(await stall.events(source)) == ["OrderPlaced"]


async def test_which_states_count_is_a_setting(stall, cart_item):
    stall.shop.place(cart_item(), state="new")
    assert kinds(await stall.events(stall.source(states={"new": "placed"}))) == ["OrderPlaced"]


async def test_an_order_may_wait_for_its_payment(stall, cart_item):
    order_id = stall.shop.place(cart_item(), state="processing")
    source = stall.source(wait_for_payment=True)
    assert await stall.events(source) == []
    stall.shop.invoice(order_id)
    assert kinds(await stall.events(source)) == ["OrderPlaced"]


async def test_an_order_that_was_never_placed_is_not_cancelled(stall, cart_item):
    stall.shop.cancel(stall.shop.place(cart_item(), state="pending_payment"))
    assert await stall.events() == []


async def test_an_order_that_was_placed_is_cancelled_whole(stall, cart_item):
    order_id = stall.shop.place(cart_item(), state="processing")
    source = stall.source()
    await stall.events(source)
    stall.clock.passes(seconds=5)
    stall.shop.cancel(order_id)
    (event,) = await stall.events(source)
    assert isinstance(event, OrderCancelled)
    assert (event.order_id, event.lines) == (str(order_id), None)


async def test_what_is_left_of_an_order_is_cancelled_by_lines(stall, cart_item):
    order_id = stall.shop.place(cart_item(quantity="3"), cart_item("MUG", "1"), state="processing")
    tea, mug = stall.shop.item_ids(order_id, "TEA-250") + stall.shop.item_ids(order_id, "MUG")
    stall.shop.invoice(order_id, {tea: Decimal(2)})
    stall.shop.cancel(order_id)
    placed, cancelled = await stall.events()
    assert isinstance(placed, OrderPlaced)
    assert {(line.line_id, line.quantity) for line in cancelled.lines} == {(str(tea), 1), (str(mug), 1)}


async def test_an_address_corrected_later_makes_no_second_order(stall, cart_item):
    order_id = stall.shop.place(cart_item(), state="processing")
    source = stall.source()
    await stall.events(source)
    stall.clock.passes(minutes=3)
    stall.shop.touch("orders", order_id, customer_email="other@example.test")
    assert await stall.events(source) == []


async def test_tracks_added_later_make_no_second_dispatch(stall, cart_item):
    order_id = stall.shop.place(cart_item(), state="processing")
    shipment_id = stall.shop.ship(order_id)
    source = stall.source()
    assert kinds(await stall.events(source)) == ["OrderPlaced", "DispatchConfirmed"]
    stall.clock.passes(minutes=3)
    stall.shop.track(shipment_id, "2")
    assert await stall.events(source) == []


async def test_a_shipment_carries_source_tracks_and_carrier(stall, cart_item):
    order_id = stall.shop.place(cart_item(), state="processing")
    stall.shop.ship(
        order_id, tracks=[("1", "DPD", "custom"), ("2", "United Parcel Service", "ups"), ("1", "DPD", "custom")]
    )
    _, event = await stall.events(stall.source(carriers={"DPD": "dpd"}))
    assert (event.location, event.carrier, event.tracking_numbers) == ("wh-uk", "dpd", ("1", "2"))
    assert [(line.sku, line.quantity) for line in event.lines] == [("TEA-250", 2)]


async def test_a_shipment_without_a_source_is_refused_unless_the_setting_names_one(stall, cart_item):
    order_id = stall.shop.place(cart_item(), state="processing")
    stall.shop.ship(order_id, source_code=None)
    (batch,) = [each for each in await stall.batches(stall.source()) if each.refused]
    (refused,) = batch.refused
    assert (refused.event_type, refused.reason, refused.order_id) == (
        "dispatch_confirmed",
        "invalid_event",
        str(order_id),
    )
    assert "setting source" in refused.error
    stall.cursor = None
    assert (await stall.events(stall.source(source="default")))[-1].location == "default"


async def test_paging_stays_complete_while_rows_change_under_it(stall, cart_item):
    ids = []
    for n in range(57):
        ids.append(stall.shop.place(cart_item(f"S{n}"), state="processing"))
        if n % 10 == 0:
            stall.clock.passes(seconds=1)
    touched = iter(ids)

    def change(path):
        """With every request an order moves to the end, and a new one comes."""
        if path.endswith("/orders") and len(ids) < 80:
            stall.clock.passes(seconds=1)
            stall.shop.touch("orders", next(touched), remark="x")
            ids.append(stall.shop.place(cart_item("new"), state="processing"))

    stall.app.on_request = change
    events = await stall.events(stall.source(page_size=5, flows=["orders"]))
    assert sorted(int(event.order_id) for event in events) == sorted(ids)
    assert len(ids) == 80


async def test_a_second_with_more_rows_than_a_page_is_read_whole(stall, cart_item):
    ids = [stall.shop.place(cart_item(), state="processing") for _ in range(23)]
    events = await stall.events(stall.source(page_size=4))
    assert [int(event.order_id) for event in events] == ids


async def test_only_the_first_page_of_a_search_is_ever_asked_for(stall, cart_item):
    for _ in range(8):
        stall.shop.place(cart_item(), state="processing")
    await stall.events(stall.source(page_size=4))
    assert stall.app.requests
    assert all(request.endswith("searchCriteria[currentPage]=1") for request in stall.app.requests)


async def test_a_row_that_shows_up_behind_newer_ones_is_found_in_the_overlap(stall, cart_item):
    late = stall.shop.place(cart_item(), state="processing", visible_at=stall.clock.now() + timedelta(minutes=8))
    stall.clock.passes(minutes=5)
    stall.shop.place(cart_item(), state="processing")
    source = stall.source()
    assert len(await stall.events(source)) == 1
    stall.clock.passes(minutes=5)
    (event,) = await stall.events(source)
    assert event.order_id == str(late)


async def test_a_late_row_is_found_also_where_the_last_page_was_exactly_full(stall, cart_item):
    late = stall.shop.place(cart_item(), state="processing", visible_at=stall.clock.now() + timedelta(minutes=1))
    stall.clock.passes(seconds=10)
    for _ in range(4):
        stall.shop.place(cart_item(), state="processing")
    source = stall.source(page_size=2)
    assert len(await stall.events(source)) == 4
    stall.clock.passes(minutes=2)
    assert [event.order_id for event in await stall.events(source)] == [str(late)]


async def test_a_shop_without_news_is_asked_once_per_list_and_nothing_is_published_again(stall, cart_item):
    for _ in range(5):
        stall.shop.place(cart_item(), state="processing")
    source = stall.source()
    await stall.events(source)
    stall.app.requests.clear()
    for _ in range(3):
        stall.clock.passes(minutes=1)
        assert await stall.events(source) == []
    assert len(stall.app.requests) == 9


async def test_a_row_of_the_future_does_not_hide_what_comes_after_it(stall, cart_item):
    far = stall.shop.place(cart_item(), state="processing")
    stall.shop.order(far)["updated_at"] = "2029-01-01 00:00:00"
    source = stall.source()
    assert len(await stall.events(source)) == 1
    stall.clock.passes(minutes=30)
    stall.shop.place(cart_item(), state="processing")
    assert len(await stall.events(source)) == 1


@pytest.mark.parametrize("skew_s", [-7200, -300, 300, 7200])
async def test_a_shop_whose_clock_is_off_is_read_whole(stall, cart_item, skew_s):
    stall.shop.clock = lambda: stall.clock.now() + timedelta(seconds=skew_s)
    source, seen = stall.source(), []
    for _ in range(6):
        order_id = stall.shop.place(cart_item(), state="processing")
        stall.clock.passes(minutes=7)
        for _ in range(3):
            try:
                seen += await stall.events(source)
            except RetriableError:  # its time was refused; the next request is signed with the shop's
                continue
        assert seen[-1].order_id == str(order_id)
    assert len(seen) == 6


async def test_read_again_it_says_the_same(stall, cart_item):
    for n in range(9):
        order_id = stall.shop.place(cart_item(quantity=str(n + 1)), state="processing")
        stall.shop.invoice(order_id)
        stall.shop.ship(order_id)
        stall.shop.refund(order_id)
    first, second = stall.source(page_size=2), stall.source(page_size=2)
    cursor = None
    while not (batch := await first.read(cursor)).idle:
        assert await second.read(cursor) == batch
        assert await stall.source(page_size=2).read(cursor) == batch
        cursor = batch.cursor


async def test_a_row_that_cannot_be_taken_is_refused_with_its_bytes_and_the_rest_goes_on(stall, cart_item):
    bad = stall.shop.place(cart_item(), state="processing", customer_email="canary@example.test")
    stall.shop.order(bad)["items"][0]["qty_ordered"] = "two"
    good = stall.shop.place(cart_item(), state="processing")
    batches = await stall.batches(stall.source())
    (refused,) = [each for batch in batches for each in batch.refused]
    assert [event.order_id for batch in batches for event in batch.events] == [str(good)]
    assert json.loads(refused.value)["entity_id"] == bad
    assert (refused.event_type, refused.reason, refused.origin, refused.number) == (
        "order_placed",
        "invalid_event",
        f"orders/{bad}",
        bad,
    )
    assert "items[0].qty_ordered must be a number" in refused.error
    assert "canary" not in refused.error
    assert "two" not in refused.error


async def test_a_refused_row_is_refused_once_until_it_says_something_else(stall, cart_item):
    bad = stall.shop.place(cart_item(), state="processing", order_currency_code="pounds")
    source = stall.source()
    assert sum(len(batch.refused) for batch in await stall.batches(source)) == 1
    stall.clock.passes(minutes=1)
    assert await stall.batches(source) == []
    stall.shop.touch("orders", bad, order_currency_code="GBP")
    assert kinds(await stall.events(source)) == ["OrderPlaced"]


async def test_rows_without_a_usable_id_or_time_are_refused_once(stall, cart_item):
    stall.shop.place(cart_item(), state="processing")
    row = {"entity_id": 9000, "updated_at": "2026-11-21 12:00:00", "_as": {"entity_id": "x", "updated_at": None}}
    stall.shop.put("orders", row)
    source = stall.source()
    batches = await stall.batches(source)
    assert [each.number for batch in batches for each in batch.refused] == [0]
    stall.clock.passes(minutes=1)
    stall.shop.place(cart_item(), state="processing")
    assert sum(len(batch.refused) for batch in await stall.batches(source)) == 0


async def test_lists_that_come_in_another_order_stop_the_reading_instead_of_losing_rows(stall, cart_item, monkeypatch):
    for _ in range(5):
        stall.shop.place(cart_item(), state="processing")
        stall.clock.passes(seconds=1)
    search = app_module.search

    def unsorted(rows, params, *more):
        return search(rows, [each for each in params if "direction" not in each[0]], *more)

    monkeypatch.setattr(app_module, "search", unsorted)
    with pytest.raises(RetriableError, match="do not come in the order"):
        await stall.source(page_size=3).read(None)


async def test_a_mass_update_shortens_the_overlap_and_loses_nothing(stall, cart_item, monkeypatch):
    monkeypatch.setattr(reading_module, "MAX_SEEN", 20)
    ids = [stall.shop.place(cart_item(), state="processing") for _ in range(50)]
    source = stall.source(page_size=7, flows=["orders"])
    assert len(await stall.events(source)) == 50
    stall.clock.passes(seconds=30)
    for order_id in ids:
        stall.shop.touch("orders", order_id, state="complete")
    stall.clock.passes(seconds=1)
    new = stall.shop.place(cart_item(), state="processing")
    assert [event.order_id for event in await stall.events(source)] == [str(new)]


async def test_other_stores_are_left_out(stall, cart_item):
    stall.shop.place(cart_item(), state="processing", store_id=2)
    mine = stall.shop.place(cart_item(), state="processing", store_id=3)
    (event,) = await stall.events(stall.source(store_ids=[3, 4], channels={"3": "uk"}))
    assert (event.order_id, event.channel) == (str(mine), "uk")


async def test_what_was_not_changed_since_the_start_is_not_read(stall, cart_item):
    stall.shop.place(cart_item(), state="processing")
    stall.clock.passes(days=1)
    new = stall.shop.place(cart_item(), state="processing")
    (event,) = await stall.events(stall.source(start_at="2026-11-22T00:00:00Z"))
    assert event.order_id == str(new)


async def test_what_we_wrote_ourselves_does_not_come_back(stall, cart_item):
    order_id = stall.shop.place(cart_item(quantity="4"), state="processing")
    tea = stall.shop.item_ids(order_id, "TEA-250")[0]
    stall.shop.invoice(order_id)
    ours = stall.shop.ship(order_id, {tea: Decimal(1)})
    stall.shop.lists["shipments"][ours]["comments"] = [{"comment": "[b1-streams] delivery 17"}]
    theirs = stall.shop.ship(order_id, {tea: Decimal(2)})
    stall.shop.place(cart_item(), state="processing", ext_order_id="b1-streams:99")
    events = await stall.events()
    assert [event.order_id for event in events if isinstance(event, OrderPlaced)] == [str(order_id)]
    assert [event.shipment_id for event in events if isinstance(event, DispatchConfirmed)] == [str(theirs)]


async def test_flows_that_are_not_read_are_not_asked_for(stall, cart_item):
    order_id = stall.shop.place(cart_item(), state="processing")
    stall.shop.invoice(order_id)
    stall.shop.ship(order_id)
    stall.shop.refund(order_id)
    assert kinds(await stall.events(stall.source(flows=["orders", "creditmemos"]))) == ["OrderPlaced", "RefundIssued"]
    assert not [request for request in stall.app.requests if "/shipments" in request]


async def test_virtual_goods_leave_with_their_invoice_where_the_setting_says_so(stall, cart_item):
    order_id = stall.shop.place(cart_item("EBOOK", "1", kind="virtual"), cart_item(), state="new")
    invoice_id = stall.shop.invoice(order_id)
    placed, dispatched = await stall.events(stall.source(virtual_source="online"))
    assert isinstance(placed, OrderPlaced)
    assert (dispatched.shipment_id, dispatched.location) == (f"invoice-{invoice_id}", "online")
    assert [(line.sku, line.quantity) for line in dispatched.lines] == [("EBOOK", 1)]


async def test_an_open_credit_memo_waits_and_a_cancelled_one_is_nothing(stall, cart_item):
    order_id = stall.shop.place(cart_item(quantity="2"), state="processing")
    tea = stall.shop.item_ids(order_id, "TEA-250")[0]
    stall.shop.invoice(order_id)
    stall.shop.ship(order_id)
    memo_id = stall.shop.refund(order_id, {tea: Decimal(1)}, state=1)
    stall.shop.refund(order_id, {tea: Decimal(1)}, state=3)
    source = stall.source()
    assert kinds(await stall.events(source)) == ["OrderPlaced", "DispatchConfirmed"]
    stall.clock.passes(seconds=1)
    stall.shop.touch("creditmemos", memo_id, state=2)
    (event,) = await stall.events(source)
    assert isinstance(event, RefundIssued)
    assert event.refund_id == str(memo_id)


async def test_a_shipment_made_since_its_list_was_read_is_emitted_before_the_refund_of_its_goods(stall, cart_item):
    order_id = stall.shop.place(cart_item(), state="processing")
    stall.shop.invoice(order_id)
    source = stall.source()

    def act(path):
        if path.endswith("/creditmemos") and not stall.shop.lists["creditmemos"]:
            stall.shop.ship(order_id)
            stall.shop.refund(order_id)

    stall.app.on_request = act
    batches = await stall.batches(source)
    assert [(kinds(batch.events), batch.idle) for batch in batches if batch.items] == [
        (["OrderPlaced"], False),
        (["DispatchConfirmed"], True),
        (["RefundIssued"], False),
    ]


async def test_a_document_whose_order_is_not_to_be_read_is_refused(stall, cart_item):
    order_id = stall.shop.place(cart_item(), state="processing")
    stall.shop.ship(order_id)
    del stall.shop.lists["orders"][order_id]
    (batch,) = await stall.batches(stall.source())
    assert "its order cannot be read" in batch.refused[0].error


@pytest.mark.parametrize(
    "kind",
    [
        MagentoFaultKind.THROTTLED,
        MagentoFaultKind.MAINTENANCE,
        MagentoFaultKind.INTERNAL,
        MagentoFaultKind.DROPPED,
        MagentoFaultKind.TRUNCATED,
        MagentoFaultKind.HTML_200,
    ],
)
async def test_whatever_fails_in_between_is_read_again_without_loss(stall, cart_item, kind):
    for n in range(7):
        order_id = stall.shop.place(cart_item(quantity=str(n + 1)), state="processing")
        stall.shop.invoice(order_id)
        stall.shop.ship(order_id)
        stall.shop.refund(order_id)
    expected = {(type(event), event.event_id) for event in await stall.events(stall.source(page_size=3))}
    stall.cursor = None
    stall.app.faults.append(MagentoFault(kind))
    source, seen, failures = stall.source(page_size=3), set(), 0
    for turn in range(100):
        stall.app.faults[0].times = turn % 2
        try:
            batch = await source.read(stall.cursor)
        except RetriableError:
            failures += 1
            continue
        seen |= {(type(event), event.event_id) for event in batch.events}
        stall.cursor = batch.cursor
        if batch.idle:
            break
    assert seen == expected
    assert failures > 5


# ---- the cursor


def test_a_cursor_comes_back_as_it_was():
    position = MagentoCursor(
        "shipments",
        {
            "orders": ListProgress(5, None, 9, {7: (6, 2**32 - 1), -3: (5, 0)}),
            "shipments": ListProgress(0, (1_700_000_000, 3), 1_700_000_000, {}),
        },
        IdSet().with_ids([1, 32_767, 32_768, 10**12]),
        IdSet(),
    )
    back = MagentoCursor.from_text(position.to_text())
    assert (back.turn, back.lists) == (position.turn, position.lists)
    assert back.to_text() == position.to_text()
    assert [n for n in (0, 1, 2, 32_767, 32_768, 10**12, 10**12 + 1) if n in back.placed] == [1, 32_767, 32_768, 10**12]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"file": "a"}',
        '{"scans": {"orders": {}}}',
        '{"turn": "x", "scans": {}, "placed": "AAAA", "dispatched": ""}',
    ],
)
def test_another_ones_cursor_is_refused(text):
    with pytest.raises(FatalError, match="not one of a magento connector"):
        MagentoCursor.from_text(text)


def test_a_million_orders_fit_into_a_cursor():
    ids = IdSet().with_ids(n for n in range(1, 1_000_001) if n % 20)
    position = MagentoCursor(
        "orders", {"orders": ListProgress(seen={n: (n, n * 2654435761 % 2**32) for n in range(20_000)})}, ids, ids
    )
    assert len(position.to_text()) < 300_000


def test_the_oldest_orders_are_forgotten_as_published(monkeypatch):
    monkeypatch.setattr(cursor_module, "MAX_BLOCKS", 2)
    ids = IdSet().with_ids([5, 40_000, 70_000])
    assert 5 in ids
    assert 6 in ids
    assert 40_001 not in ids

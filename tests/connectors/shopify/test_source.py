"""What a shop's orders, fulfilments and counts become."""

import json
import random
from datetime import timedelta
from decimal import Decimal

import pytest

from connectors.base.errors import FatalError
from connectors.base.source import RefusedRecord
from connectors.shopify import source as module
from connectors.shopify.cursor import ShopifyCursor
from schemas.events import DispatchConfirmed, OrderPlaced, StockAdjusted
from tests.connectors.shopify.events import MUG, TEA, of, total_of

# ---- orders


@pytest.mark.parametrize("included", [True, False])
async def test_an_order_is_net_prices_and_taxes_that_sum_to_its_total(play, included):
    number = play.shop.place_order(TEA, MUG, taxes_included=included)
    (event,) = await play.look()
    assert isinstance(event, OrderPlaced)
    assert (event.order_id, event.order_number, event.currency) == (number, "#1001", "GBP")
    assert event.grand_total == Decimal("80.79" if included else "96.95")
    assert total_of(event) == event.grand_total
    tea, mug = event.lines
    assert (tea.sku, tea.quantity, tea.tax_code, tea.tax_rate) == ("TEA", 3, "GB-20", 20)
    if included:
        assert (tea.unit_price, tea.discount, tea.tax_amount) == (20, 4, Decimal("11.20"))
    assert mug.discount is None
    assert (event.ship_to.country, event.customer.guest, event.customer.email) == ("GB", True, "mia@example.test")
    assert event.occurred_at == play.time.at - timedelta(seconds=60)


async def test_any_order_sums_to_the_penny(play):
    draw = random.Random(3)
    expected = {}
    for _ in range(120):
        lines = []
        for _ in range(draw.randint(1, 4)):
            quantity, price = draw.choice([1, 2, 3, 7, 144, 5000]), Decimal(draw.randint(0, 9999)) / 100
            cut = Decimal(draw.randint(0, int(price * quantity * 100))) / 100 if draw.random() < 0.5 else 0
            lines.append(
                {
                    "sku": "A",
                    "quantity": quantity,
                    "price": str(price),
                    "discount": str(cut),
                    "rate": draw.choice(["0", "0.05", "0.2", "0.08875"]),
                }
            )
        number = play.shop.place_order(
            *lines, taxes_included=draw.random() < 0.5, shipping=draw.choice([None, "0", "3.60"])
        )
        expected[number] = Decimal(play.shop.orders[number]["totalPriceSet"]["shopMoney"]["amount"])
    events = of(OrderPlaced, await play.look())
    assert {event.order_id: event.grand_total for event in events} == expected
    for event in events:
        assert total_of(event) == event.grand_total
        assert (
            sum(line.tax_amount for line in event.lines) + (event.shipping.tax_amount if event.shipping else 0)
            == event.tax_total
        )
        assert all((line.discount or 0) >= 0 and line.unit_price >= 0 for line in event.lines)


async def test_what_was_told_is_not_told_again_however_often_the_order_changes(play):
    number = play.shop.place_order(TEA)
    assert len(await play.look()) == 1
    for seconds in (5, 100, 400, 5000):
        play.shop.touch(number, note="another address", email="other@example.test")
        assert await play.look(seconds) == []
    assert await play.look(86_400) == []


async def test_what_no_webhook_told_is_found(play):
    await play.look()
    numbers = []
    for _ in range(5):
        numbers.append(play.shop.place_order(TEA))
        play.time.at += timedelta(hours=2)
    assert not play.shop.outbox
    assert [event.order_id for event in await play.look()] == numbers


async def test_an_order_that_is_indexed_late_is_found(play):
    await play.look()
    play.shop.index_lag_s = 200
    number = play.shop.place_order(TEA)
    assert await play.look(60) == []
    assert await play.look(60) == []
    assert [event.order_id for event in await play.look(100)] == [number]
    assert await play.look(500) == []


async def test_orders_that_change_while_pages_are_read_are_each_told_once(play, monkeypatch):
    monkeypatch.setattr(module, "LIST_ROWS", 3)
    monkeypatch.setattr(module, "BATCH_ORDERS", 3)
    numbers = []
    for _ in range(20):
        numbers.append(play.shop.place_order(TEA))
        play.time.at += timedelta(seconds=1)
    draw = random.Random(5)

    def change(operation):
        if operation == "Changed":
            play.time.at += timedelta(seconds=1)
            for number in draw.sample(numbers, 2):
                play.shop.touch(number)
            if len(numbers) < 26:
                numbers.append(play.shop.place_order(MUG))

    play.shop.before = change
    for _ in range(4):
        await play.look()
    play.shop.before = lambda _operation: None
    await play.look()
    told = [event.order_id for event in play.items]
    assert sorted(set(told)) == sorted(numbers)
    assert len(told) == len(numbers)


async def test_an_outage_and_a_flood_of_old_orders_lose_none_that_is_new(play, monkeypatch):
    """Orders that keep moving ahead of the reader are told when it meets them, however old they are then."""
    monkeypatch.setattr(module, "LIST_ROWS", 2)
    monkeypatch.setattr(module, "BATCH_ORDERS", 2)
    await play.look()
    numbers = []
    for _ in range(12):
        numbers.append(play.shop.place_order(TEA))
        play.time.at += timedelta(hours=1)
    left = [*numbers]

    def run_ahead(operation):
        if operation == "Changed" and left:
            play.time.at += timedelta(seconds=1)
            play.shop.touch(left.pop())

    play.shop.before = run_ahead
    said = await play.look()
    # One that overtakes the reader is met twice, and says the same.
    assert {event.order_id for event in said} == set(numbers)
    assert len({(event.order_id, event.digest) for event in said}) == len(numbers)


async def test_pages_begin_anew_where_their_cursor_has_expired(play, monkeypatch):
    monkeypatch.setattr(module, "LIST_ROWS", 2)
    monkeypatch.setattr(module, "BATCH_ORDERS", 2)
    numbers = [play.shop.place_order(TEA) for _ in range(7)]
    batch = await play.source.read(None)
    play.cursor = batch.cursor
    play.items += batch.items
    play.shop.expire_cursors()
    await play.look()
    assert sorted({event.order_id for event in play.items}) == sorted(numbers)
    assert len({event.digest for event in play.items}) <= len(play.items)


async def test_the_same_cursor_says_the_same(play, make_play):
    number = play.shop.place_order(TEA, MUG)
    play.shop.fulfil(number, "31", {0: 1})
    play.shop.refund(number, [(0, 1, "RETURN", "31")])
    play.shop.set_level("TEA", "31", 5)
    play.time.at += timedelta(seconds=60)
    first = await play.source.read(None)
    assert await play.source.read(None) == first
    assert ShopifyCursor.from_text(first.cursor).to_text() == first.cursor


async def test_test_orders_and_our_own_do_not_come_back(make_play):
    play = make_play()
    play.shop.place_order(TEA, test=True)
    play.shop.place_order(TEA, tags=["vip", "b1-streams"])
    assert await play.look() == []
    other = make_play(test_orders=True)
    other.shop.place_order(TEA, test=True)
    assert len(await other.look()) == 1


async def test_an_order_waits_for_its_payment_where_it_should(make_play):
    play = make_play(place_on="paid")
    number = play.shop.place_order(TEA, paid=False)
    play.shop.fulfil(number, "31", {0: 1})
    assert await play.look(4000) == []
    play.shop.pay(number)
    placed, sent = await play.look(4000)
    assert isinstance(placed, OrderPlaced)
    assert isinstance(sent, DispatchConfirmed)
    assert placed.payment.amount == placed.grand_total
    play.shop.cancel(play.shop.place_order(MUG, paid=False))
    assert await play.look() == []


async def test_charges_without_goods_go_with_the_freight(play):
    play.shop.place_order(TEA, {"sku": None, "quantity": 1, "price": "5.00", "requires_shipping": False, "rate": "0"})
    (event,) = await play.look()
    assert [line.sku for line in event.lines] == ["TEA"]
    assert event.shipping.amount + event.shipping.tax_amount == Decimal("8.60")
    assert total_of(event) == event.grand_total


async def test_a_gift_card_and_goods_without_a_sku_need_a_name(make_play):
    card = {"sku": None, "quantity": 1, "price": "50.00", "rate": "0", "gift_card": True, "requires_shipping": False}
    play = make_play()
    number = play.shop.place_order(card)
    (letter,) = await play.look()
    assert isinstance(letter, RefusedRecord)
    assert (letter.event_type, letter.reason, letter.order_id) == ("order_placed", "invalid_event", number)
    assert "skus.gift_card" in letter.error
    assert json.loads(letter.value)["id"].endswith(number)
    named = make_play(skus={"gift_card": "GIFT", "custom": "MISC"})
    named.shop.place_order(card, {"sku": None, "quantity": 1, "price": "1.00"})
    (event,) = await named.look()
    assert [line.sku for line in event.lines] == ["GIFT", "MISC"]


async def test_a_record_that_cannot_be_read_is_a_letter_with_its_bytes_and_the_rest_goes_on(play):
    good = play.shop.place_order(TEA)
    bad = play.shop.place_order(TEA)
    play.shop.orders[bad]["lineItems"][0]["quantity"] = "canary@example.test"
    said = await play.look()
    (letter,) = of(RefusedRecord, said)
    assert [event.order_id for event in of(OrderPlaced, said)] == [good]
    assert "canary" in letter.value.decode()
    assert "canary" not in letter.error
    assert "lineItems[0].quantity" in letter.error
    assert await play.look() == []


# ---- fulfilments


async def test_an_order_that_cannot_be_read_is_a_letter_also_where_only_its_refunds_are_wanted(make_play):
    play = make_play(events=["refund_issued", "order_cancelled"])
    number = play.shop.place_order(TEA)
    play.shop.orders[number]["lineItems"][0]["quantity"] = "some"
    (letter,) = await play.look()
    assert (letter.event_type, letter.order_id) == ("refund_issued", number)


async def test_partial_fulfilments_are_dispatches_with_their_tracking(play):
    number = play.shop.place_order(TEA, MUG)
    first = play.shop.fulfil(number, "31", {0: 2}, company="DPD UK", tracking="155")
    second = play.shop.fulfil(number, "32", {0: 1, 1: 1})
    _, one, two = await play.look()
    assert (one.shipment_id, one.order_id, one.location, one.carrier) == (first, number, "31", "DPD UK")
    assert one.tracking_numbers == ("155",)
    assert [(line.sku, line.quantity) for line in one.lines] == [("TEA", 2)]
    assert (two.shipment_id, two.location, two.tracking_numbers) == (second, "32", ())
    assert [(line.sku, line.quantity) for line in two.lines] == [("TEA", 1), ("MUG", 1)]


async def test_a_fulfilment_is_told_when_it_succeeds_however_late(play):
    number = play.shop.place_order(TEA)
    await play.look()
    play.shop.fulfil(number, "31", {0: 1}, status="PENDING")
    assert await play.look() == []
    assert await play.look(100_000) == []
    play.shop.finish_fulfilment(number, 0, "SUCCESS")
    (event,) = await play.look(100_000)
    assert isinstance(event, DispatchConfirmed)
    play.shop.touch(number)
    assert await play.look(100_000) == []


async def test_a_fulfilment_that_is_cancelled_later_is_told_to_people_and_one_never_told_is_nothing(play):
    number = play.shop.place_order(TEA)
    play.shop.fulfil(number, "31", {0: 1})
    await play.look()
    play.time.at += timedelta(hours=1)
    play.shop.finish_fulfilment(number, 0, "CANCELLED")
    (letter,) = await play.look()
    assert (letter.event_type, letter.order_id) == ("dispatch_confirmed", number)
    assert "by hand" in letter.error
    assert await play.look() == []
    play.shop.fulfil(number, "31", {0: 1})
    play.time.at += timedelta(seconds=1)
    play.shop.finish_fulfilment(number, 1, "CANCELLED")
    assert await play.look() == []


async def test_dispatches_are_not_told_where_another_system_reports_them(make_play):
    play = make_play(events=["order_placed", "refund_issued"])
    number = play.shop.place_order(TEA)
    play.shop.fulfil(number, "31", {0: 1})
    play.shop.cancel(number)
    assert [type(each) for each in await play.look()] == [OrderPlaced]


# ---- counts


async def test_counts_become_deltas_by_location_and_none_is_taken_twice(make_play):
    play = make_play(stock_locations=["31", "32"])
    play.shop.set_level("TEA", "31", 100)
    play.shop.set_level("TEA", "32", 7)
    assert await play.look() == []
    play.shop.set_level("TEA", "31", 90)
    play.time.at += timedelta(seconds=5)
    play.shop.set_level("TEA", "32", 9)
    said = await play.look()
    assert {(each.location, each.delta) for each in said} == {("31", -10), ("32", 2)}
    assert await play.look() == []
    batch = await play.source.read(play.cursor)
    assert batch.items == ()


async def test_two_counts_within_one_second_are_both_heard(make_play):
    play = make_play(stock_locations=["31"])
    play.shop.set_level("TEA", "31", 100)
    await play.look()
    play.shop.set_level("TEA", "31", 90)
    assert await play.look(1) == []
    play.time.at -= timedelta(seconds=1)
    play.shop.set_level("TEA", "31", 85)
    play.time.at += timedelta(seconds=1)
    assert [each.delta for each in await play.look(5)] == [-15]


async def test_an_item_that_shares_its_sku_or_has_none_is_a_letter_until_it_is_named(make_play):
    play = make_play(stock_locations=["31"])
    play.shop.set_level("TEA", "31", 1, duplicateSkuCount=2)
    play.shop.set_level("MUG", "31", 1, sku=None)
    play.shop.set_level("OFF", "31", 1, tracked=False)
    said = await play.look()
    assert [(type(each), each.event_type) for each in said] == [(RefusedRecord, "stock_adjusted")] * 2
    item = play.shop.products.items["TEA"]["id"].rpartition("/")[2]
    named = make_play(shop=play.shop, stock_locations=["31"], inventory_skus={item: "TEA-1"})
    named.time.at = play.time.at
    said = await named.look()
    assert len(said) == 1
    assert ("TEA-1", "31") in named.known


async def test_what_a_dispatch_takes_off_the_count_is_taken_off_once(make_play):
    """B1's delivery takes the units; with the count's minus comes a plus: together they are nothing."""
    play = make_play(stock_locations=["31"])
    play.shop.set_level("TEA", "31", 100)
    number = play.shop.place_order(TEA)
    await play.look()
    play.time.at += timedelta(seconds=1)
    play.shop.fulfil(number, "31", {0: 2})
    play.time.at += timedelta(seconds=30)
    play.shop.fulfil(number, "32", {0: 1})
    said = await play.look()
    assert sum(each.delta for each in of(StockAdjusted, said)) == 0
    assert sorted(each.delta for each in of(StockAdjusted, said)) == [-2, 2]
    assert {each.location for each in of(StockAdjusted, said)} == {"31"}
    play.time.at += timedelta(hours=1)
    play.shop.finish_fulfilment(number, 0, "CANCELLED")
    play.shop.set_level("TEA", "31", 100)
    said = await play.look()
    # The delivery stands until a person returns it, which brings 2; until then B1 has 2 less.
    assert sum(each.delta for each in of(StockAdjusted, said)) == 0


async def test_a_location_that_is_not_there_stops_it(make_play):
    play = make_play(stock_locations=["99"])
    with pytest.raises(FatalError, match="location 99"):
        await play.look()

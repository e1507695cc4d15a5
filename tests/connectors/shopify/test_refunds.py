"""Cancellations, refunds and edits: what is taken off, what comes back, and its money."""

import random
from datetime import timedelta
from decimal import Decimal

import pytest

from schemas.events import DispatchConfirmed, OrderCancelled, OrderPlaced, RefundIssued, identity
from tests.connectors.shopify.events import MUG, TEA, of, total_of


async def test_a_cancelled_order_is_cancelled_whole_and_once(play):
    number = play.shop.place_order(TEA, MUG)
    await play.look()
    play.shop.cancel(number)
    said = await play.look()
    (cancelled,) = of(OrderCancelled, said)
    assert (cancelled.order_id, cancelled.lines, cancelled.reason) == (number, None, "customer")
    assert of(RefundIssued, said) == []


async def test_units_refunded_before_they_were_sent_are_taken_off(play):
    number = play.shop.place_order(TEA)
    refund = play.shop.refund(number, [(0, 2, "CANCEL", None)])
    _, cancelled = await play.look()
    assert (cancelled.event_id, cancelled.order_id) == (f"{number}-refund-{refund}", number)
    assert [line.quantity for line in cancelled.lines] == [2]


@pytest.mark.parametrize("included", [True, False])
async def test_a_return_is_a_refund_with_its_money_freight_and_goodwill(play, included):
    number = play.shop.place_order(TEA, MUG, taxes_included=included)
    play.shop.fulfil(number, "31", {0: 3, 1: 1})
    await play.look()
    play.shop.refund(
        number,
        [(0, 1, "RETURN", "32"), (1, 1, "NO_RESTOCK", None)],
        shipping="1.80",
        adjustment="2.50",
        gateways=("card", "gift_card"),
    )
    (event,) = await play.look()
    tea, mug = event.lines
    assert (tea.restock, tea.location, mug.restock, mug.location) == (True, "32", False, None)
    assert event.adjustment.amount == Decimal("2.50")
    parts = sum((line.amount + line.tax_amount for line in event.lines), Decimal(0))
    parts += event.shipping.amount + event.shipping.tax_amount + event.adjustment.amount + event.adjustment.tax_amount
    money = play.shop.orders[number]["refunds"][0]["transactions"]
    assert len(money) == 2
    assert parts == event.total == sum(Decimal(each["amountSet"]["shopMoney"]["amount"]) for each in money)


async def test_units_sent_and_not_sent_in_one_refund_are_told_apart(play):
    number = play.shop.place_order(TEA)
    play.shop.fulfil(number, "31", {0: 2})
    await play.look()
    play.time.at += timedelta(seconds=5)
    play.shop.refund(number, [(0, 2, "NO_RESTOCK", None)])
    cancelled, refunded = await play.look()
    assert [line.quantity for line in cancelled.lines] == [1]
    (line,) = refunded.lines
    assert line.quantity == 1
    assert refunded.total == line.amount + line.tax_amount == Decimal("22.40")


async def test_a_refund_whose_money_is_under_way_waits_for_it(play):
    number = play.shop.place_order(TEA)
    play.shop.fulfil(number, "31", {0: 3})
    await play.look()
    play.shop.refund(number, [(0, 1, "RETURN", "31")], status="PENDING")
    assert await play.look() == []
    assert await play.look(90_000) == []
    play.shop.finish_refund(number, 0)
    (event,) = await play.look(90_000)
    assert event.total == Decimal("22.40")


async def test_duties_an_amount_alone_and_money_kept_back(play):
    number = play.shop.place_order(TEA, originalTotalDutiesSet=play.shop.bag("0"))
    play.shop.fulfil(number, "31", {0: 3})
    await play.look()
    play.shop.refund(number, adjustment="5.00")
    play.time.at += timedelta(seconds=2)
    play.shop.refund(number, [(0, 1, "RETURN", "31")], duties="1.25")
    play.time.at += timedelta(seconds=2)
    play.shop.refund(number, [(0, 1, "RETURN", "31")], money="20.00")
    alone, duties, kept = await play.look()
    assert (alone.lines, alone.adjustment.amount, alone.total) == ((), 5, 5)
    assert (duties.adjustment.amount, duties.total) == (Decimal("1.25"), Decimal("23.65"))
    assert (kept.adjustment.amount, kept.total) == (Decimal("-2.40"), Decimal("20.00"))


async def test_an_edit_that_adds_is_an_order_of_its_own_and_later_facts_find_it(play):
    number = play.shop.place_order(TEA)
    (before,) = await play.look()
    line = play.shop.add_line(number, {"sku": "CUP", "quantity": 2, "price": "5.00"})
    (added,) = await play.look()
    assert added.order_id.startswith(f"{number}-")
    assert (added.order_number, added.grand_total, total_of(added)) == ("#1001-E1", 10, 10)
    assert [(each.line_id, each.sku, each.quantity) for each in added.lines] == [(line, "CUP", 2)]
    play.shop.fulfil(number, "31", {0: 3, 1: 2})
    first, second = await play.look()
    assert [(each.order_id, each.shipment_id) for each in (first, second)] == [
        (number, first.shipment_id),
        (added.order_id, f"{first.shipment_id}-1"),
    ]
    play.shop.refund(number, [(0, 1, "RETURN", "31"), (1, 1, "RETURN", "31")])
    base, extra = await play.look()
    assert (base.order_id, extra.order_id, extra.refund_id) == (number, added.order_id, f"{base.refund_id}-1")
    assert base.total + extra.total == Decimal("22.40") + 5
    play.shop.cancel(number)
    assert {each.order_id for each in of(OrderCancelled, await play.look())} == {number, added.order_id}
    assert before.order_id == number


async def test_an_order_first_seen_after_its_edit_says_the_same_as_one_seen_before(play, make_play):
    number = play.shop.place_order(TEA, MUG)
    (before,) = await play.look()
    play.shop.add_line(number, {"sku": "CUP", "quantity": 2, "price": "5.00"})
    play.cursor = None
    again = next(each for each in await play.look() if each.order_id == number)
    assert again.lines == before.lines
    assert (again.shipping.amount, again.grand_total) == (before.shipping.amount, before.grand_total)


async def test_an_edit_that_takes_off_is_a_cancellation_of_lines(play):
    number = play.shop.place_order(TEA, MUG)
    await play.look()
    play.shop.remove(number, 0, 1)
    (event,) = await play.look()
    assert isinstance(event, OrderCancelled)
    assert [line.quantity for line in event.lines] == [1]


async def test_whatever_happens_to_orders_units_and_money_add_up(play):
    """Random stories: each unit is dispatched or cancelled at most once, and every penny paid back is in a refund."""
    draw = random.Random(11)
    stories = []
    for _ in range(25):
        number = play.shop.place_order(
            {"sku": "A", "quantity": 5, "price": "3.33"},
            {"sku": "B", "quantity": 2, "price": "10.00", "discount": "1.01"},
        )
        stories.append(number)
        for _ in range(draw.randint(1, 6)):
            play.time.at += timedelta(seconds=draw.choice([1, 40, 700]))
            order = play.shop.orders[number]
            at = draw.randrange(len(order["lineItems"]))
            line = order["lineItems"][at]
            sent = sum(
                row["quantity"]
                for one in order["fulfillments"]
                for row in one["fulfillmentLineItems"]
                if row["lineItem"] is line
            )
            back = sum(
                row["quantity"]
                for one in order["refunds"]
                for row in one["refundLineItems"]
                if row["lineItem"] is line and row["restockType"] == "RETURN"
            )
            what = draw.choice(["fulfil", "fulfil", "cancel", "return", "add", "look"])
            if what == "fulfil" and line["unfulfilledQuantity"]:
                play.shop.fulfil(number, "31", {at: draw.randint(1, line["unfulfilledQuantity"])})
            elif what == "cancel" and line["unfulfilledQuantity"]:
                play.shop.refund(number, [(at, 1, "CANCEL", None)])
            elif what == "return" and sent > back:
                play.shop.refund(number, [(at, 1, "RETURN", "31")], shipping=draw.choice([None, "0.40"]))
            elif what == "add" and len(order["lineItems"]) < 4:
                play.shop.add_line(number, {"sku": "C", "quantity": 3, "price": "1.50"})
            elif what == "look":
                await play.look()
    await play.look()
    assert len({identity(each) for each in play.items}) == len(play.items)
    for number in stories:
        mine = [each for each in play.items if each.order_id.partition("-")[0] == number]
        ordered = {
            (each.order_id, line.line_id): line.quantity for each in of(OrderPlaced, mine) for line in each.lines
        }
        used: dict = {}
        for each in [*of(DispatchConfirmed, mine), *of(OrderCancelled, mine)]:
            for line in each.lines:
                used[each.order_id, line.line_id] = used.get((each.order_id, line.line_id), 0) + line.quantity
        assert all(quantity <= ordered[place] for place, quantity in used.items())
        order = play.shop.orders[number]
        sent = sum(row["quantity"] for one in order["fulfillments"] for row in one["fulfillmentLineItems"])
        assert sum(line.quantity for each in of(DispatchConfirmed, mine) for line in each.lines) == sent
        back = Decimal(0)
        for one in order["refunds"]:
            gone = [row for row in one["refundLineItems"] if row["restockType"] == "CANCEL"]
            back += Decimal(one["totalRefundedSet"]["shopMoney"]["amount"])
            back -= sum((Decimal(row["subtotalSet"]["shopMoney"]["amount"]) for row in gone), Decimal(0))
        assert sum((each.total for each in of(RefundIssued, mine)), Decimal(0)) == back

"""What a shop's odder doings become when they are read over the API.

Exchanges, sales at a till, duties, refunds of money only.
"""

from decimal import Decimal

import pytest

from connectors.base.source import RefusedRecord
from schemas.events import DispatchConfirmed, OrderPlaced, RefundIssued
from tests.connectors.shopify.events import of, total_of

TEA = {"sku": "TEA", "quantity": 2, "price": "50.00"}
POT = {"sku": "POT", "quantity": 1, "price": "250.00"}


@pytest.mark.parametrize("included", [True, False])
@pytest.mark.parametrize("fee", ["0", "5.00"])
@pytest.mark.parametrize("price", ["250.00", "60.00"])
async def test_an_exchange_is_a_credit_and_an_order_that_its_dispatch_finds(play, included, fee, price):
    number = play.shop.place_order(TEA, taxes_included=included, shipping=None)
    play.shop.fulfil(number, "31", {0: 2})
    before, _ = await play.look()
    play.shop.exchange(number, 0, {**POT, "price": price}, "31", fee=fee)
    credit, placed = sorted(await play.look(), key=lambda each: type(each) is OrderPlaced)
    assert placed.order_id.startswith(f"{number}-")
    assert (placed.order_number, total_of(placed)) == ("#1001-X1", placed.grand_total)
    assert credit.order_id == number
    assert credit.total == before.grand_total - Decimal(fee)
    assert (credit.adjustment.amount if credit.adjustment else 0) == -Decimal(fee)
    # What the customer paid and got is what the three documents come to.
    moved = [
        Decimal(each["amountSet"]["shopMoney"]["amount"]) * (1 if each["kind"] == "SALE" else -1)
        for each in play.shop.orders[number]["transactions"]
    ]
    assert before.grand_total - credit.total + placed.grand_total == sum(moved)
    play.shop.fulfil(number, "31", {1: 1})
    (sent,) = await play.look()
    assert (sent.order_id, sent.lines[0].sku) == (placed.order_id, "POT")


async def test_an_order_first_read_after_its_exchange_says_the_same(play):
    number = play.shop.place_order(TEA)
    play.shop.fulfil(number, "31", {0: 2})
    (before,) = of(OrderPlaced, await play.look())
    play.shop.exchange(number, 0, POT, "31")
    play.shop.fulfil(number, "31", {1: 1})
    play.cursor = None
    items = await play.look()
    assert before.digest == next(each for each in of(OrderPlaced, items) if each.order_id == number).digest
    assert len({each.order_id for each in of(DispatchConfirmed, items)}) == 2
    assert of(RefusedRecord, items) == []


async def test_agreements_are_read_only_of_orders_that_sold_more_than_at_first(play):
    number = play.shop.place_order(TEA)
    play.shop.fulfil(number, "31", {0: 2})
    play.shop.refund(number, [(0, 1, "RETURN", "31")])
    await play.look()
    assert "Agreements" not in play.shop.calls
    play.shop.exchange(number, 0, POT, "31")
    await play.look()
    assert "Agreements" in play.shop.calls


async def test_a_sale_at_a_till_has_no_address_and_no_default_tax_code(play):
    play.shop.place_order({**TEA, "rate": "0"}, POT, at_till=True, shipping=None)
    (event,) = await play.look()
    assert (event.ship_to, event.bill_to) == (None, None)
    assert [line.tax_code for line in event.lines] == ["0", "20"]


@pytest.mark.parametrize("included", [True, False])
async def test_taxed_duties_go_with_the_freight_and_come_back_with_their_tax(play, included):
    number = play.shop.place_order(TEA, taxes_included=included, shipping=None, duties="7.50")
    (event,) = await play.look()
    assert (event.shipping.amount, event.shipping.tax_amount) == (Decimal("7.50"), Decimal("1.50"))
    assert total_of(event) == event.grand_total
    play.shop.refund(number, duties="7.50", money="9.00", explained=False)
    (back,) = await play.look()
    assert (back.adjustment.amount, back.adjustment.tax_amount, back.total) == (Decimal("7.50"), Decimal("1.50"), 9)


async def test_duties_are_the_same_before_and_after_an_edit(play):
    number = play.shop.place_order(TEA, duties="7.50")
    (before,) = await play.look()
    play.shop.add_line(number, POT)
    play.cursor = None
    after = next(each for each in await play.look() if each.order_id == number)
    assert after.digest == before.digest


async def test_money_without_rows_cents_and_a_shipping_told_twice_are_paid_back_as_they_were(play):
    number = play.shop.place_order(TEA)
    play.shop.fulfil(number, "31", {0: 2})
    await play.look()
    play.shop.refund(number, money="15.00", explained=False)
    (alone,) = await play.look()
    assert (alone.lines, alone.adjustment.amount, alone.total) == ((), 15, 15)
    play.shop.refund(number, [(0, 1, "RETURN", "31")], money="50.01", explained=False)
    (cents,) = await play.look()
    assert (cents.lines[0].amount + cents.lines[0].tax_amount, cents.adjustment, cents.total) == (
        Decimal("50.01"),
        None,
        Decimal("50.01"),
    )
    play.shop.refund(number, shipping="3.60", shipping_twice=True)
    (shipping,) = await play.look()
    assert (shipping.shipping.amount, shipping.adjustment, shipping.total) == (3, None, Decimal("3.60"))


async def test_money_that_nothing_explains_is_a_dead_letter_and_never_nothing(play):
    number = play.shop.place_order(TEA)
    play.shop.fulfil(number, "31", {0: 2})
    await play.look()
    play.shop.refund(number, [(0, 1, "RETURN", "31")], money="45.00", explained=False)
    (letter,) = await play.look()
    assert (letter.event_type, letter.reason, letter.order_id) == ("refund_issued", "total_mismatch", number)
    assert "rows come to 50.00, its money to 45.00" in letter.error
    assert of(RefundIssued, play.items) == []

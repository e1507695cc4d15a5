"""Records to events, with the simulated shop's own arithmetic as the other side."""

import itertools
from datetime import UTC, datetime
from decimal import Decimal
from random import Random

import pytest

from connectors.base.money import line_net
from lab.simulators.magento.prices import BundlePart, CartItem
from lab.simulators.magento.state import ActionRefusedError
from schemas.events import DispatchConfirmed, OrderCancelled, OrderPlaced, RefundIssued

D = Decimal


def gross(order):
    """What B1 makes of an order: line nets as it computes them, and the taxes as sent."""
    net = sum(line_net(line.quantity, line.unit_price, line.discount, order.currency) for line in order.lines)
    tax = sum(line.tax_amount for line in order.lines)
    if order.shipping is not None:
        net, tax = net + order.shipping.amount, tax + order.shipping.tax_amount
    return net, tax


async def placed(stall, *cart, settings=None, **fields):
    order_id = stall.shop.place(*cart, state="processing", **fields)
    events = await stall.events(stall.source(**(settings or {})))
    (event,) = [each for each in events if isinstance(each, OrderPlaced)]
    net, tax = gross(event)
    assert (tax, net + tax) == (event.tax_total, event.grand_total)
    return order_id, event


# ---- orders


async def test_an_order_with_all_it_has(stall, cart_item):
    buyer = {"customer": 77, "customer_firstname": "Mia", "customer_lastname": "O", "customer_note": "Ring twice"}
    order_id, event = await placed(stall, cart_item(discount_percent="10"), shipping=D(3), **buyer)
    assert (event.source, event.company, event.event_id, event.order_id) == (
        "shop",
        "acme",
        str(order_id),
        str(order_id),
    )
    assert (event.occurred_at, event.observed_at) == (datetime(2026, 11, 21, 12, tzinfo=UTC),) * 2
    assert (event.currency, event.tax_total, event.grand_total, event.channel) == ("GBP", D("7.80"), D("46.80"), "1")
    (line,) = event.lines
    assert (line.sku, line.quantity, line.unit_price, line.discount) == ("TEA-250", 2, 20, 4)
    assert (line.tax_code, line.tax_rate, line.tax_amount) == ("GB-20", 20, D("7.20"))
    assert (event.shipping.carrier, event.shipping.method) == ("flatrate", "flatrate")
    assert (event.shipping.amount, event.shipping.tax_amount, event.shipping.tax_code) == (3, D("0.60"), "GB-20")
    assert (event.customer.id, event.customer.guest, event.customer.name) == ("77", False, "Mia O")
    assert (event.ship_to.street, event.ship_to.street2, event.ship_to.country) == ("4 Lime Row", "Flat 2", "GB")
    assert (event.payment.method, event.payment.amount) == ("stripe_payments", D("46.80"))
    assert event.note == "Ring twice"


async def test_the_example_of_the_reference(stall):
    """Section 4 of the reference, as it stands there."""
    stall.shop.put(
        "orders",
        {
            "entity_id": 451,
            "increment_id": "000000451",
            "state": "processing",
            "status": "processing",
            "store_id": 1,
            "created_at": "2026-03-02 09:15:00",
            "updated_at": "2026-03-02 09:15:04",
            "order_currency_code": "GBP",
            "base_currency_code": "GBP",
            "subtotal": 40,
            "discount_amount": -4,
            "shipping_amount": 3,
            "shipping_incl_tax": D("3.6"),
            "shipping_tax_amount": D("0.6"),
            "tax_amount": D("7.8"),
            "grand_total": D("46.8"),
            "total_paid": D("46.8"),
            "total_due": 0,
            "customer_is_guest": 1,
            "customer_email": "mia@example.test",
            "billing_address": {"firstname": "Mia", "lastname": "Odum", "street": ["4 Lime Row"], "country_id": "GB"},
            "payment": {"method": "stripe_payments"},
            "items": [
                {
                    "item_id": 900,
                    "order_id": 451,
                    "product_type": "configurable",
                    "sku": "TEA-250",
                    "qty_ordered": 2,
                    "price": 20,
                    "row_total": 40,
                    "tax_percent": 20,
                    "tax_amount": D("7.2"),
                    "discount_amount": 4,
                },
                {
                    "item_id": 901,
                    "parent_item_id": 900,
                    "product_type": "simple",
                    "sku": "TEA-250",
                    "qty_ordered": 2,
                    "price": 0,
                },
            ],
            "extension_attributes": {"shipping_assignments": [{"shipping": {"method": "flatrate_flatrate"}}]},
        },
    )
    (event,) = await stall.events()
    assert (event.grand_total, gross(event)) == (D("46.80"), (D("39.00"), D("7.80")))
    assert [(line.line_id, line.sku) for line in event.lines] == [("900", "TEA-250")]


async def test_a_guest_has_no_id(stall, cart_item):
    _, event = await placed(stall, cart_item())
    assert (event.customer.id, event.customer.guest, event.customer.email) == (None, True, "mia@example.test")
    assert event.customer.name == "Mia Odum"


async def test_a_configurable_product_is_one_line_of_its_child(stall, cart_item):
    _, event = await placed(stall, cart_item("SHIRT-RED-M", kind="configurable"))
    assert [(line.sku, line.quantity) for line in event.lines] == [("SHIRT-RED-M", 2)]


BOX = (BundlePart(sku="MUG", quantity=D(1), price=D("7.00")), BundlePart(sku="TEA", quantity=D(3), price=D("1.50")))


async def test_a_bundle_priced_by_its_parts_is_its_parts(stall, cart_item):
    _, event = await placed(
        stall, cart_item("BOX", "2", "0", kind="bundle", parts=BOX, discount_percent="10"), cart_item()
    )
    assert [(line.sku, line.quantity, line.unit_price, line.discount) for line in event.lines] == [
        ("MUG", 2, 7, D("1.4")),
        ("TEA", 6, D("1.5"), D("0.9")),
        ("TEA-250", 2, 20, None),
    ]


async def test_a_bundle_with_a_price_of_its_own_shares_it_among_its_parts(stall, cart_item):
    _, event = await placed(stall, cart_item("BOX", "3", "9.99", kind="bundle", parts=BOX))
    assert [(line.sku, line.quantity) for line in event.lines] == [("MUG", 3), ("TEA", 9)]
    assert gross(event) == (D("29.97"), D("5.99"))
    assert all(line.tax_rate == 20 for line in event.lines)


@pytest.mark.parametrize("including", [False, True])
async def test_both_tax_modes_come_to_the_penny(stall, cart_item, including):
    """300 carts of odd prices, discounts and rates: what B1 computes is what the buyer paid."""
    stall.shop.prices_include_tax = including
    random = Random(5)
    for _ in range(300):
        cart = []
        for n in range(random.randint(1, 5)):
            kind = random.choice(["simple", "virtual", "configurable", "bundle", "bundle"])
            own = random.random() < 0.5
            parts = tuple(
                BundlePart(sku=f"P{i}", quantity=D(random.randint(1, 4)), price=D(random.randint(1, 5000)) / 100)
                for i in range(3)
            )
            price = D(0) if kind == "bundle" and not own else D(random.randint(1, 20000)) / 100
            cart.append(
                CartItem(
                    sku=f"S{n}",
                    quantity=D(random.randint(1, 12)),
                    price=price,
                    kind=kind,
                    parts=parts,
                    rate=D(random.choice(["0", "5", "8.25", "17.5", "20"])),
                    discount_percent=D(random.choice([0, 0, 7, 10, 33])),
                )
            )
        stall.shop.place(
            *cart,
            state="processing",
            shipping=D(random.randint(0, 900)) / 100,
            shipping_discount_percent=D(random.choice([0, 33, 90, 100])),
        )
    events = await stall.events(stall.source(rounding_tolerance="0", page_size=300))
    assert len(events) == 300
    for event in events:
        net, tax = gross(event)
        assert (tax, net + tax) == (event.tax_total, event.grand_total)
        assert all(line.unit_price >= 0 and (line.discount or 0) >= 0 for line in event.lines)


async def test_a_cent_that_the_rows_miss_goes_into_the_largest_row(stall, cart_item):
    stall.shop.tax_on_total = True
    cart = [cart_item(f"S{n}", "1", "0.13") for n in range(3)]
    order_id, event = await placed(stall, *cart)
    rows = sum(item["tax_amount"] for item in stall.shop.order(order_id)["items"])
    assert (rows, event.tax_total) == (D("0.09"), D("0.08"))
    assert [line.tax_amount for line in event.lines] == [D("0.02"), D("0.03"), D("0.03")]


async def test_a_larger_difference_is_left_for_all_to_see(stall, cart_item):
    order_id = stall.shop.place(cart_item(), state="processing")
    stall.shop.order(order_id)["grand_total"] += 1
    (event,) = await stall.events()
    assert sum(gross(event)) == event.grand_total - 1


async def test_shipping_can_have_a_discount(stall, cart_item):
    order_id = stall.shop.place(cart_item(), state="processing", shipping=D(5))
    order = stall.shop.order(order_id)
    order |= {"discount_amount": D(-2), "shipping_tax_amount": D("0.60")}
    order["tax_amount"] -= D("0.40")
    order["grand_total"] -= D("2.40")
    (event,) = await stall.events()
    assert (event.shipping.amount, event.shipping.tax_amount) == (3, D("0.60"))
    assert sum(gross(event)) == event.grand_total


async def test_a_gift_card_is_a_means_of_payment(stall, cart_item):
    _, event = await placed(stall, cart_item(), gift_card=D(30))
    assert (event.grand_total, event.payment.amount) == (D(48), D(18))


@pytest.mark.parametrize(("currency", "expected"), [("order", ("EUR", D("53.40"))), ("base", ("GBP", D("45.40")))])
async def test_the_currency_is_a_setting(stall, cart_item, currency, expected):
    stall.shop.currency, stall.shop.base_rate = "EUR", D("0.85")
    _, event = await placed(stall, cart_item(price="22.25"), settings={"currency": currency})
    assert (event.currency, event.grand_total) == expected


async def test_in_the_base_currency_everything_is(stall, cart_item):
    stall.shop.currency, stall.shop.base_rate, stall.shop.prices_include_tax = "EUR", D("0.8537"), True
    order_id = stall.shop.place(
        cart_item(price="19.99", discount_percent="10"), shipping=D("4.20"), gift_card=D(1), state="processing"
    )
    stall.shop.invoice(order_id)
    stall.shop.ship(order_id)
    stall.shop.refund(order_id, shipping=D("4.20"), adjustment_negative=D("1.50"))
    order, _, refund = await stall.events(stall.source(currency="base"))
    row, memo = stall.shop.order(order_id), stall.shop.lists["creditmemos"][1]
    assert order.grand_total == row["base_grand_total"] + D("0.85")
    assert sum(gross(order)) == order.grand_total
    assert (refund.currency, refund.total) == ("GBP", memo["base_grand_total"])
    assert total_of(refund) == refund.total


@pytest.mark.parametrize(
    ("how", "expected"), [("rate", ["GB-20", "GB-0"]), ("none", [None, None]), ("applied", ["VAT", "ZERO+ECO"])]
)
async def test_tax_codes_by_rate_by_name_or_not_at_all(stall, cart_item, how, expected):
    order_id = stall.shop.place(cart_item(), cart_item("BOOK", rate="0"), state="processing")
    order = stall.shop.order(order_id)
    tea, book = (item["item_id"] for item in order["items"])
    order["extension_attributes"]["item_applied_taxes"] = [
        {"type": "product", "item_id": tea, "applied_taxes": [{"code": "VAT", "percent": 20}]},
        {"type": "product", "item_id": book, "applied_taxes": [{"code": "ZERO"}, {"code": "ECO"}]},
        {"type": "shipping", "applied_taxes": [{"code": "SHIP"}]},
    ]
    (event,) = await stall.events(stall.source(tax_codes=how))
    assert [line.tax_code for line in event.lines] == expected
    assert event.shipping.tax_code == {"rate": "GB-0", "none": None, "applied": "SHIP"}[how]


async def test_an_order_of_virtual_goods_has_no_shipping_and_is_taxed_where_it_is_billed(stall, cart_item):
    _, event = await placed(stall, cart_item(kind="virtual"), country="DE")
    assert (event.ship_to, event.shipping) == (None, None)
    assert event.lines[0].tax_code == "DE-20"


async def test_the_yen_has_no_decimals(stall, cart_item):
    stall.shop.currency = stall.shop.base_currency = "JPY"
    _, event = await placed(stall, cart_item(price="1000", rate="10"))
    assert (event.grand_total, str(event.lines[0].tax_amount)) == (2200, "200")


async def test_what_changes_about_an_order_later_does_not_change_its_event(stall, cart_item):
    order_id, first = await placed(stall, cart_item(), shipping=D(3))
    stall.shop.invoice(order_id)
    stall.shop.ship(order_id)
    stall.clock.passes(minutes=1)
    stall.cursor = None
    again = (await stall.events())[0]
    assert again.digest == first.digest


# ---- shipments


async def test_partial_shipments_of_a_configurable_product_and_a_bundle(stall, cart_item):
    for child_rows in (True, False):
        stall.shop.child_rows = child_rows
        order_id = stall.shop.place(
            cart_item("SHIRT", kind="configurable"),
            cart_item("BOX", "2", "9", kind="bundle", parts=BOX),
            state="processing",
        )
        (shirt, _), (box,) = stall.shop.item_ids(order_id, "SHIRT"), stall.shop.item_ids(order_id, "BOX")
        stall.shop.ship(order_id, {shirt: D(1), box: D(1)})
        order, event = [each for each in await stall.events() if each.order_id == str(order_id)]
        ids = {line.sku: line.line_id for line in order.lines}
        assert [(line.sku, line.quantity) for line in event.lines] == [("SHIRT", 1), ("MUG", 1), ("TEA", 3)]
        assert all(line.line_id == ids[line.sku] for line in event.lines)


async def test_a_bundle_may_leave_in_parts(stall, cart_item):
    order_id = stall.shop.place(cart_item("BOX", "1", "9", kind="bundle", parts=BOX), state="processing")
    (tea,) = stall.shop.item_ids(order_id, "TEA")
    stall.shop.ship(order_id, {tea: D(2)})
    _, event = await stall.events()
    assert [(line.sku, line.quantity) for line in event.lines] == [("TEA", 2)]


async def test_a_shipment_of_rows_that_its_order_lacks_is_refused(stall, cart_item):
    order_id = stall.shop.place(cart_item(), state="processing")
    shipment_id = stall.shop.ship(order_id)
    stall.shop.lists["shipments"][shipment_id]["items"][0]["order_item_id"] = 5
    assert [each.refused[0].error for each in await stall.batches(stall.source()) if each.refused] == [
        "an order_item_id is not one of its order's; fix it in the shop, or edit and replay"
    ]


async def test_fractions_of_a_unit_stay_exact(stall, cart_item):
    order_id = stall.shop.place(cart_item("ROPE", "2.75", "3.1"), state="processing")
    (rope,) = stall.shop.item_ids(order_id, "ROPE")
    stall.shop.ship(order_id, {rope: D("1.125")})
    order, event = await stall.events()
    assert (order.lines[0].quantity, event.lines[0].quantity) == (D("2.75"), D("1.125"))


# ---- credit memos


def total_of(refund):
    parts = [*refund.lines, refund.shipping, refund.adjustment]
    return sum(part.amount + part.tax_amount for part in parts if part is not None)


async def sold(stall, *cart, **fields):
    """An order, paid and shipped."""
    order_id = stall.shop.place(*cart, state="processing", **fields)
    stall.shop.invoice(order_id)
    stall.shop.ship(order_id)
    stall.clock.passes(seconds=1)
    return order_id


async def refunds(stall, **settings):
    return [
        each for each in await stall.events(stall.source(**settings)) if isinstance(each, RefundIssued | OrderCancelled)
    ]


@pytest.mark.parametrize("online", [False, True])
async def test_a_partial_refund_with_shipping_and_adjustments(stall, cart_item, online):
    order_id = await sold(stall, cart_item(discount_percent="10"), shipping=D(3))
    (tea,) = stall.shop.item_ids(order_id, "TEA-250")
    memo_id = stall.shop.refund(
        order_id, {tea: D(1)}, shipping=D(1), adjustment_positive=D(2), adjustment_negative=D("0.50"), online=online
    )
    (refund,) = await refunds(stall)
    assert (refund.refund_id, refund.order_id, refund.currency) == (str(memo_id), str(order_id), "GBP")
    (line,) = refund.lines
    assert (line.line_id, line.sku, line.quantity, line.amount, line.tax_amount) == (
        str(tea),
        "TEA-250",
        1,
        18,
        D("3.60"),
    )
    assert (refund.shipping.amount, refund.shipping.tax_amount) == (1, D("0.20"))
    assert (refund.adjustment.amount, refund.adjustment.tax_amount) == (D("1.50"), 0)
    assert refund.total == total_of(refund) == D("24.30")
    assert refund.reason == f"credit memo {memo_id:09}"


async def test_an_amount_alone_is_an_adjustment(stall, cart_item):
    order_id = await sold(stall, cart_item())
    memo_id = stall.shop.refund(order_id, {}, adjustment_positive=D(6))
    row = stall.shop.lists["creditmemos"][memo_id]
    row["items"] = [{"order_item_id": item["item_id"], "qty": 0} for item in stall.shop.order(order_id)["items"]]
    (refund,) = await refunds(stall, adjustment_tax_rate="20", adjustment_tax_code="GB-20")
    assert (refund.lines, refund.shipping, refund.total) == ((), None, 6)
    assert (refund.adjustment.amount, refund.adjustment.tax_amount, refund.adjustment.tax_code) == (5, 1, "GB-20")


@pytest.mark.parametrize("restock", [True, False])
async def test_whether_goods_come_back_is_a_setting(stall, cart_item, restock):
    stall.shop.refund(await sold(stall, cart_item()))
    (refund,) = await refunds(stall, restock=restock)
    assert refund.lines[0].restock is restock


@pytest.mark.parametrize("including", [False, True])
async def test_refunds_in_parts_come_to_the_penny(stall, including):
    stall.shop.prices_include_tax = including
    random = Random(7)
    for _ in range(40):
        cart = [
            CartItem(
                sku="A",
                quantity=D(7),
                price=D(random.randint(1, 9999)) / 100,
                discount_percent=D(random.choice([0, 13])),
            ),
            CartItem(
                sku="B",
                quantity=D(7),
                kind="bundle",
                price=D(random.choice([0, 1999])) / 100,
                parts=BOX,
                discount_percent=D(9),
            ),
            CartItem(sku="C", quantity=D(7), kind="configurable", price=D("3.33"), rate=D(5)),
        ]
        share = D(random.choice([0, 50, 100]))
        order_id = await sold(stall, *cart, shipping=D(7), shipping_discount_percent=share)
        tops = [item["item_id"] for item in stall.shop.order(order_id)["items"] if item["parent_item_id"] is None]
        for part in (2, 1, 4):
            stall.clock.passes(seconds=1)
            stall.shop.refund(order_id, {top: D(part) for top in tops}, shipping=D(part))
    events = await stall.events(stall.source(page_size=300))
    made = [each for each in events if isinstance(each, RefundIssued)]
    assert len(made) == 120
    assert not [each for each in events if isinstance(each, OrderCancelled)]
    for refund in made:
        row = stall.shop.lists["creditmemos"][int(refund.refund_id)]
        assert refund.total == total_of(refund) == row["grand_total"]
        assert {line.sku for line in refund.lines} == {"A", "MUG", "TEA", "C"}
    for order in (each for each in events if isinstance(each, OrderPlaced)):
        of = [line for refund in made if refund.order_id == order.order_id for line in refund.lines]
        for line in order.lines:
            mine = [each for each in of if each.line_id == line.line_id]
            assert sum(each.quantity for each in mine) == line.quantity
            assert sum(each.tax_amount for each in mine) == line.tax_amount


async def test_goods_that_had_not_left_are_cancelled_and_not_credited(stall, cart_item):
    """3 ordered and paid, 1 shipped, 1 refunded: the shop will ship one more."""
    order_id = stall.shop.place(cart_item(quantity="3"), shipping=D(3), state="processing")
    (tea,) = stall.shop.item_ids(order_id, "TEA-250")
    stall.shop.invoice(order_id)
    stall.shop.ship(order_id, {tea: D(1)})
    stall.clock.passes(seconds=1)
    memo_id = stall.shop.refund(order_id, {tea: D(1)}, adjustment_positive=D(5))
    cancelled, refund = await refunds(stall)
    assert (cancelled.event_id, [(line.line_id, line.quantity) for line in cancelled.lines]) == (
        f"creditmemo-{memo_id}",
        [(str(tea), 1)],
    )
    assert (refund.lines, refund.adjustment.amount, refund.total) == ((), 5, 5)


async def test_a_refund_of_more_than_was_still_to_leave_is_both(stall, cart_item):
    """3 ordered and paid, 2 shipped, 2 refunded: one was still here, and one had left."""
    order_id = stall.shop.place(cart_item(quantity="3"), state="processing")
    (tea,) = stall.shop.item_ids(order_id, "TEA-250")
    stall.shop.invoice(order_id)
    stall.shop.ship(order_id, {tea: D(2)})
    stall.clock.passes(seconds=1)
    stall.shop.refund(order_id, {tea: D(2)})
    cancelled, refund = await refunds(stall)
    assert cancelled.lines[0].quantity == 1
    assert (refund.lines[0].quantity, refund.lines[0].amount, refund.total) == (1, 20, 24)


async def test_what_never_leaves_is_emitted_as_it_is(stall, cart_item):
    """Nothing shipped, everything refunded: B1 cancels the order, and the refund is recorded as a no-op there."""
    order_id = stall.shop.place(cart_item(quantity="3"), shipping=D(3), state="processing")
    (tea,) = stall.shop.item_ids(order_id, "TEA-250")
    stall.shop.invoice(order_id)
    stall.shop.refund(order_id, {tea: D(1)})
    stall.clock.passes(seconds=1)
    stall.shop.refund(order_id, shipping=D(3))
    first, second, whole = await refunds(stall)
    assert [sum(line.quantity for line in each.lines) for each in (first, second)] == [1, 2]
    assert (whole.lines[0].quantity, whole.shipping.amount, whole.total) == (2, 3, D("51.60"))


async def test_what_had_left_is_the_same_whenever_the_credit_memo_is_read(stall, cart_item):
    order_id = stall.shop.place(cart_item(quantity="3"), state="processing")
    (tea,) = stall.shop.item_ids(order_id, "TEA-250")
    stall.shop.invoice(order_id)
    stall.shop.refund(order_id, {tea: D(1)})
    early = await refunds(stall)
    stall.clock.passes(minutes=1)
    stall.shop.ship(order_id)
    stall.clock.passes(minutes=1)
    stall.shop.refund(order_id)
    stall.cursor = None
    late = await refunds(stall)
    assert [each.digest for each in late[: len(early)]] == [each.digest for each in early]
    assert isinstance(late[-1], RefundIssued)
    assert late[-1].lines[0].quantity == 2


async def test_whatever_happens_in_whatever_order_no_unit_is_cancelled_and_shipped(stall, cart_item):
    """Ordered = shipped + cancelled in the end, and what is credited had left."""
    random = Random(11)
    for _ in range(30):
        order_id = stall.shop.place(
            cart_item("A", "4"), cart_item("BOX", "4", "9", kind="bundle", parts=BOX), state="processing"
        )
        stall.shop.invoice(order_id)
        tops = [item["item_id"] for item in stall.shop.order(order_id)["items"] if item["parent_item_id"] is None]
        for _ in range(6):
            stall.clock.passes(seconds=random.randint(0, 2))
            act = random.choice([stall.shop.ship, stall.shop.refund])
            with_, n = random.choice(tops), D(random.randint(1, 2))
            try:
                act(order_id, {with_: n})
            except ActionRefusedError:
                continue
        for act in (stall.shop.ship, stall.shop.refund):
            stall.clock.passes(seconds=5)
            try:
                act(order_id)
            except ActionRefusedError:
                continue
    events = await stall.events(stall.source(page_size=300))
    by_order = itertools.groupby(sorted(events, key=lambda each: each.order_id), key=lambda each: each.order_id)
    for _, of_order in by_order:
        group = list(of_order)
        (order,) = [each for each in group if isinstance(each, OrderPlaced)]
        sums = {}
        for each in group:
            if isinstance(each, OrderPlaced):
                continue
            for line in each.lines or ():
                sums.setdefault(line.line_id, {}).setdefault(type(each), []).append(line.quantity)
        never = not any(isinstance(each, DispatchConfirmed) for each in group)
        for line in order.lines:
            of = {kind: sum(quantities) for kind, quantities in sums.get(line.line_id, {}).items()}
            left, cancelled = of.get(DispatchConfirmed, 0), of.get(OrderCancelled, 0)
            assert left + cancelled == line.quantity
            assert never or of.get(RefundIssued, 0) <= left

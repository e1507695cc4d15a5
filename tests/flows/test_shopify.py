"""A shop, its webhooks lost and doubled, a bad network, a worker killed in the middle.

To the penny and the unit in B1.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from decimal import Decimal
from random import Random
from typing import Any

import httpx

from connectors.base.cursors import CURSORS, Cursors, partition_of
from connectors.base.dead_letters import DeadLetters
from connectors.base.publisher import Publisher
from connectors.runtime import Runtime
from connectors.shopify.hook import hook_of
from connectors.shopify.settings import ShopifySettings
from connectors.shopify.source import ShopifySource
from connectors.webhooks.ingest import WebhookIngest
from connectors.webhooks.server import WebhookServer
from connectors.webhooks.settings import WebhookSettings
from lab.simulators.shopify.app import Shop
from streams.telemetry.metrics import Metrics
from tests.connectors.wire import Wire
from tests.flows.world import World

OpenWorld = Callable[..., Awaitable[World]]
TOKEN = "shpat_flow"


class Storefront:
    """The shop beside a world: its connector runs there under the name of the world's own shop."""

    def __init__(self, world: World, shop: Shop, **changes: Any) -> None:
        self.world, self.shop = world, shop
        table = {
            "kind": "shopify",
            "company": "acme",
            "shop": shop.domain,
            "access_token": "env:T",
            "webhook_secrets": ["env:S"],
            "poll_interval_s": 20,
            **changes,
        }
        self.settings = ShopifySettings.model_validate(table, context={"environ": {"T": TOKEN, "S": shop.secret}})
        self._start()

    def _start(self) -> None:
        world, broker = self.world, self.world.log
        topic, partition = world.config.topic, partition_of("shop", world.config.kafka.partitions)
        publisher = Publisher(broker, world.codec, world.clock, topic)
        letters = DeadLetters(broker, world.codec, world.clock, topic, world.config.company_partition)
        metrics = Metrics(world.config).sources
        self.runtime = Runtime(
            ShopifySource("shop", self.settings, world.clock, transport=Wire(self.shop)),
            cursors=Cursors("shop", broker, world.codec, world.clock, topic=topic(CURSORS), partition=partition),
            publisher=publisher,
            letters=letters,
            metrics=metrics,
            poll_interval_s=self.settings.poll_interval_s,
            random=Random(5),
        )
        hook = hook_of("shop", self.settings)
        assert hook is not None
        door = WebhookServer(
            [hook],
            WebhookIngest(publisher, letters, metrics),
            world.clock,
            WebhookSettings(),
            wake=lambda _: self.runtime.wake(),
        )
        self.door = httpx.AsyncClient(transport=httpx.ASGITransport(door.app), base_url="http://door")
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(self.runtime.run(self.stop))

    async def post(self, headers: Any, body: bytes) -> int:
        return (await self.door.post("/shop", headers=headers, content=body)).status_code

    async def crash(self) -> None:
        """The connector's process is gone, and another one takes over."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.door.aclose()
        self._start()

    async def close(self) -> None:
        self.stop.set()
        await self.task
        await self.door.aclose()


async def open_shop(world: World, **changes: Any) -> Storefront:
    # The world's own `shop` reads files; it has said nothing, and its name and place in B1 are the shop's from here on.
    for source, (name, _) in zip(list(world._sources), list(world.config.connectors.items()), strict=True):
        if name == "shop":
            source.cancel()
            await asyncio.gather(source, return_exceptions=True)
            world._sources.remove(source)
    shop = Shop(clock=world.clock.now, token=TOKEN, random=random.Random(4))
    shop.add_location("31", "Main")
    return Storefront(world, shop, **changes)


async def test_many_orders_over_a_bad_network_are_in_b1_once_and_to_the_penny(open_world: OpenWorld) -> None:
    world = await open_world(
        connectors={"shop": {"locations": {"31": "LON1"}}},
        shipping_types={"DPD UK": 3},
        refunds={"adjustment_expense_code": 2, "adjustment_account": "4000"},
        tax={"codes": {"GB-20": "O1", "GB-0": "O0"}},
    )
    front = await open_shop(world)
    shop, draw = front.shop, random.Random(9)
    shop.maximum = shop.available = 1200
    shop.subscriptions = {"orders/create", "orders/updated", "orders/paid", "refunds/create", "fulfillments/create"}
    shop.rates = {"twice": 0.3, "lost": 0.3, "drop": 0.05, "html": 0.05}
    numbers: list[str] = []
    sent = back = 0
    for step in range(14):
        lines = [
            {"sku": "A", "quantity": 3, "price": "3.33"},
            {"sku": "B", "quantity": 1, "price": "9.99", "discount": "1.01"},
        ]
        numbers.append(shop.place_order(*lines, taxes_included=step % 2 == 0))
        await asyncio.sleep(3)
        await shop.deliver(front.post)
        number = draw.choice(numbers)
        order = shop.orders[number]
        if order["lineItems"][0]["unfulfilledQuantity"] and order["cancelledAt"] is None:
            shop.fulfil(number, "31", {0: 1}, company="DPD UK", tracking=f"T{step}")
            sent += 1
            await asyncio.sleep(2)
            if step % 3 == 0:
                shop.refund(number, [(0, 1, "RETURN", "31")], adjustment="0.50")
                back += 1
        if step == 4:
            await front.crash()
        if step == 8:
            await world.kill_worker()
            await world.start_worker()
        await shop.deliver(front.post)
        await asyncio.sleep(draw.choice([1, 30]))
    shop.rates = {}
    await asyncio.sleep(400)
    await world.until(lambda: len(world.documents("CreditNotes")) >= back)
    await front.close()
    # A dispatch may overtake its order between two topics: it then waits for it.
    assert {one.state.state for one in await world.letters()} <= {"posted"}
    orders = {one["U_STREAMS_KEY"]: one for one in world.documents("Orders")}
    assert len(world.documents("Orders")) == len(orders) == len(numbers)
    for number in numbers:
        total = Decimal(shop.orders[number]["totalPriceSet"]["shopMoney"]["amount"])
        assert Decimal(orders[world.order_k(number)]["DocTotal"]) == total
    assert len(world.documents("DeliveryNotes")) == sent
    assert world.on_hand("A") == 100 - sent + back
    paid_back = sum(
        (
            Decimal(one["totalRefundedSet"]["shopMoney"]["amount"])
            for each in shop.orders.values()
            for one in each["refunds"]
        ),
        Decimal(0),
    )
    assert sum((Decimal(one["DocTotal"]) for one in world.documents("CreditNotes")), Decimal(0)) == paid_back
    assert await world.ends("order_placed") == {"posted": len(numbers)}


async def test_counts_and_dispatches_of_one_location_leave_b1_with_the_shops_count(open_world: OpenWorld) -> None:
    world = await open_world(
        connectors={"shop": {"locations": {"31": "LON1"}}, "warehouse": {}},
        shipping_types={"DPD UK": 3},
        warehouses={"LON1": {"owner": "shop", "location": "31", "returns_by": "adjustment"}},
    )
    front = await open_shop(world, stock_locations=["31"], locations={"31": "LON1"})
    shop = front.shop
    shop.set_level("A", "31", 100)
    await asyncio.sleep(60)
    number = shop.place_order({"sku": "A", "quantity": 5, "price": "10.00"})
    await asyncio.sleep(60)
    shop.fulfil(number, "31", {0: 4})
    await asyncio.sleep(90)
    shop.refund(number, [(0, 1, "RETURN", "31")])
    await asyncio.sleep(60)
    shop.set_level("A", "31", shop.levels["A", "31"]["on_hand"] - 7)
    await asyncio.sleep(400)
    await world.settled()
    await front.close()
    assert shop.levels["A", "31"]["on_hand"] == 90
    assert world.on_hand("A") == 90
    # A dispatch may overtake its order between two topics: it then waits for it.
    assert {one.state.state for one in await world.letters()} <= {"posted"}


TAX = {"codes": {"GB-20": "O1", "GB-0": "O0", "20": "O1", "0": "O0"}, "default": "O1"}
REFUNDS = {"adjustment_expense_code": 2, "adjustment_account": "4000"}


async def test_a_sale_at_a_till_is_posted_under_its_own_rates_and_never_under_the_default(
    open_world: OpenWorld,
) -> None:
    world = await open_world(connectors={"shop": {"locations": {"31": "LON1"}}}, tax=TAX)
    front = await open_shop(world)
    lines = [{"sku": "A", "quantity": 1, "price": "10.00", "rate": "0"}, {"sku": "B", "quantity": 1, "price": "12.00"}]
    front.shop.place_order(*lines, at_till=True, shipping=None)
    await world.until(lambda: world.documents("Orders"))
    await front.close()
    (order,) = world.documents("Orders")
    assert [(line["ItemCode"], line["VatGroup"]) for line in order["DocumentLines"]] == [("A", "O0"), ("B", "O1")]
    assert Decimal(order["DocTotal"]) == 22


async def test_a_rate_that_is_not_mapped_is_refused_where_the_country_is_not_known(open_world: OpenWorld) -> None:
    world = await open_world(
        connectors={"shop": {"locations": {"31": "LON1"}}}, tax={"codes": {"GB-20": "O1"}, "default": "O1"}
    )
    front = await open_shop(world)
    front.shop.place_order({"sku": "A", "quantity": 1, "price": "10.00", "rate": "0"}, at_till=True, shipping=None)
    await asyncio.sleep(120)
    await front.close()
    (letter,) = await world.letters()
    assert letter.state.reason == "unmapped_tax_code"
    assert world.documents("Orders") == []


async def test_an_exchange_is_a_credit_and_a_second_order_whose_dispatch_finds_it(open_world: OpenWorld) -> None:
    world = await open_world(
        connectors={"shop": {"locations": {"31": "LON1"}}}, shipping_types={"DPD UK": 3}, tax=TAX, refunds=REFUNDS
    )
    front = await open_shop(world)
    shop = front.shop
    number = shop.place_order({"sku": "A", "quantity": 1, "price": "100.00"}, shipping=None)
    await asyncio.sleep(60)
    shop.fulfil(number, "31", {0: 1}, company="DPD UK", tracking="1")
    await asyncio.sleep(60)
    shop.exchange(number, 0, {"sku": "B", "quantity": 1, "price": "250.00"}, "31")
    await asyncio.sleep(60)
    shop.fulfil(number, "31", {1: 1}, company="DPD UK", tracking="2")
    await world.until(lambda: len(world.documents("DeliveryNotes")) == 2 and world.documents("CreditNotes"))
    await front.close()
    assert {one.state.state for one in await world.letters()} <= {"posted"}
    assert [Decimal(one["DocTotal"]) for one in world.documents("Orders")] == [100, 250]
    assert [line["ItemCode"] for one in world.documents("DeliveryNotes") for line in one["DocumentLines"]] == ["A", "B"]
    (credit,) = world.documents("CreditNotes")
    assert Decimal(credit["DocTotal"]) == 100
    assert (world.on_hand("A"), world.on_hand("B")) == (100, 99)


async def test_money_given_back_without_rows_is_a_credit_memo_of_that_amount(open_world: OpenWorld) -> None:
    world = await open_world(
        connectors={"shop": {"locations": {"31": "LON1"}}}, shipping_types={"DPD UK": 3}, tax=TAX, refunds=REFUNDS
    )
    front = await open_shop(world)
    shop = front.shop
    number = shop.place_order({"sku": "A", "quantity": 1, "price": "100.00"}, shipping=None)
    shop.fulfil(number, "31", {0: 1}, company="DPD UK", tracking="1")
    await asyncio.sleep(60)
    shop.refund(number, money="15.00", explained=False)
    await world.until(lambda: world.documents("CreditNotes"))
    await front.close()
    (credit,) = world.documents("CreditNotes")
    assert Decimal(credit["DocTotal"]) == 15
    assert {one.state.state for one in await world.letters()} <= {"posted"}

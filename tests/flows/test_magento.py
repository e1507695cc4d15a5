"""From a Magento shop to B1's ledger.

Both tax modes, bundles, partial shipments, refunds and cancellations of every kind.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.base.cursors import CURSORS, Cursors, partition_of
from connectors.base.dead_letters import DeadLetters
from connectors.base.errors import RetriableError
from connectors.base.log import Outgoing, Sent
from connectors.base.publisher import Publisher
from connectors.magento.source import MagentoSource
from connectors.runtime import Runtime
from lab.simulators.magento.app import build_app
from lab.simulators.magento.faults import MagentoFaultKind
from lab.simulators.magento.prices import BundlePart, CartItem
from lab.simulators.magento.state import MagentoShop
from streams.telemetry.metrics import Metrics
from tests.connectors.wire import Wire
from tests.flows.world import World

SECRETS = {
    "key": "consumer-key",
    "secret": "consumer-secret",
    "token": "access-token",
    "token_secret": "access-token-secret",
}
SKUS = ("A", "B", "C")
COMPANY: dict[str, Any] = {
    "warehouses": {
        "LON1": {"owner": "mage", "location": "wh-uk", "sellable_on": []},
        "RET1": {"owner": "mage", "location": "back"},
        "SHO1": None,
    },
    "shipping_types": {"DPD": 3, "ups": 4},
}
CONNECTORS: dict[str, Any] = {
    "shop": None,
    "warehouse": None,
    "till": None,
    "mage": {
        "kind": "magento",
        "company": "acme",
        "base_url": "https://shop.example",
        "consumer_key": "file:key",
        "consumer_secret": "file:secret",
        "access_token": "file:token",
        "access_token_secret": "file:token_secret",
        "adjustment_tax_code": "GB-0",
        "orders": {"warehouse": "LON1"},
        "page_size": 5,
    },
}


class ForgetfulBroker:
    """Kafka whose acknowledgement is sometimes lost: what was sent is there, and is sent again."""

    def __init__(self, log: Any, dice: random.Random) -> None:
        self._log = log
        self.read, self.bounds = log.read, log.bounds
        self._dice, self.rate, self.lost = dice, 0.0, 0

    async def send_many(self, records: Sequence[Outgoing]) -> Sequence[Sent]:
        sent = await self._log.send_many(records)
        await asyncio.sleep(0.001)
        if self._dice.random() < self.rate:
            self.lost += 1
            raise RetriableError("no acknowledgement", retry_after_s=0.1)
        return sent


class MagentoWorld(World):
    """A world whose only source is a Magento shop."""

    def __init__(self, folder: Path, *, prices_include_tax: bool) -> None:
        folder.mkdir(parents=True)
        for name, value in SECRETS.items():
            (folder / name).write_text(value)
        super().__init__(folder, COMPANY, CONNECTORS)
        self.b1.load({"stock": [{"item": sku, "warehouse": "LON1", "quantity": "900"} for sku in SKUS]})
        self.begin = {sku: self.on_hand(sku) for sku in SKUS}
        self.shop = MagentoShop(self.clock.now, prices_include_tax=prices_include_tax)
        self.app = build_app(self.shop)
        self.dice = random.Random(7)
        self.broker = ForgetfulBroker(self.log, self.dice)

    async def start(self) -> None:
        self.start_connector()
        await self.start_worker()

    def start_connector(self) -> None:
        partition = partition_of("mage", self.config.kafka.partitions)
        runtime = Runtime(
            MagentoSource("mage", self.config.connectors["mage"], self.clock, transport=Wire(self.app)),  # type: ignore[arg-type]
            cursors=Cursors(
                "mage", self.broker, self.codec, self.clock, topic=self.config.topic(CURSORS), partition=partition
            ),
            publisher=Publisher(self.broker, self.codec, self.clock, self.config.topic),
            letters=DeadLetters(self.broker, self.codec, self.clock, self.config.topic, self.config.company_partition),
            metrics=Metrics(self.config).sources,
            poll_interval_s=10,
            random=self.dice,
        )
        self._sources.append(asyncio.create_task(runtime.run(self._stop)))

    async def kill_connector(self) -> None:
        task = self._sources.pop()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def catches_up(self) -> None:
        """The connector looks at everything, and everything settles."""
        await self.passes(60)
        await self.settled()

    def tops(self, order_id: int) -> list[int]:
        return [item["item_id"] for item in self.shop.order(order_id)["items"] if item["parent_item_id"] is None]

    def of(self, entity: str, order_id: int) -> list[dict[str, Any]]:
        k = self.order_k(str(order_id), "mage")
        return [one for one in self.documents(entity) if one["U_STREAMS_ORDER"] == k]

    def total(self, entity: str, order_id: int) -> Decimal:
        return sum((Decimal(one["DocTotal"]) for one in self.of(entity, order_id)), Decimal(0))


@pytest.fixture(params=[False, True], ids=["prices without tax", "prices with tax"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MagentoWorld]:
    world = MagentoWorld(tmp_path / "world", prices_include_tax=request.param)
    await world.start()
    yield world
    await world.close()


def cart(dice: random.Random) -> list[CartItem]:
    parts = (
        BundlePart(sku="B", quantity=Decimal(1), price=Decimal("3.35")),
        BundlePart(sku="C", quantity=Decimal(2), price=Decimal("1.99")),
    )
    kinds: list[Mapping[str, Any]] = [
        {"kind": "simple", "sku": "A", "price": Decimal(dice.randint(1, 9999)) / 100},
        {"kind": "configurable", "sku": "B", "price": Decimal("19.99")},
        {"kind": "bundle", "sku": "BOX", "parts": parts},
        {"kind": "bundle", "sku": "BOX", "parts": parts, "price": Decimal("7.77")},
    ]
    return [
        CartItem(
            quantity=Decimal(4),
            rate=Decimal(dice.choice([0, 20])),
            discount_percent=Decimal(dice.choice([0, 0, 13])),
            **fields,
        )
        for fields in dice.sample(kinds, dice.randint(1, 3))
    ]


async def test_an_order_is_placed_dispatched_invoiced_and_refunded(world: MagentoWorld) -> None:
    shop = world.shop
    order_id = shop.place(*cart(world.dice), shipping=Decimal("4.95"), state="new")
    await world.catches_up()
    assert not world.documents("Orders")
    shop.invoice(order_id)
    await world.catches_up()
    (order,) = world.of("Orders", order_id)
    assert Decimal(order["DocTotal"]) == shop.order(order_id)["grand_total"]
    assert order["NumAtCard"] == shop.order(order_id)["increment_id"]
    shop.ship(order_id, dict.fromkeys(world.tops(order_id), Decimal(1)))
    await world.catches_up()
    shop.ship(order_id, tracks=[("1Z", "UPS", "ups")])
    await world.catches_up()
    assert [one["TransportationCode"] for one in world.of("DeliveryNotes", order_id)] == [3, 4]
    assert world.total("Invoices", order_id) == shop.order(order_id)["grand_total"]
    memos = []
    for part, extra in (
        (1, {"shipping": Decimal("4.95")}),
        (2, {"adjustment_positive": Decimal("1.50")}),
        (1, {"adjustment_negative": Decimal("0.75")}),
    ):
        memos.append(shop.refund(order_id, dict.fromkeys(world.tops(order_id), Decimal(part)), **extra))
        await world.passes(1)
    await world.catches_up()
    paid_back = sum(shop.lists["creditmemos"][memo_id]["grand_total"] for memo_id in memos)
    assert world.total("CreditNotes", order_id) == paid_back
    assert {sku: world.on_hand(sku) for sku in SKUS} == world.begin
    assert not await world.letters()


async def test_a_discount_of_the_whole_shipping_reaches_b1_on_its_own_tax_basis(world: MagentoWorld) -> None:
    shop = world.shop
    tea = CartItem(sku="A", price=Decimal(24))
    order_id = shop.place(tea, shipping=Decimal(5), shipping_discount_percent=Decimal(100), state="new")
    shop.invoice(order_id)
    shop.ship(order_id)
    await world.passes(1)
    shop.refund(order_id, shipping=Decimal(5))
    await world.catches_up()
    (order,) = world.of("Orders", order_id)
    assert Decimal(order["DocTotal"]) == shop.order(order_id)["grand_total"]
    assert not any(Decimal(each["LineTotal"]) for each in order.get("DocumentAdditionalExpenses", []))
    assert (
        world.total("Invoices", order_id) == world.total("CreditNotes", order_id) == shop.order(order_id)["grand_total"]
    )
    assert not await world.letters()


async def test_a_rate_without_a_country_is_never_posted_under_the_companys_default(world: MagentoWorld) -> None:
    order_id = world.shop.place(CartItem(sku="A", price=Decimal(12), rate=Decimal(7)), country=None, state="processing")
    await world.catches_up()
    (letter,) = await world.letters()
    assert (letter.state.reason, letter.state.order_id) == ("unmapped_tax_code", str(order_id))
    assert "'7'" in letter.state.error
    assert not world.documents("Orders")


async def test_money_back_that_nothing_explains_is_a_dead_letter_and_no_credit(world: MagentoWorld) -> None:
    order_id = world.shop.place(CartItem(sku="A", price=Decimal(12)), state="new")
    world.shop.invoice(order_id)
    world.shop.ship(order_id)
    await world.passes(1)
    world.shop.refund(
        order_id,
        {},
        shipping=Decimal(0),
        grand_total=Decimal(15),
        items=[{"order_item_id": world.tops(order_id)[0], "qty": 0}],
    )
    await world.catches_up()
    (letter,) = await world.letters()
    assert (letter.state.reason, letter.state.order_id) == ("invalid_event", str(order_id))
    assert not world.documents("CreditNotes")


async def test_an_amount_alone_is_goodwill(world: MagentoWorld) -> None:
    order_id = world.shop.place(*cart(world.dice), state="new")
    world.shop.invoice(order_id)
    world.shop.ship(order_id)
    await world.passes(1)
    world.shop.refund(order_id, {}, adjustment_positive=Decimal("2.50"))
    await world.catches_up()
    (credit,) = world.of("CreditNotes", order_id)
    assert (credit["DocType"], credit["DocTotal"]) == ("dDocument_Service", "2.5")


async def test_a_refund_before_anything_left_cancels_the_order_and_credits_nothing(world: MagentoWorld) -> None:
    order_id = world.shop.place(*cart(world.dice), shipping=Decimal(3), state="new")
    world.shop.invoice(order_id)
    await world.catches_up()
    world.shop.refund(order_id, shipping=Decimal(3))
    assert world.shop.order(order_id)["state"] == "closed"
    await world.catches_up()
    (order,) = world.of("Orders", order_id)
    assert order["Cancelled"] == "tYES" or all(line["LineStatus"] == "bost_Close" for line in order["DocumentLines"])
    assert not world.documents("CreditNotes")
    assert await world.ends("refund_issued") == {"no_op": 1}
    assert not [one for one in await world.letters() if one.state.state in ("parked", "dead", "held")]


async def test_a_refund_of_what_was_still_here_leaves_the_invoice_of_the_rest(world: MagentoWorld) -> None:
    order_id = world.shop.place(CartItem(sku="A", quantity=Decimal(4), price=Decimal(10)), state="new")
    world.shop.invoice(order_id)
    tops = dict.fromkeys(world.tops(order_id), Decimal(1))
    world.shop.ship(order_id, tops)
    await world.passes(2)
    memo_id = world.shop.refund(order_id, {top: Decimal(3) for top in tops})
    await world.catches_up()
    assert not world.documents("CreditNotes")
    left = world.shop.order(order_id)["grand_total"] - world.shop.lists["creditmemos"][memo_id]["grand_total"]
    assert world.total("Invoices", order_id) == left
    assert await world.ends("order_cancelled") == {"posted": 1}


async def test_throttling_crashes_lost_answers_and_late_rows_lose_nothing_and_double_nothing(
    world: MagentoWorld,
) -> None:
    """Two dozen orders of five fates, while the shop, Kafka, the connector and the worker fail again and again."""
    shop, dice = world.shop, world.dice
    world.app.settings.rates = dict.fromkeys(
        (
            MagentoFaultKind.THROTTLED,
            MagentoFaultKind.MAINTENANCE,
            MagentoFaultKind.INTERNAL,
            MagentoFaultKind.DROPPED,
            MagentoFaultKind.TRUNCATED,
            MagentoFaultKind.HTML_200,
        ),
        0.04,
    )
    world.broker.rate = 0.05
    fates: dict[int, str] = {}
    memos: dict[int, list[int]] = {}
    for turn in range(24):
        fate = dice.choice(["kept", "kept", "returned", "refunded", "cancelled", "abandoned"])
        late = world.clock.now() + timedelta(seconds=30) if turn % 5 == 0 else None
        order_id = shop.place(*cart(dice), shipping=Decimal(dice.randint(0, 500)) / 100, state="new", visible_at=late)
        fates[order_id], memos[order_id] = fate, []
        if fate == "cancelled":
            shop.touch("orders", order_id, state="processing")
        elif fate != "abandoned":
            shop.invoice(order_id)
        await world.passes(dice.uniform(0, 8))
        for each in [one for one in fates if shop.hidden.get(("orders", one), world.clock.now()) <= world.clock.now()]:
            tops = world.tops(each)
            match fates[each], shop.order(each)["state"], dice.random() < 0.5:
                case "kept" | "returned", "processing", True:
                    with_ = dict.fromkeys(tops, Decimal(dice.choice([1, 2])))
                    with contextlib.suppress(Exception):
                        shop.ship(each, with_)
                case "returned", "complete", True:
                    memos[each].append(shop.refund(each, dict.fromkeys(tops, Decimal(1)) if not memos[each] else None))
                case "refunded", "processing", True:
                    memos[each].append(shop.refund(each, shipping=shop.order(each)["shipping_amount"]))
                case "cancelled" | "abandoned", "new" | "processing", True if turn % 3 == 0:
                    shop.cancel(each)
        if turn % 6 == 4:
            await world.kill_connector()
            await world.passes(3)
            world.start_connector()
        if turn == 15:
            await world.kill_worker()
            await world.start_worker()
    await world.passes(40)
    world.app.settings.rates, world.broker.rate = {}, 0.0
    for each, fate in fates.items():
        if fate in ("kept", "returned") and shop.order(each)["state"] == "processing":
            shop.ship(each)
        if fate in ("cancelled", "abandoned") and shop.order(each)["state"] != "canceled":
            shop.cancel(each)
        if fate == "refunded" and not memos[each]:
            memos[each].append(shop.refund(each, shipping=shop.order(each)["shipping_amount"]))
    await world.passes(700)
    await world.catches_up()
    assert world.broker.lost
    bad = [one for one in await world.letters() if one.state.state in ("dead", "parked", "held")]
    assert not bad, [(one.state.reason, one.state.error, one.state.order_id) for one in bad]
    moved: Counter[str] = Counter()
    for order_id, fate in fates.items():
        total = shop.order(order_id)["grand_total"]
        orders = world.of("Orders", order_id)
        # One that was cancelled before we ever saw it placed is nobody's business.
        assert len(orders) in {"abandoned": (0,), "cancelled": (0, 1)}.get(fate, (1,))
        back = sum((shop.lists["creditmemos"][memo_id]["grand_total"] for memo_id in memos[order_id]), Decimal(0))
        if fate in ("kept", "returned"):
            assert (world.total("Invoices", order_id), world.total("CreditNotes", order_id)) == (total, back)
        else:
            assert not world.of("Invoices", order_id) + world.of("CreditNotes", order_id)
        for item in shop.order(order_id)["items"]:
            if item["sku"] in SKUS and (item["parent_item_id"] is not None or item["product_type"] == "simple"):
                left = item["qty_shipped"] if fate in ("kept", "returned") else Decimal(0)
                moved[item["sku"]] -= left - (item["qty_refunded"] if fate == "returned" else 0)  # type: ignore[assignment]
    assert {sku: world.on_hand(sku) - world.begin[sku] for sku in SKUS} == {sku: moved[sku] for sku in SKUS}
    shipped = {row["order_id"] for row in shop.lists["shipments"].values()}
    assert len(world.documents("DeliveryNotes")) == len(shop.lists["shipments"])
    assert shipped == {order_id for order_id, fate in fates.items() if fate in ("kept", "returned")}

"""From a Veeqo account to B1's ledger: orders, partial shipments from two warehouses, counts, cancellations."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.base.cursors import CURSORS, Cursors, partition_of
from connectors.base.dead_letters import DeadLetters
from connectors.base.errors import RetriableError
from connectors.base.log import Outgoing, Sent
from connectors.base.publisher import Publisher
from connectors.runtime import Runtime
from connectors.veeqo.source import VeeqoSource
from lab.simulators.veeqo.app import VeeqoServer
from lab.simulators.veeqo.faults import Behaviour, VeeqoFault
from lab.simulators.veeqo.state import Account, Line
from streams.telemetry.metrics import Metrics
from tests.connectors.wire import Wire
from tests.flows.world import World

KEY = "key-of-the-account"
MAIN, NORTH = 11, 12
CODES = {MAIN: "LON1", NORTH: "RET1"}
SKUS = ("A", "B", "C")
COMPANY: dict[str, Any] = {
    "warehouses": {
        "LON1": {"owner": "vq", "location": "Main", "sellable_on": [], "returns_by": "adjustment"},
        "RET1": {"owner": "vq", "location": "North"},
        "SHO1": None,
    },
    "shipping_types": {"dpd": 3, "Royal Mail": 4},
}
CONNECTORS: dict[str, Any] = {
    "shop": None,
    "warehouse": None,
    "till": None,
    "vq": {
        "kind": "veeqo",
        "company": "acme",
        "api_key": "file:key",
        "locations": {"11": "LON1", "12": "RET1"},
        "orders": {"warehouse": "LON1"},
        "page_size": 8,
        "stock_interval_s": 20,
    },
}


class ForgetfulBroker:
    """Kafka whose acknowledgement is sometimes lost: what was sent is there, and is sent again."""

    def __init__(self, log: Any, dice: random.Random, rate: float) -> None:
        self._log = log
        self.read, self.bounds = log.read, log.bounds
        self._dice, self.rate, self.lost = dice, rate, 0

    async def send_many(self, records: Sequence[Outgoing]) -> Sequence[Sent]:
        sent = await self._log.send_many(records)
        await asyncio.sleep(0.001)
        if self._dice.random() < self.rate:
            self.lost += 1
            raise RetriableError("no acknowledgement", retry_after_s=0.1)
        return sent


class VeeqoWorld(World):
    """A world whose only source is a Veeqo account; it begins when B1 and Veeqo agree about the stock."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "key").write_text(KEY)
        super().__init__(folder, COMPANY, CONNECTORS)
        self.b1.load({"stock": [{"item": sku, "warehouse": "RET1", "quantity": "100"} for sku in SKUS]})
        self.account = Account(self.clock.now)
        for warehouse, name in ((MAIN, "Main"), (NORTH, "North")):
            self.account.add_warehouse(warehouse, name)
        for sku in SKUS:
            self.account.add_product(sku, {MAIN: 100, NORTH: 100})
        self.server = VeeqoServer(
            self.account, frozenset({KEY}), self.clock.monotonic, Behaviour(capacity=5, drain_per_s=0.5)
        )
        self.dice = random.Random(7)
        self.broker = ForgetfulBroker(self.log, self.dice, 0.0)

    async def start(self) -> None:
        self.start_connector()
        await self.start_worker()

    def start_connector(self) -> None:
        partition = partition_of("vq", self.config.kafka.partitions)
        runtime = Runtime(
            VeeqoSource("vq", self.config.connectors["vq"], self.clock, transport=Wire(self.server)),  # type: ignore[arg-type]
            cursors=Cursors(
                "vq", self.broker, self.codec, self.clock, topic=self.config.topic(CURSORS), partition=partition
            ),
            publisher=Publisher(self.broker, self.codec, self.clock, self.config.topic),
            letters=DeadLetters(self.broker, self.codec, self.clock, self.config.topic, self.config.company_partition),
            metrics=Metrics(self.config).sources,
            poll_interval_s=15,
            random=self.dice,
        )
        self._sources.append(asyncio.create_task(runtime.run(self._stop)))

    async def kill_connector(self) -> None:
        task = self._sources.pop()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[VeeqoWorld]:
    world = VeeqoWorld(tmp_path / "world")
    await world.start()
    await world.passes(10)
    yield world
    await world.close()


async def seen(world: VeeqoWorld) -> None:
    """Until Veeqo was looked at twice more, and what it said has become documents."""
    await world.passes(70)
    await world.settled()


def totals(documents: list[dict[str, Any]]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for document in documents:
        number = document["NumAtCard"]
        found[number] = found.get(number, Decimal(0)) + Decimal(document["DocTotal"])
    return found


def check_stock(world: VeeqoWorld) -> None:
    for sku in SKUS:
        for warehouse, code in CODES.items():
            assert world.on_hand(sku, code) == world.account.physical(sku, warehouse), (sku, code)


async def test_an_order_shipped_from_two_warehouses_is_two_deliveries_and_their_invoices(world: VeeqoWorld) -> None:
    order = world.account.place_order(
        Line("A", 2, "20.00", "0.2", "2.00"), Line("B", 1, "9.99"), delivery_cost=Decimal(3)
    )
    await seen(world)
    world.account.dispatch(order, MAIN, {"A": 2}, tracking="T1")
    world.account.dispatch(order, NORTH, {"B": 1}, tracking=None, carrier=1)
    await seen(world)
    row = world.account.orders[order]
    (placed,) = world.documents("Orders")
    assert (placed["NumAtCard"], Decimal(placed["DocTotal"])) == (row["number"], row["total_price"])
    deliveries = world.documents("DeliveryNotes")
    assert [(one["DocumentLines"][0]["WarehouseCode"], one["TransportationCode"]) for one in deliveries] == [
        ("LON1", 3),
        ("RET1", 4),
    ]
    assert totals(world.documents("Invoices")) == {row["number"]: row["total_price"]}
    assert placed["DocumentStatus"] == "bost_Close"
    assert not await world.letters()
    check_stock(world)
    assert not world.documents("InventoryGenExits")


async def test_a_count_becomes_a_movement_of_what_shipments_do_not_explain(world: VeeqoWorld) -> None:
    order = world.account.place_order(Line("A", 5, "20.00"))
    await seen(world)
    world.account.dispatch(order, MAIN, {"A": 5})
    world.account.set_stock("A", MAIN, 92)
    world.account.set_stock("B", NORTH, 104)
    await seen(world)
    (lost,), (found,) = world.documents("InventoryGenExits"), world.documents("InventoryGenEntries")
    assert [(line["ItemCode"], line["WarehouseCode"], line["Quantity"]) for line in lost["DocumentLines"]] == [
        ("A", "LON1", "3")
    ]
    assert [(line["ItemCode"], line["WarehouseCode"], line["Quantity"]) for line in found["DocumentLines"]] == [
        ("B", "RET1", "4")
    ]
    check_stock(world)


async def test_nothing_is_lost_or_doubled_with_throttling_outages_lost_answers_and_crashes(world: VeeqoWorld) -> None:
    account, dice, cancelled = world.account, world.dice, set()
    world.broker.rate = 0.15

    def happen(*_where: object) -> None:
        sku, warehouse = dice.choice(SKUS), dice.choice((MAIN, NORTH))
        waiting = [
            row
            for row in account.orders.values()
            if row["status"] == "awaiting_fulfillment" and len(account.orders) > 5
        ]
        match dice.randint(0, 5):
            case 0 | 1 if len(account.orders) < 25:
                account.place_order(
                    *(
                        Line(each, dice.randint(1, 4), f"{dice.randint(1, 9999) / 100:.2f}", "0.2")
                        for each in dice.sample(SKUS, 2)
                    ),
                    delivery_cost=Decimal(dice.choice(("0", "3.95"))),
                )
            case 2 | 3 if waiting:
                row = dice.choice(waiting)
                line = dice.choice(row["line_items"])["sellable"]["sku_code"]
                if account._unshipped(row, line):
                    account.dispatch(row["id"], warehouse, {line: 1})
            case 4:
                account.set_stock(sku, warehouse, int(account.physical(sku, warehouse)) + dice.choice((-2, -1, 1, 3)))
            case 5 if waiting and dice.random() < 0.3:
                row = dice.choice(waiting)
                if not row["allocations"]:
                    account.cancel(row["id"])
                    cancelled.add(row["number"])

    world.server.after_page = happen
    for _ in range(16):
        for _ in range(5):
            happen()
        await world.passes(dice.uniform(0.2, 25))
        match dice.randint(0, 4):
            case 0:
                await world.kill_connector()
                world.start_connector()
            case 1:
                kinds: Any = ["throttle", "html_503", "drop", "cut"]
                world.server.faults.append(VeeqoFault(dice.choice(kinds), times=dice.randint(1, 3)))
            case 2 if dice.random() < 0.3:
                await world.kill_worker()
                await world.start_worker()
    world.server.after_page = lambda _path, _page: None
    world.server.faults.clear()
    world.broker.rate = 0.0
    await world.passes(60)
    await seen(world)

    assert (
        min(world.broker.lost, world.server.throttled, len(account.orders) - 15, len(world.documents("DeliveryNotes")))
        > 3
    )
    assert not [one.state.reason for one in await world.letters() if one.state.state not in ("posted", "no_op")]
    rows = {row["number"]: row for row in account.orders.values()}
    assert totals(world.documents("Orders")) == {number: row["total_price"] for number, row in rows.items()}
    assert len(world.documents("Orders")) == len(rows)
    assert {one["NumAtCard"] for one in world.documents("Orders") if one["CancelStatus"] != "csNo"} == cancelled
    left = Counter[tuple[str, str, str]]()
    for document in world.documents("DeliveryNotes"):
        for line in document["DocumentLines"]:
            left[document["NumAtCard"], line["ItemCode"], line["WarehouseCode"]] += int(Decimal(line["Quantity"]))
    numbers = {row["id"]: number for number, row in rows.items()}
    assert left == {(numbers[key[0]], key[1], CODES[key[2]]): units for key, units in account.shipped().items()}
    invoiced = totals(world.documents("Invoices"))
    assert {n: invoiced[n] for n, row in rows.items() if row["status"] == "shipped"} == {
        n: row["total_price"] for n, row in rows.items() if row["status"] == "shipped"
    }
    check_stock(world)


async def test_an_order_whose_total_tax_is_zero_is_posted_untaxed_whatever_rate_its_line_has(world: VeeqoWorld) -> None:
    world.account.place_order(Line("A", 2, "0.8", "0.2"), delivery_cost=Decimal("3.0"), total_tax=Decimal(0))
    await world.until(lambda: bool(world.documents("Orders")))
    (order,) = world.documents("Orders")
    assert (Decimal(order["DocTotal"]), [line["VatGroup"] for line in order["DocumentLines"]]) == (
        Decimal("4.6"),
        ["O0"],
    )

"""A 3PL whose pushes are lost, doubled and shuffled, a hub that throttles, a connector and a worker killed.

B1 has its count.
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
from connectors.seko.hook import hook_of
from connectors.seko.settings import SekoSettings
from connectors.seko.source import SekoSource
from connectors.webhooks.ingest import WebhookIngest
from connectors.webhooks.server import WebhookServer
from connectors.webhooks.settings import WebhookSettings
from lab.simulators.seko.app import Hub
from lab.simulators.seko.state import AVAILABLE
from streams.telemetry.metrics import Metrics
from tests.connectors.wire import Wire
from tests.flows.world import World, order, order_line

OpenWorld = Callable[..., Awaitable[World]]
SECRETS = {"KEY": "key-flow", "PUSH": "push-flow"}


class Facility:
    """The 3PL beside a world: its connector runs there under the name of the world's own warehouse."""

    def __init__(self, world: World, hub: Hub, **changes: Any) -> None:
        self.world, self.hub = world, hub
        self._table = {
            "kind": "seko",
            "company": "acme",
            "push_secrets": "env:PUSH",
            "api_key": "env:KEY",
            "locations": {"DCCL01": "LON1", "DCCL01/QC": "QC1"},
            "segregated_types": "QC",
            "held_types": ["Quarantine", "Query", "Returns", "Cross Dock"],
            "reasons": {"DMG": "damaged", "CC": "count"},
            **changes,
        }
        self._start()

    def _start(self) -> None:
        world, broker = self.world, self.world.log
        # Settings of its own: another process has another journal.
        settings = SekoSettings.model_validate(self._table, context={"environ": SECRETS})
        topic, partition = world.config.topic, partition_of("warehouse", world.config.kafka.partitions)
        publisher = Publisher(broker, world.codec, world.clock, topic)
        letters = DeadLetters(broker, world.codec, world.clock, topic, world.config.company_partition)
        metrics = Metrics(world.config).sources
        self.runtime = Runtime(
            SekoSource("warehouse", settings, world.clock, transport=Wire(self.hub)),
            cursors=Cursors("warehouse", broker, world.codec, world.clock, topic=topic(CURSORS), partition=partition),
            publisher=publisher,
            letters=letters,
            metrics=metrics,
            poll_interval_s=settings.poll_interval_s,
            random=Random(5),
        )
        hook = hook_of("warehouse", settings)
        assert hook is not None
        intake = WebhookIngest(publisher, letters, metrics)
        door = WebhookServer([hook], intake, world.clock, WebhookSettings(), wake=lambda _: self.runtime.wake())
        self.door = httpx.AsyncClient(transport=httpx.ASGITransport(door.app), base_url="http://door")
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(self.runtime.run(self.stop))

    async def post(self, headers: Any, body: bytes) -> int:
        return (await self.door.post("/warehouse", headers=headers, content=body)).status_code

    async def passes(self, minutes: int) -> None:
        """Time goes by, and iHub's scheduler runs."""
        for _ in range(minutes):
            await self.world.passes(60)
            await self.hub.push(self.post)

    async def crash(self) -> None:
        """The connector's process is gone, with what it remembered, and another one takes over."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.door.aclose()
        self._start()

    async def close(self) -> None:
        self.stop.set()
        await self.task
        await self.door.aclose()


async def open_facility(open_world: OpenWorld, **changes: Any) -> tuple[World, Facility]:
    world = await open_world(
        connectors={"warehouse": {"locations": {"DCCL01": "LON1", "DCCL01/QC": "QC1"}}},
        shipping_types={"DPD/Next Day": 3},
        warehouses={
            "LON1": {"owner": "warehouse", "location": "DCCL01", "returns_by": "adjustment"},
            "QC1": {"owner": "warehouse", "location": "DCCL01/QC", "returns_by": "adjustment"},
        },
    )
    world.b1.load({"Warehouses": [{"WarehouseCode": "QC1"}]})
    # The world's own `warehouse` reads files; it has said nothing, and its name and place in B1 are the 3PL's from here
    # on.
    for source, name in zip(list(world._sources), list(world.config.connectors), strict=True):
        if name == "warehouse":
            source.cancel()
            await asyncio.gather(source, return_exceptions=True)
            world._sources.remove(source)
    hub = Hub(clock=world.clock.now, key=SECRETS["KEY"], secret=SECRETS["PUSH"], random=random.Random(5))
    hub.stock = {("DCCL01", AVAILABLE, sku, ""): 100 for sku in "ABC"}
    hub.stock["DCCL01", AVAILABLE, "LOT", "L1"] = 50
    hub.stock["DCCL01", AVAILABLE, "SER", ""] = 2
    return world, Facility(world, hub, **changes)


def place(world: World, number: str, **units: int) -> dict[str, int]:
    """The shop's order, on its way to B1 by file."""
    lines = [order_line(str(at), sku, str(n), "10.00") for at, (sku, n) in enumerate(units.items(), start=1)]
    world.writes("shop", order(number, *lines))
    return units


def counted(hub: Hub, sku: str, location_type: str = AVAILABLE) -> Decimal:
    return Decimal(hub.on_hand("DCCL01", location_type, sku))


async def test_after_all_that_goes_wrong_b1_has_sekos_count_and_every_dispatch_once(open_world: OpenWorld) -> None:
    world, facility = await open_facility(open_world)
    hub, draw = facility.hub, random.Random(11)
    hub.lag_s = 300
    hub.faults.rates = {
        "twice": 0.3,
        "lost": 0.25,
        "reorder": 0.5,
        "no_answer": 0.2,
        "throttle": 0.2,
        "html": 0.1,
        "drop": 0.1,
    }
    numbers: list[str] = []
    delivered = 0
    for step in range(12):
        number = f"W-{step}"
        hub.load_order(number, place(world, number, A=3, B=2))
        numbers.append(number)
        hub.adjust(draw.choice("ABC"), draw.choice([-2, -1, 3]), code=draw.choice(["DMG", "CC"]))
        start, end = draw.choice([(AVAILABLE, "QC"), (AVAILABLE, "Quarantine")])
        hub.move("C", 2, start, end)
        if step % 3 == 2:
            hub.move("C", 1, end, start)
        await facility.passes(3)
        picked = {"A": 3, "B": draw.choice([0, 1, 2])}
        hub.dispatch(number, picked, tracking=f"T{step}")
        delivered += 1
        if step == 4:
            await facility.crash()
        if step == 8:
            await world.kill_worker()
            await world.start_worker()
        await facility.passes(draw.choice([2, 8, 20]))
    # Goods received can only be pushed: those that the hub has given up are sent again by a person.
    rates, hub.faults.rates = hub.faults.rates, {"twice": 0.5, "reorder": 1.0}
    for step in range(3):
        hub.receive(f"ASN-{step}", [("A", 20, ""), ("LOT", 10, f"L{step}")])
        hub.take_back(numbers[step], [("A", 1, "")])
    await facility.passes(20)
    hub.faults.rates = rates
    await facility.passes(20)
    hub.faults.rates = {}
    await facility.passes(50)
    await world.until(lambda: len(world.documents("DeliveryNotes")) >= delivered)
    await facility.close()
    assert {one.state.state for one in await world.letters()} <= {"posted"}
    assert {one["TrackingNumber"] for one in world.documents("DeliveryNotes")} == {f"T{n}" for n in range(delivered)}
    assert len(world.documents("DeliveryNotes")) == delivered
    for sku in ("A", "B", "C", "LOT"):
        assert world.on_hand(sku) == counted(hub, sku), sku
    assert world.on_hand("C", "QC1") == counted(hub, "C", "QC")
    assert any(each.ended == "lost" for each in hub.messages)


async def test_lots_and_serials_of_a_dispatch_are_those_that_b1_delivers(open_world: OpenWorld) -> None:
    world, facility = await open_facility(open_world)
    hub = facility.hub
    hub.stock["DCCL01", AVAILABLE, "LOT", "L2"] = 0
    hub.receive("ASN-1", [("LOT", 10, "L2")])
    await facility.passes(20)
    hub.load_order("W-1", place(world, "W-1", LOT=15, SER=2))
    hub.dispatch("W-1", lots={"LOT": {"L1": 9, "L2": 6}}, serials={"SER": ["S2", "S1"]})
    await facility.passes(20)
    await world.until(lambda: len(world.documents("DeliveryNotes")) == 1)
    await facility.close()
    (note,) = world.documents("DeliveryNotes")
    lots, serials = (line for line in note["DocumentLines"])
    assert {each["BatchNumber"]: Decimal(each["Quantity"]) for each in lots["BatchNumbers"]} == {"L1": 9, "L2": 6}
    assert {each["InternalSerialNumber"] for each in serials["SerialNumbers"]} == {"S1", "S2"}
    assert world.on_hand("LOT") == counted(hub, "LOT") == 45


async def test_short_dispatches_that_cancel_close_their_orders(open_world: OpenWorld) -> None:
    world, facility = await open_facility(open_world, short_dispatch="cancel_rest")
    hub = facility.hub
    hub.load_order("W-1", place(world, "W-1", A=3, B=2))
    hub.load_order("W-2", place(world, "W-2", A=1))
    hub.dispatch("W-1", {"A": 3})
    hub.dispatch("W-2", {})
    await facility.passes(20)
    await world.until(lambda: len(world.documents("DeliveryNotes")) == 1)
    await facility.close()
    states = {one["U_STREAMS_KEY"]: (one["DocumentStatus"], one["Cancelled"]) for one in world.documents("Orders")}
    assert states[world.order_k("W-1")] == ("bost_Close", "tNO")
    assert states[world.order_k("W-2")][1] == "tYES"
    assert await world.letters("dead") == []

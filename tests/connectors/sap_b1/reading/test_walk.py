"""Whatever people do in B1, and whatever happens to us meanwhile, what was published says in the end what B1 says."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from connectors.base.errors import RetriableError
from connectors.sap_b1.reading import doctor
from connectors.sap_b1.reading.published import content_of
from lab.simulators.sap_b1.faults import FaultKind
from tests.connectors.sap_b1.reading.stage import B1, Reader, settings_of

TABLE = {"price_lists": [1], "release": {"approved": True}}
FAULTS = (FaultKind.LOST_BEFORE, FaultKind.LOST_AFTER, FaultKind.HTML_502, FaultKind.SESSION_KILL)


class People:
    """Who works in B1; what cannot be done is left."""

    def __init__(self, b1: B1, random: Random) -> None:
        self._b1, self._random = b1, random
        self._orders: list[int] = []
        self._deliveries: list[int] = []

    def act(self) -> None:
        acts: list[Callable[[], Any]] = [
            self._place,
            self._place,
            self._deliver,
            self._number,
            self._approve,
            self._end,
            self._receive,
            self._move,
            self._price,
            self._freeze,
        ]
        with suppress(AssertionError):  # B1 has refused it
            self._random.choice(acts)()

    def _item(self) -> str:
        return f"A{self._random.randint(1, 4)}"

    def _place(self) -> None:
        self._orders.append(self._b1.order(self._item(), self._random.randint(1, 5)))

    def _deliver(self) -> None:
        if self._orders:
            order = self._random.choice(self._orders)
            self._deliveries.append(self._b1.deliver(order, self._random.randint(1, 3)))

    def _number(self) -> None:
        if self._deliveries:
            number = {"TrackingNumber": f"TN{self._random.random()}"[:12]}
            self._b1.do("PATCH", f"DeliveryNotes({self._random.choice(self._deliveries)})", number)

    def _approve(self) -> None:
        if self._orders:
            self._b1.do("PATCH", f"Orders({self._random.choice(self._orders)})", {"Confirmed": "tYES"})

    def _end(self) -> None:
        if self._orders:
            how = self._random.choice(["Cancel", "Close"])
            self._b1.do("POST", f"Orders({self._random.choice(self._orders)})/{how}")

    def _receive(self) -> None:
        self._b1.receive(self._item(), self._random.randint(1, 9), self._random.choice(["LON1", "MAN1", "QUAR"]))

    def _move(self) -> None:
        line = {"ItemCode": self._item(), "Quantity": 1, "FromWarehouseCode": "LON1", "WarehouseCode": "MAN1"}
        self._b1.do("POST", "StockTransfers", {"StockTransferLines": [line]})

    def _price(self) -> None:
        prices = [{"PriceList": 1, "Price": self._random.randint(1, 9)}]
        self._b1.do("PATCH", f"Items('{self._item()}')", {"ItemPrices": prices})

    def _freeze(self) -> None:
        self._b1.do("PATCH", f"Items('{self._item()}')", {"Frozen": self._random.choice(["tYES", "tNO"])})


async def play(seed: int) -> None:
    random = Random(seed)
    b1 = B1(items=4)
    if random.random() < 0.5:
        await doctor.install(settings_of(), b1.clock, transport=b1.wire)
    people, reader = People(b1, random), Reader(b1.source(**TABLE))
    await reader.look()  # what ended before the first start is not read
    for _ in range(40):
        for _ in range(random.randrange(4)):
            people.act()
        b1.clock.seconds += random.choice([1, 10, 30, 30, 300, 3600])
        if random.random() < 0.2:
            b1.faults.script(random.choice(FAULTS), path="$batch", skip=random.randrange(4))
        with suppress(RetriableError):
            match random.random():
                case chance if chance < 0.1:  # killed, and somebody else takes over
                    await reader.source.read(reader.cursor)
                    reader.source = b1.source(**TABLE)
                case chance if chance < 0.2:  # Kafka refuses a batch
                    await reader.source.read(reader.cursor)
                case chance if chance < 0.3:
                    reader.acknowledge(await reader.source.read(reader.cursor))
                case _:
                    await reader.look()
    while b1.faults.scripts_left:
        b1.clock.seconds += 30
        with suppress(RetriableError):
            await reader.look()
    b1.clock.seconds += 30
    await reader.look()
    fresh = Reader(b1.source(**TABLE, start_at="2026-01-01T00:00:00Z"))
    await fresh.look()
    assert {key: content_of(each) for key, each in reader.known.items()} == {
        key: content_of(each) for key, each in fresh.known.items()
    }


@pytest.mark.parametrize("seed", range(12))
def test_in_the_end_what_was_published_is_what_b1_says(seed: int) -> None:
    asyncio.run(play(seed))

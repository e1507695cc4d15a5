"""A shop over a bad network, told by processes that die: everything is there once in the end."""

import contextlib
import random
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from connectors.base.errors import OutcomeUnknownError, RetriableError
from connectors.base.sink import ChannelEffect
from connectors.magento.sink import MagentoSink
from lab.simulators.magento.faults import MagentoFaultKind
from tests.connectors.magento.conftest import settings_of
from tests.connectors.wire import Wire

OUT = {"stock": True, "source": "default", "tracking": True, "prices": 1}
RATES = {
    MagentoFaultKind.DROPPED: 0.08,
    MagentoFaultKind.LATE: 0.08,
    MagentoFaultKind.TRUNCATED: 0.05,
    MagentoFaultKind.MAINTENANCE: 0.05,
}
ORDERS = 12


@pytest.mark.parametrize("seed", range(8))
async def test_after_a_storm_everything_is_in_the_shop_once(stall, cart_item, seed):
    draw = random.Random(seed)
    stall.app.random = random.Random(seed)
    catalogue = stall.app.catalogue
    catalogue.add("TEA-250", "MUG")
    orders = [stall.shop.place(cart_item(quantity="3"), state="processing") for _ in range(ORDERS)]
    source = stall.source()
    await stall.events(source)

    def effect(k, kind, content):
        return ChannelEffect(k=k, type=kind, content=content, as_of=stall.clock.now())

    def shipment(order, number):
        content = {
            "order_id": str(order),
            "shipment_id": f"{order}-{number}",
            "tracking_numbers": ["1Z"],  # one van takes all of them
            "lines": [{"line_id": str(stall.shop.item_ids(order, "TEA-250")[0]), "sku": "TEA-250", "quantity": "1"}],
        }
        return effect(f"d{order}-{number}", "delivery_posted", content)

    waiting = [shipment(order, number) for order in orders for number in (1, 2)]
    waiting += [effect(f"p{sku}", "price_changed", {"sku": sku, "list": 1, "price": "7"}) for sku in ("TEA-250", "MUG")]
    waiting.append(effect("l", "stock_level", {"sku": "MUG", "sellable": "17"}))

    def sink_of():
        return MagentoSink("shop", settings_of(out=OUT), stall.clock, transport=Wire(stall.app))

    sink, told = sink_of(), dict[str, str]()
    stall.app.settings.rates = RATES
    for _ in range(400):
        if not waiting:
            break
        some = draw.sample(waiting, min(len(waiting), draw.randint(1, 8)))
        results = {}
        if draw.random() < 0.1:  # the process dies, and another one takes over
            await sink.close()
            sink = sink_of()
        with contextlib.suppress(RetriableError, OutcomeUnknownError):
            results = {each.k: each for each in await sink.deliver(some)}
        for each in some:
            result = results.get(each.k)
            if result is not None and result.outcome in ("sent", "refused"):
                told[each.k] = result.outcome
                waiting.remove(each)
            elif result is None or result.outcome == "unknown":
                waiting[waiting.index(each)] = replace(each, doubtful=True)
        stall.clock.passes(seconds=draw.choice((1, 20, 90)))
    await sink.close()
    stall.app.settings.rates = {}
    assert waiting == []
    assert set(told.values()) == {"sent"}
    shipped = Counter(each["order_id"] for each in stall.shop.lists["shipments"].values())
    assert shipped == Counter(dict.fromkeys(orders, 2))
    assert catalogue.notified == Counter(dict.fromkeys(orders, 2))
    assert catalogue.quantities["MUG", "default"] == (Decimal(17), 1)
    assert [each["price"] for each in catalogue.products.values()] == [7, 7]
    assert catalogue.value_ids == 2
    assert await stall.events(source) == []

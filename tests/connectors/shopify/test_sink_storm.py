"""A shop over a bad network, told by processes that die: everything is there once in the end."""

import contextlib
import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from connectors.base.errors import OutcomeUnknownError, RetriableError
from connectors.base.sink import ChannelEffect
from connectors.shopify.sink import ShopifySink
from schemas.events import DispatchConfirmed
from tests.connectors.shopify.events import of
from tests.connectors.wire import Wire

OUT = {"stock": True, "location": "31", "tracking": True, "prices": 1}
RATES = {"drop": 0.1, "late": 0.1, "html": 0.05}
ORDERS = 12


@pytest.mark.parametrize("seed", range(8))
async def test_after_a_storm_everything_is_in_the_shop_once(make_play, seed):
    draw = random.Random(seed)
    play = make_play(out=OUT)
    shop, time = play.shop, play.time
    shop._random = random.Random(seed)
    shop.products.add("TEA", "MUG")
    for sku in ("TEA", "MUG"):
        shop.set_level(sku, "31", 1000)
    orders = [shop.place_order({"sku": "TEA", "quantity": 3, "price": "10"}) for _ in range(ORDERS)]
    await play.look()

    def effect(k, kind, content):
        return ChannelEffect(k=k, type=kind, content=content, as_of=time.now())

    def shipment(order, number):
        line = shop.orders[order]["lineItems"][0]["id"].rpartition("/")[2]
        content = {
            "order_id": order,
            "shipment_id": f"{order}-{number}",
            "tracking_numbers": ["1Z"],  # one van takes all of them
            "lines": [{"line_id": line, "sku": "TEA", "quantity": "1"}],
        }
        return effect(f"d{order}-{number}", "delivery_posted", content)

    waiting = [shipment(order, number) for order in orders for number in (1, 2)]
    waiting += [effect(f"p{sku}", "price_changed", {"sku": sku, "list": 1, "price": "7"}) for sku in ("TEA", "MUG")]
    level = effect("l", "stock_level", {"sku": "MUG", "sellable": "17"})
    waiting.append(level)

    def sink_of():
        return ShopifySink("shop", play.settings, time, transport=Wire(shop), sleep=time.sleep)

    sink, told = sink_of(), dict[str, str]()
    shop.rates = RATES
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
        time.at += timedelta(seconds=draw.choice((1, 20, 90)))
    await sink.close()
    shop.rates = {}
    assert waiting == []
    assert set(told.values()) == {"sent"}
    for order in orders:
        units = [row["quantity"] for one in shop.orders[order]["fulfillments"] for row in one["fulfillmentLineItems"]]
        assert units == [1, 1]
    assert shop.mutations.notified == Counter(dict.fromkeys(orders, 2))
    assert shop.levels["MUG", "31"]["on_hand"] == 17
    assert {each["price"] for each in shop.products.variants} == {"7.00"}
    assert of(DispatchConfirmed, await play.look(600)) == []

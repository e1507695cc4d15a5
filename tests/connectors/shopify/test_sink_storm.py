"""A shop over a bad network, told by processes that die, or by two at once: everything is there once in the end."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from connectors.base.errors import OutcomeUnknownError, RetriableError
from connectors.base.sink import ChannelEffect
from connectors.shopify.sink import ShopifySink
from schemas.events import DispatchConfirmed
from tests.connectors.shopify.conftest import Play
from tests.connectors.shopify.events import of
from tests.connectors.wire import Wire

OUT = {"stock": True, "location": "31", "tracking": True, "prices": 1}
RATES = {"drop": 0.08, "late": 0.08, "html": 0.05}
ORDERS = 8


class SlowWire(Wire):
    """Lets others in between before and after each request."""

    def __init__(self, app: object, draw: random.Random) -> None:
        super().__init__(app)
        self._draw = draw

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await self._pause()
        answer = await super().handle_async_request(request)
        await self._pause()
        return answer

    async def _pause(self) -> None:
        for _ in range(self._draw.randint(0, 6)):
            await asyncio.sleep(0)


def effects_of(play: Play, orders: Sequence[str]) -> list[ChannelEffect]:
    """Two shipments of each order that look alike, prices, and a level."""
    at = play.time.now()
    effects = []
    for order in orders:
        line = play.shop.orders[order]["lineItems"][0]["id"].rpartition("/")[2]
        for number in (1, 2):
            content = {
                "order_id": order,
                "shipment_id": f"{order}-{number}",
                "tracking_numbers": ["1Z"],  # one van takes all of them
                "lines": [{"line_id": line, "sku": "TEA", "quantity": "1"}],
            }
            k = f"d{order}-{number}"
            effects.append(ChannelEffect(k=k, type="delivery_posted", content=content, as_of=at))
    for sku in ("TEA", "MUG"):
        content = {"sku": sku, "list": 1, "price": "7"}
        effects.append(ChannelEffect(k=f"p{sku}", type="price_changed", content=content, as_of=at))
    content = {"sku": "MUG", "sellable": "17"}
    return [*effects, ChannelEffect(k="l", type="stock_level", content=content, as_of=at)]


async def tell(play: Play, effects: Sequence[ChannelEffect], draw: random.Random) -> None:
    """Tell it all, as `streams.delivery` does, by processes that die now and then."""

    def sink_of() -> ShopifySink:
        wire = SlowWire(play.shop, draw)
        return ShopifySink("shop", play.settings, play.time, transport=wire, sleep=play.time.sleep)

    sink, waiting = sink_of(), list(effects)
    for _ in range(400):
        if not waiting:
            break
        some = draw.sample(waiting, min(len(waiting), draw.randint(1, 8)))
        results = {}
        if draw.random() < 0.1:
            await sink.close()
            sink = sink_of()
        with contextlib.suppress(RetriableError, OutcomeUnknownError):
            results = {each.k: each for each in await sink.deliver(some)}
        for each in some:
            result = results.get(each.k)
            if result is None or result.outcome == "unknown":
                waiting[waiting.index(each)] = replace(each, doubtful=True)
            elif result.outcome != "away":
                assert result.outcome == "sent", result.error
                waiting.remove(each)
        play.time.at += timedelta(seconds=draw.choice((1, 20, 90)))
    await sink.close()
    assert waiting == []


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("seed", range(6))
async def test_after_a_storm_everything_is_in_the_shop_once(make_play, seed, processes):
    draw = random.Random(seed)
    play = make_play(out=OUT)
    shop = play.shop
    shop._random = random.Random(seed)
    shop.products.add("TEA", "MUG")
    for sku in ("TEA", "MUG"):
        shop.set_level(sku, "31", 1000)
    orders = [shop.place_order({"sku": "TEA", "quantity": 3, "price": "10"}) for _ in range(ORDERS)]
    await play.look()
    shop.rates = RATES
    effects = effects_of(play, orders)
    await asyncio.gather(*(tell(play, effects, draw) for _ in range(processes)))
    shop.rates = {}
    for order in orders:
        units = [row["quantity"] for one in shop.orders[order]["fulfillments"] for row in one["fulfillmentLineItems"]]
        assert units == [1, 1]
    assert shop.mutations.notified == Counter(dict.fromkeys(orders, 2))
    assert shop.levels["MUG", "31"]["on_hand"] == 17
    assert {each["price"] for each in shop.products.variants} == {"7.00"}
    assert of(DispatchConfirmed, await play.look(600)) == []

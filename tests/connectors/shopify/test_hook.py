"""Webhooks: genuine ones wake the poll, whatever order they come in, and how often; all others are nothing."""

import asyncio
import base64
import random
from datetime import timedelta

import httpx
import pytest

from connectors.base.dead_letters import DeadLetters
from connectors.base.metrics import NoMetrics
from connectors.base.publisher import Publisher
from connectors.runtime import Runtime
from connectors.shopify.hook import hook_of
from connectors.webhooks.hook import sign
from connectors.webhooks.ingest import WebhookIngest
from connectors.webhooks.server import WebhookServer
from connectors.webhooks.settings import WebhookSettings
from lab.simulators.shopify.webhooks import Webhook

TEA = {"sku": "TEA", "quantity": 3, "price": "24.00"}


@pytest.fixture
async def door(play, broker, codec):
    woken: list[str] = []
    intake = WebhookIngest(
        Publisher(broker, codec, play.time, str), DeadLetters(broker, codec, play.time, str, lambda _: 0), NoMetrics()
    )
    app = WebhookServer([hook_of("shop", play.settings)], intake, play.time, WebhookSettings(), wake=woken.append).app
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door") as client:

        async def post(headers, body):
            return (await client.post("/shop", content=body, headers=headers)).status_code

        yield post, woken


def hook(body: bytes = b'{"id": 1}') -> Webhook:
    return Webhook("orders/create", body, "w1", "e1", "2026-11-21T12:00:00Z")


async def test_a_genuine_webhook_wakes_and_says_nothing_itself(play, door, broker):
    post, woken = door
    one = hook()
    assert await post(play.shop.headers_of(one), one.body) == 200
    assert (woken, broker.calls) == (["shop"], [])
    assert await post(play.shop.headers_of(one), one.body) == 200
    assert woken == ["shop"]


async def test_headers_without_x_and_the_old_secret_are_good(play, door):
    post, _ = door
    one = hook()
    headers = {name.removeprefix("X-"): value for name, value in play.shop.headers_of(one).items()}
    assert await post(headers, one.body) == 200
    play.shop.secret = "shpss_old"
    assert await post(play.shop.headers_of(one), one.body) == 200
    play.shop.secret = "shpss_other"
    assert await post(play.shop.headers_of(one), one.body) == 401


async def test_every_single_bit_change_of_body_or_signature_is_refused(play, door):
    post, woken = door
    one = hook()
    headers = play.shop.headers_of(one)
    right = headers["X-Shopify-Hmac-SHA256"].encode()
    rest = [(name.encode(), value.encode()) for name, value in headers.items() if "Hmac" not in name]
    for index, part in enumerate((one.body, right)):
        for bit in range(len(part) * 8):
            changed = bytearray(part)
            changed[bit // 8] ^= 1 << (bit % 8)
            body, given = (bytes(changed), right) if index == 0 else (one.body, bytes(changed))
            assert await post([*rest, (b"X-Shopify-Hmac-SHA256", given)], body) == 401
    assert woken == []


async def test_another_shop_with_the_same_app_is_refused(play, door):
    post, _ = door
    one = hook()
    assert await post({**play.shop.headers_of(one), "X-Shopify-Shop-Domain": "other.myshopify.com"}, one.body) == 401
    body = b"{}"
    mac = base64.b64encode(sign(play.shop.secret.encode(), body)).decode()
    assert await post({"X-Shopify-Hmac-SHA256": mac}, body) == 401


def test_without_a_secret_there_is_no_hook(play):
    assert hook_of("shop", play.settings.model_copy(update={"webhook_secrets": ()})) is None


async def test_webhooks_twice_in_any_order_or_lost_change_nothing_of_what_is_told(play, door):
    post, woken = door
    play.shop.subscriptions = {"orders/create", "orders/updated", "orders/paid", "refunds/create"}
    play.shop.rates = {"twice": 0.4, "lost": 0.3}
    draw = random.Random(2)
    numbers = []
    for _ in range(20):
        numbers.append(play.shop.place_order(TEA))
        if draw.random() < 0.5:
            play.shop.touch(draw.choice(numbers))
        await play.shop.deliver(post)
        await play.look(30)
    assert woken
    assert [event.order_id for event in play.items] == numbers


async def test_a_subscription_that_was_taken_away_is_only_slower(play):
    play.shop.subscriptions = {"orders/create"}

    async def refuse(_headers, _body):
        return 503

    numbers = [play.shop.place_order(TEA)]
    for _ in range(8):
        await play.shop.deliver(refuse)
    assert play.shop.subscriptions == set()
    numbers.append(play.shop.place_order(TEA))
    assert [event.order_id for event in await play.look()] == numbers


async def test_a_wake_up_ends_the_wait_for_the_next_look(play, broker, codec, make_cursors):
    looks, looked = [], asyncio.Event()

    class Metrics(NoMetrics):
        def looked(self, connector, idle):
            looks.append(idle)
            looked.set()

    runtime = Runtime(
        play.source,
        cursors=make_cursors("shop"),
        publisher=Publisher(broker, codec, play.time, str),
        letters=DeadLetters(broker, codec, play.time, str, lambda _: 0),
        metrics=Metrics(),
        poll_interval_s=3600,
    )
    stop = asyncio.Event()
    running = asyncio.create_task(runtime.run(stop))
    await asyncio.wait_for(looked.wait(), 5)
    looked.clear()
    play.shop.place_order(TEA)
    play.time.at += timedelta(seconds=5)
    runtime.wake()
    runtime.wake()
    await asyncio.wait_for(looked.wait(), 5)
    stop.set()
    await running
    assert looks[:2] == [True, False]
    assert len(broker.all("order-placed")) == 1

"""A shop of any number of orders in little memory: `python -m tests.bench.shop_process ORDERS SINCE`.

The strict simulator has a few hundred orders; each stands for as many as are wanted, under ids of their own. Says
`listening` with its port and with what the few come to, serves until it is killed.
"""

import asyncio
import json
import re
import socket
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import uvicorn

from lab.simulators.shopify.app import Shop
from lab.simulators.wire import Message, Receive, Scope, Send

FEW = 200
#: Copy n of a thing has its id plus n times this.
STEP = 1_000_000_000_000
_NUMBER = re.compile(rb"(gid://shopify/(?!BulkOperation|Location|Customer)[A-Za-z]+/)(\d+)")


class ManyOrders:
    """The app: what goes in is told of the few, what comes out of the copy that was asked for."""

    def __init__(self, shop: Shop, orders: int) -> None:
        self._shop, self._orders = shop, orders

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._shop(scope, receive, send)
        elif scope["path"].startswith("/bulk/"):
            await self._send_file(scope, send)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = b""
        while True:
            message = await receive()
            asked += message.get("body", b"")
            if not message.get("more_body"):
                break
        # A batch of a back-fill is a part of one copy.
        (copy,) = {int(found[2]) // STEP for found in _NUMBER.finditer(asked)} or {0}
        asked = _moved(asked, -copy)

        async def once() -> Message:
            return {"type": "http.request", "body": asked, "more_body": False}

        async def reply(message: Message) -> None:
            if message["type"] == "http.response.body":
                body = message["body"].replace(f"https://{self._shop.domain}/bulk/".encode(), self._url(scope))
                message = {**message, "body": _moved(body, copy)}
            await send(message)

        await self._shop(scope, once, reply)

    def _url(self, scope: Scope) -> bytes:
        return b"http://127.0.0.1:%d/bulk/" % scope["server"][1]

    async def _send_file(self, scope: Scope, send: Send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        if "range" in headers:
            raise RuntimeError("nothing is cut off here")
        _, _, few = self._shop.answer("GET", scope["path"], headers, b"")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        async for chunk in self._copies(few):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _copies(self, few: bytes) -> AsyncIterator[bytes]:
        for copy in range(self._orders // FEW):
            yield _moved(few, copy)
            await asyncio.sleep(0)


def _moved(text: bytes, copies: int) -> bytes:
    """The same under the ids of another copy."""
    return _NUMBER.sub(lambda found: found[1] + b"%d" % (int(found[2]) + copies * STEP), text)


def fill(since: datetime) -> tuple[Shop, dict[str, int]]:
    """A few orders over thirty days, and what they come to."""
    at = since + timedelta(hours=1)
    shop = Shop(clock=lambda: at, token="shpat_bench", bucket=1e9)
    shop.add_location("31")
    told = {"order-placed": FEW, "dispatch-confirmed": 0, "refund-issued": 0, "order-cancelled": 0, "stock-adjusted": 0}
    for number in range(FEW):
        lines = [{"sku": f"SKU-{number % 50}-{n}", "quantity": n + 1, "price": "12.50"} for n in range(1 + number % 3)]
        order = shop.place_order(*lines)
        at += timedelta(hours=3)
        if number % 10 < 7:
            shop.fulfil(order, "31", {n: n + 1 for n in range(len(lines))}, company="DPD", tracking=f"T{number}")
            told["dispatch-confirmed"] += 1
        if number % 10 == 0:
            shop.refund(order, [(0, 1, "RETURN", "31")])
            told["refund-issued"] += 1
        if number % 10 == 9:
            shop.cancel(order)
            told["order-cancelled"] += 1
    return shop, told


def main() -> None:
    orders, since = int(sys.argv[1]), datetime.fromisoformat(sys.argv[2]).astimezone(UTC)
    shop, told = fill(since)
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"listening {json.dumps({'port': listener.getsockname()[1], 'orders': FEW, **told})}\n")
    sys.stdout.flush()
    config = uvicorn.Config(ManyOrders(shop, orders), log_level="error", access_log=False)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main()

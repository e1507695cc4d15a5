"""The vendors' simulators as a process serves them.

The API as it is, and below `/_simulator/` what makes things happen.

    POST /_simulator/actions   a list of actions in one vocabulary for all vendors; answers with what each returned
    GET  /_simulator/ledger    everything that the vendor knows, decimals as text
    GET  /_simulator/counters  requests, throttled ones, faults, webhooks sent, sweeps over the stock
    POST /_simulator/faults    {kind: share of requests from 0 to 1}
    POST /_simulator/webhooks  {"url": where deliveries go to}

An action is `{"action": "order" | "dispatch" | "refund" | "count", ...}`; an order is named by its `number`, its lines
by their place in it (from 0), prices are net and rates in percent:

    order     number, country, lines [{sku, name, quantity, price, rate}], shipping (net), rate (of the shipping)
    dispatch  order, place, carrier, tracking, lines [[place in the order, quantity]] (at SEKO: skus instead of places)
    refund    order, place, restock, lines [[place in the order, quantity]], shipping (net)
    count     sku, place, delta, reason: so many more or fewer are there than the figure says

Imports nothing of ours but the simulators.
"""

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal

import httpx

from lab.simulators.magento.state import ActionRefusedError
from lab.simulators.veeqo.wire import VeeqoRefusedError
from lab.simulators.vendors.actions import Action, SimulatedVendor
from lab.simulators.wire import ConnectionDroppedError, Receive, Scope, Send, whole_body


class VendorServer:
    """A vendor as an ASGI app; `webhooks` goes out about every `push_s` seconds while it is up."""

    def __init__(self, vendor: SimulatedVendor, *, url: str = "", push_s: float = 0.5) -> None:
        self._vendor = vendor
        self._url = url
        self._push_s = push_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request or the lifespan of a server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        path = scope["path"]
        if path.startswith("/_simulator/"):
            await _reply(
                send, *self._administer(scope["method"], path.removeprefix("/_simulator/"), await whole_body(receive))
            )
            return
        self._vendor.before(path)
        try:
            await self._vendor.app(scope, receive, send)
        except ConnectionDroppedError:
            self._vendor.counters["dropped"] += 1
            close = (scope.get("extensions") or {}).get("simulator.drop")
            if close is None:
                raise
            close()
            while (await receive())["type"] != "http.disconnect":
                pass

    def _administer(self, method: str, what: str, body: bytes) -> tuple[int, object]:
        try:
            match method, what:
                case "POST", "actions":
                    return 200, [self._do(action) for action in json.loads(body)]
                case "GET", "ledger":
                    return 200, self._vendor.ledger()
                case "GET", "counters":
                    return 200, self._vendor.tally()
                case "POST", "faults":
                    self._vendor.fail({str(kind): float(rate) for kind, rate in json.loads(body).items()})
                    return 200, {}
                case "POST", "webhooks":
                    self._url = str(json.loads(body)["url"])
                    return 200, {}
                case _:
                    return 404, {"error": "there is no such thing"}
        except (ValueError, KeyError, TypeError, LookupError, ActionRefusedError, VeeqoRefusedError) as error:
            return 400, {"error": f"{type(error).__name__}: {error}"}

    def _do(self, action: Action) -> object:
        match action["action"]:
            case "order":
                return self._vendor.order(action)
            case "dispatch":
                return self._vendor.dispatch(action)
            case "refund":
                return self._vendor.refund(action)
            case "count":
                return self._vendor.count(action)
            case other:
                raise ValueError(f"unknown action {other!r}")

    async def _live(self, receive: Receive, send: Send) -> None:
        pushing: asyncio.Task[None] | None = None
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                pushing = asyncio.create_task(self._push())
                await send({"type": "lifespan.startup.complete"})
                continue
            if pushing is not None:
                pushing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await pushing
            await send({"type": "lifespan.shutdown.complete"})
            return

    async def _push(self) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            while True:
                await asyncio.sleep(self._push_s)
                if self._url:
                    await self._vendor.push(self._url, client)


async def _reply(send: Send, status: int, value: object) -> None:
    body = json.dumps(to_json(value)).encode()
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


def to_json(value: object) -> object:
    """As JSON has it: decimals as text, what is only the simulator's own (a key that begins with `_`) left out."""
    match value:
        case Mapping():
            return {str(name): to_json(each) for name, each in value.items() if not str(name).startswith("_")}
        case str() | None | bool() | int() | float():
            return value
        case Sequence():
            return [to_json(each) for each in value]
        case Decimal():
            return format(value, "f")
        case _:
            return str(value)

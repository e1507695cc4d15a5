"""The door, fed with requests that no vendor sends: forged, garbled, cut, lying about themselves.

What is signed rightly is taken, whatever it says; nothing else is. Every hook of the registry has a `Signer` here.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from connectors.base.settings import Secret
from connectors.registry import KINDS
from connectors.webhooks.body import parse_json
from connectors.webhooks.hook import Delivery, Hook, Pushed, UnreadablePushError, matches, sign
from connectors.webhooks.server import WebhookServer
from connectors.webhooks.settings import WebhookSettings
from lab.simulators.seko.app import Hub
from lab.simulators.shopify.app import Shop
from lab.simulators.shopify.webhooks import Webhook
from schemas.events import OrderCancelled, digest_of
from tests.fuzz.harness import CLOCK, NOW, Outlet, Violation, check_message
from tests.fuzz.mutation import CANARY, Mutator, any_value, damage

SETTINGS = WebhookSettings(max_body_bytes=96 * 1024, read_timeout_s=0.05, answer_timeout_s=5)
#: What the door may ever answer.
STATUSES = frozenset({200, 400, 401, 404, 405, 408, 413, 503})
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Signer:
    """How a vendor signs.

    Attributes:
        hook: As its connector registers it.
        sign: Headers of a genuine delivery of a body.
        signed: Those of them that must not be changed; the others may.
        covers_body: Whether the signature is one of the body; else whoever knows it may send anything.
        bodies: What it sends.
    """

    hook: Hook
    sign: Callable[[bytes], Headers]
    signed: frozenset[bytes]
    covers_body: bool
    bodies: Mutator


# ---- a vendor that signs as Standard Webhooks has it

_SECRET = Secret("env:S", "a-standard-secret")
_OLD = Secret("env:OLD", "an-older-secret")


def _signature(secret: bytes, name: bytes, stamp: bytes, body: bytes) -> bytes:
    return b"v1," + base64.b64encode(sign(secret, b".".join((name, stamp, body))))


def _verify(delivery: Delivery, secrets: Sequence[bytes]) -> bool:
    given = delivery.headers
    name, stamp = given.get(b"webhook-id", b""), given.get(b"webhook-timestamp", b"")
    expected = [_signature(each, name, stamp, delivery.body) for each in secrets]
    return matches(given.get(b"webhook-signature"), expected) and stamp == _stamp()


def _stamp() -> bytes:
    return str(int(NOW.timestamp())).encode()


def _translate(delivery: Delivery) -> Sequence[Pushed]:
    found = parse_json(delivery.body)
    order = found.get("order") if isinstance(found, dict) else None
    if not isinstance(order, str) or not order.isprintable() or not 0 < len(order) <= 100:
        raise UnreadablePushError("it names no order")
    event = OrderCancelled(
        source="wms",
        company="acme",
        event_id=f"c{hashlib.sha256(order.encode()).hexdigest()[:9]}",
        occurred_at=NOW,
        observed_at=NOW,
        digest=b"",
        order_id=order,
    )
    return [replace(event, digest=digest_of(event))]


def _standard() -> Signer:
    def headers(body: bytes) -> Headers:
        name = hashlib.sha256(body).hexdigest()[:12].encode()
        signature = _signature(_SECRET.reveal().encode(), name, _stamp(), body)
        return [(b"webhook-id", name), (b"webhook-timestamp", _stamp()), (b"webhook-signature", signature)]

    names = frozenset({b"webhook-id", b"webhook-timestamp", b"webhook-signature"})
    hook = Hook(
        "wms", "acme", "/wms", (_SECRET, _OLD), _verify, _translate, lambda given: given.headers.get(b"webhook-id")
    )
    bodies = [json.dumps({"order": "o1", "more": [1, 2.5, {"who": CANARY}]}).encode(), b'{"order": "o2"}']
    return Signer(hook, headers, names, True, Mutator(bodies))


# ---- those of the registry


def _hook(kind: str, table: Mapping[str, Any], environ: Mapping[str, str]) -> Hook:
    row = KINDS[kind]
    settings = row.settings.model_validate({"kind": kind, "company": "acme", **table}, context={"environ": environ})
    hook = row.hook(kind, settings)
    assert hook is not None, kind
    return hook


def _shopify() -> Signer:
    shop = Shop(clock=lambda: NOW)
    number = shop.place_order({"sku": "A", "quantity": 1, "price": "2.00"}, email=f"{CANARY}@example.test")
    body = json.dumps(
        {"id": int(number), "email": f"{CANARY}@example.test", "line_items": [{"sku": "A", "quantity": 1}]}
    ).encode()
    table = {"shop": shop.domain, "access_token": "env:T", "webhook_secrets": ["env:S", "env:O"]}
    hook = _hook("shopify", table, {"T": shop.token, "S": shop.secret, "O": "shpss_old"})

    def headers(given: bytes) -> Headers:
        one = Webhook("orders/create", given, hashlib.sha256(given).hexdigest()[:9], "e1", "2026-11-21T12:00:00Z")
        return [(name.lower().encode(), value.encode()) for name, value in shop.headers_of(one).items()]

    return Signer(hook, headers, frozenset({b"x-shopify-hmac-sha256"}), True, Mutator([body]))


def _seko() -> Signer:
    hub = Hub(clock=lambda: NOW, key="hub-key")
    hub.stock = {("DCCL01", "Available Stock", sku, ""): 100 for sku in "AB"}
    hub.load_order("W-1", {"A": 2, "B": 3})
    hub.dispatch("W-1", tracking="155")
    hub.adjust("A", -3)
    hub.move("A", 5, "Available Stock", "Quarantine")
    hub.receive("ASN-1", [("A", 5, "L1")])
    hub.end_day("2026-11-20")
    hook = _hook(
        "seko",
        {
            "push_secrets": ["env:S"],
            "locations": {"DCCL01": "LON1"},
            "summary_columns": {"QuantityOnHand": "Available Stock"},
        },
        {"S": "a-pushed-secret"},
    )
    bodies = [*(hub.body([said]) for said in hub.messages), hub.body(hub.messages)]
    return Signer(
        hook, lambda _body: [(b"x-api-key", b"a-pushed-secret")], frozenset({b"x-api-key"}), False, Mutator(bodies)
    )


def signers() -> list[Signer]:
    return [_standard(), _shopify(), _seko()]


# ---- requests


@dataclass(frozen=True)
class Sent:
    """One request, as a server hands it to the door, and what has to become of it.

    Attributes:
        chunks: Of the body, in order; None: the sender is gone.
        expected: The statuses that are right.
        taken: Whether anything may reach the intake.
    """

    path: str
    method: str
    headers: tuple[tuple[bytes, bytes], ...]
    chunks: tuple[bytes | None, ...]
    expected: frozenset[int]
    taken: bool


class Requests:
    """The target: requests through `WebhookServer.app`, without a server."""

    def __init__(self, name: str, outlet: Outlet) -> None:
        self.name = name
        self.signers = signers()
        self._outlet = outlet
        self.taken = 0
        self._woken = 0
        self._door = WebhookServer([each.hook for each in self.signers], self._take, CLOCK, SETTINGS, wake=self._wake)

    async def _take(self, _hook: Hook, items: Sequence[Pushed]) -> None:
        self.taken += 1
        await self._outlet.take(items)

    def _wake(self, _connector: str) -> None:
        self._woken += 1

    def draw(self, random: Random) -> Sent:
        signer = random.choice(self.signers)
        body = _body(signer, random)
        headers = signer.sign(body)
        draw = random.random()
        if draw < 0.45:
            return self._genuine(signer, headers, body, random)
        if draw < 0.80:
            return self._forged(signer, headers, body, random)
        return self._wild(signer, headers, body, random)

    def _genuine(self, signer: Signer, headers: Headers, body: bytes, random: Random) -> Sent:
        if random.random() < 0.5:
            headers = [*headers, (b"content-length", str(len(body)).encode())]
        headers += [(b"x-more", random.randbytes(random.randrange(9)))] * random.randrange(3)
        random.shuffle(headers)
        large = len(body) > SETTINGS.max_body_bytes
        return Sent(
            signer.hook.path,
            "POST",
            tuple(headers),
            _chunks(body, random),
            frozenset({413 if large else 200}),
            not large,
        )

    def _forged(self, signer: Signer, headers: Headers, body: bytes, random: Random) -> Sent:
        """One bit, one header, or the body is not what was signed."""
        names = [at for at, (name, _) in enumerate(headers) if name in signer.signed]
        at = random.choice(names)
        name, value = headers[at]
        match random.randrange(8):
            case 0 | 1 if signer.covers_body and body:
                body = _flipped(body, random)
            case 2 if signer.covers_body:
                body = body + random.choice((b" ", b"\n", b"\0", b"{}"))
            case 3:
                del headers[at]
            case 4:
                headers.append((name, random.choice((value, b"x"))))
            case 5:
                headers[at] = (
                    name,
                    random.choice(
                        (
                            b"",
                            value[:-1],
                            value + b"=",
                            value.swapcase(),
                            value * 2,
                            b" " + value,
                            damage(value, random),
                        )
                    ),
                )
                if headers[at][1] == value:
                    headers[at] = (name, b"")
            case 6:
                headers[at] = (name, random.choice(("ключ", "é" * 20)).encode())
            case _:
                headers[at] = (name, _flipped(value, random))
        large = len(body) > SETTINGS.max_body_bytes
        return Sent(
            signer.hook.path, "POST", tuple(headers), _chunks(body, random), frozenset({413 if large else 401}), False
        )

    def _wild(self, signer: Signer, headers: Headers, body: bytes, random: Random) -> Sent:
        path, method, taken = signer.hook.path, "POST", True
        chunks: tuple[bytes | None, ...] = _chunks(body, random)
        match random.randrange(8):
            case 0:
                path, taken = (
                    random.choice(
                        ("/", "", path + "/", path.upper(), "/../" + path, path + "\0", "/" + "a" * 5000, "/\udcff")
                    ),
                    False,
                )
            case 1:
                method = random.choice(("GET", "HEAD", "PUT", "OPTIONS", "TRACE", "post", "", "A" * 1000))
                taken = False
            case 2:
                chunks, taken = (*chunks[:1], None), False
            case 3:
                lie = random.choice(
                    (
                        b"-1",
                        b"1e3",
                        b"0x10",
                        b" 1",
                        b"+1",
                        b"",
                        b"9" * 5000,
                        b"\xd9\xa3",
                        b"1, 1",
                        b"99999999999",
                        str(len(body) + 1).encode(),
                    )
                )
                headers.append((b"content-length", lie))
            case 4:
                headers += [
                    (b"content-length", str(len(body)).encode()),
                    (b"transfer-encoding", random.choice((b"chunked", b"identity", b"\xff"))),
                ]
            case 5:
                headers += [
                    (random.randbytes(random.randrange(1, 9)), random.randbytes(random.randrange(300)))
                    for _ in range(random.choice((1, 50)))
                ]
            case 6:
                chunks = (b"x" * 60_000, b"x" * 60_000, body)
            case _:
                headers = [(name, damage(value, random)) for name, value in headers if random.random() < 0.8]
        return Sent(path, method, tuple(headers), chunks, STATUSES - {503}, taken)

    async def feed(self, given: Sent) -> None:
        before = self.taken
        status, body = await ask(self._door.app, given)
        if status is not None:
            check_message(body.decode("utf-8", "replace"))
            if status not in given.expected:
                raise Violation(f"answered {status} and not {sorted(given.expected)}")
        elif None not in given.chunks:
            raise Violation("gives no answer")
        if self.taken > before and not given.taken:
            raise Violation("takes what is not signed")


async def ask(app: Any, given: Sent) -> tuple[int | None, bytes]:
    """Put a request to an ASGI app; the status, None where the sender was gone before."""
    chunks = list(given.chunks)
    status: int | None = None
    answer = bytearray()

    async def receive() -> Mapping[str, Any]:
        if not chunks or chunks[0] is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    async def send(message: Mapping[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            answer.extend(message.get("body", b""))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": given.method,
        "scheme": "http",
        "path": given.path,
        "raw_path": given.path.encode("utf-8", "surrogatepass"),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.lower(), value) for name, value in given.headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    await app(scope, receive, send)
    return status, bytes(answer)


def _body(signer: Signer, random: Random) -> bytes:
    if random.random() < 0.002:
        return (random.choice((b"1,", b"[],", b'{"a":1},', b'"a",', b"0.1,", b"[", b'{"a":')) * 90_000)[: 90 * 1024]
    body = signer.bodies.mutate(random)
    return body if random.random() < 0.97 else any_value(random)


def _chunks(body: bytes, random: Random) -> tuple[bytes, ...]:
    if random.random() < 0.5 or not body:
        return (body,)
    size = random.choice((1, 7, 1000, 5000)) if len(body) < 2000 else random.choice((1000, 30_000))
    return tuple(body[at : at + size] for at in range(0, len(body), size)) + random.choice(((), (b"",)))


def _flipped(value: bytes, random: Random) -> bytes:
    data = bytearray(value)
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(data)


def every_bit(signer: Signer) -> list[Sent]:
    """A genuine delivery, and each request that differs from it in one bit of what is signed."""
    body = min((each.text for each in signer.bodies.examples), key=len)
    headers = signer.sign(body)
    expected = frozenset({401})
    found = []
    for at, (name, value) in enumerate(headers):
        if name in signer.signed:
            for bit in range(len(value) * 8):
                changed = [*headers[:at], (name, _with_bit(value, bit)), *headers[at + 1 :]]
                found.append(Sent(signer.hook.path, "POST", tuple(changed), (body,), expected, False))
    if signer.covers_body:
        changed_bodies = (_with_bit(body, bit) for bit in range(len(body) * 8))
        found += [Sent(signer.hook.path, "POST", tuple(headers), (each,), expected, False) for each in changed_bodies]
    return [Sent(signer.hook.path, "POST", tuple(headers), (body,), frozenset({200}), True), *found]


def _with_bit(value: bytes, bit: int) -> bytes:
    data = bytearray(value)
    data[bit // 8] ^= 1 << (bit % 8)
    return bytes(data)

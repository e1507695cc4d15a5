"""The one HTTP door for vendors that push: verify, translate, publish, and only then answer 200.

A source registers a `Hook`: its path, its secrets (two while they rotate), a verifier and a translator, both pure. What a
delivery says is published inside the request: 200 is the vendor's permission to forget it, so it is given only when the
broker has acknowledged every record; until then the answer is 503 with Retry-After, and the vendor sends it again. What
is sent again has the same identities and is a repeat. A delivery that says nothing by itself (a level, a "look here") is
translated to no items: it wakes its connector, whose poll is the truth and finds also what no webhook told.

Which process serves it: each that runs connectors (`streams connect`, `streams up`) and has a hook, whichever connectors
the group has given it. Publishing needs no ownership, so any of them behind a load balancer may take any delivery; a
wake-up reaches only the process that runs the connector, and elsewhere the poll's own interval is the wait. The door
speaks HTTP on loopback: TLS ends at the reverse proxy before it.

    door = WebhookServer(hooks, WebhookIngest(publisher, letters, metrics), clock, settings, wake=crew.wake)
    async with Server(door.app, settings): ...
"""

import asyncio
import contextlib
import errno
import hashlib
import hmac
import json
import re
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import structlog
import uvicorn
from pydantic import Field
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from connectors.base.clock import Clock
from connectors.base.dead_letters import DeadLetters
from connectors.base.delivery import deliver
from connectors.base.errors import ConnectorError, FatalError, RetriableError
from connectors.base.json_numbers import is_deep
from connectors.base.metrics import ConnectorMetrics
from connectors.base.publisher import Publisher
from connectors.base.settings import Secret, Settings
from connectors.base.source import RefusedRecord
from schemas.events import FactEvent

log = structlog.get_logger(__name__)

#: Names and values of a request's headers; the longest that vendors send is a JSON web token of 4 KiB.
MAX_HEADER_BYTES = 16 * 1024
MAX_DEPTH = 32
#: decimal(19,6) has 20 characters with its point; 40 leaves room for trailing noughts, and keeps int() cheap.
MAX_NUMBER_CHARS = 40
#: Values of one delivery. To read a value costs the same however short it is: a MiB of `1,1,1,...` took 0.4 s, real
#: messages with so many values take 25 ms (measured 2026-11-21), and all other deliveries wait for it.
MAX_VALUES = 50_000
_LONG_NUMBER = re.compile(rb"[0-9.eE+-]{%d}" % (MAX_NUMBER_CHARS + 1))
#: Deliveries that are remembered so that a repeat costs no record. A repeat that is not among them is published again,
#: and found to be one by its identity.
REMEMBERED = 10_000
_PATH = re.compile(r"/[A-Za-z0-9._-]{1,100}(/[A-Za-z0-9._-]{1,100}){0,3}")
_ACTIVE_SECRETS = 2

Pushed = FactEvent | RefusedRecord


class WebhookSettings(Settings):
    """`[webhooks]`: where the door is and what it lets in."""

    host: str = Field(default="127.0.0.1", description="The address to listen on; TLS ends at the proxy before it")
    port: int = Field(default=9465, ge=0, le=65_535, description="0: any free port")
    max_body_bytes: int = Field(default=1_048_576, ge=1, le=8_388_608, description="A larger delivery is answered 413")
    read_timeout_s: float = Field(default=2, gt=0, le=60, description="For the headers, and again for the body")
    answer_timeout_s: float = Field(
        default=2.5, gt=0, le=60, description="For the broker; with reading it stays below the 5 s that Shopify waits"
    )
    retry_after_s: int = Field(default=5, ge=1, le=3600, description="What a vendor is asked to wait after a 503")
    max_under_way: int = Field(default=64, ge=1, le=10_000, description="Deliveries at a time; more are answered 503")


class UnreadableError(ValueError):
    """A delivery is genuine and cannot be read; the message has no values of it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request.

    Attributes:
        body: Every byte of it, as it came.
        headers: By lower-case name. A header that came twice is not here: two parties could read it differently.
        received_at: Aware UTC.
    """

    body: bytes
    headers: Mapping[bytes, bytes]
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Hook:
    """What a source registers.

    Attributes:
        connector: Its name in the configuration.
        company: The company it feeds.
        path: Where its vendor sends to, `/shop`.
        secrets: One, or two while they rotate; none is refused.
        verify: Whether the delivery was signed with one of the secrets; raises nothing, opens nothing. `matches` compares.
        translate: What it says, under the source's own identities; no levels. May raise `UnreadableError`, which makes
            a letter of the body.
        delivery_id: The vendor's name of this delivery, if it has one; the same with the same body is taken once.
        taken: Called once the broker has all that a delivery says; raises nothing, opens nothing.
    """

    connector: str
    company: str
    path: str
    secrets: tuple[Secret, ...]
    verify: Callable[[Delivery, Sequence[bytes]], bool]
    translate: Callable[[Delivery], Sequence[Pushed]]
    delivery_id: Callable[[Delivery], bytes | None] = lambda _delivery: None
    taken: Callable[[Delivery], None] = lambda _delivery: None


def sign(secret: bytes, message: bytes) -> bytes:
    """HMAC-SHA-256, 32 bytes."""
    return hmac.digest(secret, message, "sha256")


def matches(given: bytes | None, expected: Iterable[bytes]) -> bool:
    """Whether a signature is one of those expected, in a time that does not tell which, or how much of it was right.

    Compare what was sent, not what it decodes to: base64 has bits that mean nothing.
    """
    found = False
    for each in expected:
        found |= hmac.compare_digest(given or b"", each)
    return found and given is not None


class _Number(str):
    """A number's exact text."""

    __slots__ = ()


def _number(text: str) -> str:
    if len(text) > MAX_NUMBER_CHARS:
        raise UnreadableError("a number is too long")
    return _Number(text)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise UnreadableError("an object has the same key twice")
    return found


def _constant(_text: str) -> object:
    raise UnreadableError("NaN and Infinity are not JSON")


def parse_json(body: bytes, *, max_values: int | None = MAX_VALUES) -> object:
    """JSON with numbers as their exact text (a `str`), no key twice, at most `MAX_DEPTH` deep.

    Args:
        body: UTF-8.
        max_values: About as many values are read (marks in texts count too); None: for what we have asked for ourselves.

    Raises:
        UnreadableError: It is something else.
    """
    if max_values is not None and body.count(b",") + body.count(b"[") + body.count(b"{") > max_values:
        raise UnreadableError("the body has too many values; send it in parts")
    number: Callable[[str], str] = _number if _LONG_NUMBER.search(body) else _Number
    try:
        text = body.decode("utf-8")
        found: object = json.loads(
            text, parse_int=number, parse_float=number, parse_constant=_constant, object_pairs_hook=_pairs
        )
    except UnreadableError:
        raise
    except (ValueError, RecursionError):
        raise UnreadableError("the body is not JSON in UTF-8") from None
    if is_deep(found, MAX_DEPTH):
        raise UnreadableError(f"the body is nested more than {MAX_DEPTH} deep")
    return found


class WebhookIngest:
    """Publishes what was pushed, in its order: events to their topics, what cannot become one to the dead letters."""

    def __init__(self, publisher: Publisher, letters: DeadLetters, metrics: ConnectorMetrics) -> None:
        self._publisher, self._letters, self._metrics = publisher, letters, metrics

    async def __call__(self, hook: Hook, items: Sequence[Pushed]) -> None:
        """Return when the broker has all of them.

        Raises:
            RetriableError: Nobody knows which of them it has.
            FatalError: It will never take them.
        """
        await deliver(items, _Sender(hook.connector, hook.company), self._publisher, self._letters, self._metrics)


@dataclass(frozen=True, slots=True)
class _Sender:
    name: str
    company: str


class _RefusedError(Exception):
    """How a request that is not taken is answered."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class WebhookServer:
    """The ASGI app, as `app`.

    Args:
        hooks: Whose deliveries are taken.
        intake: Called with what a delivery says; returns when the broker has it, else raises.
        clock: When a delivery came.
        settings: The limits.
        wake: Called with the connector's name once its delivery is taken.

    Raises:
        FatalError: A hook has no secret, more than two, a path that is none, or another one's.
    """

    def __init__(
        self,
        hooks: Sequence[Hook],
        intake: Callable[[Hook, Sequence[Pushed]], Awaitable[None]],
        clock: Clock,
        settings: WebhookSettings,
        *,
        wake: Callable[[str], None] = lambda _connector: None,
    ) -> None:
        for hook in hooks:
            _check(hook, hooks)
        self._intake, self._clock, self._settings, self._wake = intake, clock, settings, wake
        self._under_way = 0
        self._taken: OrderedDict[bytes, None] = OrderedDict()
        self.app = Starlette(routes=[Route(hook.path, self._endpoint(hook), methods=["POST"]) for hook in hooks])
        # A path with a slash too many is another path: no vendor follows a redirect with its body.
        self.app.router.redirect_slashes = False

    def _endpoint(self, hook: Hook) -> Callable[[Request], Awaitable[Response]]:
        secrets = tuple(secret.reveal().encode() for secret in hook.secrets)

        async def receive(request: Request) -> Response:
            if self._under_way >= self._settings.max_under_way:
                return self._later(hook, "too many deliveries at a time")
            self._under_way += 1
            try:
                return await self._receive(hook, secrets, request)
            except _RefusedError as error:
                log.info("delivery_refused", connector=hook.connector, status=error.status, reason=error.text)
                return _answer(error.status, error.text)
            except ClientDisconnect:
                return _answer(400, "the body ended early")
            except (ConnectorError, TimeoutError) as error:
                return self._later(hook, type(error).__name__, fatal=isinstance(error, FatalError))
            except Exception as error:  # noqa: BLE001 -- whatever it is, the vendor keeps the delivery and sends it again
                return self._later(hook, type(error).__name__, fatal=True)
            finally:
                self._under_way -= 1

        return receive

    async def _receive(self, hook: Hook, secrets: Sequence[bytes], request: Request) -> Response:
        delivery = Delivery(await self._body(request), _headers(request.scope["headers"]), self._clock.now())
        if not hook.verify(delivery, secrets):
            raise _RefusedError(401, "the signature is missing or wrong")
        key = self._key(hook, delivery)
        if key is None or key not in self._taken:
            items = _items(hook, delivery)
            if items:
                async with asyncio.timeout(self._settings.answer_timeout_s):
                    await self._intake(hook, items)
            hook.taken(delivery)
            if key is not None:
                self._taken[key] = None
                if len(self._taken) > REMEMBERED:
                    self._taken.popitem(last=False)
            self._wake(hook.connector)
        return _answer(200, "taken")

    async def _body(self, request: Request) -> bytes:
        """The whole body, refused as soon as it is clear that it is too large."""
        limit = self._settings.max_body_bytes
        length = request.headers.get("content-length")
        if length is not None and "transfer-encoding" in request.headers:
            # Two lengths: whoever is before us may have believed the other one, and what follows would be anybody's.
            raise _RefusedError(400, "the body has two lengths")
        if length is not None:
            if not (length.isascii() and length.isdigit() and len(length) <= MAX_NUMBER_CHARS):
                raise _RefusedError(400, "the content length is no number")
            if int(length) > limit:
                raise _RefusedError(413, "the body is too large")
        body = bytearray()
        try:
            async with asyncio.timeout(self._settings.read_timeout_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > limit:
                        raise _RefusedError(413, "the body is too large")
        except TimeoutError:
            raise _RefusedError(408, "the body came too slowly") from None
        return bytes(body)

    @staticmethod
    def _key(hook: Hook, delivery: Delivery) -> bytes | None:
        """What makes a delivery a repeat. The id alone would not do: it is often not signed."""
        name = hook.delivery_id(delivery)
        if name is None:
            return None
        parts = (hook.path.encode(), name, delivery.body)
        return b"".join(hashlib.sha256(part).digest() for part in parts)

    def _later(self, hook: Hook, reason: str, *, fatal: bool = False) -> Response:
        # By the name of its class: an error may quote what was sent.
        (log.error if fatal else log.warning)("delivery_not_taken", connector=hook.connector, reason=reason)
        answer = _answer(503, "not now; send it again")
        answer.headers["retry-after"] = str(self._settings.retry_after_s)
        return answer


def _check(hook: Hook, hooks: Sequence[Hook]) -> None:
    at = f"the webhook of {hook.connector}"
    if not 1 <= len(hook.secrets) <= _ACTIVE_SECRETS:
        raise FatalError(f"{at} has {len(hook.secrets)} secrets; give it one, or two while they rotate")
    if not _PATH.fullmatch(hook.path):
        raise FatalError(f"{at} has a path that cannot be one; write it as /{hook.connector}")
    if [each.path for each in hooks].count(hook.path) > 1:
        raise FatalError(f"{at} has the path of another connector; give it its own")


def _items(hook: Hook, delivery: Delivery) -> Sequence[Pushed]:
    try:
        return hook.translate(delivery)
    except UnreadableError as error:
        return (
            RefusedRecord(
                event_type=None,
                reason="unreadable",
                error=f"{error}; ask the vendor what it sent, fix it and replay",
                value=delivery.body,
                origin=f"webhook {hook.path}",
                digest=hashlib.sha256(delivery.body).hexdigest(),
                number=0,
            ),
        )


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> Mapping[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    twice: set[bytes] = set()
    for name, value in raw:
        if name in found:
            twice.add(name)
        found[name] = value
    return {name: value for name, value in found.items() if name not in twice}


def _answer(status: int, text: str) -> Response:
    # A sender whose request was not read to its end has nothing more to say on this connection.
    headers = {"connection": "close"} if status in (400, 408, 413) else None
    return PlainTextResponse(text, status_code=status, headers=headers)


# ---- on a port ------------------------------------------------------------------------------------------------------


class _Uvicorn(uvicorn.Server):
    """Signals are the command's business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _protocol(read_timeout_s: float) -> type[H11Protocol]:
    """Let nobody dawdle: uvicorn has no limit on how long a request's headers may take."""

    class Timed(H11Protocol):
        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
            super().connection_made(transport)
            self._late = self.loop.call_later(read_timeout_s, transport.close)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            is_waiting = self.cycle is None or self.cycle.response_complete
            if not is_waiting:
                self._in_time()
            elif self._late is None:
                self._late = self.loop.call_later(read_timeout_s, self.transport.close)

        def connection_lost(self, exc: Exception | None) -> None:
            self._in_time()
            super().connection_lost(exc)

        def _in_time(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

    return Timed


class Server:
    """Serves the door inside the running loop.

    Lifecycle: `start`, or `async with`; `stop` once: it lets the requests under way end. `url` is known after `start`.
    """

    def __init__(self, app: Starlette, settings: WebhookSettings) -> None:
        self._app, self._settings = app, settings
        self._server: _Uvicorn | None = None
        self._task: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None
        self.url = ""

    async def start(self) -> None:
        """Listen.

        Raises:
            FatalError: The port is taken, or the address is not ours.
            RetriableError: It did not start.
        """
        settings = self._settings
        self._socket = _listen(settings.host, settings.port)
        host, port = self._socket.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        config = uvicorn.Config(
            self._app,
            http=_protocol(settings.read_timeout_s),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # what a stranger sends is no news, and not to be quoted
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=4 * settings.max_under_way,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=5,
        )
        self._server = _Uvicorn(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]), name="webhooks")
        while not self._server.started:
            if self._task.done():
                raise RetriableError("the webhooks' port did not open")
            await asyncio.sleep(0.01)
        log.info("webhooks_listening", url=self.url)

    async def stop(self) -> None:
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await asyncio.gather(self._task, return_exceptions=True)
            self._server = None
        if self._socket is not None:
            self._socket.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(128)
            bound.setblocking(False)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        why = "is taken" if error.errno == errno.EADDRINUSE else error.strerror or "cannot be had"
        raise FatalError(f"webhooks: {host}:{port} {why}; free it, or set webhooks.port to another one") from error
    return bound

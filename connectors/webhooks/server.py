"""Deliveries over ASGI: verified, translated, published, then answered."""

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from connectors.base.clock import Clock
from connectors.base.errors import ConnectorError, FatalError
from connectors.base.source import RefusedRecord
from connectors.webhooks.body import MAX_NUMBER_CHARS
from connectors.webhooks.hook import Delivery, Hook, Pushed, UnreadablePushError
from connectors.webhooks.settings import WebhookSettings

log = structlog.get_logger(__name__)

#: Deliveries that are remembered so that a repeat costs no record. A repeat that is not among them is published again,
#: and found to be one by its identity.
REMEMBERED_DELIVERIES = 10_000
_PATH = re.compile(r"/[A-Za-z0-9._-]{1,100}(/[A-Za-z0-9._-]{1,100}){0,3}")
_ACTIVE_SECRETS = 2


class _RefusedError(Exception):
    """How a request that is not taken is answered."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class WebhookServer:
    """The ASGI app, as `app`.

    Args:
        hooks: Whose deliveries are taken.
        ingest: Called with what a delivery says; returns when the broker has it, else raises.
        clock: When a delivery came.
        settings: The limits.
        wake: Called with the connector's name once its delivery is taken.

    Raises:
        FatalError: A hook has no secret, more than two, a path that is none, or another one's.
    """

    def __init__(
        self,
        hooks: Sequence[Hook],
        ingest: Callable[[Hook, Sequence[Pushed]], Awaitable[None]],
        clock: Clock,
        settings: WebhookSettings,
        *,
        wake: Callable[[str], None] = lambda _connector: None,
    ) -> None:
        for hook in hooks:
            _check(hook, hooks)
        self._ingest, self._clock, self._settings, self._wake = ingest, clock, settings, wake
        self._in_flight = 0
        self._taken: OrderedDict[bytes, None] = OrderedDict()
        self.app = Starlette(routes=[Route(hook.path, self._endpoint(hook), methods=["POST"]) for hook in hooks])
        # A path with a slash too many is another path: no vendor follows a redirect with its body.
        self.app.router.redirect_slashes = False

    def _endpoint(self, hook: Hook) -> Callable[[Request], Awaitable[Response]]:
        secrets = tuple(secret.reveal().encode() for secret in hook.secrets)

        async def receive(request: Request) -> Response:
            if self._in_flight >= self._settings.max_under_way:
                return self._not_now(hook, "too many deliveries at a time")
            self._in_flight += 1
            try:
                return await self._receive(hook, secrets, request)
            except _RefusedError as error:
                log.info("delivery_refused", connector=hook.connector, status=error.status, reason=error.text)
                return _answer(error.status, error.text)
            except ClientDisconnect:
                return _answer(400, "the body ended early")
            except (ConnectorError, TimeoutError) as error:
                return self._not_now(hook, type(error).__name__, fatal=isinstance(error, FatalError))
            except Exception as error:  # noqa: BLE001 -- whatever it is, the vendor keeps the delivery and sends it again
                return self._not_now(hook, type(error).__name__, fatal=True)
            finally:
                self._in_flight -= 1

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
                    await self._ingest(hook, items)
            hook.taken(delivery)
            if key is not None:
                self._taken[key] = None
                if len(self._taken) > REMEMBERED_DELIVERIES:
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

    def _not_now(self, hook: Hook, reason: str, *, fatal: bool = False) -> Response:
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
    except UnreadablePushError as error:
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

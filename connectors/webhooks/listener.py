"""The webhook server on a port, inside the running loop."""

import asyncio
import errno
import socket
from typing import Self

import structlog
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from connectors.base.errors import FatalError, RetriableError
from connectors.base.serving import Server, bound, url_of
from connectors.webhooks.settings import WebhookSettings

log = structlog.get_logger(__name__)

#: Names and values of a request's headers; the longest that vendors send is a JSON web token of 4 KiB.
MAX_HEADER_BYTES = 16 * 1024
_BACKLOG = 128


def _protocol(read_timeout_s: float) -> type[H11Protocol]:
    """Close connections that are too slow: uvicorn has no limit on how long a request's headers may take."""

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


class WebhookListener:
    """Serves the webhook server's app inside the running loop.

    Lifecycle: `start`, or `async with`; `stop` once: it lets the requests under way end. `url` is known after `start`.
    """

    def __init__(self, app: Starlette, settings: WebhookSettings) -> None:
        self._app, self._settings = app, settings
        self._server: Server | None = None
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
        self.url = url_of(self._socket)
        config = uvicorn.Config(
            self._app,
            http=_protocol(settings.read_timeout_s),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # what a stranger sends is not worth a line, and not to be quoted
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=4 * settings.max_under_way,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=5,
        )
        self._server = Server(config)
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
        return bound(host, port, _BACKLOG)
    except OSError as error:
        why = "is taken" if error.errno == errno.EADDRINUSE else error.strerror or "cannot be had"
        raise FatalError(f"webhooks: {host}:{port} {why}; free it, or set webhooks.port to another one") from error

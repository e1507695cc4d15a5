"""The one port of a worker for machines that watch it: `/metrics`, `/healthz` (alive), `/readyz` (may take work)."""

import asyncio
import errno
import socket
from typing import Self

import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connectors.base.serving import Server, bound, url_of
from streams.config.sections import DEFAULT_METRICS_PORT, MetricsSettings
from streams.telemetry.held import shown
from streams.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_TICK_S = 0.25
_BACKLOG = 16  # one Prometheus, one orchestrator, a person


class PortTakenError(Exception):
    """The configured port cannot be listened on."""


def make_app(metrics: Metrics) -> Starlette:
    """The three pages; nothing on them can change anything."""

    async def show_metrics(_request: Request) -> Response:
        return Response(metrics.expose(), media_type=CONTENT_TYPE_LATEST)

    async def show_health(_request: Request) -> Response:
        # An answer at all shows that the loop turns.
        stalled = metrics.vitals.stalled()
        return JSONResponse({"alive": not stalled, "stalled": stalled}, status_code=503 if stalled else 200)

    async def show_readiness(_request: Request) -> Response:
        waiting = metrics.vitals.waiting()
        states = [shown(state, state.at) for state in metrics.components.not_working()]
        held = [state.as_json() for state in states if state is not None]
        answer = {"ready": not waiting, "waiting": waiting, "held": held}
        return JSONResponse(answer, status_code=503 if waiting else 200)

    return Starlette(
        routes=[Route("/metrics", show_metrics), Route("/healthz", show_health), Route("/readyz", show_readiness)]
    )


class Health:
    """Serves `make_app` inside the running loop, and measures how late that loop is.

    Lifecycle: `start`, or `async with`; `stop` once. `url` is known after `start`.
    """

    def __init__(self, metrics: Metrics, settings: MetricsSettings) -> None:
        self._metrics, self._settings = metrics, settings
        self._server: Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._socket: socket.socket | None = None
        self.url = ""

    async def start(self) -> None:
        """Listen.

        Raises:
            PortTakenError: The port is taken and not the default one, or the address is not ours.
        """
        self._socket = _listen(self._settings.host, self._settings.port)
        self.url = url_of(self._socket)
        config = uvicorn.Config(
            make_app(self._metrics),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            limit_concurrency=64,
            timeout_graceful_shutdown=2,
        )
        self._server = Server(config)
        self._tasks = [
            asyncio.create_task(self._server.serve(sockets=[self._socket]), name="health"),
            asyncio.create_task(self._tick(), name="loop-lag"),
        ]
        log.info("metrics_listening", url=self.url)

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.should_exit = True
        served, ticking = self._tasks
        ticking.cancel()
        await asyncio.gather(served, ticking, return_exceptions=True)
        self._server = None
        if self._socket is not None:
            self._socket.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def _tick(self) -> None:
        loop, lag = asyncio.get_running_loop(), self._metrics.event_loop_lag
        while True:
            due = loop.time() + _TICK_S
            await asyncio.sleep(_TICK_S)
            lag.observe(max(0.0, loop.time() - due))


def _listen(host: str, port: int) -> socket.socket:
    try:
        return bound(host, port, _BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and port == DEFAULT_METRICS_PORT:
            return bound(host, 0, _BACKLOG)
        raise PortTakenError(
            f"metrics: cannot listen on {host}:{port} ({error.strerror}); "
            "free it, or set metrics.port = 0 for any free port"
        ) from error

"""What `up`, `worker` and `connect` have in common: start, serve health and metrics, drain on SIGTERM."""

import asyncio
import importlib
import signal
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any, cast

import structlog
import typer

from connectors.base.errors import ConnectorError, LogError
from connectors.base.notices import NoticeWriter
from schemas.codec import Codec
from streams.cli import shell, signals
from streams.config.load import Config
from streams.kafka import topics
from streams.kafka.log import Log
from streams.notices.components import ComponentNews
from streams.telemetry import logs
from streams.telemetry.component_states import TOPIC, ComponentStateWriter
from streams.telemetry.health import Health
from streams.telemetry.kafka_watch import KafkaWatch
from streams.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

DRAIN_S = 28.0  # of the 30 s that the contract promises; the rest is for closing connections
_CANCEL_S = 1.5
_KAFKA_S = 30.0

#: `run(config, stop, log=..., metrics=..., codec=...)` of `streams.worker.main` and `streams.connect.runner`.
Part = Callable[..., Coroutine[Any, Any, None]]


def part(module: str) -> Part:
    """A module's `run`; imported when it is needed, so that no other command waits for Faust."""
    return cast(Part, importlib.import_module(module).run)


def serve(config: Config, parts: Mapping[str, Part]) -> None:
    """Run parts until SIGTERM or SIGINT, then let them drain.

    Raises:
        CommandError: The topics are not as they must be, or a part has failed.
        LogError, PortTakenError: It could not start.
    """
    logs.configure()
    shell.run_async(_serve(config, parts))


async def _serve(config: Config, parts: Mapping[str, Part]) -> None:
    stop = asyncio.Event()
    starting: asyncio.Task[None] | None = asyncio.current_task()
    loop = asyncio.get_running_loop()

    def request_stop(number: int) -> None:
        log.info("stopping", signal=signal.Signals(number).name)
        stop.set()
        if starting is not None:
            starting.cancel()

    with signals.listening(lambda number: loop.call_soon_threadsafe(request_stop, number)):
        if signals.stop_requested():
            log.info("stopped before it started")
            return
        async with AsyncExitStack() as stack:
            try:
                codec = shell.codec_of(config)
                metrics = Metrics(config)
                for name in parts:
                    metrics.vitals.expect(name)
                health = await stack.enter_async_context(Health(metrics, config.metrics))
                typer.echo(f"metrics and health on {health.url}", err=True)
                kafka = await stack.enter_async_context(shell.open_log(config, _KAFKA_S))
                differences = await topics.check(kafka, config)
            except asyncio.CancelledError:
                if stop.is_set():
                    return
                raise
            finally:
                starting = None
            if differences:
                listed = "; ".join(str(each) for each in differences[:3])
                more = f" (and {len(differences) - 3} more)" if len(differences) > 3 else ""
                raise shell.CommandError(
                    f"the topics are not as they must be: {listed}{more}", "run streams topics apply"
                )
            tasks = {
                name: asyncio.create_task(run(config, stop, log=kafka, metrics=metrics, codec=codec), name=name)
                for name, run in parts.items()
            }
            log.info("started", part=list(parts), config_version=config.version, url=health.url)
            beside = [
                asyncio.create_task(_component_states(config, kafka, codec, metrics).run()),
                asyncio.create_task(KafkaWatch(kafka, config.topic(TOPIC), metrics.components, metrics.vitals).run()),
            ]
            try:
                await _drain(tasks, stop)
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
            log.info("stopped")


def _component_states(config: Config, kafka: Log, codec: Codec, metrics: Metrics) -> ComponentStateWriter:
    """Publishes which companies and connectors of this process work, and tells who must know."""
    writer = NoticeWriter(kafka, codec, config.topic, config.partition_or_first)
    news = ComponentNews(writer, {name: connector.company for name, connector in config.connectors.items()})
    return ComponentStateWriter(metrics.components, kafka, codec, config.topic(TOPIC), news)


async def _drain(tasks: Mapping[str, asyncio.Task[None]], stop: asyncio.Event) -> None:
    """Wait for the end of all parts; the first one that ends, well or not, ends the others."""
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([stopping, *tasks.values()], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
    stop.set()
    _, late = await asyncio.wait(tasks.values(), timeout=DRAIN_S)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=_CANCEL_S)
    for name, task in tasks.items():
        if task in late:
            # Nothing is lost: what it had not finished is not committed, and the claims keep doubles out.
            log.warning("not_drained", part=name, after_s=DRAIN_S)
            continue
        error = task.exception()
        if error is not None:
            log.error("failed", part=name, exc_info=error)
            is_ours = isinstance(error, ConnectorError | LogError | shell.CommandError)
            words = str(error) if is_ours else type(error).__name__
            raise shell.CommandError(
                f"{name} has stopped: {words}", "see the log above; fix that, then start again"
            ) from error

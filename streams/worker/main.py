"""`streams worker`: the Faust app in this process, from start to drained."""

import asyncio
import gc
import os
from collections.abc import Callable
from functools import partial
from random import SystemRandom

import structlog
from faust.auth import Credentials, SASLCredentials, SSLCredentials

from connectors.base.clock import SystemClock
from connectors.sap_b1.client import HttpServiceLayer
from connectors.sap_b1.refused_logins import state_file
from connectors.sap_b1.service_layer import ServiceLayer
from schemas.codec import Codec
from streams.config.load import Config
from streams.config.sections import KafkaSettings
from streams.faust_host.streams_app import StreamsApp
from streams.kafka.log import Log
from streams.notices import runner as notices_runner
from streams.ports import Ports
from streams.telemetry.metrics import Metrics
from streams.worker.gauges import Gauges
from streams.worker.trial_read import first_fatal

logger = structlog.get_logger(__name__)
_GAUGES_INTERVAL_S = 5.0


async def run(config: Config, stop: asyncio.Event, *, log: Log, metrics: Metrics, codec: Codec) -> None:
    """Run agents and posters until told to stop, then drain.

    Args:
        config: The configuration in force.
        stop: Set: seal what is open, let what is under way end, commit, leave the group, return.
        log: Started, and not stopped here.
        metrics: `vitals` is ready once partitions are assigned.
        codec: Of the configured registry.

    Raises:
        Exception: What ended the worker; nothing of what was not finished is committed.
    """
    tune_garbage_collector()
    random, clock = SystemRandom(), SystemClock()
    layers: dict[str, HttpServiceLayer] = {}

    def service_layer(company: str) -> ServiceLayer:
        settings = config.companies[company]
        layers[company] = HttpServiceLayer(
            settings.service_layer_url,
            settings.company_db,
            settings.username,
            settings.password,
            verify=settings.verify_tls,
            session_limit=settings.session_limit,
            refused_logins=state_file(os.environ),
            clock=clock,
            random=random,
            on_call=metrics.erp_call,
        )
        return layers[company]

    trial = partial(first_fatal, registry_url=config.schema_registry.url)
    ports = Ports(log, codec, clock, random, metrics, service_layer, first_fatal=trial)
    servers = ";".join(f"kafka://{server}" for server in config.kafka.bootstrap_servers.split(","))
    app = StreamsApp(config, ports, broker=servers, broker_credentials=_credentials(config.kafka))

    gauges = Gauges(metrics, clock)

    def show() -> None:
        metrics.vitals.beat("worker")
        for tp, behind in app.lag().items():
            metrics.consumer_lag(config.name_of(tp.topic), str(tp.partition)).set(behind)
        gauges.show(app.pipeline)
        for company, layer in layers.items():
            metrics.erp_sessions_active(company).set(layer.sessions_active)

    def show_target(name: str, why: str | None) -> None:
        metrics.components.report("target", name, None if why is None else "target_down", why)

    metrics.vitals.expect("worker", "waits for its partitions")
    app.finalize()
    await app.start()
    telling = asyncio.create_task(
        notices_runner.run(
            config, stop, log=log, codec=codec, clock=clock, random=random, metrics=metrics, on_target=show_target
        )
    )
    try:
        await _until(app, stop, show)
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        try:
            await app.stop()
        except Exception as error:
            if app.crash_reason is None:
                raise
            logger.warning("the stop after a crash was not clean", error=str(error))
    if app.crash_reason is not None:
        raise app.crash_reason


def tune_garbage_collector() -> None:
    """Run the cyclic GC less often: rows are allocated in bulk and contain no cycles.

    With the interpreter's defaults its runs took a quarter of the time of ingest (tests/bench). What is loaded by now
    is never scanned.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


async def _until(app: StreamsApp, stop: asyncio.Event, show: Callable[[], None]) -> None:
    crashed = asyncio.ensure_future(app.wait_until_stopped())
    stopping = asyncio.ensure_future(stop.wait())
    try:
        while not stopping.done() and not crashed.done() and not app.crashed:
            await asyncio.wait({crashed, stopping}, timeout=_GAUGES_INTERVAL_S, return_when=asyncio.FIRST_COMPLETED)
            show()
    finally:
        for future in (crashed, stopping):
            future.cancel()


def _credentials(kafka: KafkaSettings) -> Credentials | None:
    """What `[kafka]` says of encryption and sign-on, as Faust wants it."""
    security = kafka.security()
    context = security.get("ssl_context")
    if "sasl_mechanism" in security:
        return SASLCredentials(
            username=security["sasl_plain_username"],
            password=security["sasl_plain_password"],
            ssl_context=context,
            mechanism=security["sasl_mechanism"],
        )
    return None if context is None else SSLCredentials(context=context)

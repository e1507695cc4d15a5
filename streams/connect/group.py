"""The connectors of one process: what they share, and which of them run here."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import structlog

from connectors.base.clock import Clock
from connectors.base.cursors import CURSORS, Cursors, LostRaceError, out_name, partition_of
from connectors.base.dead_letters import DeadLetters
from connectors.base.errors import FatalError, LogRefusedError
from connectors.base.log import Broker
from connectors.base.metrics import ConnectorMetrics
from connectors.base.publisher import Publisher
from connectors.base.retry import wait
from connectors.base.settings import ConnectorSettings
from connectors.registry import KINDS
from connectors.runtime import Runtime
from connectors.webhooks.ingest import WebhookIngest
from connectors.webhooks.listener import WebhookListener
from connectors.webhooks.server import WebhookServer
from schemas.codec import Codec
from streams.config.load import Config
from streams.delivery.deliverer import Deliverer
from streams.delivery.feed import CompanyFeed
from streams.delivery.names import ReceiverNames
from streams.delivery.states import STATES, EffectStates
from streams.telemetry.component_states import ComponentStates
from streams.worker.isolation import words_of

log = structlog.get_logger(__name__)

#: A process that is gone is noticed after this; its connectors then start elsewhere.
SESSION_S = 10.0
#: What a connector may take to see its batch through when it has to let go: below the session, so that the group waits.
#: What takes longer is cut off, and done again by whoever comes next.
RELEASE_S = 5.0


#: A connector that a person has to fix is tried again after half a minute, then after a minute ... ten minutes;
#: one that has worked for so long begins anew.
HELD_BASE_S, HELD_CAP_S, FORGET_S = 15.0, 600.0, 3600.0


def hold_reason(error: BaseException) -> str:
    """Why a connector is held: a name of `schemas.components.HOLD_REASONS`."""
    return error.hold_reason or "source_refused" if isinstance(error, FatalError) else "failed"


@dataclass(frozen=True, slots=True)
class ConnectorFactory:
    """What the connectors of a process share."""

    config: Config
    broker: Broker
    codec: Codec
    clock: Clock
    metrics: ConnectorMetrics
    components: ComponentStates | None = None

    def cursors(self, name: str) -> Cursors:
        topic, partition = self.config.topic(CURSORS), partition_of(name, self.config.kafka.partitions)
        return Cursors(name, self.broker, self.codec, self.clock, topic=topic, partition=partition)

    def door(self, wake: Callable[[str], None]) -> WebhookListener | None:
        """Where vendors push to; None where no connector has a webhook."""
        connectors = [(name, each) for name, each in self.config.connectors.items() if each.enabled]
        hooks = [hook for name, each in connectors if (hook := KINDS[each.kind].hook(name, each)) is not None]
        if not hooks:
            return None
        topic, settings = self.config.topic, self.config.webhooks
        publisher = Publisher(self.broker, self.codec, self.clock, topic)
        letters = DeadLetters(self.broker, self.codec, self.clock, topic, self.config.company_partition)
        intake = WebhookIngest(publisher, letters, self.metrics)
        return WebhookListener(WebhookServer(hooks, intake, self.clock, settings, wake=wake).app, settings)

    def runtime(self, name: str, settings: ConnectorSettings) -> Runtime:
        topic = self.config.topic
        return Runtime(
            KINDS[settings.kind].source(name, settings, self.clock),
            cursors=self.cursors(name),
            publisher=Publisher(self.broker, self.codec, self.clock, topic, self.config.company_partition),
            letters=DeadLetters(self.broker, self.codec, self.clock, topic, self.config.company_partition),
            metrics=self.metrics,
            poll_interval_s=settings.poll_interval_s,
            on_state=partial(self._show, name),
        )

    def deliverer(self, name: str, settings: ConnectorSettings, feeds: "CompanyFeeds") -> Deliverer:
        """What keeps the connector's channel as B1 says it ought to be; it has an `out` table that is on."""
        make, out, topic = KINDS[settings.kind].sink, settings.out, self.config.topic
        assert make is not None and out is not None  # noqa: S101 -- the configuration was checked
        company, partition = self.config.companies[settings.company], partition_of(name, self.config.kafka.partitions)
        cursor, codec = out_name(name), self.codec
        return Deliverer(
            name,
            settings.company,
            out,
            ReceiverNames(name, settings, company),
            feed=feeds.of(settings.company),
            sink=make(name, settings, self.clock),
            states=EffectStates(name, self.broker, codec, topic=topic(STATES), partition=partition),
            cursors=Cursors(cursor, self.broker, codec, self.clock, topic=topic(CURSORS), partition=partition),
            clock=self.clock,
            start_at=settings.start_at,
            currency=company.currency,
            on_state=partial(self._show, cursor, reason="channel_away"),
            on_ended=partial(self.metrics.delivered, name),
        )

    def _show(self, name: str, why: str | None, reason: str = "source_away") -> None:
        if self.components is not None:
            self.components.report("connector", name, None if why is None else reason, why)


class CompanyFeeds:
    """One feed a company and process, whoever of its connectors needs it."""

    def __init__(self, factory: ConnectorFactory) -> None:
        self._factory = factory
        self._feeds: dict[str, CompanyFeed] = {}

    def of(self, company: str) -> CompanyFeed:
        if company not in self._feeds:
            made = self._factory
            self._feeds[company] = CompanyFeed(company, made.config, made.broker, made.codec, made.clock)
        return self._feeds[company]


class Runs(Protocol):
    """A `Runtime` or a `Deliverer`."""

    async def run(self, stop: asyncio.Event) -> None: ...


class ConnectorGroup:
    """The connectors that run in this process.

    Lifecycle: `take` partitions, `release` all, as often as the group changes; `close` once.

    Attributes:
        failed: Done when Kafka has refused a connector what it must have; the process has to stop.
    """

    def __init__(
        self,
        config: Config,
        runtime: Callable[[str, ConnectorSettings], Runtime],
        components: ComponentStates,
        deliverer: Callable[[str, ConnectorSettings], Runs] | None = None,
    ) -> None:
        self._components = components
        self._deliverer = deliverer
        self._connectors: Mapping[str, ConnectorSettings] = config.connectors
        self._partitions = config.kafka.partitions
        self._runtime = runtime
        self._running: dict[str, tuple[asyncio.Event, asyncio.Task[None]]] = {}
        self._runtimes: dict[str, Runtime] = {}
        self._closed = False
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self, partitions: Collection[int]) -> None:
        """Start the connectors of these partitions; none once closed: the group may change while we leave it."""
        if self._closed:
            return
        for name, settings in self._connectors.items():
            if settings.enabled and partition_of(name, self._partitions) in partitions and name not in self._running:
                self._start(name, partial(self._source, name, settings))
                if self._deliverer is not None and settings.out is not None and settings.out.is_on:
                    self._start(out_name(name), partial(self._deliverer, name, settings))

    def _start(self, name: str, make: Callable[[], Runs]) -> None:
        stop = asyncio.Event()
        task = asyncio.create_task(self._tend(name, make, stop), name=f"connector {name}")
        task.add_done_callback(self._look_at)
        self._running[name] = stop, task
        log.info("connector_started", connector=name)

    def _source(self, name: str, settings: ConnectorSettings) -> Runtime:
        self._runtimes[name] = self._runtime(name, settings)
        return self._runtimes[name]

    def wake(self, name: str) -> None:
        """Let a connector look now, if it runs here; elsewhere its poll comes to it."""
        if name in self._running and name in self._runtimes:
            self._runtimes[name].wake()

    async def release(self) -> None:
        """Stop all of them: after their batches where those end in time, else at once."""
        running, self._running = self._running, {}
        if not running:
            return
        for stop, _ in running.values():
            stop.set()
        tasks = [task for _, task in running.values()]
        _, late = await asyncio.wait(tasks, timeout=RELEASE_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        log.info("connectors_stopped", items=sorted(running), count=len(running), failures=len(late))

    async def close(self) -> None:
        """Stop all of them for good."""
        self._closed = True
        await self.release()

    async def _tend(self, name: str, make: Callable[[], Runs], stop: asyncio.Event) -> None:
        """Run one connector; what it cannot handle holds it alone: said, and tried again slowly.

        Raises:
            LogRefusedError: Kafka refuses what it must have.
        """
        failures = 0
        while not stop.is_set():
            started_s = asyncio.get_running_loop().time()
            try:
                await make().run(stop)
            except LostRaceError as error:
                # Whoever has it now runs it. If the group still says that it is ours by then, we take it back.
                log.warning("connector_taken_over", connector=name, error=str(error))
                await wait(stop, SESSION_S)
            except LogRefusedError:
                raise
            except Exception as error:  # noqa: BLE001 -- a fault stays where it is (architecture section 15.16)
                failures = 0 if asyncio.get_running_loop().time() - started_s > FORGET_S else failures + 1
                wait_s = min(HELD_CAP_S, HELD_BASE_S * 2.0 ** min(failures, 10))
                self._components.report("connector", name, hold_reason(error), f"{words_of(error)}; tried again")
                await wait(stop, wait_s)
        self._components.forget("connector", name)

    def _look_at(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.failed.done():
            log.error("connector_ended", connector=task.get_name(), error=str(error))
            self.failed.set_exception(error)
            self.failed.exception()  # whoever looks at it later, it is not lost news to the event loop

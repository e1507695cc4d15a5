"""One worker process: the real `Pipeline` under the real hooks of `streams.faust_host`, with Faust's part played."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from faust.types import TP

from streams.config.load import Config
from streams.faust_host.app import FaustApp
from streams.faust_host.batch import FetchedBatch
from streams.faust_host.streams_app import StreamsApp
from streams.kafka.log import Committed
from streams.ports import Ports
from streams.worker.fuse import Fuse
from streams.worker.input_logs import InputLogs
from streams.worker.pipeline import INPUTS, Pipeline
from tests.simulation.broker import EPOCH_S, Broker
from tests.simulation.host import SimConsumer
from tests.simulation.loop import Process, VirtualLoop


@dataclass(frozen=True, slots=True)
class SimClock:
    """A machine's clock: `skew_s` off, and its monotonic one from a start of its own."""

    loop: VirtualLoop
    skew_s: float = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(EPOCH_S, UTC) + timedelta(seconds=self.loop.time() + self.skew_s)

    def monotonic(self) -> float:
        return self.loop.time() + 1000.0


class Worker:
    """Lifecycle: the group calls `assign` and `revoke`; `crashed` is called when the process ends by itself."""

    #: What is under test of the app, as it is.
    on_assigned: Any = StreamsApp.on_assigned
    before_release: Any = StreamsApp.before_release
    positions: Any = StreamsApp.positions
    on_commit: Any = StreamsApp.on_commit
    _open_poster: Any = StreamsApp._open_poster
    _open_held_company: Any = StreamsApp._open_held_company
    _settle: Any = StreamsApp._settle
    _open_stock: Any = StreamsApp._open_stock
    _decided: Any = StreamsApp._decided
    _stamp: Any = StreamsApp._stamp
    _start: Any = StreamsApp._start
    _ended: Any = StreamsApp._ended
    _watch = StreamsApp._watch
    _seal = StreamsApp._seal
    pause: Any = FaustApp.pause
    resume: Any = FaustApp.resume
    rewind: Any = FaustApp.rewind
    stamp: Any = FaustApp.stamp
    stamp_all: Any = FaustApp.stamp_all
    note: Any = FaustApp.note
    _take: Any = StreamsApp._take
    _end_of: Any = StreamsApp._end_of
    add: Any = FaustApp.add
    watermark: Any = FaustApp.watermark
    drain_timeout = FaustApp.drain_timeout
    max_open_bytes = FaustApp.max_open_bytes

    def __init__(
        self,
        config: Config,
        ports: Ports,
        process: Process,
        broker: Broker,
        commit: Callable[["Worker", int, dict[TP, Committed]], Awaitable[bool]],
        crashed: Callable[["Worker", BaseException], None],
        batch_size: int,
        max_open: int,
    ) -> None:
        self.process, self.generation, self.max_open = process, 0, max_open
        self.last_commit_s = 0.0
        self.pipeline = Pipeline(config, ports)
        self._config, self._ports, self._on_crash = config, ports, crashed
        self._logs = InputLogs(self, self.pipeline.logs, config, ports.metrics.vitals, ports.metrics.components)
        self._held: set[Any] = set()
        self._fuse = Fuse(self, ports.first_fatal)
        self._names: Mapping[TP, TP] = {}
        self._beside: set[asyncio.Task[None]] = set()
        self._revoking = asyncio.Lock()
        self._queues = {name: asyncio.Queue[FetchedBatch]() for name in INPUTS}
        self.flow_control = SimpleNamespace(suspend=lambda: None, clear=self._clear)
        self.consumer = self._our_consumer = SimConsumer(
            self, ports, broker, config.group, lambda generation, offsets: commit(self, generation, offsets), batch_size
        )
        self.consumer.delivered = self._deliver
        for name in INPUTS:
            process.spawn(self._agent(name))
        process.spawn(self.consumer.run_fetcher())
        process.spawn(self.consumer.run_committer())

    @property
    def consumer_generation_id(self) -> int:
        return self.generation

    # ---- Faust's side: what agents are handed

    def _deliver(self, batch: FetchedBatch) -> None:
        self._queues[self._config.name_of(batch.topic)].put_nowait(batch)

    def _clear(self) -> None:
        for queue in self._queues.values():
            while not queue.empty():
                queue.get_nowait()

    async def _agent(self, name: str) -> None:
        queue = self._queues[name]
        while True:
            batch = await queue.get()
            try:
                await self._take(name, batch)
            except Exception as error:  # noqa: BLE001 -- whatever an agent raises ends the worker
                await self.crash(error)

    # ---- the group's side

    async def assign(self, tps: list[TP], generation: int) -> None:
        if generation == self.generation:  # else it stood still meanwhile, and the group has gone on
            await self.consumer.assigned(set(tps), generation)

    async def revoke(self, generation: int) -> None:
        """Give everything back: the group goes on when this returns, or when it is tired of waiting."""
        async with self._revoking:
            if generation != self.generation:
                return
            await self.consumer.revoked()
            self.generation = 0

    async def _hold(self, _topic: str, _partition: int, error: Exception) -> None:
        """A worker holds what has failed alone; here it ends, so that no error is lived with."""
        await self.crash(error)

    async def crash(self, error: BaseException) -> None:
        self._on_crash(self, error)
        await asyncio.get_running_loop().create_future()


def places(tps: Mapping[TP, Any]) -> dict[tuple[str, int], Any]:
    return {(tp.topic, tp.partition): value for tp, value in tps.items()}

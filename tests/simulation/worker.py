"""One worker process: the real `Pipeline` under the real hooks of `streams.faust_host.app`.

With Faust's part played here.

What `streams.faust_host.transport` does for the app is done here in the same order: positions, `on_assigned`, batches
one at a time per partition, a commit of watermarks every second, and `before_release` when the group takes the
partitions back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from faust.types import TP

from streams.config.load import Config
from streams.faust_host.batch import FetchedBatch
from streams.faust_host.streams_app import StreamsApp
from streams.faust_host.watermarks import Counts, Progress, Start, decode_counts, encode_counts
from streams.kafka.log import Committed
from streams.ports import Ports
from streams.worker.input_logs import InputLogs
from streams.worker.pipeline import INPUTS, Pipeline
from tests.simulation.broker import EPOCH_S, Broker
from tests.simulation.loop import Process, VirtualLoop

_DRAIN_S, _COMMIT_S, _CROWDED = 10.0, 1.0, 20_000


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
    on_assigned = StreamsApp.on_assigned
    before_release = StreamsApp.before_release
    _open_poster = StreamsApp._open_poster
    _open_held_company = StreamsApp._open_held_company
    _settle = StreamsApp._settle
    _open_stock = StreamsApp._open_stock
    _decided = StreamsApp._decided
    _stamp = StreamsApp._stamp
    _start = StreamsApp._start
    _ended = StreamsApp._ended
    _watch = staticmethod(StreamsApp._watch)

    def __init__(
        self,
        config: Config,
        ports: Ports,
        process: Process,
        broker: Broker,
        commit: Callable[["Worker", int, dict[TP, Committed]], Awaitable[bool]],
        crashed: Callable[["Worker", BaseException], None],
        batch_size: int,
    ) -> None:
        self.process, self.generation = process, 0
        self.pipeline = Pipeline(config, ports)
        self._config, self._ports, self._broker = config, ports, broker
        self._commit_at, self._on_crash, self._batch_size = commit, crashed, batch_size
        self._logs = InputLogs(self, self.pipeline.logs, config, ports.metrics.vitals)
        self._beside: set[asyncio.Task[None]] = set()
        self._progress: dict[TP, Progress] = {}
        self._at_kafka: dict[TP, Committed] = {}
        self._positions: dict[TP, int] = {}
        self._unopened: dict[TP, FetchedBatch] = {}
        self._paused: set[TP] = set()
        self._flows = self._found = False
        self._assigning: asyncio.Task[None] | None = None
        self._revoking = asyncio.Lock()
        self._committing = asyncio.Lock()
        self._room = asyncio.Event()
        self._queues = {name: asyncio.Queue[FetchedBatch]() for name in INPUTS}
        for partition in broker.partitions.values():
            partition.watchers.append(self._wake)
        for name in INPUTS:
            process.spawn(self._agent(name))
        process.spawn(self._fetch())
        process.spawn(self._commit_watermarks())

    def _wake(self) -> None:
        self._room.set()

    # ---- Faust's side: what agents are handed

    async def _agent(self, name: str) -> None:
        queue = self._queues[name]
        while True:
            batch = await queue.get()
            try:
                await self.pipeline.take(name, batch.tp.partition, batch)
            except Exception as error:  # noqa: BLE001 -- whatever an agent raises ends the worker
                await self.crash(error)

    async def _fetch(self) -> None:
        random = self._broker.random
        while True:
            await self._room.wait()
            self._room.clear()
            await asyncio.sleep(random.uniform(0.002, 0.05))
            if not self._flows:
                continue
            for tp in sorted(self._progress):
                progress = self._progress[tp]
                raw, at = self._broker.partitions[tp].raw, self._positions[tp]
                if tp in self._unopened or tp in self._paused or progress.open_records >= _CROWDED or at >= len(raw):
                    continue
                records = raw[at : at + random.randint(1, self._batch_size)]
                self._positions[tp] = at + len(records)
                self._unopened[tp] = batch = FetchedBatch(self.make_room, tp, records, progress)
                self._queues[self._config.name_of(tp.topic)].put_nowait(batch)

    def make_room(self, tp: TP) -> None:
        self._unopened.pop(tp, None)
        self._room.set()

    # ---- committing

    async def _commit_watermarks(self) -> None:
        while True:
            await asyncio.sleep(_COMMIT_S)
            if self._found:
                await self._commit()

    async def _commit(self) -> None:
        async with self._committing:
            offsets = {}
            for tp, progress in self._progress.items():
                kafka = self._at_kafka.get(tp)
                if progress.next is not None and (kafka is None or kafka.offset != progress.next or progress.counts):
                    at = Committed(progress.next, encode_counts(progress.counts))
                    if at != kafka:
                        offsets[tp] = at
            if not offsets:
                return
            await self._ports.crash_point("c8")
            generation = self.generation
            if await self._commit_at(self, generation, offsets) and generation == self.generation:
                self._at_kafka.update(offsets)

    # ---- the group's side

    async def assign(self, tps: list[TP], generation: int) -> None:
        if generation != self.generation:  # it stood still meanwhile, and the group has gone on
            return
        task = self._assigning = asyncio.ensure_future(self._assign(tps))
        await asyncio.wait([task])
        if self._assigning is task:
            self._assigning = None
        if not task.cancelled() and (error := task.exception()) is not None:
            await self.crash(error)

    async def _assign(self, tps: list[TP]) -> None:
        committed = await self._ports.log.committed(self._config.group)
        for tp in tps:
            kafka = committed.get((tp.topic, tp.partition))
            counts = decode_counts(kafka.metadata) if kafka is not None else {}
            if kafka is not None:
                self._at_kafka[tp] = Committed(kafka.offset, encode_counts(counts))
            self._progress[tp] = Progress(kafka.offset if kafka is not None else 0, counts)
        await self.on_assigned(set(tps))
        self._found = True
        for tp in tps:
            self._positions[tp] = self._progress[tp].next or 0
        self._flows = True
        self._room.set()

    async def revoke(self, generation: int) -> None:
        """Give everything back: the group goes on when this returns, or when it is tired of waiting."""
        async with self._revoking:
            if generation != self.generation:
                return
            tps = set(self._progress)
            self._flows = False
            for queue in self._queues.values():
                while not queue.empty():
                    queue.get_nowait()
            for progress in self._progress.values():
                progress.live = False
            if (assigning := self._assigning) is not None:
                assigning.cancel()
                await asyncio.wait([assigning], timeout=_DRAIN_S)
            if self._found:
                try:
                    await asyncio.wait_for(self.before_release(tps), _DRAIN_S)
                except TimeoutError:
                    pass
                except Exception as error:  # noqa: BLE001 -- as the transport does
                    await self.crash(error)
                await self._commit()
            self._found = False
            self._progress = {}
            for kept in (self._at_kafka, self._positions, self._unopened, self._paused):
                kept.clear()
            self.generation = 0

    # ---- what the app asks of its transport

    def pause(self, tp: TP) -> None:
        self._paused.add(tp)

    def resume(self, tp: TP) -> None:
        self._paused.discard(tp)
        self._room.set()

    def watermark(self, tp: TP) -> Start | None:
        progress = self._progress.get(tp)
        return None if progress is None or progress.next is None else Start(progress.next, dict(progress.counts))

    async def stamp(self, tp: TP, counts: Counts) -> bool:
        progress = self._progress.get(tp)
        if progress is None or progress.next is None:
            return False
        progress.note(counts)
        async with self._committing:
            at, generation = Committed(progress.next, encode_counts(progress.counts)), self.generation
            done = await self._commit_at(self, generation, {tp: at})
            if done and generation == self.generation:
                self._at_kafka[tp] = at
            return done

    async def rewind(self, tp: TP, start: Start) -> bool:
        old = self._progress.get(tp)
        if old is None or not old.live or not self._flows:
            return False
        await asyncio.sleep(0.002)
        if self._progress.get(tp) is not old or not old.live:
            return False
        old.live = False
        self._progress[tp] = Progress(start.offset, old.counts if start.counts is None else start.counts)
        self._unopened.pop(tp, None)
        self._positions[tp] = start.offset
        self._room.set()
        return True

    async def crash(self, error: BaseException) -> None:
        self._on_crash(self, error)
        await asyncio.get_running_loop().create_future()


def places(tps: Mapping[TP, Any]) -> dict[tuple[str, int], Any]:
    return {(tp.topic, tp.partition): value for tp, value in tps.items()}

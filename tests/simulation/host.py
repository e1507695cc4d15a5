"""Faust's part of one worker, played here; the rules of `streams.faust_host` run as they are.

Which partitions are fetched, what of a fetch is delivered, what is committed as whom, where reading starts and what
happens before partitions are given back is the code of `Consumer`, `ConsumerThread`, `Assignment`, `Commits` and
`Starts`. What is played: Faust's loops, aiokafka's fetcher and membership, and the time that each of them takes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Protocol

from aiokafka.errors import CommitFailedError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.types import TP

from streams.faust_host.assignment import Assignment
from streams.faust_host.commits import Commits
from streams.faust_host.consumer import Consumer
from streams.faust_host.consumer_thread import ConsumerThread
from streams.faust_host.stalls import StallWatch
from streams.faust_host.starts import StartHooks, Starts
from streams.kafka.log import Committed
from streams.ports import Ports
from tests.simulation.broker import Broker

_COMMIT_S = 1.0
#: A fetch waits longer than the real one: an idle second costs a wake-up, and nothing is learned from it.
_FETCH_WAIT_FACTOR = 10.0

#: Commits at the coordinator as a member of a generation; False: it refuses.
CommitAt = Callable[[int, dict[TP, Committed]], Awaitable[bool]]


class HostedApp(StartHooks, Protocol):
    """What Faust's part asks of the app."""

    consumer_generation_id: int
    drain_timeout: float
    max_open: int
    max_open_bytes: int

    def on_commit(self, accepted: bool) -> None: ...

    async def before_release(self, tps: set[TP]) -> None: ...


class SimThread:
    """aiokafka's consumer in its thread: what it believes of its membership, and the coordinator behind it."""

    commit_watermarks: Any = ConsumerThread.commit_watermarks
    log = SimpleNamespace(info=lambda *words: None)

    def __init__(self, commit_at: CommitAt) -> None:
        self._coordinator = SimpleNamespace(generation=-1)
        self._commit_at = commit_at

    def joined(self, generation: int) -> None:
        """What the client learns from the coordinator; -1: it is no member."""
        self._coordinator.generation = generation

    def _ensure_consumer(self) -> Any:
        return self

    async def commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """As aiokafka: with whatever membership it has now."""
        given = {TP(tp.topic, tp.partition): Committed(at.offset, at.metadata) for tp, at in offsets.items()}
        if not await self._commit_at(self._coordinator.generation, given):
            raise CommitFailedError

    async def keep_membership(self) -> None: ...

    @staticmethod
    async def call_thread(call: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        return await call(*arguments)


class SimConsumer:
    """`streams.faust_host.consumer.Consumer` over the simulated broker.

    Lifecycle: `assigned` and `revoked` as the group says; `run_fetcher` and `run_committer` for as long as the process
    lives.
    """

    #: What is under test, as it is.
    getmany: Any = Consumer.getmany
    quiesce: Any = Consumer.quiesce
    _wanted: Any = Consumer._wanted
    _message: Any = Consumer._message
    _generation: Any = Consumer._generation
    _commit_as: Any = Consumer._commit_as
    _filter: Any = Consumer._filter_tps_with_pending_acks
    _should_commit: Any = Consumer._should_commit
    _commit: Any = Consumer._commit

    def __init__(
        self, app: HostedApp, ports: Ports, broker: Broker, group: str, commit_at: CommitAt, batch: int
    ) -> None:
        self.app, self._ports, self._broker, self._group, self._batch = app, ports, broker, group, batch
        self._thread = SimThread(commit_at)
        self.held = Assignment()
        self.stalls = StallWatch(self.held)
        self.commits = Commits(self.held, self._commit_as, self._generation, app.on_commit)
        self.starts = Starts(self.held, self.commits, self, app, self._generation)
        self._releasing, self._committing = asyncio.Lock(), asyncio.Lock()
        self.flow_active, self.can_resume_flow = False, asyncio.Event()
        self.delivered: Callable[[Any], None] = lambda batch: None
        self.log = SimpleNamespace(warning=lambda *words: None)
        self._positions: dict[TP, int] = {}
        self._arrived = asyncio.Event()
        for partition in broker.partitions.values():
            partition.watchers.append(self._arrived.set)

    # ---- Faust's loops

    async def run_fetcher(self) -> None:
        while True:
            async for _, message in self.getmany(0.0):
                self.delivered(message.value)

    async def run_committer(self) -> None:
        while True:
            await asyncio.sleep(_COMMIT_S)
            if self.starts.app_was_told:
                await self.commit()

    async def commit(self) -> None:
        async with self._committing:
            offsets = {tp: self.held.progress[tp].next for tp in self._filter() if self._should_commit(tp, 0)}
            if any(offset is not None for offset in offsets.values()):
                await self._ports.crash_point("c8")
                await self._commit(offsets)

    async def maybe_wait_for_commit_to_finish(self) -> None:
        async with self._committing:
            pass

    def stop_flow(self) -> None:
        self.flow_active = False
        self.can_resume_flow.clear()

    async def wait(self, event: asyncio.Event) -> None:
        await event.wait()

    async def wait_first(self, *waits: Awaitable[Any], timeout: float) -> None:  # noqa: ASYNC109 -- mode's signature
        waiting = [asyncio.ensure_future(each) for each in waits]
        await asyncio.wait(waiting, timeout=timeout * _FETCH_WAIT_FACTOR)
        for each in waiting:
            each.cancel()

    # ---- the group

    async def assigned(self, tps: set[TP], generation: int) -> None:
        """The group has given us these: find where they start, then read."""
        self._thread.joined(generation)
        await self.starts.find(tps)
        await self.starts.seek(tps)
        if self.starts.reads:
            self.flow_active = True
            self.can_resume_flow.set()

    async def revoked(self) -> None:
        """As `Consumer.on_partitions_revoked`: everything goes back."""
        if self.held.progress or self.starts.under_way:
            await self.quiesce(set(self.held.progress))
        for part in (self.starts, self.held, self.commits, self.stalls, self._positions):
            part.clear()

    def expelled(self) -> None:
        self._thread.joined(-1)

    # ---- aiokafka's fetcher, and what it knows

    def _get_active_partitions(self) -> set[TP]:
        return set(self.held.progress)

    async def _getmany(self, tps: Collection[TP], wait_s: float) -> dict[TP, Sequence[Any]]:
        random, loop = self._broker.random, asyncio.get_running_loop()
        until = loop.time() + wait_s * _FETCH_WAIT_FACTOR
        while True:
            self._arrived.clear()
            await asyncio.sleep(random.uniform(0.002, 0.05))
            fetched = {}
            for tp in sorted(tps):
                at = self._positions.get(tp)
                if at is None:
                    continue
                records = self._broker.fetch(tp, at, random.randint(1, self._batch))
                if records:
                    self._positions[tp] = records[-1].offset + 1
                    fetched[tp] = records
            if fetched or loop.time() >= until:
                return fetched
            await self.wait_first(self._arrived.wait(), timeout=(until - loop.time()) / _FETCH_WAIT_FACTOR)

    async def committed(self, tps: set[TP]) -> Mapping[TP, OffsetAndMetadata]:
        found = await self._ports.log.committed(self._group)
        return {
            tp: OffsetAndMetadata(at.offset, at.metadata)
            for tp in tps
            if (at := found.get((tp.topic, tp.partition))) is not None
        }

    async def earliest(self, tps: list[TP]) -> Mapping[TP, int]:
        return {tp: (await self._ports.log.bounds(tp.topic, tp.partition))[0] for tp in tps}

    async def seek_all(self, offsets: Mapping[TP, int | None]) -> None:
        await asyncio.sleep(0.002)
        self._positions.update({tp: offset for tp, offset in offsets.items() if offset is not None})

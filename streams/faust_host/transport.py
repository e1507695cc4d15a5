"""Kafka by way of Faust: batches in, watermarks out, nothing lost at a rebalance or a stop.

The only module that touches Faust's inside (faust-streaming 0.15.3, aiokafka 0.14). Faust hosts the group membership,
the assignment and the agents; what it is not trusted with is replaced here:

- An agent gets **one `Batch` per fetched partition batch**, raw, at most one unopened batch per partition.
- What is committed is a **watermark** (`streams.faust_host.watermarks`): a contiguous finished prefix, with the counts of what
  became of it in the commit's metadata. Nothing is ever acked.
- Reading **starts** where `App.positions` says, else at the committed offset.
- Before partitions are **given back** nothing new is started, started work may end (bounded), and the watermark is
  committed.
- **Back-pressure**: a partition with too many open records is not fetched, nor is any while too many bytes are open.
- A delivery that **stalls** without an error ends the worker.

An agent::

    async for batch in stream.noack():
        for record in batch.open():
            ...
            batch.finish(record.offset, {("order_placed", "posted"): 1})

It must not raise: that ends the worker.
"""

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from operator import attrgetter
from typing import Any, NoReturn, cast

import faust
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from mode import Service

from streams.faust_host.watermarks import Counts, Progress, Start, Taken, decode_counts, encode_counts
from streams.kafka.connection import slow_down_refused_updates
from streams.ports import RawRecord

__all__ = ["SETTINGS", "TP", "App", "Batch", "Counts", "StalledError", "Start"]

#: Settings of an `App`; each was measured, or has its reason beside it.
SETTINGS: dict[str, Any] = {
    # Our own drain is bounded; Faust's has no limit.
    "stream_wait_empty": False,
    # An agent that is restarted after an error leaves its opened batch unfinished, and the watermark waits for ever.
    "agent_supervisor": "mode.supervisors:CrashingSupervisor",
    # Faust's own assignor: topics of equal partition count are co-partitioned. With 0 it is RoundRobin: they are not.
    "table_standby_replicas": 1,
    # Topics are made and checked by `streams topics`.
    "topic_allow_declare": False,
    "topic_disable_leader": True,
    "stream_publish_on_commit": False,
    "web_enabled": False,
    "broker_commit_interval": 1.0,
    "broker_commit_every": None,
    # Records of one delivery, so that what compression hides cannot flood us; a fetch is limited in bytes below.
    "broker_max_poll_records": 5_000,
    "consumer_max_fetch_size": 262_144,
    # While intake is paused nothing is fetched: that is no reason to leave the group.
    "broker_max_poll_interval": 86_400.0,
    "broker_session_timeout": 10.0,
    "broker_heartbeat_interval": 2.0,
    # Above the drain and a heartbeat, or the group goes on without us.
    "broker_rebalance_timeout": 30.0,
    "producer_request_timeout": 30.0,
    "value_serializer": "raw",
    "key_serializer": "raw",
}

#: How long one fetch waits for a record. Faust fixes 1.5 s at the broker, which the next partition waits for too.
_FETCH_WAIT_S = 0.1
#: The same while a batch lies unopened: its partition is not part of the fetch and should not wait for it.
_SHORT_FETCH_WAIT_S = 0.05
#: What a record costs in memory beside its key and value.
_RECORD_OVERHEAD_BYTES = 400
_OFFSET = attrgetter("offset")


class StalledError(Exception):
    """There are records, there is room, and none are delivered: aiokafka or Faust is stuck; a new process is not."""


class Batch:
    """What one fetch brought for one partition.

    Lifecycle: `open` it once to take the records; from then on they are in flight and the partition may be fetched
    again; `finish` each record once, in any order, from any task of the loop. A batch is never finished as a whole.

    Attributes:
        tp: Topic and partition.
        records: aiokafka's, raw, in offset order.
        size_bytes: What they occupy, roughly.
    """

    __slots__ = ("_consumer", "_progress", "_taken", "records", "size_bytes", "tp")

    def __init__(self, consumer: "Consumer", tp: TP, records: Sequence[RawRecord], progress: Progress) -> None:
        self.tp = tp
        self.records = records
        self.size_bytes = sum(
            [len(record.key or b"") + len(record.value or b"") + _RECORD_OVERHEAD_BYTES for record in records]
        )
        self._consumer = consumer
        self._progress = progress
        self._taken: Taken | None = None

    @property
    def topic(self) -> str:
        topic: str = self.tp.topic
        return topic

    @property
    def partition(self) -> int:
        partition: int = self.tp.partition
        return partition

    @property
    def live(self) -> bool:
        """The assignment is still ours. When it is not, start nothing; what is under way may be finished."""
        return self._progress.live

    def open(self) -> Sequence[RawRecord]:
        """Take the records; none when the partition has been given back meanwhile (its next owner gets them)."""
        if self._taken is not None:
            raise RuntimeError(f"the batch of {self.tp} at {self.records[0].offset} is opened twice")
        if not self._progress.live:
            return ()
        first, last = self.records[0].offset, self.records[-1].offset
        is_gapless = last - first + 1 == len(self.records)
        offsets = range(first, last + 1) if is_gapless else list(map(_OFFSET, self.records))
        self._taken = self._progress.take(offsets, self.size_bytes)
        self._consumer.make_room(self.tp)
        return self.records

    def finish(self, offset: int, counts: Counts | None = None) -> None:
        """Mark one record as finished: the commit may pass it.

        Args:
            offset: Of one of this batch's records.
            counts: What became of it, by flow and end; added when the watermark passes the record.

        Raises:
            ValueError: The offset is not of this batch.
        """
        if self._taken is None:
            raise ValueError(f"the batch of {self.tp} is not open")
        self._progress.finish(self._taken, offset, counts)

    def finish_through(self, offset: int, counts: Counts | None = None) -> None:
        """Mark all of this batch's records up to and with this one as finished; `counts` go with the last of them.

        Raises:
            ValueError: The offset is not of this batch.
        """
        if self._taken is None:
            raise ValueError(f"the batch of {self.tp} is not open")
        self._progress.finish_through(self._taken, offset, counts)


class _Undressed(dict[Any, Any]):
    """What aiokafka has fetched, its records left as they were decoded: to make a `ConsumerRecord` of each takes as long again."""

    def __setitem__(self, tp: Any, fetched: Any) -> None:
        if isinstance(fetched, FetchResult):
            fetched._partition_records._consumer_record = _as_it_is
        super().__setitem__(tp, fetched)


def _as_it_is(_tp: Any, record: RawRecord) -> RawRecord:
    return record


class Thread(driver.AIOKafkaConsumerThread):
    """aiokafka's consumer in its own thread; these methods run there."""

    async def on_start(self) -> None:
        await super().on_start()
        consumer: Any = self._ensure_consumer()
        consumer._fetcher._records = _Undressed()

    def _create_worker_consumer(self, transport: driver.Transport) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = int(_FETCH_WAIT_S * 1000)
        slow_down_refused_updates(consumer._client)
        return consumer

    async def fetch_committed(self, tps: Collection[TP]) -> dict[TP, OffsetAndMetadata]:
        coordinator: Any = self._ensure_consumer()._coordinator
        found = await coordinator.fetch_committed_offsets([driver.ensure_aiokafka_TP(tp) for tp in tps])
        return {TP(tp.topic, tp.partition): committed for tp, committed in found.items()}

    async def commit_watermarks(self, offsets: Mapping[TP, OffsetAndMetadata], generation: int) -> bool:
        """Commit as a member of `generation`, or not at all.

        aiokafka commits with whatever membership it has; without one (just expelled) the broker takes the commit of an
        empty group, and an old watermark would replace what others have committed since.
        """
        consumer: Any = self._ensure_consumer()
        if consumer._coordinator.generation != generation:
            return False
        try:
            await consumer.commit({driver.ensure_aiokafka_TP(tp): offset for tp, offset in offsets.items()})
        except (CommitFailedError, IllegalStateError) as error:
            self.log.info("Not committed, the group has moved on: %r", error)
            return False
        return True

    async def look(self, tps: Collection[TP]) -> tuple[dict[TP, int], dict[TP, int]]:
        """Ends of partitions, and the positions of the fetcher where it has one."""
        consumer: Any = self._ensure_consumer()
        ends = await consumer.end_offsets([driver.ensure_aiokafka_TP(tp) for tp in tps])
        subscription = consumer._subscription.subscription
        states = subscription.assignment._tp_state if subscription and subscription.assignment else {}
        positions = {TP(*tp): state.position for tp, state in states.items() if state.has_valid_position}
        return {TP(*tp): end for tp, end in ends.items()}, positions

    async def keep_membership(self) -> None:
        """Fetching nothing on purpose is not idleness (`broker_max_poll_interval`)."""
        with self._ensure_consumer()._subscription.fetch_context():
            pass


class _NoReadOffsets(dict[TP, int | None]):
    """Faust drops what it thinks it has read, by a note that a late delivery overwrites; we seek, it need not guess."""

    def __getitem__(self, tp: TP) -> None:
        return None

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        pass


class Consumer(driver.Consumer):
    """Faust's consumer with our fetching, committing, giving back and starting."""

    app: "App"
    _thread: Thread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _NoReadOffsets()
        self._progress: dict[TP, Progress] = {}  # of this assignment
        self._at_kafka: dict[TP, OffsetAndMetadata] = {}  # what the group has committed
        self._unopened: dict[TP, Batch] = {}  # partitions with a batch that no agent has opened yet
        self._paused: set[TP] = set()  # by the agents
        self._crowded: set[TP] = set()  # too many records are open
        self._full = False  # too many bytes are open
        self._room = asyncio.Event()
        self._fetching = asyncio.Lock()
        self._releasing = asyncio.Lock()
        self._assigning: asyncio.Task[None] | None = None
        self._found: int | None = None  # the generation whose start positions are known, and the app was told
        self._sought: int | None = None  # the generation that reads from its start positions
        self._ends: dict[TP, int] = {}
        self._passed: dict[TP, int] = {}  # where the fetcher is
        self._fed_at: dict[TP, float] = {}  # when a partition last had nothing that waits for delivery
        self.app.on_rebalance_complete.connect(self._find_start)

    def _new_consumer_thread(self) -> Thread:
        return Thread(self, loop=self.loop, beacon=self.beacon)

    # ---- fetching: one message per partition batch, at most one unopened batch per partition

    async def getmany(
        self,
        timeout: float,  # noqa: ASYNC109 -- Faust's signature
    ) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        if not self.flow_active:
            await self.wait(self.can_resume_flow)  # type: ignore[arg-type]  # Faust's own event, which mode's types miss
        wanted = self._wanted() if self._sought == self.app.consumer_generation_id else set()
        if not wanted:  # an empty set would mean "all" to aiokafka
            self._room.clear()
            await self._thread.call_thread(self._thread.keep_membership)
            await self.wait_first(self._room.wait(), timeout=_FETCH_WAIT_S)
            return
        async with self._fetching:
            before = {tp: self._progress[tp] for tp in wanted if tp in self._progress}
            if not before:  # given back while we waited for the lock
                return
            fetched = await self._getmany(set(before), _SHORT_FETCH_WAIT_S if self._unopened else _FETCH_WAIT_S)
        # What a rebalance has overtaken is dropped: the seek that belongs to it brings these records again.
        batches = [
            Batch(self, tp, records, before[tp])
            for tp, records in fetched.items()
            if self.flow_active and self._progress.get(tp) is before[tp] and before[tp].live
        ]
        for batch in batches:
            self._unopened[batch.tp] = batch
            self._ends[batch.tp] = max(self._ends.get(batch.tp, 0), batch.records[-1].offset + 1)
        for batch in batches:
            # The same may happen to a batch while the one before it is handed over.
            if self._unopened.get(batch.tp) is batch:
                yield batch.tp, self._message(batch)

    def _wanted(self) -> set[TP]:
        """The partitions that have room for another batch."""
        app = self.app
        open_bytes = sum(batch.size_bytes for batch in self._unopened.values())
        for tp, progress in self._progress.items():
            open_bytes += progress.open_bytes
            if progress.open_records >= app.max_open:
                self._crowded.add(tp)
            elif progress.open_records <= app.max_open // 2:
                self._crowded.discard(tp)
        self._full = open_bytes > (app.max_open_bytes // 2 if self._full else app.max_open_bytes)
        if self._full:
            return set()
        return self._get_active_partitions() - self._unopened.keys() - self._paused - self._crowded

    def _message(self, batch: Batch) -> ConsumerMessage:
        tp, first = batch.tp, batch.records[0]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            first.offset,
            first.timestamp / 1000,
            0,
            None,
            None,
            cast("bytes", batch),  # the raw codec hands it through
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def make_room(self, tp: TP) -> None:
        """The batch of this partition has been opened."""
        self._unopened.pop(tp, None)
        self._room.set()

    def pause(self, tp: TP) -> None:
        self._paused.add(tp)

    def resume(self, tp: TP) -> None:
        self._paused.discard(tp)
        self._room.set()

    # ---- committing: the watermark, never an unfinished offset

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Any:
        return [tp for tp in self._progress if topics is None or tp in topics or tp.topic in topics]

    def _new_offset(self, tp: TP) -> int | None:
        return self._progress[tp].next

    def _should_commit(self, tp: TP, offset: int) -> bool:
        # Counts may differ at the same offset: after a rewind, or by a start that brings its own.
        return self._at_kafka.get(tp) != self._watermark(tp)

    def _watermark(self, tp: TP) -> OffsetAndMetadata | None:
        progress = self._progress.get(tp)
        if progress is None or progress.next is None:
            return None
        return OffsetAndMetadata(progress.next, encode_counts(progress.counts))

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        # Offset and counts are read together, here: between Faust's choice of an offset and this call the watermark
        # may have moved.
        watermarks = {tp: at for tp in offsets if (at := self._watermark(tp)) is not None}
        generation = self.app.consumer_generation_id
        done: bool = await self._thread.call_thread(self._thread.commit_watermarks, watermarks, generation)
        self.app.on_commit(done)
        if done and generation == self.app.consumer_generation_id:
            self._at_kafka.update(watermarks)
        return done

    # ---- giving partitions back: rebalance and stop

    async def quiesce(self, tps: set[TP]) -> None:
        """Deliver nothing more, let started work end (bounded), commit what is finished."""
        async with self._releasing:  # a stop and a rebalance may meet
            self.stop_flow()
            self.app.flow_control.suspend()
            self.app.flow_control.clear()
            for progress in self._progress.values():
                progress.live = False
            if (assigning := self._assigning) is not None:
                assigning.cancel()  # it must have let go before the same partitions are given to its successor
                await asyncio.wait([assigning], timeout=self.app.drain_timeout)
            if self._found == self.app.consumer_generation_id:  # else the app was never told that it has them
                try:
                    async with asyncio.timeout(self.app.drain_timeout):
                        await self.app.before_release(tps)
                except TimeoutError:
                    self.log.warning("Unfinished after %s s; those records come again", self.app.drain_timeout)
                except Exception as error:  # noqa: BLE001 -- aiokafka would only log it and give the partitions away
                    await self.app.crash(error)
            await self.maybe_wait_for_commit_to_finish()
            await self.commit()

    async def release_all(self) -> None:
        if self._progress or self._assigning is not None:
            await self.quiesce(set(self._progress))

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        if self._progress or self._assigning is not None:
            await self.quiesce(revoked)
        if self.app.should_stop:  # Faust would close aiokafka under the running drain
            return
        self._found = self._sought = None
        self._progress = {}
        self._at_kafka.clear()
        self._unopened.clear()
        self._paused.clear()
        self._crowded.clear()
        self._ends.clear()
        self._passed.clear()
        self._fed_at.clear()
        await super().on_partitions_revoked(revoked)

    # ---- where reading starts

    async def _find_start(self, *_args: Any, **_kwargs: Any) -> None:
        """Learn the start positions; Faust waits for this without a limit, and for `perform_seek` with one."""
        tps = self.assignment()
        if not tps or self.app.should_stop:
            return
        task = self._assigning = asyncio.create_task(self._assign(tps, self.app.consumer_generation_id))
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            if self._assigning is task:  # else the next assignment has begun already
                self._assigning = None
        if not task.cancelled() and (error := task.exception()) is not None:
            # Else Faust's recovery task would end, and the worker would live on and deliver nothing.
            await self.app.crash(error)

    async def _assign(self, tps: set[TP], generation: int) -> None:
        committed = await self._thread.call_thread(self._thread.fetch_committed, tps)
        starts = await self.app.positions(tps)
        unknown = [tp for tp in tps if tp not in starts and tp not in committed]
        earliest = await self.earliest_offsets(*unknown) if unknown else {}
        for tp in tps:
            kafka, start = committed.get(tp), starts.get(tp)
            # A partition without a commit gets a position too: Faust would leave it to aiokafka, which does not seek,
            # and a fetch that straddled the rebalance has moved it.
            at = kafka.offset if kafka is not None else earliest.get(tp)
            counts: Counts = decode_counts(kafka.metadata) if kafka is not None else {}
            if at is not None:
                self._at_kafka[tp] = OffsetAndMetadata(at, encode_counts(counts))
            if start is not None:
                at, counts = start.offset, counts if start.counts is None else start.counts
            self._progress[tp] = Progress(at, counts)
        await self.app.on_assigned(tps)
        self._found = generation

    async def perform_seek(self) -> None:
        async with self._fetching:  # no fetch may straddle the seek
            generation = self.app.consumer_generation_id
            if self._found != generation:
                return  # the next rebalance is under way, or the app is crashing
            assigned = self.assignment()
            starts = {tp: progress.next for tp, progress in self._progress.items() if tp in assigned}
            await self.seek_wait(cast("dict[TP, int]", starts))
            self._sought = generation
            self._room.set()

    async def rewind(self, tp: TP, start: Start) -> bool:
        """Read one partition again, or on, from elsewhere; see `App.rewind`."""
        async with self._fetching:
            old = self._progress.get(tp)
            if old is None or not old.live or self._sought != self.app.consumer_generation_id:
                return False
            old.live = False
            self._progress[tp] = Progress(start.offset, old.counts if start.counts is None else start.counts)
            self._unopened.pop(tp, None)
            self._crowded.discard(tp)
            await self.seek_wait({tp: start.offset})
            self._room.set()
            return True

    async def stamp(self, tp: TP, counts: Counts) -> bool:
        """Commit a note of ours with the watermark of one partition; see `App.stamp`."""
        progress = self._progress.get(tp)
        if progress is None or progress.next is None:
            return False
        progress.note(counts)
        return await self._commit({tp: progress.next})

    # ---- what can be seen

    def progress(self, tp: TP) -> Progress | None:
        return self._progress.get(tp)

    def lag(self) -> dict[TP, int]:
        lag = {}
        for tp, progress in self._progress.items():
            at = progress.next or 0
            if self._is_idle(tp, progress):
                at = max(at, self._passed.get(tp, 0))
            lag[tp] = max(0, self._ends.get(tp, 0) - at)
        return lag

    def _is_idle(self, tp: TP, progress: Progress) -> bool:
        """All that was delivered is finished."""
        return not progress.open_records and tp not in self._unopened

    async def verify_all_partitions_active(self) -> None:
        """Faust's own livelock detector goes by acks, which we do not have."""

    @Service.task
    async def _watch(self) -> None:
        async for _ in self.itertimer(self.app.watch_interval, name="watch"):
            with contextlib.suppress(TimeoutError, KafkaError):  # the broker is away: no judgement
                await self._look_for_stalls()

    async def _look_for_stalls(self) -> None:
        tps = set(self.assignment())
        if not tps or self._assigning is not None:
            self._fed_at.clear()
            return
        look = self._thread.call_thread(self._thread.look, tps)
        async with asyncio.timeout(5):
            ends, positions = await look
        now, reads = time.monotonic(), self._sought == self.app.consumer_generation_id
        for tp, end in ends.items():
            progress = self._progress.get(tp)
            if reads and progress is not None:
                self._ends[tp] = end
                # Beyond the watermark where compaction or retention has left nothing.
                at = self._passed[tp] = positions.get(tp, 0)
                if at >= end or tp in self._paused or self._full or not self._is_idle(tp, progress):
                    self._fed_at[tp] = now
            self._fed_at.setdefault(tp, now)
        stalled = {
            tp: now - fed_at
            for tp, fed_at in self._fed_at.items()
            if tp in tps and now - fed_at > self.app.stall_timeout
        }
        if stalled:
            self._fed_at.clear()
            await self.app.on_stalled(stalled)


class Producer(driver.Producer):
    """Idempotent, `acks=all`."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

    def _new_producer(self, transactional_id: str | None = None) -> Any:
        producer = super()._new_producer(transactional_id)
        slow_down_refused_updates(producer.client)
        return producer


class Transport(driver.Transport):
    Consumer = Consumer
    Producer = Producer


class App(faust.App):
    """A Faust app on our transport: `App(id, broker=..., **SETTINGS)`.

    In the order of an assignment's life Faust's loop calls `positions`, `on_assigned`, then agents get batches, then
    `before_release`; `on_stalled` if things go wrong.

    Attributes:
        drain_timeout: Seconds that `before_release` may take.
        stop_timeout: Seconds that a stop may take after that; then the process ends as it is.
        max_open: Records of one partition that may be open (taken and not behind the watermark) before it is no longer
            fetched; one delivery may go over it. Fetched again at half.
        max_open_bytes: Bytes of all partitions together, likewise.
        stall_timeout: Seconds without a delivery, with records and room for them, that make a stall.
        watch_interval: Seconds between looks for a stall and at the ends of the partitions; the age of `lag`.
    """

    drain_timeout: float = 10.0
    stop_timeout: float = 10.0
    max_open: int = 20_000
    max_open_bytes: int = 256 * 1024 * 1024
    stall_timeout: float = 300.0
    watch_interval: float = 5.0

    async def positions(self, tps: set[TP]) -> Mapping[TP, Start]:
        """Override: where partitions start that must not start at the committed offset.

        A later start counts as finished up to there, and is committed; an earlier one is committed too. May be slow;
        is cancelled when the partitions are taken again meanwhile.
        """
        return {}

    async def on_assigned(self, tps: set[TP]) -> None:
        """Override: get ready for these partitions, all that we now have; nothing is delivered before it returns.

        The start positions are known (`watermark`). May be slow; is cancelled when the partitions are taken again
        meanwhile, and then `before_release` is not called.
        """

    async def before_release(self, tps: set[TP]) -> None:
        """Override: start nothing more for these partitions and wait for what is under way.

        Is cancelled after `drain_timeout`. What is finished by then is committed; the rest comes again.
        """

    def on_commit(self, accepted: bool) -> None:
        """Override: the broker has taken, or refused, a commit of watermarks."""

    async def on_stalled(self, tps: Mapping[TP, float]) -> None:
        """Override: partitions that have records and room, and the seconds since they were last delivered any.

        The default ends the worker, so that a fresh one takes over.
        """
        await self.crash(StalledError(f"nothing is delivered: {dict(tps)}"))

    def pause(self, tp: TP) -> None:
        """Fetch nothing more of this partition, without leaving the group. Holds for this assignment."""
        self._our_consumer.pause(tp)

    def resume(self, tp: TP) -> None:
        """Fetch it again."""
        self._our_consumer.resume(tp)

    async def rewind(self, tp: TP, start: Start) -> bool:
        """Read a partition that we have from elsewhere: its open batches die (`Batch.live`), `start` is committed.

        Returns:
            False when we do not have it, or not any more.
        """
        return await self._our_consumer.rewind(tp, start)

    async def stamp(self, tp: TP, counts: Counts) -> bool:
        """Commit these counts now, in place of those of their names; from `on_assigned` on.

        Returns:
            Whether the group took it: False when the partition is not ours any more. So what is committed tells its owners apart.
        """
        return await self._our_consumer.stamp(tp, counts)

    def watermark(self, tp: TP) -> Start | None:
        """The next offset of a partition that is not finished, with the counts of all before it; None: not ours."""
        progress = self._our_consumer.progress(tp)
        return None if progress is None or progress.next is None else Start(progress.next, dict(progress.counts))

    def open_records(self, tp: TP) -> int:
        """Records of a partition that are taken and not behind the watermark."""
        progress = self._our_consumer.progress(tp)
        return 0 if progress is None else progress.open_records

    def lag(self) -> dict[TP, int]:
        """Records of each of our partitions that are not behind the watermark, as of `watch_interval` ago at most."""
        return self._our_consumer.lag() if self._consumer is not None else {}

    @property
    def rebalances(self) -> int:
        """How many rebalances this process has seen."""
        return self.rebalancing_count

    @property
    def _our_consumer(self) -> Consumer:
        return cast("Consumer", self.consumer)

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> Transport:
        return Transport(self.conf.broker_producer, self)

    def _create_directories(self) -> None:
        """No tables, so no `<app>-data` folders in the working directory."""

    async def on_stop(self) -> None:
        # With the broker away neither a commit nor aiokafka's own stop ever returns. Dying is safe, waiting is not:
        # what is unfinished or uncommitted comes again.
        last_resort = threading.Timer(self.drain_timeout + self.stop_timeout, self._die)
        last_resort.daemon = True
        last_resort.start()
        if self._consumer is not None:
            await self._our_consumer.release_all()
        await super().on_stop()

    def _die(self) -> NoReturn:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write("The stop took too long (is the broker away?); what is not committed comes again.\n")
            sys.stdout.flush()
        os._exit(1 if self.crashed else 0)

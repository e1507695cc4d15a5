"""Faust's consumer with our fetching, committing, giving back and starting."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from mode import Service

from streams.faust_host.assignment import Assignment
from streams.faust_host.batch import FetchedBatch
from streams.faust_host.commits import Commits
from streams.faust_host.consumer_thread import ConsumerThread
from streams.faust_host.settings import FETCH_WAIT_S, SHORT_FETCH_WAIT_S
from streams.faust_host.stalls import StallWatch
from streams.faust_host.starts import Starts

if TYPE_CHECKING:
    from streams.faust_host.app import FaustApp


class _NoReadOffsets(dict[TP, int | None]):
    """Faust drops what it thinks it has read, by a note that a late delivery overwrites; we seek, it need not guess."""

    def __getitem__(self, tp: TP) -> None:
        return None

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        pass


class Consumer(driver.Consumer):
    """One message per fetched partition batch; watermarks instead of acks.

    Attributes:
        held: What is in progress on the partitions that we have.
        commits, starts, stalls: The parts of its work.
    """

    app: "FaustApp"
    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _NoReadOffsets()
        self.held = Assignment()
        self.stalls = StallWatch(self.held)
        self.commits = Commits(self.held, self._commit_as, self._generation, self.app.on_commit)
        self.starts = Starts(self.held, self.commits, self, self.app, self._generation)
        self._releasing = asyncio.Lock()
        self.app.on_rebalance_complete.connect(self._find_starts)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _generation(self) -> int:
        generation: int = self.app.consumer_generation_id
        return generation

    # ---- fetching: one message per partition batch, at most one unopened batch per partition

    async def getmany(
        self,
        timeout: float,  # noqa: ASYNC109 -- Faust's signature
    ) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        if not self.flow_active:
            await self.wait(self.can_resume_flow)  # type: ignore[arg-type]  # Faust's own event, which mode's types miss
        held = self.held
        wanted = self._wanted() if self.starts.reads else set()
        if not wanted:  # an empty set would mean "all" to aiokafka
            held.room.clear()
            await self._thread.call_thread(self._thread.keep_membership)
            await self.wait_first(held.room.wait(), timeout=FETCH_WAIT_S)
            return
        async with self.starts.fetching:
            before = {tp: held.progress[tp] for tp in wanted if tp in held.progress}
            if not before:  # given back while we waited for the lock
                return
            try:
                fetched = await self._getmany(set(before), SHORT_FETCH_WAIT_S if held.unopened else FETCH_WAIT_S)
            except OffsetOutOfRangeError as error:
                lost = {TP(*tp): offset for tp, offset in error.args[0].items()}
                await self.app.on_out_of_range({tp: at for tp, at in lost.items() if tp in before})
                return
        # What a rebalance has overtaken is dropped: the seek that belongs to it brings these records again.
        batches = [
            FetchedBatch(held.opened, tp, records, before[tp])
            for tp, records in fetched.items()
            if self.flow_active and held.progress.get(tp) is before[tp] and before[tp].live
        ]
        for batch in batches:
            held.unopened[batch.tp] = batch
            self.stalls.delivered(batch.tp, batch.records[-1].offset + 1)
        for batch in batches:
            # The same may happen to a batch while the one before it is handed over.
            if held.unopened.get(batch.tp) is batch:
                yield batch.tp, self._message(batch)

    def _wanted(self) -> set[TP]:
        return self.held.wanted(self._get_active_partitions(), self.app.max_open, self.app.max_open_bytes)

    def _message(self, batch: FetchedBatch) -> ConsumerMessage:
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

    # ---- committing: the watermark, never an unfinished offset

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Any:
        return [tp for tp in self.held.progress if topics is None or tp in topics or tp.topic in topics]

    def _new_offset(self, tp: TP) -> int | None:
        return self.held.progress[tp].next

    def _should_commit(self, tp: TP, offset: int) -> bool:
        return self.commits.is_due(tp)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        return await self.commits.commit(offsets)

    async def _commit_as(self, watermarks: Mapping[TP, OffsetAndMetadata], generation: int) -> bool:
        done: bool = await self._thread.call_thread(self._thread.commit_watermarks, watermarks, generation)
        return done

    # ---- giving partitions back: rebalance and stop

    async def quiesce(self, tps: set[TP]) -> None:
        """Deliver nothing more, let started work end (bounded), commit what is finished."""
        async with self._releasing:  # a stop and a rebalance may meet
            self.stop_flow()
            self.app.flow_control.suspend()
            self.app.flow_control.clear()
            for progress in self.held.progress.values():
                progress.live = False
            await self.starts.let_go(self.app.drain_timeout)
            if self.starts.app_was_told:
                try:
                    async with asyncio.timeout(self.app.drain_timeout):
                        await self.app.before_release(tps)
                except TimeoutError:
                    self.log.warning("Unfinished after %s s; those records come again", self.app.drain_timeout)
                except Exception as error:  # noqa: BLE001 -- aiokafka would only log it and give the partitions away
                    await self.app.crash(error)
            await self.maybe_wait_for_commit_to_finish()
            await self.commit()

    @property
    def _holds_any(self) -> bool:
        return bool(self.held.progress) or self.starts.under_way

    async def release_all(self) -> None:
        if self._holds_any:
            await self.quiesce(set(self.held.progress))

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        if self._holds_any:
            await self.quiesce(revoked)
        if self.app.should_stop:  # Faust would close aiokafka under the running drain
            return
        for part in (self.starts, self.held, self.commits, self.stalls):
            part.clear()
        await super().on_partitions_revoked(revoked)

    # ---- where reading starts

    async def _find_starts(self, *_args: Any, **_kwargs: Any) -> None:
        tps = self.assignment()
        if tps and not self.app.should_stop:
            await self.starts.find(tps)

    async def perform_seek(self) -> None:
        await self.starts.seek(self.assignment())

    async def committed(self, tps: set[TP]) -> Mapping[TP, OffsetAndMetadata]:
        found: Mapping[TP, OffsetAndMetadata] = await self._thread.call_thread(self._thread.fetch_committed, tps)
        return found

    async def earliest(self, tps: list[TP]) -> Mapping[TP, int]:
        return await self.earliest_offsets(*tps)

    async def seek_all(self, offsets: Mapping[TP, int | None]) -> None:
        await self.seek_wait(cast("dict[TP, int]", offsets))

    # ---- what can be seen

    async def verify_all_partitions_active(self) -> None:
        """Faust's own livelock detector goes by acks, which we do not have."""

    @Service.task
    async def _watch(self) -> None:
        async for _ in self.itertimer(self.app.watch_interval, name="watch"):
            with contextlib.suppress(TimeoutError, KafkaError):  # the broker is away: no judgement
                await self._look_for_stalls()

    async def _look_for_stalls(self) -> None:
        tps = set(self.assignment())
        if not tps or self.starts.under_way:
            self.stalls.pause()
            return
        look = self._thread.call_thread(self._thread.ends_and_positions, tps)
        async with asyncio.timeout(5):
            ends, positions = await look
        stalled = self.stalls.look(
            time.monotonic(), ends, positions, reads=self.starts.reads, timeout_s=self.app.stall_timeout
        )
        if stalled:
            await self.app.on_stalled(stalled)

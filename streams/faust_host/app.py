"""Kafka by way of Faust: batches in, watermarks out, nothing lost at a rebalance or a stop.

This package alone touches Faust's inside (faust-streaming 0.15.3, aiokafka 0.14). Faust hosts the group membership,
the assignment and the agents; what it is not trusted with is replaced here:

- An agent gets **one `Batch` per fetched partition batch**, raw, at most one unopened batch per partition.
- What is committed is a **watermark** (`streams.faust_host.watermarks`): a contiguous finished prefix, with the counts
  of what became of it in the commit's metadata. Nothing is ever acked.
- Reading **starts** where `FaustApp.positions` says, else at the committed offset.
- Before partitions are **given back** nothing new is started, started work may end (bounded), and the watermark is
  committed.
- **Back-pressure**: a partition with too many open records is not fetched, nor is one that has open records while too
  many bytes are open in all.
- A delivery that **stalls** without an error ends the worker.

An agent::

    async for batch in stream.noack():
        for record in batch.open():
            ...
            batch.finish(record.offset, {("order_placed", "posted"): 1})

It must not raise: that ends the worker.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Collection, Mapping
from typing import NoReturn, cast

import faust
from aiokafka.errors import OffsetOutOfRangeError
from faust.types import TP

from streams.faust_host.consumer import Consumer
from streams.faust_host.stalls import StalledError
from streams.faust_host.transport import Transport
from streams.faust_host.watermarks import Counts, Start


class FaustApp(faust.App):
    """A Faust app on our transport: `FaustApp(id, broker=..., **SETTINGS)`.

    In the order of an assignment's life Faust's loop calls `positions`, `on_assigned`, then agents get batches, then
    `before_release`; `on_stalled` if things go wrong.

    Attributes:
        drain_timeout: Seconds that `before_release` may take.
        stop_timeout: Seconds that a stop may take after that; then the process ends as it is.
        max_open: Records of one partition that may be open (taken and not finished) before it is no longer fetched; one
            delivery may go over it. Fetched again at half.
        max_open_bytes: Bytes of all partitions together, likewise; one that has nothing open is fetched all the same.
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

    async def on_out_of_range(self, tps: Mapping[TP, int]) -> None:
        """Override: partitions whose log no longer holds the offset that is read next.

        The default ends the worker.
        """
        await self.crash(OffsetOutOfRangeError(dict(tps)))

    def pause(self, tp: TP) -> None:
        """Fetch nothing more of this partition, without leaving the group. Holds for this assignment."""
        self._our_consumer.held.pause(tp)

    def resume(self, tp: TP) -> None:
        """Fetch it again."""
        self._our_consumer.held.resume(tp)

    async def rewind(self, tp: TP, start: Start) -> bool:
        """Read a partition that we have from elsewhere: its open batches die (`Batch.live`), `start` is committed.

        Returns:
            False when we do not have it, or not any more.
        """
        return await self._our_consumer.starts.rewind(tp, start)

    async def stamp(self, tp: TP, counts: Counts) -> bool:
        """Commit these counts now, in place of those of their names; from `on_assigned` on.

        Returns:
            Whether the group took it: False when the partition is not ours any more. So what is committed tells its
            owners apart.
        """
        return await self._our_consumer.commits.stamp(tp, counts)

    async def add(self, tp: TP, counts: Counts) -> bool:
        """Add these counts to what the commits of a partition say, and commit now; from `on_assigned` on.

        Returns:
            Whether it is known that the group took it. Where it is not, the partition's next commit has them all the
            same, or it is not ours any more.
        """
        return await self._our_consumer.commits.add(tp, counts)

    async def stamp_all(self, tps: Collection[TP], counts: Mapping[TP, Counts]) -> bool:
        """As `stamp`, for several partitions in one commit, each with counts of its own."""
        return await self._our_consumer.commits.stamp_all(tps, counts)

    def note(self, counts: Mapping[TP, Counts]) -> None:
        """Let the next commit say this of partitions that are ours, in place of counts of those names."""
        for tp, ours in counts.items():
            if (progress := self._our_consumer.held.progress.get(tp)) is not None:
                progress.note(ours)

    def watermark(self, tp: TP) -> Start | None:
        """The next offset of a partition that is not finished, with the counts of all before it; None: not ours."""
        progress = self._our_consumer.held.progress.get(tp)
        return None if progress is None or progress.next is None else Start(progress.next, dict(progress.counts))

    def open_records(self, tp: TP) -> int:
        """Records of a partition that are taken and not finished."""
        progress = self._our_consumer.held.progress.get(tp)
        return 0 if progress is None else progress.open_records

    def lag(self) -> dict[TP, int]:
        """Records of each of our partitions that are not behind the watermark, as of `watch_interval` ago at most."""
        return self._our_consumer.stalls.lag() if self._consumer is not None else {}

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

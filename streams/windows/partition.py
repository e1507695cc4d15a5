"""One partition of `stock-adjusted` on the worker that owns it: the open window, its chain, and the road on to the queue.

What is open here is not durable: it is the uncommitted offsets. A seal makes a range durable in one record; only an accepted record
is routed, by whoever owns the partition when it is read (architecture sections 5 and 16).
"""

import asyncio
import hashlib
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Protocol

import structlog

from connectors.base.errors import LogError
from connectors.base.log import Outgoing
from schemas.records import NO_OPS, Anchor, Posting, SealedEpoch, Skipped, StockBatch
from schemas.times import datetime_of
from streams.chain.keys import batch_key
from streams.chain.log import Anchors, ChainLog
from streams.chain.loss import ACCEPTED_CAUSE, next_offset
from streams.config.load import Config
from streams.dead_letters.publisher import DeadLetterPublisher, Refused
from streams.ports import Ports, RecordBatch
from streams.windows.epoch import Composed, Composer, Row, companies_of
from streams.windows.rules import StockRules
from streams.windows.seen import Seen

logger = structlog.get_logger(__name__)

#: The longest time without a record in a chain; far inside the retention, so that the tail never expires.
_TAIL = timedelta(days=7)
#: Beyond the horizon an event is too_old, but it may have said it occurred up to a day ahead.
_GRACE_S = 2 * 86_400.0
#: How often a partition looks whether there is something to forget or to keep alive.
_KEEP_S = 300.0
#: Of a wait: what is left of one may be too little for a float of the clock to grow by.
_LEAST_S = 0.001
#: Epochs sent as one group; each names the one before it, so that one lost race loses all that follow.
_GROUP = 16


class Limits(Protocol):
    """When an open window is sealed; the smallest of the companies in it counts."""

    @property
    def length_s(self) -> float: ...
    @property
    def max_members(self) -> int: ...


#: What a walk reads of an epoch.
_COLUMNS = (
    "number", "prev_digest", "end", "no_ops", "sealed_at", "cause", ("batches", ("source", "sku", "location", "event_ids", "digests")),
    ("skipped", ("why", "source", "event_id", "sku", "location", "digest")),
)  # fmt: skip
#: An epoch is sealed at this size, reckoned by the bytes of its events, which are longer than what is sealed of them.
MAX_BYTES = 512 * 1024
_ROW_BYTES = 64


_offset_of = attrgetter("offset")


def _row_offset(row: Row) -> int:
    return row[0].offset


class InputLostError(Exception):
    """The input log does not fit the chain: the topic was re-created, or data is lost. The partition is not read."""


@dataclass(frozen=True, slots=True)
class _Walked:
    """An epoch of the chain as the walk needs it: our own composition, or another's from its bytes."""

    number: int
    prev_digest: bytes
    end: int
    no_ops: int
    sealed_at: datetime
    composed: Composed | None = None
    batches: Sequence[tuple[str, str, str, Sequence[str], bytes]] = ()
    skipped: Sequence[tuple[str, str | None, str | None, str | None, str | None, bytes | None]] = ()
    cause: str = ""


@dataclass(frozen=True, slots=True)
class _Taken:
    """A batch with rows in the open window; its figures stay those of the whole until it is finished."""

    batch: RecordBatch
    last: int  # the offset of its last row
    companies: set[str]
    size_bytes: int


class StockPartition:
    """What is open, sealed and routed of one input partition.

    Lifecycle: `open` walks the chain; then `take` batches of `stock-adjusted` and `route` batches of `stock-sealed`, while
    `run` seals what is due; `release` before the partition is given back, after which it may be opened again.

    Attributes:
        end: the input offset up to which everything is sealed: where reading starts.
        no_ops: events of this partition that ended as no_op in the window since the chain began.
        accepted: the last epoch, counted from 1, by which a person accepted that input and chain disagree; 0: none.
    """  # fmt: skip

    def __init__(
        self, partition: int, config: Config, ports: Ports, composer: Composer, rules: StockRules, letters: DeadLetterPublisher,
        anchors: Anchors, limits: Callable[[str], Limits],
    ) -> None:  # fmt: skip
        self.partition, self.end, self.no_ops, self.accepted = partition, 0, 0, 0
        self._log, self._codec, self._clock, self._metrics = ports.log, ports.codec, ports.clock, ports.metrics
        self._crash_point = ports.crash_point
        self._composer, self._rules, self._letters, self._limits = composer, rules, letters, limits
        self._topic, self._company_partition = config.topic, config.company_partition
        self._columns = ports.codec.columns(SealedEpoch, _COLUMNS)
        self._seen = Seen()
        self._accepted: set[int] = set()
        self._routed = self._counted = 0
        self._rows: list[Row] = []
        self._taken: deque[_Taken] = deque()  # whose the rows are
        self._since = 0.0
        self._due: float | None = None
        self._full = ""  # why the window is to be sealed before its time
        self._opened = False
        self._changed = asyncio.Event()
        self._sealing = asyncio.Lock()
        self._sealed_at: datetime | None = None
        self._chain: ChainLog[_Walked] = ChainLog(
            ports.log, config.topic("stock-sealed"), partition, self._walked, self, anchors, ports.clock.now
        )

    @property
    def open_events(self) -> int:
        """Events taken and not sealed."""
        return len(self._rows)

    @property
    def open_s(self) -> float:
        """How long the window has been open; 0 where none is."""
        return self._clock.monotonic() - self._since if self._rows and self._due is not None else 0.0

    # ---- the chain's owner

    def restore(self, anchor: Anchor) -> None:
        self.end, self.no_ops = anchor.end, anchor.no_ops

    def visit(self, offset: int, record: _Walked) -> None:
        self.end, self.no_ops, self._sealed_at = record.end, record.no_ops, record.sealed_at
        if offset >= self._routed:
            self._accepted.add(offset)
        if record.cause.startswith(ACCEPTED_CAUSE):
            self.accepted = record.number + 1
        sealed_at = record.sealed_at.timestamp()
        if record.composed is not None:
            self._seen.add_epoch(sealed_at, record.composed.entries)
        elif sealed_at > self._clock.now().timestamp() - self._rules.horizon_s() - _GRACE_S:
            entries: list[int] = []
            for source, sku, location, event_ids, digests in record.batches:
                self._seen.add_columns(source, sku, location, event_ids, digests, entries)
            self._seen.close_epoch(sealed_at, entries)
            self._seen.add_epoch(sealed_at, _seen_of_skipped(record))

    def reached(self) -> tuple[int, int]:
        return self.end, self.no_ops

    # ---- life

    async def open(self, committed: int | None, routed: int, accepted: int = 0) -> int:
        """Walk the chain and find where the input is to be read from.

        Args:
            committed: the group's committed offset of `stock-adjusted`, None where there is none.
            routed: the same of `stock-sealed`: accepted records from there on are still to be routed.
            accepted: which acceptance the commit of `stock-adjusted` follows: one from before another log is of no use.

        Returns:
            The input offset to start at: the chain's end, or the commit where nothing is sealed after it.

        Raises:
            ChainRootError: see `streams.chain.rule`.
            InputLostError: the input does not reach the chain's end.
        """
        self._routed = routed
        self._accepted = {offset for offset in self._accepted if offset >= routed}
        if self._opened:  # it came back: what is in memory is what the chain says, up to where it was walked
            await self._chain.catch_up()
        else:
            await self._chain.open()
            self._opened = True
        topic = self._topic("stock-adjusted")
        log_start, log_end = await self._log.bounds(topic, self.partition)
        start = next_offset(
            self.end, committed, log_start, sealed_any=self._chain.head.number > 0, follows=accepted == self.accepted
        )
        if not log_start <= start <= log_end:
            raise InputLostError(
                f"{topic}/{self.partition} holds offsets {log_start} to {log_end}, its chain is sealed up to {start}: the topic was "
                "re-created or has lost data. It is not read. Find out from the source what is lost, then: streams topics accept "
                f"stock-adjusted/{self.partition}"
            )
        self.end, self._counted = start, self.no_ops
        self._seen.expire(self._clock.now().timestamp() - self._rules.horizon_s() - _GRACE_S)
        await self._chain.anchor()
        return start

    async def run(self) -> None:
        """Seal what is full or due, until cancelled: a task of each partition, so that no broker's answer holds up the others."""
        kept = self._clock.monotonic()
        while True:
            self._changed.clear()
            await self.seal_due()
            if self._clock.monotonic() - kept >= _KEEP_S:
                await self._keep()
                kept = self._clock.monotonic()
            next_s = kept + _KEEP_S if self._due is None else min(self._due, kept + _KEEP_S)
            # Not wait_for: in Python 3.11 it swallows a cancellation that comes together with the change.
            with suppress(TimeoutError):
                async with asyncio.timeout(max(next_s - self._clock.monotonic(), _LEAST_S)):
                    await self._changed.wait()

    async def seal_due(self) -> None:
        """Seal the open window if it is full or its time is up."""
        if self._full:
            await self.seal(self._full)
        elif self._due is not None and self._due <= self._clock.monotonic():
            await self.seal("length")

    async def _keep(self) -> None:
        """What must happen now and then though nothing comes in: forget, anchor, keep the tail from expiring."""
        now = self._clock.now()
        self._seen.expire(now.timestamp() - self._rules.horizon_s() - _GRACE_S)
        async with self._sealing:
            if self._sealed_at is not None and now - self._sealed_at > _TAIL:
                empty = self._composer.compose([], self._seen, {}, self._chain.head, self.end, now, "tail", self.no_ops)
                await self._append([self._sealed(empty)])
            await self._chain.anchor()

    def take(self, batch: RecordBatch) -> None:
        """Put a fetched batch into the open window; `run` seals it when it is full."""
        records = batch.open()
        if records and records[0].offset < self.end:  # another's seal has overtaken us: its epoch speaks for these
            passed = bisect_left(records, self.end, key=_offset_of)
            batch.finish_through(records[passed - 1].offset)
            records = records[passed:]
        if not records:
            return
        rows = self._composer.read(records)
        self._rows += rows
        self._taken.append(_Taken(batch, records[-1].offset, companies_of(rows), _size(rows)))
        self._metrics.events_consumed("stock_adjusted").inc(len(rows))
        self._reckon()

    @property
    def _bytes(self) -> int:
        return sum([taken.size_bytes for taken in self._taken])

    def _open_limits(self) -> list[Limits]:
        return [self._limits(company) for company in set().union(*[taken.companies for taken in self._taken])]

    def _reckon(self) -> None:
        """When and why what is open is to be sealed."""
        limits = self._open_limits()
        if self._due is None:
            self._since = self._clock.monotonic()
            self._due = self._since + min(limit.length_s for limit in limits)
            self._changed.set()
        if len(self._rows) >= min(limit.max_members for limit in limits):
            self._full = "members"
        elif self._bytes >= MAX_BYTES:
            self._full = "bytes"
        if self._full:
            self._changed.set()

    async def seal(self, cause: str) -> None:
        """Seal what is open; returns when the accepted chain says what became of it. What comes meanwhile is the next window's.

        Raises:
            LogError: nothing is known to be sealed; the offsets stay where they are.
        """
        async with self._sealing:
            through = self._rows[-1][0].offset if self._rows else -1
            while self._rows and self._rows[0][0].offset <= through:
                now, pending, sealed = self._clock.now(), dict[int, int](), list[tuple[bytes, _Walked]]()
                head, start, no_ops = self._chain.head, self.end, self.no_ops
                for chunk in self._chunks(through):
                    composed = self._composer.compose(chunk, self._seen, pending, head, start, now, cause, no_ops)
                    sealed.append(self._sealed(composed))
                    head, start, no_ops = head.after(sealed[-1][0]), composed.epoch.end, composed.epoch.no_ops
                await self._crash_point("w1")
                await self._append(sealed)
            self._due, self._full = None, ""
            if self._rows:
                self._reckon()

    async def _append(self, sealed: list[tuple[bytes, _Walked]]) -> None:
        stands = await self._chain.append(sealed, str(self.partition).encode())
        await self._crash_point("w2")
        if not stands:
            self._metrics.seals_rejected.inc()
        self._let_go()
        if stands:
            for _, walked in sealed:
                if walked.composed is not None:
                    self._count(walked.composed.epoch)

    def _let_go(self) -> None:
        """Finish the rows that the chain has passed: by our own seal, or by another's that came first."""
        passed = bisect_left(self._rows, self.end, key=_row_offset)
        if not passed:
            return
        reached = self._rows[passed - 1][0].offset
        del self._rows[:passed]
        while self._taken[0].last < reached:
            taken = self._taken.popleft()
            taken.batch.finish_through(taken.last)
        self._taken[0].batch.finish_through(reached, {("stock_adjusted", "no_op"): self.no_ops - self._counted})
        self._counted = self.no_ops
        if self._taken[0].last == reached:
            self._taken.popleft()

    def _count(self, epoch: SealedEpoch) -> None:
        self._metrics.epochs_sealed(epoch.cause).inc()
        self._metrics.window_members.observe(sum(len(batch.event_ids) for batch in epoch.batches))
        moved: dict[str, Decimal] = {}
        for batch in epoch.batches:
            direction = _direction(batch)
            moved[direction] = moved.get(direction, 0) + abs(batch.net)
        for direction, quantity in moved.items():
            self._metrics.units_sealed.add(direction, quantity)
        for skip in epoch.skipped:
            if skip.why in NO_OPS:
                self._metrics.events_deduplicated("stock_adjusted").inc()
            else:
                self._metrics.events_quarantined("stock_adjusted", skip.why).inc()
                if skip.why in ("unreadable", "unknown_schema"):
                    self._metrics.decode_errors("stock-adjusted", skip.why).inc()

    def _sealed(self, composed: Composed) -> tuple[bytes, _Walked]:
        epoch = composed.epoch
        walked = _Walked(epoch.number, epoch.prev_digest, epoch.end, epoch.no_ops, epoch.sealed_at, composed=composed)
        return self._codec.encode(epoch), walked

    def _walked(self, value: bytes) -> _Walked:
        number, prev_digest, end, no_ops, sealed_at_us, cause, batches, skipped = self._columns(value)
        sealed_at = datetime_of(sealed_at_us)
        return _Walked(number, prev_digest, end, no_ops, sealed_at, None, batches, skipped, cause)

    async def release(self) -> None:
        """Before the partition is given back: seal what is open, then let go of it. What is not sealed is read again."""
        try:
            await self.seal("shutdown")
        except LogError as error:
            logger.warning("not sealed, is read again", partition=self.partition, error=str(error))
        finally:
            self._rows, self._due, self._full = [], None, ""
            self._taken.clear()

    def _chunks(self, through: int) -> list[list[Row]]:
        """The rows of the next epochs up to an offset, at most a group of them."""
        end = bisect_right(self._rows, through, key=_row_offset)
        chunks, at, limit = list[list[Row]](), 0, min(limits.max_members for limits in self._open_limits())
        while at < end and len(chunks) < _GROUP:
            chunk = self._rows[at : min(at + limit, end)]
            while self._bytes > MAX_BYTES and len(chunk) > 1 and _size(chunk) > MAX_BYTES:
                chunk = chunk[: len(chunk) // 2]
            chunks.append(chunk)
            at += len(chunk)
        return chunks

    # ---- the road on: accepted epochs become postings and letters

    async def route(self, batch: RecordBatch) -> None:
        """Queue what accepted records hold; a record that does not count is passed over.

        Raises:
            LogError: not queued; the offsets stay where they are and the records are routed again, harmlessly.
        """
        records = batch.open()
        if records and records[-1].offset >= self._chain.position:
            async with self._sealing:
                await self._chain.catch_up()
                self._let_go()
        postings: list[Outgoing] = []
        refused: list[Refused] = []
        for record in records:
            if record.offset in self._accepted:
                epoch = self._codec.decode(record.value or b"", SealedEpoch)
                refused += [self._refused(skip) for skip in epoch.skipped if skip.why not in NO_OPS]
                postings += [
                    self._posting(index, item, record.offset, record.timestamp)
                    for index, item in enumerate(epoch.batches)
                ]
        if refused:
            await self._letters.refuse(refused)
        await self._crash_point("w3")
        if postings:
            await self._log.send_many(postings)
        await self._crash_point("w5")
        for record in records:
            batch.finish(record.offset)
            self._accepted.discard(record.offset)
            self._routed = record.offset + 1

    def _posting(self, index: int, batch: StockBatch, offset: int, timestamp_ms: int) -> Outgoing:
        posting = Posting(
            k=batch_key(batch), kind="stock_batch", company=batch.company, source=batch.source,
            digest=hashlib.sha256(batch.digests).digest()[:16], topic=self._chain.topic, partition=self.partition, offset=offset,
            index=index, timestamp_ms=timestamp_ms, value=self._codec.encode(batch),
        )  # fmt: skip
        return Outgoing(
            topic=self._topic("erp-stock"), partition=self._company_partition(batch.company), key=batch.company.encode(),
            value=self._codec.encode(posting),
        )  # fmt: skip

    def _refused(self, skip: Skipped) -> Refused:
        return Refused(
            reason=skip.why, state="dead", error=skip.error, event_type="stock_adjusted", company=skip.company or "",
            topic=self._topic("stock-adjusted"), partition=self.partition, offset=skip.offset, timestamp_ms=skip.timestamp_ms,
            key=skip.key, value=skip.value, headers=skip.headers, source=skip.source, event_id=skip.event_id, sku=skip.sku,
            digest=skip.digest,
        )  # fmt: skip


def _seen_of_skipped(record: _Walked) -> Iterable[tuple[int, int]]:
    """Refused events as refused, no-ops as counted; repeats and reuses say nothing new."""
    for why, source, event_id, sku, location, digest in record.skipped:
        if why not in ("repeat", "id_reuse") and event_id is not None and digest is not None:
            mark = Seen.mark(digest)
            yield Seen.entry(source or "", event_id, sku or "", location or ""), mark if why in NO_OPS else ~mark


def _size(rows: Sequence[Row]) -> int:
    return sum([len(record.value or b"") for record, _ in rows]) + _ROW_BYTES * len(rows)


def _direction(batch: StockBatch) -> str:
    return "transfer" if batch.to_location is not None else "in" if batch.net > 0 else "out"

"""One partition of `stock-adjusted` on the worker that owns it.

The open window, its chain, and the way on to the queue.

What is open here is not durable: it is the uncommitted offsets. A seal makes a range durable in one record; only an
accepted record is routed, by whoever owns the partition when it is read (architecture sections 5 and 16).
"""

import asyncio
import hashlib
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from operator import attrgetter

import structlog

from connectors.base.errors import LogError
from connectors.base.log import Outgoing
from schemas.codec import UnencodableError
from schemas.records import NO_OPS, Anchor, Posting, SealedEpoch, Skipped, StockBatch
from schemas.times import datetime_of
from streams.chain.keys import batch_key
from streams.chain.log import Anchors, ChainLog
from streams.chain.loss import ACCEPTED_CAUSE, next_offset
from streams.config.load import Config
from streams.dead_letters.publisher import DeadLetterPublisher, Refused
from streams.ports import Ports, RawRecord, RecordBatch
from streams.posting.foreign import posting_of_another
from streams.telemetry.metrics import Metrics
from streams.windows.epoch import Composed, Composer
from streams.windows.rules import StockRules
from streams.windows.seen import Seen
from streams.windows.window import MAX_GROUP_EPOCHS, Limits, OpenWindow

logger = structlog.get_logger(__name__)

#: The longest time without a record in a chain; far inside the retention, so that the tail never expires.
TAIL_AGE = timedelta(days=7)
#: Beyond the horizon an event is too_old, but it may have said it occurred up to a day ahead.
HORIZON_GRACE_S = 2 * 86_400.0
#: How often a partition looks whether there is something to forget or to keep alive.
UPKEEP_INTERVAL_S = 300.0
#: Of a wait: what is left of one may be too little for a float of the clock to grow by.
MIN_WAIT_S = 0.001
#: What a walk reads of an epoch.
_COLUMNS = (
    "number",
    "prev_digest",
    "end",
    "no_ops",
    "sealed_at",
    "cause",
    ("batches", ("source", "sku", "location", "event_ids", "digests")),
    ("skipped", ("why", "source", "event_id", "sku", "location", "digest")),
)
_offset_of = attrgetter("offset")


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


class StockPartition:
    """What is open, sealed and routed of one input partition.

    Lifecycle: `open` walks the chain; then `take` batches of `stock-adjusted` and `route` batches of `stock-sealed`,
    while `run` seals what is due; `release` before the partition is given back, after which it may be opened again.

    Attributes:
        end: the input offset up to which everything is sealed: where reading starts.
        no_ops: events of this partition that ended as no_op in the window since the chain began.
        accepted: the last epoch, counted from 1, by which a person accepted that input and chain disagree; 0: none.
        sealed_log: which log of `stock-sealed` is read (`streams.chain.known_logs`).
    """

    def __init__(
        self,
        partition: int,
        config: Config,
        ports: Ports,
        composer: Composer,
        rules: StockRules,
        letters: DeadLetterPublisher,
        anchors: Anchors,
        limits: Callable[[str], Limits],
    ) -> None:
        self.partition, self.end, self.no_ops, self.accepted = partition, 0, 0, 0
        self._log, self._codec, self._clock, self._metrics = ports.log, ports.codec, ports.clock, ports.metrics
        self._crash_point = ports.crash_point
        self._composer, self._rules, self._letters = composer, rules, letters
        self._topic, self._company_partition, self._companies = config.topic, config.company_partition, config.companies
        self._columns = ports.codec.columns(SealedEpoch, _COLUMNS)
        self._seen = Seen()
        self._accepted: dict[int, int] = {}  # by offset: `accepted` when it was sealed
        self.sealed_log = 0
        self._routed = self._counted = 0
        self._window = OpenWindow(limits)
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
        return len(self._window.rows)

    @property
    def open_s(self) -> float:
        """How long the window has been open; 0 where none is."""
        return self._window.open_s(self._clock.monotonic())

    # ---- the chain's owner

    def restore(self, anchor: Anchor) -> None:
        self.end, self.no_ops = anchor.end, anchor.no_ops

    def visit(self, offset: int, record: _Walked) -> None:
        self.end, self.no_ops, self._sealed_at = record.end, record.no_ops, record.sealed_at
        if offset >= self._routed:
            self._accepted[offset] = self.accepted
        if record.cause.startswith(ACCEPTED_CAUSE):
            self.accepted = record.number + 1
        sealed_at = record.sealed_at.timestamp()
        if record.composed is not None:
            self._seen.add_epoch(sealed_at, record.composed.entries)
        elif sealed_at > self._clock.now().timestamp() - self._rules.horizon_s() - HORIZON_GRACE_S:
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
        self._accepted = {offset: accepted for offset, accepted in self._accepted.items() if offset >= routed}
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
                f"{topic}/{self.partition} holds offsets {log_start} to {log_end}, its chain is sealed up to {start}: "
                "the topic was "
                "re-created or has lost data. It is not read. Find out from the source what is lost, then: streams "
                "topics accept "
                f"stock-adjusted/{self.partition}"
            )
        self.end, self._counted = start, self.no_ops
        self._seen.expire(self._clock.now().timestamp() - self._rules.horizon_s() - HORIZON_GRACE_S)
        await self._chain.anchor()
        return start

    async def run(self) -> None:
        """Seal what is full or due, until cancelled.

        A task of each partition, so that no broker's answer holds up the others.
        """
        kept = self._clock.monotonic()
        while True:
            self._changed.clear()
            await self.seal_due()
            if self._clock.monotonic() - kept >= UPKEEP_INTERVAL_S:
                await self._keep()
                kept = self._clock.monotonic()
            due = self._window.due
            next_s = kept + UPKEEP_INTERVAL_S if due is None else min(due, kept + UPKEEP_INTERVAL_S)
            # Not wait_for: in Python 3.11 it swallows a cancellation that comes together with the change.
            with suppress(TimeoutError):
                async with asyncio.timeout(max(next_s - self._clock.monotonic(), MIN_WAIT_S)):
                    await self._changed.wait()

    async def seal_due(self) -> None:
        """Seal the open window if it is full or its time is up."""
        window = self._window
        if window.full:
            await self.seal(window.full)
        elif window.due is not None and window.due <= self._clock.monotonic():
            await self.seal("length")

    async def _keep(self) -> None:
        """What must happen now and then though nothing comes in: forget, anchor, keep the tail from expiring."""
        now = self._clock.now()
        self._seen.expire(now.timestamp() - self._rules.horizon_s() - HORIZON_GRACE_S)
        async with self._sealing:
            if self._sealed_at is not None and now - self._sealed_at > TAIL_AGE:
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
        self._metrics.events_consumed("stock_adjusted").inc(len(rows))
        if self._window.add(batch, rows, self._clock.monotonic()):
            self._changed.set()

    async def seal(self, cause: str) -> None:
        """Seal what is open; returns when the accepted chain says what became of it.

        What comes meanwhile is the next window's.

        Raises:
            LogError: nothing is known to be sealed; the offsets stay where they are.
        """
        async with self._sealing:
            window = self._window
            through = window.rows[-1][0].offset if window.rows else -1
            while window.rows and window.rows[0][0].offset <= through:
                now, pending, sealed = self._clock.now(), dict[int, int](), list[tuple[bytes, _Walked]]()
                head, start, no_ops = self._chain.head, self.end, self.no_ops
                chunks = deque(window.chunks(through))
                while chunks and len(sealed) < MAX_GROUP_EPOCHS:
                    chunk = chunks.popleft()
                    composed = self._composer.compose(chunk, self._seen, pending, head, start, now, cause, no_ops)
                    try:
                        sealed.append(self._sealed(composed))
                    except UnencodableError as error:  # longer than was reckoned
                        chunks.extendleft(reversed(self._composer.smaller(chunk, error)))
                        continue
                    pending.update(composed.entries)
                    head, start, no_ops = head.after(sealed[-1][0]), composed.epoch.end, composed.epoch.no_ops
                await self._crash_point("w1")
                await self._append(sealed)
            if window.reopen(self._clock.monotonic()):
                self._changed.set()

    async def _append(self, sealed: list[tuple[bytes, _Walked]]) -> None:
        stands = await self._chain.append(sealed, str(self.partition).encode())
        await self._crash_point("w2")
        if not stands:
            self._metrics.seals_rejected.inc()
        self._let_go()
        if stands:
            for _, walked in sealed:
                if walked.composed is not None:
                    _count(walked.composed.epoch, self._metrics)

    def _let_go(self) -> None:
        """Finish the rows that the chain has passed: by our own seal, or by another's that came first."""
        if self._window.finish(self.end, self.no_ops - self._counted):
            self._counted = self.no_ops

    def _sealed(self, composed: Composed) -> tuple[bytes, _Walked]:
        epoch = composed.epoch
        walked = _Walked(epoch.number, epoch.prev_digest, epoch.end, epoch.no_ops, epoch.sealed_at, composed=composed)
        return self._codec.encode(epoch), walked

    def _walked(self, value: bytes) -> _Walked:
        number, prev_digest, end, no_ops, sealed_at_us, cause, batches, skipped = self._columns(value)
        sealed_at = datetime_of(sealed_at_us)
        return _Walked(number, prev_digest, end, no_ops, sealed_at, None, batches, skipped, cause)

    async def release(self) -> None:
        """Before the partition is given back: seal what is open, then let go of it.

        What is not sealed is read again.
        """
        try:
            await self.seal("shutdown")
        except LogError as error:
            logger.warning("not sealed, is read again", partition=self.partition, error=str(error))
        finally:
            self._window.drop()

    # ---- the way on: accepted epochs become postings and dead letters

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
        postings, refused = list[Outgoing](), list[Refused]()
        for record in records:
            if record.offset in self._accepted:
                epoch = self._codec.decode(record.value or b"", SealedEpoch)
                refused += [
                    _refused(skip, self._topic("stock-adjusted"), self.partition, self._accepted[record.offset])
                    for skip in epoch.skipped
                    if skip.why not in NO_OPS
                ]
                for index, item in enumerate(epoch.batches):
                    posting = self._posting(index, item, record)
                    if item.company in self._companies:
                        postings.append(self._queued(posting))
                    else:
                        refused.append(posting_of_another("", posting, item, record.offset))
        if refused:
            await self._letters.refuse(refused)
        await self._crash_point("w3")
        if postings:
            await self._log.send_many(postings)
        await self._crash_point("w5")
        for record in records:
            batch.finish(record.offset)
            self._accepted.pop(record.offset, None)
            self._routed = record.offset + 1

    def _posting(self, index: int, batch: StockBatch, record: RawRecord) -> Posting:
        return Posting(
            k=batch_key(batch),
            kind="stock_batch",
            company=batch.company,
            source=batch.source,
            digest=hashlib.sha256(batch.digests).digest()[:16],
            topic=self._chain.topic,
            partition=self.partition,
            offset=record.offset,
            index=index,
            timestamp_ms=record.timestamp,
            value=self._codec.encode(batch),
            log=self.sealed_log,
        )

    def _queued(self, posting: Posting) -> Outgoing:
        return Outgoing(
            topic=self._topic("erp-stock"),
            partition=self._company_partition(posting.company),
            key=posting.company.encode(),
            value=self._codec.encode(posting),
        )


def _seen_of_skipped(record: _Walked) -> Iterable[tuple[int, int]]:
    """Refused events as refused, no-ops as counted; repeats and reuses say nothing new."""
    for why, source, event_id, sku, location, digest in record.skipped:
        if why not in ("repeat", "id_reuse") and event_id is not None and digest is not None:
            mark = Seen.mark(digest)
            yield Seen.entry(source or "", event_id, sku or "", location or ""), mark if why in NO_OPS else ~mark


def _direction(batch: StockBatch) -> str:
    return "transfer" if batch.to_location is not None else "in" if batch.net > 0 else "out"


def _refused(skip: Skipped, topic: str, partition: int, log: int) -> Refused:
    return Refused(
        reason=skip.why,
        state="dead",
        error=skip.error,
        event_type="stock_adjusted",
        company=skip.company or "",
        topic=topic,
        partition=partition,
        offset=skip.offset,
        log=log,
        timestamp_ms=skip.timestamp_ms,
        key=skip.key,
        value=skip.value,
        headers=skip.headers,
        source=skip.source,
        event_id=skip.event_id,
        sku=skip.sku,
        digest=skip.digest,
    )


def _count(epoch: SealedEpoch, metrics: Metrics) -> None:
    metrics.epochs_sealed(epoch.cause).inc()
    metrics.window_members.observe(sum(len(batch.event_ids) for batch in epoch.batches))
    moved: dict[str, Decimal] = {}
    for batch in epoch.batches:
        direction = _direction(batch)
        moved[direction] = moved.get(direction, 0) + abs(batch.net)
    for direction, quantity in moved.items():
        metrics.units_sealed.add(direction, quantity)
    for skip in epoch.skipped:
        if skip.why in NO_OPS:
            metrics.events_deduplicated("stock_adjusted").inc()
        else:
            metrics.events_quarantined("stock_adjusted", skip.why).inc()
            if skip.why in ("unreadable", "unknown_schema"):
                metrics.decode_errors("stock-adjusted", skip.why).inc()

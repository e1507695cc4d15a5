"""`streams connect backfill`: everything a vendor has of a time range, published as the live connector publishes.

Same source names, same identities: what the pipeline has already is a repeat there and changes nothing. It has a cursor
of its own, under the connector's name and the time range, with what it has come to so far; the live connector's is only
looked at. So it may be killed, and the same command goes on; it may run beside the live connector, and nothing runs
twice: of two processes on one time range the later one has it (`connectors/base/cursors.py`).
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from connectors.base.clock import Clock, SystemClock
from connectors.base.cursors import CURSORS, Cursors, backfill_name, partition_of
from connectors.base.dead_letters import DeadLetters
from connectors.base.errors import CursorUnusableError, FatalError, RejectedError
from connectors.base.log import Broker, Outgoing, Record, Sent
from connectors.base.metrics import NoMetrics
from connectors.base.publisher import Publisher
from connectors.base.source import BackfillBatch, BackfillSource, Batch, RefusedRecord, TimeRange
from connectors.registry import KINDS
from connectors.runtime import Runtime
from schemas.codec import Codec
from schemas.events import TYPE_NAMES
from schemas.letters import letter_id
from streams.config.load import Config
from streams.kafka.log import Log
from streams.query.dead_letters import standing


class NotForThisKindError(RejectedError):
    """A connector of this kind has no past that could be asked for."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What a backfill has come to, all its runs together; lies in its cursor, acknowledged with what it counts.

    Attributes:
        cursor: The source's own.
        records: How many of the vendor's records were read.
        events: Published, by type.
        refused: Records that went to the dead letters, by reason.
        already_past: Events that the live connector has published, and records that have a dead letter already: left
            out.
        before_start: Of the events, those that occurred before the connector's `start_at`: they end as no_op.
        reached: Where in the time range the last batch was.
        part: How much of the time range is behind, 0 to 1.
        finished: The time range is done.
    """

    cursor: str | None = None
    records: int = 0
    events: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    already_past: int = 0
    before_start: int = 0
    reached: datetime | None = None
    part: float = 0.0
    finished: bool = False

    @property
    def published(self) -> int:
        return sum(self.events.values())

    def to_text(self) -> str:
        return json.dumps(asdict(self), default=lambda moment: moment.isoformat(), separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str | None) -> "Tally":
        """Read what `to_text` wrote; None is the beginning.

        Raises:
            FatalError: It is something else.
        """
        if text is None:
            return cls()
        try:
            found = json.loads(text)
            reached = found.pop("reached")
            return cls(**found, reached=None if reached is None else datetime.fromisoformat(reached))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CursorUnusableError("the cursor is not one of a backfill; name another time range") from error

    def as_json(self) -> dict[str, Any]:
        """For machines: without the source's cursor."""
        shown = asdict(self)
        del shown["cursor"], shown["part"]
        return {**shown, "reached": self.reached.isoformat() if self.reached else None}


Progress = Callable[[Tally, str], None]
"""Called with what is behind, and of what is being done, in words ("": it reads)."""


class TalliedSource:
    """A time range as a `Source` whose cursor holds the tally.

    Args:
        source: Of the time range.
        settled: Ids of dead letters that exist: their records are not refused again, since somebody may be done with
            them.
        start_at: The connector's.
        progress: Called with every batch that is behind.
    """

    def __init__(
        self, source: BackfillSource, settled: Collection[str], start_at: datetime | None, progress: Progress
    ) -> None:
        self.name, self.company = source.name, source.company
        self._source, self._settled, self._start_at, self._progress = source, settled, start_at, progress

    async def read(self, cursor: str | None) -> Batch:
        tally = Tally.from_text(cursor)
        if tally.finished:
            return Batch((), cursor, idle=True)
        batch = await self._source.read(tally.cursor)
        self._progress(tally, batch.doing)
        items = tuple(item for item in batch.items if not (isinstance(item, RefusedRecord) and self._is_settled(item)))
        if batch.levels:
            raise FatalError(f"{self.name}: a backfill has read levels, which are of now; report this version")
        return Batch(items, self._after(tally, batch, Batch(items, None)).to_text(), batch.idle)

    async def close(self) -> None:
        await self._source.close()

    def _is_settled(self, item: RefusedRecord) -> bool:
        return letter_id(self.name, item.digest, item.number) in self._settled

    def _after(self, tally: Tally, read: BackfillBatch, kept: Batch) -> Tally:
        events = Counter(TYPE_NAMES[type(event)] for event in kept.events)
        refused = Counter(item.reason for item in kept.refused)
        start_at = self._start_at
        before = sum(event.occurred_at < start_at for event in kept.events) if start_at is not None else 0
        return replace(
            tally,
            cursor=read.cursor,
            records=tally.records + read.records,
            events=dict(Counter(tally.events) + events),
            refused=dict(Counter(tally.refused) + refused),
            already_past=tally.already_past + read.already_past + len(read.refused) - len(kept.refused),
            before_start=tally.before_start + before,
            reached=read.reached or tally.reached,
            part=tally.part if read.part is None else read.part,
            finished=read.idle,
        )


class Nowhere:
    """A broker that takes everything and keeps nothing but the last cursor: what a dry run publishes to."""

    def __init__(self) -> None:
        self._ends: Counter[str] = Counter()
        self._cursors: list[Record] = []

    async def send_many(self, records: Sequence[Outgoing]) -> Sequence[Sent]:
        sent = []
        for each in records:
            sent.append(Sent(each.partition or 0, self._ends[each.topic]))
            self._ends[each.topic] += 1
        self._cursors = [
            Record(each.topic, at.partition, at.offset, each.timestamp_ms or 0, each.key, each.value)
            for at, each in zip(sent, records, strict=True)
        ]
        return sent

    async def read(self, topic: str, partition: int, start: int, end: int) -> AsyncGenerator[Sequence[Record], None]:
        yield [each for each in self._cursors if start <= each.offset < end]

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        return self._ends[topic], self._ends[topic]


class _UntilIdle(NoMetrics):
    """Stops a runtime at the end of its source, and reports what went wrong meanwhile."""

    def __init__(self, stop: asyncio.Event, failed: Callable[[str], None]) -> None:
        self._stop, self._failed = stop, failed

    def looked(self, connector: str, idle: bool) -> None:
        if idle:
            self._stop.set()

    def failed(self, connector: str, error: str) -> None:
        self._failed(error)


def check(config: Config, name: str) -> None:
    """Whether a connector can be backfilled.

    Raises:
        NotForThisKindError: It cannot; the message says what to do.
    """
    kind = config.connectors[name].kind
    if KINDS[kind].backfill is not None:
        return
    remedy = "put the files into its inbox again under new names" if kind == "ims" else "its past comes by no other way"
    raise NotForThisKindError(f"a connector of the kind {kind} has no past to be asked for; {remedy}")


async def run(
    config: Config,
    name: str,
    time_range: TimeRange,
    *,
    log: Log,
    codec: Codec,
    progress: Progress,
    dry_run: bool = False,
    clock: Clock | None = None,
) -> tuple[Tally, Tally]:
    """Read a time range and publish it, from where the last run of it has stopped.

    Args:
        config: Names the connector.
        name: The connector's.
        time_range: What is read.
        log: Started.
        codec: Of the configured registry.
        progress: Called with every batch.
        dry_run: Read from the beginning, publish nothing and move nothing.
        clock: By default the machine's.

    Returns:
        What earlier runs had come to, and what it has come to now.

    Raises:
        NotForThisKindError: There is nothing to be read.
        LostRaceError: Another process reads the same time range.
        FatalError: A person has to act.
        RetriableError: Kafka did not answer when we looked where the live connector stands.
    """
    check(config, name)
    settings, clock = config.connectors[name], clock or SystemClock()
    make = KINDS[settings.kind].backfill
    assert make is not None  # noqa: S101 -- checked
    topic, partition = config.topic(CURSORS), partition_of(name, config.kafka.partitions)
    live = Cursors(name, log, codec, clock, topic=topic, partition=partition)
    await live.look()
    letters = await standing(log, config, codec)
    source = make(name, settings, clock, time_range, live.position.cursor)
    broker: Broker = Nowhere() if dry_run else log
    cursors = Cursors(backfill_name(name, time_range), broker, codec, clock, topic=topic, partition=partition)
    return await drive(
        TalliedSource(source, frozenset(letters), settings.start_at, progress),
        cursors=cursors,
        publisher=Publisher(broker, codec, clock, config.topic),
        letters=DeadLetters(broker, codec, clock, config.topic, config.company_partition),
        failed=lambda error: progress(Tally.from_text(cursors.position.cursor), f"{error}: tried again"),
    )


async def drive(
    source: TalliedSource,
    *,
    cursors: Cursors,
    publisher: Publisher,
    letters: DeadLetters,
    failed: Callable[[str], None],
) -> tuple[Tally, Tally]:
    """See a time range through to its end; what it had come to before, and has come to now."""
    try:
        await cursors.look()
        before = Tally.from_text(cursors.position.cursor)
    except BaseException:
        await source.close()
        raise
    stop = asyncio.Event()
    runtime = Runtime(
        source,
        cursors=cursors,
        publisher=publisher,
        letters=letters,
        metrics=_UntilIdle(stop, failed),
        poll_interval_s=1,
    )
    await runtime.run(stop)
    return before, Tally.from_text(cursors.position.cursor)

"""Where a connector stands, in Kafka: one cursor and the levels it has seen, safe against two processes at once.

All records of a connector lie on one partition of `connector-cursors`. Its cursor records follow the chain rule
(architecture section 5): each names the one before it, and one that does not name the last accepted one counts for
nobody. A level record names the cursor record it stands on, and counts only while that is the last. Every writer reads
back up to its own record and so knows whether it counts; whoever takes over writes a cursor record first, which shuts
out the one before.

The topic is compacted: of the records of one key only the last remains in the log's older part, so there an accepted
record may miss the one it names. It is known by its number, which is above every earlier one's; a record of a process
that was shut out never has such a number. Compaction may also keep a record that does not count in place of one that
does, therefore a level that was overwritten by one that does not count is written again.
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from connectors.base.clock import Clock
from connectors.base.dispatches import NO_DISPATCHES, Dispatches
from connectors.base.errors import ConnectorError, CursorUnusableError
from connectors.base.levels import Level, Pending, Place
from connectors.base.log import Broker, Outgoing, milliseconds
from connectors.base.source import TimeRange
from schemas.codec import Codec, CodecError
from schemas.events import StockAdjusted
from schemas.records import Cursor

CURSORS = "connector-cursors"
#: Between a connector's name and the time range of a backfill, which has a chain of its own; no name has a slash.
_BACKFILL = "/backfill/"
#: And its writing side (`streams.delivery`).
_OUT = "/out"
_GENESIS = bytes(16)


class LostRaceError(ConnectorError):
    """Another process has taken this connector over: stop it here."""


@dataclass(frozen=True, slots=True)
class Position:
    """What a connector has behind it; lies as JSON in `Cursor.position`.

    Attributes:
        cursor: The source's own, see `Source.read`.
        confirmed: Levels that stand on cursor records up to this number have had their deltas acknowledged.
        no_op: Levels, by event type, that ended here as no-ops: cumulative, each counts as received and as `no_op`.
        refused: Records, by event type (`inbox`: unknown), that went to the dead letters: cumulative, each counts as
            received; how it ends is in `dead-letter-state`.
    """

    cursor: str | None = None
    confirmed: int = -1
    no_op: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(
            {"cursor": self.cursor, "confirmed": self.confirmed, "no_op": self.no_op, "refused": self.refused},
            separators=(",", ":"),
            sort_keys=True,
        )

    @classmethod
    def from_json(cls, text: str) -> "Position":
        """Read what `to_json` wrote, or an older one of fewer fields.

        Raises:
            ValueError: It is something else.
        """
        found = json.loads(text)
        if not isinstance(found, dict):
            raise TypeError("a position is an object")
        return cls(found.get("cursor"), found.get("confirmed", -1), found.get("no_op", {}), found.get("refused", {}))


def partition_of(connector: str, partitions: int) -> int:
    """The partition of `connector-cursors` that a connector's records lie on; who owns it runs the connector."""
    return zlib.crc32(connector.encode()) % partitions


def cursor_key(connector: str) -> bytes:
    return json.dumps([connector], ensure_ascii=False).encode()


def level_key(connector: str, sku: str, location: str) -> bytes:
    """Three names that cannot run into one another, whatever characters they have."""
    return json.dumps([connector, sku, location], ensure_ascii=False).encode()


def backfill_name(connector: str, span: TimeRange) -> str:
    """The name under which a connector's backfill of a time range keeps its cursor."""
    return f"{connector}{_BACKFILL}{span.since.isoformat()}/{span.until.isoformat()}"


def out_name(connector: str) -> str:
    """The name under which a connector's writing side keeps its cursor."""
    return f"{connector}{_OUT}"


def owner_of(name: str) -> str:
    """The connector that a cursor's name belongs to."""
    return name.partition(_BACKFILL)[0].removesuffix(_OUT)


def connector_of(key: bytes) -> str | None:
    """The name of a record's cursor, by its key; None: not one of ours."""
    try:
        names = json.loads(key)
    except ValueError:
        return None
    return names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None


class Cursors:
    """One connector's cursor and levels.

    Lifecycle: `look`, for those who only want to know. Else `load`, then any number of `write_levels` and `advance`,
    each awaited. After any error from them the state is unknown: `load` again, or give up.

    Attributes:
        position: The last accepted one.
        levels: The last accepted state of every place.
    """

    def __init__(
        self, connector: str, broker: Broker, codec: Codec, clock: Clock, *, topic: str, partition: int
    ) -> None:
        self._connector = connector
        self._broker = broker
        self._codec = codec
        self._clock = clock
        self._topic = topic
        self._partition = partition
        self._forget()

    def _forget(self) -> None:
        self.position = Position()
        self.levels: dict[Place, Level] = {}
        self._standing: dict[Place, int] = {}  # the number of the cursor record that a level stands on
        self._overwritten: set[Place] = set()
        self._head: tuple[int, bytes] | None = None
        self._head_offset = -1
        self._next = 0

    async def look(self) -> None:
        """Read where the connector stands, and disturb nobody.

        Raises:
            RetriableError: Kafka did not answer.
            FatalError: The records cannot be read.
        """
        self._forget()
        self._next, end = await self._broker.bounds(self._topic, self._partition)
        await self._walk(end)

    async def load(self) -> None:
        """Read where the connector stands, and shut out every process that thought it had it.

        Raises:
            LostRaceError: Another process did the same at the same time.
            RetriableError: Kafka did not answer.
            FatalError: The records cannot be read.
        """
        await self.look()
        await self._write_cursor(self.position)

    @property
    def number(self) -> int:
        """Of the last accepted cursor record: it grows with each, also across processes; -1: there is none."""
        return -1 if self._head is None else self._head[0]

    @property
    def unconfirmed(self) -> list[StockAdjusted]:
        """Deltas that were written down and perhaps not published."""
        return [
            pending.event
            for place, level in self.levels.items()
            if self._standing[place] > self.position.confirmed
            for pending in level.pending
        ]

    async def write_levels(self, changes: Mapping[Place, Level]) -> None:
        """Write new levels down, before their deltas are published.

        Raises:
            LostRaceError: They do not count; publish nothing.
            RetriableError: Nobody knows whether they count.
        """
        if not changes:
            return
        assert self._head is not None  # noqa: S101 -- load() comes first
        offset, number = self._head_offset, self._head[0]
        await self._send([self._level_record(place, level, number) for place, level in changes.items()])
        if self._head_offset != offset:
            raise self._lost()

    async def advance(self, position: Position) -> None:
        """Write the cursor down, after the broker has acknowledged everything before it.

        Args:
            position: Its `confirmed` is set here.

        Raises:
            LostRaceError: It does not count.
            RetriableError: Nobody knows whether it counts.
        """
        assert self._head is not None  # noqa: S101 -- load() comes first
        number = self._head[0]
        await self._write_cursor(Position(position.cursor, number, position.no_op, position.refused))
        if self._overwritten:
            again = {place: self.levels[place] for place in self._overwritten if place in self.levels}
            self._overwritten.clear()
            await self.write_levels({place: replace(level, pending=()) for place, level in again.items()})

    async def _write_cursor(self, position: Position) -> None:
        number, digest = self._head or (-1, _GENESIS)
        record = Cursor(
            connector=self._connector,
            number=number + 1,
            prev_digest=digest,
            position=position.to_json(),
            at=self._clock.now(),
        )
        value = self._codec.encode(record)
        offset = await self._send([self._outgoing(cursor_key(self._connector), value, record)])
        # By its offset: two processes that take over at once may write the very same bytes.
        if self._head_offset != offset:
            raise self._lost()

    def _lost(self) -> LostRaceError:
        # Nothing more may be written from here on, least of all on the other's record.
        self._head = None
        return LostRaceError(f"{self._connector}: another process has written a cursor")

    def _level_record(self, place: Place, level: Level, standing: int) -> Outgoing:
        assert self._head is not None  # noqa: S101 -- load() comes first
        sku, location = place
        pending = [[each.sequence, base64.b64encode(self._codec.encode(each.event)).decode()] for each in level.pending]
        record = Cursor(
            connector=self._connector,
            sku=sku,
            location=location,
            number=standing,
            prev_digest=self._head[1],
            sequence=str(level.sequence),
            level=level.level,
            pending=_pending_text(pending, level.dispatches),
            at=self._clock.now(),
        )
        return self._outgoing(level_key(self._connector, sku, location), self._codec.encode(record), record)

    def _outgoing(self, key: bytes, value: bytes, record: Cursor) -> Outgoing:
        return Outgoing(
            topic=self._topic,
            partition=self._partition,
            key=key,
            value=value,
            timestamp_ms=milliseconds(record.at),
        )

    async def _send(self, records: list[Outgoing]) -> int:
        """Send, read back up to the last of them, and return its offset."""
        sent = await self._broker.send_many(records)
        last = max(each.offset for each in sent)
        if [each.offset for each in sent] == list(range(self._next, last + 1)):
            # Nobody else's lie between what was read and what was sent: to read it back would show nothing new.
            for offset, record in enumerate(records, self._next):
                self._take(offset, record.key, record.value)
            self._next = last + 1
        else:
            await self._walk(last + 1)
        return last

    async def _walk(self, end: int) -> None:
        if self._next >= end:
            return
        async with aclosing(self._broker.read(self._topic, self._partition, self._next, end)) as batches:
            async for batch in batches:
                for stored in batch:
                    self._take(stored.offset, stored.key, stored.value)
        self._next = end

    def _take(self, offset: int, key: bytes | None, value: bytes | None) -> None:
        if key is None or connector_of(key) != self._connector:
            return
        if value is None:
            self._take_end(key)
            return
        try:
            record = self._codec.decode(value, Cursor)
            if record.sku is None:
                self._take_cursor(record, value, offset)
            else:
                self._take_level(record)
        except (CodecError, ValueError, TypeError, AttributeError) as error:
            raise CursorUnusableError(
                f"{self._topic}/{self._partition}/{offset} cannot be read as a cursor of {self._connector} "
                f"({error}); run a version that can, or delete the record to read the source from its beginning "
                "(repeats are no-ops)"
            ) from error

    def _take_end(self, key: bytes) -> None:
        """A person has ended the connector: what stood before it counts no more."""
        if key == cursor_key(self._connector):
            self.position, self._head = Position(), None
            self.levels.clear()
            self._standing.clear()
            self._overwritten.clear()

    def _counts(self, record: Cursor) -> bool:
        """Whether a record stands on the last accepted cursor record, or on one that compaction has taken."""
        if self._head is None:
            return True
        number, digest = self._head
        return record.prev_digest == digest or record.number > number

    def _take_cursor(self, record: Cursor, value: bytes, offset: int) -> None:
        # Of two that follow one another by number, only the one that names the other counts; a loser's number is never
        # above the winner's.
        if self._counts(record):
            self.position = Position.from_json(record.position or "{}")
            self._head, self._head_offset = (record.number, _digest(value)), offset

    def _take_level(self, record: Cursor) -> None:
        assert record.sku is not None  # noqa: S101 -- the caller has looked
        place = (record.sku, record.location or "")
        if not self._counts(record):
            self._overwritten.add(place)
            return
        found = json.loads(record.pending or "[]")
        pending, dispatches = found, NO_DISPATCHES
        if isinstance(found, dict):
            pending, dispatches = found["deltas"], Dispatches.from_text(found["dispatches"])
        events = tuple(
            Pending(int(sequence), self._codec.decode(base64.b64decode(text), StockAdjusted))
            for sequence, text in pending
        )
        if record.level is None or record.sequence is None:
            raise ValueError("a level without level or sequence")
        self.levels[place] = Level(int(record.sequence), record.level, events, dispatches)
        self._standing[place] = record.number
        self._overwritten.discard(place)


def _pending_text(deltas: list[list[Any]], dispatches: Dispatches) -> str | None:
    """What lies beside a level; a list of deltas where no dispatch is remembered, as older versions wrote it."""
    if dispatches == NO_DISPATCHES:
        return json.dumps(deltas, separators=(",", ":")) if deltas else None
    return json.dumps({"deltas": deltas, "dispatches": dispatches.to_text()}, separators=(",", ":"))


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()[:16]

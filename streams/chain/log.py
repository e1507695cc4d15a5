"""A chain as it lies in Kafka: walk it, append to it, and know whether what was appended stands (D3)."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from connectors.base.log import Outgoing
from schemas.codec import Codec, UnreadableError
from schemas.records import Anchor
from streams.chain.rule import Head, start_of_walk
from streams.kafka.log import Log

ANCHORS = "chain-anchors"


class Linked(Protocol):
    """What every chained record carries."""

    @property
    def number(self) -> int: ...
    @property
    def prev_digest(self) -> bytes: ...


R = TypeVar("R", bound=Linked)
R_contra = TypeVar("R_contra", contravariant=True)


class Anchors:
    """The places from which chains may be walked: one a day and chain, kept while they lie inside the log."""

    def __init__(self, log: Log, codec: Codec, topic: str) -> None:
        self._log, self._codec, self._topic = log, codec, topic

    async def of(self, topic: str, partition: int) -> list[Anchor]:
        found: dict[bytes, Anchor | None] = {}
        start, end = await self._log.bounds(self._topic, 0)
        async with aclosing(self._log.read(self._topic, 0, start, end)) as batches:
            async for records in batches:
                for record in records:
                    if record.key is not None and record.key.startswith(f"{topic}/{partition}/".encode()):
                        found[record.key] = None if record.value is None else self._codec.decode(record.value, Anchor)
        return [anchor for anchor in found.values() if anchor is not None]

    async def write(self, anchor: Anchor, outdated: Iterable[Anchor]) -> None:
        """Add one and take out those that the log has outlived."""
        gone = [Outgoing(topic=self._topic, partition=0, key=_key(old), value=None) for old in outdated]
        await self._log.send_many(
            [Outgoing(topic=self._topic, partition=0, key=_key(anchor), value=self._codec.encode(anchor)), *gone]
        )


def _key(anchor: Anchor) -> bytes:
    return f"{anchor.topic}/{anchor.partition}/{anchor.at.date().isoformat()}".encode()


class ChainOwner(Protocol[R_contra]):
    """Whoever keeps state from a chain; called synchronously while it is walked."""

    def restore(self, anchor: Anchor) -> None:
        """The walk begins here, not at the genesis."""

    def visit(self, offset: int, record: R_contra) -> None:
        """One accepted record; each exactly once, in order."""

    def reached(self) -> tuple[int, int]:
        """What an anchor written now says: the input offset reached, and the no_ops so far."""


class ChainLog(Generic[R]):
    """One chain of one partition, from the side of whoever owns it.

    Lifecycle: `open` walks it from its root to the end; `append` adds records and says whether they stand; `catch_up`
    walks what others have added. Not safe for concurrent use: its owner serialises.

    Attributes:
        head: the last accepted record.
        position: the next offset to walk.
    """

    def __init__(
        self,
        log: Log,
        topic: str,
        partition: int,
        decode: Callable[[bytes], R],
        owner: ChainOwner[R],
        anchors: Anchors,
        now: Callable[[], datetime],
    ) -> None:
        self.head, self.position = Head(), 0
        self.topic, self.partition = topic, partition
        self._log, self._decode, self._owner, self._anchors, self._now = log, decode, owner, anchors, now
        self._anchored: datetime | None = None

    async def open(self) -> None:
        """Walk from the root to the end.

        Raises:
            ChainRootError: nobody can say where the chain begins.
        """
        log_start, _ = await self._log.bounds(self.topic, self.partition)
        anchors = await self._anchors.of(self.topic, self.partition)
        anchor, self.position, self.head = start_of_walk(self.topic, self.partition, log_start, anchors)
        if anchor is not None:
            self._owner.restore(anchor)
        await self.catch_up()

    async def catch_up(self) -> None:
        """Walk to the end of the log as it is now."""
        _, end = await self._log.bounds(self.topic, self.partition)
        if end > self.position:
            await self._walk(end)

    async def append(self, records: Sequence[tuple[bytes, R]], key: bytes | None = None) -> bool:
        """Send records, each naming the one before it, the first the head; then walk up to them.

        Where the broker put them right behind what was walked, nothing can lie between and nothing is read back.

        Returns:
            Whether all of them stand. False: somebody else's record came first; what it says has been visited.

        Raises:
            LogError: the broker did not take them; whether they lie in the log is unknown, a later walk shows it.
        """
        sent = await self._log.send_many(
            [Outgoing(topic=self.topic, partition=self.partition, key=key, value=value) for value, _ in records]
        )
        if [place.offset for place in sent] == list(range(self.position, self.position + len(records))):
            for value, record in records:
                self._take(self.position, value, record)
            return True
        head = self.head
        for value, _ in records:
            head = head.after(value)
        await self.catch_up()
        return self.head == head

    async def _walk(self, end: int) -> None:
        async with aclosing(self._log.read(self.topic, self.partition, self.position, end)) as batches:
            async for entries in batches:
                for entry in entries:
                    try:
                        record = self._decode(entry.value or b"")
                    except UnreadableError:
                        self.position = entry.offset + 1  # for every reader alike: it cannot name the head
                    else:
                        self._take(entry.offset, entry.value or b"", record)
        self.position = max(self.position, end)

    def _take(self, offset: int, value: bytes, record: R) -> None:
        self.position = offset + 1
        if self.head.accepts(record.number, record.prev_digest):
            self.head = self.head.after(value)
            self._owner.visit(offset, record)

    async def anchor(self) -> None:
        """Write today's anchor, once a day: the root of later walks when the log has lost its beginning."""
        now = self._now()
        if self._anchored is not None and now - self._anchored < timedelta(days=1):
            return
        known = await self._anchors.of(self.topic, self.partition)
        log_start, _ = await self._log.bounds(self.topic, self.partition)
        end, no_ops = self._owner.reached()
        today = Anchor(
            topic=self.topic,
            partition=self.partition,
            offset=self.position,
            number=self.head.number,
            digest=self.head.digest,
            end=end,
            no_ops=no_ops,
            at=now,
        )
        if all(old.at.date() != today.at.date() for old in known):
            await self._anchors.write(today, [old for old in known if old.offset < log_start])
        self._anchored = now

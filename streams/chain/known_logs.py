"""Which log of a partition we read: an offset means nothing in another log of the same name (architecture section 5).

A topic that was deleted and made again, a cluster that was restored, records that retention removed before they were
read: in each the committed offset points to something else than what was left there. So the topic `known-logs` keeps,
per partition, Kafka's id of the log that is read and an offset that was reached in it. A log that is another one, or
that does not hold the offset to be read next, is not read until a person accepts it (`streams topics accept`); what is
read after that has the next number, and offsets of different numbers are never compared.
"""

from collections.abc import Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import timedelta

from connectors.base.clock import Clock
from connectors.base.log import Outgoing
from schemas.codec import Codec
from schemas.letter_bounds import short
from schemas.records import KnownLog
from schemas.topics import ORDER_FACTS, event_type
from streams.config.load import Config
from streams.faust_host.watermarks import Start, decode_counts
from streams.kafka.log import Committed, Log

TOPIC = "known-logs"
#: Where a commit has the number of the log that its offset is of.
NUMBER = ("log", "")
#: How far behind an offset that was reached may be: well inside the retention of every topic that is read.
REFRESH_AGE = timedelta(days=1)

#: A topic as the broker names it, and a partition.
Place = tuple[str, int]


class LogMismatchError(Exception):
    """A partition is not read; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class LogMismatch:
    """A partition whose log is another one than was read, or does not hold the offset that is read next.

    Attributes:
        topic, partition: As the broker names them.
        log_start, log_end: What the log holds, `[log_start, log_end)`.
        reached: The offset that would be read next.
        log_id: Kafka's id of the topic now.
        known: What was read.
    """

    topic: str
    partition: int
    log_start: int
    log_end: int
    reached: int
    log_id: str
    known: KnownLog

    @property
    def is_another(self) -> bool:
        return _differ(self.known.log_id, self.log_id)

    @property
    def lost(self) -> int | None:
        """Records known to have been published and never read; None: nobody can tell."""
        return None if self.is_another or self.log_end < self.reached else max(0, self.log_start - self.reached)

    def __str__(self) -> str:
        place = f"{self.topic}/{self.partition}"
        if self.is_another:
            ids = f"Kafka's id {self.log_id}, read was {self.known.log_id}"
            what = f"is another log now ({ids}): the topic was made anew"
        elif self.log_end < self.reached:
            what = "has lost its end"
        else:
            what = f"has lost {self.lost} records that were never read"
        if self.topic.endswith("erp-documents"):
            what += " (stock that was sealed in it and not settled could be written twice: compare with B1 first)"
        return (
            f"{place} {what}. It holds offsets {self.log_start} to {self.log_end}, read was up to {self.reached}. "
            "It is not read. Find out from the source what is missing and publish it again, then: "
            f"streams topics accept {place} --why ..."
        )


def judge(
    known: KnownLog, log_id: str, committed: Committed | None, log_start: int, log_end: int, flow: str | None = None
) -> Start | LogMismatch:
    """Where a partition is read from, or why it is not. Pure.

    Args:
        known: What was read.
        log_id: Kafka's id of the topic; empty where it shows none, and then only offsets are compared.
        committed: By the group.
        log_start: The first offset that the log holds.
        log_end: The offset that the next record gets.
        flow: Of the facts that it holds: those that are accepted as lost end as no-ops.
    """
    counts = decode_counts(committed.metadata) if committed is not None else {}
    if flow is not None and (lost := known.lost_before + (known.lost or 0)):
        counts[flow, "no_op"] = lost  # nothing else ends there as one; Kafka forgets commits of a topic that is deleted
    if committed is not None and counts.get(NUMBER, 0) == known.number:
        reached = at = committed.offset
    elif known.number:  # what is committed, if anything, is of a log before
        reached = at = known.start
    else:
        reached, at = known.start, log_start
    if _differ(known.log_id, log_id) or not log_start <= reached <= log_end:
        return LogMismatch(known.topic, known.partition, log_start, log_end, reached, log_id, known)
    return Start(at, {**counts, NUMBER: known.number} if known.number else counts)


def _differ(known_id: str, log_id: str) -> bool:
    return bool(known_id and log_id) and known_id != log_id


class KnownLogs:
    """Lifecycle: `examine` partitions when they come; `refresh` now and then; `accept` by a person's command.

    Not safe for concurrent use of `examine` and `accept` in two processes for one partition: its owner examines, and a
    person accepts once.
    """

    def __init__(self, log: Log, codec: Codec, config: Config, clock: Clock) -> None:
        self._log, self._codec, self._config, self._clock = log, codec, config, clock
        self._topic = config.topic(TOPIC)
        self._known: dict[Place, KnownLog] = {}
        self._ids: dict[str, str] = {}  # as Kafka last said
        self._position = 0

    def number(self, topic: str, partition: int) -> int:
        """Which log of a partition is read, as of the last look: 0 for the first, -1 where another one is there."""
        known = self._known.get((topic, partition))
        if known is None:
            return 0
        return -1 if _differ(known.log_id, self._ids.get(topic, "")) else known.number

    def records_before(self, topic: str, partition: int) -> int:
        """What is added to an offset of the log for how many records were ever published, as of the last look."""
        known = self._known.get((topic, partition))
        return 0 if known is None else known.before

    async def look(self) -> None:
        """Read what was written since the last look.

        Raises:
            LogError: It cannot be read.
        """
        start, end = await self._log.bounds(self._topic, 0)
        if (start := max(start, self._position)) < end:
            async with aclosing(self._log.read(self._topic, 0, start, end)) as batches:
                async for records in batches:
                    for record in records:
                        if record.value is not None:
                            known = self._codec.decode(record.value, KnownLog)
                            self._known[known.topic, known.partition] = known
        self._position = max(self._position, end)

    async def examine(self, places: Collection[Place], *, remember: bool = True) -> dict[Place, Start | LogMismatch]:
        """Where partitions are read from, or why they are not.

        Args:
            places: Partitions that we have.
            remember: Write down the logs of those that were never read before.

        Raises:
            LogError: The broker cannot be reached.
        """
        await self.look()
        ids = await self._ask_ids({topic for topic, _ in places})
        committed = await self._log.committed(self._config.group)
        found: dict[Place, Start | LogMismatch] = {}
        new: list[KnownLog] = []
        for place in sorted(places):
            log_start, log_end = await self._log.bounds(*place)
            known, at = self._known.get(place), committed.get(place)
            if known is None:
                number = decode_counts(at.metadata).get(NUMBER, 0) if at is not None else 0
                start = log_start if at is None else at.offset
                known = self._of(place, ids, number=number, start=start)
                new.append(known)
            name = self._config.name_of(place[0])
            flow = event_type(name) if name in ORDER_FACTS else None
            found[place] = judge(known, ids.get(place[0], ""), at, log_start, log_end, flow)
        if new and remember:
            await self._write(new)
        return found

    async def refresh(self, reached: Mapping[Place, int]) -> None:
        """Write down what has been reached, once a day: so that nothing is missed when the group forgets its commits.

        Raises:
            LogError: Not written; the next call does it.
        """
        now = self._clock.now()
        old = [
            replace(known, start=offset, at=now)
            for place, offset in reached.items()
            if (known := self._known.get(place)) is not None and now - known.at >= REFRESH_AGE
        ]
        await self._write(old)

    async def made_anew(self, topics: Collection[str]) -> str | None:
        """One of these topics whose log is another one than is read of any of its partitions.

        Raises:
            LogError: The broker cannot be reached.
        """
        await self.look()
        ids = await self._ask_ids(topics)
        for (topic, _), known in self._known.items():
            if topic in topics and _differ(known.log_id, ids.get(topic, "")):
                return topic
        return None

    async def accept(
        self, topic: str, partition: int, start: int, lost: int | None, *, by: str, why: str, reached: int | None = None
    ) -> KnownLog:
        """Read the log that is there now, from an offset on; it has the next number.

        `reached` is up to where another log was read before; None: it is the same one.

        Raises:
            LogError: Nobody knows whether it is accepted; look again.
        """
        await self.look()
        ids = await self._ask_ids({topic})
        place = topic, partition
        former = self._known.get(place) or self._of(place, ids, number=0, start=0)
        accepted = replace(
            self._of(place, ids, number=former.number + 1, start=start),
            by=by,
            why=short(why),
            lost=lost,
            before=former.before + (0 if reached is None else reached - start),
            lost_before=former.lost_before + (former.lost or 0),
        )
        await self._write([accepted])
        return accepted

    async def _ask_ids(self, topics: Collection[str]) -> dict[str, str]:
        ids = await self._log.topic_ids(topics)
        self._ids.update(ids)
        return ids

    def _of(self, place: Place, ids: Mapping[str, str], *, number: int, start: int) -> KnownLog:
        return KnownLog(
            topic=place[0],
            partition=place[1],
            log_id=ids.get(place[0], ""),
            number=number,
            start=start,
            at=self._clock.now(),
        )

    async def _write(self, logs: Collection[KnownLog]) -> None:
        await self._log.send_many(
            [
                Outgoing(
                    topic=self._topic,
                    partition=0,
                    key=f"{each.topic}/{each.partition}".encode(),
                    value=self._codec.encode(each),
                )
                for each in logs
            ]
        )
        self._known.update({(each.topic, each.partition): each for each in logs})

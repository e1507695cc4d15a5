"""Delivers notices: reads them, groups them per target, sends, and commits what has been told."""

import asyncio
import contextlib
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

import structlog

from connectors.base.clock import Clock
from connectors.base.errors import ConnectorError, LogError, RejectedError, RetriableError
from connectors.base.log import Record
from connectors.base.retry import FullJitter
from connectors.notices.digest import DigestMessage
from connectors.notices.settings import NoticesSettings
from schemas.codec import Codec, CodecError
from schemas.records import Notice
from streams.kafka.log import Committed
from streams.notices.grouping import TargetGroups
from streams.telemetry.metrics import Metrics

logger = structlog.get_logger(__name__)

_POLL_S = 1.0
_SEEN = 20_000
_RETRY_S, _RETRY_CAP_S = 5.0, 300.0

#: A target's name, and what is wrong with it; None: nothing.
OnTarget = Callable[[str, str | None], None]


class Sender(Protocol):
    """A target as it is reached: `connectors.notices`."""

    async def send(self, message: DigestMessage) -> None:
        """Deliver; `RejectedError`: this very message is refused; another `ConnectorError`: try again."""

    async def close(self) -> None: ...


class NoticeReader(Protocol):
    """The topic; `streams.kafka.group.GroupConsumer`."""

    @property
    def assigned(self) -> Mapping[int, int]: ...
    async def poll(self, timeout_s: float) -> Sequence[Record]: ...
    async def commit(self, positions: Mapping[int, Committed]) -> None: ...


class CommittedPlaces(Protocol):
    """What the group has committed; `streams.kafka.log.Log`."""

    async def committed(self, group: str) -> dict[tuple[str, int], Committed]: ...


@dataclass(slots=True)
class _NoticeTarget:
    name: str
    sender: Sender
    groups: TargetGroups
    sending: asyncio.Task[None] | None = None


class Notifier:
    """Lifecycle: `run` once; it ends when told to stop, or with a `LogError`.

    Args:
        settings: `[notices]`.
        senders: By name of the target.
        reader: A member of the group.
        places: Asked when a partition is assigned.
        topic: The broker's name of `notices`.
        group: Of the reader.
        codec: Reads notices.
        clock: The time.
        random: For the pauses.
        metrics: What is delivered, waits, and was given up.
        on_target: Told when a target does not take a message, and when it takes one again.
    """

    def __init__(
        self,
        settings: NoticesSettings,
        senders: Mapping[str, Sender],
        reader: NoticeReader,
        places: CommittedPlaces,
        topic: str,
        group: str,
        codec: Codec,
        clock: Clock,
        random: Random,
        metrics: Metrics,
        on_target: OnTarget = lambda _name, _why: None,
    ) -> None:
        self._settings, self._reader, self._places = settings, reader, places
        self._topic, self._group, self._codec = topic, group, codec
        self._clock, self._metrics, self._on_target = clock, metrics, on_target
        self._pause = FullJitter(random, _RETRY_S, _RETRY_CAP_S)
        self._targets = [
            _NoticeTarget(name, senders[name], TargetGroups(target, settings.group_wait_s, settings.group_interval_s))
            for name, target in settings.targets.items()
        ]
        self._assigned: dict[int, int] = {}
        self._committed: dict[int, Committed] = {}
        self._seen: OrderedDict[str, None] = OrderedDict()

    async def run(self, stop: asyncio.Event) -> None:
        """Read and deliver until told to stop; what is under way then is delivered by whoever comes next.

        Raises:
            LogError: The topic cannot be read.
        """
        try:
            while not stop.is_set():
                await self.step()
        finally:
            tasks = [target.sending for target in self._targets if target.sending is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(LogError):
                await self._commit()

    async def step(self) -> None:
        """Read once, start what is due, commit what has been told.

        Raises:
            LogError: The topic cannot be read.
        """
        records = await self._reader.poll(_POLL_S)
        await self._follow_assignment()
        for record in records:
            if record.partition in self._assigned:
                self._take(record)
        now_s = self._clock.monotonic()
        for target in self._targets:
            if target.sending is not None and target.sending.done():
                target.sending.result()
                target.sending = None
            if target.sending is None and (message := target.groups.next_message(now_s)) is not None:
                target.sending = asyncio.create_task(self._deliver(target, message))
            self._metrics.notices_undelivered(target.name).set(target.groups.waiting)
        with contextlib.suppress(LogError):  # the next step commits more
            await self._commit()

    # ---- reading

    async def _follow_assignment(self) -> None:
        assigned = dict(self._reader.assigned)
        if assigned == self._assigned:
            return
        for partition, number in self._assigned.items():
            if assigned.get(partition) != number:
                self._committed.pop(partition, None)
                for target in self._targets:
                    target.groups.revoke(partition)
        new = [partition for partition, number in assigned.items() if self._assigned.get(partition) != number]
        places = await self._places.committed(self._group) if new else {}
        for partition in new:
            place = places.get((self._topic, partition), Committed(0, ""))
            told = _told_in(place.metadata)
            for target in self._targets:
                target.groups.assign(partition, max(place.offset, told.get(target.name, 0)))
        self._assigned = assigned

    def _take(self, record: Record) -> None:
        try:
            notice = self._codec.decode(record.value or b"", Notice)
        except CodecError as error:
            logger.warning(
                "a notice cannot be read", partition=record.partition, offset=record.offset, error=str(error)
            )
            notice = None
        is_new = notice is not None and notice.id not in self._seen
        age_s = 0.0 if notice is None else (self._clock.now() - notice.at).total_seconds()
        for target in self._targets:
            if notice is not None and is_new and age_s <= self._settings.give_up_after_s:
                target.groups.add(record.partition, record.offset, notice, self._clock.monotonic())
            else:
                target.groups.passed(record.partition, record.offset)
        if notice is not None:
            self._seen[notice.id] = None
            self._seen.move_to_end(notice.id)
            if len(self._seen) > _SEEN:
                self._seen.popitem(last=False)

    # ---- delivering

    async def _deliver(self, target: _NoticeTarget, message: DigestMessage) -> None:
        """Send until it is taken, refused for good, or too old; then the next one may go."""
        delivered = await self._send(target, message)
        count = target.groups.settle()
        counter = self._metrics.notices_delivered if delivered else self._metrics.notices_given_up
        counter(target.name).inc(count)
        if not delivered:
            logger.error("notices given up", target=target.name, items=count)

    async def _send(self, target: _NoticeTarget, message: DigestMessage) -> bool:
        deadline_s = self._clock.monotonic() + self._settings.give_up_after_s
        attempt = 0
        while True:
            try:
                await target.sender.send(message)
            except ConnectorError as error:
                if attempt == 0:
                    logger.warning("notices not delivered", target=target.name, error=str(error))
                self._on_target(target.name, str(error))
                if isinstance(error, RejectedError):
                    return False
                asked_s = error.retry_after_s if isinstance(error, RetriableError) else None
                pause_s = max(_RETRY_S, self._pause.wait_s(attempt, asked_s))
            else:
                self._on_target(target.name, None)
                return True
            if self._clock.monotonic() + pause_s > deadline_s:
                return False
            attempt += 1
            await asyncio.sleep(pause_s)

    # ---- committing

    async def _commit(self) -> None:
        """The lowest position of all targets, with each one's own beside it."""
        places: dict[int, Committed] = {}
        for partition in self._assigned:
            told = {target.name: target.groups.position(partition) for target in self._targets}
            place = Committed(min(told.values()), json.dumps(told))
            if place != self._committed.get(partition):
                places[partition] = place
        if places:
            await self._reader.commit(places)
            self._committed.update(places)


def _told_in(metadata: str) -> dict[str, int]:
    try:
        told = json.loads(metadata)
    except ValueError:
        return {}
    return (
        {str(name): place for name, place in told.items() if isinstance(place, int)} if isinstance(told, dict) else {}
    )

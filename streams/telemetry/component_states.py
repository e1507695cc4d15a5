"""Which companies, connectors and partitions of this process work, and why the others do not.

`ComponentStates` is the memory of one process: whoever finds that something does not work says so there, as often as it
likes, and `/readyz`, the metric and the log follow at once. `ComponentStateWriter` puts it into the topic
`component-state`, on every change and again and again, so that `streams status` and `streams order` know it elsewhere,
and see by the age of a record that its writer is gone.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain

import structlog
from prometheus_client import Gauge

from connectors.base.clock import Clock
from connectors.base.errors import LogError
from connectors.base.log import Outgoing
from schemas.codec import Codec
from schemas.components import HOLD_REASONS, ComponentKind
from schemas.records import ComponentState
from streams.kafka.log import Log
from streams.telemetry.families import Family
from streams.telemetry.text import bounded

logger = structlog.get_logger(__name__)

TOPIC = "component-state"
#: A state is written again after this; a reader that has seen none for three times as long knows the writer is gone.
REPEAT_S = 30.0
STALE_S = 3 * REPEAT_S
#: While something does not work the log says so this often.
REMINDER_S = 60.0
DETAIL_BYTES = 400

Key = tuple[str, str]
Listener = Callable[[ComponentState | None, ComponentState], None]
#: From the state before (None: nobody knows one) and now to what else is sent with it.
News = Callable[[ComponentState | None, ComponentState], Sequence[Outgoing]]


def no_news(_before: ComponentState | None, _now: ComponentState) -> Sequence[Outgoing]:
    """Nobody is told."""
    return ()


@dataclass(slots=True)
class _Reported:
    state: ComponentState
    count_waiting: Callable[[], int]
    said_at: float  # monotonic
    repeats: int = 0  # reports of the same since the log last spoke of it


class ComponentStates:
    """The memory of one process. No I/O, no waits: may be called from anywhere in the loop.

    Attributes:
        listeners: Called with the state before (None: the first that we know of) and after each change.
        changed: Set when there is something that the topic does not know yet.
    """

    def __init__(self, held: Family[Gauge], clock: Clock) -> None:
        self._held, self._clock = held, clock
        self._worker = f"{socket.gethostname()}:{os.getpid()}"
        self._reported: dict[Key, _Reported] = {}
        self._counts: dict[Key, Callable[[], int]] = {}
        self.listeners: list[Listener] = []
        self.changed = asyncio.Event()

    def report(self, kind: ComponentKind, name: str, reason: str | None = None, detail: str | None = None) -> None:
        """Say where a component stands; the same again changes nothing.

        Args:
            kind: What it is.
            name: Of the company, of the connector, or `topic/partition` without the prefix.
            reason: A name of `schemas.components.HOLD_REASONS`; None: it works.
            detail: B1's, the vendor's or our own words; cut to `DETAIL_BYTES`. No secrets, no personal data.
        """
        row = None if reason is None else HOLD_REASONS[reason]
        now, key = self._clock.now(), (kind, name)
        known = self._reported.get(key)
        words = bounded(detail, DETAIL_BYTES) if detail and row is not None else None
        before = None if known is None else known.state
        if known is not None and before is not None and before.reason == reason:
            known.state = replace(before, detail=words)
            known.repeats += 1
            return
        state = ComponentState(
            kind=kind,
            name=name,
            state="ok" if row is None else row.state,
            reason=reason,
            detail=words,
            since=now,
            owner=None if row is None else row.owner,
            at=now,
            worker=self._worker,
        )
        self._reported[key] = _Reported(state, self._counts.get(key, lambda: 0), self._clock.monotonic())
        if before is not None and before.reason is not None:
            self._held(kind, name, before.reason).set(0)
        if reason is not None:
            self._held(kind, name, reason).set(1)
        if before is not None or reason is not None:
            self._say(state, "does not work" if reason is not None else "works again")
        self.changed.set()
        for listener in self.listeners:
            listener(before, state)

    def count_by(self, kind: ComponentKind, name: str, count_waiting: Callable[[], int]) -> None:
        """How many postings or events wait for a component; asked whenever its state is shown."""
        self._counts[kind, name] = count_waiting
        if (known := self._reported.get((kind, name))) is not None:
            known.count_waiting = count_waiting

    def forget(self, kind: ComponentKind, name: str) -> None:
        """It is another process's from now on: what it says counts, and what we knew is dropped."""
        self._counts.pop((kind, name), None)
        known = self._reported.pop((kind, name), None)
        if known is not None and known.state.reason is not None:
            self._held(kind, name, known.state.reason).set(0)

    def remember(self, published: Iterable[ComponentState]) -> None:
        """What was published before us: something that goes on for the same reason has done so since then."""
        for earlier in published:
            known = self._reported.get((earlier.kind, earlier.name))
            if known is not None and known.state.reason == earlier.reason and earlier.since < known.state.since:
                known.state = replace(known.state, since=earlier.since)

    def all(self) -> list[ComponentState]:
        """Everything that this process knows, by kind and name, as of now."""
        now = self._clock.now()
        return [
            replace(known.state, waiting=known.count_waiting(), at=now)
            for _, known in sorted(self._reported.items(), key=lambda item: item[0])
        ]

    def not_working(self) -> list[ComponentState]:
        """What is away or held."""
        return [state for state in self.all() if state.reason is not None]

    def remind(self) -> None:
        """Say again, once a minute, what goes on not working."""
        now = self._clock.monotonic()
        for known in self._reported.values():
            if known.state.reason is not None and now - known.said_at >= REMINDER_S:
                self._say(replace(known.state, waiting=known.count_waiting()), "still does not work", known.repeats)
                known.said_at, known.repeats = now, 0

    def _say(self, state: ComponentState, what: str, repeats: int = 0) -> None:
        row = HOLD_REASONS.get(state.reason or "")
        say = logger.info if row is None else logger.error if row.state == "held" else logger.warning
        name = state.name if state.name == state.kind else f"{state.kind} {state.name}"
        say(
            f"{name} {what}{': ' + row.words if row else ''}",
            reason=state.reason,
            owner=state.owner,
            error=state.detail,
            remedy=row.remedy if row else None,
            since=state.since.isoformat(timespec="seconds"),
            count=state.waiting,
            tries=repeats,
        )


class ComponentStateWriter:
    """Publishes what the memory knows.

    Lifecycle: `run` as a task, cancelled at the stop.
    """

    def __init__(self, states: ComponentStates, log: Log, codec: Codec, topic: str, news: News = no_news) -> None:
        """`topic` is the broker's name of `TOPIC`, `news` makes the records that go out with a change."""
        self._states, self._log, self._codec, self._topic, self._news = states, log, codec, topic, news
        self._published: dict[Key, ComponentState] | None = None

    async def run(self) -> None:
        """Write on every change, and everything every `REPEAT_S`; what Kafka does not take now is written later."""
        while True:
            with contextlib.suppress(LogError):
                await self.publish()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPEAT_S):
                    await self._states.changed.wait()

    async def publish(self) -> None:
        """Write everything once.

        Raises:
            LogError: Kafka did not take it, or not all of it.
        """
        self._states.changed.clear()
        before = self._published
        # Of Kafka each process knows for itself, and while it is away it takes no record that says so.
        states = [state for state in self._states.all() if state.kind != "kafka"]
        if before is None or any((state.kind, state.name) not in before for state in states):
            published = await read(self._log, self._topic, self._codec)
            self._states.remember(published)
            before = {(state.kind, state.name): state for state in published} | (before or {})
            states = [state for state in self._states.all() if state.kind != "kafka"]
        records = [
            Outgoing(topic=self._topic, partition=0, key=key_of(state), value=self._value(state))
            for state in states
            if not _is_normal(state) or _is_held(before.get((state.kind, state.name)))
        ]
        news = [self._news(before.get((state.kind, state.name)), state) for state in states]
        await self._log.send_many([*records, *chain.from_iterable(news)])
        self._published = {(state.kind, state.name): state for state in states}

    def _value(self, state: ComponentState) -> bytes | None:
        return None if _is_normal(state) else self._codec.encode(state)


async def read(log: Log, topic: str, codec: Codec) -> list[ComponentState]:
    """The last published state of every component; `topic` is the broker's name.

    Raises:
        LogError: The broker cannot be reached.
        CodecError: One was written by something newer than we are.
    """
    found: dict[bytes, bytes] = {}
    start, end = await log.bounds(topic, 0)
    async with aclosing(log.read(topic, 0, start, end)) as batches:
        async for records in batches:
            for record in records:
                if record.key is not None and record.value is not None:
                    found[record.key] = record.value
                elif record.key is not None:
                    found.pop(record.key, None)
    return [codec.decode(value, ComponentState) for _, value in sorted(found.items())]


async def retire(log: Log, topic: str, kind: ComponentKind, name: str) -> None:
    """Take a component out of the topic: it was taken out of the configuration for good.

    Raises:
        LogError: Kafka did not take it.
    """
    await log.send(topic, 0, f"{kind}/{name}".encode(), None)


def _is_normal(state: ComponentState) -> bool:
    """A partition that is read, as nearly all of them always are: the topic says nothing of it."""
    return state.kind == "partition" and state.reason is None


def _is_held(state: ComponentState | None) -> bool:
    return state is not None and state.reason is not None


def key_of(state: ComponentState) -> bytes:
    return f"{state.kind}/{state.name}".encode()


def age_s(state: ComponentState, now: datetime) -> float:
    """How long ago its writer last spoke of it."""
    return max(0.0, (now - state.at).total_seconds())

"""One connector's writing side at work: keeps its channel as B1 says it ought to be, each thing said once.

Everything is written down before it is sent, with the exact content; what has no known end is sent again as it was
written, and the sink looks before it writes (contract "Out of B1", architecture section 9.2).
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Any

import structlog

from connectors.base.clock import Clock
from connectors.base.cursors import Cursors, Position
from connectors.base.errors import LogError, OutcomeUnknownError, RetriableError
from connectors.base.retry import FullJitter, wait
from connectors.base.settings import OutSettings
from connectors.base.sink import ChannelEffect, Delivered, Sink
from schemas.readings import EffectState
from streams.delivery.feed import LOOK_S, CompanyFeed
from streams.delivery.names import ReceiverNames
from streams.delivery.plan import Planner
from streams.delivery.states import EffectStates
from streams.delivery.view import Changes
from streams.delivery.wanted import Subject, Wanted, Wants

log = structlog.get_logger(__name__)

#: Effects that say a figure, and under which name.
FIGURES = {"stock_level": "sellable", "price_changed": "price"}
#: Effects of one call of a sink.
BATCH = 200
BACK_OFF_BASE_S, BACK_OFF_CAP_S = 0.5, 60.0
#: Failures in a row of which nobody is told.
FAILURES_UNSAID = 3
#: An effect that never has an end is given up after so many tries, and no sooner than after so long.
TRIES, TRIED_S = 20, 600.0


@dataclass(frozen=True, slots=True)
class OutPosition:
    """What a deliverer has behind it; lies as JSON in `Position.cursor`.

    Attributes:
        start: When it first began: deliveries before it are not sent.
        read: Next offset of each partition of readings that was seen through, as `topic/partition`.
    """

    start: datetime
    read: dict[str, int]

    def to_text(self) -> str:
        shown = {"start": self.start.isoformat(), "read": self.read}
        return json.dumps(shown, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> "OutPosition":
        """Read what `to_text` wrote.

        Raises:
            ValueError, KeyError: It is something else.
        """
        found = json.loads(text)
        return cls(datetime.fromisoformat(found["start"]), found["read"])


class Deliverer:
    """One connector's writing side.

    Lifecycle: `run` once; it ends when `stop` is set, after the batch under way, or with an error. What was under way
    when it is cancelled is resolved by whoever comes next.

    Args:
        connector: Its name.
        company: Its company.
        out: What it receives.
        names: What it calls things.
        start_at: Deliveries made before it are not sent; None: before the first start.
        currency: The company's.
        on_state: Told why its channel goes on failing, and with None that it works.
        on_ended: Told of effects that ended: type, outcome, how many.
    """

    def __init__(
        self,
        connector: str,
        company: str,
        out: OutSettings,
        names: ReceiverNames,
        *,
        feed: CompanyFeed,
        sink: Sink,
        states: EffectStates,
        cursors: Cursors,
        clock: Clock,
        start_at: datetime | None,
        currency: str,
        random: Random | None = None,
        on_state: Callable[[str | None], None] = lambda _why: None,
        on_ended: Callable[[str, str, int], None] = lambda _type, _outcome, _count: None,
    ) -> None:
        self._connector, self._company, self._out, self._names = connector, company, out, names
        self._feed, self._sink, self._states, self._cursors, self._clock = feed, sink, states, cursors, clock
        self._start_at, self._currency = start_at, currency
        self._back_off = FullJitter(random or Random(), BACK_OFF_BASE_S, BACK_OFF_CAP_S)  # noqa: S311 -- no secret
        self._on_state, self._on_ended = on_state, on_ended
        self._loaded = False
        self._unanswered = 0  # calls of the channel in a row
        self._changes: Changes | None = None
        self._pending: dict[Subject, Wanted] = {}
        self._position: OutPosition
        self._wants: Wants
        self._planner: Planner

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the channel as it ought to be until told to stop.

        Raises:
            LostRaceError: Another process has this connector now.
            FatalError: A person has to act.
        """
        unread = 0
        try:
            while not stop.is_set():
                try:
                    wait_s = await self._turn(stop)
                    unread = 0
                except LogError as error:
                    if not isinstance(error, RetriableError):
                        raise
                    # Nobody knows which of our records Kafka has
                    self._loaded, unread = False, unread + 1
                    wait_s = self._failed(error, unread)
                except (RetriableError, OutcomeUnknownError) as error:
                    self._unanswered += 1
                    wait_s = self._failed(error, self._unanswered)
                else:
                    if not self._unanswered:
                        self._on_state(None)
                await wait(stop, wait_s)
        finally:
            if self._changes is not None:
                self._feed.view.unwatch(self._changes)
            await self._sink.close()

    def _failed(self, error: RetriableError | OutcomeUnknownError, failures: int) -> float:
        """How long to wait after so many failures in a row."""
        if failures >= FAILURES_UNSAID:
            self._on_state(str(error))
        log.warning("delivery_failed", connector=self._connector, error=str(error), failures=failures)
        return self._back_off.wait_s(failures, getattr(error, "retry_after_s", None))

    async def _turn(self, stop: asyncio.Event) -> float:
        """See through what has changed; how long nothing is due."""
        await self._feed.sync()
        if not self._loaded:
            await self._load()
        assert self._changes is not None  # noqa: S101 -- _load has made it
        now, read = self._clock.now(), dict(self._feed.read)
        for want in self._wants.of(self._changes.take(), self._states.by_subject, now):
            if want.content is None and want.subject not in self._states.by_subject:
                self._pending.pop(want.subject, None)
            else:
                self._pending[want.subject] = want
        plan = self._planner.plan(self._pending.values(), self._states.by_subject, now)
        outlived = self._states.outlived(now)
        if plan.write or outlived:
            await self._fence()
            await self._states.write(await self._compared(plan.write))
            await self._states.forget(outlived, now)
        waiting = {state.subject for state in plan.send} | plan.waiting
        self._pending = {subject: want for subject, want in self._pending.items() if subject in waiting}
        for at in range(0, len(plan.send), BATCH):
            if stop.is_set():
                return 0.0
            await self._send(plan.send[at : at + BATCH])
        await self._note(read)
        if self._changes:
            return 0.0
        due_s = LOOK_S if plan.next_at is None else max(0.0, (plan.next_at - self._clock.now()).total_seconds())
        return min(LOOK_S, due_s)

    async def _load(self) -> None:
        await self._cursors.load()
        await self._states.load()
        text = self._cursors.position.cursor
        found = OutPosition.from_text(text) if text is not None else None
        self._position = found or OutPosition(self._start_at or self._clock.now(), {})
        if self._changes is not None:
            self._feed.view.unwatch(self._changes)
        self._pending, self._changes = {}, self._feed.view.watch()
        self._wants = Wants(
            self._connector,
            self._out,
            self._names,
            self._feed.view,
            start=self._start_at or self._position.start,
            currency=self._currency,
        )
        self._planner = Planner(self._connector, self._company, self._out, self._cursors.number)
        if found is None:
            await self._fence()
        self._loaded = True

    async def _compared(self, states: Sequence[EffectState]) -> list[EffectState]:
        """Figures that shadow mode would write, beside what the channel shows; what it shows already is no change."""
        asked = [each for each in states if each.state == "shadow" and each.type in FIGURES]
        shown: dict[str, str | None] = {}
        for at in range(0, len(asked), BATCH):
            effects = [_effect(each, doubtful=False) for each in asked[at : at + BATCH]]
            shown |= await self._sink.current(effects)
        found = []
        for state in states:
            figure = shown.get(state.k)
            is_same = figure is not None and Decimal(figure) == Decimal(figure_of(state))
            found.append(replace(state, shown=figure, state="no_op") if is_same else replace(state, shown=figure))
        return found

    # ---- sending ----------------------------------------------------------------------------------------------------

    async def _send(self, states: Sequence[EffectState]) -> None:
        doubtful = {each.k for each in states if self._is_doubtful(each)}
        states = [replace(each, attempts=each.attempts + 1) for each in states]
        await self._fence()
        await self._states.write(states)
        results: dict[str, Delivered] = {}
        try:
            delivered = await self._sink.deliver([_effect(each, doubtful=each.k in doubtful) for each in states])
            results = {each.k: each for each in delivered}
        finally:
            # A turn that was cut off leaves them as they are written: whoever comes next looks before it writes
            if results:
                await self._end([(each, results[each.k]) for each in states if each.k in results])
        away = [each for each in results.values() if each.outcome == "away"]
        if away:
            asked = max((each.retry_after_s for each in away if each.retry_after_s), default=None)
            raise RetriableError(away[0].error or "the channel is away", retry_after_s=asked)
        self._unanswered = 0

    def _is_doubtful(self, state: EffectState) -> bool:
        known = self._states.by_subject.get(state.subject)
        return known is not None and known.state == "sending" and known.k == state.k

    async def _end(self, results: Sequence[tuple[EffectState, Delivered]]) -> None:
        now = self._clock.now()
        ended = [state for each, result in results if (state := _ended(each, result, now)) is not None]
        await self._states.write(ended)
        for state in ended:
            want = self._pending.get(state.subject)
            if want is not None and state.state != "sent":
                self._pending.pop(state.subject)
            self._look_again(state.subject)
        for name, count in Counter(state.type for state in ended if state.state == "sent").items():
            self._on_ended(name, "sent", count)
        for name, count in Counter(state.type for state in ended if state.state == "dead").items():
            self._on_ended(name, "refused", count)

    def _look_again(self, subject: Subject) -> None:
        """What follows from what was just said: another revision, a correction, a newer figure."""
        assert self._changes is not None  # noqa: S101 -- _load has made it
        if subject[0] == "order" and int(subject[1]) in self._feed.view.orders:
            self._changes.orders.add(int(subject[1]))
        elif subject[0] == "delivery" and int(subject[1]) in self._feed.view.deliveries:
            self._changes.deliveries.add(int(subject[1]))

    # ---- place ------------------------------------------------------------------------------------------------------

    async def _note(self, read: dict[tuple[str, int], int]) -> None:
        """Write down what is behind us, where it has moved."""
        position = OutPosition(
            self._position.start,
            {f"{topic}/{partition}": offset for (topic, partition), offset in sorted(read.items())},
        )
        if position != self._position:
            self._position = position
            await self._fence()

    async def _fence(self) -> None:
        """Go on only where nobody else has taken the connector.

        Raises:
            LostRaceError: Somebody has.
        """
        await self._cursors.advance(Position(self._position.to_text()))


def figure_of(state: EffectState) -> str:
    """The figure of a level or a price that is to be said, as exact decimal text."""
    return str(json.loads(state.content)[FIGURES[state.type]])


def _effect(state: EffectState, *, doubtful: bool) -> ChannelEffect:
    content: dict[str, Any] = json.loads(state.content)
    return ChannelEffect(
        k=state.k,
        type=state.type,  # type: ignore[arg-type]  # one of them: `wanted` made it
        content=content,
        as_of=state.as_of,
        before=json.loads(state.sent) if state.sent is not None else None,
        doubtful=doubtful,
        ref=state.ref,
        order_source=state.order_source,
    )


def _ended(state: EffectState, result: Delivered, now: datetime) -> EffectState | None:
    """The state that a result makes; None: it has no end yet."""
    match result.outcome:
        case "sent":
            return replace(
                state,
                state="sent",
                sent=state.content,
                sent_type=state.type,
                sent_at=now,
                taken=state.taken + 1,
                ref=result.ref or state.ref,
                reason=None,
                error=None,
                at=now,
            )
        case "refused":
            return replace(state, state="dead", reason=result.reason or "channel_refused", error=result.error, at=now)
        case _:
            tried_s = (now - state.since).total_seconds()
            if result.outcome == "unknown" and state.attempts >= TRIES and tried_s >= TRIED_S:
                error = f"no known end after {state.attempts} tries: {result.error or 'the channel does not say'}"
                return replace(state, state="dead", reason="channel_refused", error=error, at=now)
            return None

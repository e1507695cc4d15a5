"""Asks something of many dead letters and waits for what comes of each.

One after the other within an order and within an item, all others side by side. Progress is read from the states of the
dead letters alone, so a run that was killed is simply run again, and two at once do not disturb each other: what has
moved on since a run looked is never tried a second time (architecture section 7.2).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from connectors.base.clock import Clock
from schemas.letters import OPEN_STATES
from schemas.records import DeadLetterState

Result = Literal["posted", "already_there", "failed", "waiting", "discarded", "skipped"]
_ENDS: Mapping[str, Result] = {
    "posted": "posted",
    "no_op": "already_there",
    "replayed": "already_there",
    "discarded": "discarded",
    "dead": "failed",
    "parked": "waiting",
    "held": "waiting",
}
#: A run asks no more of the posters at once.
_AT_ONCE = 200
_POLL_S = 0.2


class Answer(NamedTuple):
    """What has come of a dead letter, and why where it is not done."""

    result: Result
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A dead letter of which something has been asked.

    Attributes:
        letter: As it stood then.
        ended: What has come of it, where its state does not say; None: look at its state.
    """

    letter: DeadLetterState
    ended: Callable[[], Awaitable[Answer | None]] | None = None


class Desk(Protocol):
    """How a run asks and sees what comes of it."""

    @property
    def command(self) -> str:
        """The id that states name which it has brought about."""

    async def states(self) -> Mapping[str, DeadLetterState]:
        """All as they stand."""

    async def ask(self, letters: Sequence[DeadLetterState]) -> Sequence[Asked]:
        """Ask it of these; answers in the same order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a run goes, and when it gives up.

    Attributes:
        rate: Dead letters a second; None: as fast as they are answered.
        ramp: The shares of all after which a run waits for every answer before it goes on.
        stop_at: The share of failures among at least `stop_after` answers at which it stops.
        patience_s: How long it waits without any answer.
    """

    rate: float | None = None
    ramp: tuple[float, ...] = (1.0,)
    stop_at: float = 1.1
    stop_after: int = 20
    patience_s: float = 120.0


@dataclass(slots=True)
class RunTally:
    """What a run has come to.

    Attributes:
        results: By id; ids that nothing was asked of are missing.
        why: In words, where something failed or waits.
        stopped: Why the run ended before its end; None: it did not.
        unanswered: Companies whose poster has not answered, and what is known to be wrong there.
    """

    results: dict[str, Result] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    stopped: str | None = None
    unanswered: dict[str, str] = field(default_factory=dict)

    def count(self, *results: Result) -> int:
        return sum(result in results for result in self.results.values())


class LetterRun:
    """One run over some dead letters.

    Attributes:
        tally: What it has come to so far.
    """

    def __init__(
        self, desk: Desk, clock: Clock, pace: Pace, on_progress: Callable[[RunTally], None] = lambda _: None
    ) -> None:
        self.tally = RunTally()
        self._desk, self._clock, self._pace, self._on_progress = desk, clock, pace, on_progress
        self._before: dict[str, str | None] = {}
        self._asked: dict[str, Asked] = {}
        self._lanes: dict[object, deque[str]] = {}

    async def run(self, letters: Iterable[DeadLetterState]) -> RunTally:
        """Ask it of each and return when every one has been answered, or the patience has ended.

        Raises:
            LogError: The broker does not answer; what was asked is carried out all the same.
        """
        ordered = sorted(letters, key=_place)
        self._before = {letter.id: letter.command for letter in ordered}
        for share in self._pace.ramp:
            stage = ordered[: max(1, round(len(ordered) * share))] if share < 1 else ordered
            if not await self._stage([one for one in stage if one.id not in self.tally.results]):
                break
        return self.tally

    async def _stage(self, letters: Sequence[DeadLetterState]) -> bool:
        """Whether the run may go on after these."""
        self._lanes = {}
        for letter in letters:
            self._lanes.setdefault(_lane(letter), deque()).append(letter.id)
        started = heard = self._clock.monotonic()
        sent = 0
        while self._lanes or self._asked:
            states, now = await self._desk.states(), self._clock.monotonic()
            if await self._collect(states):
                heard = now
                self._on_progress(self.tally)
            if self._fails_too_often():
                self._lanes = {}
            limit = _AT_ONCE - len(self._asked)
            if self._pace.rate is not None:
                limit = min(limit, 1 + int((now - started) * self._pace.rate) - sent)
            ready = self._next(states, limit)
            if ready:
                for asked in await self._desk.ask(ready):
                    self._asked[asked.letter.id] = asked
                sent, heard = sent + len(ready), self._clock.monotonic()
            elif self._asked and now - heard >= self._pace.patience_s:
                self._give_up()
                return False
            if self._lanes or self._asked:
                await asyncio.sleep(_POLL_S)
        return self.tally.stopped is None

    def _next(self, states: Mapping[str, DeadLetterState], limit: int) -> list[DeadLetterState]:
        """The heads of lanes that nothing has been asked of; what has ended by itself is counted and passed over."""
        ready: list[DeadLetterState] = []
        for lane in list(self._lanes) if limit > 0 else ():
            if len(ready) >= limit:
                break
            ids = self._lanes[lane]
            while ids and ids[0] not in self._asked and len(ready) < limit:
                letter = states.get(ids[0])
                if letter is not None and letter.state in OPEN_STATES:
                    ready.append(letter)
                    break
                answer = self._answer_in(letter)
                self.tally.results[ids.popleft()] = "skipped" if answer.result == "discarded" else answer.result
            if not ids:
                del self._lanes[lane]
        return ready

    async def _collect(self, states: Mapping[str, DeadLetterState]) -> bool:
        """Count what has been answered; whether anything was."""
        answered = False
        for id_, asked in list(self._asked.items()):
            letter = states.get(id_)
            answer = await asked.ended() if asked.ended is not None else None
            if answer is None and (asked.ended is None or (letter is not None and letter.state in OPEN_STATES)):
                moved = letter is None or letter.at != asked.letter.at
                answer = self._answer_in(letter) if moved else None
            if answer is None:
                continue
            answered = True
            del self._asked[id_]
            self.tally.results[id_] = answer.result
            if answer.why is not None:
                self.tally.why[id_] = answer.why
            ids = self._lanes.get(_lane(asked.letter))
            if ids is not None and ids and ids[0] == id_:
                ids.popleft()
        return answered

    def _answer_in(self, letter: DeadLetterState | None) -> Answer:
        """What a state that has moved says; what another person's command has brought about is there already."""
        if letter is None:
            return Answer("already_there")
        result = _ENDS[letter.state]
        if result == "posted" and letter.command not in (self._before.get(letter.id), self._desk.command):
            result = "already_there"
        return Answer(result, letter.error if letter.state in OPEN_STATES else None)

    def _fails_too_often(self) -> bool:
        ended, failed = len(self.tally.results), self.tally.count("failed")
        if self.tally.stopped is None and ended >= self._pace.stop_after and failed / ended >= self._pace.stop_at:
            self.tally.stopped = f"{failed} of the first {ended} failed: find out why, then go on"
        return self.tally.stopped is not None

    def _give_up(self) -> None:
        for id_, asked in self._asked.items():
            self.tally.results[id_] = "waiting"
            self.tally.why[id_] = "no answer yet"
            self.tally.unanswered[asked.letter.company] = ""
        self._asked, self._lanes = {}, {}


def _place(letter: DeadLetterState) -> tuple[int, object, str]:
    return letter.sequence, letter.first_failed_at, letter.id


def _lane(letter: DeadLetterState) -> object:
    """What must go one after the other: an order's events, an item's movements."""
    if letter.order_id is not None:
        return letter.company, "order", letter.order_id
    return letter.company, "item", letter.sku or letter.id

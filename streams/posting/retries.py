"""Takes open dead letters up again: what an outcome releases, what is due, what B1 applied late.

One that cannot be taken up stops no other (architecture section 15.14).
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, Protocol

import structlog

from connectors.sap_b1 import claims
from connectors.sap_b1.service_layer import ServiceLayer
from schemas.letters import REASONS
from schemas.records import DeadLetterState, LetterCommand
from streams.dead_letters.index import OpenDeadLetter
from streams.ports import Ports
from streams.posting import schedule
from streams.posting.admission import AdmittedKeys
from streams.posting.dead_letters import BytesGoneError, CompanyDeadLetters
from streams.posting.endings import Released
from streams.posting.erp import Erp
from streams.posting.in_flight import InFlightPosting
from streams.posting.lifecycle import State, Trigger, follow
from streams.posting.sequencer import CancellationBarrier, InputReading

logger = structlog.get_logger(__name__)

#: How often open dead letters are looked through, how often the states that others write are read, and how often what
#: is held is looked at though nothing has released it.
_TICK_S, _SYNC_INTERVAL_S, _HELD_INTERVAL_S = 1.0, 5.0, 60.0
#: The reason of a dead letter without bytes: it goes on holding its order, and only its source can remedy it.
_WITHOUT_BYTES = "poison"


def _nothing() -> None:
    """Nobody waits for it."""


class Spawn(Protocol):
    """Starts a task that its owner watches."""

    def __call__(self, coroutine: Coroutine[Any, Any, None], name: str) -> None: ...


class DeadLetterRetries:
    """Lifecycle: `release` as events of orders end; `retry_waiting` and `adopt_late_writes` run until cancelled."""

    def __init__(
        self,
        company: str,
        dead_letters: CompanyDeadLetters,
        keys: AdmittedKeys,
        barrier: CancellationBarrier,
        erp: Erp,
        service_layer: ServiceLayer,
        ports: Ports,
        *,
        start: Callable[[InFlightPosting], None],
        spawn: Spawn,
    ) -> None:
        """`start` puts a posting in flight."""
        self._company, self._dead_letters, self._keys, self._erp = company, dead_letters, keys, erp
        self._barrier = barrier
        self._unread: dict[str, InputReading] = {}  # by id: what is read before a wait that is too old is given up
        self._service_layer, self._clock, self._start, self._spawn = service_layer, ports.clock, start, spawn

    def release(self, released: Released | None) -> None:
        """An event of the order has ended or changed its state: what waits for it may go on."""
        if released is None:
            return
        for entry, trigger in schedule.released(self._dead_letters.index, released.order_id, ended=released.ended):
            entry.in_flight = True
            self._spawn(self._take_up(entry, trigger), "posting")

    async def retry_waiting(self) -> None:
        """Level-triggered: what is due is tried again, whatever wake-up was missed (architecture section 15.10)."""
        index, clock = self._dead_letters.index, self._clock
        synced = clock.monotonic()
        looked_at_held = float("-inf")
        while True:
            now = clock.monotonic()
            if now - looked_at_held >= _HELD_INTERVAL_S:
                self._release_held()
                looked_at_held = now
            await asyncio.sleep(_TICK_S)
            now = clock.monotonic()
            could_ask = self._erp.breaker.is_closed and self._dead_letters.is_read
            self._dead_letters.wait_clock.tick(now, counts=could_ask)
            if now - synced >= _SYNC_INTERVAL_S:
                await self._dead_letters.try_sync()
                synced = now
            if self._erp.breaker.is_closed:
                for entry in schedule.due(index.open(), now, parked=True):
                    await self._take_up(entry, Trigger.DUE)

    def _release_held(self) -> None:
        held = (entry.letter.order_id for entry in self._dead_letters.index.open() if entry.letter.state == "held")
        for order_id in dict.fromkeys(held):
            if order_id is not None:
                self.release(Released(order_id, ended=False))

    async def adopt_late_writes(self) -> None:
        """Close what was refused or held although a request for it was under way that has been applied since."""
        index, clock = self._dead_letters.index, self._clock
        while True:
            await asyncio.sleep(_TICK_S)
            due = list(islice(schedule.due(index.open(), clock.monotonic(), parked=False), claims.KS_PER_QUERY))
            if not due:
                continue
            ks = [entry.letter.k or "" for entry in due]
            there = await self._erp.ask(partial(claims.look_up, self._service_layer, ks))
            for entry in due:
                entry.retry = schedule.next_look(entry.letter, entry.retry, clock.now(), clock.monotonic())
                if entry.letter.k in there and not entry.in_flight and index.get(entry.letter.id) is entry:
                    await self._take_up(entry, None)

    async def replay(
        self, entry: OpenDeadLetter, command: LetterCommand, finish: Callable[[], None], *, only_look: bool = False
    ) -> None:
        """Take up a dead letter because a person asks for it; `finish` is called when its state says what came of it.

        `only_look`: take over what B1 has of it, and send nothing.
        """
        await self._take_up(entry, None if only_look else Trigger.REPLAY, command, finish)

    async def _take_up(
        self,
        entry: OpenDeadLetter,
        trigger: Trigger | None,
        command: LetterCommand | None = None,
        finish: Callable[[], None] = _nothing,
    ) -> None:
        """Post the bytes of a dead letter again, under its own K; without a trigger only look whether B1 has it."""
        entry.in_flight = True
        letter = entry.letter
        try:
            if trigger is not None:
                follow(State(letter.state), trigger)
            posting, event = await self._dead_letters.posting_of(letter)
            if trigger is Trigger.DUE and schedule.waits_for_event(letter) and self._dead_letters.is_overdue(entry):
                entry.is_last_try = await self._has_read_inputs(letter)
            if posting.k in self._keys.in_flight:
                entry.in_flight = False
                finish()
                return
            work = InFlightPosting(
                posting,
                event,
                lambda _: finish(),
                letter.sequence,
                letter,
                only_look=trigger is None,
                command=command,
            )
            self._start(work)
        except BytesGoneError as gone:
            await self._give_up(entry, gone, command)
            finish()
        except Exception as error:  # noqa: BLE001 -- whatever is wrong with one of them, the others go on
            self._try_later(entry, error)
            finish()

    async def _has_read_inputs(self, letter: DeadLetterState) -> bool:
        """Whether what may release it is admitted by now: all that lay in its inputs when it was overdue."""
        reading = self._unread.pop(letter.id, None) or await self._barrier.to_the_end(letter.partition)
        if await self._barrier.is_read(reading):
            return True
        self._unread[letter.id] = reading
        return False

    async def _give_up(self, entry: OpenDeadLetter, gone: BytesGoneError, command: LetterCommand | None) -> None:
        letter, state = entry.letter, State(entry.letter.state)
        try:
            await self._dead_letters.change(
                replace(
                    letter,
                    state=follow(state, Trigger.BYTES_GONE).to.value,
                    reason=_WITHOUT_BYTES,
                    owner=REASONS[_WITHOUT_BYTES].owner,
                    error=f"{gone}; let the source send the event again, then discard this",
                    waits_for=None,
                    blocked_by=None,
                    by=letter.by if command is None else command.by,
                    command=letter.command if command is None else command.id,
                    at=self._clock.now(),
                )
            )
        except Exception as error:  # noqa: BLE001 -- as above
            self._try_later(entry, error)
        else:
            logger.error("dead letter without bytes", company=self._company, id=letter.id, error=str(gone))

    def _try_later(self, entry: OpenDeadLetter, error: Exception) -> None:
        entry.in_flight = False
        entry.retry = schedule.after_failure(entry.retry, self._clock.monotonic())
        logger.error(
            "dead letter is not taken up; tried again",
            company=self._company,
            id=entry.letter.id,
            kind=type(error).__name__,
            error=str(error),
        )

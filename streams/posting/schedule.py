"""When a dead letter is looked at again, and what an outcome releases. Pure: time is an argument."""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

from schemas.letters import RANKS, holds
from schemas.records import DeadLetterState
from streams.dead_letters.index import BEHIND_INPUTS, DeadLetterIndex, OpenDeadLetter, Retry
from streams.posting.lifecycle import Trigger

#: What a wait for B1 begins with and grows to, and how often a wait for another event is looked at again.
_RETRY_S, _RETRY_CAP_S, _RECHECK_S = 30.0, 600.0, 60.0
#: A request whose sender has gone may be applied this long after its event was refused or held: until then its claim is
#: looked up, after a minute, two, four ... (B1 itself gives up after half a minute, a proxy or a stopped machine in
#: between after some more).
LATE_WRITE_WINDOW_S = 3600.0
#: A tick after a longer time than this comes from a process that stood still: it read and asked nothing meanwhile.
_LONGEST_TICK_S = 5.0
_WAITS_FOR_EVENT = frozenset({"order_not_found", "invoice_not_found"})


def first_retry(
    letter: DeadLetterState,
    before: DeadLetterState | None,
    last: Retry,
    now: datetime,
    monotonic_s: float,
    *,
    soon: bool,
) -> Retry:
    """When a dead letter whose state has just been written or loaded is looked at.

    Args:
        letter: As it stands.
        before: As it stood.
        last: The wait that has ended.
        now: Wall-clock time.
        monotonic_s: The same moment of the monotonic clock.
        soon: At once where it waits: it was loaded, and what it waits for may have come meanwhile.
    """
    if letter.state != "parked":
        return Retry(monotonic_s + _RECHECK_S if may_land(letter, now) else None, _RECHECK_S)
    if waits_for_event(letter):
        delay_s = _RECHECK_S
    elif before is None or before.state != "parked":
        delay_s = _RETRY_S
    else:
        delay_s = min(_RETRY_CAP_S, last.delay_s * 2 or _RETRY_S)
    return Retry(monotonic_s + (0.0 if soon else delay_s), delay_s)


def next_look(letter: DeadLetterState, last: Retry, now: datetime, monotonic_s: float) -> Retry:
    """When the claim of a dead or held event is looked up the next time."""
    delay_s = min(_RETRY_CAP_S, last.delay_s * 2)
    return Retry(monotonic_s + delay_s if may_land(letter, now) else None, delay_s)


def after_failure(last: Retry, monotonic_s: float) -> Retry:
    """When a dead letter that could not be taken up, by no fault of B1's, is tried again."""
    delay_s = min(_RETRY_CAP_S, last.delay_s * 2 or _RETRY_S)
    return Retry(monotonic_s + delay_s, delay_s)


def may_land(letter: DeadLetterState, now: datetime) -> bool:
    """Whether a request for this event may be under way though it was refused.

    Ours or a predecessor's, slower than its sender.

    Not of stock: no batch is refused before its document is void.
    """
    ours = letter.k is not None and letter.event_type in RANKS and holds(letter.reason)
    return ours and (now - letter.at).total_seconds() < LATE_WRITE_WINDOW_S


class WaitClock:
    """How long waits have counted in all: while a poster was there, read its queue, and could ask B1.

    Attributes:
        counted_s: Up to the last tick.
    """

    def __init__(self) -> None:
        self.counted_s = 0.0
        self._last_s: float | None = None

    def tick(self, monotonic_s: float, *, counts: bool) -> None:
        """Called every second or so; `counts`: the time since the last tick does, unless the process stood still."""
        if counts and self._last_s is not None:
            self.counted_s += min(monotonic_s - self._last_s, _LONGEST_TICK_S)
        self._last_s = monotonic_s


def age_s(entry: OpenDeadLetter, counted_s: float) -> float:
    """How long it has been parked, as far as that counts; `counted_s`: by the clock, up to now."""
    letter = entry.letter
    waits = letter.state == "parked" and letter.waits_for != BEHIND_INPUTS
    return letter.waited_s + (counted_s - entry.since_s if waits else 0.0)


def waits_for_event(letter: DeadLetterState) -> bool:
    """Whether another event of its order releases it."""
    return letter.reason in _WAITS_FOR_EVENT


def due(entries: Iterable[OpenDeadLetter], monotonic_s: float, *, parked: bool) -> Iterator[OpenDeadLetter]:
    """Those that are parked (or that are not) whose time has come and that are not in flight.

    Judged one by one as they are asked for.
    """
    for entry in entries:
        is_due = entry.retry.due_s is not None and entry.retry.due_s <= monotonic_s
        if (entry.letter.state == "parked") is parked and is_due and not entry.in_flight:
            yield entry


def released(index: DeadLetterIndex, order_id: str, *, ended: bool) -> list[tuple[OpenDeadLetter, Trigger]]:
    """Dead letters of an order that may go on now that one of its events has ended or changed its state, and why.

    Args:
        index: As it stands after that.
        order_id: The order.
        ended: It was posted or a no-op: what waits for the order or an invoice of it is tried again.
    """
    going: dict[str, tuple[OpenDeadLetter, Trigger]] = {}
    for entry in index.of_order(order_id):
        letter = entry.letter
        if entry.in_flight:
            continue
        if letter.state == "held" and _is_unblocked(index, letter, going.keys()):
            going[letter.id] = entry, Trigger.UNBLOCKED
        elif letter.state == "parked" and ended and waits_for_event(letter):
            going[letter.id] = entry, Trigger.AWAITED_CAME
    return list(going.values())


def _is_unblocked(index: DeadLetterIndex, letter: DeadLetterState, going: Collection[str]) -> bool:
    blocker = index.blocker(letter.order_id or "", letter.event_type, letter.source or "", letter)
    if blocker is None:
        return True
    # Held by another from now on, which its state must name; a blocker that is in flight decides when it has ended
    other = None if blocker.id == letter.blocked_by else index.get(blocker.id)
    return other is not None and not other.in_flight and blocker.id not in going

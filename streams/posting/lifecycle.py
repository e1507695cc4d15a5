"""The life of a posting: one table of state and trigger, to the next state and what the poster does.

What may follow what is decided here and nowhere else; code that moves a posting looks its row up (`follow`) and does
what the row says. The theory:

- A posting comes out of the company's queue as NEW. It is identified by its key K, and every K is IN_FLIGHT at most
  once. What comes under a K that has been seen is judged against the first (`admission`): the same record again
  (MERGED), a repeat (NO_OP), or other content (DEAD, as `id_reuse`).
- IN_FLIGHT is kept in memory only. A process that dies leaves a posting where Kafka has it: in its queue, from where it
  comes as NEW again, or in its dead letter, PARKED, HELD or DEAD. Claims in B1 make sending it again harmless, so no
  row is needed for a crash.
- An unknown outcome is no state to leave: the identical request is sent until B1 says what became of it. While B1 is
  away nothing is given up. So a posting is refused only when B1, or our own rules, have refused it.
- Every occurrence ends exactly once (`COUNTED_AS`): by a count that is committed with its offset, or by a dead letter,
  whose state is then the count and goes on changing. Bytes are written before the state, the state before the offset
  moves.
- PARKED waits for something that comes true without us; HELD waits for an earlier event of its order that is itself
  PARKED, HELD or DEAD; DEAD waits for a person. All three hold later events of their order. They go on holding while
  they are IN_FLIGHT again.
- A request may be applied long after its sender has died or given up. So the claims of DEAD and HELD events are looked
  up for a while: what B1 has is taken over, nothing is sent.
- POSTED, NO_OP, MERGED, REPLAYED and DISCARDED are final.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """Where a posting stands; the names of those that a dead letter can have are those in `dead-letter-state`."""

    NEW = "new"
    IN_FLIGHT = "in_flight"
    PARKED = "parked"
    HELD = "held"
    DEAD = "dead"
    POSTED = "posted"
    NO_OP = "no_op"
    MERGED = "merged"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


class Trigger(StrEnum):
    """What happens to a posting, as the diagram words it."""

    # Admission
    ADMITTED = "admitted"
    SAME_OCCURRENCE = "same record again"
    REPEAT = "repeat of what came before"
    ID_REUSE = "same identity, other content"
    NOT_OURS = "not a posting of ours"
    # What B1 and our rules answer
    OUTCOME_UNKNOWN = "outcome unknown"
    ERP_AWAY = "B1 is away"
    CREATED = "applied"
    ADOPTED = "in B1, made by this record"
    FOUND_OTHERS = "in B1, made by another record"
    NOTHING_TO_DO = "nothing to do"
    BLOCKED = "an earlier event of its order is open"
    REFUSED = "refused, a person must act"
    MUST_WAIT = "refused until something comes true"
    EXPIRED = "refused again, waited too long"
    NOT_FOUND = "looked for, not in B1"
    BYTES_GONE = "its bytes are gone"
    # What wakes a dead letter
    DUE = "time to retry"
    AWAITED_CAME = "what it waits for has ended"
    UNBLOCKED = "no longer held, or held by another"
    # Commands of a person
    REPLAY = "a person has it tried again"
    REPUBLISH = "a person has it published again"
    DISCARD = "a person discards it"


class Effect(StrEnum):
    """What the poster does on a row, beside the new state."""

    SEND = "send it, in sequence with its order"
    FOLLOW = "finish it when the first has ended"
    SEND_AGAIN = "send the identical request again"
    WAIT = "wait until the circuit breaker closes"
    FINISH = "count it or close its dead letter, then release who waits for it"
    WRITE = "write its dead letter, then release who waits for it"
    KEEP = "leave its dead letter as it is"
    COMMAND = "the command publishes its bytes again, then writes the state"
    CLAIM = "claim its K as discarded, close its dead letter, then release who waits for it"


class Transition(NamedTuple):
    state: State
    trigger: Trigger
    to: State
    effect: Effect


_ANSWERS = (
    (Trigger.ADOPTED, State.POSTED, Effect.FINISH),
    (Trigger.FOUND_OTHERS, State.NO_OP, Effect.FINISH),
    (Trigger.REFUSED, State.DEAD, Effect.WRITE),
    (Trigger.MUST_WAIT, State.PARKED, Effect.WRITE),
    (Trigger.EXPIRED, State.DEAD, Effect.WRITE),
)
_BYTES_GONE = (Trigger.BYTES_GONE, State.DEAD, Effect.WRITE)
_COMMANDS = (
    (Trigger.REPLAY, State.IN_FLIGHT, Effect.SEND),
    (Trigger.DISCARD, State.DISCARDED, Effect.CLAIM),
)

TABLE = (
    Transition(State.NEW, Trigger.ADMITTED, State.IN_FLIGHT, Effect.SEND),
    Transition(State.NEW, Trigger.SAME_OCCURRENCE, State.MERGED, Effect.FOLLOW),
    Transition(State.NEW, Trigger.REPEAT, State.NO_OP, Effect.FOLLOW),
    Transition(State.NEW, Trigger.ID_REUSE, State.DEAD, Effect.WRITE),
    Transition(State.NEW, Trigger.NOT_OURS, State.DEAD, Effect.WRITE),
    Transition(State.IN_FLIGHT, Trigger.OUTCOME_UNKNOWN, State.IN_FLIGHT, Effect.SEND_AGAIN),
    Transition(State.IN_FLIGHT, Trigger.ERP_AWAY, State.IN_FLIGHT, Effect.WAIT),
    Transition(State.IN_FLIGHT, Trigger.CREATED, State.POSTED, Effect.FINISH),
    Transition(State.IN_FLIGHT, Trigger.NOTHING_TO_DO, State.NO_OP, Effect.FINISH),
    Transition(State.IN_FLIGHT, Trigger.BLOCKED, State.HELD, Effect.WRITE),
    *(Transition(State.IN_FLIGHT, *answer) for answer in _ANSWERS),
    Transition(State.PARKED, Trigger.DUE, State.IN_FLIGHT, Effect.SEND),
    Transition(State.PARKED, Trigger.AWAITED_CAME, State.IN_FLIGHT, Effect.SEND),
    Transition(State.PARKED, *_BYTES_GONE),
    *(Transition(State.PARKED, *command) for command in _COMMANDS),
    Transition(State.HELD, Trigger.UNBLOCKED, State.IN_FLIGHT, Effect.SEND),
    *(
        row
        for state in (State.HELD, State.DEAD)  # their claims are looked up: nothing is sent
        for row in (
            *(Transition(state, *answer) for answer in _ANSWERS),
            Transition(state, Trigger.NOT_FOUND, state, Effect.KEEP),
            Transition(state, *_BYTES_GONE),
            *(Transition(state, *command) for command in _COMMANDS),
        )
    ),
    # What was refused before it was a posting: it holds nothing, and becomes one when it is published again
    Transition(State.DEAD, Trigger.REPUBLISH, State.REPLAYED, Effect.COMMAND),
)
_ROWS: Mapping[tuple[State, Trigger], Transition] = {(row.state, row.trigger): row for row in TABLE}

#: What `streams status` counts an occurrence as. A merged one is counted with its first; the record that was published
#: in place of a replayed one is counted itself. A dead letter that is in flight again counts by its state, which stands
#: until it has ended.
COUNTED_AS: Mapping[State, str | None] = {
    State.NEW: "in_flight",
    State.IN_FLIGHT: "in_flight",
    State.PARKED: "parked",
    State.HELD: "parked",
    State.DEAD: "dead",
    State.POSTED: "posted",
    State.NO_OP: "no_op",
    State.DISCARDED: "no_op",
    State.MERGED: None,
    State.REPLAYED: None,
}
#: The states of a dead letter for which somebody or something still has to act.
OPEN = frozenset({State.PARKED, State.HELD, State.DEAD})
FINAL = frozenset(State) - {row.state for row in TABLE}


class NotAllowedError(Exception):
    """The table has no row for this trigger in this state."""


def follow(state: State, trigger: Trigger) -> Transition:
    """The row for a trigger.

    Raises:
        NotAllowedError: There is none: whoever asks has a bug, and nothing must be written.
    """
    row = _ROWS.get((state, trigger))
    if row is None:
        raise NotAllowedError(f"a posting that is {state} cannot meet: {trigger}")
    return row


def diagram() -> str:
    """The table as a Mermaid state diagram; triggers that lead from one state to the same other one share an arrow."""
    triggers: dict[tuple[State, State], list[str]] = {}
    for row in TABLE:
        triggers.setdefault((row.state, row.to), []).append(row.trigger)
    arrows = [f"    {start} --> {end}: {' / '.join(named)}" for (start, end), named in triggers.items()]
    ends = [f"    {state} --> [*]" for state in State if state in FINAL]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {State.NEW}", *arrows, *ends])

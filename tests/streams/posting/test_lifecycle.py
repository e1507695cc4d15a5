"""The table of a posting's life: what it must have, and that everybody who counts states counts as it says."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from lab.proof import dead_letters as proof
from schemas.letters import OPEN_STATES
from schemas.records import DeadLetterState
from streams.dead_letters import selection
from streams.posting.in_flight import Ended
from streams.posting.lifecycle import COUNTED_AS, FINAL, OPEN, TABLE, NotAllowedError, State, Trigger, diagram, follow
from streams.query import orders, status
from tests.builders import dead_letter
from tests.chaos.invariants import view as chaos
from tests.simulation.invariants import view as simulation

DOCS = Path(__file__).parents[3] / "docs" / "lifecycle.md"
#: The states that a dead letter can have.
WRITTEN = OPEN | {State.POSTED, State.NO_OP, State.REPLAYED, State.DISCARDED}


def reachable(start: State) -> set[State]:
    found, ahead = {start}, [start]
    while ahead:
        state = ahead.pop()
        ahead += [row.to for row in TABLE if row.state is state and row.to not in found]
        found.update(row.to for row in TABLE if row.state is state)
    return found


def test_every_state_can_be_reached_and_from_each_an_end() -> None:
    assert reachable(State.NEW) == set(State)
    assert all(reachable(state) & FINAL for state in State)


def test_a_state_and_a_trigger_have_one_row_and_every_trigger_has_one() -> None:
    assert max(Counter((row.state, row.trigger) for row in TABLE).values()) == 1
    assert {row.trigger for row in TABLE} == set(Trigger)


def test_what_is_final_stays() -> None:
    assert {State.POSTED, State.NO_OP, State.MERGED, State.REPLAYED, State.DISCARDED} == FINAL
    for state in FINAL:
        for trigger in Trigger:
            with pytest.raises(NotAllowedError):
                follow(state, trigger)


def test_only_an_answer_or_a_rule_ends_what_is_in_flight() -> None:
    """Neither an unknown outcome nor B1 being away gives a posting up."""
    for trigger in (Trigger.OUTCOME_UNKNOWN, Trigger.ERP_AWAY):
        assert follow(State.IN_FLIGHT, trigger).to is State.IN_FLIGHT


def test_a_dead_event_is_never_sent_again_by_itself() -> None:
    sent = {row.trigger for row in TABLE if row.state is State.DEAD and row.to is State.IN_FLIGHT}
    assert sent == {Trigger.REPLAY}, "only a person has it tried again"


def test_the_docs_have_the_table_as_a_diagram() -> None:
    assert f"```mermaid\n{diagram()}\n```" in DOCS.read_text()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.state}: {row.trigger}")
def test_the_docs_have_every_row(row: object) -> None:
    state, trigger, to, effect = row  # type: ignore[misc]
    assert f"| `{state}` | {trigger} | `{to}` | {effect} |" in DOCS.read_text()


# ---- everybody who counts states by code of their own


def test_open_is_what_the_schemas_call_open() -> None:
    assert {state.value for state in OPEN} == OPEN_STATES


def test_the_commands_know_every_state_of_a_dead_letter() -> None:
    assert set(selection.STATES) == {state.value for state in WRITTEN}


@pytest.mark.parametrize("state", sorted(WRITTEN))
def test_status_counts_a_dead_letter_as_the_table_says(state: State) -> None:
    again = int(state is State.REPLAYED)  # its record was published a second time
    letter: DeadLetterState = replace(dead_letter(), state=state.value, republished=again)
    flow = status.count({("order-placed", 0): 1}, [], [letter], {})["order_placed"]
    ends = {end: n for end in ("posted", "no_op", "parked", "dead", "in_flight") if (n := getattr(flow, end))}
    counted = COUNTED_AS[state]
    assert ends == ({counted: 1} if counted else {})


def test_the_simulation_counts_a_dead_letter_as_the_table_says() -> None:
    assert {state.value: COUNTED_AS[state] for state in WRITTEN if COUNTED_AS[state]} == simulation.ENDS


@pytest.mark.parametrize("counted_as", [proof.COUNTED_AS, chaos.COUNTED_AS], ids=["proof", "chaos"])
def test_proof_and_chaos_count_as_the_table_says_and_ask_b1_for_the_rest(counted_as: dict[str, str]) -> None:
    asked = {State.POSTED, State.REPLAYED}
    assert counted_as == {state.value: COUNTED_AS[state] for state in WRITTEN - asked}


@pytest.mark.parametrize("trigger", [Trigger.CREATED, Trigger.ADOPTED, Trigger.FOUND_OTHERS, Trigger.NOTHING_TO_DO])
@pytest.mark.parametrize("cancelled", [False, True])
def test_an_outcome_is_counted_logged_and_told_as_the_table_says(trigger: Trigger, cancelled: bool) -> None:
    ended = Ended(trigger, cancelled=cancelled)
    assert ended.ending == COUNTED_AS[follow(State.IN_FLIGHT, trigger).to]
    assert orders.ENDS.get(ended.outcome, ended.outcome) == ended.ending

"""What holds what, by rank: contract section 6."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.letters import OPEN_STATES, RANKS, REASONS
from schemas.records import DeadLetterState
from streams.dead_letters.index import BEHIND_INPUTS, DeadLetterIndex, Retry
from tests.builders import AT as NOW
from tests.builders import dead_letter

TYPES = sorted(RANKS)
HOLD_NOTHING = {
    *("unreadable", "unknown_schema", "id_reuse", "key_conflict", "too_old"),
    *("channel_refused", "format_refused", "order_incomplete"),  # of a channel, which is told what B1 has
}


def letter(
    number: int,
    event_type: str = "order_placed",
    state: str = "dead",
    reason: str = "erp_refused",
    *,
    order_id: str | None = "1",
    source: str = "shop",
) -> DeadLetterState:
    return dead_letter(
        number, event_type=event_type, state=state, reason=reason, order_id=order_id, source=source, topic="t"
    )


def index_of() -> DeadLetterIndex:
    """Every source names its own orders; the warehouse those of the shop and of the market."""
    return DeadLetterIndex(lambda _, source: ("shop", "market") if source == "warehouse" else (source,))


def blocker(
    index: DeadLetterIndex, event_type: str, before: DeadLetterState | None = None, source: str = "shop"
) -> str | None:
    found = index.blocker("1", event_type, source, before)
    return None if found is None else found.id


#: What the contract says, written out: the later event's type for each earlier one's that is dead or parked.
HELD_BY = {
    "order_placed": {"order_placed", "order_cancelled", "dispatch_confirmed", "refund_issued"},
    "order_cancelled": {"order_cancelled", "dispatch_confirmed", "refund_issued"},
    "dispatch_confirmed": {"order_cancelled", "dispatch_confirmed", "refund_issued"},
    "refund_issued": {"refund_issued"},
}


@pytest.mark.parametrize("earlier", TYPES)
@pytest.mark.parametrize("later", TYPES)
@pytest.mark.parametrize("reason", sorted(REASONS))
def test_a_letter_holds_later_events_of_its_order_whose_rank_is_not_lower(
    earlier: str, later: str, reason: str
) -> None:
    index = index_of()
    index.put(letter(1, earlier, REASONS[reason].ends_as, reason))
    holds = later in HELD_BY[earlier] and reason not in HOLD_NOTHING
    assert blocker(index, later) == ("l1" if holds else None)


def test_a_cancellation_that_its_barrier_let_pass_comes_after_what_was_parked_while_it_waited() -> None:
    """A dispatch that was published before it and routed after it is released together with it, and comes first."""
    index = index_of()
    cancellation = replace(
        letter(1, "order_cancelled", "parked", "order_not_found"), waits_for=BEHIND_INPUTS, sequence=1
    )
    dispatch = replace(letter(2, "dispatch_confirmed", "parked", "order_not_found"), sequence=2)
    for one in (cancellation, dispatch):
        index.put(one)
    assert blocker(index, "order_cancelled", cancellation) == dispatch.id
    assert blocker(index, "dispatch_confirmed", dispatch) is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(TYPES),
            st.sampled_from(["dead", "parked", "held", "posted", "no_op", "discarded", "replayed"]),
            st.sampled_from(sorted(REASONS)),
            st.sampled_from(["shop", "market"]),
        ),
        max_size=12,
    ),
    st.sampled_from(TYPES),
    st.data(),
)
def test_the_first_open_letter_of_equal_or_lower_rank_that_arrived_before_is_the_one_that_holds(
    drawn: list[tuple[str, str, str, str]], later: str, data: st.DataObject
) -> None:
    index = index_of()
    letters = [letter(n, kind, state, reason, source=source) for n, (kind, state, reason, source) in enumerate(drawn)]
    for one in data.draw(st.permutations(letters)):  # they come from a compacted topic in any order
        index.put(one)

    def first(candidates: list[DeadLetterState], sources: set[str]) -> str | None:
        return next(
            (
                one.id
                for one in candidates
                if one.state in OPEN_STATES
                and one.source in sources
                and RANKS[one.event_type] <= RANKS[later]
                and one.reason not in HOLD_NOTHING
            ),
            None,
        )

    assert blocker(index, later) == first(letters, {"shop"})
    assert blocker(index, later, source="warehouse") == first(letters, {"shop", "market"})
    for n, one in enumerate(letters):
        if one.state in OPEN_STATES:
            assert blocker(index, later, one, "warehouse") == first(letters[:n], {"shop", "market"})
    assert [entry.letter.id for entry in index.of_order("1")] == [one.id for one in letters if one.state in OPEN_STATES]


@pytest.mark.parametrize("closed", ["posted", "no_op", "discarded", "replayed"])
def test_a_closed_letter_holds_nothing_and_still_stands_for_its_key(closed: str) -> None:
    index = index_of()
    index.put(letter(1))
    assert index.put(replace(letter(1), state=closed)) is None
    assert blocker(index, "dispatch_confirmed") is None
    assert index.get("l1") is None
    assert index.of_order("1") == []
    assert index.of_key("k1") == replace(letter(1), state=closed)
    assert list(index.open()) == []


def test_of_several_letters_of_one_key_the_open_one_stands_for_it() -> None:
    index = index_of()
    first = letter(1)
    second = replace(letter(2), k="k1")
    index.put(replace(first, state="posted"))
    index.put(second)
    index.put(replace(first, state="posted", at=NOW + timedelta(1)))
    assert index.of_key("k1") == second


@pytest.mark.parametrize("reason", ["id_reuse", "key_conflict"])
def test_what_was_refused_for_its_identity_does_not_stand_for_it(reason: str) -> None:
    index = index_of()
    index.put(replace(letter(2, reason=reason), k="k1"))
    assert index.of_key("k1") is None
    index.put(letter(1))
    index.put(replace(letter(3, reason=reason), k="k1"))
    assert index.of_key("k1") == letter(1)


def test_a_letter_that_changes_keeps_its_place_and_its_entry() -> None:
    index = index_of()
    entry = index.put(letter(1))
    assert entry is not None
    entry.retry, entry.in_flight = Retry(5.0, 1.0), True
    again = index.put(replace(letter(1), state="parked", reason="negative_stock"))
    assert again is entry
    assert (entry.letter.state, entry.retry.due_s, entry.in_flight) == ("parked", 5.0, True)


def test_letters_without_an_order_are_open_and_hold_nothing() -> None:
    index = index_of()
    index.put(letter(1, "refund_issued", order_id=None))
    assert len(list(index.open())) == 1
    assert blocker(index, "refund_issued") is None


def test_closed_ones_share_the_texts_that_they_have_in_common() -> None:
    """They are kept for weeks: 860 bytes each instead of 1,460."""
    index = DeadLetterIndex(lambda _, source: (source,))
    for number in (1, 2):
        index.put(replace(letter(number), state="".join(("post", "ed")), topic="".join(("order", "-placed"))))
    one, other = index.closed()
    assert one.topic is other.topic
    assert one.state is other.state
    index.forget([one])
    assert (index.known(one.id), index.known(other.id)) == (None, other)

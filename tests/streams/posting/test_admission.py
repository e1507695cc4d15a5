"""Whether a posting is new, by what is known of its K: architecture sections 15.1 and 15.2."""

import pytest

from schemas.records import Posting
from streams.posting.admission import AdmittedKeys, InputPositions, judge
from streams.posting.in_flight import InFlightPosting, origin_of
from streams.posting.lifecycle import Trigger
from tests import builders

FIRST, AGAIN = builders.posting(offset=1), builders.posting(offset=2)
OTHER = builders.posting(offset=2, digest=b"o" * 16)


def in_flight(posting: Posting = FIRST) -> InFlightPosting:
    return InFlightPosting(posting, builders.order(), lambda _: None, 0)


@pytest.mark.parametrize(
    ("posting", "expected"),
    [(FIRST, Trigger.SAME_OCCURRENCE), (AGAIN, Trigger.REPEAT), (OTHER, Trigger.ID_REUSE)],
)
@pytest.mark.parametrize("known", ["in flight", "ended"])
def test_what_comes_under_a_known_key_is_judged_against_the_first(
    posting: Posting, expected: Trigger, known: str
) -> None:
    work = in_flight() if known == "in flight" else None
    ended = (FIRST.digest, origin_of(FIRST)) if known == "ended" else None
    assert judge(posting, work, None, None, ended) is expected


@pytest.mark.parametrize(("posting", "expected"), [(AGAIN, Trigger.REPEAT), (OTHER, Trigger.ID_REUSE)])
@pytest.mark.parametrize("state", ["dead", "parked", "held", "posted", "no_op", "discarded"])
def test_a_dead_letter_stands_for_its_key_open_or_closed(posting: Posting, expected: Trigger, state: str) -> None:
    letter = builders.dead_letter(state=state, k=FIRST.k)
    assert judge(posting, None, None, letter, None) is expected


def test_a_record_that_has_a_dead_letter_is_never_judged_again() -> None:
    """Not even where the dead letter does not stand for its key: what a person has decided about it stays decided."""
    reused = builders.dead_letter(reason="id_reuse", state="discarded")
    assert judge(OTHER, in_flight(), reused, None, None) is Trigger.SAME_OCCURRENCE


def test_what_nobody_knows_is_admitted() -> None:
    assert judge(FIRST, None, None, None, None) is Trigger.ADMITTED


def test_of_one_key_one_is_in_flight_and_it_is_remembered_when_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.posting.admission._REMEMBERED_KS", 2)
    keys = AdmittedKeys()
    for n in range(4):
        work = in_flight(builders.posting(k=f"K{n}", offset=n))
        keys.in_flight[work.k] = work
        assert keys.judge(work.posting, None, None) is Trigger.SAME_OCCURRENCE
        keys.leave(work, remember=n > 0)
    assert not keys.in_flight
    judged = [keys.judge(builders.posting(k=f"K{n}", offset=9), None, None) for n in range(4)]
    assert judged == [
        Trigger.ADMITTED,
        Trigger.ADMITTED,
        Trigger.REPEAT,
        Trigger.REPEAT,
    ]  # bounded: the oldest is forgotten


def test_one_that_never_was_in_flight_takes_nothing_out_of_it() -> None:
    keys, first = AdmittedKeys(), in_flight()
    keys.in_flight[first.k] = first
    keys.leave(in_flight(OTHER), remember=False)
    assert keys.in_flight == {first.k: first}


def test_positions_rise_and_what_lies_before_them_was_routed_twice() -> None:
    inputs = InputPositions({("order-placed", "0"): 5, ("order_placed", "posted"): 3})
    assert inputs.advance(builders.posting(offset=4)) is None
    assert inputs.advance(builders.posting(offset=7)) == {("order-placed", "0"): 3}
    assert inputs.advance(builders.posting(offset=7)) is None
    assert inputs.advance(builders.posting(offset=0, partition=1)) == {("order-placed", "1"): 1}


def test_batches_of_one_epoch_have_positions_of_their_own() -> None:
    inputs = InputPositions({})
    batches = [builders.posting("stock_batch", topic="stock-sealed", offset=2, index=index) for index in (0, 1, 0)]
    reached = [inputs.advance(batch) for batch in batches]
    assert [None if one is None else sum(one.values()) for one in reached] == [(2 << 20) + 1, 1, None]


def test_a_place_in_another_log_of_the_input_is_another_place() -> None:
    """The topic was made anew: every new record lay below the old end, and was passed over in silence."""
    inputs = InputPositions({("order-placed", "0"): 101}, lambda _topic, _partition: 1)
    assert inputs.reached("order-placed", 0) == 0
    assert inputs.advance(builders.posting(offset=0, log=1)) == {
        ("order-placed", "0"): -101,
        ("order-placed", "0.1"): 1,
    }
    assert inputs.advance(builders.posting(offset=0, log=1)) is None
    assert inputs.reached("order-placed", 0) == 1
    # Routed late by a worker that was paused: of the log before, where nobody knows what was routed
    assert inputs.advance(builders.posting(offset=50, log=0)) == {}
    assert inputs.advance(builders.posting(offset=7, log=1)) == {("order-placed", "0.1"): 7}


def test_positions_of_another_log_come_back_from_a_commit() -> None:
    inputs = InputPositions({("order-placed", "0"): 0, ("order-placed", "0.1"): 5, ("order-placed", "1"): 9})
    assert inputs.advance(builders.posting(offset=4, log=1)) is None
    assert inputs.advance(builders.posting(offset=4, partition=1, log=0)) is None
    assert inputs.advance(builders.posting(offset=4, log=2)) == {
        ("order-placed", "0.1"): -5,
        ("order-placed", "0.2"): 5,
    }


def test_the_same_offset_of_another_log_is_another_occurrence() -> None:
    assert origin_of(FIRST) != origin_of(builders.posting(offset=1, log=1))

"""When a dead letter is looked at again, and what an outcome releases; time is passed in."""

from dataclasses import replace
from datetime import timedelta

import pytest

from schemas.records import DeadLetterState
from streams.dead_letters.index import BEHIND_INPUTS, DeadLetterIndex, OpenDeadLetter, Retry
from streams.posting import schedule
from streams.posting.lifecycle import Trigger
from tests.builders import AT, dead_letter

PARKED = dead_letter(state="parked", reason="negative_stock")


def index_of(*letters: DeadLetterState) -> DeadLetterIndex:
    index = DeadLetterIndex(lambda _, source: (source,))
    for letter in letters:
        index.put(letter)
    return index


def test_a_wait_for_b1_doubles_up_to_ten_minutes_and_starts_anew_after_another_state() -> None:
    retry, delays = Retry(), []
    for _ in range(7):
        retry = schedule.first_retry(PARKED, PARKED, retry, AT, 100.0, soon=False)
        delays.append(retry.delay_s)
    assert delays == [30, 60, 120, 240, 480, 600, 600]
    held = dead_letter(state="held")
    assert schedule.first_retry(PARKED, held, retry, AT, 100.0, soon=False) == Retry(130.0, 30.0)


@pytest.mark.parametrize("reason", ["order_not_found", "invoice_not_found"])
def test_a_wait_for_another_event_is_looked_at_every_minute(reason: str) -> None:
    letter = dead_letter(state="parked", reason=reason)
    assert schedule.first_retry(letter, letter, Retry(0.0, 600.0), AT, 100.0, soon=False) == Retry(160.0, 60.0)


def test_what_is_loaded_is_tried_at_once() -> None:
    assert schedule.first_retry(PARKED, None, Retry(), AT, 100.0, soon=True).due_s == 100.0


def test_the_claim_of_a_dead_event_is_looked_up_for_an_hour_less_and_less_often() -> None:
    letter = dead_letter()
    retry, looks = schedule.first_retry(letter, None, Retry(), AT, 0.0, soon=False), list[float]()
    while retry.due_s is not None:
        looks.append(retry.due_s)
        retry = schedule.next_look(letter, retry, AT + timedelta(seconds=retry.due_s), retry.due_s)
    assert looks == [60, 180, 420, 900, 1500, 2100, 2700, 3300, 3900]


@pytest.mark.parametrize(
    "letter",
    [
        dead_letter(event_type="stock_batch", order_id=None),
        dead_letter(k=None),
        dead_letter(reason="id_reuse"),
        dead_letter(at=AT - timedelta(hours=2)),
    ],
)
def test_no_late_request_is_expected_of_stock_of_what_was_never_sent_or_after_the_hour(letter: DeadLetterState) -> None:
    assert not schedule.may_land(letter, AT)
    assert schedule.first_retry(letter, None, Retry(), AT, 0.0, soon=False).due_s is None


def test_a_wait_ages_while_it_is_parked_and_for_nothing_that_we_have_not_read() -> None:
    waits = dead_letter(state="parked", reason="negative_stock", waited_s=100)
    assert schedule.age_s(OpenDeadLetter(waits, since_s=10.0), 60.0) == 150.0
    assert schedule.age_s(OpenDeadLetter(replace(waits, state="held"), since_s=10.0), 60.0) == 100.0
    assert schedule.age_s(OpenDeadLetter(replace(waits, waits_for=BEHIND_INPUTS), since_s=10.0), 60.0) == 100.0


def test_only_time_in_which_b1_could_be_asked_and_the_queue_was_read_counts() -> None:
    clock = schedule.WaitClock()
    for at_s, counts in ((100.0, True), (101.0, True), (102.0, False), (103.0, True), (1000.0, True), (1001.0, True)):
        clock.tick(at_s, counts=counts)
    assert clock.counted_s == 1 + 1 + 5 + 1  # it stood still for 897 s


def test_what_is_due_is_judged_when_it_is_asked_for() -> None:
    entries = [OpenDeadLetter(dead_letter(n, state="parked"), Retry(float(n))) for n in (1, 2, 3, 9)]
    entries.append(OpenDeadLetter(dead_letter(4), Retry(4.0)))
    due = schedule.due(entries, 5.0, parked=True)
    assert next(due) is entries[0]
    entries[1].in_flight = True
    assert list(due) == [entries[2]]
    assert list(schedule.due(entries, 5.0, parked=False)) == [entries[4]]


def waiting(number: int, state: str, reason: str = "erp_refused", blocked_by: str | None = None) -> DeadLetterState:
    return dead_letter(number, event_type="dispatch_confirmed", state=state, reason=reason, blocked_by=blocked_by)


def released(index: DeadLetterIndex, *, ended: bool) -> list[tuple[str, Trigger]]:
    return [(entry.letter.id, trigger) for entry, trigger in schedule.released(index, "1", ended=ended)]


def test_an_outcome_releases_what_waits_for_it_and_what_it_held() -> None:
    index = index_of(waiting(1, "parked", "order_not_found"), waiting(2, "held", blocked_by="l0"))
    assert released(index, ended=True) == [("l1", Trigger.AWAITED_CAME)]
    index = index_of(waiting(2, "held", blocked_by="l0"))
    assert released(index, ended=False) == [("l2", Trigger.UNBLOCKED)]


def test_a_refusal_releases_nothing_that_waits_for_an_outcome() -> None:
    assert released(index_of(waiting(1, "parked", "order_not_found")), ended=False) == []


def test_what_another_holds_now_is_released_to_say_so_unless_that_one_is_on_its_way() -> None:
    index = index_of(waiting(1, "dead"), waiting(2, "held", blocked_by="l0"), waiting(3, "held", blocked_by="l1"))
    assert released(index, ended=True) == [("l2", Trigger.UNBLOCKED)]
    index = index_of(waiting(1, "held", blocked_by="l0"), waiting(2, "held", blocked_by="l0"))
    assert released(index, ended=True) == [("l1", Trigger.UNBLOCKED)]
    (first,) = [entry for entry in index.of_order("1") if entry.letter.id == "l1"]
    first.in_flight = True
    assert released(index, ended=True) == []

"""Which dead letters a command is about."""

from datetime import UTC, datetime, timedelta

import pytest

from streams.dead_letters.selection import Selection, SelectionError
from tests.builders import dead_letter

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
LETTERS = [
    dead_letter(0, id="aa1", state="dead", reason="total_mismatch", first_failed_at=AT),
    dead_letter(0, id="aa2", state="parked", reason="unknown_item", waits_for="item:MUG", first_failed_at=AT),
    dead_letter(0, id="b1", state="discarded", first_failed_at=AT - timedelta(days=1)),
]


def chosen(**conditions: object) -> list[str]:
    return [letter.id for letter in Selection(**conditions).choose(LETTERS)]  # type: ignore[arg-type]


def test_nothing_asked_for_is_all_that_is_open() -> None:
    assert Selection().is_empty
    assert chosen() == ["aa1", "aa2"]


def test_an_id_chooses_whatever_its_state_and_a_condition_still_holds() -> None:
    assert chosen(ids=("b",)) == ["b1"]
    assert chosen(ids=("b1", "aa1"), states=("dead",)) == ["aa1"]


@pytest.mark.parametrize("id_", ["aa", "zz"], ids=["the beginning of two", "nobody's"])
def test_an_id_that_is_not_one_dead_letters_is_refused(id_: str) -> None:
    with pytest.raises(SelectionError, match=id_):
        chosen(ids=(id_,))


def test_what_was_asked_for_is_kept_as_plain_data() -> None:
    selection = Selection(reasons=("total_mismatch",), item="MUG", since=AT)
    assert selection.as_json() == {"reasons": ["total_mismatch"], "item": "MUG", "since": AT.isoformat()}


def test_a_topic_is_meant_with_the_prefix_and_without() -> None:
    letter = dead_letter(0, id="c1", topic="acme-order-placed", letter_topic="acme-order-placed-dead-letter")
    for topic in ("order-placed", "acme-order-placed", "order-placed-dead-letter"):
        assert Selection(topic=topic).chooses(letter, "acme-")
    assert not Selection(topic="refund-issued").chooses(letter, "acme-")

"""One row is one thing to act on: equal causes together, what waits behind it inside, what is at stake added up."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from schemas.records import DeadLetterState
from streams.query.letter_groups import Stake, cause_of, group, stake_of
from tests import builders
from tests.schemas.test_notices import LETTER, NOW


def letter(id_: str, error: str = "B1 says no", **changes: Any) -> DeadLetterState:
    fields = {"reason": "erp_refused", "owner": "operations", "error": error, "order_id": None, "event_id": None}
    return replace(LETTER, id=id_, **{**fields, **changes})


def rows(*letters: DeadLetterState, chosen: list[str] | None = None, **stakes: Stake) -> list[dict[str, Any]]:
    every = {one.id: one for one in letters}
    wanted = [one for one in letters if chosen is None or one.id in chosen]
    return [row.as_json() for row in group(wanted, every, stakes)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("item 'MUG-1' is not in B1; create it there", "item 'TSHIRT' is not in B1; create it there"),
        ("lines are 10.00 net, grand_total is 12.50 GBP", "lines are 7.95 net, grand_total is 9 GBP"),
        ("HTTP 400, code -5002: order 1001 has no BP", "HTTP 400, code -5002: order 77-B has no BP"),
        ('quantity of "A-1" falls below 5', 'quantity of "B" falls below 12.5'),
    ],
)
def test_words_that_differ_in_names_and_numbers_are_one_cause(one: str, other: str) -> None:
    assert cause_of(letter("a", one)) == cause_of(letter("b", other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("HTTP 400, code -5002: no", "HTTP 400, code -10: no"),
        ("HTTP 400, code -1: (1001) no freight", "HTTP 400, code -1: (1002) no freight"),
        ("item 'A' is not in B1", "item 'A' is inactive in B1"),
    ],
)
def test_codes_and_other_words_are_another_cause(one: str, other: str) -> None:
    assert cause_of(letter("a", one)) != cause_of(letter("b", other))


def test_a_cause_names_no_identifier_of_its_event() -> None:
    one = letter("a", "Order ABC of customer X: sku MUG cannot ship, K order_placed-xyz", order_id="ABC", sku="MUG")
    assert cause_of(one) == "Order ... of customer X: sku ... cannot ship, K order_placed-xyz"
    assert cause_of(replace(one, k="order_placed-xyz")) == "Order ... of customer X: sku ... cannot ship, K ..."
    assert cause_of(letter("b", "item 'MUG-1' is not in B1; create it")) == "item ... is not in B1"
    assert cause_of(replace(one, cause="notification (7)")) == "notification (7)"
    assert cause_of(replace(one, error=None)) == ""


def test_letters_of_one_cause_are_a_row_with_what_is_at_stake() -> None:
    found = rows(
        letter("a", "item 'A' no", order_id="1"),
        letter("b", "item 'B' no", order_id="1", members=("x", "y")),
        letter("c", "item 'B' no", state="parked"),
        a=Stake(Decimal("2.000000"), Decimal("10.50"), "GBP"),
        b=Stake(Decimal("100"), Decimal("1.5"), "GBP"),
    )
    assert [(row["state"], row["letters"], row["events"], row["orders"]) for row in found] == [
        ("dead", 2, 3, 1),
        ("parked", 1, 1, 0),
    ]
    assert (found[0]["units"], found[0]["amount"], found[0]["amounts"]) == ("102", "12", {"GBP": "12"})
    assert (found[1]["units"], found[1]["amount"], found[1]["amounts"]) == ("0", None, {})


def test_several_currencies_are_never_added_up() -> None:
    (row,) = rows(
        letter("a"), letter("b"), a=Stake(amount=Decimal(1), currency="GBP"), b=Stake(amount=Decimal(2), currency="EUR")
    )
    assert (row["amount"], row["amounts"]) == (None, {"EUR": "2", "GBP": "1"})


def test_the_blocker_and_all_that_waits_behind_it_is_one_row_that_names_them_in_order() -> None:
    blocker = letter("a", order_id="1")
    late = letter("z", order_id="1", state="held", blocked_by="b", sequence=9, error="it waits")
    held = letter("b", order_id="1", state="held", blocked_by="a", sequence=5, error="it waits")
    other = letter("o", order_id="2", error="B1 says no")
    (row,) = rows(blocker, held, late, other)
    assert (row["letters"], row["blocks"]) == (2, ["b", "z"])


def test_what_blocks_is_told_also_where_only_the_blocker_is_asked_for_and_a_held_one_alone_is_a_row() -> None:
    blocker, held = letter("a", order_id="1"), letter("b", order_id="1", state="held", blocked_by="a")
    (row,) = rows(blocker, held, chosen=["a"])
    assert row["blocks"] == ["b"]
    (row,) = rows(blocker, held, chosen=["b"])
    assert (row["state"], row["letters"], row["blocks"]) == ("held", 1, [])


def test_a_held_one_whose_blocker_is_gone_and_a_circle_of_two_are_rows_and_end() -> None:
    orphan = letter("a", state="held", blocked_by="gone")
    one, two = letter("b", state="held", blocked_by="c"), letter("c", state="held", blocked_by="b")
    assert sum(row["letters"] for row in rows(orphan)) == 1
    assert sum(row["letters"] for row in rows(one, two)) == 2


def test_the_row_on_which_most_depends_comes_first() -> None:
    letters = [letter(f"m{n}", "many") for n in range(3)] + [letter("one", "one", order_id="1")]
    held = [letter(f"h{n}", state="held", blocked_by="one", order_id="1") for n in range(5)]
    assert [row["cause"] for row in rows(*letters, *held)] == ["one", "many"]
    assert rows(*letters)[0]["oldest"] == NOW.isoformat()


def test_what_events_put_at_stake() -> None:
    order = builders.order("1", builders.order_line(sku="A", price="9.5"))
    units = sum(line.quantity for line in order.lines)
    assert stake_of(replace(order, grand_total=Decimal("22.80"))) == Stake(units, Decimal("22.80"), order.currency)
    assert stake_of(builders.dispatch("s", "1", builders.dispatch_line("A"))).amount is None
    assert stake_of(replace(builders.adjustment("e", sku="A"), delta=Decimal(-3))) == Stake(Decimal(3))
    assert stake_of({"type": "no event"}) == Stake()

"""An event as text and back: nothing is lost, what identifies it stays, and no value gets into an error."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.events import TYPE_NAMES, FactEvent, digest_of
from schemas.records import DeadLetterState
from streams.chain.keys import event_key
from streams.dead_letters.edit import EditError, changes, event_of, text_of
from tests import builders
from tests.schemas.test_notices import LETTER
from tests.streams.facts import NOW, adjustment, dispatch, order

EVENTS: list[FactEvent] = [
    order("1001"),
    dispatch("S1", "1001"),
    adjustment("e1"),
    builders.refund("R1", builders.refund_line("A"), order_id="1001"),
    builders.cancellation("1001"),
]


def letter_of(event: FactEvent, **changed: Any) -> DeadLetterState:
    fields = {
        "event_type": TYPE_NAMES[type(event)],
        "k": event_key(event),
        "source": event.source,
        "order_id": getattr(event, "order_id", None),
        "company": event.company,
    }
    return replace(LETTER, **{**fields, **changed})


def edited(event: FactEvent, **changed: Any) -> FactEvent:
    text = {**json.loads(text_of(event)), **changed}
    return event_of(json.dumps(text), letter_of(event), event, event.company, NOW)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: TYPE_NAMES[type(event)])
def test_a_text_that_nobody_touched_is_the_same_event(event: FactEvent) -> None:
    again = event_of(text_of(event), letter_of(event), event, event.company, NOW)
    assert changes(event, again) == []
    assert again.digest == digest_of(event)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=50)
@given(
    st.decimals("0.000001", "99999", places=6),
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=50),
)
def test_a_correction_is_what_differs(quantity: Decimal, name: str) -> None:
    event = order("1001")
    text = json.loads(text_of(event))
    text["lines"][0]["quantity"] = str(quantity)
    text["ship_to"]["name"] = name
    after = event_of(json.dumps(text), letter_of(event), event, event.company, NOW)
    assert after.lines[0].quantity == quantity  # type: ignore[union-attr]
    assert {path for path, _, _ in changes(event, after)} <= {"lines[0].quantity", "ship_to.name"}
    assert after.digest != event.digest or not changes(event, after)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"order_id": "1002"}, "order_id has changed"),
        ({"type": "order_cancelled", "lines": None}, "type has changed"),
        ({"company": "beta"}, "company has changed"),
        ({"source": "market"}, "source has changed"),
        ({"currency": 5}, "currency"),
        ({"lines": []}, "lines"),
        ({"lines": None}, "lines"),
    ],
)
def test_another_identity_and_what_breaks_the_contract_are_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(EditError) as caught:
        edited(order("1001"), **changed)
    assert words in str(caught.value)
    assert "Canary" not in str(caught.value)


def test_a_movement_keeps_its_sku_and_its_place() -> None:
    for field in ("sku", "location", "event_id"):
        with pytest.raises(EditError):
            edited(adjustment("e1"), **{field: "another"})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"type": "order_placed", "order_id": NaN}', '{"type": "x"}'])
def test_what_is_no_event_is_refused(text: str) -> None:
    event = order("1001")
    with pytest.raises(EditError):
        event_of(text, letter_of(event), event, event.company, NOW)


def test_what_nobody_could_read_becomes_the_event_that_a_person_makes_of_it() -> None:
    event = order("1001")
    letter = letter_of(event, k=None, event_type="inbox", order_id=None)
    made = event_of(text_of(event), letter, None, event.company, NOW)
    assert (made.source, made.event_id) == (event.source, event.event_id)
    assert len(changes(None, made)) > 10

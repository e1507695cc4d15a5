"""Messages exactly as SEKO's wiki documents them, with the README's own settings: each becomes its event.

The wiki's page "Push Stock Status Movement" (read 2026-11-30) has no InternalId, in any version of its field list, and
its MovementID is always empty. Its page of dispatches names no facility.
"""

import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.base.source import RefusedRecord
from connectors.seko.settings import SekoSettings
from lab.simulators.seko.state import AVAILABLE
from lab.simulators.seko.wire import without_number
from schemas.events import DispatchConfirmed, StockAdjusted
from tests.connectors.seko.conftest import letters

DOCUMENTED = Path(__file__).parent / "documented"
MOVEMENT = (DOCUMENTED / "stock-status-movement.json").read_bytes()
TWO = {"dcs": ("DCCL01", "DCCL02"), "locations": {"DCCL01": "LON1", "DCCL02": "NTH1"}}


def readme() -> dict[str, Any]:
    text = (Path(__file__).parents[3] / "connectors/seko/README.md").read_text()
    found = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return tomllib.loads(found[1])["connectors"]["seko"]


def test_the_readmes_settings_are_settings():
    settings = SekoSettings.model_validate(readme(), context={"environ": {"SEKO_PUSH": "s", "SEKO_KEY": "k"}})
    assert "movement" in settings.polled


@pytest.fixture
def as_in_the_readme(make_play):
    return make_play(**{**readme(), "push_secrets": ["env:SECRET"], "api_key": "env:KEY", "start_at": None})


async def test_a_movement_is_stock_that_left_its_type(as_in_the_readme):
    play = as_in_the_readme
    assert await play.post(play.hub.headers(), MOVEMENT) == 200
    (event,) = play.pushed("stock-adjusted")
    assert (event.sku, event.location, event.delta, event.event_id) == ("TEA-250", "DCCL01", -4, "mov:#77::")
    assert event.to_location == "DCCL01/Quarantine"
    assert play.broker.all("stock-adjusted-dead-letter") == []


async def test_where_the_type_has_no_warehouse_it_left_b1(play):
    assert await play.post(play.hub.headers(), MOVEMENT) == 200
    (event,) = play.pushed("stock-adjusted")
    assert (event.location, event.delta, event.to_location) == ("DCCL01", -4, None)


async def test_the_simulator_sends_what_is_documented(play):
    from connectors.webhooks.body import parse_json

    (documented,) = parse_json(MOVEMENT)["Responses"]  # type: ignore[index]  # as the file has it
    ours = play.hub.move("A", 4, AVAILABLE, "Quarantine").row
    assert ours.keys() == documented["Response"].keys()
    assert ours["StockStatusMovement"].keys() == documented["Response"]["StockStatusMovement"].keys()


# ---- movements that are polled


async def test_a_polled_movement_with_its_number_is_the_pushed_one(play):
    play.hub.move("A", 4, AVAILABLE, "Quarantine")
    (polled,) = await play.look(minutes=1)
    await play.push()
    (pushed,) = play.pushed("stock-adjusted")
    assert (pushed.event_id, pushed.digest) == (polled.event_id, polled.digest)


async def test_polled_movements_without_numbers_show_which_push_is_missing_and_count_none_twice(play):
    play.hub.numbers_in_polls = False
    await play.look()
    for units in (1, 2, 3):
        play.hub.move("A", units, AVAILABLE, "Quarantine")
    play.hub.messages[1].ended = "lost"
    await play.push()
    assert await play.look() == []
    assert sorted(delta for _, _, delta, _ in play.deltas()) == [-3, -1]
    found = await play.look(minutes=60)
    assert ["no push brought it" in error for error in letters(found)] == [True]
    assert b'"Quantity":"2"' in found[0].value
    assert await play.look(minutes=15) == []
    # Sent again by hand, it counts, once.
    play.hub.resend("movement", 2)
    await play.push()
    assert sorted(delta for _, _, delta, _ in play.deltas()) == [-3, -2, -1]
    assert await play.look(minutes=15) == []


async def test_a_movement_that_no_push_brought_is_not_missed_where_it_changes_no_stock_of_b1(play):
    play.hub.numbers_in_polls = False
    play.hub.move("A", 1, "Quarantine", "Query")
    assert await play.look(minutes=120) == []


async def test_old_movements_of_the_first_look_are_letters_at_once(play):
    play.hub.numbers_in_polls = False
    play.hub.move("A", 4, AVAILABLE, "Quarantine")
    play.time.at += timedelta(hours=20)
    assert len(letters(await play.look())) == 1


async def test_where_nothing_is_pushed_movements_without_numbers_are_known_by_what_they_say(make_play):
    play = make_play()
    play.settings = play.settings.model_copy(update={"push_secrets": ()})
    play.source._settings = play.settings
    play.hub.numbers_in_polls = False
    for units in (4, 4, 1):
        play.hub.move("A", units, AVAILABLE, "Quarantine")
    found = await play.look(minutes=1)
    assert [int(each.delta) for each in found if isinstance(each, StockAdjusted)] == [-4, -4, -1]
    assert len({each.event_id for each in found}) == 3
    # A later look over the same time says nothing new; one more of the same is one more.
    assert await play.look(minutes=15) == []
    play.time.at -= timedelta(minutes=16)
    play.hub.move("A", 4, AVAILABLE, "Quarantine")
    play.time.at += timedelta(minutes=31)
    (event,) = await play.look()
    assert event.event_id not in {each.event_id for each in found}


# ---- dispatches that name no facility


async def test_of_several_facilities_the_poll_says_which_one_a_dispatch_left(make_play):
    play = make_play(**TWO)
    await play.look()
    play.hub.load_order("W-1", {"A": 5}, dc="DCCL02")
    play.hub.dispatch("W-1")
    await play.push()
    assert play.broker.calls == []
    (event,) = await play.look()
    assert isinstance(event, DispatchConfirmed)
    assert (event.order_id, event.location) == ("W-1", "DCCL02")
    assert await play.look(minutes=120) == []
    # The same push again, when it is long known: nothing is missed.
    play.hub.resend("dispatch", 1)
    await play.push()
    assert await play.look(minutes=120) == []


async def test_a_dispatch_whose_facility_no_poll_tells_is_a_letter_that_names_its_number(make_play):
    play = make_play(**TWO)
    play.hub.load_order("W-0", {"A": 1}, dc="DCCL01")
    play.hub.dispatch("W-0")
    await play.push()
    await play.look()  # polled rows have their numbers
    play.hub.load_order("W-1", {"A": 5}, dc="DCCL02")
    gone = play.hub.dispatch("W-1")
    await play.push()
    play.hub.messages.remove(gone)
    found = await play.look(minutes=75)
    assert [each.error for each in found if isinstance(each, RefusedRecord)] == [
        "1 dispatch messages never came: 2; send them again in iHub's activity screen, then discard this"
    ]


async def test_a_dispatch_that_cannot_be_polled_is_a_letter_at_once(make_play):
    play = make_play(**TWO, paths={"dispatch": ""})
    play.hub.load_order("W-1", {"A": 5}, dc="DCCL02")
    play.hub.dispatch("W-1")
    await play.push()
    assert len(play.broker.all("dispatch-confirmed-dead-letter")) == 1


def test_a_row_that_polls_show_without_its_number_lacks_nothing_else(play):
    row = without_number(play.hub.move("A", 4, AVAILABLE, "Quarantine"))
    assert "SequenceNumber" not in row["StockStatusMovement"]
    assert row["StockStatusMovement"]["Quantity"] == 4

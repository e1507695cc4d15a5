import pytest

from tests.streams.cli.conftest import Streams, at_once
from tests.streams.facts import PERSON, World, order


@pytest.fixture(autouse=True)
def parked(world: World) -> None:
    at_once(world.fact("order_placed", order("1001", "W-\x1b[31m9")))
    at_once(
        world.letter(
            "order_placed",
            order_id="1001",
            event_id="1001",
            state="parked",
            reason="unknown_item",
            waits_for="item:TSHIRT",
        )
    )


def test_the_story_says_why_not_and_who_acts(streams: Streams) -> None:
    ran = streams("order", "1001")
    assert ran.code == 0
    for words in ("parked", "unknown_item", "merchandising", "the item, valid in B1", "waits for item:TSHIRT"):
        assert words in ran.out
    assert "\x1b" not in ran.out


def test_the_story_names_no_person(streams: Streams) -> None:
    assert PERSON not in streams("order", "1001").out + streams("order", "1001", "--json").out


def test_the_story_for_machines(streams: Streams) -> None:
    (story,) = streams("order", "1001", "--json").data["orders"]
    (event,) = story["events"]
    assert (story["order_id"], event["state"], event["why"]["owner"]) == ("1001", "parked", "merchandising")


def test_an_unknown_id_is_exit_1(streams: Streams) -> None:
    ran = streams("order", "nobody")
    assert ran.code == 1
    assert "received nothing" in ran.err
    assert streams("order", "nobody", "--json").data == {"query": "nobody", "orders": []}

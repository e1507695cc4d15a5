from datetime import timedelta

import pytest

from schemas.records import Document
from streams.query.orders import OrderStory, stories
from tests.streams.facts import NOW, World, dispatch, order
from tests.streams.fakes import config


@pytest.fixture
async def world() -> World:
    """Order 1001 (number W-9) is posted, one of its dispatches is posted, one is dead; 2002 has only arrived."""
    world = World(config(topic_prefix="t-"))
    await world.fact("order_placed", order("1001", "W-9"), age_s=300)
    await world.fact("order_placed", order("2002"), age_s=290)
    await world.fact("dispatch_confirmed", dispatch("S1", "1001"), age_s=200)
    await world.fact("dispatch_confirmed", dispatch("S2", "1001"), age_s=100)
    await world.outcome("order_placed", "1001", "1001", 0)
    documents = (
        Document(object="DeliveryNotes", doc_entry=12, doc_num=200),
        Document(object="Invoices", doc_entry=13, doc_num=3_000_000),
    )
    await world.outcome("dispatch_confirmed", "S1", "1001", 0, documents=documents)
    await world.outcome("dispatch_confirmed", "S2", "1001", 1, outcome="dead", reason="unmapped_carrier", documents=())
    await world.letter(
        "dispatch_confirmed", id="abc", offset=1, order_id="1001", event_id="S2", reason="unmapped_carrier"
    )
    return world


async def find(world: World, ident: str) -> list[OrderStory]:
    return await stories(world.log, world.config, world.codec, ident)


@pytest.mark.parametrize("ident", ["1001", "W-9", "S1", "S2", "e-S1", "4711", "200", "3000000"])
async def test_an_order_is_found_by_everything_people_call_it(world: World, ident: str) -> None:
    (story,) = await find(world, ident)
    assert (story.company, story.order_id, story.order_number) == ("acme", "1001", "W-9")
    assert [(event.type, event.event_id, event.state) for event in story.events] == [
        ("order_placed", "1001", "posted"),
        ("dispatch_confirmed", "S1", "posted"),
        ("dispatch_confirmed", "S2", "dead"),
    ]


async def test_a_story_names_documents_and_says_why_not_and_who_acts(world: World) -> None:
    (story,) = (each.as_json() for each in await find(world, "1001"))
    placed, sent, refused = story["events"]
    assert placed["documents"] == [{"object": "Orders", "doc_num": 4711, "doc_entry": 11}]
    assert [document["object"] for document in sent["documents"]] == ["DeliveryNotes", "Invoices"]
    assert refused["why"] == {
        "reason": "unmapped_carrier",
        "error": "B1 says no; change a setting",
        "owner": "operations",
        "remedy": "companies.*.shipping_types",
        "waits_for": None,
        "blocked_by": None,
        "letter": "abc",
    }


async def test_what_has_only_arrived_is_in_flight(world: World) -> None:
    (story,) = await find(world, "2002")
    assert [event.state for event in story.events] == ["in_flight"]


async def test_nobody_knows_an_unknown_id(world: World) -> None:
    assert await find(world, "9999") == []
    assert await find(world, "100") == []


async def test_a_story_outlives_its_facts(world: World) -> None:
    for topic in ("t-order-placed", "t-dispatch-confirmed"):
        await world.log.delete_records(topic, 0, 2)
    (story,) = await find(world, "1001")
    assert {event.event_id: event.state for event in story.events} == {"1001": "posted", "S1": "posted", "S2": "dead"}


async def test_a_parked_event_that_was_released_is_posted(world: World) -> None:
    later = NOW + timedelta(minutes=1)
    await world.letter(
        "dispatch_confirmed", id="abc", offset=1, order_id="1001", event_id="S2", state="posted", at=later
    )
    await world.outcome("dispatch_confirmed", "S2", "1001", 1, at=later)
    (story,) = await find(world, "S2")
    assert story.events[-1].state == "posted"
    assert story.events[-1].why is None


async def test_a_line_that_a_connector_refused_is_part_of_the_story(world: World) -> None:
    await world.letter("refund_issued", id="line", order_id="1001", event_id="R1", partition=-1, reason="invalid_event")
    (story,) = await find(world, "R1")
    assert [event.event_id for event in story.events if event.state == "dead"] == ["S2", "R1"]


async def test_records_that_cannot_be_read_stop_nobody(world: World) -> None:
    await world.fact("order_placed", b"\x00 1001 is no Avro")
    assert len(await find(world, "1001")) == 1

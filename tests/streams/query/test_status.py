from pathlib import Path

import pytest

from schemas.events import EVENT_TYPES
from streams.query import status
from tests.streams.facts import NOW_MS, World, adjustment, dispatch, order
from tests.streams.fakes import config


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(config(tmp_path, topic_prefix="t-"))


async def read(world: World) -> status.Status:
    return await status.read(world.log, world.config, world.codec, NOW_MS)


async def test_nothing_received_is_idle_and_all_zero(world: World) -> None:
    assert (await read(world)).as_json() == {
        "idle": True,
        "flows": {
            kind: {
                "received": 0,
                "posted": 0,
                "no_op": 0,
                "parked": 0,
                "dead": 0,
                "in_flight": 0,
                "oldest_unposted_s": 0.0,
            }
            for kind in EVENT_TYPES
        },
    }


async def test_a_file_that_no_mapping_takes_is_shown_and_nothing_is_idle(world: World) -> None:
    inbox = world.config.connectors["warehouse"].inbox  # type: ignore[attr-defined]  # it is of the kind ims
    inbox.mkdir(parents=True)
    (inbox / "notes.txt").write_text("x")
    found = await read(world)
    assert found.idle is False
    assert found.as_json()["unmapped_files"] == {"warehouse": ["notes.txt"]}
    (inbox / "notes.txt").unlink()
    assert (await read(world)).idle is True


async def test_an_event_is_in_flight_until_a_stage_has_ended_it(world: World) -> None:
    await world.fact("order_placed", order("1001"), age_s=90)
    assert (await read(world)).flows["order_placed"] == status.FlowStatus(0, 0, 0, 0, 1, 90.0)

    await world.queued("order_placed", "order-placed", 0, age_s=90)
    world.done("order-placed", 1)
    found = await read(world)
    assert (found.idle, found.flows["order_placed"]) == (False, status.FlowStatus(0, 0, 0, 0, 1, 90.0))

    world.done("erp-orders", 1, {("order_placed", "posted"): 1})
    found = await read(world)
    assert (found.idle, found.flows["order_placed"]) == (True, status.FlowStatus(1, 0, 0, 0, 0, 0.0))


async def test_figures_that_do_not_add_up_are_shown_as_they_are(world: World) -> None:
    """A topic that was made anew: its group's counts are of the former one."""
    await world.fact("order_placed", order("1001"))
    world.done("order-placed", 1)
    world.done("erp-orders", 0, {("order_placed", "posted"): 3})
    found = await read(world)
    flow = found.flows["order_placed"]
    assert (flow.received, flow.posted, flow.in_flight) == (1, 3, -2)
    assert (found.idle, found.contradictions) == (False, {"order_placed": 2})


async def test_the_age_is_that_of_the_lowest_unfinished_offset_of_each_flow(world: World) -> None:
    for number, age_s in enumerate((500, 90, 20)):
        await world.fact("order_placed", order(str(number)), age_s=age_s)
        await world.queued("order_placed", "order-placed", number, age_s=age_s)
    await world.fact("dispatch_confirmed", dispatch("S1", "1"), age_s=300)
    await world.queued("dispatch_confirmed", "dispatch-confirmed", 0, age_s=300)
    world.done("order-placed", 3)
    world.done("dispatch-confirmed", 1)
    world.done("erp-orders", 1, {("order_placed", "posted"): 1})
    flows = (await read(world)).flows
    assert flows["order_placed"].oldest_unposted_s == 90.0
    assert flows["dispatch_confirmed"].oldest_unposted_s == 300.0


async def test_a_stock_event_waits_in_the_window_in_the_seal_and_in_the_queue(world: World) -> None:
    await world.fact("stock_adjusted", adjustment("a1"), age_s=30)
    await world.fact("stock_adjusted", adjustment("a1"), age_s=30)
    assert (await read(world)).flows["stock_adjusted"].in_flight == 2
    world.done("stock-adjusted", 2, {("stock_adjusted", "no_op"): 1})
    await world.log.send("t-stock-sealed", 0, None, b"epoch", timestamp_ms=NOW_MS - 15_000)
    found = await read(world)
    assert (found.idle, found.flows["stock_adjusted"]) == (False, status.FlowStatus(0, 1, 0, 0, 1, 15.0))
    world.done("stock-sealed", 1)
    await world.queued("stock_batch", "stock-sealed", 0, queue="erp-stock", age_s=15)
    assert (await read(world)).flows["stock_adjusted"].oldest_unposted_s == 15.0
    world.done("erp-stock", 1, {("stock_adjusted", "posted"): 1})
    assert (await read(world)).flows["stock_adjusted"] == status.FlowStatus(1, 1, 0, 0, 0, 0.0)


@pytest.mark.parametrize(
    ("state", "flow"),
    [
        ("dead", status.FlowStatus(0, 0, 0, 1, 0, 0.0)),
        ("parked", status.FlowStatus(0, 0, 1, 0, 0, 0.0)),
        ("held", status.FlowStatus(0, 0, 1, 0, 0, 0.0)),
        ("posted", status.FlowStatus(1, 0, 0, 0, 0, 0.0)),
        ("no_op", status.FlowStatus(0, 1, 0, 0, 0, 0.0)),
        ("discarded", status.FlowStatus(0, 1, 0, 0, 0, 0.0)),
    ],
)
async def test_a_letter_counts_where_it_stands_now(world: World, state: str, flow: status.FlowStatus) -> None:
    await world.fact("order_placed", order("1"))
    world.done("order-placed", 1, {("order_placed", "dead"): 1})  # a stage's own idea of it never counts twice
    await world.letter("order_placed", state="dead")
    await world.letter("order_placed", state=state)
    found = await read(world)
    assert (found.idle, found.flows["order_placed"]) == (True, flow)
    assert flow.received == 1


async def test_a_replayed_letter_leaves_dead_and_its_event_is_counted_once(world: World) -> None:
    await world.fact("order_placed", order("1"))
    await world.fact("order_placed", order("1"))
    await world.letter("order_placed", state="replayed", republished=1)
    world.done("order-placed", 2, {("order_placed", "posted"): 1})
    flow = (await read(world)).flows["order_placed"]
    assert (flow.received, flow.posted, flow.dead, flow.in_flight) == (1, 1, 0, 0)


async def test_a_letter_of_a_stock_batch_counts_its_events(world: World) -> None:
    for name in ("a", "b", "c"):
        await world.fact("stock_adjusted", adjustment(name))
    world.done("stock-adjusted", 3)
    await world.letter("stock_batch", members=("a", "b", "c"), topic="t-stock-sealed")
    assert (await read(world)).flows["stock_adjusted"] == status.FlowStatus(0, 0, 0, 3, 0, 0.0)


async def test_lines_that_a_connector_refused_were_received_too(world: World) -> None:
    await world.letter("order_placed", id="line", partition=-1, reason="invalid_event")
    await world.letter("inbox", id="unknown", partition=-1, reason="unreadable")
    flows = (await read(world)).flows
    assert (flows["order_placed"].received, flows["order_placed"].dead) == (1, 1)
    assert (flows["inbox"].received, flows["inbox"].dead) == (1, 1)


async def test_a_letter_that_lies_on_another_partition_than_the_company_s_counts_too(world: World) -> None:
    await world.fact("order_placed", b"unreadable")
    letter = await world.letter("order_placed", company="", reason="unreadable", id="first")
    world.log._records["t-dead-letter-state", 0].clear()
    await world.log.send("t-dead-letter-state", 1, letter.id.encode(), world.codec.encode(letter))
    assert (await read(world)).flows["order_placed"].dead == 1


async def test_a_deleted_letter_counts_nothing(world: World) -> None:
    letter = await world.letter("order_placed", partition=-1)
    await world.log.send("t-dead-letter-state", 0, letter.id.encode(), None)
    assert (await read(world)).flows["order_placed"].received == 0


async def test_an_unread_file_is_not_idle(world: World) -> None:
    inbox = world.config.folder / "in/shop"
    inbox.mkdir(parents=True)
    (inbox / "orders.jsonl.part").write_text("{}\n")
    assert (await read(world)).idle
    (inbox / "orders.jsonl").write_text("{}\n")
    assert not (await read(world)).idle


async def test_what_moves_between_two_looks_is_not_idle(world: World) -> None:
    await world.fact("order_placed", order("1"))
    world.done("order-placed", 1, {("order_placed", "no_op"): 1})
    bounds, asked = world.log.bounds, []

    async def move_on_second_look(topic: str, partition: int) -> tuple[int, int]:
        asked.append((topic, partition))
        if asked.count(("t-order-placed", 1)) == 2 and (topic, partition) == ("t-order-placed", 1):
            await world.fact("order_placed", order("2"), partition=1)
            world.done("order-placed", 1, {("order_placed", "no_op"): 1}, partition=1)
        return await bounds(topic, partition)

    world.log.bounds = move_on_second_look  # type: ignore[method-assign]
    found = await read(world)
    assert (found.idle, found.flows["order_placed"].in_flight) == (False, 0)
    assert (await read(world)).idle


async def test_what_a_commit_notes_beside_counts_is_no_flow(world: World) -> None:
    """Whatever a company is called."""
    await world.fact("order_placed", order("1001"))
    world.done("order-placed", 1)
    notes = {("company", name): 1 for name in ("posted", "refused", "republished")} | {("closed_until", "posted"): 9}
    world.done("erp-orders", 0, {("order_placed", "posted"): 1, ("order-placed", "0"): 1, **notes})
    found = await read(world)
    assert found.flows.keys() == {*EVENT_TYPES}
    assert (found.flows["order_placed"].received, found.flows["order_placed"].posted) == (1, 1)

from pathlib import Path

from tests.streams.cli.conftest import Streams, at_once
from tests.streams.facts import World, order


def test_status_is_the_json_of_the_contract(streams: Streams, world: World) -> None:
    at_once(world.fact("order_placed", order("1")))
    ran = streams("status", "--json")
    assert ran.code == 0
    assert set(ran.data) == {"idle", "flows"}
    assert ran.data["idle"] is False
    flow = ran.data["flows"]["order_placed"]
    assert set(flow) == {"received", "posted", "no_op", "parked", "dead", "in_flight", "oldest_unposted_s"}
    assert flow["received"] == sum(flow[end] for end in ("posted", "no_op", "parked", "dead", "in_flight")) == 1


def test_status_for_people_is_a_table(streams: Streams, world: World) -> None:
    ran = streams("status")
    assert ran.code == 0
    assert "order_placed" in ran.out
    assert "idle" in ran.out


def test_status_names_the_files_that_nobody_reads_and_what_to_do(streams: Streams, world: World, folder: Path) -> None:
    (folder / "in/warehouse").mkdir(parents=True)
    (folder / "in/warehouse/notes.txt").write_text("x")
    ran = streams("status")
    assert "warehouse reads none of: notes.txt; name them *.jsonl" in " ".join(ran.out.split())
    assert "busy" in ran.out


def test_topics_that_are_not_there_say_so(streams: Streams, world: World) -> None:
    world.log._records.clear()
    ran = streams("status")
    assert ran.code == 1
    assert "no such partition" in ran.err

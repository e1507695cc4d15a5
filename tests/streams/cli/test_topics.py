from schemas.topics import TOPICS
from tests.streams.cli.conftest import Streams
from tests.streams.facts import World
from tests.streams.fakes import MemoryLog


def test_check_says_no_until_apply_has_made_them(streams: Streams, world: World) -> None:
    world.log = MemoryLog()
    ran = streams("topics", "check", "--json")
    assert (ran.code, len(ran.data["differences"])) == (1, len(TOPICS))
    ran = streams("topics", "apply", "--json")
    assert (ran.code, len(ran.data["created"]), ran.data["differences"]) == (0, len(TOPICS), [])
    assert streams("topics", "check").code == 0
    assert streams("topics", "apply", "--json").data["created"] == []


def test_a_difference_is_exit_1_with_its_remedy(streams: Streams, world: World) -> None:
    world.log = MemoryLog()
    streams("topics", "apply")
    world.log._topics["erp-orders"].configs["retention.ms"] = "1"  # type: ignore[index]
    ran = streams("topics", "check")
    assert ran.code == 1
    assert "kafka-configs" in ran.out

"""`streams connect retire` and `streams company retire`."""

from connectors.base.clock import SystemClock
from connectors.base.cursors import CURSORS, Cursors, partition_of
from streams.faust_host.watermarks import encode_counts
from streams.posting.foreign import queue_of
from tests.streams.cli.conftest import Streams, at_once
from tests.streams.facts import World


def been_here(world: World, name: str) -> None:
    topic, partition = world.config.topic(CURSORS), partition_of(name, world.config.kafka.partitions)
    at_once(Cursors(name, world.log, world.codec, SystemClock(), topic=topic, partition=partition).load())


def audited(streams: Streams) -> list[tuple[str, str, str]]:
    return [(row["action"], row["what"], row["by"]) for row in streams("audit", "--json").data if row["result"]]


def test_a_connector_is_ended_once_and_audited(streams: Streams, world: World) -> None:
    been_here(world, "old")
    ran = streams("connect", "retire", "old", "--why", "sold", "--by", "jane", "--json")
    assert (ran.code, ran.data) == (0, {"connector": "old", "deleted": 1})
    again = streams("connect", "retire", "old")
    assert again.code == 1
    assert "nothing is known" in again.out
    assert audited(streams) == [("connect retire", "old", "jane")]


def test_what_is_configured_is_not_ended(streams: Streams, world: World) -> None:
    been_here(world, "shop")
    for command, name in (("connect", "shop"), ("company", "acme")):
        ran = streams(command, "retire", name)
        assert ran.code == 2
        assert "is in the configuration" in ran.err
    assert audited(streams) == []


def test_a_company_is_ended_and_audited(streams: Streams, world: World) -> None:
    assert streams("company", "retire", "gone").code == 1
    world.log.commit(world.config.group, world.config.topic("erp-orders"), 1, 0, encode_counts(queue_of("gone")))
    ran = streams("company", "retire", "gone", "--by", "jane", "--json")
    assert (ran.code, ran.data) == (0, {"company": "gone", "queued": 0})
    assert audited(streams) == [("company retire", "gone", "jane")]

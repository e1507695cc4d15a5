from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from connectors.base.clock import SystemClock
from schemas.codec import embedded_codec
from schemas.records import SealedEpoch
from schemas.topics import TOPICS
from streams.chain.known_logs import KnownLogs
from streams.faust_host.watermarks import Start, encode_counts
from tests import builders
from tests.streams.cli.conftest import Streams, at_once
from tests.streams.facts import NOW, World, adjustment, order
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


def sealed(world: World) -> list[SealedEpoch]:
    return [embedded_codec().decode(one.value or b"", SealedEpoch) for one in world.log._records["stock-sealed", 1]]


def test_without_yes_it_only_says_what_would_be_lost(streams: Streams, lost: World) -> None:
    ran = streams("topics", "accept", "stock-adjusted/1", "--why", "disk lost")
    assert ran.code == 1
    assert "holds offsets 5 to 6, its chain is sealed up to 2: 3 events were published and never read" in ran.out
    assert "nothing is changed; with --yes" in ran.out
    assert len(sealed(lost)) == 1


def test_with_yes_the_chain_goes_on_and_keeps_who_when_and_why(streams: Streams, lost: World) -> None:
    ran = streams("topics", "accept", "stock-adjusted/1", "--why", "disk lost", "--by", "ann", "--yes", "--json")
    assert (ran.code, ran.data) == (
        0,
        {
            "accepted": True,
            "by": "ann",
            "why": "disk lost",
            "disagreement": {
                "topic": "stock-adjusted",
                "partition": 1,
                "log_start": 5,
                "log_end": 6,
                "reached": 2,
                "another": False,
                "lost": 3,
            },
        },
    )
    epoch = sealed(lost)[-1]
    assert (epoch.number, epoch.start, epoch.end, epoch.cause, epoch.no_ops) == (
        1,
        2,
        5,
        "accepted by ann: disk lost",
        3,
    )
    assert epoch.sealed_at > NOW - timedelta(days=1)
    again = streams("topics", "accept", "stock-adjusted/1", "--why", "disk lost", "--yes")
    assert (again.code, "nothing to accept" in again.out, len(sealed(lost))) == (1, True, 2)


@pytest.mark.parametrize(
    "named", ["stock-adjusted/2", "stock-adjusted", "erp-outcomes/0", "stock-adjusted/x", "erp-orders/2"]
)
def test_what_is_no_partition_that_is_read_is_wrong_use(streams: Streams, world: Any, named: str) -> None:
    ran = streams("topics", "accept", named, "--why", "disk lost", "--yes")
    assert ran.code == 2
    assert "name one of order-placed" in ran.err


def test_a_reason_must_be_given(streams: Streams, world: Any) -> None:
    assert streams("topics", "accept", "stock-adjusted/1", "--yes").code == 2
    assert streams("topics", "accept", "stock-adjusted/1", "--yes", "--why", " ").code == 2


@pytest.mark.parametrize(
    "topic", ["order-placed", "erp-orders", "erp-stock", "erp-documents", "stock-sealed", "stock-adjusted"]
)
def test_a_topic_that_was_made_anew_is_read_on_once_that_is_accepted_and_the_audit_says_so(
    streams: Streams, world: World, topic: str
) -> None:
    place = topic, 1
    logs = lambda: KnownLogs(world.log, embedded_codec(), world.config, SystemClock())  # noqa: E731
    assert isinstance(at_once(logs().examine([place]))[place], Start)
    assert streams("topics", "accept", f"{topic}/1", "--why", "restored", "--yes").code == 1  # nothing to accept
    world.log.make_anew(topic)
    said = streams("topics", "accept", f"{topic}/1", "--why", "restored")
    assert said.code == 1
    assert "nothing is changed" in said.out
    done = streams("topics", "accept", f"{topic}/1", "--why", "restored", "--by", "ann", "--yes", "--json")
    assert (done.code, done.data["disagreement"]["another"]) == (0, True)
    after = logs()
    assert isinstance(at_once(after.examine([place]))[place], Start)
    assert after.number(*place) == 1
    told = streams("audit", "--json").data
    assert [(one["by"], one["what"]) for one in told if one["action"] == "topics accept"][-1] == ("ann", f"{topic}/1")


@pytest.mark.parametrize("losses_before", [0, 1])
def test_figures_add_up_after_a_topic_was_made_anew_and_accepted(
    streams: Streams, world: World, losses_before: int
) -> None:
    """Kafka forgets what was committed of a topic that is deleted; the counts of the queues go on."""
    topic, queue = world.config.topic("order-placed"), world.config.topic("erp-orders")
    logs = lambda: KnownLogs(world.log, embedded_codec(), world.config, SystemClock())  # noqa: E731

    def worker() -> None:
        start = at_once(logs().examine([(topic, 0)]))[topic, 0]
        world.log.commit(world.config.group, topic, 0, start.offset, encode_counts(start.counts or {}))

    def figures() -> tuple[int, ...]:
        flow = streams("status", "--json").data["flows"]["order_placed"]
        return tuple(flow[name] for name in ("received", "posted", "no_op", "dead", "in_flight"))

    worker()
    for number in range(4 + losses_before):
        at_once(world.fact("order_placed", order(str(number))))
    if losses_before:  # the first one by retention
        at_once(world.log.delete_records(topic, 0, 1))
        assert streams("topics", "accept", "order-placed/0", "--why", "expired", "--yes").code == 0
        worker()
    log, end = losses_before, 4 + losses_before
    at_once(world.letter("order_placed", offset=end - 3, log=log))
    posting = builders.posting("order_placed", topic=topic, partition=0, offset=end - 2, log=log)
    for _ in range(2):  # one of them is admitted
        at_once(world.log.send(queue, 0, b"acme", world.codec.encode(posting)))
        posting = replace(posting, offset=end - 1)
    where = f"0.{log}" if log else "0"
    counts = {("order_placed", "posted"): 2, ("order-placed", where): end - 1}
    world.log.commit(world.config.group, queue, 0, 1, encode_counts(counts))
    before = figures()
    assert before == (end, 2, losses_before, 1, 1)
    world.log.make_anew(topic)
    at_once(world.fact("order_placed", order("new")))
    assert streams("topics", "accept", "order-placed/0", "--why", "restored", "--yes").code == 0
    worker()
    assert figures() == (end + 1, 2, losses_before, 1, 2)
    world.log.commit(world.config.group, queue, 0, 2, encode_counts(counts | {("order_placed", "posted"): 4}))
    assert figures() == (end + 1, 4, losses_before, 1, 0)


def test_figures_of_stock_add_up_after_its_topic_was_made_anew_and_accepted(streams: Streams, world: World) -> None:
    topic = world.config.topic("stock-adjusted")
    logs = KnownLogs(world.log, embedded_codec(), world.config, SystemClock())
    at_once(logs.examine([(topic, 0)]))
    for number in range(3):
        at_once(world.fact("stock_adjusted", adjustment(str(number))))
    epoch = SealedEpoch(
        number=0, prev_digest=bytes(16), start=0, end=3, sealed_at=NOW, config_version="c", cause="length", batches=(),
        no_ops=1,
    )  # fmt: skip
    at_once(world.log.send(world.config.topic("stock-sealed"), 0, b"0", world.codec.encode(epoch)))
    world.done("stock-adjusted", 3, {("stock_adjusted", "no_op"): 1})
    world.done("stock-sealed", 1)
    world.done("erp-stock", 0, {("stock_adjusted", "posted"): 2})
    world.log.make_anew(topic)
    at_once(world.fact("stock_adjusted", adjustment("new")))
    assert streams("topics", "accept", "stock-adjusted/0", "--why", "restored", "--yes").code == 0
    world.done("stock-adjusted", 0, {("stock_adjusted", "no_op"): 1})
    flow = streams("status", "--json").data["flows"]["stock_adjusted"]
    assert (flow["received"], flow["posted"], flow["no_op"], flow["in_flight"]) == (4, 2, 1, 1)

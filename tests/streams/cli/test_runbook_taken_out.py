"""docs/runbooks/taken-out.md: its commands lead from what is left behind to nothing being left, in its order."""

import asyncio
import shlex
from pathlib import Path

from connectors.base.clock import SystemClock
from streams.audit.trail import AuditTrail
from streams.chain.keys import event_key
from streams.dead_letters.publisher import DeadLetterPublisher
from streams.faust_host.watermarks import encode_counts
from streams.posting.foreign import queue_of
from streams.posting.retired import OwnerlessQueue, retired_companies
from streams.telemetry.metrics import Metrics
from tests import builders
from tests.streams.cli.conftest import Ran, Streams, at_once
from tests.streams.cli.test_check import MasterDataOnly, b1
from tests.streams.cli.test_retire import been_here
from tests.streams.facts import World
from tests.streams.fakes import ROOT
from tests.streams.records import FakeBatch, raw_of

__all__ = ["b1"]  # a fixture

PAGE = (ROOT / "docs/runbooks/taken-out.md").read_text(encoding="utf-8")
COMMANDS = [line.strip() for line in PAGE.splitlines() if line.strip().startswith("streams ")]
QUEUE, NUMBER = "erp-orders", 1  # of the partitions that nobody has now


async def gone_company(world: World) -> None:
    """A fact of the company `gone` has been queued, and its worker never came to it."""
    event = builders.order("1", company="gone")
    await world.fact("order_placed", event)
    world.done("order-placed", 1)
    topic = world.config.topic("order-placed")
    posting = builders.posting(
        "order_placed", k=event_key(event), company="gone", topic=topic, value=world.codec.encode(event)
    )
    await world.log.send(world.config.topic(QUEUE), NUMBER, b"gone", world.codec.encode(posting))
    world.done(QUEUE, 0, queue_of("gone"), NUMBER)


async def worker_without_it(world: World) -> int:
    """The rest of a worker's work on that partition; how far it comes."""
    log, config, codec, clock = world.log, world.config, world.codec, SystemClock()
    letters = DeadLetterPublisher(log, codec, config.topic, lambda _: 0, clock, Metrics(config))
    queue = OwnerlessQueue(letters, codec, lambda: retired_companies(AuditTrail(log, config, codec, clock)))
    batch = FakeBatch([raw_of(one) for one in log._records[config.topic(QUEUE), NUMBER]])
    queue.take(batch)
    working = asyncio.create_task(queue.run())
    await asyncio.sleep(0.05)
    working.cancel()
    world.log.commit(config.group, config.topic(QUEUE), NUMBER, len(batch.finished), encode_counts(queue_of("gone")))
    return len(batch.finished)


def test_the_commands_of_the_page_lead_to_nothing_being_left(
    streams: Streams, world: World, b1: MasterDataOnly, folder: Path
) -> None:
    been_here(world, "old-shop")
    at_once(gone_company(world))
    assert at_once(worker_without_it(world)) == 0
    ran: list[Ran] = []
    for command in COMMANDS:
        ran.append(streams(*shlex.split(command)[1:]))
        if command.startswith("streams company retire"):
            assert at_once(worker_without_it(world)) == 1
    found = dict(zip([f"{n} {command}" for n, command in enumerate(COMMANDS)], ran, strict=True))
    first, *others, last_check, status, _ = found.values()
    assert first.code == 1
    assert "streams connect retire old-shop" in first.out + first.err
    assert "streams company retire gone" in first.out + first.err
    assert [each.code for each in (*others, last_check, status)] == [0] * (len(found) - 2), found
    assert streams("audit", "verify").code == 0
    flow = streams("status", "--json").data["flows"]["order_placed"]
    assert (flow["received"], flow["no_op"], flow["in_flight"]) == (1, 1, 0)
    assert [row["action"] for row in streams("audit", "--json").data if row["result"]] == [
        "connect retire",
        "company retire",
        "dlq discard",
    ]

"""A connector that was taken out of the configuration: start-up names it, and a person can end it."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from connectors.base.clock import SystemClock
from connectors.base.cursors import CURSORS, Cursors, Position, partition_of
from connectors.base.errors import FatalError
from connectors.base.levels import Level, Pending
from schemas.codec import embedded_codec
from streams.config.load import Config
from streams.connect.retire import UnpublishedError, check_orphans, left_behind, retire
from tests.streams.facts import adjustment
from tests.streams.fakes import MemoryLog
from tests.streams.records import two_companies

CODEC = embedded_codec()
MakeCursors = Callable[[str], Cursors]


@pytest.fixture
def config() -> Config:
    """Without the connector `depot`."""
    config = two_companies()
    return replace(config, connectors={name: each for name, each in config.connectors.items() if name != "depot"})


@pytest.fixture
def log(config: Config) -> MemoryLog:
    return MemoryLog.of(config)


@pytest.fixture
def cursors(config: Config, log: MemoryLog) -> MakeCursors:
    partitions = config.kafka.partitions
    return lambda name: Cursors(
        name, log, CODEC, SystemClock(), topic=config.topic(CURSORS), partition=partition_of(name, partitions)
    )


async def end(config: Config, log: MemoryLog, name: str) -> int:
    places = (await left_behind(config, log)).get(name, set())
    await retire(config, log, CODEC, SystemClock(), places)
    return len(places)


async def test_what_it_left_is_ended_and_start_up_goes_on(config: Config, log: MemoryLog, cursors: MakeCursors) -> None:
    depot = cursors("depot")
    await depot.load()
    await depot.write_levels({("A", "MAIN"): Level(1, Decimal(5))})
    await depot.advance(Position("line 7", no_op={"stock_adjusted": 2}))
    await cursors("depot/backfill/2026-01-01/2026-02-01").load()
    with pytest.raises(FatalError, match="streams connect retire depot"):
        await check_orphans(config, log)
    assert await end(config, log, "depot") == 3
    await check_orphans(config, log)
    assert await end(config, log, "depot") == 0


async def test_under_its_old_name_a_new_one_begins_at_the_beginning(
    config: Config, log: MemoryLog, cursors: MakeCursors
) -> None:
    depot = cursors("depot")
    await depot.load()
    await depot.write_levels({("A", "MAIN"): Level(1, Decimal(5))})
    await depot.advance(Position("line 7"))
    await end(config, log, "depot")
    again = cursors("depot")
    await again.load()
    assert (again.position, again.levels) == (Position(), {})
    await again.advance(Position("line 2"))
    third = cursors("depot")
    await third.load()
    assert third.position.cursor == "line 2"


async def test_counts_that_were_perhaps_not_published_are_not_ended(
    config: Config, log: MemoryLog, cursors: MakeCursors
) -> None:
    depot = cursors("depot")
    await depot.load()
    await depot.write_levels({("A", "MAIN"): Level(2, Decimal(5), (Pending(2, adjustment("e1")),))})
    with pytest.raises(UnpublishedError, match="1 changes of depot"):
        await end(config, log, "depot")
    assert set(await left_behind(config, log)) == {"depot"}


async def test_a_process_that_runs_it_still_is_shut_out_before(
    config: Config, log: MemoryLog, cursors: MakeCursors
) -> None:
    depot = cursors("depot")
    await depot.load()
    await end(config, log, "depot")
    await cursors("other").load()
    records: list[Any] = [await log.bounds(config.topic(CURSORS), n) for n in range(config.kafka.partitions)]
    assert sum(stop for _, stop in records) == 4  # loaded, shut out, ended; and the other one's

"""Chaos on real processes, the short form; the long one is `make chaos RUNS=n`."""

from dataclasses import replace

import pytest

from tests.chaos.generator import Generator
from tests.chaos.run import SHORT, run


@pytest.mark.kafka
async def test_killed_paused_and_cut_off_nothing_is_lost_or_posted_twice() -> None:
    # One seed, so that a failure of `make test` can be played again; new seeds are the long form's.
    report = await run(20_260_101, SHORT)
    assert report.ok, str(report)
    assert report.kills > SHORT.kills // 2


def test_the_same_seed_writes_the_same_history() -> None:
    once, again, other = (Generator(seed, seconds=20, per_second=10).make() for seed in (7, 7, 8))
    assert once == again
    assert once != other
    assert [line.at_s for line in once] == sorted(line.at_s for line in once)
    assert {replace(line, at_s=0) for line in once if line.repeat} != set()

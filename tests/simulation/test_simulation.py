"""The real core under a simulated broker, ERP and clock: seeds, crash points, planted bugs."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.many import WITHIN, find_all, run_many
from tests.simulation.plan import POINTS
from tests.simulation.plants import PLANTS, check_takes_the_same
from tests.simulation.world import Result, run

ROOT = Path(__file__).parents[2]
TIER_SEEDS = 60
SEEDS = int(os.environ.get("SIMULATION_SEEDS", "1000"))


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return list(run_many(range(SEEDS)))


def test_every_event_ends_exactly_once_whatever_fails(results: list[Result]) -> None:
    failed = {result.seed: result.violations for result in results if result.violations}
    assert failed == {}, f"replay one: python -m tests.simulation --seeds 1 --start {next(iter(failed))}"


def test_guard_and_look_up_end_every_event_once_as_well() -> None:
    """No request in here is later than a quiet period, and nobody is frozen that long."""
    failed = {
        (tier, seed): violations
        for tier in ("guard", "lookup")
        for seed in range(TIER_SEEDS)
        if (violations := run(seed, tier=tier).violations)
    }
    assert failed == {}


def test_every_crash_point_is_passed_and_survived(results: list[Result]) -> None:
    passed, survived = Counter[str](), Counter[str]()
    for result in results:
        passed += result.hits
        if not result.violations:
            survived += result.survived
    assert [point for point in POINTS if not passed[point]] == []
    assert [point for point in POINTS if not survived[f"kill {point}"]] == []
    assert [point for point in POINTS if not survived[f"freeze {point}"]] == []
    assert survived["fatal record"]


def test_seeds_differ_and_something_happens_in_them(results: list[Result]) -> None:
    assert len({result.digest for result in results}) > 0.98 * len(results)
    documents = sum(result.stats["documents"] for result in results)
    assert documents > 5 * len(results)


def test_every_planted_bug_is_found() -> None:
    found = {sentence: seed for sentence, seed, _ in find_all()}
    assert [sentence for sentence, seed in found.items() if seed is None] == [], f"within {WITHIN} seeds"
    assert PLANTS.keys() == found.keys()


@pytest.mark.parametrize("sentence", PLANTS)
def test_a_planted_bug_takes_what_it_replaces_is_given(sentence: str) -> None:
    with PLANTS[sentence]():
        pass


def test_a_plant_that_takes_less_is_refused() -> None:
    with pytest.raises(TypeError):
        check_takes_the_same(lambda batch, log=0: None, lambda batch: None)


def test_a_seed_replays_exactly_whatever_python_hashes_to() -> None:
    """Two processes with other hashes of strings write and send the same at the same times."""
    script = "from tests.simulation.world import run\nfor seed in range(40): print(run(seed).digest)"
    digests = [
        subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hashes in ("1", "2")
    ]
    assert digests[0] == digests[1]
    assert len(digests[0].split()) == 40


def test_a_run_in_this_process_is_the_run_of_the_others(results: list[Result]) -> None:
    assert results[7].digest == run(results[7].seed).digest

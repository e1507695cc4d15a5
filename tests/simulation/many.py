"""Many seeds on several cores."""

from collections.abc import Iterable, Iterator
from multiprocessing import get_context

from tests.simulation.plants import PLANTS
from tests.simulation.world import Result, run

WITHIN = 1000


def run_many(seeds: Iterable[int], workers: int = 2) -> Iterator[Result]:
    """Results as they come, in the order of the seeds. Fresh processes: nothing of this one's state is in them."""
    with get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(run, seeds, chunksize=8)


def find_all(workers: int = 2) -> Iterator[tuple[str, int | None, str]]:
    """For each planted bug the first seed that finds it, and what was seen; None: none within `WITHIN` seeds."""
    with get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(find, PLANTS)


def find(sentence: str) -> tuple[str, int | None, str]:
    for seed in range(WITHIN):
        violations = run(seed, PLANTS[sentence]).violations
        broken = [
            violation
            for violation in violations
            if "ended by TypeError" in violation or "ended by AttributeError" in violation
        ]
        if broken:
            raise AssertionError(f"{sentence}: the planted code does not fit what it replaces any more: {broken[0]}")
        if violations:
            return sentence, seed, violations[0]
    return sentence, None, ""

"""`python -m tests.simulation --seeds 10000 --start 0`: run many seeds.

A failing one is named, with how to replay it.
"""

import argparse
import sys

from tests.simulation.many import run_many
from tests.simulation.world import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many seeds")
    parser.add_argument("--start", type=int, default=0, help="the first one")
    parser.add_argument("--workers", type=int, default=2, help="processes; 0: in this one, for a debugger")
    given = parser.parse_args()
    seeds = range(given.start, given.start + given.seeds)
    failed = 0
    results = run_many(seeds, given.workers) if given.workers else map(run, seeds)
    for done, result in enumerate(results, 1):
        if result.violations:
            failed += 1
            sys.stdout.write(
                f"\nseed {result.seed} fails; replay: python -m tests.simulation --seeds 1 --start {result.seed}\n"
            )
            sys.stdout.writelines(f"  {violation}\n" for violation in result.violations)
        if done % 100 == 0 or done == given.seeds:
            sys.stdout.write(f"{done} of {given.seeds} seeds, {failed} failed\n")
            sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

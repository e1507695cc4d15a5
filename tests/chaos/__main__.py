"""`python -m tests.chaos --runs N [--seed S] [--minutes M]`: the long form; exit 1 when any run is not clean.

`--check FOLDER` judges the evidence in a kept folder again.
"""

import argparse
import asyncio
import logging
import pickle
import random
import sys
from pathlib import Path

from tests.chaos.checker import check
from tests.chaos.run import EVIDENCE, SHORT, long, run


def main() -> int:
    """Run, print each report, and a summary."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Chaos on real processes.")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seed", type=int, help="of the first run; the next ones count on (default: drawn)")
    parser.add_argument("--minutes", type=float, default=3, help="of faults, for each run")
    parser.add_argument("--short", action="store_true", help="the short form, as in make test")
    parser.add_argument("--verbose", action="store_true", help="show the faults as they happen")
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="judge a kept folder's evidence again")
    options = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that is away is what this is about
    if options.check is not None:
        verdict = check(pickle.loads((options.check / EVIDENCE).read_bytes()))
        _print("\n".join([str(one) for one in verdict.discrepancies] or ["clean"]))
        return 0 if verdict.ok else 1
    first = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    shape = SHORT if options.short else long(options.minutes)
    clean = 0
    for seed in range(first, first + options.runs):
        report = asyncio.run(run(seed, shape, _print if options.verbose else lambda _: None))
        _print(str(report))
        clean += report.ok
    _print(f"{clean} of {options.runs} runs clean")
    return 0 if clean == options.runs else 1


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.chaos --runs N [--seed S] [--minutes M]`: the long form; exit 1 when any run is not clean."""

import argparse
import asyncio
import random
import sys

from tests.chaos.run import SHORT, long, run


def main() -> int:
    """Run, print each report, and a summary."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Chaos on real processes.")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seed", type=int, help="of the first run; the next ones count on (default: drawn)")
    parser.add_argument("--minutes", type=float, default=3, help="of faults, for each run")
    parser.add_argument("--short", action="store_true", help="the short form, as in make test")
    parser.add_argument("--verbose", action="store_true", help="show the faults as they happen")
    options = parser.parse_args()
    first = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    shape = SHORT if options.short else long(options.minutes)
    clean = 0
    for seed in range(first, first + options.runs):
        report = asyncio.run(run(seed, shape, _print if options.verbose else lambda _: None))
        _print(str(report))
        clean += report.ok
    _print(f"{clean} of {options.runs} runs clean; kills, pauses, broker kills of each: {shape.kills}, {shape.pauses}, {shape.broker_kills}")
    return 0 if clean == options.runs else 1


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

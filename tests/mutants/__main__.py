"""`python -m tests.mutants`: plant every bug of the catalogue, one at a time, and demand that its tests see it.

Ends with 1 where one survives, does not apply to today's source, or cannot be run.
"""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.mutants.mutant import ROOT, load
from tests.mutants.run import Verdict, failing_without, judge_all, sample


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these")
    parser.add_argument("--subject", help="only those of one file of the catalogue")
    parser.add_argument("--sample", type=int, help="only so many, chosen by the seed")
    parser.add_argument("--seed", help="of the sample; else the commit")
    parser.add_argument("--workers", type=int, default=2, help="processes at a time")
    parser.add_argument("--json", type=Path, help="write the verdicts there")
    given = parser.parse_args()
    mutants = list(load().values())
    if given.names:
        mutants = [mutant for mutant in mutants if mutant.name in given.names]
    if given.subject:
        mutants = [mutant for mutant in mutants if mutant.subject == given.subject]
    if given.sample:
        seed = given.seed or _commit()
        mutants = sample(mutants, given.sample, seed)
        sys.stdout.write(f"{len(mutants)} of the catalogue, by seed {seed}\n")
    began = time.monotonic()
    if failing := failing_without(mutants):
        sys.stdout.write("These fail though nothing is planted:\n" + "\n".join(failing) + "\n")
        return 1
    verdicts = []
    for verdict in judge_all(mutants, given.workers):
        verdicts.append(verdict)
        sys.stdout.write(f"{verdict.what:15}{verdict.mutant.name}: {verdict.says}\n")
        sys.stdout.flush()
    sys.stdout.write(_table(verdicts, time.monotonic() - began))
    if given.json is not None:
        given.json.write_text(json.dumps([_row(verdict) for verdict in verdicts], indent=1) + "\n", encoding="utf-8")
    return 0 if verdicts and all(verdict.is_good for verdict in verdicts) else 1


def _commit() -> str:
    """Every commit has another sample, and the same one again."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "0"


def _table(verdicts: list[Verdict], took_s: float) -> str:
    subjects = dict.fromkeys(verdict.mutant.subject for verdict in verdicts)
    counts = Counter((verdict.mutant.subject, verdict.what) for verdict in verdicts)
    whats = sorted({verdict.what for verdict in verdicts})
    lines = ["\n" + f"{'subject':14}" + "".join(f"{what:>16}" for what in whats)]
    lines += [f"{subject:14}" + "".join(f"{counts[subject, what]:16}" for what in whats) for subject in subjects]
    return "\n".join(lines) + f"\n{len(verdicts)} in {took_s:.0f} s\n"


def _row(verdict: Verdict) -> dict[str, str]:
    mutant = verdict.mutant
    return {
        "name": mutant.name,
        "subject": mutant.subject,
        "file": mutant.file,
        "would": mutant.would,
        "verdict": verdict.what,
        "says": verdict.says,
    }


if __name__ == "__main__":
    sys.exit(main())

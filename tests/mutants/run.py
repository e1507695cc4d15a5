"""Plants each bug, runs the tests that are named to see it, and says what became of it."""

import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random

from tests.mutants.mutant import ROOT, Mutant, NotApplicableError
from tests.mutants.planted import NOT_LOADED, OPTIONS

#: What a bug may make its tests last; one that makes them hang is seen, too.
TIMEOUT_S = 180
_PASSED, _FAILED = 0, 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one planted bug.

    Attributes:
        what: `killed`; `survived`; `equivalent`; `does not apply`; `not run` (its tests cannot be run, or do not import
            what was changed).
        says: The test that saw it, or what is wrong.
    """

    mutant: Mutant
    what: str
    says: str = ""

    @property
    def is_good(self) -> bool:
        return self.what in ("killed", "equivalent")


def pytest_command(tests: Iterable[str]) -> list[str]:
    return [sys.executable, "-m", "pytest", *OPTIONS, *map(path_of, tests)]


def path_of(test: str) -> str:
    return f"tests/{test}"


def failing_without(mutants: Sequence[Mutant]) -> list[str]:
    """Which of the tests fail though nothing is planted: they prove nothing."""
    tests = sorted({test for mutant in mutants for test in mutant.killed_by})
    if not tests:
        return []
    done = subprocess.run(
        pytest_command(tests), cwd=ROOT, capture_output=True, text=True, check=False, timeout=TIMEOUT_S * 10
    )
    if done.returncode == _PASSED:
        return []
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return lines or [f"pytest ends with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}"]


def judge(mutant: Mutant) -> Verdict:
    """Plant one and run its tests in a process of their own."""
    try:
        mutant.planted((ROOT / mutant.file).read_text(encoding="utf-8"))
    except (NotApplicableError, OSError, SyntaxError) as error:
        return Verdict(mutant, "does not apply", str(error))
    if mutant.equivalent:
        return Verdict(mutant, "equivalent", mutant.equivalent)
    command = [sys.executable, "-m", "tests.mutants.planted", mutant.name, *map(path_of, mutant.killed_by)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return Verdict(mutant, "killed", f"nothing ends within {TIMEOUT_S} s")
    if done.returncode == _FAILED:
        seen = next((line for line in done.stdout.splitlines() if line.startswith("FAILED")), "a test errors")
        return Verdict(mutant, "killed", seen.removeprefix("FAILED ").partition(" - ")[0])
    if done.returncode == _PASSED:
        return Verdict(mutant, "survived", mutant.would)
    if done.returncode == NOT_LOADED:
        return Verdict(mutant, "not run", f"no test of {list(mutant.killed_by)} imports {mutant.file}")
    return Verdict(mutant, "not run", f"pytest ends with {done.returncode}: {(done.stdout + done.stderr)[-300:]}")


def judge_all(mutants: Sequence[Mutant], workers: int) -> Iterator[Verdict]:
    """In their order, as they come."""
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(judge, mutants)


def sample(mutants: Sequence[Mutant], size: int, seed: str) -> list[Mutant]:
    """So many of those that tests kill: the same for the same seed, spread over the subjects as they are."""
    killable = [mutant for mutant in mutants if not mutant.equivalent]
    chosen = Random(seed).sample(killable, min(size, len(killable)))
    return sorted(chosen, key=lambda mutant: (mutant.subject, mutant.name))

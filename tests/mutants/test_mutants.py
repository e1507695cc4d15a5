"""The catalogue of planted bugs: every one applies to today's source, and a bug that is planted is in force."""

import subprocess
import sys
from dataclasses import replace

import pytest

from tests.house.test_requirements import names
from tests.mutants.mutant import ROOT, Mutant, NotApplicableError, load
from tests.mutants.run import judge, sample

MUTANTS = load()
SOURCE = "def one(x):\n    return x + 1\n\n\nclass Two:\n    def one(self, x):\n        return x + 1\n"


def mutant(old: str, new: str, scope: str = "", killed_by: tuple[str, ...] = ("a.py::test_a",)) -> Mutant:
    return Mutant("m", "s", "streams/chain/rule.py", scope, old, new, "would", killed_by)


def test_there_are_enough_and_few_that_nobody_can_see() -> None:
    assert len(MUTANTS) >= 150
    argued = [each for each in MUTANTS.values() if each.equivalent]
    assert len(argued) <= 10
    assert all(len(each.equivalent) > 60 for each in argued), "say why no run of the whole can tell it apart"


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_applies_to_todays_source_and_names_tests_that_are_there(name: str) -> None:
    one = MUTANTS[name]
    one.planted((ROOT / one.file).read_text(encoding="utf-8"))
    assert len(one.would) > 20, "say what it would do in production"
    for test in one.killed_by:
        file, _, function = test.partition("::")
        assert function.rpartition("::")[2] in names(file.removesuffix(".py")), f"{test} is not there"


def test_only_the_named_function_is_changed() -> None:
    assert mutant("x + 1", "x - 1", "Two.one").planted(SOURCE) == SOURCE.removesuffix("x + 1\n") + "x - 1\n"
    assert mutant("x + 1", "x - 1", "one").planted(SOURCE).startswith("def one(x):\n    return x - 1\n")


@pytest.mark.parametrize(
    ("old", "new", "scope"),
    [("x + 1", "x - 1", ""), ("x * 1", "x", "one"), ("x + 1", "(x + 1)", "one"), ("x", "y", "three")],
    ids=["twice", "never", "means the same", "no such function"],
)
def test_what_does_not_change_one_place_is_refused(old: str, new: str, scope: str) -> None:
    with pytest.raises(NotApplicableError):
        mutant(old, new, scope).planted(SOURCE)


def test_a_planted_bug_is_in_force_and_the_file_is_as_it_was() -> None:
    """A process of its own imports the module with the bug; what lies on disk does not change."""
    name = "chain-number-not-compared"
    before = (ROOT / MUTANTS[name].file).read_bytes()
    assert judge(MUTANTS[name]).what == "killed"
    assert (ROOT / MUTANTS[name].file).read_bytes() == before


def test_a_test_that_does_not_look_lets_it_live() -> None:
    blind = "streams/chain/test_rule.py::test_a_log_that_starts_at_its_beginning_needs_no_anchor"
    elsewhere = "schemas/test_decimals.py::test_no_bytes_are_zero_as_fastavro_has_it"
    one = MUTANTS["chain-number-not-compared"]
    assert judge(replace(one, killed_by=(blind,))).what == "survived"
    assert judge(replace(one, killed_by=(elsewhere,))).what == "not run"


def test_a_sample_is_the_same_for_its_seed_and_another_for_another() -> None:
    everything = list(MUTANTS.values())
    assert sample(everything, 12, "abc") == sample(everything, 12, "abc") != sample(everything, 12, "abd")
    assert len({each.name for each in sample(everything, 12, "abc")}) == 12


def test_a_name_that_is_not_there_is_no_success() -> None:
    command = [sys.executable, "-m", "tests.mutants", "no-such-bug"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 1

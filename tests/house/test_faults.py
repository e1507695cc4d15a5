"""The table of crash points and faults is whole, and every test that it names is there."""

import tomllib
from typing import Any

import pytest

from tests.house.test_requirements import TESTS, names

TABLE: dict[str, dict[str, Any]] = tomllib.loads((TESTS / "house/faults.toml").read_text(encoding="utf-8"))
POINTS = [*(f"c{n}" for n in range(1, 10)), "z1", "z2", "b1", "o1", *(f"w{n}" for n in range(1, 12))]
NUMBERS = [*POINTS, *(f"F{n}" for n in range(1, 41))]


def test_every_crash_point_and_fault_is_there_once_in_order() -> None:
    assert list(TABLE) == NUMBERS


@pytest.mark.parametrize("number", NUMBERS)
def test_a_fault_is_shown_by_tests_that_exist_or_says_why_none_does(number: str) -> None:
    row = TABLE[number]
    assert row.keys() <= {"about", "shown", "not_shown"}
    assert row["about"]
    assert row.get("shown") or row.get("not_shown")
    gone = [test for test in row.get("shown", ()) if not _is_there(test)]
    assert not gone, f"{number} names tests that are gone: {gone}; name those that show it now"


def _is_there(test: str) -> bool:
    file, _, name = test.partition("::")
    return f"test_{name}" in names(file)

"""The table of requirements is whole, and every test that it names is there."""

import ast
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
TABLE: dict[str, dict[str, Any]] = tomllib.loads((TESTS / "house/requirements.toml").read_text(encoding="utf-8"))
#: Sessions that have ended: they owe nothing any more.
OVER = frozenset({"seko", "veeqo", "storefronts"})
NUMBERS = [*(f"R{n}" for n in range(1, 230)), *(f"T{n}" for n in range(1, 15))]


@cache
def names(file: str) -> frozenset[str]:
    """The tests of a file."""
    path = TESTS / f"{file}.py"
    if not path.is_file():
        return frozenset()
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_requirement_is_there_once_in_order() -> None:
    assert list(TABLE) == NUMBERS


@pytest.mark.parametrize("number", NUMBERS)
def test_a_requirement_is_shown_by_tests_that_exist_or_owed(number: str) -> None:
    row = TABLE[number]
    assert row.keys() <= {"about", "shown", "owed"}
    assert row.get("shown") or row.get("owed"), f"{number} is neither shown by a test nor owed to a later issue"
    assert row.get("owed") not in OVER, (
        f"{number} is owed to a session that is over; name the test, or the issue that owes it now"
    )
    gone = [
        test for test in row.get("shown", ()) if f"test_{test.partition('::')[2]}" not in names(test.partition("::")[0])
    ]
    assert not gone, (
        f"{number} names tests that are gone: {gone}; name those that show it now in tests/house/requirements.toml"
    )
    assert not row.get("shown") or row.get("about")

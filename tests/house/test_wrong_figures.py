"""Every kind of input that was once read wrongly has tests with the right value, and every kept input is used."""

import tomllib
from typing import Any

import pytest

from tests.house.test_requirements import TESTS, names

TABLE: dict[str, dict[str, Any]] = tomllib.loads((TESTS / "house/wrong_figures.toml").read_text(encoding="utf-8"))
FOLDERS = sorted(TESTS.glob("connectors/*/field"))


@pytest.mark.parametrize("kind", TABLE)
def test_a_kind_is_shown_by_tests_that_exist(kind: str) -> None:
    rows = [row.partition("::") for row in TABLE[kind]["shown"]]
    assert rows
    assert not [f"{file}::{name}" for file, _, name in rows if f"test_{name}" not in names(file)]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_every_kept_input_is_read_by_a_test_beside_it(folder: Any) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in folder.parent.glob("*.py"))
    assert not [path.name for path in folder.iterdir() if path.name != "README.md" and path.stem not in text]

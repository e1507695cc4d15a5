"""The proof shares nothing with the pipeline."""

from pathlib import Path

import pytest

from lab.demo import vendor_ledgers
from lab.proof import run

FILES = [*sorted(Path(run.__file__).parent.glob("*.py")), Path(vendor_ledgers.__file__)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_proof_imports_nothing_of_the_pipeline(path):
    source = path.read_text(encoding="utf-8")
    for package in ("streams", "connectors", "schemas"):
        assert f"import {package}" not in source
        assert f"from {package}" not in source


def test_every_invariant_is_checked_by_the_runner():
    runner = Path(run.__file__).read_text(encoding="utf-8")
    invariants = [path.stem for path in FILES if path.read_text(encoding="utf-8").startswith('"""Invariant: ')]
    assert len(invariants) == 11
    assert [name for name in invariants if f"from lab.proof.{name} import" not in runner] == []

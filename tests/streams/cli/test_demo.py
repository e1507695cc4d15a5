import sys
from typing import Any

import pytest

from tests.streams.cli.conftest import Streams


class WithoutLab:
    """Finds no package `lab`, as where only the core is installed."""

    def find_spec(self, name: str, *_more: Any) -> None:
        if name == "lab":
            raise ModuleNotFoundError("No module named 'lab'", name=name)


def test_where_the_lab_is_not_installed_the_demo_says_how_to_get_it(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == "lab"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [WithoutLab(), *sys.meta_path])
    ran = streams("demo")
    assert ran.code == 1
    assert "pip install 'b1-streams[lab]'" in ran.err
    assert len(ran.err.strip().splitlines()) <= 2

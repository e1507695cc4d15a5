"""`streams demo` where the lab, or something that it needs, is not installed."""

import importlib

import pytest

from streams.cli import demo, shell


@pytest.mark.parametrize(
    ("missing", "cause"),
    [("lab", "the demo is not installed"), ("lab.demo", "the demo is not installed"), ("jgo", "the demo needs jgo")],
)
def test_without_the_lab_or_its_extra_one_line_says_what_to_install(monkeypatch, missing, cause):
    def absent(_name):
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(shell.CommandError, match=cause) as caught:
        demo.run()
    assert "pip install 'b1-streams[lab]'" in caught.value.remedy


def test_a_mistake_of_our_own_is_not_taken_for_a_missing_package(monkeypatch):
    def absent(_name):
        raise ModuleNotFoundError("No module named 'streams.gone'", name="streams.gone")

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(ModuleNotFoundError):
        demo.run()

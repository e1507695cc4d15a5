"""What a README tells people to type exists, and is executed by a test or by CI."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streams.cli.commands import make_app

ROOT = Path(__file__).parents[2]
READMES = sorted(
    path for path in ROOT.rglob("README.md") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)


def _typed(kind: str) -> set[str]:
    """Commands in shell blocks and in code spans: the words after `make` or `streams`."""
    found: set[str] = set()
    for path in READMES:
        text = path.read_text(encoding="utf-8")
        lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines()]
        lines += re.findall(rf"`({kind} [^`\n]*)`", text)
        found |= {line.split("#")[0].strip() for line in lines if line.startswith(f"{kind} ")}
    return found


def test_every_make_target_that_a_readme_names_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    named = {line.split()[1] for line in _typed("make")}
    assert named, "the pattern finds nothing"
    assert named <= targets


#: Where CI or a test does what a target of the Makefile does: the file, and the words in it.
EXECUTED = {
    "bench": (".ci/run", "-m tests.bench"),
    "chaos": ("tests/chaos/test_chaos.py", "SHORT)"),
    "demo": ("tests/integration/test_demo.py", '[*STREAMS, "demo"'),
    "fuzz": ("tests/fuzz/test_fuzz.py", "def test_"),
    "lint": (".ci/run", "make lint"),
    "lock": ("tests/house/test_packages.py", "test_the_locks_hold_what_is_declared"),
    "mutants": (".ci/run", "-m tests.mutants --sample"),
    "setup": (".ci/run", "make setup"),
    "simulate": ("tests/simulation/test_simulation.py", "def test_"),
    "test": (".ci/run", "make test"),
    "wheels": ("tests/house/test_packages.py", "pip wheel"),
}


def test_every_make_target_is_executed_somewhere() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert targets == set(EXECUTED)
    for target, (file, words) in EXECUTED.items():
        assert words in (ROOT / file).read_text(encoding="utf-8"), target


def test_every_command_of_the_readme_at_the_top_is_executed() -> None:
    """Those under "Running it" by one test, in their order; the demo by its own.

    Make's by what the table above names.
    """
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (in_order,) = re.findall(r"## Running it\n.*?```sh\n(.*?)```", text, re.S)
    test = (ROOT / "tests/integration/test_readme_commands.py").read_text(encoding="utf-8")
    assert "for line in commands():" in test
    demos = (ROOT / "tests/integration/test_demo.py").read_text(encoding="utf-8")
    for block in re.findall(r"```sh\n(.*?)```", text, re.S):
        for line in filter(None, (line.split("#")[0].strip() for line in block.splitlines())):
            assert line in in_order or line.split()[1] in EXECUTED, line
    for option in {
        option for line in re.findall(r"`(streams demo[^`]*)`", text) for option in re.findall(r"--\w+", line)
    }:
        assert f'"{option}"' in demos, option


@pytest.mark.parametrize("line", sorted(_typed("streams")))
def test_every_command_that_a_readme_names_answers(line: str) -> None:
    words = [word for word in line.split()[1:] if re.fullmatch(r"[a-z]+", word)]
    options = re.findall(r"--[a-z-]+", line)
    answer = CliRunner().invoke(make_app(), [*words[:2], "--help"])
    if answer.exit_code != 0:
        answer = CliRunner().invoke(make_app(), [*words[:1], "--help"])
    assert answer.exit_code == 0, answer.output
    for option in options:
        assert option in answer.output


def test_every_file_that_a_readme_links_is_there() -> None:
    for path in READMES:
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / link).exists(), f"{path}: {link}"


def test_the_table_of_folders_is_the_tree() -> None:
    """Every package one level below the top is named, and what is named is there; vendors are one row."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"## Where things are\n(.*?)\n## ", text, re.S)
    named = {
        place.removesuffix("/")
        for row in table.splitlines()
        if row.startswith("| `")
        for place in re.findall(r"`([a-z_]+/[^`]*)`", row.split("|")[1])
    }
    assert {place for place in named if not (ROOT / place).is_dir()} == {"connectors/<vendor>"}
    vendors = {path.parent.name for path in (ROOT / "connectors").glob("*/README.md")} - {"base", "ims", "sap_b1"}
    there = {
        str(path.parent.relative_to(ROOT))
        for top in ("connectors", "lab", "streams")
        for path in (ROOT / top).glob("*/__init__.py")
        if path.parent.name not in vendors
    }
    assert there <= named, there - named

"""The two distributions: what is in each wheel, and what the locks hold."""

import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LAB = tomllib.loads((ROOT / "lab/pyproject.toml").read_text(encoding="utf-8"))
SOURCES = ("connectors", "lab", "schemas", "streams")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both wheels, built from a copy, so that nothing is left in the tree."""
    tree, dist = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    named = [ROOT / name for name in ("pyproject.toml", "README.md", "LICENSE")]
    for path in [*named, *(path for source in SOURCES for path in (ROOT / source).rglob("*"))]:
        if path.is_file() and not {"__pycache__", "build"} & set(path.parts):
            copy = tree / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    # The Makefile's words: `pip wheel` of the two folders.
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel", "--no-deps"]
    command = [*pip, "--no-build-isolation", "--no-index", "--wheel-dir", str(dist), ".", "./lab"]
    subprocess.run(command, cwd=tree, check=True, capture_output=True)
    return {path.name.split("-")[0]: path for path in dist.iterdir()}


def files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def metadata(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def modules(source: str) -> set[str]:
    found = (path.relative_to(ROOT) for path in (ROOT / source).rglob("*.py") if "build" not in path.parts)
    return {str(path) for path in found}


def test_the_core_has_no_lab_and_the_lab_nothing_else(wheels: dict[str, Path]) -> None:
    assert set(wheels) == {"b1_streams", "b1_streams_lab"}
    core, lab = (
        {name for name in files(wheel) if ".dist-info/" not in name}
        for wheel in (wheels["b1_streams"], wheels["b1_streams_lab"])
    )
    assert {name.split("/")[0] for name in core} == {"connectors", "schemas", "streams"}
    assert {name.split("/")[0] for name in lab} == {"lab"}
    assert {name for name in core if name.endswith(".py")} == modules("connectors") | modules("schemas") | modules(
        "streams"
    )
    assert {name for name in lab if name.endswith(".py")} == modules("lab")


def test_every_file_that_is_read_at_run_time_is_in_a_wheel(wheels: dict[str, Path]) -> None:
    data = {".avsc", ".json", ".sha256", ".toml", ".xz"}
    wanted = {
        str(path.relative_to(ROOT))
        for source in SOURCES
        for path in (ROOT / source).rglob("*")
        if path.suffix in data and path.name != "pyproject.toml" and "build" not in path.parts
    }
    assert wanted
    assert wanted <= files(wheels["b1_streams"]) | files(wheels["b1_streams_lab"])


def test_the_extra_of_the_core_is_the_lab_of_the_same_version(wheels: dict[str, Path]) -> None:
    core, lab = metadata(wheels["b1_streams"]), metadata(wheels["b1_streams_lab"])
    version = core["Version"]
    assert lab["Version"] == version
    assert f'b1-streams-lab=={version}; extra == "lab"' in core.get_all("Requires-Dist")
    assert f"b1-streams=={version}" in lab.get_all("Requires-Dist")
    assert (core["License-Expression"], lab["License-Expression"]) == ("Apache-2.0", "Apache-2.0")


def test_the_demo_starts_from_the_wheels_alone(wheels: dict[str, Path], tmp_path: Path) -> None:
    """As without a clone: nothing of ours on the path but what the wheels hold."""
    site = tmp_path / "site"
    for wheel in wheels.values():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import lab.demo.run as run, lab.kafka.jars as jars, streams.cli\n"
        "from lab.feed import rows\n"
        "print(run.__file__, streams.cli.__file__, len(jars.jars()), rows.SLICE.exists())"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(site)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(site / "lab/demo/run.py"), str(site / "streams/cli/__init__.py"), "46", "True"]


def pinned(lock: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / lock).read_text(encoding="utf-8"), re.M))


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=~!\[; ]", each)[0].lower() for each in requirements} - {"b1-streams", "b1-streams-lab"}


def test_the_locks_hold_what_is_declared() -> None:
    core, extras = CORE["project"]["dependencies"], CORE["project"]["optional-dependencies"]
    assert names(core) <= pinned("requirements.lock")
    assert names([*core, *extras["test"], *LAB["project"]["dependencies"]]) <= pinned("requirements-test.lock")
    assert names(CORE["dependency-groups"]["build"]) <= pinned("requirements-build.lock")
    for lock in ("requirements.lock", "requirements-test.lock", "requirements-build.lock"):
        text = (ROOT / lock).read_text(encoding="utf-8")
        assert "://" not in text, "a lock names no host"
        blocks = re.split(r"\n(?=\S)", text.strip())
        assert all("--hash=sha256:" in block for block in blocks), lock

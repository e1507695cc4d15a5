"""A new connector as files: what `streams connect new` writes."""

import re
from importlib import resources
from pathlib import Path

_NAME = re.compile(r"[a-z][a-z0-9_]{1,30}")
_FILES = ("__init__.py", "settings.py", "source.py", "README.md")
_TEST = "test_conformance.py"


class ScaffoldError(Exception):
    """Nothing was written; the message says why, and after a semicolon what to do."""


def write_connector(name: str, folder: Path) -> list[Path]:
    """Write a connector that runs and passes the contract suite.

    In a clone of b1-streams it is `connectors/<name>` and its test `tests/connectors/<name>`; elsewhere a package of
    its own with the test in it.

    Args:
        name: Of the kind.
        folder: Where to.

    Returns:
        The files that were written.

    Raises:
        ScaffoldError: The name cannot be one, or is taken.
    """
    if not _NAME.fullmatch(name):
        raise ScaffoldError(f"{name} cannot be a package; use small letters, digits and _, as acme_wms")
    in_clone = (folder / "connectors" / "registry.py").is_file()
    package = folder / "connectors" / name if in_clone else folder / name
    if package.exists():
        raise ScaffoldError(f"{package} is there already; take another name")
    tests = folder / "tests" / "connectors" / name if in_clone else package
    dotted = f"connectors.{name}" if in_clone else name
    title = "".join(part.capitalize() for part in name.split("_"))
    written = []
    for target, template in [*((package / file, file) for file in _FILES), (tests / _TEST, _TEST)]:
        text = resources.files("streams.connect").joinpath("template", f"{template}.txt").read_text(encoding="utf-8")
        text = text.replace("PACKAGE", dotted).replace("Newvendor", title).replace("NEWVENDOR", name.upper())
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.replace("newvendor", name), encoding="utf-8")
        written.append(target)
    return written

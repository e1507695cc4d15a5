"""A planted bug as data: where, what is written instead, what it would do in production, which tests see it. Pure.

`catalogue/*.toml` holds them, one table each:

    [name-of-the-bug]
    at = "streams/chain/rule.py:Head.accepts"   # a file, and a function, class or method in it where one is named
    old = "number == self.number and "          # stands there exactly once
    new = ""
    would = "what it would do in production"
    killed_by = ["streams/chain/test_rule.py::test_name"]   # below tests/
    equivalent = "why no test can see it"       # instead of killed_by
"""

import ast
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CATALOGUE = Path(__file__).parent / "catalogue"


class NotApplicableError(Exception):
    """The source has changed: what is to be replaced is not there, or is there more than once."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted bug.

    Attributes:
        subject: The catalogue's file: what part of the whole it belongs to.
        file: Of the source, from the root.
        scope: The dotted name of the function, class or method that is changed; empty: the whole file.
        killed_by: Tests below `tests/`, each of which fails while the bug is there; empty where `equivalent` argues.
    """

    name: str
    subject: str
    file: str
    scope: str
    old: str
    new: str
    would: str
    killed_by: tuple[str, ...] = ()
    equivalent: str = ""

    @property
    def module(self) -> str:
        return self.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def planted(self, source: str) -> str:
        """The source with the bug in it.

        Raises:
            NotApplicableError: It does not fit any more.
        """
        start, end = _span(source, self.scope) if self.scope else (0, len(source))
        found = source.count(self.old, start, end)
        if found != 1:
            raise NotApplicableError(f"{self.name}: {self.file}:{self.scope} has {self.old!r} {found} times")
        at = source.index(self.old, start, end)
        changed = source[:at] + self.new + source[at + len(self.old) :]
        if ast.dump(ast.parse(changed)) == ast.dump(ast.parse(source)):
            raise NotApplicableError(f"{self.name}: {self.file}:{self.scope} means the same with {self.new!r}")
        return changed


def _span(source: str, scope: str) -> tuple[int, int]:
    """Where the text of a function or class begins and ends."""
    node: ast.AST = ast.parse(source)
    for name in scope.split("."):
        defined = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        found = [child for child in ast.walk(node) if isinstance(child, defined) and child.name == name]
        if not found:
            raise NotApplicableError(f"{scope} is not there")
        node = found[0]
    lines = source.splitlines(keepends=True)
    if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.end_lineno is None:
        raise NotApplicableError(f"{scope} has no text")
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return sum(map(len, lines[: first - 1])), sum(map(len, lines[: node.end_lineno]))


def load(folder: Path = CATALOGUE) -> dict[str, Mutant]:
    """All of them, by name.

    Raises:
        ValueError: Two have one name, or one says neither who kills it nor why nobody can.
    """
    mutants: dict[str, Mutant] = {}
    for path in sorted(folder.glob("*.toml")):
        for name, row in tomllib.loads(path.read_text(encoding="utf-8")).items():
            if name in mutants:
                raise ValueError(f"{name} is there twice")
            mutants[name] = _mutant(name, path.stem, row)
    return mutants


def _mutant(name: str, subject: str, row: Mapping[str, object]) -> Mutant:
    given = dict(row)
    file, _, scope = str(given.pop("at")).partition(":")
    killed_by = given.pop("killed_by", [])
    mutant = Mutant(
        name=name,
        subject=subject,
        file=file,
        scope=scope,
        killed_by=tuple(map(str, killed_by)) if isinstance(killed_by, list) else (str(killed_by),),
        **{key: str(value) for key, value in given.items()},
    )
    if bool(mutant.killed_by) == bool(mutant.equivalent):
        raise ValueError(f"{name} names either the tests that see it, or why none can")
    return mutant

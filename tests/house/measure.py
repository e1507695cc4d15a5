"""What the house tests judge, measured: `python -m tests.house.measure [FOLDER]` prints it for any checkout."""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "connectors", "streams", "lab")
PRODUCT = ("schemas", "connectors", "streams")
CITED = re.compile(
    r"\b(architecture|contract|design|reference) sections? (\d+(?:\.\d+)*)|\bdesign (\d+\.\d+)|\((D\d)\b|\b(D\d), "
)


def sources(root: Path, folders: tuple[str, ...]) -> list[Path]:
    """The Python files of a checkout, by path."""
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py"))


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def length(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def classes(root: Path, folders: tuple[str, ...]) -> Iterator[tuple[Path, ast.ClassDef]]:
    for path in sources(root, folders):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef):
                yield path, node


def functions(root: Path, folders: tuple[str, ...]) -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in sources(root, folders):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, dotted, wherever the import stands."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def repeated_classes(root: Path) -> dict[str, list[str]]:
    """Classes of one name in several files, nested ones aside, with the files."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sources(root, PACKAGES):
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef):
                found[node.name].add(str(path.relative_to(root)))
    return {name: sorted(paths) for name, paths in sorted(found.items()) if len(paths) > 1}


def module_of(dotted: str) -> str | None:
    """The module (folder) of ours that a dotted name lies in, as `streams.posting`; a top-level file is its own."""
    parts = dotted.split(".")
    if parts[0] not in PACKAGES:
        return None
    return ".".join(parts[:2])


def arrows(root: Path) -> set[tuple[str, str]]:
    """Which module imports which, each pair once."""
    found = set()
    for path in sources(root, PACKAGES):
        own = module_of(".".join(path.relative_to(root).with_suffix("").parts))
        for dotted in imported(path):
            other = module_of(dotted)
            if own and other and own != other:
                found.add((own, other))
    return found


def texts(root: Path) -> list[Path]:
    """Everything that may cite a page."""
    patterns = ("*.py", "*.avsc", "*.toml", "*.yml")
    found = [
        path
        for folder in (*PACKAGES, "tests", "grafana")
        for pattern in patterns
        for path in (root / folder).rglob(pattern)
    ]
    return sorted({*found, *root.glob("*.toml"), *root.glob("*.yml")} - {Path(__file__)})


def cited(root: Path) -> dict[str, set[str]]:
    """What is cited, as `architecture 5` or `D3`, with the files that cite it."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in texts(root):
        for page, section, design, decision, other in CITED.findall(path.read_text(encoding="utf-8")):
            name = decision or other or (f"design {design}" if design else f"{page} {section}")
            found[name].add(str(path.relative_to(root)))
    return found


def answered(root: Path) -> set[str]:
    """What can be cited: numbered headings and rules of `docs/*.md`, and decisions."""
    found = {path.name.partition("-")[0] for path in (root / "docs/decisions").glob("D*.md")}
    for path in (root / "docs").glob("*.md"):
        chapter = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if heading := re.match(r"#+ (\d+(?:\.\d+)*)\.? ", line):
                chapter = heading[1]
                found.add(f"{path.stem} {chapter}")
            elif chapter and (rule := re.match(r"(\d+)\. ", line)):
                found.add(f"{path.stem} {chapter}.{rule[1]}")
    return found


def table(root: Path) -> list[tuple[str, object]]:
    every = (*PACKAGES, "tests")
    sizes = [(lines_of(path), str(path.relative_to(root))) for path in sources(root, every)]
    own = [(lines_of(path), path) for path in sources(root, PACKAGES)]
    product = [path for path in sources(root, PRODUCT) if "simulators" not in path.parts and "demo" not in path.parts]
    largest = max((length(node), node.name) for _, node in classes(root, PACKAGES))
    longest = max((length(node), node.name) for _, node in functions(root, PACKAGES))
    known = answered(root)
    return [
        ("lines of the product (schemas, connectors, streams; no lab)", sum(map(lines_of, product))),
        ("lines of all packages", sum(size for size, _ in own)),
        ("files over 600 lines, tests included", sum(size > 600 for size, _ in sizes)),
        ("files over 400 lines, tests included", sum(size > 400 for size, _ in sizes)),
        ("files over 400 lines, packages alone", sum(size > 400 for size, _ in own)),
        ("largest file", max(sizes)),
        ("largest class", largest),
        ("longest function", longest),
        ("import arrows between modules", len(arrows(root))),
        ("cited sections without a page", sum(name not in known for name in cited(root))),
        ("class names that several files have", len(repeated_classes(root))),
    ]


if __name__ == "__main__":
    for label, value in table(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT):
        sys.stdout.write(f"{label}: {value}\n")

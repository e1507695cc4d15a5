"""Python functions written at run time, as `dataclasses` and `namedtuple` do.

Where a record may cost microseconds, a loop over its schema is too dear. Only names that `schemas.schema.parse` has
checked and constants of ours get into such a source, never input.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Code:
    """A function under construction: lines, then `compile` once."""

    def __init__(self, head: str, names: dict[str, Any]) -> None:
        self.names = dict(names)
        self._lines = [head]
        self._depth = 1
        self._variables = 0

    def line(self, *texts: str) -> None:
        self._lines.extend("    " * self._depth + text for text in texts)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.line(head)
        self._depth += 1
        yield
        self._depth -= 1

    def variable(self) -> str:
        """A name that no other part of the function uses."""
        self._variables += 1
        return f"v{self._variables}"

    def constant(self, value: object) -> str:
        """A name under which the function finds the value."""
        name = f"c{len(self.names)}"
        self.names[name] = value
        return name

    def compile(self, name: str) -> Callable[..., Any]:
        source = "\n".join(self._lines)
        exec(compile(source, f"<generated {name}>", "exec"), self.names)  # noqa: S102 -- see the module's docstring
        function: Callable[..., Any] = self.names[name]
        return function


def constructor_of(cls: Callable[P, T]) -> Callable[P, T]:
    """What makes a frozen slotted dataclass as fast as one that is not frozen.

    Its slots are set directly, by keywords only.
    """
    code = Code("", {})
    own, kind = fields(cls), code.constant(cls)  # type: ignore[arg-type]  # a dataclass
    heads = [each.name if each.default is MISSING else f"{each.name}={code.constant(each.default)}" for each in own]
    code = Code(f"def make(*, {', '.join(heads)}):", {**code.names, "new": object.__new__})
    code.line(f"made = new({kind})")
    for each in own:
        code.line(f"{code.constant(getattr(cls, each.name).__set__)}(made, {each.name})")
    code.line("return made")
    return code.compile("make")

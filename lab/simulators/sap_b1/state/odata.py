"""The part of OData that the Service Layer understands: filter, select, order, top, skip, paging. Pure.

Functions are `startswith`, `endswith`, `contains`, `substringof`; operators `eq ne gt ge lt le and or not` (user guide
v1.29, read 2026-11). No arithmetic, no date functions, no lambda operators: those are error 201 here as there.
"""

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

Row = Mapping[str, Any]
Node = tuple[Any, ...]


class ODataError(Exception):
    """A query option that the Service Layer refuses with 400 and code 201."""


# B1 stores one dead letter where the API shows a name; filters may use either.
_STORED = {
    "tYES": "Y",
    "tNO": "N",
    "bost_Open": "O",
    "bost_Close": "C",
    "csYes": "Y",
    "csNo": "N",
    "csCancellation": "C",
    "cCustomer": "C",
    "cSupplier": "S",
    "cLid": "L",
}
_TOKEN = re.compile(
    r"\s*(?:(?P<text>(?:datetime)?'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>\w+)|(?P<mark>[(),]))"
)
_DATE = re.compile(r"\d{4}-?\d{2}-?\d{2}(?:T[\d:.]+Z?)?\Z")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: bool(a == b),
    "ne": lambda a, b: bool(a != b),
    "gt": lambda a, b: bool(a > b),
    "ge": lambda a, b: bool(a >= b),
    "lt": lambda a, b: bool(a < b),
    "le": lambda a, b: bool(a <= b),
}
_FUNCTIONS = ("startswith", "endswith", "contains", "substringof")


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        position, end = 0, len(text.rstrip())
        while position < end:
            match = _TOKEN.match(text, position)
            if match is None:
                raise ODataError("Query string error - Invalid filter condition")
            self._tokens.append((match.lastgroup or "", match[match.lastgroup or ""]))
            position = match.end()
        self._at = 0

    def parse(self) -> Node:
        node = self._either()
        if self._at != len(self._tokens):
            raise ODataError("Query string error - Invalid filter condition")
        return node

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _take(self, wanted: str | None = None) -> tuple[str, str]:
        if self._at >= len(self._tokens) or (wanted is not None and self._tokens[self._at][1] != wanted):
            raise ODataError("Query string error - Invalid filter condition")
        self._at += 1
        return self._tokens[self._at - 1]

    def _either(self) -> Node:
        node = self._both()
        while self._peek() == "or":
            self._take()
            node = ("or", node, self._both())
        return node

    def _both(self) -> Node:
        node = self._one()
        while self._peek() == "and":
            self._take()
            node = ("and", node, self._one())
        return node

    def _one(self) -> Node:
        if self._peek() == "not":
            self._take()
            return ("not", self._one())
        if self._peek() == "(":
            self._take()
            node = self._either()
            self._take(")")
            return node
        kind, name = self._take()
        if kind != "name":
            raise ODataError("Query string error - Invalid filter condition")
        if self._peek() == "(":
            return self._function(name)
        operator = self._take()[1]
        if operator not in _COMPARISONS:
            raise ODataError("Query string error - Invalid filter condition")
        return (operator, name, self._literal())

    def _function(self, name: str) -> Node:
        if name not in _FUNCTIONS:
            raise ODataError(f"Query string error - function '{name}' is not supported")
        self._take("(")
        first = self._take()
        self._take(",")
        second = self._take()
        self._take(")")
        if name == "substringof":
            first, second = second, first
        if first[0] != "name" or second[0] != "text":
            raise ODataError("Query string error - Invalid filter condition")
        if self._peek() == "eq":
            self._take()
            self._take("true")
        return (name, first[1], _text(second[1]))

    def _literal(self) -> Any:
        kind, text = self._take()
        if kind == "text":
            return _text(text)
        if kind == "number":
            return Decimal(text)
        if text == "null":
            return None
        raise ODataError("Query string error - Invalid filter condition")


def _text(token: str) -> str:
    return token.removeprefix("datetime")[1:-1].replace("''", "'")


@functools.lru_cache(maxsize=1024)
def parse_filter(text: str) -> Node:
    """The syntax tree of a `$filter`.

    Raises:
        ODataError: for what the Service Layer's grammar does not have.
    """
    return _Parser(text).parse()


def names(node: Node) -> Iterable[str]:
    """The properties that a filter mentions."""
    if node[0] in ("and", "or"):
        yield from names(node[1])
        yield from names(node[2])
    elif node[0] == "not":
        yield from names(node[1])
    else:
        yield node[1]


def candidates(node: Node, find: Callable[[str, Any], set[Any] | None]) -> set[Any] | None:
    """Keys of the rows that may match, by an index; None when the index cannot narrow the filter.

    Args:
        node: the filter.
        find: (property, literal) -> keys of the rows with this value, or None if the property has no index.
    """
    if node[0] == "eq":
        return find(node[1], node[2])
    if node[0] == "and":
        left, right = candidates(node[1], find), candidates(node[2], find)
        if left is None or right is None:
            return right if left is None else left
        return left & right
    if node[0] == "or":
        left, right = candidates(node[1], find), candidates(node[2], find)
        return None if left is None or right is None else left | right
    return None


def matches(node: Node, row: Row) -> bool:
    """Whether a row satisfies a filter; a null compares as equal to null only."""
    operator = node[0]
    if operator == "and":
        return matches(node[1], row) and matches(node[2], row)
    if operator == "or":
        return matches(node[1], row) or matches(node[2], row)
    if operator == "not":
        return not matches(node[1], row)
    value, literal = row.get(node[1]), node[2]
    if operator in _FUNCTIONS:
        if not isinstance(value, str):
            return False
        if operator == "startswith":
            return value.startswith(literal)
        return value.endswith(literal) if operator == "endswith" else literal in value
    if value is None or literal is None:
        return (value is literal) == (operator == "eq") if operator in ("eq", "ne") else False
    left, right = _comparable(value, literal)
    return _COMPARISONS[operator](left, right)


def _comparable(value: Any, literal: Any) -> tuple[Any, Any]:
    if isinstance(value, int | Decimal):
        try:
            return Decimal(value), Decimal(literal)
        except ArithmeticError:
            raise ODataError("Query string error - Invalid filter condition") from None
    value, literal = str(value), str(literal)
    if len(value) == 20 and value.endswith("T00:00:00Z") and _DATE.match(literal):
        return value[:10].replace("-", ""), literal[:10].replace("-", "")[:8]
    if len(literal) == 1 and value in _STORED:
        return _STORED[value], literal
    return value, literal


@dataclass(frozen=True, slots=True)
class ODataPage:
    """One page of an answer: rows, the parameters of the next page (None: there is none), the count if asked."""

    rows: list[Row]
    next_options: str | None
    count: int | None


def page(
    rows: Sequence[Row], options: Mapping[str, str], page_size: int, known: Callable[[str], bool], count: bool
) -> ODataPage:
    """One page of rows that match already.

    `$skip` applies before `$top`; a full last page still names a next one, which is then empty; a `$top` that fits
    one page names none; a `$top` over pages is reduced in the next link (live notes on FP 2608).

    Args:
        rows: matching rows in key order.
        options: `$top`, `$skip`, `$orderby`, `$select`, `$filter`.
        page_size: rows per page; 0 is no paging.
        known: whether a property exists.
        count: whether to count.

    Raises:
        ODataError: for an unknown property or an option that is not a number.
    """
    ordered = list(rows)
    for term in reversed([part.split() for part in options.get("$orderby", "").split(",") if part.strip()]):
        if not known(term[0]):
            raise ODataError(f"Property '{term[0]}' is invalid")
        name = term[0]
        ordered.sort(key=functools.partial(_order_key, name), reverse=term[1:] == ["desc"])
    skip, top = _natural(options, "$skip") or 0, _natural(options, "$top")
    total = len(ordered)
    rest = ordered[skip:]
    single = page_size == 0 or (top is not None and top <= page_size)
    taken = rest if page_size == 0 and top is None else rest[: top if single else page_size]
    following = None
    if not single and len(taken) == page_size:
        # Only what the first request had travels on; `$skip` is the cursor, so pages are no snapshot.
        link = {key: value for key, value in options.items() if key in ("$select", "$filter", "$orderby")}
        if top is not None:
            link["$top"] = str(top - page_size)
        link["$skip"] = str(skip + page_size)
        following = "&".join(f"{key}={_quoted(value)}" for key, value in link.items())
    if select := options.get("$select"):
        wanted = [name.strip() for name in select.split(",")]
        for name in wanted:
            if name != "*" and not known(name):
                raise ODataError(f"Property '{name}' is invalid")
        if "*" not in wanted:
            taken = [{name: row.get(name) for name in wanted} for row in taken]
    return ODataPage(taken, following, total if count else None)


def _order_key(name: str, row: Row) -> tuple[bool, Any]:
    value = row.get(name)
    return (value is not None, value if value is not None else 0)


def _natural(options: Mapping[str, str], name: str) -> int | None:
    text = options.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise ODataError(f"Query string error - Invalid value of '{name}'")
    return int(text)


def _quoted(value: str) -> str:
    return "".join(f"%{ord(mark):02X}" if mark in " %&+#" else mark for mark in value)

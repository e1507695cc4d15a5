"""Avro bytes to values, by a Python function generated from the schema: no dict between, nothing looked up per record.

What a generated function promises, on any bytes: it reads to the exact end or raises `MalformedError`, and does no work
that the length of the input does not pay for (every item of an array takes at least a byte, see `schemas/schema.py`).
It agrees with fastavro on valid bytes; where fastavro is lenient (numbers padded or over 64 bits, other booleans than 0
and 1, decimals over 19 digits) it refuses.

How bounds are kept without a check per field: a slice beyond the end is short and moves the position beyond the end, so
that the next byte asked for is an IndexError, or the last comparison of position and end fails. Lengths and counts that
are negative or longer than one byte take the slow path through a function that checks.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from datetime import date
from struct import Struct
from typing import Any, TypeVar, get_args, get_type_hints

from schemas.decimals import decimal_of, decode_unscaled
from schemas.generated import Code
from schemas.schema import Array, Field, Node, Optional, RecordType, Scalar, SchemaError
from schemas.times import EPOCH, EPOCH_DAY, MICROSECOND

T = TypeVar("T")
Columns = Sequence["str | tuple[str, Columns]"]
"""Fields by name; `(name, columns)` asks for some fields only of an array of records."""


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring fields that say the same over and over (a source and its company, an item and its place).

    Read once and known again by their bytes, which takes a third of the time.
    """

    fields: tuple[str, ...]


#: What a run remembers: so many of at most so many bytes, which is some MiB at worst; what comes later is read each
#: time.
_KNOWN_RUNS, _KNOWN_BYTES = 16_384, 64

# Times of 1978 to 3111 take eight bytes of seven bits. They are taken together: a mask tells that these are eight bytes
# of one number (seven with the high bit, one without), three steps close the gaps between their sevens. A loop takes
# twice as long.
_MARKS, _EIGHT = 0x8080808080808080, 0x0080808080808080
_CLOSE_GAPS = (
    "{0} = {0} & 0x007F007F007F007F | ({0} & 0x7F007F007F007F00) >> 1",
    "{0} = {0} & 0x00003FFF00003FFF | ({0} & 0x3FFF00003FFF0000) >> 2",
    "{0} = {0} & 0x0FFFFFFF | ({0} & 0x0FFFFFFF00000000) >> 4",
    "{0} = {0} >> 1 ^ -({0} & 1)",
)


class MalformedError(ValueError):
    """The bytes are not what the schema says."""


def compile_decoder(record: RecordType, cls: type[T]) -> Callable[[bytes, int], T]:
    """A function that reads one value of the writer's schema, from a position to the end of the bytes, as a dataclass.

    Fields that the class lacks are skipped, fields that the writer lacked take the class's default. The class's slots
    are set directly: its `__init__` would take longer than all the reading.

    Raises:
        SchemaError: the class has a field without a default that the schema lacks, or is no plain slotted dataclass.
    """
    return _compile(record, lambda code, target: _Values(code).record(record, target, cls))


def compile_columns(record: RecordType, columns: Columns) -> Callable[[bytes, int], tuple[Any, ...]]:
    """A function that reads some fields only, in the order asked for, and skips the rest to the exact end.

    Values are as the wire has them: strings `str`, decimals ints of millionths, times and dates ints of microseconds
    and days since 1970, arrays tuples, records tuples of their columns. Skipped text is not checked
    to be UTF-8.

    Raises:
        SchemaError: the schema lacks a field.
    """
    return _compile(record, lambda code, target: _Raw(code).record(record, target, columns))


def compile_rows(record: RecordType, parts: Sequence[str | Run]) -> Callable[[bytes, int], tuple[Any, ...]]:
    """A function as `compile_columns` makes it, where the fields of a `Run` come as one tuple.

    The tuple of equal bytes is the same object as long as they are remembered.

    Raises:
        SchemaError: the schema lacks a field.
    """
    return _compile(record, lambda code, target: _Raw(code).rows(record, target, parts))


def _compile(record: RecordType, body: Callable[[Code, str], None]) -> Callable[[bytes, int], Any]:
    code = Code("def read(data, p):", _NAMES)
    code.line("end = len(data)")
    target = code.variable()
    with code.block("try:"):
        body(code, target)
        code.line("if p != end: raise IndexError")
    # OverflowError: a time or date outside the calendar. ValueError: UTF-8 and all that this module raises.
    with code.block("except (IndexError, ValueError, OverflowError):"):
        code.line(f"raise MalformedError(f'not a {record.name}: wrong at or before byte {{p}} of {{end}}') from None")
    code.line(f"return {target}")
    return code.compile("read")


class _Reader(ABC):
    """Writes the reading of one schema; what becomes of records and numbers is the subclass's."""

    def __init__(self, code: Code) -> None:
        self.code = code

    @abstractmethod
    def record(self, node: RecordType, target: str, want: Any) -> None:
        """What becomes of a record."""

    def number(self, kind: str, target: str) -> None:  # noqa: B027  # nothing, for most
        """What becomes of a number that the wire has as an int."""

    def item(self, want: Any) -> Any:
        """What is wanted of an array's items or an optional's value."""
        return want

    def read(self, node: Node, target: str, want: Any) -> None:
        line = self.code.line
        match node:
            case Scalar(kind="string"):
                self.length()
                line(f"{target} = data[p:(p := p + n)].decode()")
            case Scalar(kind="bytes"):
                self.length()
                line(f"{target} = data[p:(p := p + n)]")
            case Scalar(kind="boolean"):
                line("n = data[p]; p += 1", "if n > 1: raise ValueError", f"{target} = n == 1")
            case Scalar(kind="decimal"):
                self.length()
                line(f"if n < 9: {target} = from_bytes(data[p:p + n], 'big', signed=True)")
                line(f"else: {target} = decode_unscaled(data[p:p + n])", "p += n")
                self.number("decimal", target)
            case Scalar(kind="timestamp"):
                with self.code.block(self.eight(target)):
                    line(*(step.format(target) for step in _CLOSE_GAPS), "p += 8")
                line(f"else: {target}, p = long(data, p)")
                self.number("timestamp", target)
            case Scalar(kind=kind):
                line(f"if (n := data[p]) > 127: {target}, p = long(data, p)")
                line(f"else: {target} = n >> 1 ^ -(n & 1); p += 1")
                self.number(kind, target)
            case Optional(item=inner, null_index=null_index):
                self.optional(null_index, lambda: self.read(inner, target, self.item(want)), f"{target} = None")
            case Array(items=inner):
                with self.code.block("if data[p]:"):
                    line(f"{target} = []")
                    variable = self.code.variable()
                    with self.items():
                        self.read(inner, variable, self.item(want))
                        line(f"{target}.append({variable})")
                    line(f"{target} = tuple({target})")
                line(f"else: {target} = (); p += 1")
            case RecordType():
                self.record(node, target, want)

    def skip(self, node: Node) -> None:
        line = self.code.line
        match node:
            case Scalar(kind="string" | "bytes" | "decimal"):
                line("if (n := data[p]) & 129: n, p = length(data, p); p += n", "else: p += 1 + (n >> 1)")
            case Scalar(kind="boolean"):
                line("if data[p] > 1: raise ValueError", "p += 1")
            case Scalar(kind="timestamp"):
                line(self.eight("n") + " p += 8", "else: p = long(data, p)[1]")
            case Scalar():
                line("if data[p] > 127: p = long(data, p)[1]", "else: p += 1")
            case Optional(item=inner, null_index=null_index):
                self.optional(null_index, lambda: self.skip(inner), "pass")
            case Array(items=inner):
                with self.items():
                    self.skip(inner)
            case RecordType(fields=inner_fields):
                for field in inner_fields:
                    self.skip(field.node)

    def length(self) -> None:
        self.code.line("if (n := data[p]) & 129: n, p = length(data, p)", "else: n >>= 1; p += 1")

    def eight(self, target: str) -> str:
        return f"if p + 8 <= end and ({target} := eight(data, p)[0]) & {_MARKS} == {_EIGHT}:"

    def optional(self, null_index: int, read: Callable[[], None], otherwise: str) -> None:
        self.code.line("n = data[p]; p += 1")
        with self.code.block(f"if n == {2 - 2 * null_index}:"):
            read()
        self.code.line(f"elif n == {2 * null_index}: {otherwise}", "else: raise ValueError")

    @contextmanager
    def items(self) -> Iterator[None]:
        """The loops over an array's blocks and their items; the body reads one item."""
        with self.code.block("while n := data[p]:"):
            self.code.line("if n & 129: n, p = count(data, p, end)", "else: n >>= 1; p += 1")
            with self.code.block("for _ in range(n):"):
                yield
        self.code.line("p += 1")


class _Values(_Reader):
    """Reads into dataclasses: what is wanted of a node is its type hint."""

    def record(self, node: RecordType, target: str, want: Any) -> None:
        if "__slots__" not in vars(want) or hasattr(want, "__post_init__"):
            raise SchemaError(f"{want.__name__} is no plain slotted dataclass")
        hints = get_type_hints(want)
        values: dict[str, str] = {}
        for field in node.fields:
            if field.name in hints:
                values[field.name] = self.code.variable()
                self.read(field.node, values[field.name], hints[field.name])
            else:
                self.skip(field.node)
        self.code.line(f"{target} = new({self.code.constant(want)})")
        for own in fields(want):
            if own.name not in values and own.default is MISSING:
                raise SchemaError(f"{want.__name__}.{own.name} has no default, and the schema lacks it")
            value = values.get(own.name) or self.code.constant(own.default)
            self.code.line(f"{self.code.constant(getattr(want, own.name).__set__)}({target}, {value})")

    def number(self, kind: str, target: str) -> None:
        match kind:
            case "decimal":
                self.code.line(f"{target} = decimal_of({target})")
            case "timestamp":
                self.code.line(f"{target} = EPOCH + MICROSECOND * {target}")
            case "date":
                self.code.line(f"{target} = date_of({target} + {EPOCH_DAY})")
            case _:
                pass

    def item(self, want: Any) -> Any:
        return next(hint for hint in get_args(want) if hint not in (type(None), Ellipsis))


class _Raw(_Reader):
    """Reads columns: what is wanted of a record are names of fields, () for all."""

    def record(self, node: RecordType, target: str, want: Columns) -> None:
        wanted = dict(entry if isinstance(entry, tuple) else (entry, ()) for entry in want)
        wanted = wanted or {field.name: () for field in node.fields}
        variables: dict[str, str] = {}
        for field in node.fields:
            if field.name in wanted:
                variables[field.name] = self.code.variable()
                self.read(field.node, variables[field.name], wanted[field.name])
            else:
                self.skip(field.node)
        if wanted.keys() != variables.keys():
            raise SchemaError(f"{node.name} has no {', '.join(wanted.keys() - variables.keys())}")
        self.code.line(f"{target} = ({', '.join(variables[name] for name in wanted)},)")

    def rows(self, node: RecordType, target: str, parts: Sequence[str | Run]) -> None:
        runs = [part for part in parts if isinstance(part, Run)]
        wanted = {part for part in parts if isinstance(part, str)}
        variables: dict[str | Run, str] = {}
        rest = list(node.fields)
        while rest:
            run = next((run for run in runs if rest[0].name in run.fields), None)
            if run is not None and (span := _span(rest, run, wanted.union(*(r.fields for r in runs if r is not run)))):
                variables[run] = self.run(rest[:span], run, last=span == len(rest))
                del rest[:span]
                continue
            field = rest.pop(0)
            if run is not None or field.name in wanted:
                variables[field.name] = self.code.variable()
                self.read(field.node, variables[field.name], ())
            else:
                self.skip(field.node)
        missing = [n for part in parts if part not in variables for n in _names(part) if n not in variables]
        if missing:
            raise SchemaError(f"{node.name} has no {', '.join(missing)}")
        values = [variables.get(part) or self.tuple_of(variables[name] for name in _names(part)) for part in parts]
        self.code.line(f"{target} = {self.tuple_of(values)}")

    def run(self, span: Sequence[Field], run: Run, *, last: bool) -> str:
        """Read a run, or know it again: where its end is, short strings say by their first bytes.

        The last one's is the end.
        """
        line, target = self.code.line, self.code.variable()
        known, key = self.code.constant({}), self.code.variable()
        if last:
            line(f"{key} = data[p:]")
        else:
            line("q = p + 1 + (data[p] >> 1)")
            for _ in span[1:]:
                line("if q < end: q += 1 + (data[q] >> 1)")
            line(f"{key} = data[p:q]")
        with self.code.block(f"if ({target} := {known}.get({key})) is None:"):
            # A longer string has misled the guess: then the key is no run's, and is not remembered.
            variables = {name: self.code.variable() for name in run.fields}
            for field in span:
                if field.name in variables:
                    self.read(field.node, variables[field.name], ())
                else:
                    self.skip(field.node)
            line(f"{target} = {self.tuple_of(variables.values())}")
            line(f"if p == {'end' if last else 'q'} and len({key}) <= {_KNOWN_BYTES} and len({known}) < {_KNOWN_RUNS}:")
            line(f"    {known}[{key}] = {target}")
        line(f"else: p = {'end' if last else 'q'}")
        return target

    @staticmethod
    def tuple_of(names: Iterable[str]) -> str:
        return f"({', '.join(names)},)"


def _names(part: str | Run) -> tuple[str, ...]:
    return part.fields if isinstance(part, Run) else (part,)


def _span(rest: Sequence[Field], run: Run, others: set[str]) -> int:
    """How many of the fields ahead make up a run, those among them that nobody wants included.

    0 where it cannot be remembered.
    """
    names = [field.name for field in rest]
    if not set(run.fields) <= set(names):
        return 0
    span = max(names.index(name) for name in run.fields) + 1
    if not others & set(names[span:]):
        span = len(names)
    strings = all(isinstance(field.node, Scalar) and field.node.kind in ("string", "bytes") for field in rest[:span])
    return span if not others & set(names[:span]) and (strings or span == len(names)) else 0


def _long(data: bytes, position: int) -> tuple[int, int]:
    """A zigzag number of any length, and the position after it."""
    value = shift = 0
    while (byte := data[position]) > 127:
        value |= (byte & 127) << shift
        shift += 7
        position += 1
        if shift > 63:
            raise ValueError("more than 64 bits")
    value |= byte << shift
    if value >> 64 or (shift and not byte):
        raise ValueError("more than 64 bits, or padded")
    return value >> 1 ^ -(value & 1), position + 1


def _length(data: bytes, position: int) -> tuple[int, int]:
    length, position = _long(data, position)
    if not 0 <= length <= len(data) - position:
        raise ValueError("longer than what is left")
    return length, position


def _count(data: bytes, position: int, end: int) -> tuple[int, int]:
    """How many items a block of an array has; a negative count is followed by the block's length in bytes."""
    count, position = _long(data, position)
    if count < 0:
        count = -count
        _, position = _length(data, position)
    if not 0 < count <= end - position:
        raise ValueError("more items than bytes are left")
    return count, position


_NAMES: dict[str, Any] = {
    "MalformedError": MalformedError,
    "EPOCH": EPOCH,
    "MICROSECOND": MICROSECOND,
    "count": _count,
    "date_of": date.fromordinal,
    "decimal_of": decimal_of,
    "decode_unscaled": decode_unscaled,
    "eight": Struct("<Q").unpack_from,
    "from_bytes": int.from_bytes,
    "length": _length,
    "long": _long,
    "new": object.__new__,
}

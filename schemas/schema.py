"""One Avro schema, read into the few shapes that we use, and the two questions asked of it: same as, and readable by.

The subset is what makes hostile bytes harmless: no recursion (so no depth), no array of items without width (so no
count can exceed the bytes that are left), no maps, no unions but "or null". See `schemas/decoder.py`.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NAMESPACE = "b1streams"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_REQUIRED = object()
_SCALARS = {
    ("boolean", None): "boolean",
    ("long", None): "long",
    ("bytes", None): "bytes",
    ("string", None): "string",
    ("int", "date"): "date",
    ("long", "timestamp-micros"): "timestamp",
    ("bytes", "decimal"): "decimal",
}
_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_KEPT = ("logicalType", "precision", "scale", "size", "symbols")  # what a reader must know beside names and types


class SchemaError(Exception):
    """A schema is not one that we can or want to use."""


@dataclass(frozen=True, slots=True)
class Scalar:
    kind: str  # a value of _SCALARS


@dataclass(frozen=True, slots=True)
class Array:
    items: "Node"


@dataclass(frozen=True, slots=True)
class Optional:
    item: "Node"
    null_index: int  # where null stands in the union, 0 or 1


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    node: "Node"
    default: object = _REQUIRED

    @property
    def required(self) -> bool:
        return self.default is _REQUIRED


@dataclass(frozen=True, slots=True)
class RecordType:
    name: str
    fields: tuple[Field, ...]


Node = Scalar | Array | Optional | RecordType


@dataclass(frozen=True, slots=True)
class Schema:
    """A version of a record type, as one file of `schemas/avro` has it."""

    name: str  # stock_adjusted
    version: int
    text: str
    fingerprint: str
    record: RecordType

    @property
    def subject(self) -> str:
        """Its name in a Confluent registry (RecordNameStrategy: several of our topics carry one type)."""
        return f"{NAMESPACE}.{self.record.name}"


def parse(name: str, version: int, text: str) -> Schema:
    """Read one of our own schemas.

    Raises:
        SchemaError: it is not a record, uses something outside our subset, is recursive, or has an array of items
            without width.
    """
    definition = json.loads(text)
    if not isinstance(definition, dict) or definition.get("namespace") != NAMESPACE:
        raise SchemaError(f"{name}: not a record of the namespace {NAMESPACE}")
    record = _node(definition, {}, frozenset())
    if not isinstance(record, RecordType):
        raise SchemaError(f"{name}: not a record")
    return Schema(name, version, text, fingerprint(text), record)


def _node(definition: Any, named: dict[str, RecordType], open_names: frozenset[str]) -> Node:
    match definition:
        case str() if (definition, None) in _SCALARS:
            return Scalar(definition)
        case str():
            name = definition.removeprefix(f"{NAMESPACE}.")
            if name in open_names:
                raise SchemaError(f"{name} contains itself: a recursive schema lets a few bytes exhaust the stack")
            if name not in named:
                raise SchemaError(f"{definition} is not a type of ours")
            return named[name]
        case [_, _] if "null" in definition:
            null_index = definition.index("null")
            item = _node(definition[1 - null_index], named, open_names)
            if isinstance(item, Optional):
                raise SchemaError("a union directly within a union")
            return Optional(item, null_index)
        case {"type": "array", "items": items}:
            item = _node(items, named, open_names)
            if min_width(item) == 0:
                raise SchemaError("an array of items without width lets a few bytes make any number of items")
            return Array(item)
        case {"type": "record", "name": str(name), "fields": list(fields)}:
            _check_name(name)
            if name in named or name in open_names:
                raise SchemaError(f"{name} is defined twice")
            inner = open_names | {name}
            named[name] = RecordType(name, tuple(_field(field, named, inner) for field in fields))
            return named[name]
        case {"type": str(kind)} if (kind, definition.get("logicalType")) in _SCALARS:
            scalar = _SCALARS[kind, definition.get("logicalType")]
            if scalar == "decimal" and (definition.get("precision"), definition.get("scale")) != (19, 6):
                raise SchemaError("a decimal that is not decimal(19,6)")
            return Scalar(scalar)
    raise SchemaError(f"outside the subset of Avro that we use: {json.dumps(definition):.100}")


def _field(field: Mapping[str, Any], named: dict[str, RecordType], open_names: frozenset[str]) -> Field:
    _check_name(field["name"])
    return Field(field["name"], _node(field["type"], named, open_names), field.get("default", _REQUIRED))


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise SchemaError(f"{name!r:.100} is not a name")


def min_width(node: Node) -> int:
    """The fewest bytes that a value takes."""
    if isinstance(node, RecordType):
        return sum(min_width(field.node) for field in node.fields)
    return 1


def fingerprint(text: str) -> str:
    """SHA-256 of the canonical form: equal exactly when two schemas are written alike on the wire and mean the same.

    Avro's Parsing Canonical Form drops logical types, so that decimal(19,6) and decimal(19,2) would be equal; ours
    keeps them. The text may be anybody's: names are not resolved, so it costs no more than its length.

    Raises:
        SchemaError: it is not a schema.
    """
    try:
        canonical = _canonical(json.loads(text), "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SchemaError("the text is not an Avro schema") from None
    return hashlib.sha256(json.dumps(canonical, separators=(",", ":"), sort_keys=True).encode()).hexdigest()


def content_fingerprint(text: str) -> str:
    """SHA-256 of a schema file's content, defaults included; layout and `doc` do not matter.

    It is frozen beside the schema's id: the canonical form would not notice a default that somebody changes.
    """
    content = json.loads(text, object_hook=lambda node: {key: value for key, value in node.items() if key != "doc"})
    return hashlib.sha256(json.dumps(content, separators=(",", ":"), sort_keys=True).encode()).hexdigest()


def _canonical(definition: Any, space: str) -> Any:
    if isinstance(definition, str):
        return definition if definition in _PRIMITIVES else _full_name(definition, space)
    if isinstance(definition, list):
        return [_canonical(branch, space) for branch in definition]
    kept = {key: definition[key] for key in _KEPT if key in definition}
    kind = definition["type"]
    if "name" in definition:
        name = _full_name(definition["name"], definition.get("namespace", space))
        space = name.rpartition(".")[0]
        kept["name"] = name
    if "fields" in definition:
        kept["fields"] = [[field["name"], _canonical(field["type"], space)] for field in definition["fields"]]
    for inner in ("items", "values"):
        if inner in definition:
            kept[inner] = _canonical(definition[inner], space)
    if not isinstance(kind, str):
        kind = _canonical(kind, space)
    return kept | {"type": kind} if kept else kind


def _full_name(name: str, space: str) -> str:
    return name if "." in name or not space else f"{space}.{name}"


def incompatibilities(reader: Node, writer: Node, path: str = "") -> list[str]:
    """Why a reader with one schema cannot read what another has written (Avro 1.11, schema resolution); empty: it can.

    Stricter than Avro where our decoder is: a record keeps its name, and nothing is promoted.
    """
    match reader, writer:
        case RecordType(), RecordType() if reader.name == writer.name:
            return _record_faults(reader, writer, path or reader.name)
        case Array(items=to_read), Array(items=written):
            return incompatibilities(to_read, written, f"{path}[]")
        case Optional(item=to_read), Optional(item=written):
            return incompatibilities(to_read, written, path)
        case Optional(item=to_read), _:
            return incompatibilities(to_read, writer, path)
        case Scalar(), Scalar() if reader == writer:
            return []
    return [f"{path}: {_describe(writer)} cannot be read as {_describe(reader)}"]


def _record_faults(reader: RecordType, writer: RecordType, path: str) -> list[str]:
    written = {field.name: field.node for field in writer.fields}
    faults: list[str] = []
    for field in reader.fields:
        if field.name in written:
            faults += incompatibilities(field.node, written[field.name], f"{path}.{field.name}")
        elif field.required:
            faults.append(f"{path}.{field.name}: new, and without a default")
    return faults


def _describe(node: Node) -> str:
    match node:
        case Scalar(kind=kind):
            return kind
        case Array(items=items):
            return f"array of {_describe(items)}"
        case Optional(item=item):
            return f"{_describe(item)} or null"
        case RecordType(name=name):
            return name

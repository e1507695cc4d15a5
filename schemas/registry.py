"""Which schemas there are, and under which id each one travels.

`known_schemas()` is everything that may ever be read: the files of `schemas/avro`, each as it was when its id was given
(`ids.toml` has a fingerprint beside each id). A registry only says which id stands for which of them: the embedded one
by `ids.toml`, a Confluent-compatible one by asking it.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from fastavro import parse_schema
from fastavro.schema import SchemaParseException

from schemas.schema import Schema, SchemaError, content_fingerprint, incompatibilities, parse

_HERE = Path(__file__).parent
_FILE_NAME = re.compile(r"([a-z][a-z0-9_]{0,99})\.v([1-9][0-9]{0,3})\.avsc")


class Registry(Protocol):
    """Ids and schemas; asked once per schema and id, then remembered by the codec.

    Both methods may raise `connectors.base.errors.RetriableError` where a registry is another process. An id never
    changes its meaning.
    """

    def id_of(self, schema: Schema) -> int:
        """The id under which values of one of our schemas are written; registers `schema.subject` where it is new."""
        ...

    def schema_text(self, schema_id: int) -> str | None:
        """The Avro schema (JSON) with this id; None: there is none."""
        ...


class EmbeddedRegistry:
    """Ids fixed in a checked-in file, so that nothing has to run beside the pipeline."""

    def __init__(self, schemas: Mapping[str, Schema], ids: Mapping[str, int]) -> None:
        """Take schemas and ids by `<name>.v<version>`, the same names in both (see `check_frozen`)."""
        self._ids = {schemas[key].fingerprint: number for key, number in ids.items()}
        self._texts = {number: schemas[key].text for key, number in ids.items()}

    def id_of(self, schema: Schema) -> int:
        return self._ids[schema.fingerprint]

    def schema_text(self, schema_id: int) -> str | None:
        return self._texts.get(schema_id)


@dataclass(frozen=True, slots=True)
class Frozen:
    """What was written down when a schema was released: its id, and the fingerprint of its file's content."""

    id: int
    fingerprint: str


def embedded_registry() -> EmbeddedRegistry:
    return EmbeddedRegistry(known_schemas(), {key: row.id for key, row in read_frozen(_HERE / "ids.toml").items()})


@cache
def known_schemas() -> Mapping[str, Schema]:
    """Every schema of `schemas/avro`, by `<name>.v<version>`.

    Raises:
        SchemaError: see `load_schemas` and `check_frozen`.
    """
    schemas = load_schemas(_HERE / "avro")
    check_frozen(schemas, read_frozen(_HERE / "ids.toml"))
    return schemas


def read_frozen(path: Path) -> dict[str, Frozen]:
    """Read `ids.toml`, by `<name>.v<version>`.

    Raises:
        SchemaError: A line is not `{ id = N, fingerprint = "..." }`.
    """
    rows = tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        return {key: Frozen(**row) for key, row in rows.items()}
    except TypeError:
        raise SchemaError('ids.toml: each line is "<name>.v<version>" = { id = N, fingerprint = "..." }') from None


def check_frozen(schemas: Mapping[str, Schema], frozen: Mapping[str, Frozen]) -> None:
    """See that every schema has exactly one id and is what it was when it got it.

    Records that lie in topics were written with it: read with another content they would be garbage, or not be read.

    Raises:
        SchemaError: What is wrong and what to do.
    """
    for key in sorted(schemas.keys() - frozen.keys()):
        free = max((row.id for row in frozen.values()), default=0) + 1
        fingerprint = content_fingerprint(schemas[key].text)
        raise SchemaError(
            f'ids.toml does not know {key}: add "{key}" = {{ id = {free}, fingerprint = "{fingerprint}" }}'
        )
    for key in sorted(frozen.keys() - schemas.keys()):
        raise SchemaError(f"{key}.avsc is gone, and records with its id may exist: put it back, it is never deleted")
    if len({row.id for row in frozen.values()}) < len(frozen):
        raise SchemaError("ids.toml gives one id to two schemas: take the next free number for the new one")
    for key, schema in schemas.items():
        if content_fingerprint(schema.text) != frozen[key].fingerprint:
            raise SchemaError(
                f"{key}.avsc is not what it was when it got its id, and records that were written with it exist: put "
                "it "
                f"back, and add {schema.name}.v{latest(schemas, schema.name).version + 1}.avsc with a new id "
                "(docs/extending.md)"
            )


def load_schemas(folder: Path) -> dict[str, Schema]:
    """Read a folder of `<name>.v<version>.avsc`.

    Raises:
        SchemaError: a file's name or content is not one of ours, or two of them have the same content.
    """
    schemas: dict[str, Schema] = {}
    for path in sorted(folder.iterdir()):
        parts = _FILE_NAME.fullmatch(path.name)
        if parts is None:
            raise SchemaError(f"{path.name}: a schema's file is named <name>.v<version>.avsc")
        text = path.read_text(encoding="utf-8")
        schema = parse(parts[1], int(parts[2]), text)
        try:
            parse_schema(json.loads(text))  # what we leave to the library: defaults, and the rest of the specification
        except (SchemaParseException, ValueError) as fault:
            raise SchemaError(f"{path.name}: {fault}") from fault
        schemas[path.name.removesuffix(".avsc")] = schema
    if len({schema.fingerprint for schema in schemas.values()}) < len(schemas):
        raise SchemaError("two schemas have the same canonical form: bytes of one could not be told from the other's")
    return schemas


def latest(schemas: Mapping[str, Schema], name: str) -> Schema:
    """The version that is written."""
    return max((schema for schema in schemas.values() if schema.name == name), key=lambda schema: schema.version)


def breaks(schemas: Mapping[str, Schema]) -> list[str]:
    """What a version of a type cannot read of any earlier one (BACKWARD_TRANSITIVE); empty: nothing."""
    return [
        f"{reader.name}: v{reader.version} cannot read v{writer.version}: {fault}"
        for reader in schemas.values()
        for writer in schemas.values()
        if reader.name == writer.name and reader.version > writer.version
        for fault in incompatibilities(reader.record, writer.record)
    ]

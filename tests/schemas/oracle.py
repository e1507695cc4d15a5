"""fastavro, as the judge of what bytes mean."""

import dataclasses
import io
import json
from typing import Any

from fastavro import parse_schema, schemaless_reader, schemaless_writer

from schemas.schema import Schema


def write(schema: Schema, value: Any) -> bytes:
    out = io.BytesIO()
    schemaless_writer(out, parse_schema(json.loads(schema.text)), plain(value))
    return out.getvalue()


def read(schema: Schema, data: bytes) -> Any:
    """The value, read to the exact end."""
    stream = io.BytesIO(data)
    value = schemaless_reader(stream, parse_schema(json.loads(schema.text)), None)
    assert len(data) == stream.tell()
    return value


def plain(value: Any) -> Any:
    """A dataclass as the dicts and lists that fastavro knows."""
    if dataclasses.is_dataclass(value):
        return {own.name: plain(getattr(value, own.name)) for own in dataclasses.fields(value)}
    return [plain(item) for item in value] if isinstance(value, tuple) else value

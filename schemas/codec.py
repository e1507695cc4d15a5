"""Events and records <-> bytes in the Confluent wire format: a zero byte, the schema's id (4 bytes, big-endian), Avro.

Writes the latest version of a type, reads every version in `schemas/avro`. An id whose schema is not one of those is
refused, whatever the registry says it is: bytes are only ever read by a schema that has been reviewed here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from schemas.decimals import DecimalRangeError, unscaled
from schemas.decoder import Columns, MalformedError, Run, compile_columns, compile_decoder, compile_rows
from schemas.encoder import compile_encoder
from schemas.events import EVENT_TYPES
from schemas.readings import READING_TYPES, EffectState
from schemas.records import (
    Anchor,
    AuditRecord,
    ComponentState,
    Cursor,
    DeadLetterState,
    KnownLog,
    LetterCommand,
    Notice,
    Outcome,
    Posting,
    SealedEpoch,
    StockBatch,
    StockDocument,
)
from schemas.registry import Registry, embedded_registry, known_schemas, latest
from schemas.schema import RecordType, Schema, SchemaError, fingerprint
from schemas.topics import TOPICS

T = TypeVar("T")

TYPES: dict[str, type[Any]] = {
    **EVENT_TYPES,
    "posting": Posting,
    "stock_batch": StockBatch,
    "sealed_epoch": SealedEpoch,
    "stock_document": StockDocument,
    "letter_state": DeadLetterState,
    "outcome": Outcome,
    "cursor": Cursor,
    "anchor": Anchor,
    "known_log": KnownLog,
    "notice": Notice,
    "audit_record": AuditRecord,
    "letter_command": LetterCommand,
    "component_state": ComponentState,
    **READING_TYPES,
    "delivery_state": EffectState,
}
_NAMES = {cls: name for name, cls in TYPES.items()}
#: Read when this module is imported, so that nothing starts on a schema that was edited in place.
_SCHEMAS = known_schemas()

# A fact travels on inside a Posting, whose topic has a broker's usual limit of 1 MiB: the difference is for what stands
# around it.
FACT_MAX_BYTES = 1_000_000
_MAX_BYTES = {topic.value: topic.max_message_bytes for topic in TOPICS} | dict.fromkeys(EVENT_TYPES, FACT_MAX_BYTES)
_MAX_BYTES["letter_command"] = _MAX_BYTES["posting"]  # it lies among them


class CodecError(Exception):
    """Bytes cannot be read, or a value cannot be written; `reason` is a name of `schemas.letters.REASONS`.

    The text is our own: no values but numbers, no personal data.
    """

    reason = "invalid_event"


class UnencodableError(CodecError):
    """A value does not fit its schema."""


class UnreadableError(CodecError):
    """Not the wire format, not what its schema says, too long, or another type than the topic's."""

    reason = "unreadable"


class UnknownSchemaError(CodecError):
    """Written with a schema that `schemas/avro` does not have: a newer producer's, or nobody's."""

    reason = "unknown_schema"


@dataclass(frozen=True, slots=True)
class _Written:
    """A schema under the id that the bytes named."""

    schema: Schema
    cls: type[Any]
    read: Callable[[bytes, int], Any]
    max_bytes: int


class _ByPrefix(dict[bytes, Callable[[bytes, int], tuple[Any, ...]]]):
    """Functions by the prefix of what they read, each compiled when it is met."""

    def __init__(
        self,
        record_of: Callable[[bytes], RecordType],
        compiled: Callable[[RecordType], Callable[[bytes, int], tuple[Any, ...]]],
    ) -> None:
        self._record_of, self._compiled = record_of, compiled

    def __missing__(self, prefix: bytes) -> Callable[[bytes, int], tuple[Any, ...]]:
        self[prefix] = self._compiled(self._record_of(prefix))
        return self[prefix]


class Codec:
    """Encodes and decodes; one per process, and any of its threads may use it.

    It does no I/O, except that the first meeting with a type or an id asks the registry, whose errors pass through.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._by_fingerprint = {schema.fingerprint: schema for schema in _SCHEMAS.values()}
        self._writers: dict[type[Any], tuple[Callable[[Any], bytes], int]] = {}
        self._readers: dict[bytes, _Written] = {}

    def encode(self, record: Any) -> bytes:
        """One of `TYPES` as bytes.

        Raises:
            UnencodableError: a value does not fit: a decimal beyond (19,6) (nothing is rounded), a time without zone,
                a record longer than its topic takes.
        """
        cls = record.__class__
        write, max_bytes = self._writers.get(cls) or self._writer(cls)
        try:
            data = write(record)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as fault:
            raise UnencodableError(f"{_NAMES[cls]}: {_first_fault(record) or fault.__class__.__name__}") from fault
        if len(data) > max_bytes:
            raise UnencodableError(f"{_NAMES[cls]}: {len(data)} bytes, and its topic takes {max_bytes}: split it")
        return data

    def decode(self, data: bytes, expect: type[T] | tuple[type[T], ...]) -> T:
        """The value that the bytes hold.

        Args:
            data: what `encode` made, by any version of us.
            expect: the type or types that may come.

        Raises:
            UnreadableError: see there.
            UnknownSchemaError: see there.
        """
        written = self._readers.get(data[:5]) or self._reader(data)
        if len(data) > written.max_bytes:
            raise UnreadableError(f"{written.schema.name}: {len(data)} bytes, at most {written.max_bytes} are read")
        if written.cls is not expect and not issubclass(written.cls, expect):
            raise UnreadableError(f"a {written.schema.name} where another type was expected")
        try:
            value: T = written.read(data, 5)
        except MalformedError as fault:
            raise UnreadableError(str(fault)) from None
        return value

    def columns(self, cls: type[Any], columns: Columns) -> Callable[[bytes], tuple[Any, ...]]:
        """A function that reads some fields of a type only, raw, for the hot path: see `decoder.compile_columns`.

        It takes the bytes of one value and raises what `decode` raises.
        """
        by_prefix = _ByPrefix(lambda data: self._record_of(data, cls), lambda record: compile_columns(record, columns))
        max_bytes = _MAX_BYTES.get(_NAMES[cls], FACT_MAX_BYTES)

        def read(data: bytes) -> tuple[Any, ...]:
            if len(data) > max_bytes:
                raise UnreadableError(f"{_NAMES[cls]}: {len(data)} bytes, at most {max_bytes} are read")
            read_columns = by_prefix[data[:5]]
            try:
                return read_columns(data, 5)
            except MalformedError as fault:
                raise UnreadableError(str(fault)) from None

        return read

    def rows(
        self, cls: type[Any], parts: Sequence[str | Run], unreadable: Callable[[CodecError], T]
    ) -> Callable[[Iterable[bytes]], list[tuple[Any, ...] | T]]:
        """A function that reads some fields of many values (see `decoder.compile_rows`).

        `unreadable` makes a row of what is none.
        """
        by_prefix = _ByPrefix(lambda data: self._record_of(data, cls), lambda record: compile_rows(record, parts))
        max_bytes = _MAX_BYTES.get(_NAMES[cls], FACT_MAX_BYTES)

        def read(values: Iterable[bytes]) -> list[tuple[Any, ...] | T]:
            rows: list[tuple[Any, ...] | T] = []
            for data in values:
                try:
                    if len(data) > max_bytes:
                        raise UnreadableError(f"{_NAMES[cls]}: {len(data)} bytes, at most {max_bytes} are read")
                    read_row = by_prefix[data[:5]]
                    rows.append(read_row(data, 5))
                except MalformedError as fault:
                    rows.append(unreadable(UnreadableError(str(fault))))
                except CodecError as fault:
                    rows.append(unreadable(fault))
            return rows

        return read

    def _record_of(self, prefix: bytes, cls: type[Any]) -> RecordType:
        written = self._readers.get(prefix) or self._reader(prefix)
        if written.cls is not cls:
            raise UnreadableError(f"a {written.schema.name} where another type was expected")
        return written.schema.record

    def _writer(self, cls: type[Any]) -> tuple[Callable[[Any], bytes], int]:
        schema = latest(_SCHEMAS, _NAMES[cls])
        prefix = b"\0" + self._registry.id_of(schema).to_bytes(4, "big")
        self._writers[cls] = compile_encoder(schema.record, prefix), _MAX_BYTES.get(schema.name, FACT_MAX_BYTES)
        return self._writers[cls]

    def _reader(self, data: bytes) -> _Written:
        if len(data) < 5 or data[0]:
            raise UnreadableError("not in the Confluent wire format: a zero byte and a schema id come first")
        schema_id = int.from_bytes(data[1:5], "big")
        text = self._registry.schema_text(schema_id)
        if text is None:
            raise UnknownSchemaError(f"the registry has no schema {schema_id}")
        try:
            schema = self._by_fingerprint.get(fingerprint(text))
        except SchemaError as fault:
            raise UnknownSchemaError(f"schema {schema_id}: {fault}") from fault
        if schema is None:
            raise UnknownSchemaError(f"schema {schema_id} is none of schemas/avro: deploy readers before writers")
        cls = TYPES[schema.name]
        max_bytes = _MAX_BYTES.get(schema.name, FACT_MAX_BYTES)
        self._readers[data[:5]] = _Written(schema, cls, compile_decoder(schema.record, cls), max_bytes)
        return self._readers[data[:5]]


def embedded_codec() -> Codec:
    return Codec(embedded_registry())


def _first_fault(value: object, path: str = "") -> str | None:
    """Which value does not fit, where that can be told from the value alone."""
    match value:
        case Decimal():
            try:
                unscaled(value)
            except DecimalRangeError as fault:
                return f"{path}: {fault}"
        case datetime(tzinfo=None):
            return f"{path}: a time without zone"
        case float():
            return f"{path}: a float, where numbers are exact"
        case tuple() | list():
            found = (_first_fault(item, f"{path}[{index}]") for index, item in enumerate(value))
            return next(filter(None, found), None)
        case _ if is_dataclass(value):
            found = (_first_fault(getattr(value, own.name), f"{path}.{own.name}".lstrip(".")) for own in fields(value))
            return next(filter(None, found), None)
        case _:
            pass
    return None

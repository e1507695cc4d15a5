"""Records of a JSON document to fields, by a mapping of JMESPath."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import BaseModel

from connectors.base.json_numbers import is_deep
from connectors.base.values import MAX_NAMED_PROBLEMS
from connectors.ims.convert import Converter
from connectors.ims.errors import LineError
from connectors.ims.fields import inner_record, is_list
from connectors.ims.json_lines import MAX_DEPTH
from connectors.ims.mappings import JsonSettings
from connectors.ims.records import RECORDS

#: What JMESPath does to a document that is not what its author had in mind. Its texts quote values.
_PATH_ERRORS = (JMESPathError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
#: A text, or a brace outside of one.
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}]')


@dataclass(slots=True)
class _FieldNode:
    """A field of the event: where it comes from, and what is inside."""

    path: Any = None  # compiled; None: it begins where the one above it does
    listed: bool = False
    inner: dict[str, "_FieldNode"] = field(default_factory=dict)


class JsonDocument:
    """One document that has been read whole.

    Args:
        body: All of it.
        mapping: What it means.

    Attributes:
        records: In its order.

    Raises:
        LineError: Of the document as a whole; its `fields` are empty.
    """

    def __init__(self, body: bytes, mapping: JsonSettings) -> None:
        self._mapping = mapping
        self._objects: list[dict[str, Any]] = []  # in the order in which they end
        self._twice: set[int] = set()
        self._object_spans: dict[int, tuple[int, int]] | None = None
        try:
            self._text = body.decode(json.detect_encoding(body))
        except UnicodeDecodeError:
            raise self._unreadable("the document is not UTF-8 (or UTF-16, UTF-32); write the file in UTF-8") from None
        self.records = self._find(self._parse())
        record = RECORDS[mapping.event]
        self._root = _FieldNode()
        for path in sorted(mapping.fields):
            _add(self._root, record, path, mapping.fields[path])
        self._convert = Converter(mapping, tuple(each for each in mapping.fields if _is_single(record, each)))

    def fields(self, record: object) -> Mapping[str, object]:
        """The fields of a record, in the form that JSON lines have them.

        Raises:
            LineError: It is no object, or a value is not in the mapping.
        """
        event = self._mapping.event
        if not isinstance(record, dict):
            raise LineError("invalid_event", "the record is not an object; fix it, or the path in records", event)
        problems: list[str] = []
        found = self._build(self._root, record, "", problems)
        if self._has_key_twice(record):
            problems.insert(0, "an object has the same key twice; write each key once, so that it is clear what holds")
        if problems:
            raise LineError("invalid_event", "; ".join(problems[:MAX_NAMED_PROBLEMS]), event, found)
        return found

    def bytes_of(self, record: object) -> bytes:
        """A record as the document has it; one that the path has put together, as JSON."""
        if self._object_spans is None:
            self._object_spans = {
                id(each): span for each, span in zip(self._objects, _object_spans(self._text), strict=True)
            }
        span = self._object_spans.get(id(record))
        text = self._text[slice(*span)] if span is not None else json.dumps(record, ensure_ascii=False)
        return text.encode(errors="surrogatepass")

    def _parse(self) -> object:
        try:
            found: object = json.loads(
                self._text,
                parse_int=str,
                parse_float=str,
                parse_constant=_no_constant,
                object_pairs_hook=self._object,
            )
        except json.JSONDecodeError as error:
            raise self._unreadable(
                f"the document is not JSON ({error.msg} at line {error.lineno}, column {error.colno}); "
                "fix it at the source"
            ) from None
        except (ValueError, RecursionError):
            raise self._unreadable(
                "the document is not JSON (NaN, Infinity, or nested too deeply); fix it at the source"
            ) from None
        if is_deep(found, MAX_DEPTH):
            raise self._unreadable(f"the document is nested more than {MAX_DEPTH} deep; flatten it")
        return found

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            self._twice.add(id(found))
        self._objects.append(found)
        return found

    def _find(self, document: object) -> Sequence[object]:
        event, path = self._mapping.event, self._mapping.records
        try:
            found = jmespath.search(path, document)
        except _PATH_ERRORS:
            raise LineError("invalid_event", "records cannot be applied to the document; fix the path", event) from None
        if found is None:
            raise LineError("invalid_event", f"the document has nothing at {path}; fix it, or the path", event)
        return found if isinstance(found, list) else [found]

    def _build(self, node: _FieldNode, base: object, at: str, problems: list[str]) -> dict[str, object]:
        found: dict[str, object] = {}
        for name, inner in node.inner.items():
            path = f"{at}{name}"
            try:
                value = base if inner.path is None else inner.path.search(base)
            except _PATH_ERRORS:
                problems.append(f"{path}: its path cannot be applied to the record; fix the path")
                continue
            if value is None or value == "":
                continue
            each = value if isinstance(value, list) else [value]
            if inner.inner and inner.listed:
                found[name] = [self._build(inner, one, f"{path}.", problems) for one in each]
            elif inner.inner:
                if built := self._build(inner, value, f"{path}.", problems):
                    found[name] = built
            else:
                try:
                    found[name] = [self._value(path, one) for one in each] if inner.listed else self._value(path, value)
                except ValueError as error:
                    problems.append(f"{path} {error}")
        return found

    def _value(self, path: str, value: object) -> object:
        if isinstance(value, float):
            raise ValueError("is the outcome of a calculation; take a value that the document has")  # noqa: TRY004 -- a problem like the others
        if isinstance(value, bool):
            return self._convert.text(path, "true" if value else "false") if path in self._mapping.values else value
        if isinstance(value, int):
            value = str(value)
        return self._convert.text(path, value) if isinstance(value, str) else value

    def _has_key_twice(self, record: object) -> bool:
        level = [record] if self._twice else []
        while level:
            if any(id(each) in self._twice for each in level):
                return True
            level = [
                inner
                for each in level
                for inner in (each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())
            ]
        return False

    def _unreadable(self, text: str) -> LineError:
        return LineError("unreadable", text, self._mapping.event)


def _add(root: _FieldNode, record: type[BaseModel], path: str, expression: str) -> None:
    node, at = root, record
    *above, last = path.split(".")
    for name in above:
        node = node.inner.setdefault(name, _FieldNode(listed=is_list(at, name)))
        at = inner_record(at, name) or at
    found = node.inner.setdefault(last, _FieldNode(listed=is_list(at, last)))
    found.path = jmespath.compile(expression)


def _is_single(record: type[BaseModel], path: str) -> bool:
    name, _, rest = path.partition(".")
    inner = inner_record(record, name)
    return _is_single(inner, rest) if inner is not None and rest else inner is None


def _object_spans(text: str) -> list[tuple[int, int]]:
    """Where the objects of a document stand that is known to be JSON, in the order in which they end."""
    found: list[tuple[int, int]] = []
    begun: list[int] = []
    for token in _TOKEN.finditer(text):
        if token.group() == "{":
            begun.append(token.start())
        elif token.group() == "}":
            found.append((begun.pop(), token.end()))
    return found


def _no_constant(_text: str) -> object:
    raise ValueError("NaN and Infinity are not JSON")

import json
from typing import Any

import pytest

from schemas.schema import SchemaError, fingerprint, incompatibilities, parse


def record(*fields: dict[str, Any], name: str = "Thing", **more: Any) -> str:
    return json.dumps({"type": "record", "name": name, "namespace": "b1streams", "fields": list(fields)} | more)


def field(kind: Any, name: str = "a", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind} | more


DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 19, "scale": 6}
EMPTY = {"type": "record", "name": "Empty", "fields": []}


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (["null", "Thing"], "contains itself"),
        ({"type": "array", "items": "b1streams.Thing"}, "contains itself"),
        ({"type": "array", "items": EMPTY}, "without width"),
        (
            {
                "type": "array",
                "items": {"type": "record", "name": "Outer", "fields": [field(EMPTY), field("Empty", "b")]},
            },
            "without width",
        ),
        ({"type": "array", "items": "null"}, "not a type of ours"),
        ({"type": "map", "values": "string"}, "outside the subset"),
        ("double", "not a type of ours"),
        ("int", "not a type of ours"),
        ("Nowhere", "not a type of ours"),
        (["string", "long"], "outside the subset"),
        (["null", "string", "long"], "outside the subset"),
        (["null", ["null", "string"]], "union directly within"),
        (DECIMAL | {"scale": 2}, "not decimal"),
        ({"type": "long", "logicalType": "timestamp-millis"}, "outside the subset"),
        ({"type": "fixed", "name": "F", "size": 16}, "outside the subset"),
    ],
)
def test_what_could_hurt_a_reader_is_refused_when_it_is_loaded(kind: Any, why: str) -> None:
    with pytest.raises(SchemaError, match=why):
        parse("thing", 1, record(field(kind)))


@pytest.mark.parametrize("name", ["", "a b", "a;import os", "1a", "a" * 101])
def test_a_name_that_is_no_identifier_is_refused(name: str) -> None:
    with pytest.raises(SchemaError, match="is not a name"):
        parse("thing", 1, record(field("string", name)))


def test_a_foreign_namespace_is_refused() -> None:
    with pytest.raises(SchemaError, match="namespace"):
        parse("thing", 1, record(namespace="theirs"))


def test_one_type_used_twice_is_not_recursion() -> None:
    inner = {"type": "record", "name": "Inner", "fields": [field("string")]}

    schema = parse("thing", 1, record(field(inner), field(["null", "Inner"], "b")))

    assert schema.record.fields[0].node == schema.record.fields[1].node.item  # type: ignore[union-attr]  # an Optional


def test_a_fingerprint_does_not_see_docs_defaults_and_order_of_keys() -> None:
    plain = record(field(["null", DECIMAL]), field("string", "b"))
    dressed = json.dumps(
        {
            "fields": [
                {"default": None, "type": ["null", dict(reversed(DECIMAL.items()))], "name": "a", "doc": "x"},
                {"type": {"type": "string"}, "name": "b"},
            ],
            "doc": "y",
            "name": "b1streams.Thing",
            "type": "record",
        },
        indent=4,
    )

    assert fingerprint(plain) == fingerprint(dressed)


@pytest.mark.parametrize(
    "other",
    [
        record(field(DECIMAL | {"scale": 2})),
        record(field("bytes")),
        record(field(["null", DECIMAL])),
        record(field(DECIMAL, "b")),
        record(field(DECIMAL), name="Other"),
        record(field(DECIMAL), namespace="theirs"),
    ],
)
def test_a_fingerprint_sees_all_that_a_reader_must_know(other: str) -> None:
    assert fingerprint(record(field(DECIMAL))) != fingerprint(other)


@pytest.mark.parametrize(
    "text", ["", "{}", "3", "nonsense", "[" * 100_000, '{"type": "record", "name": 3, "fields": 1}']
)
def test_what_is_no_schema_has_no_fingerprint(text: str) -> None:
    with pytest.raises(SchemaError):
        fingerprint(text)


def test_a_billion_laughs_cost_a_fingerprint_nothing() -> None:
    kind: Any = {"type": "record", "name": "L0", "fields": [field("string")]}
    for level in range(1, 60):
        kind = {"type": "record", "name": f"L{level}", "fields": [field(kind), field(f"L{level - 1}", "b")]}

    assert len(fingerprint(record(field(kind)))) == 64


V1 = record(field("string"), field(DECIMAL, "b"), field({"type": "array", "items": "string"}, "c", default=[]))


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        (V1, []),
        (record(field("string")), []),  # fields taken away
        (record(field(["null", "string"])), []),  # made optional
        (record(field("string"), field("long", "new", default=0)), []),
        (record(field("string"), field("long", "new")), ["Thing.new: new, and without a default"]),
        (record(field("bytes")), ["Thing.a: string cannot be read as bytes"]),
        (record(field("bytes", "b")), ["Thing.b: decimal cannot be read as bytes"]),
        (record(field({"type": "array", "items": "long"}, "c")), ["Thing.c[]: string cannot be read as long"]),
        (record(field({"type": "array", "items": ["null", "string"]}, "c")), []),
        (record(name="Other"), [": Thing cannot be read as Other"]),
    ],
)
def test_a_change_is_compatible_when_old_bytes_can_still_be_read(change: str, faults: list[str]) -> None:
    assert faults == incompatibilities(parse("thing", 2, change).record, parse("thing", 1, V1).record)


def test_what_was_optional_cannot_become_required() -> None:
    was, becomes = record(field(["null", "string"], default=None)), record(field("string"))

    faults = incompatibilities(parse("thing", 2, becomes).record, parse("thing", 1, was).record)

    assert faults == ["Thing.a: string or null cannot be read as string"]

import dataclasses
import json
import re
import types
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from schemas.codec import TYPES
from schemas.registry import (
    Frozen,
    breaks,
    check_frozen,
    embedded_registry,
    known_schemas,
    latest,
    load_schemas,
    read_frozen,
)
from schemas.schema import Array, Field, Node, Optional, RecordType, Scalar, SchemaError, content_fingerprint, parse
from schemas.topics import TOPICS

#: Records whose class has a better name than their schema, which stays as it was first written.
ON_THE_WIRE = {"DeadLetterState": "LetterState"}
SCALARS = {
    str: "string",
    int: "long",
    bool: "boolean",
    bytes: "bytes",
    Decimal: "decimal",
    datetime: "timestamp",
    date: "date",
}


def expected(hint: Any) -> Node:
    """The schema that a dataclass or a type hint stands for."""
    if isinstance(hint, types.UnionType):
        item, none = get_args(hint)
        assert none is type(None)
        return Optional(expected(item), null_index=0)
    if get_origin(hint) is tuple:
        items, rest = get_args(hint)
        assert rest is Ellipsis
        return Array(expected(items))
    if hint in SCALARS:
        return Scalar(SCALARS[hint])
    hints = get_type_hints(hint)
    return RecordType(
        ON_THE_WIRE.get(hint.__name__, hint.__name__),
        tuple(expected_field(own, hints[own.name]) for own in dataclasses.fields(hint)),
    )


def expected_field(own: dataclasses.Field[Any], hint: Any) -> Field:
    if own.default is dataclasses.MISSING:
        return Field(own.name, expected(hint))
    return Field(own.name, expected(hint), [] if own.default == () else own.default)


@pytest.mark.parametrize("name", TYPES)
def test_dataclass_and_latest_schema_agree_field_by_field(name: str) -> None:
    assert expected(TYPES[name]) == latest(known_schemas(), name).record


def test_every_topics_values_have_a_schema() -> None:
    assert {topic.value for topic in TOPICS} - {"bytes"} <= TYPES.keys()


def test_every_version_reads_all_earlier_ones() -> None:
    assert breaks(known_schemas()) == []


def test_a_version_that_cannot_read_an_earlier_one_is_found_out() -> None:
    schema = known_schemas()["anchor.v1"]
    between = parse("anchor", 2, schema.text.replace('{"name": "topic", "type": "string"},', ""))
    third = parse("anchor", 3, schema.text)

    found = breaks({"anchor.v1": schema, "anchor.v2": between, "anchor.v3": third})

    assert found == ["anchor: v3 cannot read v2: Anchor.topic: new, and without a default"]


def test_ids_are_what_they_have_always_been() -> None:
    """Adding a line is fine; changing one makes every stored record unreadable."""
    registry = embedded_registry()

    first = [registry.id_of(known_schemas()[f"{name}.v1"]) for name in TYPES]
    assert first[:13] == list(range(1, 14))


def test_the_registry_gives_the_text_of_its_ids_and_no_other() -> None:
    registry = embedded_registry()

    assert known_schemas()["stock_adjusted.v1"].text == registry.schema_text(5)
    assert registry.schema_text(0) is None


ANCHOR = {"anchor.v1": known_schemas()["anchor.v1"]}
FROZEN = {"anchor.v1": Frozen(13, content_fingerprint(ANCHOR["anchor.v1"].text))}


def test_a_schema_without_id_is_refused_with_the_line_to_add() -> None:
    line = re.escape(f'"anchor.v1" = {{ id = 1, fingerprint = "{FROZEN["anchor.v1"].fingerprint}" }}')
    with pytest.raises(SchemaError, match=line):
        check_frozen(ANCHOR, {})


def test_an_id_without_schema_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"anchor.v2.avsc is gone"):
        check_frozen(ANCHOR, {**FROZEN, "anchor.v2": Frozen(14, "")})


def test_an_id_given_twice_is_refused() -> None:
    some = {key: known_schemas()[key] for key in ("anchor.v1", "cursor.v1")}

    with pytest.raises(SchemaError, match="one id to two schemas"):
        check_frozen(some, {key: Frozen(1, content_fingerprint(schema.text)) for key, schema in some.items()})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            '{"name": "topic", "type": "string"},',
            '{"name": "topic", "type": "string"}, {"name": "x", "type": "long", "default": 0},',
        ),
        ('{"name": "topic", "type": "string"},', ""),
        ('"default": 0', '"default": 1'),
        ('"name": "topic"', '"name": "topics"'),
    ],
    ids=["a field more", "a field less", "another default", "another name"],
)
def test_a_schema_edited_in_place_is_refused_with_what_to_do_instead(before: str, after: str) -> None:
    text = ANCHOR["anchor.v1"].text
    assert before in text
    edited = {"anchor.v1": parse("anchor", 1, text.replace(before, after, 1))}

    with pytest.raises(SchemaError, match=r"put it back, and add anchor.v2.avsc with a new id"):
        check_frozen(edited, FROZEN)


def test_layout_and_doc_of_a_schema_may_change() -> None:
    relaid = json.dumps(json.loads(ANCHOR["anchor.v1"].text) | {"doc": "other words"}, indent=7)

    check_frozen({"anchor.v1": parse("anchor", 1, relaid)}, FROZEN)


def test_a_line_of_ids_without_fingerprint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ids.toml").write_text('"anchor.v1" = { id = 1 }')

    with pytest.raises(SchemaError, match="each line is"):
        read_frozen(tmp_path / "ids.toml")


@pytest.mark.parametrize(
    "name", ["../anchor.v1.avsc", "anchor.avsc", "anchor.v0.avsc", ".anchor.v1.avsc", "Anchor.v1.avsc"]
)
def test_a_file_is_named_by_type_and_version(tmp_path: Path, name: str) -> None:
    (tmp_path / "avro").mkdir()
    (tmp_path / "avro" / name.replace("/", "_")).write_text(known_schemas()["anchor.v1"].text)

    with pytest.raises(SchemaError, match="a schema's file is named"):
        load_schemas(tmp_path / "avro")


def test_two_versions_alike_are_refused(tmp_path: Path) -> None:
    for version in (1, 2):
        (tmp_path / f"anchor.v{version}.avsc").write_text(known_schemas()["anchor.v1"].text)

    with pytest.raises(SchemaError, match="same canonical form"):
        load_schemas(tmp_path)


def test_a_default_of_another_type_is_refused(tmp_path: Path) -> None:
    text = known_schemas()["anchor.v1"].text.replace('"default": 0', '"default": "none"')
    (tmp_path / "anchor.v1.avsc").write_text(text)

    with pytest.raises(SchemaError):
        load_schemas(tmp_path)

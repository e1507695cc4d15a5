"""What the fields of an event's record are: which there are, what is inside them, which are lists."""

from datetime import datetime
from decimal import Decimal
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel


def paths_above(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def missing_inside(record: type[BaseModel], fields: tuple[str, ...], at: str = "") -> set[str]:
    """Required fields of the inner objects of which some field is mapped."""
    missing: set[str] = set()
    for name in record.model_fields:
        inner = inner_record(record, name)
        path = f"{at}{name}"
        if inner is None or not any(each.startswith(f"{path}.") for each in fields):
            continue
        for wanted, field in inner.model_fields.items():
            given = any(each == f"{path}.{wanted}" or each.startswith(f"{path}.{wanted}.") for each in fields)
            if field.is_required() and not given:
                missing.add(f"{path}.{wanted}")
        missing |= missing_inside(inner, fields, f"{path}.")
    return missing


def has_field(record: type[BaseModel], path: str) -> bool:
    """Whether `a` or `a.b` names a single value of a record, or of the objects in it."""
    name, _, rest = path.partition(".")
    if name not in record.model_fields:
        return False
    inner = inner_record(record, name)
    return has_field(inner, rest) if inner is not None and rest else inner is None and not rest


@cache
def inner_record(record: type[BaseModel], name: str) -> type[BaseModel] | None:
    """What a field of a record consists of, where that is an object or a list of objects."""
    field = record.model_fields.get(name)
    return _model_in(field.annotation) if field is not None else None


@cache
def is_list(record: type[BaseModel], name: str) -> bool:
    """Whether a field of a record is a list."""
    field = record.model_fields.get(name)
    return field is not None and any(get_origin(each) is tuple for each in _alternatives(field.annotation))


def value_type(record: type[BaseModel], path: str) -> type:
    """What a single value of a record is: `Decimal`, `int`, `bool`, `datetime`, or `str` for anything else."""
    name, _, rest = path.partition(".")
    inner = inner_record(record, name)
    if inner is not None:
        return value_type(inner, rest)
    field = record.model_fields[name]
    kinds = (Decimal, int, bool, datetime)
    return next((each for each in _alternatives(field.annotation) if each in kinds), str)


def inner_at(record: type[BaseModel], path: str) -> type[BaseModel] | None:
    at: type[BaseModel] | None = record
    for name in path.split("."):
        at = inner_record(at, name) if at is not None else None
    return at


def is_list_at(record: type[BaseModel], path: str) -> bool:
    above, _, name = path.rpartition(".")
    holder = inner_at(record, above) if above else record
    return holder is not None and is_list(holder, name)


def _alternatives(annotation: Any) -> list[Any]:
    """The types in `X | None` and `Annotated[X, ...]`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _alternatives(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [found for each in get_args(annotation) for found in _alternatives(each)]
    return [annotation]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Annotated, Union, UnionType, tuple):
        return next((found for arg in get_args(annotation) if (found := _model_in(arg)) is not None), None)
    return None

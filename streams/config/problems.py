"""What is wrong with a configuration, in words: the path, what is wrong there, and the remedy."""

import difflib
import json
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LIMITS = {"gt": "greater than", "ge": "of at least", "lt": "less than", "le": "of at most"}
_TYPES = (
    ("int_", "is not a whole number", "write digits without quotes"),
    ("float_", "is not a number", "write a number without quotes"),
    ("finite_number", "is not a number", "write a number without quotes"),
    ("decimal_", "is not a number", "write a number"),
    ("bool_", "is neither true nor false", "write true or false, without quotes"),
    ("string_type", "is not a text", "write it in double quotes"),
    ("string_too_short", "is empty", "write the text it needs"),
    ("path_type", "is not a path", "write it in double quotes"),
    ("dict_type", "is not a table", "write [{path}] and its keys below"),
    ("model_type", "is not a table", "write [{path}] and its keys below"),
    ("model_attributes_type", "is not a table", "write [{path}] and its keys below"),
    ("tuple_type", "is not a list", 'write ["one", "two"]'),
    ("list_type", "is not a list", 'write ["one", "two"]'),
    ("datetime_", "is not a time", "write it as 2026-11-21T00:00:00Z"),
    ("timezone_", "has no offset from UTC", "write it as 2026-11-21T00:00:00Z"),
)


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing that is wrong with a configuration.

    Attributes:
        path: Where, as one would write it in TOML: `companies.acme.warehouses.LON1.owner`.
        message: What is wrong there. Never the value itself where that may be a secret.
        remedy: What to do.
    """

    path: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}; {self.remedy}"


class ConfigError(Exception):
    """The configuration cannot be used; `problems` is all that is wrong with it."""

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def problem_of(error: ErrorDetails, model: type[BaseModel], at: tuple[str, ...]) -> ConfigProblem:
    """One of pydantic's errors in our words; `at` is where the model stands in the file."""
    loc, kind, context = error["loc"], error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return unknown_key((*at, *loc[:-1]), str(loc[-1]), _model_at(model, loc[:-1]))
    path = path_text((*at, *(part for part in loc if part != "[key]")))
    described = _description(model, loc)
    if kind in ("literal_error", "enum"):
        expected = context["expected"]
        if loc[-1] != "[key]":
            return ConfigProblem(path, "is not one of the values it can have", f"write one of: {expected}")
        near = nearest(loc[-2], [text.strip("' ") for text in re.split(r",| or ", expected)])
        return ConfigProblem(path, "is not a key it can have", f"write one of: {expected}{near}")
    if kind == "missing":
        return ConfigProblem(path, "is missing", f"add it{f': {described}' if described else ''}")
    if kind == "string_pattern_mismatch":
        return ConfigProblem(path, "has characters it cannot have", described or f"it must match {context['pattern']}")
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        sign, limit = next((sign, context[key]) for key, sign in _LIMITS.items() if key in context)
        return ConfigProblem(path, "is out of range", f"write a number {sign} {limit}")
    for ending, what, remedy in _TYPES:
        if kind.startswith(ending):
            return ConfigProblem(path, what, remedy.format(path=path))
    message, _, remedy = error["msg"].removeprefix("Value error, ").partition("; ")
    return ConfigProblem(path, message, remedy or described or "fix it; streams.example.toml shows how it is written")


def unknown_key(at: Sequence[str | int], key: str, model: type[BaseModel] | None) -> ConfigProblem:
    known = sorted(model.model_fields) if model is not None else []
    return ConfigProblem(
        path_text((*at, key)),
        "is not a key we know",
        f"take it out, or write one of: {', '.join(known)}{nearest(key, known)}",
    )


def nearest(key: object, known: Iterable[str]) -> str:
    """The known name that is most like what was written, as a question; empty where none is."""
    close = difflib.get_close_matches(str(key).lower(), known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def path_text(parts: Iterable[str | int]) -> str:
    """A path as one would write it in TOML."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (
                part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            )
    return text


def _inner_type(annotation: Any) -> Any:
    """The type that matters in `X | None` and `Annotated[X, ...]`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _inner_type(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        kept = [arg for arg in get_args(annotation) if arg is not type(None)]
        models = [arg for arg in kept if isinstance(arg, type) and issubclass(arg, BaseModel)]
        return _inner_type((models or kept)[0])
    return annotation


def _model_at(model: type[BaseModel], loc: Sequence[str | int]) -> type[BaseModel] | None:
    at: Any = model
    for part in loc:
        if isinstance(at, type) and issubclass(at, BaseModel):
            field = at.model_fields.get(str(part))
            at = _inner_type(field.annotation) if field is not None else None
        elif get_origin(at) is dict:
            at = _inner_type(get_args(at)[1])
        elif get_origin(at) in (tuple, list):
            at = _inner_type(get_args(at)[0])
        else:
            return None
    return at if isinstance(at, type) and issubclass(at, BaseModel) else None


def _description(model: type[BaseModel], loc: Sequence[str | int]) -> str:
    inside = _model_at(model, loc[:-1]) if loc else None
    field = inside.model_fields.get(str(loc[-1])) if inside is not None else None
    return field.description or "" if field is not None else ""


def in_order(problems: Iterable[ConfigProblem], sources: Mapping[str, str]) -> list[ConfigProblem]:
    """One problem a path, those of the same section together; says where the environment set what is wrong."""
    first: dict[str, ConfigProblem] = {}
    for problem in problems:
        variable = sources.get(problem.path)
        shown = replace(problem, message=f"{problem.message} (set by {variable})") if variable else problem
        first.setdefault(problem.path, shown)
    return sorted(first.values(), key=lambda problem: problem.path)

"""`[connectors.<name>]` with `kind = "ims"`."""

import codecs
from datetime import datetime
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from connectors.base.settings import ConnectorSettings, Settings, folder_of
from connectors.ims.records import RECORDS
from schemas.events import EVENT_TYPES


class CsvSettings(Settings):
    """One `[connectors.<name>.csv.<mapping>]`: how a row becomes an event.

    A field of an inner object is written with a point (`ship_to.city`); `lines.sku` is a field of the one line that a
    row can have. An empty cell is an absent field.
    """

    files: str = Field(description='Names of the files it is for, as "adj-*.csv"', min_length=1)
    event: str = Field(description="One of the event types")
    columns: dict[str, str] = Field(description="Field of the event = name of the column")
    values: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="Field = (cell = value); a cell that is not in it is refused"
    )
    encoding: str = Field(default="utf-8", description="One that keeps ASCII as it is: utf-8, cp1252, latin-1 ...")
    delimiter: str = Field(default=",", min_length=1, max_length=1, description="One character")
    time_format: str | None = Field(default=None, description="As in strptime, %d/%m/%Y %H:%M; none: ISO 8601")
    timezone: str | None = Field(default=None, description="For times without an offset, as Europe/London")

    @field_validator("event")
    @classmethod
    def _is_known(cls, event: str) -> str:
        if event not in EVENT_TYPES:
            raise PydanticCustomError(
                "event", "is not an event type; write one of: {known}", {"known": ", ".join(EVENT_TYPES)}
            )
        return event

    @field_validator("encoding")
    @classmethod
    def _keeps_ascii(cls, encoding: str) -> str:
        text = 'a,";\r\n'
        try:
            if codecs.lookup(encoding).name == "utf-8-sig":
                return "utf-8"
            if text.encode(encoding) == text.encode("ascii"):
                return encoding
        except (LookupError, ValueError):
            pass
        raise PydanticCustomError(
            "encoding", "is no encoding that we can read by lines; write one such as utf-8 or cp1252"
        )

    @field_validator("delimiter")
    @classmethod
    def _is_no_quote(cls, delimiter: str) -> str:
        if delimiter in '"\r\n' or not delimiter.isascii():
            raise PydanticCustomError("delimiter", 'cannot separate cells; write one such as "," or ";"')
        return delimiter

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                ZoneInfo(name)
            except (OSError, ValueError, LookupError):
                raise PydanticCustomError(
                    "timezone", "is no time zone; write one of the IANA names, such as Europe/London"
                ) from None
        return name

    @model_validator(mode="after")
    def _names_fields(self) -> Self:
        record = RECORDS[self.event]
        for field in self.columns:
            if not has_field(record, field):
                raise PydanticCustomError(
                    "columns",
                    "columns names {field}, which {event} does not have; take a field of that event type",
                    {"field": field, "event": self.event},
                )
        given = {field.partition(".")[0] for field in self.columns}
        needed = {name for name, field in record.model_fields.items() if field.is_required()}
        if self.event == "stock_adjusted" and "delta" not in given:
            needed |= {"level", "sequence"}
        if needed - given:
            raise PydanticCustomError(
                "columns", "columns has no column for {missing}; add it", {"missing": ", ".join(sorted(needed - given))}
            )
        for field in self.values:
            if field not in self.columns:
                raise PydanticCustomError(
                    "values", "values maps {field}, which columns does not name; add it there", {"field": field}
                )
        if self.time_format is not None:
            self._try_format(self.time_format)
        return self

    def _try_format(self, time_format: str) -> None:
        try:
            datetime.strptime(datetime(2026, 11, 21, 9, 30).strftime(time_format), time_format)  # noqa: DTZ001, DTZ007 -- a trial
        except ValueError:
            raise PydanticCustomError(
                "time_format", "time_format cannot be read; write it as strptime has it, %d/%m/%Y %H:%M"
            ) from None
        if self.timezone is None and "%z" not in time_format:
            raise PydanticCustomError("timezone", "time_format has no offset; add timezone, such as Europe/London")


def has_field(record: type[BaseModel], path: str) -> bool:
    """Whether `a` or `a.b` names a single value of a record, or of the objects in it."""
    name, _, rest = path.partition(".")
    if name not in record.model_fields:
        return False
    inner = inner_record(record, name)
    return has_field(inner, rest) if inner is not None and rest else inner is None and not rest


def inner_record(record: type[BaseModel], name: str) -> type[BaseModel] | None:
    """What a field of a record consists of, where that is an object or a list of objects."""
    field = record.model_fields.get(name)
    return _model_in(field.annotation) if field is not None else None


def is_list(record: type[BaseModel], name: str) -> bool:
    """Whether a field of a record is a list."""
    field = record.model_fields.get(name)
    return field is not None and _has_tuple(field.annotation)


def _has_tuple(annotation: Any) -> bool:
    if get_origin(annotation) is tuple:
        return True
    return get_origin(annotation) in (Annotated, Union, UnionType) and any(map(_has_tuple, get_args(annotation)))


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Annotated, Union, UnionType, tuple):
        return next((found for arg in get_args(annotation) if (found := _model_in(arg)) is not None), None)
    return None


class ImsSettings(ConnectorSettings):
    kind: Literal["ims"] = Field(description="ims")
    inbox: Path = Field(description="The folder that the inventory system writes files into")
    csv: dict[str, CsvSettings] = Field(default_factory=dict, description="Mappings of CSV files, by a name of yours")

    @field_validator("inbox", mode="before")
    @classmethod
    def _is_a_folder(cls, inbox: object, info: ValidationInfo) -> object:
        if not isinstance(inbox, str | Path) or not str(inbox).strip():
            raise PydanticCustomError("inbox", "is not a folder; write a path, relative to the configuration file")
        if "://" in str(inbox):
            raise PydanticCustomError(
                "inbox",
                "is a URL, and only local folders can be read: sftp:// and https:// not yet; "
                "mount it, or let a script fetch the files into a folder (as name.part, then rename)",
            )
        return folder_of(info) / inbox

"""`[connectors.<name>.csv.<mapping>]` and `.json.<mapping>`: what a file's records mean."""

import codecs
from collections.abc import Collection, Mapping
from datetime import datetime
from string import Formatter
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import BeforeValidator, Field, field_validator, model_validator

from connectors.base.settings import Settings, invalid
from connectors.ims.fields import has_field, inner_at, is_list_at, missing_inside, paths_above
from connectors.ims.records import RECORDS
from schemas.events import EVENT_TYPES

_UTF_16 = {"utf-16": "utf-16", "utf-16-le": "utf-16-le", "utf-16-be": "utf-16-be"}
_QUOTE_FREE = "\r\n\0"
#: What a template may have in braces.
PLACEHOLDERS = ("file", "row", "modified", "modified_ms", "digest", *map(str, range(1, 10)))


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str | int) else value


class MappingSettings(Settings):
    """What a mapping of CSV files and one of JSON documents have in common.

    A field of an inner object is written with a point: `ship_to.city`, `lines.sku`.
    """

    files: str = Field(description='Names of the files it is for, as "adj-*.csv"', min_length=1)
    event: str = Field(description="One of the event types")
    values: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="Field = (value in the file = value); one that is not in it is refused"
    )
    time_format: str | None = Field(default=None, description="As in strptime, %d/%m/%Y %H:%M; none: ISO 8601")
    timezone: str | None = Field(default=None, description="For times without an offset, as Europe/London")
    repeated_hour: Literal["refuse", "first", "second"] = Field(
        default="refuse",
        description="A time without an offset in the hour that a clock change repeats: refuse it, or take it for "
        "the first "
        "(summer time) or the second. One that a clock change leaves out is always refused",
    )

    @property
    def mapped(self) -> Collection[str]:
        """The fields of the event that it fills."""
        raise NotImplementedError

    @field_validator("files")
    @classmethod
    def _is_a_name(cls, files: str) -> str:
        if "/" in files or "\\" in files:
            raise invalid("files", "names a folder; write the names of files in the inbox itself, as adj-*.csv")
        return files

    @field_validator("event")
    @classmethod
    def _is_known(cls, event: str) -> str:
        if event not in EVENT_TYPES:
            raise invalid("event", f"is not an event type; write one of: {', '.join(EVENT_TYPES)}")
        return event

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                ZoneInfo(name)
            except (OSError, ValueError, LookupError):
                raise invalid(
                    "timezone", "is no time zone; write one of the IANA names, such as Europe/London"
                ) from None
        return name

    @model_validator(mode="after")
    def _times_can_be_read(self) -> Self:
        if self.time_format is None:
            return self
        if "%Z" in self.time_format:
            raise invalid(
                "time_format", "time_format has %Z, the name of a zone, which tells no offset; use %z, or timezone"
            )
        try:
            datetime.strptime(datetime(2026, 11, 21, 9, 30).strftime(self.time_format), self.time_format)  # noqa: DTZ001, DTZ007 -- a trial
        except ValueError:
            raise invalid(
                "time_format", "time_format cannot be read; write it as strptime has it, %d/%m/%Y %H:%M"
            ) from None
        if self.timezone is None and "%z" not in self.time_format:
            raise invalid("timezone", "time_format has no offset; add timezone, such as Europe/London")
        return self

    def _check_fields(self, given: Mapping[str, object], key: str, what: str) -> None:
        """See that all fields an event needs are mapped, and `values` maps none but those."""
        record = RECORDS[self.event]
        first = {field.partition(".")[0] for field in given}
        needed = {name for name, field in record.model_fields.items() if field.is_required()}
        if self.event == "stock_adjusted" and "delta" not in first:
            needed |= {"level", "sequence"}
        missing = sorted(needed - first) + sorted(missing_inside(record, tuple(given)))
        if missing:
            raise invalid(key, f"{key} has no {what} for {', '.join(missing)}; add it")
        for field in self.values:
            if field not in given:
                raise invalid("values", f"values maps {field}, which {key} does not name; add it there")


class CsvSettings(MappingSettings):
    """One `[connectors.<name>.csv.<mapping>]`: how a row becomes an event.

    `lines.sku` is a field of the one line that a row has. An empty cell is an absent field. With `group_by`, what is
    not below `lines` must be the same in all rows of an event, or empty in some.
    """

    columns: dict[str, str | int] = Field(
        description="Field of the event = name of the column; with header = false its number, from 1"
    )
    templates: dict[str, str] = Field(
        default_factory=dict,
        description="Field of the event = what it is in every row: a constant, or a text with {file} (the file's "
        "name), "
        "{1} to {9} (what the first to the ninth * of files stands for in it), {row} (number of the row's first line), "
        "{modified} (when the file was modified; ISO 8601), {modified_ms} (the same as Unix time in ms), {digest} (of "
        "the "
        "file's content)",
    )
    group_by: Annotated[tuple[str | int, ...], BeforeValidator(_listed)] = Field(
        default=(),
        description="Columns whose values say which rows are one event, each with one of its lines; none: each "
        "row is one",
    )
    group_apart: bool = Field(
        default=False,
        description="true: other rows may stand between those of one event; false: such events are refused",
    )
    header: bool = Field(default=True, description="false: no row names the columns; columns has their numbers")
    encoding: str = Field(
        default="utf-8", description="utf-8, utf-16 (-le, -be), or one that keeps ASCII as it is: cp1252, latin-1 ..."
    )
    delimiter: str = Field(default=",", min_length=1, max_length=1, description='One character; "\\t" is the tab')
    quote: str = Field(default='"', max_length=1, description='Around cells that hold the delimiter; "": none does')
    decimal: Literal[".", ","] = Field(default=".", description="What stands before the decimals of a number")
    thousands: Literal["", ".", ",", " ", "'"] = Field(
        default="", description="What stands between groups of three digits; a blank is any kind of blank"
    )
    negative: Literal["-5", "5-", "(5)"] = Field(
        default="-5", description="How numbers below 0 are written; another way is refused"
    )
    comment: str = Field(default="", max_length=20, description='Lines that begin with it are skipped, as "#"')
    skip_lines: int = Field(default=0, ge=0, le=1000, description="So many lines at the beginning are skipped")

    @property
    def mapped(self) -> Collection[str]:
        """The fields of the event that it fills."""
        return self.columns.keys() | self.templates.keys()

    @property
    def needs_whole_file(self) -> bool:
        """Whether a row can be judged only beside the others: it is part of an event, or a level as of the file.

        A sequence that is the same in all rows says nothing about which of two levels of one sku holds.
        """
        sequence = self.templates.get("sequence")
        return bool(self.group_by) or (sequence is not None and "{row}" not in sequence)

    @field_validator("encoding")
    @classmethod
    def _has_lines(cls, encoding: str) -> str:
        text = 'a,";\r\n'
        try:
            name = codecs.lookup(encoding).name
            if name in _UTF_16:
                return _UTF_16[name]
            if name == "utf-8-sig":
                return "utf-8"
            if text.encode(encoding) == text.encode("ascii"):
                return encoding
        except (LookupError, ValueError):
            pass
        raise invalid("encoding", "is no encoding that we can read by lines; write one such as utf-8, utf-16 or cp1252")

    @field_validator("delimiter")
    @classmethod
    def _is_no_quote(cls, delimiter: str) -> str:
        if delimiter in '"' + _QUOTE_FREE or not delimiter.isascii():
            raise invalid("delimiter", 'cannot separate cells; write one such as ",", ";" or "\\t"')
        return delimiter

    @field_validator("quote")
    @classmethod
    def _can_quote(cls, quote: str) -> str:
        if quote in tuple(_QUOTE_FREE) or quote.isalnum() or not quote.isascii():
            raise invalid("quote", 'cannot quote cells; write "\'" or \'"\', or "" where nothing is quoted')
        return quote

    @field_validator("templates")
    @classmethod
    def _can_be_filled(cls, templates: dict[str, str]) -> dict[str, str]:
        for field, template in templates.items():
            try:
                names = [name for _, name, spec, conversion in Formatter().parse(template) if name is not None]
                plain = all(not spec and not conversion for _, _, spec, conversion in Formatter().parse(template))
            except ValueError:
                names, plain = [], False
            if not plain or any(name not in PLACEHOLDERS for name in names):
                known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
                raise invalid(
                    "templates",
                    f"templates.{field} has something else in braces; write one of {known}, or {{{{ for a brace",
                )
        return templates

    @model_validator(mode="after")
    def _names_fields(self) -> Self:
        record = RECORDS[self.event]
        for key, fields in (("columns", self.columns), ("templates", self.templates)):
            for field in fields:
                if not has_field(record, field):
                    raise invalid(
                        key, f"{key} names {field}, which {self.event} does not have; take a field of that event type"
                    )
        if twice := sorted(self.columns.keys() & self.templates.keys()):
            raise invalid("templates", f"templates and columns both have {', '.join(twice)}; keep one of them")
        self._check_fields({**self.columns, **self.templates}, "columns", "column")
        return self

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.delimiter == self.quote:
            raise invalid("quote", "quote is the delimiter; write another one")
        if self.comment and self.comment[0] in (self.quote, self.delimiter):
            raise invalid("comment", "comment begins as a cell can; write another one")
        if self.thousands == self.decimal:
            raise invalid("thousands", "thousands is the same as decimal; nobody could tell 1.500 from 1500")
        for what, column in (*self.columns.items(), *(("group_by", each) for each in self.group_by)):
            key = "group_by" if what == "group_by" else "columns"
            where = "" if key == "group_by" else f" for {what}"
            if self.header and not isinstance(column, str):
                raise invalid(key, f"{key} has a number{where}; write the column's name, or header = false")
            if not self.header and not (str(column).isdecimal() and 1 <= int(column) <= 1000):
                raise invalid(key, f"{key} has no number{where}, but header is false; write the column's number")
        wildcards = self.files.count("*")
        for field, template in self.templates.items():
            for _, name, _, _ in Formatter().parse(template):
                if name is not None and name.isdecimal() and int(name) > wildcards:
                    raise invalid(
                        "templates",
                        f"templates.{field} has {{{name}}}, but files has {wildcards} *; write one for each part of "
                        "the name",
                    )
        return self

    @model_validator(mode="after")
    def _can_be_grouped(self) -> Self:
        if not self.group_by:
            if self.group_apart:
                raise invalid("group_apart", "group_apart is for rows that group_by makes one event; add group_by")
            return self
        if not any(field.startswith("lines.") for field in self.columns):
            raise invalid(
                "group_by",
                "group_by makes lines of rows, but columns names no field of lines; add lines.sku and others",
            )
        return self


class JsonSettings(MappingSettings):
    """One `[connectors.<name>.json.<mapping>]`: how a JSON document becomes events.

    Paths are JMESPath (jmespath.org). `lines` is the path of the list in a record, `lines.sku` a path in each of its
    elements; a path below an object that is not mapped itself (`ship_to.city`) starts from the record. Numbers are
    texts, exactly as the document writes them; null and "" are absent.
    """

    records: str = Field(default="@", min_length=1, description="Path of the list of records, or of the one record")
    fields: dict[str, str] = Field(description="Field of the event = its path in a record")
    max_bytes: int = Field(
        default=16 * 1024 * 1024, ge=1, le=256 * 1024 * 1024, description="A larger document is refused whole"
    )

    @property
    def mapped(self) -> Collection[str]:
        """The fields of the event that it fills."""
        return self.fields.keys()

    @field_validator("records")
    @classmethod
    def _is_a_path(cls, path: str) -> str:
        _compile("records", path)
        return path

    @model_validator(mode="after")
    def _names_fields(self) -> Self:
        record = RECORDS[self.event]
        for field, path in self.fields.items():
            _compile(f"fields.{field}", path)
            inner = inner_at(record, field)
            if inner is None and not has_field(record, field):
                raise invalid(
                    "fields",
                    f"fields names {field}, which {self.event} does not have; take a field of that event type",
                )
            if inner is not None and not any(each.startswith(f"{field}.") for each in self.fields):
                names = ", ".join(f'"{field}.{name}"' for name in inner.model_fields)
                raise invalid("fields", f"fields names {field}, but none of its fields; add some of {names}")
            for above in paths_above(field):
                if is_list_at(record, above) and above not in self.fields:
                    raise invalid("fields", f'fields names {field}, but not the list; add {above} = "path of the list"')
        self._check_fields(self.fields, "fields", "path")
        return self


def _compile(what: str, path: str) -> None:
    try:
        jmespath.compile(path)
    except (JMESPathError, ValueError):
        raise invalid("path", f"{what} is no JMESPath; write one such as id, customer.email or items[*]") from None

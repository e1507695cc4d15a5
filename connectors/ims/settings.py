"""`[connectors.<name>]` with `kind = "ims"`."""

import codecs
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, cast, get_args, get_origin
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import BaseModel, Field, PlainSerializer, PlainValidator, ValidationInfo, field_validator, model_validator

from connectors.base.settings import ConnectorSettings, Secret, Settings, folder_of, invalid, is_bare_http
from connectors.ims.records import RECORDS
from schemas.events import EVENT_TYPES

#: A look at a server costs it a connection's worth of work; a folder costs nothing.
REMOTE_POLL_S = 30
_UTF_16 = {"utf-16": "utf-16", "utf-16-le": "utf-16-le", "utf-16-be": "utf-16-be"}
_QUOTE_FREE = "\r\n\0"


# ---- mappings


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
        missing = sorted(needed - first) + sorted(_missing_inside(record, tuple(given)))
        if missing:
            raise invalid(key, f"{key} has no {what} for {', '.join(missing)}; add it")
        for field in self.values:
            if field not in given:
                raise invalid("values", f"values maps {field}, which {key} does not name; add it there")


class CsvSettings(MappingSettings):
    """One `[connectors.<name>.csv.<mapping>]`: how a row becomes an event.

    `lines.sku` is a field of the one line that a row can have. An empty cell is an absent field.
    """

    columns: dict[str, str | int] = Field(
        description="Field of the event = name of the column; with header = false its number, from 1"
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
    comment: str = Field(default="", max_length=20, description='Lines that begin with it are skipped, as "#"')
    skip_lines: int = Field(default=0, ge=0, le=1000, description="So many lines at the beginning are skipped")

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

    @model_validator(mode="after")
    def _names_fields(self) -> Self:
        record = RECORDS[self.event]
        for field in self.columns:
            if not has_field(record, field):
                raise invalid(
                    "columns",
                    f"columns names {field}, which {self.event} does not have; take a field of that event type",
                )
        self._check_fields(self.columns, "columns", "column")
        if self.delimiter == self.quote:
            raise invalid("quote", "quote is the delimiter; write another one")
        if self.comment and self.comment[0] in (self.quote, self.delimiter):
            raise invalid("comment", "comment begins as a cell can; write another one")
        if self.thousands == self.decimal:
            raise invalid("thousands", "thousands is the same as decimal; nobody could tell 1.500 from 1500")
        for field, column in self.columns.items():
            if self.header and not isinstance(column, str):
                raise invalid(
                    "columns", f"columns has a number for {field}; write the column's name, or header = false"
                )
            if not self.header and not (str(column).isdecimal() and 1 <= int(column) <= 1000):
                raise invalid(
                    "columns", f"columns has no number for {field}, but header is false; write the column's number"
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
            inner = _inner_at(record, field)
            if inner is None and not has_field(record, field):
                raise invalid(
                    "fields",
                    f"fields names {field}, which {self.event} does not have; take a field of that event type",
                )
            if inner is not None and not any(each.startswith(f"{field}.") for each in self.fields):
                names = ", ".join(f'"{field}.{name}"' for name in inner.model_fields)
                raise invalid("fields", f"fields names {field}, but none of its fields; add some of {names}")
            for above in _above(field):
                if _is_list_at(record, above) and above not in self.fields:
                    raise invalid("fields", f'fields names {field}, but not the list; add {above} = "path of the list"')
        self._check_fields(self.fields, "fields", "path")
        return self


def _compile(what: str, path: str) -> None:
    try:
        jmespath.compile(path)
    except (JMESPathError, ValueError):
        raise invalid("path", f"{what} is no JMESPath; write one such as id, customer.email or items[*]") from None


def _above(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _missing_inside(record: type[BaseModel], fields: tuple[str, ...], at: str = "") -> set[str]:
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
        missing |= _missing_inside(inner, fields, f"{path}.")
    return missing


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


def _inner_at(record: type[BaseModel], path: str) -> type[BaseModel] | None:
    at: type[BaseModel] | None = record
    for name in path.split("."):
        at = inner_record(at, name) if at is not None else None
    return at


def _is_list_at(record: type[BaseModel], path: str) -> bool:
    above, _, name = path.rpartition(".")
    holder = _inner_at(record, above) if above else record
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


# ---- the inbox


@dataclass(frozen=True, slots=True)
class Address:
    """A folder on a server.

    Attributes:
        path: From the root, as the server has it: nothing is escaped.
    """

    scheme: Literal["sftp", "https", "http"]
    user: str | None
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{user}{host}:{self.port}{self.path}"


_PORTS: Mapping[str, int] = {"sftp": 22, "https": 443, "http": 80}
#: Which settings of an inbox are for which kind.
_ONLY_FOR: Mapping[str, tuple[str, ...]] = {
    "known_hosts": ("sftp",),
    "host_key": ("sftp",),
    "key_file": ("sftp",),
    "key_passphrase": ("sftp",),
    "password": ("sftp", "https"),
    "token": ("https",),
    "ca_file": ("https",),
    "done": ("https",),
    "max_file_bytes": ("sftp", "https"),
}


def _an_inbox(inbox: object, info: ValidationInfo) -> Path | Address:
    if isinstance(inbox, Path | Address):
        return folder_of(info) / inbox if isinstance(inbox, Path) else inbox
    if not isinstance(inbox, str) or not inbox.strip():
        raise invalid("inbox", "is not a folder; write a path, relative to the configuration file")
    if "://" not in inbox:
        return folder_of(info) / inbox
    try:
        parts = urlsplit(inbox)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise invalid("inbox", "is no URL; write sftp://user@host/path or https://host/path/") from None
    if parts.scheme not in _PORTS or not host:
        raise invalid(
            "inbox", "is no URL that we can read; write a folder, sftp://user@host/path or https://host/path/"
        )
    if parts.password is not None:
        raise invalid("inbox_secret", 'carries a password; take it out, and write password = "env:NAME"')
    if parts.query or parts.fragment:
        raise invalid("inbox", "carries more than an address; take out what follows ? or #")
    if is_bare_http(parts, info):
        raise invalid("plain_http", "would send credentials and files unencrypted; use https://")
    path = unquote(parts.path) or "/"
    if any(part in (".", "..") for part in path.split("/")) or "\0" in path:
        raise invalid("inbox", "has . or .. in its path; write the path as it is")
    user = unquote(parts.username) if parts.username else None
    scheme = cast(Literal["sftp", "https", "http"], parts.scheme)
    return Address(scheme, user, host, port or _PORTS[scheme], path.rstrip("/") + "/")


# `json` is what one writes in the file; that pydantic has a deprecated method of that name is no reason to call it
# something else there.
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", 'Field name "json"', UserWarning)

    class ImsSettings(ConnectorSettings):
        """Where the files are, how one gets at them, and what those mean that are not JSON lines."""

        kind: Literal["ims"] = Field(description="ims")
        inbox: Annotated[Path | Address, PlainValidator(_an_inbox), PlainSerializer(str, when_used="json")] = Field(
            description="The folder that the inventory system writes files into, or sftp://user@host/path, https://host/path/"
        )
        csv: dict[str, CsvSettings] = Field(
            default_factory=dict, description="Mappings of CSV files, by a name of yours"
        )
        json: dict[str, JsonSettings] = Field(  # type: ignore[assignment]  # over pydantic's deprecated method
            default_factory=dict, description="Mappings of JSON documents, by a name of yours"
        )
        known_hosts: Path | None = Field(
            default=None, description="sftp: a file with the server's key, as ssh-keyscan writes it, once checked"
        )
        host_key: str | None = Field(
            default=None,
            description="sftp: the fingerprint of the server's key instead, SHA256:... as ssh-keygen -l has it",
        )
        key_file: Secret | None = Field(default=None, description="sftp: our private key, as file:path or env:NAME")
        key_passphrase: Secret | None = Field(default=None, description="sftp: what opens key_file")
        password: Secret | None = Field(
            default=None, description="sftp, or https with user@ in the URL: as env:NAME or file:path"
        )
        token: Secret | None = Field(default=None, description="https: a bearer token, as env:NAME or file:path")
        ca_file: Path | None = Field(default=None, description="https: CA certificates (PEM); none: the usual ones")
        done: Literal["keep", "delete"] = Field(
            default="keep", description="https: keep a file that is read, and remember it; or delete it at the server"
        )
        max_file_bytes: int = Field(
            default=256 * 1024 * 1024,
            ge=1,
            le=16 * 1024 * 1024 * 1024,
            description="sftp, https: a larger file is not fetched, and the connector waits until somebody acts",
        )

        @model_validator(mode="before")
        @classmethod
        def _looks_less_often(cls, table: Any) -> Any:
            is_remote = isinstance(table, Mapping) and "://" in str(table.get("inbox", ""))
            return {"poll_interval_s": REMOTE_POLL_S, **table} if is_remote else table

        @field_validator("known_hosts", "ca_file")
        @classmethod
        def _is_there(cls, file: Path | None, info: ValidationInfo) -> Path | None:
            if file is None:
                return None
            if not (folder_of(info) / file).is_file():
                raise invalid("no_file", "names no file; put the file there, or mend the path")
            return folder_of(info) / file

        @field_validator("host_key")
        @classmethod
        def _is_a_fingerprint(cls, key: str | None) -> str | None:
            if key is not None and not re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}=?", key):
                raise invalid(
                    "host_key", "is no fingerprint; write SHA256: and 43 characters, as ssh-keygen -l shows it"
                )
            return key.rstrip("=") if key is not None else None

        @model_validator(mode="after")
        def _fits_together(self) -> Self:
            scheme = self.inbox.scheme if isinstance(self.inbox, Address) else ""
            scheme = "https" if scheme == "http" else scheme
            for name, schemes in _ONLY_FOR.items():
                if name in self.model_fields_set and getattr(self, name) is not None and scheme not in schemes:
                    kinds = " and ".join(f"{each}://" for each in schemes)
                    raise invalid("inbox_settings", f"{name} is for an inbox at {kinds}; take it out")
            match self.inbox:
                case Address(scheme="sftp", user=user):
                    self._check_sftp(user)
                case Address(user=user):
                    if (user is None) != (self.password is None):
                        raise invalid(
                            "password", "a password goes with a user; write https://user@host/path/ and password"
                        )
                    if self.token is not None and self.password is not None:
                        raise invalid("token", "token and password are both there; keep the one that the server wants")
                case _:
                    pass
            return self

        def _check_sftp(self, user: str | None) -> None:
            if user is None:
                raise invalid("inbox", "inbox names no user; write sftp://user@host/path")
            if (self.known_hosts is None) == (self.host_key is None):
                raise invalid(
                    "host_key",
                    "the server's key must be known beforehand, by one of known_hosts and host_key; "
                    "ask its owner for the fingerprint (ssh-keygen -l) and write it as host_key",
                )
            if self.password is None and self.key_file is None:
                raise invalid(
                    "password", 'nothing to sign on with; add key_file = "file:path" or password = "env:NAME"'
                )
            if self.key_passphrase is not None and self.key_file is None:
                raise invalid("key_passphrase", "key_passphrase opens nothing; add key_file, or take it out")


def mapping_of(name: str, settings: ImsSettings) -> MappingSettings | None:
    """The mapping that a file is read by, by its name; None: it is JSON lines, or not ours."""
    if name.endswith((".jsonl", ".part")):
        return None
    if name.endswith(".json"):
        return next((each for each in settings.json.values() if fnmatchcase(name, each.files)), None)
    return next((each for each in settings.csv.values() if fnmatchcase(name, each.files)), None)

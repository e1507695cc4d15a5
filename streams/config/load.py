"""The whole `streams.toml`: read, overridden by the environment, validated at once, frozen as one `Config`."""

import difflib
import hashlib
import json
import math
import re
import ssl
import tomllib
import types
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from connectors.base.settings import ConnectorSettings, Secret, Settings, folder_of, is_loopback
from connectors.registry import KINDS
from connectors.sap_b1.mapping import CompanyMap
from connectors.sap_b1.settings import CompanySettings
from connectors.webhooks import WebhookSettings
from schemas.topics import BY_NAME

ENV_PREFIX = "STREAMS__"
DEFAULT_FILE = "streams.toml"
DEFAULT_METRICS_PORT = 9464

_M = TypeVar("_M", bound=BaseModel)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
#: Names that become part of K (design section 16.11), of Kafka's keys and of the names of environment variables.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,49}")


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
    """The configuration cannot be used; `faults` are all that is wrong with it."""

    def __init__(self, faults: Sequence[ConfigProblem]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


class KafkaSettings(Settings):
    """`[kafka]`; the names of the security settings are Kafka's own."""

    bootstrap_servers: str = Field(default="127.0.0.1:9092", description="host:port, separated by commas")
    topic_prefix: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9-]{0,63})?$",
        description="Put before every topic and the group, e.g. acme-",
    )
    # The place reached in each partition rides in the commit's metadata, of which Kafka takes 4 KiB
    partitions: int = Field(default=12, ge=1, le=48, description="Partitions of the facts; never changed")
    replication_factor: int = Field(default=3, ge=1, le=9, description="Replicas of each topic")
    company_partitions: int = Field(
        default=16, ge=1, le=1000, description="Partitions of the companies' queues; never changed"
    )
    local: bool = Field(
        default=False, description="A demo or development setup: one replica, plaintext and http:// are accepted"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: Secret | None = None
    ssl_cafile: Path | None = Field(default=None, description="CA certificates (PEM); none: the system's")
    ssl_certfile: Path | None = Field(default=None, description="Our own certificate (PEM), for mutual TLS")
    ssl_keyfile: Path | None = Field(default=None, description="Its key (PEM)")

    @field_validator("bootstrap_servers")
    @classmethod
    def _check_servers(cls, servers: str) -> str:
        for server in servers.split(","):
            host, colon, port = server.strip().rpartition(":")
            if not (host and colon and port.isdigit() and 0 < int(port) < 65_536):
                raise PydanticCustomError("servers", "is not a list of host:port; write host:port, separated by commas")
        return ",".join(server.strip() for server in servers.split(","))

    @field_validator("ssl_cafile", "ssl_certfile", "ssl_keyfile")
    @classmethod
    def _find_file(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if file is None:
            return None
        found = folder_of(info) / file
        if not found.is_file():
            raise PydanticCustomError("no_file", "names no file; put the file there, or mend the path")
        return found

    def security(self) -> dict[str, Any]:
        """The keyword arguments of aiokafka for encryption and sign-on, as `KafkaLog` takes them."""
        if self.security_protocol == "PLAINTEXT":
            return {}
        arguments: dict[str, Any] = {"security_protocol": self.security_protocol}
        if self.security_protocol.endswith("SSL"):
            context = ssl.create_default_context(cafile=self.ssl_cafile)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.ssl_certfile is not None:
                context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile)
            arguments["ssl_context"] = context
        if self.security_protocol.startswith("SASL"):
            arguments["sasl_mechanism"] = self.sasl_mechanism
            arguments["sasl_plain_username"] = self.sasl_username
            arguments["sasl_plain_password"] = self.sasl_password.reveal() if self.sasl_password else None
        return arguments


class SchemaRegistrySettings(Settings):
    url: str = Field(default="", description="A Confluent-compatible registry; empty: the embedded one")

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
            raise PydanticCustomError("url", "is not a URL; write https://host:port, or leave it empty")
        if urlsplit(url).password or urlsplit(url).username:
            raise PydanticCustomError("url_secret", "carries credentials; take them out of the URL")
        return url


class MetricsSettings(Settings):
    host: str = Field(default="127.0.0.1", description="The address that /metrics, /healthz and /readyz listen on")
    port: int = Field(default=DEFAULT_METRICS_PORT, ge=0, le=65_535, description="0: any free port")


class _Sections(Settings):
    """What may stand at the top of the file; used for its keys only."""

    kafka: KafkaSettings
    schema_registry: SchemaRegistrySettings
    metrics: MetricsSettings
    webhooks: WebhookSettings
    companies: dict[str, CompanySettings]
    connectors: dict[str, ConnectorSettings]


@dataclass(frozen=True, slots=True)
class Config:
    """One valid configuration. Made by `load` or `parse`, never by hand.

    Attributes:
        folder: Where relative paths start from.
        companies: By name; `partition` is always set.
        connectors: By name; each of its kind's own settings class.
        maps: The mapping of each company.
        version: 12 characters of a hash of all of it, secrets and the folder aside.
    """

    folder: Path
    kafka: KafkaSettings
    schema_registry: SchemaRegistrySettings
    metrics: MetricsSettings
    webhooks: WebhookSettings
    companies: Mapping[str, CompanySettings]
    connectors: Mapping[str, ConnectorSettings]
    maps: Mapping[str, CompanyMap]
    version: str

    def topic(self, name: str) -> str:
        """The broker's name of one of our topics."""
        return self.kafka.topic_prefix + name

    def name_of(self, topic: str) -> str:
        """Our name of one of the broker's topics; its own where it is not one of ours."""
        return topic.removeprefix(self.kafka.topic_prefix)

    def company_partition(self, company: str) -> int:
        """The company's partition of all company topics.

        Raises:
            KeyError: There is no such company.
        """
        partition = self.companies[company].partition
        return 0 if partition is None else partition

    @property
    def group(self) -> str:
        """The one consumer group of all workers."""
        return f"{self.kafka.topic_prefix}b1-streams"

    @property
    def horizon_days(self) -> int:
        """Days for which stock events are told apart: the longest of the companies'."""
        return max(math.ceil(company.dedupe_horizon_days) for company in self.companies.values())


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read a configuration file and the environment over it.

    Args:
        path: The TOML file; relative paths in it start from its folder.
        environ: `STREAMS__A__B` overrides `a.b`; `env:NAME` secrets are looked up here as well.

    Raises:
        ConfigError: With every fault at once.
    """
    hint = "name it with -c FILE or STREAMS_CONFIG; streams.example.toml is one to start from"
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError([ConfigProblem(str(path), "there is no such file", hint)]) from None
    except OSError as error:
        raise ConfigError([ConfigProblem(str(path), f"cannot be read ({error.strerror})", hint)]) from None
    except UnicodeDecodeError:
        raise ConfigError([ConfigProblem(str(path), "is not UTF-8 text", "save it as UTF-8")]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([ConfigProblem(str(path), f"is not TOML: {error}", "mend the syntax there")]) from None
    return parse(data, path.absolute().parent, environ)


def parse(data: Mapping[str, Any], folder: Path, environ: Mapping[str, str]) -> Config:
    """Validate a configuration that has been read; see `load`.

    Raises:
        ConfigError: With every fault at once.
    """
    faults: list[ConfigProblem] = []
    merged, sources = _override(data, environ, faults)
    local = str(_table(merged, "kafka").get("local", False)).lower() in ("true", "1", "yes", "on")
    context = {"folder": folder, "environ": environ, "local": local}
    faults += [_unknown_key((), key, _Sections) for key in merged if key not in _Sections.model_fields]
    kafka = _validate(KafkaSettings, merged.get("kafka", {}), ("kafka",), context, faults)
    registry = _validate(
        SchemaRegistrySettings, merged.get("schema_registry", {}), ("schema_registry",), context, faults
    )
    metrics = _validate(MetricsSettings, merged.get("metrics", {}), ("metrics",), context, faults)
    webhooks = _validate(WebhookSettings, merged.get("webhooks", {}), ("webhooks",), context, faults)
    companies: dict[str, CompanySettings] = {}
    for name, table in _named_tables(merged, "companies", faults):
        company = _validate(CompanySettings, table, ("companies", name), context, faults)
        if company is not None:
            companies[name] = company
    connectors: dict[str, ConnectorSettings] = {}
    for name, table in _named_tables(merged, "connectors", faults):
        connector = _validate(_kind_of(name, table, faults), table, ("connectors", name), context, faults)
        if connector is not None:
            connectors[name] = connector
    faults.extend(_relations(merged, folder, local=local))
    faults.extend(_counted_returns(companies, connectors))
    if faults or kafka is None or registry is None or metrics is None or webhooks is None:
        raise ConfigError(_in_order(faults, sources))
    companies = {
        name: company if company.partition is not None else company.model_copy(update={"partition": 0})
        for name, company in companies.items()
    }
    shown = {
        "kafka": kafka.model_dump(mode="json"),
        "schema_registry": registry.model_dump(mode="json"),
        "metrics": metrics.model_dump(mode="json"),
        "webhooks": webhooks.model_dump(mode="json"),
        "companies": {name: company.model_dump(mode="json") for name, company in companies.items()},
        "connectors": {name: connector.model_dump(mode="json") for name, connector in connectors.items()},
    }
    text = json.dumps(shown, sort_keys=True).replace(json.dumps(str(folder))[1:-1], ".")
    return Config(
        folder=folder,
        kafka=kafka,
        schema_registry=registry,
        metrics=metrics,
        webhooks=webhooks,
        companies=companies,
        connectors=connectors,
        maps={name: CompanyMap(name, company, connectors) for name, company in companies.items()},
        version=hashlib.sha256(text.encode()).hexdigest()[:12],
    )


# ---- the environment


def _override(
    data: Mapping[str, Any], environ: Mapping[str, str], faults: list[ConfigProblem]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Lay the environment over what was read; also says which path came from which variable."""
    merged = _copy(data)
    sources: dict[str, str] = {}
    for variable in sorted(environ):
        if not variable.upper().startswith(ENV_PREFIX):
            continue
        at, path = merged, []
        parts = variable[len(ENV_PREFIX) :].split("__")
        for depth, part in enumerate(parts):
            same = [key for key in at if _folded(key) == _folded(part)]
            if len(same) > 1 or not part:
                remedy = (
                    "give keys names that differ in more than case and - or _" if part else f"write {ENV_PREFIX}A__B"
                )
                faults.append(
                    ConfigProblem(variable, "could mean more than one key" if part else "is not a path", remedy)
                )
                break
            path.append(same[0] if same else part.lower())
            if depth == len(parts) - 1:
                at[path[-1]] = _env_value(environ[variable])
                sources[_path(path)] = variable
                break
            inner = at.setdefault(path[-1], {})
            if not isinstance(inner, dict):
                faults.append(
                    ConfigProblem(
                        variable, f"goes through {_path(path)}, which is not a table", "mend the variable's name"
                    )
                )
                break
            at = inner
    return merged, sources


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _folded(key: str) -> str:
    return key.lower().replace("-", "_")


def _env_value(text: str) -> Any:
    """Lists, tables and quoted texts as in TOML; anything else as it is: the settings make numbers of it."""
    if text[:1] in ("[", "{", '"'):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            return text
    return text


# ---- one section


def _named_tables(
    data: Mapping[str, Any], section: str, faults: list[ConfigProblem]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    tables = data.get(section, {})
    if not isinstance(tables, Mapping):
        faults.append(ConfigProblem(section, "is not a table", f"write [{section}.<name>]"))
        return
    for name, table in tables.items():
        path = _path((section, name))
        if not _NAME.fullmatch(name):
            faults.append(
                ConfigProblem(
                    path, "is not a name we can use", "use 1 to 50 letters, digits, - and _, a letter or digit first"
                )
            )
        if isinstance(table, Mapping):
            yield name, table
        else:
            faults.append(ConfigProblem(path, "is not a table", f"write [{path}]"))


def _kind_of(name: str, table: Mapping[str, Any], faults: list[ConfigProblem]) -> type[ConnectorSettings] | None:
    kind = table.get("kind")
    row = KINDS.get(kind) if isinstance(kind, str) else None
    if row is not None:
        return row.settings
    known = ", ".join(sorted(KINDS))
    what = "is missing" if kind is None else "is no kind of connector that we have"
    faults.append(
        ConfigProblem(_path(("connectors", name, "kind")), what, f"write one of: {known}{_nearest(kind, KINDS)}")
    )
    return None


def _validate(
    model: type[_M] | None, table: object, path: tuple[str, ...], context: dict[str, Any], faults: list[ConfigProblem]
) -> _M | None:
    if model is None:
        return None
    try:
        return model.model_validate(table, context=context)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        faults.extend(
            _fault_of(each, model, path) for each in errors if (each["type"], each["loc"]) not in _SEEN_BETTER_BELOW
        )
        return None


def _fault_of(error: ErrorDetails, model: type[BaseModel], at: tuple[str, ...]) -> ConfigProblem:
    loc, kind, context = error["loc"], error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key((*at, *loc[:-1]), str(loc[-1]), _model_at(model, loc[:-1]))
    path = _path((*at, *(part for part in loc if part != "[key]")))
    described = _description(model, loc)
    if kind in ("literal_error", "enum"):
        expected = context["expected"]
        if loc[-1] != "[key]":
            return ConfigProblem(path, "is not one of the values it can have", f"write one of: {expected}")
        near = _nearest(loc[-2], [text.strip("' ") for text in re.split(r",| or ", expected)])
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
    return ConfigProblem(path, message, remedy or described or "mend it; streams.example.toml shows how it is written")


#: Faults that `_relations` finds as well, with the exact path, also where another fault stops the settings' own check.
_SEEN_BETTER_BELOW = {("no_card", ("customers",)), ("twins", ("warehouses",))}
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


def _unknown_key(at: Sequence[str | int], key: str, model: type[BaseModel] | None) -> ConfigProblem:
    known = sorted(model.model_fields) if model is not None else []
    return ConfigProblem(
        _path((*at, key)),
        "is not a key we know",
        f"take it out, or write one of: {', '.join(known)}{_nearest(key, known)}",
    )


def _nearest(key: object, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(key).lower(), known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def _path(parts: Iterable[str | int]) -> str:
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (
                part if _BARE_KEY.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            )
    return text


def _plain(annotation: Any) -> Any:
    """The type that matters in `X | None` and `Annotated[X, ...]`."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _plain(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        kept = [arg for arg in get_args(annotation) if arg is not type(None)]
        models = [arg for arg in kept if isinstance(arg, type) and issubclass(arg, BaseModel)]
        return _plain((models or kept)[0])
    return annotation


def _model_at(model: type[BaseModel], loc: Sequence[str | int]) -> type[BaseModel] | None:
    at: Any = model
    for part in loc:
        if isinstance(at, type) and issubclass(at, BaseModel):
            field = at.model_fields.get(str(part))
            at = _plain(field.annotation) if field is not None else None
        elif get_origin(at) is dict:
            at = _plain(get_args(at)[1])
        elif get_origin(at) in (tuple, list):
            at = _plain(get_args(at)[0])
        else:
            return None
    return at if isinstance(at, type) and issubclass(at, BaseModel) else None


def _description(model: type[BaseModel], loc: Sequence[str | int]) -> str:
    inside = _model_at(model, loc[:-1]) if loc else None
    field = inside.model_fields.get(str(loc[-1])) if inside is not None else None
    return field.description or "" if field is not None else ""


def _in_order(faults: Iterable[ConfigProblem], sources: Mapping[str, str]) -> list[ConfigProblem]:
    """One fault a path, those of the same section together; says where the environment set what is wrong."""
    first: dict[str, ConfigProblem] = {}
    for fault in faults:
        variable = sources.get(fault.path)
        shown = replace(fault, message=f"{fault.message} (set by {variable})") if variable else fault
        first.setdefault(fault.path, shown)
    return sorted(first.values(), key=lambda fault: fault.path)


# ---- what settings say about each other: over the raw tables, so that a fault in one place hides none in another


def _table(value: object, *keys: str) -> Mapping[str, Any]:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _tables(value: object, *keys: str) -> dict[str, Mapping[str, Any]]:
    return {name: table for name, table in _table(value, *keys).items() if isinstance(table, Mapping)}


def _number(value: object, default: int) -> int:
    try:
        return int(str(value)) if value is not None else default
    except ValueError:
        return default


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    return [text for text in values if isinstance(text, str) and text]


def _is_bare_http(url: object) -> bool:
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        return parts is not None and parts.scheme == "http" and not is_loopback(parts.hostname or "")
    except ValueError:
        return False


def _relations(data: Mapping[str, Any], folder: Path, *, local: bool) -> Iterator[ConfigProblem]:
    companies, connectors = _tables(data, "companies"), _tables(data, "connectors")
    yield from _kafka_relations(_table(data, "kafka"), local=local)
    if _is_bare_http(_table(data, "schema_registry").get("url")) and not local:
        yield ConfigProblem(
            "schema_registry.url", "is http:// off this machine", "use https://, or kafka.local = true for a demo"
        )
    if not companies:
        yield ConfigProblem(
            "companies", "no company is configured", "add [companies.<name>]; streams.example.toml shows one"
        )
    yield from _partitions(companies, _number(_table(data, "kafka").get("company_partitions"), 16))
    for name, company in companies.items():
        yield from _company_relations(name, company, connectors)
    inboxes: dict[Path | str, str] = {}
    for name, connector in connectors.items():
        yield from _connector_relations(name, connector, companies, connectors)
        inbox = connector.get("inbox")
        if isinstance(inbox, str):
            first = inboxes.setdefault(inbox if "://" in inbox else (folder / inbox).resolve(), name)
            if first != name:
                path = _path(("connectors", name, "inbox"))
                yield ConfigProblem(path, f"is the inbox of {first} as well", "give each connector a folder of its own")


def _kafka_relations(kafka: Mapping[str, Any], *, local: bool) -> Iterator[ConfigProblem]:
    if not local and _number(kafka.get("replication_factor"), 3) == 1:
        yield ConfigProblem(
            "kafka.replication_factor",
            "is 1: a lost broker would lose events",
            "write 3, or kafka.local = true for a demo",
        )
    protocol = str(kafka.get("security_protocol", "PLAINTEXT"))
    servers = str(kafka.get("bootstrap_servers", "127.0.0.1:9092")).split(",")
    if (
        "PLAINTEXT" in protocol
        and not local
        and not all(is_loopback(server.strip().rpartition(":")[0].strip("[]")) for server in servers)
    ):
        yield ConfigProblem(
            "kafka.security_protocol",
            "is not encrypted, and a broker is not on this machine",
            'write "SSL" or "SASL_SSL", or kafka.local = true for a demo',
        )
    if protocol.startswith("SASL"):
        for key in ("sasl_username", "sasl_password"):
            if not kafka.get(key):
                yield ConfigProblem(
                    f"kafka.{key}", f"is missing, and {protocol} needs it", "add it (the password as env:NAME)"
                )
    if bool(kafka.get("ssl_certfile")) != bool(kafka.get("ssl_keyfile")):
        missing = "ssl_keyfile" if kafka.get("ssl_certfile") else "ssl_certfile"
        yield ConfigProblem(
            f"kafka.{missing}", "is missing beside the other half of our certificate", "add it, or take out both"
        )


def _partitions(companies: Mapping[str, Mapping[str, Any]], partitions: int) -> Iterator[ConfigProblem]:
    taken: dict[int, str] = {}
    for name, company in companies.items():
        path = _path(("companies", name, "partition"))
        if company.get("partition") is None:
            if len(companies) > 1:
                yield ConfigProblem(
                    path, "is missing, and there are several companies", "add a number that no other company has"
                )
            continue
        partition = _number(company["partition"], -1)
        if partition >= partitions:
            yield ConfigProblem(
                path, f"is not below kafka.company_partitions ({partitions})", f"write 0 to {partitions - 1}"
            )
        elif partition >= 0 and taken.setdefault(partition, name) != name:
            yield ConfigProblem(
                path, f"is the partition of {taken[partition]} as well", "add a number that no other company has"
            )


def _company_relations(
    name: str, company: Mapping[str, Any], connectors: Mapping[str, Mapping[str, Any]]
) -> Iterator[ConfigProblem]:
    at = ("companies", name)
    customers = company.get("customers")
    if (
        isinstance(customers, Mapping)
        and customers.get("policy", "account") == "account"
        and "card_code" not in customers
    ):
        path = _path((*at, "customers", "card_code"))
        yield ConfigProblem(
            path, 'is missing, and the policy "account" needs it', "add the CardCode that takes all orders"
        )
    places: dict[tuple[str, str], str] = {}
    for code, warehouse in _tables(company, "warehouses").items():
        here = (*at, "warehouses", code)
        owner = warehouse.get("owner")
        if isinstance(owner, str):
            yield from _names_connector((*here, "owner"), owner, name, connectors)
            location = warehouse.get("location")
            if isinstance(location, str) and location:
                first = places.setdefault((owner, location), code)
                if first != code:
                    yield ConfigProblem(
                        _path((*here, "location")),
                        f"is {owner}'s name for {first} as well, and counts need a one-to-one map",
                        "give each warehouse a location of its own",
                    )
        for index, seller in enumerate(_texts(warehouse.get("sellable_on"))):
            yield from _names_connector((*here, "sellable_on", index), seller, name, connectors)


def _counted_returns(
    companies: Mapping[str, CompanySettings], connectors: Mapping[str, ConnectorSettings]
) -> Iterator[ConfigProblem]:
    """Warehouses whose owner counts them: what comes back is in the count, whatever reason a delta of it has."""
    for name, company in companies.items():
        if company.flows.get("refund_issued") == "off":
            continue
        for code, warehouse in company.warehouses.items():
            owner = connectors.get(warehouse.owner)
            if owner is None or warehouse.returns_by == "adjustment":
                continue
            places = [place for place, whs in owner.locations.items() if whs == code] or [warehouse.location]
            if any(KINDS[owner.kind].counts(place, owner) for place in places):
                yield ConfigProblem(
                    _path(("companies", name, "warehouses", code, "returns_by")),
                    f'is "refund", and {warehouse.owner} counts this warehouse: what comes back would come in twice',
                    'write returns_by = "adjustment"',
                )


def _names_connector(
    at: Sequence[str | int], connector: str, company: str, connectors: Mapping[str, Mapping[str, Any]]
) -> Iterator[ConfigProblem]:
    if connector not in connectors:
        known = ", ".join(sorted(connectors)) or "none yet"
        yield ConfigProblem(
            _path(at),
            "names no connector",
            f"add [connectors.<name>], or write one of: {known}{_nearest(connector, connectors)}",
        )
    elif connectors[connector].get("company") != company:
        yield ConfigProblem(
            _path(at), f"names a connector that does not feed {company}", "name one whose company is this one"
        )


def _connector_relations(
    name: str,
    connector: Mapping[str, Any],
    companies: Mapping[str, Mapping[str, Any]],
    connectors: Mapping[str, Mapping[str, Any]],
) -> Iterator[ConfigProblem]:
    at = ("connectors", name)
    if name in BY_NAME:
        yield ConfigProblem(_path(at), "is the name of a topic", "give the connector another name")
    company = connector.get("company")
    if not isinstance(company, str):
        return
    if company not in companies:
        known = ", ".join(sorted(companies)) or "none yet"
        remedy = f"add [companies.<name>], or write one of: {known}{_nearest(company, companies)}"
        yield ConfigProblem(_path((*at, "company")), "names no company", remedy)
        return
    for source in _texts(connector.get("order_source")):
        yield from _names_connector((*at, "order_source"), source, company, connectors)
    warehouses = _table(companies[company], "warehouses")
    locations = {place: code for place, code in _table(connector, "locations").items() if isinstance(code, str)}
    times = Counter(locations.values())
    for place, code in locations.items():
        path = _path((*at, "locations", place))
        if code not in warehouses:
            yield _unknown_warehouse(path, code, company, warehouses)
        elif times[code] > 1:
            yield ConfigProblem(
                path, f"is one of several names for {code}, and counts need a one-to-one map", "keep one of them"
            )
    warehouse = _table(connector, "orders").get("warehouse")
    if isinstance(warehouse, str) and warehouse not in warehouses:
        yield _unknown_warehouse(_path((*at, "orders", "warehouse")), warehouse, company, warehouses)


def _unknown_warehouse(path: str, code: str, company: str, warehouses: Mapping[str, Any]) -> ConfigProblem:
    near = difflib.get_close_matches(code, warehouses, n=1, cutoff=0.5)
    known = ", ".join(sorted(warehouses)) or "none yet"
    guess = f" (did you mean {near[0]}?)" if near else ""
    return ConfigProblem(
        path,
        f"names no warehouse of {company}",
        f"add [companies.{company}.warehouses.<code>], or write one of: {known}{guess}",
    )

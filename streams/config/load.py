"""The whole `streams.toml`: read, overridden by the environment, validated at once, frozen as one `Config`."""

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from connectors.base.settings import ConnectorSettings
from connectors.notices.settings import NoticesSettings
from connectors.registry import KINDS
from connectors.sap_b1.mapping import CompanyMap
from connectors.sap_b1.reading.settings import SapB1Settings
from connectors.sap_b1.settings import CompanySettings
from connectors.webhooks.settings import WebhookSettings
from schemas.topics import BY_NAME
from streams.config.counted_stock import counted_dispatches
from streams.config.environment import override
from streams.config.outbound import outbound
from streams.config.problems import ConfigError, ConfigProblem, in_order, nearest, path_text, problem_of, unknown_key
from streams.config.relations import counted_returns, relations, table_at
from streams.config.sections import KafkaSettings, MetricsSettings, ReplaySettings, SchemaRegistrySettings, Sections

_M = TypeVar("_M", bound=BaseModel)
#: Names that become part of K (architecture section 15.11), of Kafka's keys and of the names of environment variables.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,49}")
#: Sections that have secrets, beside Kafka's.
SECRETS = ("companies", "connectors", "notices")
#: Errors of pydantic's that `relations` finds as well, with the exact path, also where another problem stops the
#: settings' own check.
_FOUND_BY_RELATIONS = {("no_card", ("customers",)), ("twins", ("warehouses",))}


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
    notices: NoticesSettings
    replay: ReplaySettings
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

    def partition_count(self, name: str) -> int:
        """How many partitions one of our topics has, as configured."""
        sizes = {"facts": self.kafka.partitions, "companies": self.kafka.company_partitions, "one": 1}
        return sizes[BY_NAME[name].partitions]

    def company_partition(self, company: str) -> int:
        """The company's partition of all company topics.

        Raises:
            KeyError: There is no such company.
        """
        partition = self.companies[company].partition
        return 0 if partition is None else partition

    def partition_or_first(self, company: str) -> int:
        """The company's partition; the first one where it is not in the configuration any more."""
        return self.company_partition(company) if company in self.companies else 0

    @property
    def group(self) -> str:
        """The one consumer group of all workers."""
        return f"{self.kafka.topic_prefix}b1-streams"

    @property
    def horizon_days(self) -> int:
        """Days for which stock events are told apart: the longest of the companies'."""
        return max(math.ceil(company.dedupe_horizon_days) for company in self.companies.values())


def load(path: Path, environ: Mapping[str, str], secrets: Collection[str] = SECRETS) -> Config:
    """Read a configuration file and the environment over it.

    Args:
        path: The TOML file; relative paths in it start from its folder.
        environ: `STREAMS__A__B` overrides `a.b`; `env:NAME` secrets are looked up here as well.
        secrets: Sections whose secrets are needed, whole or by name (`connectors.shop`); the others' may be missing.
            Kafka's always are.

    Raises:
        ConfigError: With every problem at once.
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
        raise ConfigError([ConfigProblem(str(path), f"is not TOML: {error}", "fix the syntax there")]) from None
    return parse(data, path.absolute().parent, environ, secrets)


def parse(
    data: Mapping[str, Any], folder: Path, environ: Mapping[str, str], secrets: Collection[str] = SECRETS
) -> Config:
    """Validate a configuration that has been read; see `load`.

    Raises:
        ConfigError: With every problem at once.
    """
    problems: list[ConfigProblem] = []
    merged, sources = override(data, environ, problems)
    local = str(table_at(merged, "kafka").get("local", False)).lower() in ("true", "1", "yes", "on")
    context = {"folder": folder, "environ": environ, "local": local}

    # Who reads B1 logs in with the company's password
    wanted = {*secrets, *_read_companies(merged, secrets)}

    def context_of(section: str, name: str = "") -> dict[str, Any]:
        return {**context, "secrets": section in wanted or f"{section}.{name}" in wanted}

    problems += [unknown_key((), key, Sections) for key in merged if key not in Sections.model_fields]
    kafka = _validate(KafkaSettings, merged.get("kafka", {}), ("kafka",), context, problems)
    registry = _validate(
        SchemaRegistrySettings, merged.get("schema_registry", {}), ("schema_registry",), context, problems
    )
    metrics = _validate(MetricsSettings, merged.get("metrics", {}), ("metrics",), context, problems)
    webhooks = _validate(WebhookSettings, merged.get("webhooks", {}), ("webhooks",), context, problems)
    notices = _validate(NoticesSettings, merged.get("notices", {}), ("notices",), context_of("notices"), problems)
    replay = _validate(ReplaySettings, merged.get("replay", {}), ("replay",), context, problems)
    companies: dict[str, CompanySettings] = {}
    for name, table in _named_tables(merged, "companies", problems):
        company = _validate(CompanySettings, table, ("companies", name), context_of("companies", name), problems)
        if company is not None:
            companies[name] = company
    connectors: dict[str, ConnectorSettings] = {}
    for name, table in _named_tables(merged, "connectors", problems):
        model = _kind_of(name, table, problems)
        connector = _validate(model, table, ("connectors", name), context_of("connectors", name), problems)
        if connector is not None:
            connectors[name] = connector
    for connector in connectors.values():
        if isinstance(connector, SapB1Settings) and connector.company in companies:
            connector.bind(companies[connector.company])
    problems.extend(relations(merged, folder, local=local))
    problems.extend(outbound(companies, connectors))
    problems.extend(counted_returns(companies, connectors))
    problems.extend(counted_dispatches(companies, connectors))
    if (
        problems
        or kafka is None
        or registry is None
        or metrics is None
        or webhooks is None
        or notices is None
        or replay is None
    ):
        raise ConfigError(in_order(problems, sources))
    companies = {
        name: company if company.partition is not None else company.model_copy(update={"partition": 0})
        for name, company in companies.items()
    }
    shown = {
        "kafka": kafka.model_dump(mode="json"),
        "schema_registry": registry.model_dump(mode="json"),
        "metrics": metrics.model_dump(mode="json"),
        "webhooks": webhooks.model_dump(mode="json"),
        "notices": notices.model_dump(mode="json"),
        "replay": replay.model_dump(mode="json"),
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
        notices=notices,
        replay=replay,
        companies=companies,
        connectors=connectors,
        maps={name: CompanyMap(name, company, connectors) for name, company in companies.items()},
        version=hashlib.sha256(text.encode()).hexdigest()[:12],
    )


def _read_companies(data: Mapping[str, Any], secrets: Collection[str]) -> Iterator[str]:
    """The companies, as `companies.acme`, whose B1 is read by a connector whose secrets are needed."""
    connectors = table_at(data, "connectors")
    for name in connectors:
        connector = table_at(connectors, name)
        if ("connectors" in secrets or f"connectors.{name}" in secrets) and connector.get("kind") == "sap_b1":
            yield f"companies.{connector.get('company')}"


def _named_tables(
    data: Mapping[str, Any], section: str, problems: list[ConfigProblem]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    tables = data.get(section, {})
    if not isinstance(tables, Mapping):
        problems.append(ConfigProblem(section, "is not a table", f"write [{section}.<name>]"))
        return
    for name, table in tables.items():
        path = path_text((section, name))
        if not _NAME.fullmatch(name):
            problems.append(
                ConfigProblem(
                    path, "is not a name we can use", "use 1 to 50 letters, digits, - and _, a letter or digit first"
                )
            )
        if isinstance(table, Mapping):
            yield name, table
        else:
            problems.append(ConfigProblem(path, "is not a table", f"write [{path}]"))


def _kind_of(name: str, table: Mapping[str, Any], problems: list[ConfigProblem]) -> type[ConnectorSettings] | None:
    kind = table.get("kind")
    row = KINDS.get(kind) if isinstance(kind, str) else None
    if row is not None:
        return row.settings
    known = ", ".join(sorted(KINDS))
    what = "is missing" if kind is None else "is no kind of connector that we have"
    problems.append(
        ConfigProblem(path_text(("connectors", name, "kind")), what, f"write one of: {known}{nearest(kind, KINDS)}")
    )
    return None


def _validate(
    model: type[_M] | None, table: object, path: tuple[str, ...], context: dict[str, Any], problems: list[ConfigProblem]
) -> _M | None:
    if model is None:
        return None
    try:
        return model.model_validate(table, context=context)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        problems.extend(
            problem_of(each, model, path) for each in errors if (each["type"], each["loc"]) not in _FOUND_BY_RELATIONS
        )
        return None

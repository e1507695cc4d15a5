"""What B1, Kafka, the registry and the vendors really do, part by part; with `install` it also makes what B1 lacks."""

from contextlib import suppress

from connectors.base.clock import SystemClock
from connectors.base.doctor import Finding
from connectors.base.errors import ConnectorError, LogError
from connectors.registry import KINDS
from connectors.sap_b1 import doctor
from schemas.codec import CodecError
from schemas.registry import known_schemas
from schemas.schema import SchemaError
from streams.cli import shell
from streams.config.load import Config
from streams.kafka import topics


async def examine(config: Config, *, install: bool) -> dict[str, list[Finding]]:
    """Findings by part: `kafka`, `registry`, each company, and `connectors.<name>` of each that is enabled."""
    found = {"kafka": await _examine_kafka(config), "registry": _examine_registry(config)}
    for name, company in config.companies.items():
        async with shell.open_service_layer(company) as service_layer:
            diagnosis = await doctor.run(service_layer, company, install)
        found[name] = list(diagnosis.findings)
    for name, settings in config.connectors.items():
        doctor_of, install_of = KINDS[settings.kind].doctor, KINDS[settings.kind].install
        if install and settings.enabled and install_of is not None:
            with suppress(ConnectorError):  # the doctor meets it as well, and says so
                await install_of(settings, SystemClock())
        if settings.enabled and doctor_of is not None:
            found[f"connectors.{name}"] = list(
                await doctor_of(name, settings, locations_of(config, name), SystemClock())
            )
    return found


def locations_of(config: Config, connector: str) -> frozenset[str]:
    """A vendor's names of the locations in the configuration: those mapped, and the warehouses whose counts it owns."""
    owned = (
        warehouse.location
        for company in config.companies.values()
        for warehouse in company.warehouses.values()
        if warehouse.owner == connector
    )
    return frozenset({*config.connectors[connector].locations, *owned})


async def _examine_kafka(config: Config) -> list[Finding]:
    servers = config.kafka.bootstrap_servers
    try:
        async with shell.open_log(config) as log:
            differences = await topics.check(log, config)
    except LogError as error:
        return [Finding("reachable", False, f"{servers}: {error}", "start the broker, or fix [kafka]")]
    return [
        Finding("reachable", True, servers),
        *(Finding(each.topic, False, f"{each.setting}: {each.found}", each.remedy) for each in differences),
        *([] if differences else [Finding("topics", True, "all as they must be")]),
    ]


def _examine_registry(config: Config) -> list[Finding]:
    try:
        shell.codec_of(config)
        count = len(known_schemas())
    except (CodecError, SchemaError) as error:
        return [Finding("schemas", False, str(error), "install b1-streams again")]
    except shell.CommandError as error:
        return [Finding("schemas", False, str(error), error.remedy)]
    return [Finding("schemas", True, f"embedded, {count} schemas")]

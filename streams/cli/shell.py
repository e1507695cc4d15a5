"""What the commands share: options, opening what they need, and how they print.

Here and in the commands, what is slow to import is imported in the function that needs it: help must answer at once.
"""

from __future__ import annotations

import json
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from streams.telemetry.text import escape

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence

    from rich.console import Console

    from connectors.sap_b1.service_layer import ServiceLayer
    from connectors.sap_b1.settings import CompanySettings
    from schemas.codec import Codec
    from streams.audit.trail import AuditTrail
    from streams.config.load import Config
    from streams.kafka.log import Log

T = TypeVar("T")

ConfigOption = Annotated[
    Path, typer.Option("-c", "--config", envvar="STREAMS_CONFIG", help="The configuration file", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines")]
ByOption = Annotated[str | None, typer.Option("--by", help="Who does it; by default your user name")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do it without asking")]
CONFIG = Path("streams.toml")
_NAME_MAX_CHARS = 100
_PIPE_WIDTH = 220  # columns where nobody has a terminal: rows stay whole for grep


class CommandError(Exception):
    """The command cannot do what it was asked.

    Attributes:
        remedy: The next step.
        code: The exit code.
    """

    def __init__(self, message: str, remedy: str, code: int = 1) -> None:
        super().__init__(message)
        self.remedy, self.code = remedy, code


def read_config(path: Path, *secrets: str) -> Config:
    """The configuration in force.

    Args:
        path: The file.
        secrets: Whose secrets are needed, beside Kafka's: `companies` or `connectors.shop`.

    Raises:
        ConfigError: With every problem at once.
    """
    from streams.config.load import load

    return load(path, os.environ, secrets)


def read_config_and_secrets(path: Path) -> Config:
    """The configuration in force, for a command that does everything, or looks at everything.

    Raises:
        ConfigError: With every problem at once.
    """
    return read_config(path, "companies", "connectors", "notices")


def codec_of(config: Config) -> Codec:
    """Reads and writes records as the configured registry has them; one behind a URL is asked for all ids at once.

    Raises:
        CommandError: The registry does not answer, or refuses our schemas.
    """
    from connectors.base.errors import ConnectorError
    from connectors.schema_registry import HttpRegistry
    from schemas.codec import Codec, embedded_codec
    from schemas.registry import known_schemas

    if not config.schema_registry.url:
        return embedded_codec()
    registry = HttpRegistry(config.schema_registry.url)
    try:
        for schema in known_schemas().values():
            registry.id_of(schema)
    except ConnectorError as error:
        raise CommandError(str(error), "fix schema_registry.url or the registry, or leave the url empty") from error
    return Codec(registry)


@asynccontextmanager
async def open_log(config: Config, timeout_s: float = 10) -> AsyncIterator[Log]:
    """Kafka, connected. A person waits: give up sooner than a worker would.

    Raises:
        LogError: It cannot be reached.
    """
    from streams.kafka.client import KafkaLog

    log = KafkaLog(config.kafka.bootstrap_servers, config.kafka.security(), timeout_s=timeout_s)
    await log.start()
    try:
        yield log
    finally:
        await log.stop()


@asynccontextmanager
async def open_service_layer(settings: CompanySettings) -> AsyncIterator[ServiceLayer]:
    """A company's B1, in one session of the command's own."""
    from connectors.sap_b1.client import HttpServiceLayer
    from connectors.sap_b1.refused_logins import state_file

    service_layer = HttpServiceLayer(
        settings.service_layer_url,
        settings.company_db,
        settings.username,
        settings.password,
        verify=settings.verify_tls,
        session_limit=1,
        refused_logins=state_file(os.environ),
    )
    try:
        yield service_layer
    finally:
        await service_layer.close()


def person(by: str | None) -> str:
    """Who runs the command, for the audit."""
    import getpass

    return (by or getpass.getuser()).strip()[:_NAME_MAX_CHARS]


def trail_of(log: Log, config: Config, codec: Codec) -> AuditTrail:
    """The audit chain, for a command that changes something."""
    from connectors.base.clock import SystemClock
    from streams.audit.trail import AuditTrail

    return AuditTrail(log, config, codec, SystemClock())


def run_async(work: Coroutine[Any, Any, T]) -> T:
    import asyncio

    return asyncio.run(work)


def errors_console() -> Console:
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True, highlight=False)


def console() -> Console:
    from rich.console import Console

    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)


def print_line(text: str) -> None:
    """One line for people; nothing in it is markup."""
    from rich.text import Text

    console().print(Text(escape(text)))


def print_json(data: object) -> None:
    typer.echo(json.dumps(data, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else escape(str(cell))) for cell in row))
    console().print(table)

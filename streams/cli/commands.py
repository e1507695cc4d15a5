"""The command `streams`: one file per command; here their errors become words and an exit code (contract section 5)."""

import json
from collections.abc import Sequence

import typer
from rich.markup import escape as escape_markup

from connectors.base.errors import ConnectorError
from schemas.codec import CodecError
from streams.cli import check, connect, demo, dlq, doctor, order, status, topics, up, worker
from streams.cli.shell import CommandError, errors_console
from streams.config.load import ConfigError
from streams.kafka.client import LogError
from streams.telemetry.health import PortTakenError
from streams.telemetry.logs import escape

NO, WRONG_USE = 1, 2


def make_app() -> typer.Typer:
    app = typer.Typer(
        name="streams",
        help="Streams orders, dispatches, refunds and stock between SAP Business One and the systems around it.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    for command in (check, doctor, up, worker, status, order, demo):
        app.command(command.__name__.rpartition(".")[2])(command.run)
    app.add_typer(connect.app, name="connect")
    app.add_typer(topics.app, name="topics")
    app.add_typer(dlq.app, name="dlq")
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command; the exit code is 0 done, 1 the answer is no, 2 wrong use or configuration."""
    try:
        make_app()(args=list(arguments), prog_name="streams")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else NO
    except ConfigError as error:
        return _tell_faults(error, as_json="--json" in arguments)
    except CommandError as error:
        return _tell(str(error), error.remedy, error.code)
    except PortTakenError as error:
        return _tell(*_split(str(error)), WRONG_USE)
    except LogError as error:
        return _tell(f"Kafka: {error}", "see that the broker runs and kafka.bootstrap_servers names it, then again", NO)
    except CodecError as error:
        return _tell(f"a record cannot be read: {error}", "use the newest b1-streams that writes to these topics", NO)
    except ConnectorError as error:
        return _tell(*_split(str(error)), NO)
    except KeyboardInterrupt:
        return 130
    return 0


def _split(text: str) -> tuple[str, str]:
    message, _, remedy = text.partition("; ")
    return message, remedy or "mend that, then again"


def _tell_faults(error: ConfigError, *, as_json: bool) -> int:
    if as_json:
        faults = [{"path": f.path, "message": f.message, "remedy": f.remedy} for f in error.faults]
        typer.echo(json.dumps({"ok": False, "faults": faults}, indent=2))
    console = errors_console()
    for fault in error.faults:
        console.print(
            f"[red]error[/] [bold]{_plain(fault.path)}[/]: {_plain(fault.message)}; [cyan]{_plain(fault.remedy)}[/]"
        )
    count = len(error.faults)
    console.print(f"The configuration has {count} fault{'s' if count > 1 else ''}. Mend it, then: streams check")
    return WRONG_USE


def _tell(message: str, remedy: str, code: int) -> int:
    errors_console().print(f"[red]error[/] {_plain(message)}\n[cyan]next[/]  {_plain(remedy)}")
    return code


def _plain(text: str) -> str:
    return escape_markup(escape(text))

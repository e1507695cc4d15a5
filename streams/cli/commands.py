"""The command `streams`: one file per command; here their errors become words and an exit code (contract section 5)."""

import json
from collections.abc import Sequence

import typer
from rich.markup import escape as escape_markup

from connectors.base.errors import ConnectorError
from schemas.codec import CodecError
from streams.cli import check, connect, demo, dlq, doctor, order, status, topics, up, worker
from streams.cli.shell import CommandError, errors_console
from streams.config.problems import ConfigError
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
        return _show_problems(error, as_json="--json" in arguments)
    except CommandError as error:
        return _show_error(str(error), error.remedy, error.code)
    except PortTakenError as error:
        return _show_error(*_split(str(error)), WRONG_USE)
    except LogError as error:
        return _show_error(
            f"Kafka: {error}", "see that the broker runs and kafka.bootstrap_servers names it, then again", NO
        )
    except CodecError as error:
        return _show_error(
            f"a record cannot be read: {error}", "use the newest b1-streams that writes to these topics", NO
        )
    except ConnectorError as error:
        return _show_error(*_split(str(error)), NO)
    except KeyboardInterrupt:
        return 130
    return 0


def _split(text: str) -> tuple[str, str]:
    message, _, remedy = text.partition("; ")
    return message, remedy or "fix that, then again"


def _show_problems(error: ConfigError, *, as_json: bool) -> int:
    if as_json:
        problems = [{"path": p.path, "message": p.message, "remedy": p.remedy} for p in error.problems]
        typer.echo(json.dumps({"ok": False, "faults": problems}, indent=2))
    console = errors_console()
    for problem in error.problems:
        console.print(
            f"[red]error[/] [bold]{_plain(problem.path)}[/]: {_plain(problem.message)}; "
            f"[cyan]{_plain(problem.remedy)}[/]"
        )
    count = len(error.problems)
    console.print(f"The configuration has {count} problem{'s' if count > 1 else ''}. Fix it, then: streams check")
    return WRONG_USE


def _show_error(message: str, remedy: str, code: int) -> int:
    errors_console().print(f"[red]error[/] {_plain(message)}\n[cyan]next[/]  {_plain(remedy)}")
    return code


def _plain(text: str) -> str:
    return escape_markup(escape(text))

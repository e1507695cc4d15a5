"""All commands as one Typer app, and the exit code of a run (contract section 5)."""

import importlib
from collections.abc import Sequence
from typing import Annotated

import typer

from streams.cli import (
    audit,
    check,
    company,
    connect,
    demo,
    dlq,
    doctor,
    item,
    order,
    shadow,
    status,
    topics,
    up,
    worker,
)

NO, INTERRUPTED = 1, 130


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"streams {version('b1-streams')}")
        raise typer.Exit


def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit")
    ] = False,
) -> None:
    """Streams orders, dispatches, refunds and stock between SAP Business One and the systems around it."""


def make_app() -> typer.Typer:
    app = typer.Typer(name="streams", no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_root)
    for command in (check, doctor, up, worker, status, order, item, demo):
        app.command(command.__name__.rpartition(".")[2])(command.run)
    app.add_typer(connect.app, name="connect")
    app.add_typer(company.app, name="company")
    app.add_typer(topics.app, name="topics")
    app.add_typer(dlq.app, name="dlq")
    app.add_typer(audit.app, name="audit")
    app.add_typer(shadow.app, name="shadow")
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command; the exit code is 0 done, 1 the answer is no, 2 wrong use or configuration."""
    try:
        make_app()(args=list(arguments), prog_name="streams")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else NO
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        code: int | None = importlib.import_module("streams.cli.failures").explain(error, as_json="--json" in arguments)
        if code is None:
            raise
        return code
    return 0

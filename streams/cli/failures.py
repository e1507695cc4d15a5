"""Errors of commands in words: what is wrong, what to do next, and the exit code. Imported when one occurs."""

import json

import typer
from rich.markup import escape as escape_markup

from connectors.base.errors import ConnectorError, LogError
from schemas.codec import CodecError
from streams.audit.trail import AuditLostError
from streams.chain.rule import ChainRootError
from streams.cli.shell import CommandError, errors_console
from streams.config.problems import ConfigError
from streams.telemetry.health import PortTakenError
from streams.telemetry.text import escape

NO, WRONG_USE = 1, 2


def explain(error: Exception, *, as_json: bool) -> int | None:
    """Print an error for people; its exit code, or None where it is none of ours and deserves its traceback."""
    match error:
        case ConfigError():
            return _show_problems(error, as_json=as_json)
        case CommandError():
            return _show(str(error), error.remedy, error.code)
        case PortTakenError():
            return _show(*_split(str(error)), WRONG_USE)
        case LogError():
            remedy = "see that the broker runs and kafka.bootstrap_servers names it, then again"
            return _show(f"Kafka: {error}", remedy, NO)
        case AuditLostError() | ChainRootError():
            return _show(*_split(str(error)), NO)
        case CodecError():
            remedy = "use the newest b1-streams that writes to these topics"
            return _show(f"a record cannot be read: {error}", remedy, NO)
        case ConnectorError():
            return _show(*_split(str(error)), NO)
        case _:
            return None


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


def _show(message: str, remedy: str, code: int) -> int:
    errors_console().print(f"[red]error[/] {_plain(message)}\n[cyan]next[/]  {_plain(remedy)}")
    return code


def _plain(text: str) -> str:
    return escape_markup(escape(text))

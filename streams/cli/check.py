"""`streams check [--live]`: every problem of the configuration at once; live also against Kafka and B1."""

from typing import Annotated

import typer

from streams.cli import shell


def run(
    config: shell.ConfigOption = shell.CONFIG,
    live: Annotated[bool, typer.Option("--live", help="Compare with Kafka and B1 as well")] = False,
    as_json: shell.JsonOption = False,
) -> None:
    """Check the configuration: every problem at once, each with its path and remedy."""
    from streams.cli.live_check import check_live

    settings = shell.read_config_and_secrets(config)
    problems = shell.run_async(check_live(settings)) if live else []
    if as_json:
        rows = [{"path": each.path, "message": each.message, "remedy": each.remedy} for each in problems]
        shell.print_json({"ok": not problems, "config_version": settings.version, "faults": rows})
    elif problems:
        shell.print_table(["where", "what", "what to do"], [(p.path, p.message, p.remedy) for p in problems])
    else:
        sizes = f"{len(settings.companies)} companies, {len(settings.connectors)} connectors"
        shell.print_line(f"ok: {sizes}, version {settings.version}")
    if problems:
        raise typer.Exit(1)

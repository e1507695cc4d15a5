"""`streams audit`, `streams audit verify`: who changed what, and whether the chain of records is whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli import shell

if TYPE_CHECKING:
    from schemas.records import AuditRecord
    from streams.audit.verify import AuditVerdict
    from streams.config.load import Config

app = typer.Typer(help="Who changed what by which command.", invoke_without_command=True)


@app.callback()
def show(
    context: typer.Context,
    config: shell.ConfigOption = shell.CONFIG,
    as_json: shell.JsonOption = False,
    company: Annotated[str | None, typer.Option(help="Only this company's")] = None,
) -> None:
    """Show every command that has changed something, the oldest first."""
    if context.invoked_subcommand is not None:
        context.obj = config
        return
    records = [row for row in shell.run_async(_records(shell.read_config(config))) if company in (None, row.company)]
    if as_json:
        shell.print_json([_as_json(record) for record in records])
        return
    columns = ["number", "at", "who", "command", "company", "about", "why", "result"]
    shell.print_table(
        columns,
        [
            (
                x.number,
                x.at.isoformat(timespec="seconds"),
                x.by,
                x.action,
                x.company,
                x.what,
                x.why,
                x.result or "begun",
            )
            for x in records
        ],
    )
    shell.print_line(f"{len(records)} records")


@app.command()
def verify(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option("-c", "--config", help="The configuration file")] = None,
    as_json: shell.JsonOption = False,
) -> None:
    """See whether all that was written is there, as it was written: exit 0 when it is whole, 1 when it is not."""
    found = shell.run_async(_verdict(shell.read_config(config or context.obj)))
    whole = found.broken_at is None
    if as_json:
        shell.print_json({"records": found.records, "whole": whole, "broken_at": found.broken_at, "why": found.why})
    elif whole:
        shell.print_line(f"the chain of {found.records} records is whole")
    else:
        shell.print_line(f"the chain is broken at offset {found.broken_at} of the topic audit: {found.why}")
    if not whole:
        raise typer.Exit(1)


async def _records(config: Config) -> list[AuditRecord]:
    async with shell.open_log(config) as log:
        return await shell.trail_of(log, config, shell.codec_of(config)).records()


async def _verdict(config: Config) -> AuditVerdict:
    async with shell.open_log(config) as log:
        return await shell.trail_of(log, config, shell.codec_of(config)).verify()


def _as_json(record: AuditRecord) -> dict[str, Any]:
    return {
        "number": record.number,
        "at": record.at.isoformat(),
        "by": record.by,
        "action": record.action,
        "company": record.company,
        "command": record.command,
        "what": record.what,
        "selection_hash": record.selection_hash,
        "why": record.why,
        "result": record.result,
    }

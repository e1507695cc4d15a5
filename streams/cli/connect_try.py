"""`streams connect try NAME FILE`: what a file would become; nothing is published."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli import shell

if TYPE_CHECKING:
    from streams.connect.dry_run import DryRunRecord, DryRunTotals


def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A connector of the configuration that reads files")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Its own name says which mapping is meant")],
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show so many events, and so many refusals")] = 100,
    config: shell.ConfigOption = shell.CONFIG,
    as_json: shell.JsonOption = False,
) -> None:
    """Show what a file would become. Nothing is published or moved, and neither Kafka nor B1 is asked."""
    from connectors.base.errors import RejectedError
    from connectors.ims.dry_run import read_file
    from connectors.ims.settings import ImsSettings
    from streams.connect.dry_run import DryRun

    settings = shell.read_config(config)
    connector = settings.connectors.get(name)
    if not isinstance(connector, ImsSettings):
        known = ", ".join(sorted(each for each, what in settings.connectors.items() if isinstance(what, ImsSettings)))
        raise shell.CommandError(
            f"there is no connector {name} that reads files", f"write one of: {known or 'none'}", 2
        )
    dry_run = DryRun(settings.maps[connector.company])
    events: list[DryRunRecord] = []
    refused: list[DryRunRecord] = []
    try:
        steps = read_file(file, name, connector, datetime.now(UTC))
        for record in dry_run.records(steps):
            shown = events if record.reason is None else refused
            if len(shown) < limit:
                shown.append(record)
    except RejectedError as error:
        what, _, remedy = str(error).partition("; ")
        raise shell.CommandError(what, remedy, 2) from error
    rows, totals = sorted([*events, *refused], key=lambda record: record.line), dry_run.totals
    if as_json:
        records = [record.as_json() for record in rows]
        found = {"ok": not totals.refused, "file": file.name, "records": records, "totals": totals.as_json()}
        shell.print_json(found | {"warned": totals.warned})
    else:
        _show(rows, totals)
    if totals.refused:
        raise typer.Exit(1)


def _show(rows: list[DryRunRecord], totals: DryRunTotals) -> None:
    if rows:
        shell.print_table(
            ["line", "event", "identity", "says", "what becomes of it"],
            [(row.line, row.event_type or "?", " ".join(row.identity), row.says, _outcome(row)) for row in rows],
        )
    good, bad = totals.events.total(), totals.refused.total()
    hidden = good + bad - len(rows)
    kinds = [f"{count} {kind}" for kind, count in sorted((totals.events + totals.refused).items())]
    more = f"; {hidden} more are not shown (--limit)" if hidden else ""
    listed = f" ({', '.join(kinds)})" if kinds else ""
    warned = f", {totals.warned} with warnings" if totals.warned else ""
    shell.print_line(
        f"{good} event{'' if good == 1 else 's'}, {bad} refused{warned}{listed}{more}. Nothing was published"
    )


def _outcome(row: DryRunRecord) -> str:
    if row.reason is not None:
        outcome = f"refused, {row.reason}: {row.error}"
    else:
        outcome = f"no_op: {row.no_op}" if row.no_op is not None else "published"
    return "; ".join((outcome, *(f"warning: {each}" for each in row.warnings)))

"""`streams connect`: connectors; any number of processes. With a command after it: what can be done beside running them."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from connectors.base.cursors import LostRaceError
from connectors.base.errors import RejectedError
from connectors.base.source import TimeRange
from connectors.ims.dry_run import read_file
from connectors.ims.settings import ImsSettings
from streams.cli import service, shell
from streams.cli.progress import Bar
from streams.config.load import Config
from streams.connect import backfill as backfilling
from streams.connect.dry_run import Totals, Tried, judge

app = typer.Typer(help="Run connectors, until SIGTERM; or one of the commands below.")


@app.callback(invoke_without_command=True)
def run(context: typer.Context, config: shell.ConfigOption = shell.CONFIG) -> None:
    """Run connectors, until SIGTERM; or one of the commands below."""
    if context.invoked_subcommand is None:
        service.serve(shell.read_config(config), {"connect": service.part("streams.connect.runner")})
    elif (source := context.get_parameter_source("config")) is not None and source.name == "COMMANDLINE":
        name = context.invoked_subcommand
        raise shell.CommandError(
            f"-c before {name} would not reach it", f"write it at the end: streams connect {name} ... -c FILE", 2
        )


@app.command("try")
def try_file(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A connector of the configuration that reads files")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Its own name says which mapping is meant")],
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show so many events, and so many refusals")] = 100,
    config: shell.ConfigOption = shell.CONFIG,
    as_json: shell.JsonOption = False,
) -> None:
    """Show what a file would become. Nothing is published or moved, and neither Kafka nor B1 is asked."""
    settings = shell.read_config(config)
    connector = settings.connectors.get(name)
    if not isinstance(connector, ImsSettings):
        known = ", ".join(sorted(each for each, what in settings.connectors.items() if isinstance(what, ImsSettings)))
        raise shell.CommandError(
            f"there is no connector {name} that reads files", f"write one of: {known or 'none'}", 2
        )
    totals = Totals()
    events: list[Tried] = []
    refused: list[Tried] = []
    try:
        steps = read_file(file, name, connector, datetime.now(UTC))
        for tried in judge(steps, settings.maps[connector.company], totals):
            shown = events if tried.reason is None else refused
            if len(shown) < limit:
                shown.append(tried)
    except RejectedError as error:
        what, _, remedy = str(error).partition("; ")
        raise shell.CommandError(what, remedy, 2) from error
    rows = sorted([*events, *refused], key=lambda tried: tried.number)
    if as_json:
        told = [tried.as_json() for tried in rows]
        shell.print_json({"ok": not totals.refused, "file": file.name, "records": told, "totals": totals.as_json()})
    else:
        _show(rows, totals)
    if totals.refused:
        raise typer.Exit(1)


def _show(rows: list[Tried], totals: Totals) -> None:
    if rows:
        shell.print_table(
            ["line", "event", "identity", "says", "what becomes of it"],
            [(t.number, t.event_type or "?", " ".join(t.identity), t.says, _fate(t)) for t in rows],
        )
    good, bad = totals.events.total(), totals.refused.total()
    hidden = good + bad - len(rows)
    kinds = [f"{count} {kind}" for kind, count in sorted((totals.events + totals.refused).items())]
    more = f"; {hidden} more are not shown (--limit)" if hidden else ""
    told = f" ({', '.join(kinds)})" if kinds else ""
    shell.say(f"{good} event{'' if good == 1 else 's'}, {bad} refused{told}{more}. Nothing was published")


def _fate(tried: Tried) -> str:
    if tried.reason is not None:
        return f"refused, {tried.reason}: {tried.error}"
    return f"no_op: {tried.no_op}" if tried.no_op is not None else "published"


@app.command()
def backfill(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A connector of the configuration")],
    since: Annotated[
        str, typer.Option("--from", metavar="DATE", help="From then on: a day or a time; UTC without zone")
    ],
    until: Annotated[str, typer.Option("--to", metavar="DATE", help="Until then, itself not included")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and count; publish nothing, move nothing")] = False,
    config: shell.ConfigOption = shell.CONFIG,
    as_json: shell.JsonOption = False,
) -> None:
    """Publish all that a vendor has of a span: orders and what became of them.

    Harmless: what the pipeline has is a repeat there. Killed, the same command goes on. It may run beside the live
    connector, which it does not touch. Stock levels are not back-filled: a level is of now, and the live connector
    compares it with the last one that it has seen.
    """
    settings = shell.read_config(config)
    if name not in settings.connectors:
        known = ", ".join(sorted(settings.connectors))
        raise shell.CommandError(f"there is no connector {name}", f"write one of: {known}", 2)
    span = _span(since, until)
    try:
        backfilling.check(settings, name)
    except backfilling.NotForThisKindError as error:
        what, _, remedy = str(error).partition("; ")
        raise shell.CommandError(f"{name}: {what}", remedy, 2) from error
    started = time.monotonic()
    try:
        with Bar(f"back-fill of {name}") as bar:
            before, tally = shell.wait_for(_backfill(settings, name, span, bar, dry_run=dry_run))
    except KeyboardInterrupt:
        shell.errors_console().print("stopped; the same command goes on from here")
        raise
    except LostRaceError as error:
        raise shell.CommandError(
            "another process reads this span now", "let it go on, or stop it; then again"
        ) from error
    told = {
        "connector": name,
        "from": span.since.isoformat(),
        "to": span.until.isoformat(),
        "dry_run": dry_run,
        **tally.as_json(),
        "in_earlier_runs": before.published,
        "seconds": round(time.monotonic() - started, 1),
    }
    if as_json:
        shell.print_json(told)
    else:
        _say(told, before)


async def _backfill(
    settings: Config, name: str, span: TimeRange, bar: Bar, *, dry_run: bool
) -> tuple[backfilling.Tally, backfilling.Tally]:
    first: list[tuple[int, float]] = []

    def tell(tally: backfilling.Tally, doing: str) -> None:
        now = time.monotonic()
        if not first:
            first.append((tally.records, now))
        records, since = first[0]
        rate = (tally.records - records) / max(now - since, 1e-3)
        at = f", at {tally.reached:%Y-%m-%d %H:%M}" if tally.reached is not None else ""
        bar.show(tally.part, f"{tally.records:,} records, {rate:,.0f}/s{at}{f'; {doing}' if doing else ''}")

    async with shell.open_log(settings) as log:
        codec = shell.codec_of(settings)
        return await backfilling.run(settings, name, span, log=log, codec=codec, tell=tell, dry_run=dry_run)


def _span(since: str, until: str) -> TimeRange:
    span = TimeRange(_moment("--from", since), _moment("--to", until))
    if span.since >= span.until:
        raise shell.CommandError("--from is not before --to", "name a span, as --from 2026-03-01 --to 2026-04-01", 2)
    if span.until > datetime.now(UTC):
        raise shell.CommandError("--to lies in the future", "end the span now or before: the rest comes live", 2)
    return span


def _moment(option: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise shell.CommandError(f"{option} {text} is no date", "write 2026-03-01 or 2026-03-01T09:00:00Z", 2) from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _say(told: dict[str, Any], before: backfilling.Tally) -> None:
    if before.finished:
        shell.say("this span was finished before; another --to, a second later, reads it again")
    verb = "would be published" if told["dry_run"] else "published"
    rows = [(event_type, count, verb) for event_type, count in sorted(told["events"].items())]
    rows += [(reason, count, "dead letters") for reason, count in sorted(told["refused"].items())]
    rows += [("already past", told["already_past"], "told by the live connector, or letters that exist: left out")]
    rows += [("before start_at", told["before_start"], "of these events; they end as no_op")]
    shell.print_table(["what", "count", ""], [row for row in rows if row[1]])
    earlier = f", {told['in_earlier_runs']} of them in earlier runs" if told["in_earlier_runs"] else ""
    total = sum(told["events"].values())
    shell.say(
        f"{told['records']} records of {told['from']} to {told['to']}: {total} events {verb}{earlier}; "
        f"{told['seconds']} s. Stock levels are not back-filled: the live connector compares what is counted now"
    )

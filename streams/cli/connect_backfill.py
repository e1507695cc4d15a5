"""`streams connect backfill NAME --from DATE --to DATE`: publish what a vendor has of the past."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli import shell

if TYPE_CHECKING:
    from connectors.base.source import TimeRange
    from streams.cli.progress import Bar
    from streams.config.load import Config
    from streams.connect.backfill import Tally


def run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A connector of the configuration")],
    since: Annotated[
        str, typer.Option("--from", metavar="DATE", help="From then on: a day or a time; UTC without zone")
    ],
    until: Annotated[str, typer.Option("--to", metavar="DATE", help="Until then, itself not included")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and count; publish nothing, move nothing")] = False,
    config: shell.ConfigOption = shell.CONFIG,
    as_json: shell.JsonOption = False,
) -> None:
    """Publish all that a vendor has of a time range: orders and what became of them.

    Harmless: what the pipeline has is a repeat there. Killed, the same command goes on. It may run beside the live
    connector, which it does not touch. Stock levels are not backfilled: a level is of now, and the live connector
    compares it with the last one that it has seen.
    """
    from connectors.base.cursors import LostRaceError
    from streams.cli.progress import Bar
    from streams.connect import backfill

    settings = shell.read_config(config, f"connectors.{name}")
    if name not in settings.connectors:
        known = ", ".join(sorted(settings.connectors))
        raise shell.CommandError(f"there is no connector {name}", f"write one of: {known}", 2)
    time_range = _time_range(since, until)
    try:
        backfill.check(settings, name)
    except backfill.NotForThisKindError as error:
        what, _, remedy = str(error).partition("; ")
        raise shell.CommandError(f"{name}: {what}", remedy, 2) from error
    started = time.monotonic()
    try:
        with Bar(f"backfill of {name}") as bar:
            before, tally = shell.run_async(_backfill(settings, name, time_range, bar, dry_run=dry_run))
    except KeyboardInterrupt:
        shell.errors_console().print("stopped; the same command goes on from here")
        raise
    except LostRaceError as error:
        raise shell.CommandError(
            "another process reads this time range now", "let it go on, or stop it; then again"
        ) from error
    summary = {
        "connector": name,
        "from": time_range.since.isoformat(),
        "to": time_range.until.isoformat(),
        "dry_run": dry_run,
        **tally.as_json(),
        "in_earlier_runs": before.published,
        "seconds": round(time.monotonic() - started, 1),
    }
    if as_json:
        shell.print_json(summary)
    else:
        _show(summary, before)


async def _backfill(
    settings: Config, name: str, time_range: TimeRange, bar: Bar, *, dry_run: bool
) -> tuple[Tally, Tally]:
    from streams.connect import backfill

    first: list[tuple[int, float]] = []

    def show_progress(tally: Tally, doing: str) -> None:
        now = time.monotonic()
        if not first:
            first.append((tally.records, now))
        records, since = first[0]
        rate = (tally.records - records) / max(now - since, 1e-3)
        at = f", at {tally.reached:%Y-%m-%d %H:%M}" if tally.reached is not None else ""
        bar.show(tally.part, f"{tally.records:,} records, {rate:,.0f}/s{at}{f'; {doing}' if doing else ''}")

    async with shell.open_log(settings) as log:
        codec = shell.codec_of(settings)
        return await backfill.run(
            settings, name, time_range, log=log, codec=codec, progress=show_progress, dry_run=dry_run
        )


def _time_range(since: str, until: str) -> TimeRange:
    from connectors.base.source import TimeRange

    time_range = TimeRange(_moment("--from", since), _moment("--to", until))
    if time_range.since >= time_range.until:
        raise shell.CommandError(
            "--from is not before --to", "name a time range, as --from 2026-03-01 --to 2026-04-01", 2
        )
    if time_range.until > datetime.now(UTC):
        raise shell.CommandError("--to lies in the future", "end it now or before: the rest comes live", 2)
    return time_range


def _moment(option: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise shell.CommandError(f"{option} {text} is no date", "write 2026-03-01 or 2026-03-01T09:00:00Z", 2) from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _show(summary: dict[str, Any], before: Tally) -> None:
    if before.finished:
        shell.print_line("this time range was finished before; another --to, a second later, reads it again")
    verb = "would be published" if summary["dry_run"] else "published"
    rows = [(event_type, count, verb) for event_type, count in sorted(summary["events"].items())]
    rows += [(reason, count, "dead letters") for reason, count in sorted(summary["refused"].items())]
    rows += [
        (
            "already past",
            summary["already_past"],
            "published by the live connector, or dead letters that exist: left out",
        )
    ]
    rows += [("before start_at", summary["before_start"], "of these events; they end as no_op")]
    shell.print_table(["what", "count", ""], [row for row in rows if row[1]])
    earlier = f", {summary['in_earlier_runs']} of them in earlier runs" if summary["in_earlier_runs"] else ""
    total = sum(summary["events"].values())
    shell.print_line(
        f"{summary['records']} records of {summary['from']} to {summary['to']}: {total} events {verb}{earlier}; "
        f"{summary['seconds']} s. Stock levels are not backfilled: the live connector compares what is counted now"
    )

"""`streams connect retire NAME`: end a connector that was taken out of the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli import shell

if TYPE_CHECKING:
    from streams.config.load import Config


def run(
    name: Annotated[str, typer.Argument(help="The connector, as [connectors.NAME] called it")],
    why: Annotated[str, typer.Option(help="Why it is ended; kept in the audit, with your name")] = "",
    config: shell.ConfigOption = shell.CONFIG,
    by: shell.ByOption = None,
    as_json: shell.JsonOption = False,
) -> None:
    """End a connector that is no longer configured: where it stood and the counts it knew are deleted."""
    from connectors.base.cursors import LostRaceError
    from streams.connect.retire import UnpublishedError

    settings = shell.read_config(config)
    if name in settings.connectors:
        raise shell.CommandError(
            f"connectors.{name} is in the configuration",
            "take it out and restart connect and the workers, then retire it",
            2,
        )
    try:
        deleted = shell.run_async(_retire(settings, name, shell.person(by), why.strip() or None))
    except UnpublishedError as error:
        remedy = f"put [connectors.{name}] back, let it run once so that they go out, then retire it"
        raise shell.CommandError(str(error), remedy) from error
    except LostRaceError as error:
        remedy = "stop every process of the older configuration, then again"
        raise shell.CommandError(f"{name} is still running: {error}", remedy) from error
    if as_json:
        shell.print_json({"connector": name, "deleted": deleted})
    elif deleted:
        shell.print_line(f"{name} is ended: {deleted} records of where it stood are deleted")
    else:
        shell.print_line(f"nothing is known of a connector {name}")
    if not deleted:
        raise typer.Exit(1)


async def _retire(config: Config, name: str, by: str, why: str | None) -> int:
    from connectors.base.clock import SystemClock
    from streams.connect.retire import left_behind, retire

    codec, clock = shell.codec_of(config), SystemClock()
    async with shell.open_log(config) as log:
        places = (await left_behind(config, log)).get(name, set())
        if not places:
            return 0
        async with shell.trail_of(log, config, codec).command("connect retire", by=by, what=name, why=why) as running:
            await retire(config, log, codec, clock, places)
            running.result = f"{len(places)} records deleted"
            return len(places)

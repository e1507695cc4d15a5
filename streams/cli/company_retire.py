"""`streams company retire NAME`: end a company that was taken out of the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli import shell

if TYPE_CHECKING:
    from streams.config.load import Config


def run(
    name: Annotated[str, typer.Argument(help="The company, as [companies.NAME] called it")],
    why: Annotated[str, typer.Option(help="Why it is ended; kept in the audit, with your name")] = "",
    config: shell.ConfigOption = shell.CONFIG,
    by: shell.ByOption = None,
    as_json: shell.JsonOption = False,
) -> None:
    """End a company that is no longer configured: what is queued for its B1 is dead-lettered, its partition is free."""
    settings = shell.read_config(config)
    if name in settings.companies:
        raise shell.CommandError(
            f"companies.{name} is in the configuration", "take it out and restart the workers, then retire it", 2
        )
    queued = shell.run_async(_retire(settings, name, shell.person(by), why.strip() or None))
    if as_json:
        shell.print_json({"company": name, "queued": queued})
    elif queued is None:
        shell.print_line(f"nothing is known of a company {name}")
    elif queued:
        shell.print_line(f"{name} is ended; its {queued} queued postings become dead letters (foreign) within a minute")
    else:
        shell.print_line(f"{name} is ended; nothing was queued for it")
    if queued is None:
        raise typer.Exit(1)


async def _retire(config: Config, name: str, by: str, why: str | None) -> int | None:
    from streams.posting.queued import queued_for
    from streams.posting.retired import RETIRE

    codec = shell.codec_of(config)
    async with shell.open_log(config) as log:
        queued = await queued_for(log, config, codec, name)
        if queued is None:
            return None
        async with shell.trail_of(log, config, codec).command(RETIRE, by=by, what=name, why=why) as running:
            running.result = f"{queued} postings were queued"
        return queued

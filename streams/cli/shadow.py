"""`streams shadow report`: what connectors in shadow mode would say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli import shell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streams.config.load import Config
    from streams.query.shadow import ShadowChange

app = typer.Typer(help='Connectors whose out table has mode = "shadow".', no_args_is_help=True)


@app.callback()
def _shadow() -> None:
    """Keep `report` a command of its own: Typer makes an only command the whole."""


@app.command()
def report(
    config: shell.ConfigOption = shell.CONFIG,
    connector: Annotated[str | None, typer.Option(help="Only this connector's")] = None,
    as_json: shell.JsonOption = False,
) -> None:
    """Show what would be said, and from which figure to which; nothing is written anywhere."""
    changes = shell.run_async(_changes(shell.read_config(config), connector))
    if as_json:
        shell.print_json([change.as_json() for change in changes])
        return
    columns = ["connector", "what", "id", "order", "sku", "from", "to", "since"]
    shell.print_table(
        columns,
        [
            (
                change.connector,
                change.type,
                change.id,
                change.order_id,
                change.sku,
                change.before,
                change.after,
                change.since.isoformat(timespec="seconds"),
            )
            for change in changes
        ],
    )
    shell.print_line(f"{len(changes)} changes" if changes else "nothing would change")


async def _changes(config: Config, connector: str | None) -> Sequence[ShadowChange]:
    from streams.query.shadow import report

    async with shell.open_log(config) as log:
        return await report(log, config, shell.codec_of(config), connector)

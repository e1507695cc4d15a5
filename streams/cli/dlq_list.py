"""`streams dlq list`: what could not be posted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.cli import shell
from streams.cli.dlq_selection import choose, with_selection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from schemas.records import DeadLetterState
    from streams.config.load import Config
    from streams.dead_letters.selection import Selection


@with_selection
def run(selection: Selection, config: shell.ConfigOption = shell.CONFIG, as_json: shell.JsonOption = False) -> None:
    """List what could not be posted; without --state what somebody or something still has to fix."""
    from streams.query.dead_letters import as_json as letter_as_json

    settings = shell.read_config(config)
    chosen = choose(shell.run_async(_letters(settings)).values(), selection, settings)
    if as_json:
        shell.print_json([letter_as_json(letter) for letter in chosen])
        return
    columns = ["id", "state", "reason", "event", "event id", "order", "sku", "owner", "since", "what was wrong"]
    shell.print_table(
        columns,
        [
            (
                x.id,
                x.state,
                x.reason,
                x.event_type,
                x.event_id or f"{len(x.members)} events",
                x.order_id,
                x.sku,
                x.owner,
                x.first_failed_at.isoformat(timespec="seconds"),
                x.error,
            )
            for x in chosen
        ],
    )
    shell.print_line(f"{len(chosen)} dead letters" if chosen else "nothing is dead, parked or held")


async def _letters(config: Config) -> Mapping[str, DeadLetterState]:
    from streams.query.effects import all_letters

    async with shell.open_log(config) as log:
        return await all_letters(log, config, shell.codec_of(config))

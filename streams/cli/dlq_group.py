"""`streams dlq group`: what there is to act on, and what is at stake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.cli import shell
from streams.cli.dlq_selection import Ids, choose, with_selection

if TYPE_CHECKING:
    from streams.config.load import Config
    from streams.dead_letters.selection import Selection
    from streams.query.letter_groups import LetterGroup

_SHOWN = 3


@with_selection
def run(
    selection: Selection,
    ids: Ids = None,
    config: shell.ConfigOption = shell.CONFIG,
    as_json: shell.JsonOption = False,
) -> None:
    """Group what could not be posted by reason and cause: letters, units, money, and what waits behind them."""
    groups = shell.run_async(_groups(shell.read_config(config), selection))
    if as_json:
        shell.print_json([row.as_json() for row in groups])
        return
    columns = [
        "reason",
        "state",
        "owner",
        "letters",
        "events",
        "orders",
        "units",
        "amount",
        "blocks",
        "oldest",
        "cause",
    ]
    rows = []
    for row in groups:
        shown = row.as_json()
        amount = ", ".join(f"{value} {currency}" for currency, value in shown["amounts"].items())
        about = f" ({', '.join(shown['subjects'][:_SHOWN])})" if shown["subjects"] else ""
        counts = (row.letters, row.events, shown["orders"], shown["units"], amount, len(row.blocks) or "")
        oldest = row.oldest.isoformat(timespec="seconds")
        rows.append((row.reason, row.state, row.owner, *counts, oldest, f"{row.cause}{about}"))
    shell.print_table(columns, rows)
    letters, blocked = sum(row.letters for row in groups), sum(len(row.blocks) for row in groups)
    behind = f", {blocked} wait behind them" if blocked else ""
    shell.print_line(
        f"{letters} dead letters in {len(groups)} groups{behind}" if groups else "nothing is dead, parked or held"
    )


async def _groups(config: Config, selection: Selection) -> list[LetterGroup]:
    from schemas.codec import CodecError
    from schemas.events import EVENT_TYPES
    from schemas.records import StockBatch
    from streams.query.effects import all_letters
    from streams.query.letter_bytes import bytes_of
    from streams.query.letter_groups import Stake, group, stake_of

    codec = shell.codec_of(config)
    async with shell.open_log(config) as log:
        every = await all_letters(log, config, codec)
        chosen = choose(every.values(), selection, config)
        stakes: dict[str, Stake] = {}
        async for letter, record in bytes_of(log, chosen):
            try:
                event = codec.decode(record.value or b"", (*EVENT_TYPES.values(), StockBatch))
            except CodecError:
                continue  # it is counted; what it moves cannot be read
            stakes[letter.id] = stake_of(event)
    return group(chosen, every, stakes)

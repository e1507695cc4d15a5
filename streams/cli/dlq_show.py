"""`streams dlq show ID`: one dead letter, without what it says about people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli import shell

if TYPE_CHECKING:
    from connectors.base.log import Record
    from schemas.records import DeadLetterState
    from streams.config.load import Config


def run(
    ident: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the beginning of it")],
    config: shell.ConfigOption = shell.CONFIG,
    as_json: shell.JsonOption = False,
) -> None:
    """Show one dead letter: where it stands, its headers, and its payload with everything about people masked."""
    from schemas.letters import REASONS
    from streams.query.dead_letters import as_json as letter_as_json
    from streams.query.dead_letters import view_of

    settings = shell.read_config(config)
    letter, record = shell.run_async(_letter(settings, ident))
    shown = {
        **letter_as_json(letter),
        "source": letter.source,
        "impact": REASONS[letter.reason].impact if letter.reason in REASONS else None,
        "remedy": REASONS[letter.reason].remedy if letter.reason in REASONS else None,
        "first_failed_at": letter.first_failed_at.isoformat(),
        "k": letter.k,
        "by": letter.by,
        "partition": letter.partition,
        "offset": letter.offset,
        "letter": {"topic": letter.letter_topic, "partition": letter.letter_partition, "offset": letter.letter_offset},
        "headers": None if record is None else {name: value.decode(errors="replace") for name, value in record.headers},
        "payload": None if record is None else view_of(record, letter, shell.codec_of(settings)),
    }
    if as_json:
        shell.print_json(shown)
        return
    shell.print_table(["", ""], [(key, value) for key, value in shown.items() if key not in ("headers", "payload")])
    shell.print_table(["header", "value"], list((shown["headers"] or {}).items()))
    shell.print_line("payload (people masked):" if record is not None else "its bytes are no longer in the log")
    for line in json.dumps(shown["payload"], indent=2, ensure_ascii=True).splitlines() if record is not None else []:
        shell.print_line(line)


async def _letter(config: Config, ident: str) -> tuple[DeadLetterState, Record | None]:
    from streams.query.dead_letters import standing
    from streams.query.reading import record_at

    async with shell.open_log(config) as log:
        letters = await standing(log, config, shell.codec_of(config))
        found = [letter for name, letter in letters.items() if name.startswith(ident)]
        if len(found) != 1:
            what = "there is no such dead letter" if not found else f"{len(found)} dead letters begin with that"
            raise shell.CommandError(what, "streams dlq list --state all names every id")
        letter = found[0]
        return letter, await record_at(log, letter.letter_topic, letter.letter_partition, letter.letter_offset)

"""`streams dlq show ID`: one dead letter: its event, its attempts, who acts and how, what it blocks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli import shell

if TYPE_CHECKING:
    from collections.abc import Mapping

    from connectors.base.log import Record
    from schemas.records import DeadLetterState
    from streams.config.load import Config

_APART = ("headers", "payload", "tries", "blocks", "runbook")


def run(
    ident: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the beginning of it")],
    config: shell.ConfigOption = shell.CONFIG,
    personal: Annotated[
        bool, typer.Option("--personal", help="Show what it says about people; your name goes into the audit")
    ] = False,
    by: shell.ByOption = None,
    as_json: shell.JsonOption = False,
) -> None:
    """Show one dead letter: where it stands, every attempt, who acts and how, what it blocks, and its event.

    What the event says about people is masked.
    """
    settings = shell.read_config(config)
    shown = shell.run_async(_shown(settings, ident, shell.person(by) if personal else None))
    if as_json:
        shell.print_json(shown)
        return
    shell.print_table(["", ""], [(key, value) for key, value in shown.items() if key not in _APART])
    if shown["tries"]:
        tries = [(one["at"], one["reason"], one["error"]) for one in shown["tries"]]
        shell.print_table(["attempt", "reason", "words"], tries)
    if shown["blocks"]:
        rows = [(one["id"], one["event_type"], one["event_id"], one["since"]) for one in shown["blocks"]]
        shell.print_table(["blocks", "event", "event id", "since"], rows)
    shell.print_table(["header", "value"], list((shown["headers"] or {}).items()))
    shell.print_line(f"{shown['owner']} acts: {shown['runbook']}")
    if shown["headers"] is None:
        shell.print_line("its bytes are no longer in the log")
        return
    shell.print_line("payload:" if personal else "payload (people masked):")
    for line in json.dumps(shown["payload"], indent=2, ensure_ascii=not personal).splitlines():
        shell.print_line(line)


async def _shown(config: Config, ident: str, person: str | None) -> dict[str, Any]:
    from streams.query.effects import all_letters
    from streams.query.reading import record_at

    codec = shell.codec_of(config)
    async with shell.open_log(config) as log:
        letters = await all_letters(log, config, codec)
        found = [letter for name, letter in letters.items() if name.startswith(ident)]
        if len(found) != 1:
            what = "there is no such dead letter" if not found else f"{len(found)} dead letters begin with that"
            raise shell.CommandError(what, "streams dlq list --state all names every id")
        (letter,) = found
        record = await record_at(log, letter.letter_topic, letter.letter_partition, letter.letter_offset)
        if person is None:
            return _view(config, letter, letters, record, personal=False)
        trail = shell.trail_of(log, config, codec)
        async with trail.command("dlq show --personal", by=person, what=letter.id, company=letter.company) as running:
            running.result = "shown"
            return _view(config, letter, letters, record, personal=True)


def _view(
    config: Config,
    letter: DeadLetterState,
    letters: Mapping[str, DeadLetterState],
    record: Record | None,
    *,
    personal: bool,
) -> dict[str, Any]:
    from schemas.letters import REASONS
    from streams.dead_letters.runbooks import RUNBOOKS
    from streams.query.dead_letters import as_json as letter_as_json
    from streams.query.dead_letters import view_of
    from streams.query.letter_groups import root_of

    reason = REASONS.get(letter.reason)
    behind = [one for one in letters.values() if one.state == "held" and one.id != letter.id]
    blocked = [one for one in behind if root_of(one, letters) == letter.id or one.blocked_by == letter.id]
    return {
        **letter_as_json(letter),
        "source": letter.source,
        "impact": reason.impact if reason else None,
        "remedy": reason.remedy if reason else None,
        "cause": letter.cause,
        "first_failed_at": letter.first_failed_at.isoformat(),
        "waited_s": letter.waited_s,
        "k": letter.k,
        "by": letter.by,
        "why": letter.why,
        "command": letter.command,
        "replays": letter.replays,
        "partition": letter.partition,
        "offset": letter.offset,
        "letter": {"topic": letter.letter_topic, "partition": letter.letter_partition, "offset": letter.letter_offset},
        "tries": [{"at": one.at.isoformat(), "reason": one.reason, "error": one.error} for one in letter.tries],
        "blocks": [
            {
                "id": one.id,
                "event_type": one.event_type,
                "event_id": one.event_id,
                "since": one.first_failed_at.isoformat(),
            }
            for one in sorted(blocked, key=lambda one: (one.sequence, one.id))
        ],
        "runbook": RUNBOOKS.get(letter.reason),
        "headers": None if record is None else {name: value.decode(errors="replace") for name, value in record.headers},
        "payload": None if record is None else view_of(record, shell.codec_of(config), personal=personal),
    }

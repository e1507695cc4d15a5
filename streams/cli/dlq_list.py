"""`streams dlq list`: what could not be posted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli import shell

if TYPE_CHECKING:
    from collections.abc import Iterable

    from schemas.records import DeadLetterState
    from streams.config.load import Config

STATES = ("dead", "parked", "held", "posted", "no_op", "replayed", "discarded")


def run(
    config: shell.ConfigOption = shell.CONFIG,
    as_json: shell.JsonOption = False,
    reason: Annotated[list[str] | None, typer.Option(help="Only this reason; may be repeated")] = None,
    topic: Annotated[str | None, typer.Option(help="Only this topic, as order-placed")] = None,
    owner: Annotated[str | None, typer.Option(help="Only what this owner fixes")] = None,
    order: Annotated[str | None, typer.Option(help="Only this order id")] = None,
    item: Annotated[str | None, typer.Option(help="Only this sku, or what waits for this item")] = None,
    since: Annotated[datetime | None, typer.Option(help="First failed at or after (UTC)")] = None,
    until: Annotated[datetime | None, typer.Option(help="First failed before (UTC)")] = None,
    state: Annotated[
        list[str] | None, typer.Option(help="dead, parked, held, ... or all; default: what is open")
    ] = None,
) -> None:
    """List what could not be posted; without --state what somebody or something still has to fix."""
    from schemas.letters import REASONS
    from streams.query.dead_letters import as_json as letter_as_json
    from streams.query.dead_letters import topics_of

    _refuse_unknown("--reason", reason, REASONS)
    _refuse_unknown("--state", state, (*STATES, "all"))
    settings = shell.read_config(config)
    chosen = [
        letter
        for letter in shell.run_async(_letters(settings))
        if _in_state(letter, state)
        and (not reason or letter.reason in reason)
        and (topic is None or settings.topic(topic.removeprefix(settings.kafka.topic_prefix)) in topics_of(letter))
        and (owner is None or letter.owner == owner)
        and (order is None or letter.order_id == order)
        and (item is None or letter.sku == item or letter.waits_for == f"item:{item}")
        and (since is None or letter.first_failed_at >= _aware(since))
        and (until is None or letter.first_failed_at < _aware(until))
    ]
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


async def _letters(config: Config) -> list[DeadLetterState]:
    from streams.query.dead_letters import standing

    async with shell.open_log(config) as log:
        found = await standing(log, config, shell.codec_of(config))
    return sorted(found.values(), key=lambda letter: (letter.first_failed_at, letter.id))


def _in_state(letter: DeadLetterState, states: list[str] | None) -> bool:
    from streams.query.dead_letters import is_open

    if not states:
        return is_open(letter)
    return "all" in states or letter.state in states


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _refuse_unknown(option: str, given: Iterable[str] | None, known: Iterable[str]) -> None:
    for value in given or ():
        if value not in known:
            raise shell.CommandError(f"{option} {value} is not known", f"write one of: {', '.join(known)}", code=2)

"""`streams dlq discard | release | retry-now`: what a person decides about dead letters; posters carry it out."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli import shell
from streams.cli.dlq_selection import Ids, choose, with_selection

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from schemas.records import DeadLetterState
    from streams.config.load import Config
    from streams.dead_letters.commands import Action
    from streams.dead_letters.desk import Person
    from streams.dead_letters.run import Pace, RunTally
    from streams.dead_letters.selection import Selection
    from streams.dead_letters.tail import StateTail
    from streams.kafka.log import Log

PatienceOption = Annotated[float, typer.Option("--timeout", help="Seconds to wait without any answer")]
_SHOWN = 20


@with_selection
def discard(
    selection: Selection,
    ids: Ids = None,
    config: shell.ConfigOption = shell.CONFIG,
    why: Annotated[str | None, typer.Option("--why", help="Why; kept with your name in the audit")] = None,
    by: shell.ByOption = None,
    yes: shell.YesOption = False,
    timeout_s: PatienceOption = 60.0,
    as_json: shell.JsonOption = False,
) -> None:
    """Close dead letters for good: their keys are claimed as discarded, so that nothing can post them any more."""
    if why is None or not why.strip():
        raise shell.CommandError("--why is missing", "say why these events are never to be posted", code=2)
    if selection.is_empty:
        raise shell.CommandError("no dead letter is named", "name ids, or a selection such as --reason", code=2)
    _run("discard", selection, config, by, why.strip(), yes=yes, timeout_s=timeout_s, as_json=as_json)


@with_selection
def release(
    selection: Selection,
    ids: Ids = None,
    config: shell.ConfigOption = shell.CONFIG,
    by: shell.ByOption = None,
    timeout_s: PatienceOption = 60.0,
    as_json: shell.JsonOption = False,
) -> None:
    """Let go what is parked or held: it is tried at once, and waits again where it still has to."""
    _run("release", selection, config, by, None, yes=True, timeout_s=timeout_s, as_json=as_json)


@with_selection
def retry_now(
    selection: Selection,
    ids: Ids = None,
    config: shell.ConfigOption = shell.CONFIG,
    by: shell.ByOption = None,
    timeout_s: PatienceOption = 60.0,
    as_json: shell.JsonOption = False,
) -> None:
    """Try what waits at once, and not when its time comes."""
    _run("retry-now", selection, config, by, None, yes=True, timeout_s=timeout_s, as_json=as_json)


def _run(
    name: str,
    selection: Selection,
    config: Path,
    by: str | None,
    why: str | None,
    *,
    yes: bool,
    timeout_s: float,
    as_json: bool,
) -> None:
    settings = shell.read_config(config)
    tally = shell.run_async(_command(settings, name, selection, shell.person(by), why, yes=yes, timeout_s=timeout_s))
    if tally is None:
        raise typer.Exit(1)
    counts = _counts(name, tally)
    if as_json:
        shell.print_json(counts)
    else:
        shell.print_line(", ".join(f"{count} {result.replace('_', ' ')}" for result, count in counts.items()))
        explain(tally, timeout_s)
    if counts["failed"] or counts["waiting"]:
        raise typer.Exit(1)


def _counts(name: str, tally: RunTally) -> dict[str, int]:
    """What a command has come to; what B1 had already cannot be discarded, and is taken over instead."""
    ends = {"failed": tally.count("failed"), "waiting": tally.count("waiting")}
    if name == "discard":
        there = tally.count("already_there", "posted")
        return {"discarded": tally.count("discarded"), "already_there": there, **ends}
    return {"posted": tally.count("posted"), "already_there": tally.count("already_there", "discarded"), **ends}


async def _command(
    config: Config, name: str, selection: Selection, by: str, why: str | None, *, yes: bool, timeout_s: float
) -> RunTally | None:
    from streams.dead_letters.commands import Action
    from streams.dead_letters.desk import Person
    from streams.dead_letters.plan import hash_of
    from streams.dead_letters.run import Pace

    action = Action.DISCARD if name == "discard" else Action.RETRY
    wanted = {"parked", "held"} if action is Action.RETRY else {"dead", "parked", "held"}
    codec = shell.codec_of(config)
    async with shell.open_log(config) as log:
        tail = tail_of(log, config)
        letters = [one for one in choose((await tail.read()).values(), selection, config) if one.state in wanted]
        if not letters:
            shell.errors_console().print("nothing is selected that is open", markup=False)
            return None
        if not yes and not may(f"{name} {len(letters)} dead letters", letters):
            return None
        trail = shell.trail_of(log, config, codec)
        what, digest = json.dumps(selection.as_json()), hash_of([letter.id for letter in letters])
        companies = {letter.company for letter in letters}
        async with trail.command(
            f"dlq {name}",
            by=by,
            what=what,
            company=companies.pop() if len(companies) == 1 else "",
            selection_hash=digest,
            why=why,
        ) as running:
            person = Person(command=running.command, by=by, why=why)
            tally = await ask(log, config, letters, action, person, Pace(patience_s=timeout_s))
            await look_why(log, config, tally)
            running.result = json.dumps(_counts(name, tally))
        return tally


async def ask(
    log: Log, config: Config, letters: Sequence[DeadLetterState], action: Action, person: Person, pace: Pace
) -> RunTally:
    """Ask it of these dead letters, with a line of progress where a person looks on."""
    from connectors.base.clock import SystemClock
    from streams.dead_letters.desk import CommandDesk
    from streams.dead_letters.run import LetterRun

    clock, tail = SystemClock(), tail_of(log, config)
    await tail.read()
    desk = CommandDesk(log, config, shell.codec_of(config), clock, tail, action, person)

    def show(tally: RunTally) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{len(tally.results)} of {len(letters)}, {tally.count('failed')} failed ")
            sys.stderr.flush()

    return await LetterRun(desk, clock, pace, show).run(letters)


def tail_of(log: Log, config: Config) -> StateTail:
    """All states, followed."""
    from streams.dead_letters.states import STATES
    from streams.dead_letters.tail import StateTail
    from streams.query.reading import partitions_of

    return StateTail(log, shell.codec_of(config), config.topic(STATES), partitions_of(config, STATES))


def may(what: str, letters: Sequence[DeadLetterState]) -> bool:
    """Show what is about to happen and ask; without a terminal the answer is no."""
    rows = [(x.id, x.state, x.reason, x.event_type, x.event_id, x.order_id, x.sku) for x in letters[:_SHOWN]]
    shell.print_table(["id", "state", "reason", "event", "event id", "order", "sku"], rows)
    if len(letters) > _SHOWN:
        shell.print_line(f"and {len(letters) - _SHOWN} more")
    if not sys.stdin.isatty():
        shell.print_line(f"nothing is changed; with --yes: {what}")
        return False
    return typer.confirm(f"{what}?")


async def look_why(log: Log, config: Config, tally: RunTally) -> None:
    """Find out what is known of the companies whose poster has not answered."""
    if not tally.unanswered:
        return
    from connectors.base.clock import SystemClock
    from streams.query import components

    for held in await components.held(log, config, shell.codec_of(config), SystemClock().now()):
        if held.kind == "company" and held.name in tally.unanswered:
            tally.unanswered[held.name] = str(held)


def explain(tally: RunTally, timeout_s: float) -> None:
    """Why not all of them are done."""
    rows = [(id_, tally.results[id_], why) for id_, why in list(tally.why.items())[:_SHOWN]]
    if rows:
        shell.print_table(["id", "", "why"], rows)
    if tally.stopped:
        shell.print_line(f"stopped: {tally.stopped}")
    for company, why in sorted(tally.unanswered.items()):
        known = why or "no worker runs it, its B1 is away, or the company is held (streams status says which)"
        shell.print_line(
            f"the poster of {company} has not answered for {timeout_s:g} s: {known}. What was asked lies in its queue "
            "and is carried out when it is back"
        )

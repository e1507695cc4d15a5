"""`streams dlq plan | replay`: what a replay of dead letters would do, and the replay."""

from __future__ import annotations

import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli import shell
from streams.cli.dlq_commands import PatienceOption, explain, look_why, may, tail_of
from streams.cli.dlq_selection import Ids, choose, with_selection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from schemas.events import FactEvent
    from schemas.records import DeadLetterState, StockBatch
    from streams.config.load import Config
    from streams.dead_letters.plan import PlannedLetter, ReplayPlan
    from streams.dead_letters.replay import Replay
    from streams.dead_letters.run import RunTally
    from streams.dead_letters.selection import Selection
    from streams.kafka.log import Log

_SHOWN = 20
_RESULTS = ("posted", "already_there", "failed", "waiting")


@with_selection
def plan(
    selection: Selection,
    ids: Ids = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to write the plan")] = Path("plan.json"),
    config: shell.ConfigOption = shell.CONFIG,
    by: shell.ByOption = None,
    as_json: shell.JsonOption = False,
) -> None:
    """Freeze a selection of dead letters and ask B1 what a replay of each would do; nothing is changed."""
    settings = shell.read_config(config, "companies")
    made = shell.run_async(_plan(settings, selection, shell.person(by)))
    if made is None:
        shell.errors_console().print("nothing is selected that is open; no plan is written", markup=False)
        raise typer.Exit(1)
    output.write_text(made.text(), encoding="utf-8")
    if as_json:
        shell.print_json(json.loads(made.text()))
        return
    shell.print_table(["id", "would", "why"], [(x.id, x.would.replace("_", " "), x.why) for x in made.letters[:_SHOWN]])
    if len(made.letters) > _SHOWN:
        shell.print_line(f"and {len(made.letters) - _SHOWN} more")
    counts = {would: sum(one.would == would for one in made.letters) for would in ("post", "already_there", "fail")}
    shell.print_line(_text(counts))
    shell.print_line(f"{output}: streams dlq replay {output}")


def replay(
    file: Annotated[Path, typer.Argument(metavar="PLAN.json", help="What streams dlq plan has written")],
    config: shell.ConfigOption = shell.CONFIG,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be replayed")] = False,
    rate: Annotated[float | None, typer.Option(min=0.01, help="At most so many a second")] = None,
    stop_at: Annotated[float, typer.Option(min=0.0, max=1.0, help="Stop when this share of them fails")] = 0.5,
    force: Annotated[bool, typer.Option("--force", help="Those too that failed the same way again and again")] = False,
    by: shell.ByOption = None,
    yes: shell.YesOption = False,
    timeout_s: PatienceOption = 180.0,
    as_json: shell.JsonOption = False,
) -> None:
    """Have the dead letters of a plan posted again: first one in a hundred, then one in ten, then all.

    Run it again where it was stopped or killed: what has ended since is already there.
    """
    from streams.dead_letters.plan import PlanError, read_plan

    settings = shell.read_config(config)
    try:
        made = read_plan(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise shell.CommandError(f"{file} cannot be read", "name the file that streams dlq plan wrote", 2) from error
    except PlanError as error:
        raise shell.CommandError(f"{file}: {error}", "make a new one with streams dlq plan", code=2) from error
    tally = shell.run_async(
        _replay(
            settings,
            made,
            shell.person(by),
            dry_run=dry_run,
            rate=rate,
            stop_at=stop_at,
            force=force,
            yes=yes,
            timeout_s=timeout_s,
            as_json=as_json,
        )
    )
    if tally is None:
        raise typer.Exit(0 if dry_run else 1)
    counts = _counts(tally)
    if as_json:
        shell.print_json(counts)
    else:
        shell.print_line(_text(counts))
        explain(tally, timeout_s)
    if counts["failed"] or counts["waiting"]:
        raise typer.Exit(1)


def _text(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in counts.items())


def _counts(tally: RunTally) -> dict[str, int]:
    counts = {result: tally.count(result) for result in _RESULTS}  # type: ignore[arg-type]
    return {"replayed": sum(counts.values()), **counts}


async def _plan(config: Config, selection: Selection, by: str) -> ReplayPlan | None:
    from connectors.base.clock import SystemClock
    from streams.dead_letters.plan import ReplayPlan

    async with shell.open_log(config) as log:
        standing = await tail_of(log, config).read()
        letters = [x for x in choose(standing.values(), selection, config) if x.state in ("dead", "parked", "held")]
        if not letters:
            return None
        letters.sort(key=lambda letter: (letter.first_failed_at, letter.sequence, letter.id))
        planned = await _judge(log, config, letters, standing)
    return ReplayPlan(SystemClock().now(), by, selection.as_json(), tuple(planned[letter.id] for letter in letters))


async def _judge(
    log: Log, config: Config, letters: Sequence[DeadLetterState], standing: Mapping[str, DeadLetterState]
) -> dict[str, PlannedLetter]:
    """What a replay of each would do, asked of the B1 of its company."""
    from connectors.base.clock import SystemClock
    from streams.dead_letters.payload import PayloadError, PayloadReader
    from streams.dead_letters.plan import PlannedLetter
    from streams.query.reading import records_at

    codec, clock = shell.codec_of(config), SystemClock()
    payloads = PayloadReader(codec, {name: connector.company for name, connector in config.connectors.items()})
    places = {one.id: (one.letter_topic, one.letter_partition, one.letter_offset) for one in letters}
    records = await records_at(log, places.values())
    planned: dict[str, PlannedLetter] = {}
    by_company: dict[str, list[tuple[DeadLetterState, FactEvent | StockBatch]]] = {}
    for letter in sorted(letters, key=lambda one: (one.sequence, one.first_failed_at)):
        try:
            event = payloads.event_of(letter, records.get(places[letter.id]), clock.now())
        except PayloadError as error:
            planned[letter.id] = PlannedLetter(letter.id, "fail", str(error))
            continue
        if event.company not in config.companies:
            why = f"company {event.company!r} is not in the configuration; add it"
            planned[letter.id] = PlannedLetter(letter.id, "fail", why)
        elif letter.reason == "foreign" and letter.event_type == "stock_batch":
            why = "it is a batch of another company; give that company its partition back, or discard it"
            planned[letter.id] = PlannedLetter(letter.id, "fail", why)
        else:
            by_company.setdefault(event.company, []).append((letter, event))
    for company, theirs in by_company.items():
        planned |= await _ask_b1(log, config, company, theirs, standing)
    return planned


async def _ask_b1(
    log: Log,
    config: Config,
    company: str,
    letters: Sequence[tuple[DeadLetterState, FactEvent | StockBatch]],
    standing: Mapping[str, DeadLetterState],
) -> dict[str, PlannedLetter]:
    from random import Random

    from connectors.base.clock import SystemClock
    from streams.ports import Ports
    from streams.posting.dry_run import ReplayDryRun
    from streams.telemetry.metrics import Metrics
    from streams.windows.rules import StockRules

    async with AsyncExitStack() as stack:
        b1 = await stack.enter_async_context(shell.open_service_layer(config.maps[company].settings))
        ports = Ports(log, shell.codec_of(config), SystemClock(), Random(), Metrics(config), lambda _: b1)  # noqa: S311
        dry_run = ReplayDryRun(config.maps[company], b1, ports, StockRules(config.maps), standing)
        return await dry_run.judge(letters)


async def _replay(
    config: Config,
    made: ReplayPlan,
    by: str,
    *,
    dry_run: bool,
    rate: float | None,
    stop_at: float,
    force: bool,
    yes: bool,
    timeout_s: float,
    as_json: bool,
) -> RunTally | None:
    from streams.dead_letters import replay as replays

    async with shell.open_log(config) as log:
        tail = tail_of(log, config)
        replay = replays.Replay(made, await tail.read(), force=force)
        if dry_run:
            _show_dry_run(replay, as_json=as_json)
            return None
        if replay.letters and not yes and not may(f"replay {len(replay.letters)} dead letters", replay.letters):
            return None
        from connectors.base.clock import SystemClock
        from streams.dead_letters.commands import Action
        from streams.dead_letters.desk import CommandDesk, Person
        from streams.dead_letters.run import Pace

        codec, clock = shell.codec_of(config), SystemClock()
        companies = {letter.company for letter in replay.letters}
        async with shell.trail_of(log, config, codec).command(
            "dlq replay",
            by=by,
            what=json.dumps({"selection": dict(made.selection), "plan": made.hash, "letters": len(made.letters)}),
            company=companies.pop() if len(companies) == 1 else "",
            selection_hash=made.hash,
        ) as running:
            person = Person(command=running.command, by=by)
            desk = CommandDesk(log, config, codec, clock, tail, Action.REPLAY, person)
            pace = Pace(rate=rate, ramp=(0.01, 0.1, 1.0), stop_at=stop_at, patience_s=timeout_s)
            tally = await replay.run(desk, clock, pace, _progress(len(replay.letters)))
            await look_why(log, config, tally)
            running.result = json.dumps({**_counts(tally), **({"stopped": tally.stopped} if tally.stopped else {})})
        return tally


def _show_dry_run(replay: Replay, *, as_json: bool) -> None:
    """What a replay would come to now."""
    counts = replay.expected()
    if as_json:
        shell.print_json({**counts, "dry_run": True})
        return
    rows = [(x.id, x.state, x.reason, x.event_type, x.event_id, x.order_id) for x in replay.letters[:_SHOWN]]
    shell.print_table(["id", "state", "reason", "event", "event id", "order"], rows)
    shell.print_line("would come to: " + _text(counts))
    if replay.discarded:
        shell.print_line(f"{len(replay.discarded)} were discarded since and are left out")
    for id_, why in list(replay.in_circles.items())[:_SHOWN]:
        shell.print_line(f"{id_}: {why}")


def _progress(of: int) -> Callable[[RunTally], None]:
    def show(tally: RunTally) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{len(tally.results)} of {of}, {tally.count('failed')} failed ")
            sys.stderr.flush()

    return show

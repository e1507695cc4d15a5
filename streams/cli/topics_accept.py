"""`streams topics accept TOPIC/PARTITION`: go on where a log has lost records, and say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli import shell

if TYPE_CHECKING:
    from streams.chain.loss import Disagreement
    from streams.config.load import Config


def run(
    partition: Annotated[str, typer.Argument(metavar="TOPIC/PARTITION", help="As the log names it: stock-adjusted/3")],
    why: Annotated[str, typer.Option(help="What has happened; kept in the chain, with your name")],
    config: shell.ConfigOption = shell.CONFIG,
    by: shell.ByOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it nothing is changed")] = False,
    as_json: shell.JsonOption = False,
) -> None:
    """Let a partition be read again whose log and chain disagree: what lies between is lost, and you say so."""
    from streams.chain import loss
    from streams.chain.rule import ChainRootError

    settings = shell.read_config(config)
    topic, _, number = partition.rpartition("/")
    if topic.removeprefix(settings.kafka.topic_prefix) != loss.INPUT or not _is_partition(settings, number):
        last = settings.kafka.partitions - 1
        raise shell.CommandError(f"{partition!r} is no partition of {loss.INPUT}", f"name one from 0 to {last}", code=2)
    if not why.strip():
        raise shell.CommandError("--why is empty", "say what has happened, for whoever asks later", code=2)
    person = shell.person(by)
    try:
        found = shell.run_async(_accept(settings, int(number), person, why.strip(), do=yes))
    except ChainRootError as error:
        raise shell.CommandError(
            str(error), "restore the chain first: what it had sealed is not known any more"
        ) from error
    except loss.OvertakenError as error:
        raise shell.CommandError(str(error), "run the command again") from error
    accepted = yes and found is not None
    if as_json:
        disagreement = (
            None
            if found is None
            else {
                "topic": loss.INPUT,
                "partition": found.partition,
                "log_start": found.log_start,
                "log_end": found.log_end,
                "sealed": found.sealed,
                "lost": found.lost,
            }
        )
        shell.print_json({"accepted": accepted, "by": person, "why": why.strip(), "disagreement": disagreement})
    elif found is None:
        shell.print_line(f"{loss.INPUT}/{number}: log and chain agree; there is nothing to accept")
    else:
        shell.print_line(str(found))
        if accepted:
            shell.print_line(f"accepted by {person}: {why.strip()}; its worker goes on within a minute")
        else:
            shell.print_line(f"nothing is changed; with --yes this is accepted by {person}, and cannot be taken back")
    if not accepted:
        raise typer.Exit(1)


def _is_partition(config: Config, number: str) -> bool:
    return number.isascii() and number.isdigit() and int(number) < config.kafka.partitions


async def _accept(config: Config, partition: int, by: str, why: str, *, do: bool) -> Disagreement | None:
    from connectors.base.clock import SystemClock
    from streams.chain import loss

    codec, clock = shell.codec_of(config), SystemClock()
    async with shell.open_log(config) as log:
        found = await loss.find(log, config, codec, clock, partition)
        if not do or found is None:
            return found
        place = f"{loss.INPUT}/{partition}"
        async with shell.trail_of(log, config, codec).command("topics accept", by=by, what=place, why=why) as running:
            accepted = await loss.accept(log, config, codec, clock, partition, by=by, why=why)
            running.result = "there was nothing to accept" if accepted is None else str(accepted)
            return accepted

"""`streams topics accept TOPIC/PARTITION`: go on where a log has lost records, and say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli import shell

if TYPE_CHECKING:
    from streams.chain.acceptance import Found
    from streams.config.load import Config


def run(
    partition: Annotated[str, typer.Argument(metavar="TOPIC/PARTITION", help="As the log names it: order-placed/3")],
    why: Annotated[str, typer.Option(help="What has happened; kept, with your name")],
    config: shell.ConfigOption = shell.CONFIG,
    by: shell.ByOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it nothing is changed")] = False,
    as_json: shell.JsonOption = False,
) -> None:
    """Let a partition be read again whose log is another one or has lost records; what is lost, you take note of."""
    from streams.chain.acceptance import READ_TOPICS
    from streams.chain.loss import OvertakenError
    from streams.chain.rule import ChainRootError

    settings = shell.read_config(config)
    named, _, number = partition.rpartition("/")
    topic = named.removeprefix(settings.kafka.topic_prefix)
    if topic not in READ_TOPICS or not _is_partition(settings, topic, number):
        known = ", ".join(READ_TOPICS)
        raise shell.CommandError(f"{partition!r} is no partition that is read", f"name one of {known}", code=2)
    if not why.strip():
        raise shell.CommandError("--why is empty", "say what has happened, for whoever asks later", code=2)
    person = shell.person(by)
    try:
        found = shell.run_async(_accept(settings, topic, int(number), person, why.strip(), do=yes))
    except ChainRootError as error:
        raise shell.CommandError(
            str(error), "restore the chain first: what it had sealed is not known any more"
        ) from error
    except OvertakenError as error:
        raise shell.CommandError(str(error), "run the command again") from error
    accepted = yes and found is not None
    if as_json:
        disagreement = (
            None
            if found is None
            else {
                "topic": topic,
                "partition": found.partition,
                "log_start": found.log_start,
                "log_end": found.log_end,
                "reached": found.reached,
                "another": found.is_another,
                "lost": found.lost,
            }
        )
        shell.print_json({"accepted": accepted, "by": person, "why": why.strip(), "disagreement": disagreement})
    elif found is None:
        shell.print_line(f"{topic}/{number} is read where it was left; there is nothing to accept")
    else:
        shell.print_line(str(found))
        if accepted:
            shell.print_line(f"accepted by {person}: {why.strip()}; its worker goes on within a minute")
        else:
            shell.print_line(f"nothing is changed; with --yes this is accepted by {person}, and cannot be taken back")
    if not accepted:
        raise typer.Exit(1)


def _is_partition(config: Config, topic: str, number: str) -> bool:
    from streams.query.reading import partitions_of

    return number.isascii() and number.isdigit() and int(number) in partitions_of(config, topic)


async def _accept(config: Config, topic: str, partition: int, by: str, why: str, *, do: bool) -> Found | None:
    from connectors.base.clock import SystemClock
    from schemas.topics import ORDER_FACTS
    from streams.chain import acceptance
    from streams.chain.known_logs import LogMismatch
    from streams.query.inputs import read_up_to

    codec, clock = shell.codec_of(config), SystemClock()
    async with shell.open_log(config) as log:
        found = await acceptance.find(log, config, codec, clock, topic, partition)
        if not do or found is None:
            return found
        place = f"{topic}/{partition}"
        async with shell.trail_of(log, config, codec).command("topics accept", by=by, what=place, why=why) as running:
            known = 0
            if isinstance(found, LogMismatch) and topic in ORDER_FACTS:
                known = await read_up_to(log, config, codec, topic, partition, found.known.number)
            accepted = await acceptance.accept(
                log, config, codec, clock, topic, partition, by=by, why=why, read_up_to=known
            )
            running.result = "there was nothing to accept" if accepted is None else str(accepted)
            return accepted

"""`streams topics apply | check | accept`: make and verify the topics; go on where one of them has lost records."""

import getpass
from typing import Annotated

import typer

from connectors.base.clock import SystemClock
from streams.chain import loss as acceptance
from streams.chain.loss import Disagreement
from streams.chain.rule import ChainRootError
from streams.cli import shell
from streams.config.load import Config
from streams.kafka import topics
from streams.kafka.topics import Difference

app = typer.Typer(help="Make and verify the topics.", no_args_is_help=True)


@app.command()
def apply(config: shell.ConfigOption = shell.CONFIG, as_json: shell.JsonOption = False) -> None:
    """Make the topics that are missing, then verify all."""
    settings = shell.read_config(config)
    created, differences = shell.wait_for(_apply(settings))
    _tell(settings, sorted(created), differences, as_json=as_json)


@app.command()
def check(config: shell.ConfigOption = shell.CONFIG, as_json: shell.JsonOption = False) -> None:
    """Verify partitions, clean-up, retention and replicas of all topics."""
    settings = shell.read_config(config)
    _tell(settings, [], shell.wait_for(_check(settings)), as_json=as_json)


@app.command()
def accept(
    partition: Annotated[str, typer.Argument(metavar="TOPIC/PARTITION", help="As the log names it: stock-adjusted/3")],
    why: Annotated[str, typer.Option(help="What has happened; kept in the chain, with your name")],
    config: shell.ConfigOption = shell.CONFIG,
    by: Annotated[str | None, typer.Option(help="Who accepts it; by default your user name")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it nothing is changed")] = False,
    as_json: shell.JsonOption = False,
) -> None:
    """Let a partition be read again whose log and chain disagree: what lies between is lost, and you say so."""
    settings = shell.read_config(config)
    topic, _, number = partition.rpartition("/")
    if topic.removeprefix(settings.kafka.topic_prefix) != acceptance.INPUT or not _is_partition(settings, number):
        last = settings.kafka.partitions - 1
        raise shell.CommandError(
            f"{partition!r} is no partition of {acceptance.INPUT}", f"name one from 0 to {last}", code=2
        )
    if not why.strip():
        raise shell.CommandError("--why is empty", "say what has happened, for whoever asks later", code=2)
    person = by or getpass.getuser()
    try:
        found = shell.wait_for(_accept(settings, int(number), person, why.strip(), do=yes))
    except ChainRootError as error:
        raise shell.CommandError(
            str(error), "restore the chain first: what it had sealed cannot be told any more"
        ) from error
    except acceptance.OvertakenError as error:
        raise shell.CommandError(str(error), "run the command again") from error
    accepted = yes and found is not None
    if as_json:
        told = None if found is None else {
            "topic": acceptance.INPUT, "partition": found.partition, "log_start": found.log_start, "log_end": found.log_end,
            "sealed": found.sealed, "lost": found.lost,
        }  # fmt: skip
        shell.print_json({"accepted": accepted, "by": person, "why": why.strip(), "disagreement": told})
    elif found is None:
        shell.say(f"{acceptance.INPUT}/{number}: log and chain agree; there is nothing to accept")
    else:
        shell.say(str(found))
        if accepted:
            shell.say(f"accepted by {person}: {why.strip()}; its worker goes on within a minute")
        else:
            shell.say(f"nothing is changed; with --yes this is accepted by {person}, and cannot be taken back")
    if not accepted:
        raise typer.Exit(1)


def _is_partition(config: Config, number: str) -> bool:
    return number.isascii() and number.isdigit() and int(number) < config.kafka.partitions


async def _accept(config: Config, partition: int, by: str, why: str, *, do: bool) -> Disagreement | None:
    codec, clock = shell.codec_of(config), SystemClock()
    async with shell.open_log(config) as log:
        if do:
            return await acceptance.accept(log, config, codec, clock, partition, by=by, why=why)
        return await acceptance.find(log, config, codec, clock, partition)


async def _apply(config: Config) -> tuple[set[str], list[Difference]]:
    async with shell.open_log(config) as log:
        return await topics.apply(log, config), await topics.check(log, config)


async def _check(config: Config) -> list[Difference]:
    async with shell.open_log(config) as log:
        return await topics.check(log, config)


def _tell(config: Config, created: list[str], differences: list[Difference], *, as_json: bool) -> None:
    if as_json:
        told = [
            {"topic": d.topic, "setting": d.setting, "expected": d.expected, "found": d.found, "remedy": d.remedy}
            for d in differences
        ]
        shell.print_json({"ok": not differences, "created": created, "differences": told})
    else:
        if created:
            shell.say(f"made {len(created)}: {', '.join(created)}")
        if differences:
            rows = [(d.topic, d.setting, d.found, d.expected, d.remedy) for d in differences]
            shell.print_table(["topic", "setting", "is", "must be", "what to do"], rows)
        else:
            shell.say(f"ok: {len(topics.wanted(config))} topics")
    if differences:
        raise typer.Exit(1)

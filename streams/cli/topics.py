"""`streams topics apply | check | accept`: make and verify the topics; go on where one of them has lost records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from streams.cli import shell, topics_accept

if TYPE_CHECKING:
    from streams.config.load import Config
    from streams.kafka.topics import TopicDifference

app = typer.Typer(help="Make and verify the topics.", no_args_is_help=True)


@app.command()
def apply(config: shell.ConfigOption = shell.CONFIG, as_json: shell.JsonOption = False) -> None:
    """Make the topics that are missing, then verify all."""
    settings = shell.read_config(config)
    created, differences = shell.run_async(_apply(settings))
    _show(settings, sorted(created), differences, as_json=as_json)


@app.command()
def check(config: shell.ConfigOption = shell.CONFIG, as_json: shell.JsonOption = False) -> None:
    """Verify partitions, clean-up, retention and replicas of all topics."""
    settings = shell.read_config(config)
    _show(settings, [], shell.run_async(_check(settings)), as_json=as_json)


async def _apply(config: Config) -> tuple[set[str], list[TopicDifference]]:
    from streams.kafka import topics

    async with shell.open_log(config) as log:
        return await topics.apply(log, config), await topics.check(log, config)


async def _check(config: Config) -> list[TopicDifference]:
    from streams.kafka import topics

    async with shell.open_log(config) as log:
        return await topics.check(log, config)


def _show(config: Config, created: list[str], differences: list[TopicDifference], *, as_json: bool) -> None:
    from schemas.topics import TOPICS

    if as_json:
        rows = [
            {"topic": d.topic, "setting": d.setting, "expected": d.expected, "found": d.found, "remedy": d.remedy}
            for d in differences
        ]
        shell.print_json({"ok": not differences, "created": created, "differences": rows})
    else:
        if created:
            shell.print_line(f"made {len(created)}: {', '.join(created)}")
        if differences:
            table = [(d.topic, d.setting, d.found, d.expected, d.remedy) for d in differences]
            shell.print_table(["topic", "setting", "is", "must be", "what to do"], table)
        else:
            shell.print_line(f"ok: {len(TOPICS)} topics")
    if differences:
        raise typer.Exit(1)


app.command("accept")(topics_accept.run)

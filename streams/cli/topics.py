"""`streams topics apply | check`: make and verify the topics."""

import typer

from streams import topics
from streams.cli import shell
from streams.config import Config
from streams.topics import Difference

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

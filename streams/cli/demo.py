"""`streams demo`: the whole thing on this machine."""

import importlib
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from streams.cli import shell

#: Whatever else cannot be imported comes with the extra `lab`.
_CORE_PACKAGES = frozenset({"", "schemas", "connectors", "streams"})


def run(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="The whole Online Retail data set, or any part of it (.csv, .csv.xz); by default a week of it",
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=1, help="In how long the sales come in, at least; by default 60"),
    ] = None,
    vendors: Annotated[
        bool, typer.Option("--vendors", help="The sales come from Magento, Shopify, Veeqo and a till, all at once")
    ] = False,
    keep: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep configuration, files, logs and ledger in a new folder")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the last screen and the proof as SVG")
    ] = None,
    day: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="The day to take for today; what happens is the same on every day"),
    ] = None,
    as_json: shell.JsonOption = False,
) -> None:
    """Run a broker, a simulated B1, workers and connectors here, on real input, ending in the ledger proof."""
    try:
        # Imported when it is needed, so that no other command waits for it; and it is a distribution of its own.
        demo = importlib.import_module("lab.demo.run")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in _CORE_PACKAGES:
            raise
        cause = "the demo is not installed" if missing == "lab" else f"the demo needs {missing}, which is not installed"
        raise shell.CommandError(cause, "pip install 'b1-streams[lab]'") from error
    code: int = demo.run(
        data=data,
        seconds=seconds,
        keep=keep,
        picture=picture,
        vendors=vendors,
        day=day.date() if day else None,
        as_json=as_json,
    )
    if code:
        raise typer.Exit(code)

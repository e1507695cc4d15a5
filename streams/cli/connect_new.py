"""`streams connect new`: the files of a new connector."""

from pathlib import Path
from typing import Annotated

import typer

from streams.cli import shell


def run(
    name: Annotated[str, typer.Argument(help="The new kind, as acme_wms.")],
    folder: Annotated[Path, typer.Option("--folder", help="Where to; a clone of b1-streams, or any folder.")] = Path(),
) -> None:
    """Write a connector that runs, with the tests that every connector has to pass."""
    from streams.connect.scaffold import ScaffoldError, write_connector

    try:
        written = write_connector(name, folder)
    except ScaffoldError as error:
        message, _, remedy = str(error).partition("; ")
        raise shell.CommandError(message, remedy, 2) from error
    for path in written:
        typer.echo(path)
    title = "".join(part.capitalize() for part in name.split("_"))
    typer.echo(
        f'next: pytest {written[-1]}; then a row in KINDS of connectors/registry.py: "{name}": '
        f"Kind({title}Settings, {title}Source)"
    )

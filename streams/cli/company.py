"""`streams company`: commands about companies as a whole."""

import typer

from streams.cli import company_retire

app = typer.Typer(help="End a company that was taken out of the configuration.", no_args_is_help=True)
app.command("retire")(company_retire.run)


@app.callback()
def _root() -> None:
    """Companies as a whole."""

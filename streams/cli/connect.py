"""`streams connect`: runs connectors, in any number of processes, or a command about them."""

import typer

from streams.cli import connect_backfill, connect_new, connect_retire, connect_try, shell

app = typer.Typer(help="Run connectors, until SIGTERM; or one of the commands below.")
app.command("try")(connect_try.run)
app.command("backfill")(connect_backfill.run)
app.command("new")(connect_new.run)
app.command("retire")(connect_retire.run)


@app.callback(invoke_without_command=True)
def run(context: typer.Context, config: shell.ConfigOption = shell.CONFIG) -> None:
    """Run connectors, until SIGTERM; or one of the commands below."""
    if context.invoked_subcommand is None:
        from streams.cli import service

        service.serve(shell.read_config(config, "connectors"), {"connect": service.part("streams.connect.runner")})
    elif (source := context.get_parameter_source("config")) is not None and source.name == "COMMANDLINE":
        name = context.invoked_subcommand
        raise shell.CommandError(
            f"-c before {name} would not reach it", f"write it at the end: streams connect {name} ... -c FILE", 2
        )

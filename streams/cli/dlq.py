"""`streams dlq`: dead letters, parked and held events."""

import typer

from streams.cli import dlq_commands, dlq_edit, dlq_group, dlq_list, dlq_replay, dlq_show

app = typer.Typer(
    help="Dead letters and parked events: what could not be posted, why, and who acts.", no_args_is_help=True
)
app.command("list")(dlq_list.run)
app.command("show")(dlq_show.run)
app.command("group")(dlq_group.run)
app.command("plan")(dlq_replay.plan)
app.command("replay")(dlq_replay.replay)
app.command("edit")(dlq_edit.run)
app.command("discard")(dlq_commands.discard)
app.command("release")(dlq_commands.release)
app.command("retry-now")(dlq_commands.retry_now)

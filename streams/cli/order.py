"""`streams order ID`: one order's whole story."""

from typing import Annotated

import typer

from streams.cli import shell
from streams.config.load import Config
from streams.query import orders as trail
from streams.query.orders import Entry, Story
from streams.telemetry.logs import escape


def run(
    ident: Annotated[
        str, typer.Argument(metavar="ID", help="An order id or number, a shipment, refund or event id, or a B1 DocNum")
    ],
    config: shell.ConfigOption = shell.CONFIG,
    as_json: shell.JsonOption = False,
) -> None:
    """What we received of an order, which documents it became, and if not, why and who acts."""
    found = shell.wait_for(_read(shell.read_config(config), ident))
    if as_json:
        shell.print_json({"query": ident, "orders": [story.as_json() for story in found]})
    for story in [] if as_json else found:
        number = (
            f" (number {story.order_number})" if story.order_number and story.order_number != story.order_id else ""
        )
        shell.print_table(
            ["event", "id", "from", "received", "state", "documents", "why, and who acts"],
            [_row(entry) for entry in story.entries],
            title=escape(f"order {story.order_id or '?'}{number} of {story.company}"),
        )
    if not found:
        if not as_json:
            shell.errors_console().print(
                "We have received nothing under that id. Facts are kept 14 days, outcomes 400; is it in another "
                "company, or still in the source? streams status shows unread files as not idle.",
                markup=False,
            )
        raise typer.Exit(1)


async def _read(config: Config, ident: str) -> list[Story]:
    codec = shell.codec_of(config)
    async with shell.open_log(config) as log:
        return await trail.stories(log, config, codec, ident)


def _row(entry: Entry) -> tuple[object, ...]:
    why = entry.why or {}
    said = f"{why['reason']}: {why['error'] or ''}" if why else ""
    acts = f" [{why['owner']}: {why['remedy']}]" if why.get("owner") else ""
    waits = f" waits for {why['waits_for']}" if why.get("waits_for") else ""
    held = f" held by {why['blocked_by']}" if why.get("blocked_by") else ""
    return (
        entry.type,
        entry.event_id,
        entry.source,
        entry.received_at.isoformat(timespec="seconds") if entry.received_at else "",
        entry.state,
        ", ".join(f"{document['object']} {document['doc_num']}" for document in entry.documents),
        said + acts + waits + held,
    )

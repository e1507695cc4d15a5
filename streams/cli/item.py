"""`streams item CODE`: one item's whole story."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli import shell
from streams.telemetry.text import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streams.config.load import Config
    from streams.query.items import ItemStory

_FIGURES = {"stock_level": "sellable", "price_changed": "price"}


def run(
    code: Annotated[str, typer.Argument(metavar="CODE", help="An ItemCode of B1, or a sku")],
    config: shell.ConfigOption = shell.CONFIG,
    channel: Annotated[str | None, typer.Option(help="Only this connector")] = None,
    as_json: shell.JsonOption = False,
) -> None:
    """What each channel may sell of an item, term by term with its time, what it was told, and what it said."""
    found = shell.run_async(_read(shell.read_config(config), code, channel))
    if as_json:
        shell.print_json({"query": code, "items": [story.as_json() for story in found]})
    for story in [] if as_json else found:
        flags = ", ".join(f"{name} {'yes' if value else 'no'}" for name, value in story.flags.items())
        shell.print_line(escape(f"item {story.item_code} of {story.company}: {flags or 'B1 has said nothing of it'}"))
        columns = ["channel", "sku", "warehouse", "on hand", "committed", "own open", "under way", "figure", "as of"]
        shell.print_table([*columns, "buffer"], list(_terms(story)), title="what may be sold")
        columns = ["channel", "what", "state", "told", "at", "to be told", "why"]
        shell.print_table(columns, list(_told(story)), title="what was told")
    if not found:
        if not as_json:
            shell.errors_console().print(
                "Nothing is known of that item: is there a connector of kind sap_b1, and has B1 been read since "
                "(streams status)? Items that only a map of another company has are not searched.",
                markup=False,
            )
        raise typer.Exit(1)


def _terms(story: ItemStory) -> Iterator[tuple[object, ...]]:
    for channel in story.channels:
        for terms in channel.as_json()["terms"]:
            names = ("warehouse", "on_hand", "committed", "own_open", "under_way", "figure", "as_of")
            yield (channel.connector, channel.sku, *(terms[name] for name in names), channel.buffer)


def _told(story: ItemStory) -> Iterator[tuple[object, ...]]:
    for channel in story.channels:
        for state in channel.told:
            at = state.sent_at.isoformat(timespec="seconds") if state.sent_at else ""
            due = "" if state.state in ("sent", "no_op") else _figure(state.type, state.content)
            why = f"{state.reason}: {state.error or ''}" if state.reason else ""
            yield channel.connector, state.type, state.state, _figure(state.type, state.sent), at, due, why


def _figure(effect_type: str, content: str | None) -> str:
    if content is None:
        return ""
    return str(json.loads(content).get(_FIGURES.get(effect_type, "name"), ""))


async def _read(config: Config, code: str, channel: str | None) -> Sequence[ItemStory]:
    from connectors.base.clock import SystemClock
    from streams.query.items import stories

    async with shell.open_log(config) as log:
        return await stories(log, config, shell.codec_of(config), SystemClock(), code, channel)

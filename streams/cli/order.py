"""`streams order ID`: one order's whole story."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli import shell
from streams.telemetry.text import escape

if TYPE_CHECKING:
    from schemas.readings import EffectState
    from streams.config.load import Config
    from streams.query.orders import OrderStory, StoryEvent
    from streams.telemetry.held import HeldComponent


def run(
    ident: Annotated[
        str, typer.Argument(metavar="ID", help="An order id or number, a shipment, refund or event id, or a B1 DocNum")
    ],
    config: shell.ConfigOption = shell.CONFIG,
    as_json: shell.JsonOption = False,
) -> None:
    """What we received of an order, which documents it became, and if not, why and who acts."""
    found, told, held = shell.run_async(_read(shell.read_config(config), ident))
    if as_json:
        shown: dict[str, object] = {"query": ident, "orders": [story.as_json() for story in found]}
        shown |= {"told": [_told_json(state) for state in told]} if told else {}
        shell.print_json(shown | ({"held": [each.as_json() for each in held]} if held else {}))
    for story in [] if as_json else found:
        number = (
            f" (number {story.order_number})" if story.order_number and story.order_number != story.order_id else ""
        )
        shell.print_table(
            ["event", "id", "from", "received", "state", "documents", "why, and who acts"],
            [_row(event) for event in story.events],
            title=escape(f"order {story.order_id or '?'}{number} of {story.company}"),
        )
    if told and not as_json:
        columns = ["told to", "what", "order", "state", "since", "why, and who acts"]
        shell.print_table(columns, [_told_row(state) for state in told], title="what channels were told")
    if not found and not told:
        if not as_json:
            shell.errors_console().print(
                "We have received nothing under that id. Facts are kept 14 days, outcomes 400; is it in another "
                "company, or still in the source? streams status shows unread files as not idle.",
                markup=False,
            )
            for component in held:
                shell.errors_console().print(f"{component.state}: {component.kind} {component}", markup=False)
        raise typer.Exit(1)


async def _read(config: Config, ident: str) -> tuple[list[OrderStory], list[EffectState], list[HeldComponent]]:
    from datetime import UTC, datetime

    from streams.query import components, effects, orders

    codec = shell.codec_of(config)
    async with shell.open_log(config) as log:
        held = await components.held(log, config, codec, datetime.now(UTC))
        found = await orders.stories(log, config, codec, ident, held)
        ids = {story.order_id for story in found if story.order_id} | {ident}
        return found, await effects.of_orders(log, config, codec, ids), held


def _told_row(state: EffectState) -> tuple[object, ...]:
    shown = _told_json(state)
    why = f"{state.reason}: {state.error or ''} [{shown['owner']}: {shown['remedy']}]" if state.reason else ""
    return state.connector, shown["what"], state.order_id, state.state, shown["since"], why


def _told_json(state: EffectState) -> dict[str, object]:
    from schemas.letters import REASONS

    row = REASONS.get(state.reason or "")
    return {
        "connector": state.connector,
        "order_id": state.order_id,
        "what": f"{state.type} {state.revision}" if state.revision else state.type,
        "state": state.state,
        "since": (state.sent_at or state.since).isoformat(timespec="seconds"),
        "reason": state.reason,
        "error": state.error,
        "owner": row.owner if row else None,
        "remedy": row.remedy if row else None,
    }


def _row(event: StoryEvent) -> tuple[object, ...]:
    why = event.why or {}
    error = f"{why['reason']}: {why['error'] or ''}" if why else ""
    acts = f" [{why['owner']}: {why['remedy']}]" if why.get("owner") else ""
    waits = f" waits for {why['waits_for']}" if why.get("waits_for") else ""
    held = f" held by {why['blocked_by']}" if why.get("blocked_by") else ""
    return (
        event.type,
        event.event_id,
        event.source,
        event.received_at.isoformat(timespec="seconds") if event.received_at else "",
        event.state,
        ", ".join(f"{document['object']} {document['doc_num']}" for document in event.documents),
        error + acts + waits + held,
    )

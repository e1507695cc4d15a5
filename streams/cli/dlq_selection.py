"""The options by which all of `streams dlq` say which dead letters they are about."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from streams.cli import shell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from schemas.records import DeadLetterState
    from streams.config.load import Config
    from streams.dead_letters.selection import Selection

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids, or the beginnings of ids")]
OPTIONS: dict[str, Any] = {
    "reason": Annotated[list[str] | None, typer.Option(help="Only this reason; may be repeated")],
    "topic": Annotated[str | None, typer.Option(help="Only this topic, as order-placed")],
    "owner": Annotated[str | None, typer.Option(help="Only what this owner fixes")],
    "order": Annotated[str | None, typer.Option(help="Only this order id")],
    "item": Annotated[str | None, typer.Option(help="Only this sku, or what waits for this item")],
    "since": Annotated[datetime | None, typer.Option(help="First failed at or after (UTC)")],
    "until": Annotated[datetime | None, typer.Option(help="First failed before (UTC)")],
    "state": Annotated[list[str] | None, typer.Option(help="dead, parked, held, ... or all; default: what is open")],
}


def with_selection(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a selection; its parameter `selection` gets what they say.

    A parameter `ids` of the command goes into the selection as well.
    """
    hints = get_type_hints(command, localns={"Selection": object}, include_extras=True)
    own = [
        parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(command).parameters.items()
        if name != "selection"
    ]
    # Options go in front of the command's own, arguments stay the first; all of them are given by name
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in OPTIONS.items()
    ]

    @wraps(command)
    def selecting(**given: Any) -> None:
        asked = {name: given.pop(name) for name in OPTIONS}
        command(selection=selection_of(given.get("ids"), **asked), **given)

    parameters = [*own, *options]
    selecting.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what inspect and typer look at
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    )
    selecting.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return selecting


def selection_of(
    ids: Iterable[str] | None,
    *,
    reason: list[str] | None,
    topic: str | None,
    owner: str | None,
    order: str | None,
    item: str | None,
    since: datetime | None,
    until: datetime | None,
    state: list[str] | None,
) -> Selection:
    """What the options say.

    Raises:
        CommandError: A reason or state that does not exist.
    """
    from schemas.letters import REASONS
    from streams.dead_letters.selection import ANY_STATE, STATES, Selection

    _refuse_unknown("--reason", reason, REASONS)
    _refuse_unknown("--state", state, (*STATES, ANY_STATE))
    return Selection(
        ids=tuple(ids or ()),
        reasons=tuple(reason or ()),
        topic=topic,
        owner=owner,
        order=order,
        item=item,
        since=_aware(since),
        until=_aware(until),
        states=tuple(state or ()),
    )


def choose(letters: Iterable[DeadLetterState], selection: Selection, config: Config) -> list[DeadLetterState]:
    """The dead letters that a selection means.

    Raises:
        CommandError: An id that was given is nobody's, or the beginning of several.
    """
    from streams.dead_letters.selection import SelectionError

    try:
        return selection.choose(letters, config.kafka.topic_prefix)
    except SelectionError as error:
        raise shell.CommandError(str(error), "streams dlq list --state all names every id") from error


def _aware(time: datetime | None) -> datetime | None:
    return time if time is None or time.tzinfo is not None else time.replace(tzinfo=UTC)


def _refuse_unknown(option: str, given: Iterable[str] | None, known: Iterable[str]) -> None:
    for value in given or ():
        if value not in known:
            raise shell.CommandError(f"{option} {value} is not known", f"write one of: {', '.join(known)}", code=2)

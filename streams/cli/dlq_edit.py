"""`streams dlq edit ID`: correct what an event says, and nothing that identifies it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli import shell
from streams.cli.dlq_commands import PatienceOption, tail_of

if TYPE_CHECKING:
    from connectors.base.log import Record
    from schemas.codec import Codec
    from schemas.events import FactEvent
    from schemas.records import DeadLetterState
    from streams.config.load import Config
    from streams.dead_letters.tail import StateTail
    from streams.kafka.log import Log

_POLL_S = 0.2
_TEMPLATE = '{\n  "type": "",\n}\n'


def run(
    ident: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the beginning of it")],
    config: shell.ConfigOption = shell.CONFIG,
    file: Annotated[Path | None, typer.Option("--file", help="Take the text from here, not from $EDITOR")] = None,
    why: Annotated[str | None, typer.Option("--why", help="Why; kept with your name in the audit")] = None,
    by: shell.ByOption = None,
    timeout_s: PatienceOption = 60.0,
    as_json: shell.JsonOption = False,
) -> None:
    """Correct the event of a dead letter in $EDITOR: checked, shown as a difference, kept; then plan and replay it.

    The editor shows all of the event, what it says about people included. What identifies the event cannot be changed.
    Nothing is posted by this.
    """
    from connectors.base.clock import SystemClock
    from streams.dead_letters.edit import EditError, changes, event_of, text_of

    settings = shell.read_config(config)
    codec = shell.codec_of(settings)
    letter, record = shell.run_async(_open_letter(settings, ident))
    before, company = _event_in(codec, record), _company_of(settings, letter)
    text = (
        file.read_text(encoding="utf-8")
        if file is not None
        else _edited(_line_of(record) if before is None else text_of(before))
    )
    try:
        event = event_of(text, letter, before, company, SystemClock().now())
    except EditError as error:
        raise shell.CommandError(str(error), "nothing is changed; correct the text and edit again") from error
    differences = changes(before, event)
    if not differences:
        raise shell.CommandError("the text says what it said before", "nothing is changed")
    if not as_json:
        _show(differences)
    edit = _Edit(letter, record, codec.encode(event), [path for path, _, _ in differences], shell.person(by), why)
    shown = shell.run_async(_keep(settings, edit, timeout_s))
    if as_json:
        shell.print_json(shown)
    else:
        shell.print_line(f"corrected; next: streams dlq plan {letter.id} -o plan.json, streams dlq replay plan.json")


@dataclass(frozen=True, slots=True)
class _Edit:
    letter: DeadLetterState
    record: Record
    value: bytes
    changed: list[str]
    by: str
    why: str | None


async def _open_letter(config: Config, ident: str) -> tuple[DeadLetterState, Record]:
    """A dead letter that may be corrected.

    Raises:
        CommandError: It may not, or is not there.
    """
    from schemas.letter_bounds import is_cut
    from schemas.letters import OPEN_STATES
    from streams.query.reading import record_at

    async with shell.open_log(config) as log:
        letters = await tail_of(log, config).read()
        found = [letter for id_, letter in letters.items() if id_.startswith(ident)]
        place = [(each.letter_topic, each.letter_partition, each.letter_offset) for each in found]
        record = await record_at(log, *place[0]) if len(found) == 1 else None
    if len(found) != 1:
        what = "there is no such dead letter" if not found else f"{len(found)} dead letters begin with that"
        raise shell.CommandError(what, "streams dlq list --state all names every id")
    (letter,) = found
    if letter.state not in OPEN_STATES:
        raise shell.CommandError(f"{letter.id} is {letter.state}", "only what is dead, parked or held can be corrected")
    if letter.event_type == "stock_batch":
        raise shell.CommandError(
            f"{letter.id} is a batch of {len(letter.members)} stock movements",
            "fix the item or the mapping and replay it, or discard it and have the source report the movement again",
        )
    if record is None or is_cut(record.headers):
        what = "its bytes are no longer in the log" if record is None else "only the beginning of its bytes is kept"
        raise shell.CommandError(what, "let the source send it again, then discard this one")
    return letter, record


def _event_in(codec: Codec, record: Record) -> FactEvent | None:
    from schemas.codec import CodecError
    from schemas.events import EVENT_TYPES

    try:
        event: FactEvent = codec.decode(record.value or b"", tuple(EVENT_TYPES.values()))
    except CodecError:
        return None
    return event


def _line_of(record: Record) -> str:
    """A line of a file, laid out where it is JSON; what is no text begins empty."""
    text = (record.value or b"").decode(errors="replace")
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
    except ValueError:
        return text if text.isprintable() and text else _TEMPLATE


def _company_of(config: Config, letter: DeadLetterState) -> str:
    connector = config.connectors.get(letter.source or "")
    company = letter.company or (connector.company if connector is not None else "")
    if company not in config.companies:
        raise shell.CommandError(
            "nobody knows whose event this is: it names no company that is configured",
            "let the source send it again, then discard this one",
        )
    return company


def _edited(start: str) -> str:
    """What a person has made of a text in their editor, in a file that only they can read."""
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory(prefix="streams-edit-") as folder:
        path = Path(folder) / "event.json"
        path.write_text(start, encoding="utf-8")
        try:
            done = subprocess.run([*editor, str(path)], check=False)  # noqa: S603 -- the person's own editor
        except OSError as error:
            raise shell.CommandError(
                f"the editor {editor[0]} cannot be started ({error.strerror})", "set EDITOR, or give the text by --file"
            ) from error
        if done.returncode != 0:
            raise shell.CommandError("the editor has ended with an error", "nothing is changed")
        return path.read_text(encoding="utf-8")


def _show(differences: list[tuple[str, str | None, str | None]]) -> None:
    from streams.query.dead_letters import MASK, is_personal

    for path, old, new in differences:
        hidden = is_personal(re.sub(r"(\[\d+\])+$", "", path).rpartition(".")[2])
        for sign, value in (("-", old), ("+", new)):
            if value is not None:
                shell.print_line(f"{sign} {path}: {MASK if hidden else value}")


async def _keep(config: Config, edit: _Edit, timeout_s: float) -> dict[str, object]:
    """Have the corrected bytes written, with two records in the audit: names of fields and digests, no values."""
    letter = edit.letter
    async with shell.open_log(config) as log:
        tail = tail_of(log, config)
        await tail.read()
        trail = shell.trail_of(log, config, shell.codec_of(config))
        async with trail.command(
            "dlq edit", by=edit.by, what=letter.id, company=letter.company, why=edit.why
        ) as running:
            running.result = "not done"
            await _write(log, config, tail, edit, running.command, timeout_s)
            result: dict[str, object] = {
                "id": letter.id,
                "changed": edit.changed,
                "before": _digest(edit.record.value or b""),
                "after": _digest(edit.value),
            }
            running.result = json.dumps(result)
        return result


async def _write(log: Log, config: Config, tail: StateTail, edit: _Edit, command: str, timeout_s: float) -> None:
    """By the company's poster where it decides about this dead letter, else here.

    Raises:
        CommandError: Nothing is changed, or nobody knows yet.
    """
    import asyncio
    import time

    from connectors.base.clock import SystemClock
    from connectors.base.log import Outgoing
    from schemas.letters import headers_of
    from schemas.records import LetterCommand
    from streams.dead_letters.commands import Action, is_posters, submit
    from streams.dead_letters.states import STATES

    letter, now, codec = edit.letter, SystemClock().now(), shell.codec_of(config)
    if not is_posters(letter):
        changed = replace(letter, by=edit.by, command=command, at=now, replays=0)
        place = letter.letter_topic, letter.letter_partition
        sent = await log.send(*place, edit.record.key, edit.value, headers_of(changed))
        state = codec.encode(replace(changed, letter_offset=sent.offset))
        partition = tail.placed[letter.id].partition
        await log.send_many([Outgoing(config.topic(STATES), letter.id.encode(), state, partition)])
        return
    asked = LetterCommand(
        id=command,
        action=Action.EDIT.value,
        letter=letter.id,
        company=letter.company,
        by=edit.by,
        why=edit.why,
        seen_at=letter.at,
        at=now,
        value=edit.value,
    )
    await submit(log, config, codec, [asked])
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        after = (await tail.read()).get(letter.id)
        if after is not None and after.command == command:
            if after.letter_offset == letter.letter_offset:
                raise shell.CommandError(after.error or "the poster refuses it", "nothing is changed; edit again")
            return
        if after is not None and after.at != letter.at:
            raise shell.CommandError(
                f"{letter.id} has moved on meanwhile and is {after.state}", "look at it with streams dlq show"
            )
        await asyncio.sleep(_POLL_S)
    raise shell.CommandError(
        f"the poster of {letter.company} has not answered in {timeout_s:g} s",
        "streams status says why; what was asked lies in its queue and is carried out when it is back",
    )


def _digest(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()

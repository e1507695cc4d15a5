"""docs/runbooks/dead-letters.md: every reason has its section, and its commands do what it says, in its order."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from schemas.letters import REASONS
from streams.dead_letters.runbooks import RUNBOOKS
from tests.streams.cli.conftest import Ran, Streams, at_once
from tests.streams.cli.posters import PosterBeside
from tests.streams.cli.test_dlq_commands import dispatch, order
from tests.streams.cli.test_dlq_edit import editor
from tests.streams.fakes import ROOT

PAGE = (ROOT / "docs/runbooks/dead-letters.md").read_text(encoding="utf-8")
COMMANDS = [line.strip() for line in PAGE.splitlines() if line.strip().startswith("streams ")]


def test_every_reason_has_a_text_and_no_other_has() -> None:
    assert RUNBOOKS.keys() == REASONS.keys()


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_has_its_section_with_its_owner_and_what_the_command_says(reason: str) -> None:
    found = re.search(rf"### {reason}\n\n(.*)\n", PAGE)
    assert found is not None
    assert found[1].startswith(f"{REASONS[reason].owner}; {REASONS[reason].ends_as}. ")
    assert found[1].endswith(RUNBOOKS[reason])


def test_the_commands_of_the_page_lead_from_the_notice_to_the_closed_case(
    streams: Streams, poster: PosterBeside, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order with an unmapped code, a dispatch behind it, an order to discard, a dispatch without an order."""
    at_once(poster.work_off(order("1"), dispatch("1"), order("2"), dispatch("7")))
    letters = {f"{x['event_type']} {x['order_id']}": x["id"] for x in streams("dlq", "list", "--json").data}
    names = {"$ID": letters["order_placed 1"], "$OTHER": letters["order_placed 2"]}
    editor(folder, monkeypatch, "text['lines'][0]['tax_code'] = 'GB-20'")

    def say(command: str, *more: str) -> Ran:
        return streams(*[names.get(word, word) for word in shlex.split(command)[1:]], *more)

    ran: dict[str, Ran] = {command: say(command) for command in COMMANDS}

    def of(start: str) -> Ran:
        return next(result for command, result in ran.items() if command.startswith(f"streams {start}"))

    assert "3 dead letters in 2 groups, 1 wait behind them" in of("dlq group").out
    assert "finance acts: Add the code or the rate" in of("dlq show").out
    assert "corrected" in of("dlq edit").out
    plan: dict[str, Any] = json.loads((folder / "plan.json").read_text())
    assert {one["id"]: one["would"] for one in plan["letters"]}[names["$ID"]] == "post"
    assert of("dlq replay plan.json --dry-run").code == 0
    assert of("dlq discard").code == 0
    assert of("audit verify").code == 0
    states = {x["id"]: x["state"] for x in streams("dlq", "list", "--state", "all", "--json").data}
    assert states[names["$ID"]] in ("posted", "replayed")
    assert states[letters["dispatch_confirmed 1"]] == "posted"
    assert states[names["$OTHER"]] == "discarded"
    assert [x["order_id"] for x in streams("dlq", "list", "--json").data] == ["7"]
    actions = [record["action"] for record in streams("audit", "--json").data]
    assert {"dlq edit", "dlq replay", "dlq retry-now", "dlq discard"} <= set(actions)

"""`streams dlq edit`: a person corrects an event, the poster keeps it, and a replay posts what it says now."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.streams.cli.conftest import Streams, at_once
from tests.streams.cli.posters import PosterBeside
from tests.streams.cli.test_dlq_commands import order
from tests.streams.facts import PERSON, World
from tests.streams.facts import order as order_of_a_person


@pytest.fixture
def dead(streams: Streams, poster: PosterBeside) -> str:
    """An order whose tax code is not mapped."""
    at_once(poster.work_off(order("1")))
    (letter,) = streams("dlq", "list", "--json").data
    return str(letter["id"])


def editor(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """An editor that does this to the JSON in the file that it is given (`text`)."""
    lines = ["import json, pathlib, sys", "path = pathlib.Path(sys.argv[1])", "text = json.loads(path.read_text())"]
    code = "\n".join([*lines, script, "path.write_text(json.dumps(text))"])
    (folder / "editor.py").write_text(code)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"python3 {folder / 'editor.py'}")


def test_what_is_corrected_in_the_editor_is_what_a_retry_posts(
    streams: Streams, poster: PosterBeside, folder: Path, monkeypatch: pytest.MonkeyPatch, dead: str
) -> None:
    editor(folder, monkeypatch, "text['lines'][0]['tax_code'] = 'GB-20'")
    ran = streams("dlq", "edit", dead[:8], "--by", "ada", "--why", "the shop's old code")
    assert (ran.code, ran.err) == (0, "")
    assert '- lines[0].tax_code: "GB-5"' in ran.out
    assert '+ lines[0].tax_code: "GB-20"' in ran.out
    shown = streams("dlq", "show", dead, "--json").data
    assert (shown["state"], shown["by"], shown["payload"]["lines"][0]["tax_code"]) == ("dead", "ada", "GB-20")
    begun, ended = streams("audit", "--json").data
    assert (begun["action"], begun["by"], begun["why"]) == ("dlq edit", "ada", "the shop's old code")
    assert json.loads(ended["result"])["changed"] == ["lines[0].tax_code"]
    plan = folder / "plan.json"
    assert streams("dlq", "plan", dead, "-o", str(plan)).code == 0
    assert json.loads(plan.read_text())["letters"][0]["would"] == "post"
    ran = streams("dlq", "replay", str(plan), "--yes", "--json")
    assert (ran.code, ran.data["posted"]) == (0, 1)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("text['order_id'] = '2'", "order_id has changed"),
        ("text['lines'] = []", "lines"),
        ("pass", "the text says what it said before"),
        ("sys.exit(1)", "the editor has ended with an error"),
    ],
)
def test_what_is_no_correction_changes_nothing(
    streams: Streams, folder: Path, monkeypatch: pytest.MonkeyPatch, dead: str, script: str, words: str
) -> None:
    before = streams("dlq", "show", dead, "--json").data
    editor(folder, monkeypatch, script)
    ran = streams("dlq", "edit", dead)
    assert ran.code == 1
    assert words in ran.err
    assert streams("dlq", "show", dead, "--json").data == before
    assert streams("audit", "--json").data == []


def test_a_text_may_come_from_a_file_and_nothing_is_left_on_the_disk(
    streams: Streams, folder: Path, dead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = streams("dlq", "show", dead, "--personal", "--json").data["payload"]
    text = {**text, "type": "order_placed", "note": "by hand"}
    (folder / "order.json").write_text(json.dumps(text, indent=1))
    ran = streams("dlq", "edit", dead, "--file", str(folder / "order.json"), "--json")
    assert (ran.code, ran.data["changed"]) == (0, ["note"])


def test_without_a_worker_it_says_so_and_keeps_nothing(
    streams: Streams, poster: PosterBeside, folder: Path, monkeypatch: pytest.MonkeyPatch, dead: str
) -> None:
    editor(folder, monkeypatch, "text['lines'][0]['tax_code'] = 'GB-20'")
    poster.runs = False
    ran = streams("dlq", "edit", dead, "--timeout", "1")
    assert (ran.code, "has not answered in 1 s" in ran.err) == (1, True)


def test_a_difference_says_nothing_about_people(
    streams: Streams, world: World, poster: PosterBeside, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poster.runs = False
    event = order_of_a_person("77")
    at_once(
        world.letter("order_placed", world.codec.encode(event), id="ppp1", k=None, source=event.source, partition=0)
    )
    editor(folder, monkeypatch, f"text['customer']['name'] = '{PERSON} II'; text['lines'][0]['sku'] = 'B'")
    ran = streams("dlq", "edit", "ppp1")
    assert ran.code == 0
    assert "- customer.name: ***" in ran.out
    assert '+ lines[0].sku: "B"' in ran.out
    assert PERSON not in ran.out + ran.err + json.dumps(streams("audit", "--json").data)
    assert streams("dlq", "show", "ppp1", "--json").data["payload"]["lines"][0]["sku"] == "B"


def test_what_nobody_could_read_is_corrected_to_an_event(streams: Streams, world: World, folder: Path) -> None:
    at_once(
        world.letter(
            "order_placed",
            b'{"type": "order_placed"',
            id="uuu1",
            reason="unreadable",
            event_type="inbox",
            source="shop",
            partition=-1,
        )
    )
    text: dict[str, Any] = {
        "type": "order_placed",
        "order_id": "88",
        "occurred_at": "2026-11-20T10:00:00Z",
        "currency": "GBP",
        "lines": [{"line_id": "1", "sku": "A", "quantity": "1", "unit_price": "2"}],
    }
    (folder / "fixed.json").write_text(json.dumps(text))
    assert streams("dlq", "edit", "uuu1", "--file", str(folder / "fixed.json")).code == 0
    assert streams("dlq", "show", "uuu1", "--json").data["payload"]["order_id"] == "88"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "discarded"}, "is discarded"),
        ({"event_type": "stock_batch", "members": ("a",)}, "is a batch of 1 stock movements"),
        ({"letter_offset": 99}, "no longer in the log"),
        ({"company": "gone", "source": "gone"}, "nobody knows whose event this is"),
    ],
)
def test_what_cannot_be_corrected_is_said_with_what_to_do(
    streams: Streams, world: World, folder: Path, changes: dict[str, Any], words: str
) -> None:
    async def write() -> None:
        letter = await world.letter(
            "order_placed", b"x", id="zzz1", **{k: v for k, v in changes.items() if k != "letter_offset"}
        )
        if "letter_offset" in changes:
            gone = world.codec.encode(type(letter)(**{**{f: getattr(letter, f) for f in letter.__slots__}, **changes}))
            await world.log.send(world.config.topic("dead-letter-state"), 0, b"zzz1", gone)

    at_once(write())
    ran = streams("dlq", "edit", "zzz1", "--file", str(folder / "streams.toml"))
    assert ran.code == 1
    assert words in ran.err

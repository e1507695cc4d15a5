"""`streams dlq plan | replay`: what a replay would do, and a replay that nobody has to fear."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.base.clock import SystemClock
from schemas.events import OrderPlaced
from streams.cli import shell
from streams.cli.dlq_commands import tail_of
from streams.dead_letters.commands import Action
from streams.dead_letters.desk import CommandDesk, Person
from streams.dead_letters.plan import read_plan
from streams.dead_letters.replay import Replay
from streams.dead_letters.run import Pace, RunTally
from tests import builders
from tests.streams.cli.conftest import Streams, at_once
from tests.streams.cli.posters import PosterBeside
from tests.streams.facts import NOW, PERSON, World


def order(order_id: str, code: str = "GB-5", **fields: Any) -> OrderPlaced:
    """By default with a tax code that is not mapped."""
    line = builders.order_line(sku="A", quantity=1, tax_code=code)
    return builders.order(order_id, line, occurred_at=NOW - timedelta(hours=1), **fields)


def dispatch(order_id: str) -> Any:
    return builders.dispatch(f"D{order_id}", order_id, builders.dispatch_line("A", 1), occurred_at=NOW)


@pytest.fixture
def fix(folder: Path, world: World) -> Callable[[], None]:
    """Maps the tax code that was missing, and starts the worker again."""

    def fixed() -> None:
        text = (folder / "streams.toml").read_text(encoding="utf-8")
        assert '"GB-20" = "O1"' in text
        (folder / "streams.toml").write_text(text.replace('"GB-20" = "O1"', '"GB-20" = "O1"\n"GB-5" = "O1"'))
        world.config = shell.read_config(folder / "streams.toml")

    return fixed


def made(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "p.json").read_text(encoding="utf-8"))
    return found


def plan(streams: Streams, *selection: str) -> int:
    return streams("dlq", "plan", *selection, "-o", "p.json").code


def replay(streams: Streams, *options: str) -> tuple[int, dict[str, int]]:
    ran = streams("dlq", "replay", "p.json", "--json", "--yes", *options)
    counts = {key: ran.data[key] for key in ("replayed", "posted", "already_there", "failed", "waiting")}
    assert counts["replayed"] == sum(counts.values()) - counts["replayed"]
    return ran.code, counts


def numbers(poster: PosterBeside) -> list[str]:
    return sorted(one["NumAtCard"] for one in poster.b1.documents("Orders"))


def test_a_plan_of_nothing_is_no_file(streams: Streams, folder: Path, poster: PosterBeside) -> None:
    assert plan(streams, "--reason", "total_mismatch") == 1
    assert not (folder / "p.json").exists()


def test_a_plan_says_what_each_would_do_and_changes_nothing(
    streams: Streams, folder: Path, poster: PosterBeside, fix: Callable[[], None]
) -> None:
    at_once(poster.work_off(order("1"), order("2"), dispatch("1"), dispatch("9"), order("3", "GB-7")))
    assert plan(streams) == 0
    planned = {one["id"]: one for one in made(folder)["letters"]}
    names = {one["event_id"]: one["id"] for one in streams("dlq", "list", "--json").data}
    assert {planned[names[name]]["would"] for name in names} == {"fail"}
    assert "unmapped_tax_code" in planned[names["1"]]["why"]
    assert f"held by dead letter {names['1']}" in planned[names["D1"]]["why"]
    fix()
    before = (poster.b1.company.sequence, streams("dlq", "list", "--json").data)
    assert plan(streams, "--since", "2026-01-01") == 0
    assert (poster.b1.company.sequence, streams("dlq", "list", "--json").data) == before
    found = made(folder)
    would = {one["id"]: one["would"] for one in found["letters"]}
    assert {name: would[id_] for name, id_ in names.items()} == {
        "1": "post",
        "2": "post",
        "D1": "post",
        "D9": "fail",
        "3": "fail",
    }
    assert set(found) == {"made_at", "by", "selection", "hash", "letters"}
    assert set(found["letters"][0]) == {"id", "would", "why"}
    assert found["selection"] == {"since": "2026-01-01T00:00:00+00:00"}
    assert streams("audit", "--json").data == []
    assert PERSON not in (folder / "p.json").read_text(encoding="utf-8")


def test_a_replay_after_the_fix_posts_each_once_and_again_it_is_already_there(
    streams: Streams, folder: Path, poster: PosterBeside, fix: Callable[[], None]
) -> None:
    """F29."""
    at_once(poster.work_off(order("1"), order("2"), dispatch("1"), order("3", "GB-7")))
    fix()
    assert plan(streams) == 0
    dry = streams("dlq", "replay", "p.json", "--dry-run", "--json")
    assert (dry.code, dry.data["posted"], dry.data["failed"]) == (0, 3, 1)
    assert numbers(poster) == []
    assert replay(streams) == (
        1,
        {"replayed": 4, "posted": 3, "already_there": 0, "failed": 1, "waiting": 0},
    )
    assert numbers(poster) == ["1", "2"]
    assert len(poster.b1.documents("DeliveryNotes")) == 1
    assert replay(streams) == (1, {"replayed": 4, "posted": 0, "already_there": 3, "failed": 1, "waiting": 0})
    assert (numbers(poster), len(poster.b1.documents("DeliveryNotes"))) == (["1", "2"], 1)
    begun, ended, *_ = streams("audit", "--json").data
    assert (begun["action"], begun["selection_hash"]) == ("dlq replay", made(folder)["hash"])
    assert json.loads(ended["result"])["posted"] == 3
    assert streams("audit", "verify").code == 0


def test_what_is_discarded_since_is_not_replayed_and_counts_nothing(
    streams: Streams, poster: PosterBeside, fix: Callable[[], None]
) -> None:
    at_once(poster.work_off(order("1"), order("2")))
    fix()
    plan(streams)
    assert streams("dlq", "discard", "--order", "1", "--why", "by hand", "--yes").code == 0
    assert replay(streams) == (0, {"replayed": 1, "posted": 1, "already_there": 0, "failed": 0, "waiting": 0})
    assert numbers(poster) == ["2"]


def test_one_that_fails_the_same_way_again_and_again_is_left_alone(
    streams: Streams, poster: PosterBeside, fix: Callable[[], None]
) -> None:
    at_once(poster.work_off(order("1")))
    plan(streams)
    (before,) = streams("dlq", "list", "--json").data
    for _ in range(3):
        assert replay(streams)[1]["failed"] == 1
    (after,) = streams("dlq", "list", "--json").data
    assert (after["id"], after["attempts"]) == (before["id"], 4)
    ran = streams("dlq", "replay", "p.json", "--yes")
    assert (ran.code, "failed the same way each time" in ran.out, "--force" in ran.out) == (1, True, True)
    assert streams("dlq", "list", "--json").data == [after]
    fix()
    assert replay(streams, "--force") == (
        0,
        {"replayed": 1, "posted": 1, "already_there": 0, "failed": 0, "waiting": 0},
    )


def test_it_stops_where_most_of_them_fail(streams: Streams, poster: PosterBeside) -> None:
    at_once(poster.work_off(*(order(str(number)) for number in range(220))))
    plan(streams)
    ran = streams("dlq", "replay", "p.json", "--yes", "--json")
    assert (ran.code, ran.data["failed"]) == (1, 22), "one in a hundred, then one in ten"
    assert "stopped" in json.loads(streams("audit", "--json").data[-1]["result"])


def test_two_at_once_are_harmless(
    streams: Streams, poster: PosterBeside, fix: Callable[[], None], world: World
) -> None:
    """o1, F29."""
    at_once(poster.work_off(*(order(str(number)) for number in range(30))))
    fix()
    plan(streams)
    made_plan = read_plan(Path("p.json").read_text(encoding="utf-8"))

    async def person(name: str) -> RunTally:
        tail, clock = tail_of(world.log, world.config), SystemClock()
        run = Replay(made_plan, await tail.read())
        desk = CommandDesk(
            world.log, world.config, world.codec, clock, tail, Action.REPLAY, Person(command=name, by=name)
        )
        return await run.run(desk, clock, Pace(ramp=(0.1, 1.0), patience_s=20))

    async def both() -> list[RunTally]:
        async with shell.open_log(world.config):
            return await asyncio.gather(person("ada"), person("bob"))

    tallies = at_once(both())
    assert [tally.count("posted", "already_there") for tally in tallies] == [30, 30]
    assert sum(tally.count("posted") for tally in tallies) == 30, "each is counted by who has brought it about"
    assert numbers(poster) == sorted(map(str, range(30)))
    assert len(poster.b1.change_sets) == 30, "each was sent once"


@pytest.mark.parametrize("damage", ["{}", "[]", "x", None])
def test_a_file_that_is_no_plan_or_was_changed_is_wrong_use(
    streams: Streams, folder: Path, poster: PosterBeside, damage: str | None
) -> None:
    at_once(poster.work_off(order("1")))
    plan(streams)
    changed = {**made(folder), "letters": [{"id": "other", "would": "post", "why": None}]}
    (folder / "p.json").write_text(json.dumps(changed) if damage is None else damage, encoding="utf-8")
    assert streams("dlq", "replay", "p.json", "--yes").code == 2
    assert streams("dlq", "replay", "nowhere.json", "--yes").code == 2


def test_without_a_worker_they_wait_and_the_next_run_finds_them_there(
    streams: Streams, poster: PosterBeside, fix: Callable[[], None]
) -> None:
    at_once(poster.work_off(order("1")))
    fix()
    plan(streams)
    poster.runs = False
    ran = streams("dlq", "replay", "p.json", "--yes", "--json", "--timeout", "0.5")
    assert (ran.code, ran.data["waiting"]) == (1, 1)
    poster.runs = True
    at_once(poster.work_off())
    assert replay(streams) == (0, {"replayed": 1, "posted": 0, "already_there": 1, "failed": 0, "waiting": 0})


def test_the_rate_is_kept(streams: Streams, poster: PosterBeside, fix: Callable[[], None]) -> None:
    at_once(poster.work_off(*(order(str(number)) for number in range(4))))
    fix()
    plan(streams)
    loop_time = asyncio.new_event_loop()
    began = loop_time.time()
    assert replay(streams, "--rate", "2")[1]["posted"] == 4
    assert loop_time.time() - began >= 1.0
    loop_time.close()


def test_a_plan_while_b1_is_away_says_so_and_writes_no_file(
    streams: Streams, folder: Path, poster: PosterBeside
) -> None:
    at_once(poster.work_off(order("1")))
    poster.runs, poster.b1.away = False, True
    ran = streams("dlq", "plan", "-o", "p.json")
    assert (ran.code, "503" in ran.err) == (1, True)
    assert not (folder / "p.json").exists()


def test_a_plan_knows_b1s_total(streams: Streams, folder: Path, poster: PosterBeside, fix: Callable[[], None]) -> None:
    at_once(poster.work_off(order("1", grand_total=Decimal(12)), order("2", grand_total=Decimal(13))))
    fix()
    assert plan(streams) == 0
    names = {one["id"]: one["event_id"] for one in streams("dlq", "list", "--json").data}
    would = {names[one["id"]]: (one["would"], (one["why"] or "")[:14]) for one in made(folder)["letters"]}
    assert would == {"1": ("post", ""), "2": ("fail", "total_mismatch")}

"""`streams connect backfill`: what a person asks, and what is said."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors import registry
from connectors.base.cursors import CURSORS, LostRaceError, connector_of
from connectors.base.errors import FatalError, RetriableError
from connectors.base.source import BackfillBatch, TimeRange
from connectors.veeqo.backfill import VeeqoBackfill
from lab.simulators.veeqo.app import VeeqoServer
from lab.simulators.veeqo.state import Account, Line
from schemas.codec import embedded_codec
from schemas.events import OrderPlaced
from schemas.topics import FACTS
from streams.cli.progress import Bar
from streams.connect import backfill
from streams.connect import runner as connect
from streams.telemetry import logs
from tests.streams.facts import World

AT = datetime(2026, 3, 14, 9, tzinfo=UTC)
SPAN = ("--from", "2026-03-01", "--to", "2026-04-01T00:00:00+00:00")
SECTION = """
[connectors.vq]
kind = "veeqo"
company = "acme"
api_key = "env:VEEQO_KEY"
page_size = 2
start_at = "2026-03-14T09:00:02Z"
"""


@pytest.fixture
def account(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Five orders of a Veeqo account, the third of them cancelled, the fourth of no use."""
    monkeypatch.setenv("VEEQO_KEY", "canary-key")
    with (folder / "streams.toml").open("a", encoding="utf-8") as file:
        file.write(SECTION)
    now = [AT]
    account = Account(lambda: now[0])
    account.add_warehouse(11, "Main")
    account.add_product("TEA", {11: 100})
    for number in range(1, 6):
        now[0] = AT + timedelta(seconds=number)
        account.place_order(Line("TEA", 1, "10.00"), id=number, number=f"#{number}")
    account.cancel(3)
    account.touch(4, line_items=[])

    def make(name: str, settings: Any, clock: Any, span: TimeRange, live: str | None) -> VeeqoBackfill:
        server = VeeqoServer(account, frozenset({"canary-key"}), lambda: 0.0)
        return VeeqoBackfill(name, settings, clock, span, live, transport=httpx.ASGITransport(server))

    kind = replace(registry.KINDS["veeqo"], backfill=make)
    monkeypatch.setitem(registry.KINDS, "veeqo", kind)
    return account


def records(world: World, name: str) -> list[Any]:
    topic = world.config.topic(name)
    return [record for (at, _), log in world.log._records.items() if at == topic for record in log]


def test_a_span_is_published_and_told(account: Account, world: World, streams: Callable[..., Any]) -> None:
    ran = streams("connect", "backfill", "vq", *SPAN, "--json")
    assert (ran.code, ran.err) == (0, "")
    told = ran.data
    assert (told["connector"], told["from"], told["to"]) == (
        "vq",
        "2026-03-01T00:00:00+00:00",
        "2026-04-01T00:00:00+00:00",
    )
    assert (told["events"], told["refused"]) == ({"order_placed": 4, "order_cancelled": 1}, {"invalid_event": 1})
    assert (told["records"], told["finished"], told["before_start"], told["dry_run"]) == (5, True, 1, False)
    placed = [embedded_codec().decode(record.value, OrderPlaced) for record in records(world, "order-placed")]
    assert sorted(event.order_id for event in placed) == ["1", "2", "3", "5"]
    assert {event.source for event in placed} == {"vq"}
    again = streams("connect", "backfill", "vq", *SPAN)
    assert again.code == 0
    assert "finished before" in again.out
    assert len(records(world, "order-placed")) == 4


def test_a_dry_run_leaves_kafka_as_it_is(account: Account, world: World, streams: Callable[..., Any]) -> None:
    ran = streams("connect", "backfill", "vq", *SPAN, "--dry-run")
    assert ran.code == 0
    assert "would be published" in ran.out
    assert "Stock levels are not backfilled" in ran.out
    assert not any(records(world, name) for name in (*FACTS, CURSORS, "dead-letter-state"))


def test_a_back_fill_is_no_orphan(account: Account, world: World, streams: Callable[..., Any]) -> None:
    assert streams("connect", "backfill", "vq", *SPAN).code == 0
    (name,) = {connector_of(record.key) for record in records(world, CURSORS)}
    assert name is not None
    assert name.startswith("vq/backfill/")
    asyncio.run(connect.check_orphans(world.config, world.log))
    rest = {name: each for name, each in world.config.connectors.items() if name != "vq"}
    with pytest.raises(FatalError, match="does not: vq"):
        asyncio.run(connect.check_orphans(replace(world.config, connectors=rest), world.log))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("vq", "--from", "2026-03-01", "--to", "2026-03-01"), "not before"),
        (("vq", "--from", "soon", "--to", "2026-03-01"), "no date"),
        (("vq", "--from", "2026-03-01", "--to", "2099-01-01"), "future"),
        (("nobody", *SPAN), "there is no connector nobody"),
        (("warehouse", *SPAN), "inbox"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_opened(
    account: Account, streams: Callable[..., Any], arguments: tuple[str, ...], words: str
) -> None:
    ran = streams("connect", "backfill", *arguments)
    assert ran.code == 2
    assert words in ran.err


def test_a_vendor_that_is_away_is_asked_again_and_that_is_told(
    account: Account, world: World, streams: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.configure("CRITICAL")  # as the command's entry does
    made = registry.KINDS["veeqo"].backfill
    assert made is not None
    words: list[str] = []
    monkeypatch.setattr(Bar, "show", lambda _bar, _part, text: words.append(text))

    class Away:
        """Away once."""

        def __init__(self, source: Any) -> None:
            self._source, self._asked = source, 0
            self.name, self.company = source.name, source.company

        async def read(self, cursor: str | None) -> BackfillBatch:
            self._asked += 1
            if self._asked == 2:
                raise RetriableError("away", retry_after_s=0.0)
            found: BackfillBatch = await self._source.read(cursor)
            return found

        async def close(self) -> None:
            await self._source.close()

    kind = replace(registry.KINDS["veeqo"], backfill=lambda *arguments: Away(made(*arguments)))
    monkeypatch.setitem(registry.KINDS, "veeqo", kind)
    ran = streams("connect", "backfill", "vq", *SPAN, "--json")
    assert (ran.code, ran.data["events"]["order_placed"]) == (0, 4)
    assert any("RetriableError: tried again" in each for each in words)
    assert any("records" in each and "/s, at 2026-03-14" in each for each in words)


def test_where_nobody_has_a_terminal_a_line_comes_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with Bar("backfill of vq", lambda: now[0]) as bar:
        for at in range(25):
            now[0] = float(at)
            bar.show(at / 25, f"{at} records")
    _, err = capsys.readouterr()
    assert err.splitlines() == ["backfill of vq: 40%, 10 records", "backfill of vq: 80%, 20 records"]


def test_of_two_on_one_span_the_one_that_lost_says_so(
    account: Account, world: World, streams: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lose(*_arguments: Any, **_named: Any) -> None:
        raise LostRaceError("vq/backfill: another process has written a cursor")

    monkeypatch.setattr(backfill, "run", lose)
    ran = streams("connect", "backfill", "vq", *SPAN)
    assert ran.code == 1
    assert "another process reads this time range" in ran.err

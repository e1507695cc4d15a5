"""The contract of every back-fill, on every kind that has one; what a kind needs for it is in `CASES`."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from connectors.base.cursors import CURSORS, Cursors, LostRaceError, backfill_name, connector_of, owner_of
from connectors.base.dead_letters import DeadLetters
from connectors.base.errors import FatalError, RetriableError
from connectors.base.publisher import Publisher
from connectors.base.source import BackfillBatch, Batch, StockLevel, TimeRange
from connectors.magento.backfill import MagentoBackfill
from connectors.registry import KINDS
from connectors.seko.backfill import SekoBackfill
from connectors.shopify import backfill as shopify_span
from connectors.shopify.backfill import ShopifyBackfill
from connectors.veeqo.backfill import VeeqoBackfill
from lab.conformance import suite
from lab.conformance.case import CANARY
from lab.conformance.memory import NOW, FixedClock
from lab.simulators.magento.app import build_app
from lab.simulators.veeqo.app import VeeqoServer
from schemas.events import EVENT_TYPES, identity
from schemas.topics import FACTS
from streams.connect.backfill import Nowhere, TalliedSource, Tally, drive
from tests.connectors import test_contract as contract
from tests.connectors.magento import stage as magento
from tests.connectors.seko import stage as seko
from tests.connectors.shopify import stage as shopify

SPAN = TimeRange(NOW - timedelta(days=1), NOW + timedelta(days=1))
KEY = backfill_name("wms", SPAN)


async def _no_time(_seconds: float) -> None:
    await asyncio.sleep(0)


def _magento(settings: Any, clock: Any, span: TimeRange, live: str | None) -> MagentoBackfill:
    transport = httpx.ASGITransport(build_app(magento.shop_of(clock)))
    return MagentoBackfill("wms", settings, clock, span, live, transport=transport)


def _seko(settings: Any, clock: Any, span: TimeRange, live: str | None) -> SekoBackfill:
    return SekoBackfill("wms", settings, clock, span, live, transport=httpx.ASGITransport(seko.hub_of(clock)))


def _shopify(settings: Any, clock: Any, span: TimeRange, live: str | None) -> ShopifyBackfill:
    # One shop of a test: an operation that was started is there after a restart.
    if not hasattr(clock, "shop"):
        clock.shop = shopify.shop_of(clock)
    transport = httpx.ASGITransport(clock.shop)
    return ShopifyBackfill("wms", settings, clock, span, live, transport=transport, sleep=_no_time)


def _veeqo(settings: Any, clock: Any, span: TimeRange, live: str | None) -> VeeqoBackfill:
    server = VeeqoServer(contract._veeqo_account(clock), frozenset({CANARY}), lambda: 0.0)
    return VeeqoBackfill("wms", settings, clock, span, live, transport=httpx.ASGITransport(server))


#: How the span of a kind is made.
STAGES: Mapping[str, Callable[[Any, Any, TimeRange, str | None], Any]] = {
    "magento": _magento,
    "seko": _seko,
    "shopify": _shopify,
    "veeqo": _veeqo,
}


@dataclass
class Play:
    kind: str
    broker: Any
    codec: Any
    clock: Any
    live: str | None = None
    span: TimeRange = SPAN
    settled: frozenset[str] = frozenset()
    start_at: datetime | None = None
    told: list[tuple[Tally, str]] = field(default_factory=list)

    def source(self) -> Any:
        stage = contract.CASES[self.kind]
        table = {"kind": self.kind, "company": "acme", **stage.settings}
        settings = KINDS[self.kind].settings.model_validate(table, context={"environ": stage.environ})
        return STAGES[self.kind](settings, self.clock, self.span, self.live)

    def cursors(self, broker: Any = None) -> Cursors:
        name = backfill_name("wms", self.span)
        return Cursors(name, broker or self.broker, self.codec, self.clock, topic=CURSORS, partition=1)

    async def run(self, broker: Any = None) -> Tally:
        broker = broker or self.broker
        source = self.source()
        tell = lambda tally, doing: self.told.append((tally, doing))  # noqa: E731 -- a line of it
        _, tally = await drive(
            TalliedSource(source, self.settled, self.start_at, tell),
            cursors=self.cursors(broker),
            publisher=Publisher(broker, self.codec, self.clock, str),
            letters=DeadLetters(broker, self.codec, self.clock, str, lambda _company: 2),
            failed=lambda _error: None,
        )
        return tally

    def facts(self) -> dict[tuple[str, ...], set[Any]]:
        found: dict[tuple[str, ...], set[Any]] = {}
        for topic in FACTS:
            for stored in self.broker.all(topic):
                event = self.codec.decode(stored.value, tuple(EVENT_TYPES.values()))
                found.setdefault((topic, *identity(event)), set()).add(event)
        return found

    def letters(self) -> set[bytes]:
        return {stored.key for stored in self.broker.all("dead-letter-state")}


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(shopify_span, "BATCH_ORDERS", 2)


@pytest.fixture(params=sorted(STAGES))
def play(request, small, broker, codec) -> Play:
    return Play(request.param, broker, codec, FixedClock())


@pytest.fixture
async def live(play, tmp_path, monkeypatch, make_broker):
    """What the live connector says of the same things."""
    stage = contract.CASES[play.kind]
    stage.fill(tmp_path, monkeypatch)
    run = suite.Play(contract.CASES[play.kind], tmp_path, make_broker())
    await run.run()
    return run


def test_every_kind_that_has_a_past_has_a_stage():
    assert STAGES.keys() == {name for name, kind in KINDS.items() if kind.backfill is not None}


async def test_it_says_what_the_live_connector_says_under_the_same_identities(play, live):
    tally = await play.run()
    facts = play.facts()
    expected = {name: events for name, events in live.facts().items() if name in facts}
    assert facts == expected
    # Only an order that was placed and cancelled before anybody looked differs by kind: nobody's business, or both.
    assert {name for name in live.facts() if name not in facts} <= {
        name for name in live.facts() if "cancel" in name[1]
    }
    assert tally.published == sum(len(play.broker.all(topic)) for topic in FACTS)
    assert play.letters() == {letter.encode() for letter in live.letters()}
    assert sum(tally.refused.values()) == len(live.letters())
    assert tally.finished
    assert tally.part == 1.0
    assert tally.records > 0


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_crash_at_any_await_loses_and_changes_nothing(play, make_broker, crash, when):
    whole = await play.run()
    expected, letters = play.facts(), play.letters()
    points = 0
    for point in range(1, 300):
        run = Play(play.kind, make_broker(), play.codec, FixedClock())
        left = point

        def count(what):
            nonlocal left
            left -= 1
            if left == 0:
                raise crash(what)

        setattr(run.broker, when, count)
        try:
            await run.run()
        except crash:
            points += 1
            setattr(run.broker, when, lambda _what: None)
            await run.run()
        if left > 0:
            break
        assert run.facts() == expected
        assert run.letters() == letters
        tally = Tally.from_text((await position_of(run)).cursor)
        assert (tally.records, tally.events, tally.refused) == (whole.records, whole.events, whole.refused)
    assert points > 8


async def position_of(run):
    cursors = run.cursors()
    await cursors.look()
    return cursors.position


async def test_what_is_read_again_says_the_same(play):
    first, second = play.source(), play.source()
    cursor = None
    for _ in range(100):
        batch = await first.read(cursor)
        if batch.items:
            assert await second.read(cursor) == batch
        cursor = batch.cursor
        if batch.idle:
            break
    assert (await second.read(cursor)).items == ()
    await first.close()
    await second.close()


async def test_a_dry_run_publishes_nothing_and_moves_nothing_and_counts_the_same(play):
    dry = await play.run(Nowhere())
    assert dict(play.broker.logs) == {}
    wet = await play.run()
    assert (dry.events, dry.refused, dry.records) == (wet.events, wet.refused, wet.records)


async def test_it_has_a_key_of_its_own_and_the_live_cursor_stays(play):
    live = Cursors("wms", play.broker, play.codec, play.clock, topic=CURSORS, partition=1)
    await live.load()
    before = live.position
    await play.run()
    await live.look()
    assert live.position == before
    names = {connector_of(stored.key) for stored in play.broker.all(CURSORS)}
    assert names == {"wms", KEY}
    assert {owner_of(name) for name in names} == {"wms"}


async def test_what_is_finished_is_not_read_again(play):
    first = await play.run()
    sent = len(play.broker.calls)
    assert await play.run() == first
    assert {each for each in play.broker.calls[sent:] if each.startswith("send")} == {f"send {CURSORS}"}


async def test_a_letter_that_exists_is_left_as_somebody_has_left_it(play):
    await play.run()
    assert play.letters()
    again = Play(play.kind, type(play.broker)(), play.codec, FixedClock())
    again.settled = frozenset(letter.decode() for letter in play.letters())
    tally = await again.run()
    assert (again.letters(), tally.refused, tally.already_past) == (set(), {}, len(play.letters()))


async def test_nothing_outside_of_the_span_comes(play):
    play.span = TimeRange(NOW - timedelta(days=9), NOW - timedelta(days=2))
    tally = await play.run()
    assert (play.facts(), tally.records, tally.finished) == ({}, 0, True)


async def test_a_broker_that_refuses_for_a_while_loses_nothing(play):
    refusals = 2

    def refuse(what):
        nonlocal refusals
        if what == f"send {contract.CASES[play.kind].first}" and refusals:
            refusals -= 1
            raise RetriableError("no leader", retry_after_s=0.0)

    play.broker.before = refuse
    tally = await play.run()
    assert (refusals, tally.finished) == (0, True)
    assert len(play.facts()) == sum(tally.events.values())


async def test_of_two_on_one_span_the_first_stops(play):
    taken = False
    send = play.broker.send_many

    async def take_over(records):
        nonlocal taken
        if records[0].topic != CURSORS and not taken:
            taken = True
            await play.cursors().load()
        return await send(records)

    play.broker.send_many = take_over
    with pytest.raises(LostRaceError):
        await play.run()
    assert (await play.run()).finished


async def test_events_before_start_at_are_told_apart(play):
    play.start_at = NOW + timedelta(days=1)
    tally = await play.run()
    assert tally.before_start == tally.published > 0


@pytest.mark.parametrize("kind", ["magento", "veeqo"])
async def test_what_the_live_connector_remembers_to_have_told_is_left_out(kind, small, broker, codec, tmp_path):
    run = suite.Play(contract.CASES[kind], tmp_path, type(broker)())
    await run.run()
    play = Play(kind, broker, codec, FixedClock(), live=(await run.position()).cursor)
    tally = await play.run()
    told = {name[0] for name in play.facts()}
    assert tally.already_past > 0
    assert "order-placed" not in told
    assert "dispatch-confirmed" not in told


class Made:
    """A source that says what it is told to."""

    name, company = "wms", "acme"

    def __init__(self, *batches: Batch) -> None:
        self.batches = list(batches)

    async def read(self, cursor: str | None) -> Any:
        return self.batches.pop(0)

    async def close(self) -> None: ...


async def test_a_level_is_none_of_a_past():
    level = StockLevel(
        source="wms",
        company="acme",
        event_id="1",
        occurred_at=NOW,
        observed_at=NOW,
        sku="A",
        location="M",
        level=1,
        sequence=1,
        reason="count",
    )
    with pytest.raises(FatalError, match="levels"):
        await TalliedSource(Made(BackfillBatch((level,), "1")), frozenset(), None, lambda *_: None).read(None)


def test_a_tally_is_what_it_was_written_as():
    tally = Tally("x", 3, {"order_placed": 2}, {"invalid_event": 1}, 4, 1, datetime(2026, 3, 1, tzinfo=UTC), 0.5, True)
    assert Tally.from_text(tally.to_text()) == tally
    assert Tally.from_text(None) == Tally()
    for text in ("{}", "[]", "x", '{"reached": 3}'):
        with pytest.raises(FatalError):
            Tally.from_text(text)


def test_a_span_has_its_beginning_and_not_its_end():
    assert SPAN.since in SPAN
    assert SPAN.until not in SPAN
    assert (SPAN.part(SPAN.since), SPAN.part(NOW), SPAN.part(SPAN.until + timedelta(days=3))) == (0.0, 0.5, 1.0)

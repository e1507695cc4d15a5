"""What every connector promises, over every row of the registry: a new row needs an entry in STAGES, nothing else."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from connectors.base.cursors import CURSORS, Cursors, LostRaceError, Position
from connectors.base.dead_letters import DeadLetters
from connectors.base.errors import RetriableError
from connectors.base.metrics import NoMetrics
from connectors.base.publisher import Publisher
from connectors.base.settings import Secret
from connectors.registry import KINDS
from connectors.runtime import Runtime
from connectors.veeqo.records import VeeqoAllocation, VeeqoOrder, kept
from connectors.veeqo.source import VeeqoSource
from lab.simulators.veeqo.app import VeeqoServer
from lab.simulators.veeqo.state import Account, Line
from schemas.events import EVENT_TYPES, identity
from schemas.letters import letter_id
from schemas.records import Cursor, DeadLetterState
from schemas.topics import FACTS, dead_letter_topic
from tests.connectors.conftest import Immediately
from tests.connectors.ims import stage as ims
from tests.connectors.magento import stage as magento
from tests.connectors.seko import stage as seko
from tests.connectors.shopify import stage as shopify


class FixedClock:
    def now(self) -> datetime:
        return datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


AT = "2026-11-21T09:30:00Z"
CANARY = "canary-5ecret"
BAD = b'{"type": "stock_adjusted", "event_id": "bad", "sku": "A", "note": "canary@example.com"'
INVALID = json.dumps(
    {"type": "order_placed", "order_id": "o9", "occurred_at": AT, "currency": "GBP", "lines": [], "note": CANARY}
).encode()


def _moves() -> list[bytes]:
    """Deltas, levels (baseline, changed, stale, unchanged), a repeat, and two lines that cannot be taken."""
    base = {"type": "stock_adjusted", "occurred_at": AT, "reason": "count"}
    lines: list[dict[str, Any] | bytes] = [
        {**base, "event_id": "d1", "sku": "A", "location": "MAIN", "delta": "2.5"},
        {**base, "event_id": "l1", "sku": "B", "location": "MAIN", "level": "100", "sequence": 1},
        BAD,
        {**base, "event_id": "l2", "sku": "B", "location": "MAIN", "level": "90", "sequence": 3},
        {**base, "event_id": "l3", "sku": "B", "location": "MAIN", "level": "95", "sequence": 2},
        {**base, "event_id": "l4", "sku": "B", "location": "MAIN", "level": "97", "sequence": 4},
        INVALID,
        {**base, "event_id": "d1", "sku": "A", "location": "MAIN", "delta": "2.5"},
        {**base, "event_id": "l5", "sku": "B", "location": "MAIN", "level": "97", "sequence": 5},
        {"type": "order_cancelled", "event_id": "c1", "order_id": "o1", "occurred_at": AT},
        {**base, "event_id": "l6", "sku": "B", "location": "MAIN", "level": "80.25", "sequence": 6},
    ]
    return [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]


@dataclass(frozen=True)
class Stage:
    """A vendor's system with a handful of records in it, read in several batches, and what one run over it comes to.

    Attributes:
        settings: Its `[connectors.wms]`, without kind and company.
        fill: Puts the records there.
        facts: Topic and identity of every event.
        published: Events, repeats included.
        letters: Topic, bytes, reason and origin of each record that cannot be taken.
        refused: What the cursor counts of them.
        refill: Undoes tidying up.
        deltas: Of the stock events, by event id.
        no_op: What the cursor counts of levels.
        source: Makes the source where it has no files: with the simulator in place of the network.
        environ: Its secrets.
        first: The topic that the first batch publishes to; not the last one alone.
        kind: Its row of the registry, where that is not the stage's own name.
        serve: What has to run meanwhile.
    """

    settings: dict[str, Any]
    fill: Callable[[Path, pytest.MonkeyPatch], None]
    facts: frozenset[tuple[str, ...]]
    published: int
    letters: tuple[tuple[str, bytes, str, str], ...]
    refused: dict[str, int]
    refill: Callable[[Path], None] = lambda _folder: None
    deltas: dict[str, Decimal] = field(default_factory=dict)
    no_op: dict[str, int] = field(default_factory=dict)
    source: Callable[[str, Any, Any, Path], Any] | None = None
    environ: dict[str, str] = field(default_factory=dict)
    first: str = "stock-adjusted"
    kind: str = ""
    serve: Callable[[], AbstractAsyncContextManager[None]] = nullcontext


def _fill_inbox(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.ims.source.BATCH_LINES", 4)
    inbox = folder / "in"
    inbox.mkdir()
    (inbox / "a.jsonl").write_bytes(b"\n".join(_moves()[:8]))
    (inbox / "b.jsonl").write_bytes(b"\n".join(_moves()[8:]))


def _refill_inbox(folder: Path) -> None:
    for path in (folder / "in").glob("done/*"):
        path.rename(folder / "in" / path.name)


def _veeqo_account(clock: Any) -> Account:
    """Orders on three pages; one without lines and one shipment without a time cannot be taken."""
    account = Account(clock.now, canary=CANARY)
    account.add_warehouse(11, "Main")
    account.add_product("A", {11: 100})
    account.add_product("B", {11: 100})
    for number in range(1, 7):
        account.place_order(Line("A", 2, "10.00"), id=number, number=f"#{number}")
    account.dispatch(2, 11, {"A": 1})
    account.cancel(3)
    account.touch(4, line_items=[], customer_note={"text": CANARY})
    account.dispatch(5, 11, {"A": 2}, tracking=CANARY)
    account.orders[5]["allocations"][0]["shipment"]["created_at"] = None
    return account


def _veeqo_source(name: str, settings: Any, clock: Any, _folder: Path) -> VeeqoSource:
    server = VeeqoServer(_veeqo_account(clock), frozenset({CANARY}), lambda: 0.0)
    return VeeqoSource(name, settings, clock, transport=httpx.ASGITransport(server))


def _veeqo_letters() -> tuple[tuple[str, bytes, str, str], ...]:
    account = _veeqo_account(FixedClock())
    order, allocation = account.orders[4], account.orders[5]["allocations"][0]
    return (
        (dead_letter_topic("order-placed"), kept(VeeqoOrder, order), "invalid_event", "orders/4"),
        (dead_letter_topic("dispatch-confirmed"), kept(VeeqoAllocation, allocation), "invalid_event", "orders/5"),
    )


STAGES = {
    "ims": Stage(
        {"inbox": "in"},
        _fill_inbox,
        facts=frozenset(
            {
                ("stock-adjusted", "d1", "A", "MAIN"),
                *(("stock-adjusted", each, "B", "MAIN") for each in ("l2", "l4", "l6")),
                ("order-cancelled", "c1"),
            }
        ),
        published=6,
        letters=(
            ("inbox-dead-letter", BAD, "unreadable", "a.jsonl"),
            (dead_letter_topic("order-placed"), INVALID, "invalid_event", "a.jsonl"),
        ),
        refused={"inbox": 1, "order_placed": 1},
        refill=_refill_inbox,
        deltas={"d1": Decimal("2.5"), "l2": Decimal(-10), "l4": Decimal(7), "l6": Decimal("-16.75")},
        no_op={"stock_adjusted": 3},
    ),
    "magento": Stage(
        magento.SETTINGS,
        lambda _folder, _monkeypatch: None,
        facts=magento.FACTS,
        published=len(magento.FACTS),
        letters=magento.letters_of(FixedClock()),
        refused={"order_placed": 1, "dispatch_confirmed": 1},
        source=magento.source_of,
        environ=magento.ENVIRON,
        first="order-placed",
    ),
    "seko": Stage(
        seko.SETTINGS,
        seko.fill,
        facts=seko.FACTS,
        published=len(seko.FACTS),
        letters=seko.letters_of(FixedClock()),
        refused={"dispatch_confirmed": 1, "stock_adjusted": 1},
        deltas=seko.DELTAS,
        source=seko.source_of,
        environ=seko.ENVIRON,
        first="dispatch-confirmed",
    ),
    "shopify": Stage(
        shopify.SETTINGS,
        shopify.fill,
        facts=shopify.FACTS,
        published=len(shopify.FACTS),
        letters=shopify.letters_of(FixedClock()),
        refused={"order_placed": 1},
        source=shopify.source_of,
        environ=shopify.ENVIRON,
        no_op={"stock_adjusted": 1},
        first="order-placed",
    ),
    "veeqo": Stage(
        {"api_key": "env:VEEQO_KEY", "page_size": 2},
        lambda _folder, _monkeypatch: None,
        facts=frozenset(
            {
                *(("order-placed", each) for each in "12356"),
                ("dispatch-confirmed", "6011"),
                ("order-cancelled", "3-cancelled"),
            }
        ),
        published=7,
        letters=_veeqo_letters(),
        refused={"order_placed": 1, "dispatch_confirmed": 1},
        source=_veeqo_source,
        environ={"VEEQO_KEY": CANARY},
        no_op={"stock_adjusted": 1},
        first="order-placed",
    ),
}


STAGES["ims over sftp"] = replace(
    STAGES["ims"],
    settings=ims.SFTP,
    environ=ims.ENVIRON,
    source=ims.sftp_source,
    kind="ims",
    serve=ims.serve_sftp,
)
STAGES["ims over https"] = replace(
    STAGES["ims"], settings=ims.HTTPS, environ=ims.ENVIRON, source=ims.https_source, kind="ims"
)


class StopWhenIdle(NoMetrics):
    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def looked(self, connector: str, idle: bool) -> None:
        if idle:
            self._stop.set()


@dataclass
class Play:
    name: str
    folder: Path
    broker: Any
    codec: Any
    clock: Any

    def source(self) -> Any:
        row, stage = KINDS[self.kind], self.stage
        table = {"kind": self.kind, "company": "acme", **stage.settings}
        settings = row.settings.model_validate(table, context={"folder": self.folder, "environ": stage.environ})
        if stage.source is not None:
            return stage.source("wms", settings, self.clock, self.folder)
        return row.source("wms", settings, self.clock)

    @property
    def stage(self) -> Stage:
        return STAGES[self.name]

    @property
    def kind(self) -> str:
        return self.stage.kind or self.name

    def cursors(self) -> Cursors:
        return Cursors("wms", self.broker, self.codec, self.clock, topic=CURSORS, partition=1)

    async def run(self) -> None:
        """One process, from its start until its source is idle."""
        stop = asyncio.Event()
        runtime = Runtime(
            self.source(),
            cursors=self.cursors(),
            publisher=Publisher(self.broker, self.codec, self.clock, str),
            letters=DeadLetters(self.broker, self.codec, self.clock, str, lambda _company: 2),
            metrics=StopWhenIdle(stop),
            poll_interval_s=0.01,
            random=Immediately(),
        )
        await runtime.run(stop)

    def facts(self) -> dict[tuple[str, ...], set[Any]]:
        """What was published under each identity; the same twice is one."""
        found: dict[tuple[str, ...], set[Any]] = {}
        for topic in FACTS:
            for stored in self.broker.all(topic):
                event = self.codec.decode(stored.value, tuple(EVENT_TYPES.values()))
                found.setdefault((topic, *identity(event)), set()).add(event)
        return found

    def letters(self) -> dict[str, DeadLetterState]:
        states = [self.codec.decode(stored.value, DeadLetterState) for stored in self.broker.all("dead-letter-state")]
        return {state.id: state for state in states}

    async def position(self) -> Position:
        cursors = self.cursors()
        await cursors.load()
        return cursors.position


@pytest.fixture(params=sorted(STAGES))
async def play(request, tmp_path, monkeypatch, broker, codec, clock) -> AsyncIterator[Play]:
    stage = STAGES[request.param]
    stage.fill(tmp_path, monkeypatch)
    async with stage.serve():
        yield Play(request.param, tmp_path, broker, codec, clock)


def test_every_row_has_a_stage():
    assert {stage.kind or name for name, stage in STAGES.items()} == KINDS.keys()


async def test_every_record_ends_as_an_event_a_letter_or_a_no_op(play):
    await play.run()
    facts, stage = play.facts(), play.stage
    assert facts.keys() == stage.facts
    deltas = {key[1]: next(iter(events)).delta for key, events in facts.items() if key[0] == "stock-adjusted"}
    assert deltas == stage.deltas
    assert sum(len(play.broker.all(topic)) for topic in FACTS) == stage.published
    position = await play.position()
    assert (position.no_op, position.refused) == (stage.no_op, stage.refused)
    assert len(play.letters()) == len(stage.letters)


async def test_a_record_that_does_not_parse_is_a_letter_with_its_bytes_and_the_rest_goes_on(play):
    await play.run()
    for letter_topic, value, reason, origin in play.stage.letters:
        (stored,) = play.broker.all(letter_topic)
        assert stored.value == value
        headers = dict(stored.headers)
        assert headers["b1streams.reason"] == reason.encode()
        assert headers["b1streams.file"] == origin.encode()
        digest, line = headers["b1streams.file_digest"].decode(), int(headers["b1streams.line"])
        state = play.letters()[letter_id("wms", digest, line)]
        assert headers["b1streams.id"] == state.id.encode()
        topic, partition, offset = state.letter_topic, state.letter_partition, state.letter_offset
        assert play.broker.logs[topic, partition][offset] == stored
        assert (state.state, state.source, state.company) == ("dead", "wms", "acme")
    assert play.broker.logs["dead-letter-state", 2]


async def test_the_cursor_moves_only_after_the_broker_has_everything_before_it(play):
    source, cursor, behind, expected = play.source(), None, set(), {None: (frozenset(), 0)}
    refused = 0
    while not (batch := await source.read(cursor)).idle:
        cursor = batch.cursor
        behind |= {identity(event) for event in batch.events}
        refused += len(batch.refused)
        expected[cursor] = frozenset(behind), refused
    await source.close()
    play.stage.refill(play.folder)
    send, written = play.broker.send_many, []

    async def look(records):
        if records[0].topic == CURSORS:
            for each in records:
                record = play.codec.decode(each.value, Cursor)
                if record.sku is None:
                    written.append(Position.from_json(record.position).cursor)
                    identities, letters = expected[written[-1]]
                    assert identities <= {key[1:] for key in play.facts()}
                    assert len(play.letters()) >= letters
        return await send(records)

    play.broker.send_many = look
    await play.run()
    assert written == list(expected)


async def test_nothing_moves_while_the_broker_refuses(play):
    refusals = 3

    def refuse(what):
        nonlocal refusals
        if what == f"send {play.stage.first}" and refusals:
            refusals -= 1
            raise RetriableError("no leader", retry_after_s=0.0)

    play.broker.before = refuse
    await play.run()
    assert refusals == 0
    assert play.facts().keys() == play.stage.facts
    assert all(len(events) == 1 for events in play.facts().values())


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_crash_at_any_await_loses_and_changes_nothing(play, make_broker, crash, tmp_path, monkeypatch, when):
    await play.run()
    expected, letters = play.facts(), set(play.letters())
    counts = await play.position()
    points = 0
    for point in range(1, 500):
        folder = tmp_path / f"{point}"
        folder.mkdir()
        play.stage.fill(folder, monkeypatch)
        run = Play(play.name, folder, make_broker(), play.codec, play.clock)
        left = point

        def count(what, run=run):
            nonlocal left
            left -= 1
            if left == 0:
                raise crash(what)

        setattr(run.broker, when, count)
        try:
            await run.run()
        except crash:
            points += 1
            await run.run()
        was_reached = left <= 0
        setattr(run.broker, when, lambda _what: None)
        facts = run.facts()
        assert facts.keys() == expected.keys()
        assert all(len(events) == 1 for events in facts.values())
        assert facts == expected
        assert set(run.letters()) == letters
        position = await run.position()
        assert (position.cursor, position.refused) == (counts.cursor, counts.refused)
        assert position.no_op == counts.no_op
        if not was_reached:
            break
    assert points > 10


async def test_two_crashes_in_a_row_lose_and_change_nothing(play, make_broker, crash, tmp_path, monkeypatch):
    """At every third point, and then at every third after it; beyond the last one that is reached nothing is new."""
    await play.run()
    expected, pairs = play.facts(), 0
    for first in range(1, 40, 3):
        for second in range(1, 20, 3):
            folder = tmp_path / f"{first}-{second}"
            folder.mkdir()
            play.stage.fill(folder, monkeypatch)
            run = Play(play.name, folder, make_broker(), play.codec, play.clock)
            crashes = []
            for left in (first, second):
                remaining = [left]

                def count(what, remaining=remaining):
                    remaining[0] -= 1
                    if remaining[0] == 0:
                        raise crash(what)

                run.broker.after = count
                try:
                    await run.run()
                except crash:
                    crashes.append(left)
            run.broker.after = lambda _what: None
            await run.run()
            assert run.facts() == expected
            pairs += len(crashes) == 2
            if second not in crashes[1:]:
                break
        if not crashes:
            break
    assert pairs > 5


async def test_what_is_read_again_says_the_same_under_the_same_identities(play):
    first, second = play.source(), play.source()
    cursor = None
    while not (batch := await first.read(cursor)).idle:
        assert await first.read(cursor) == batch
        assert await second.read(cursor) == batch
        cursor = batch.cursor
    await first.close()
    await second.close()


async def test_a_process_that_was_taken_over_publishes_no_level_and_moves_no_cursor(play):
    taken = False
    send = play.broker.send_many

    async def take_over(records):
        nonlocal taken
        if records[0].topic == CURSORS and len(play.broker.all(CURSORS)) == 1 and not taken:
            taken = True
            await play.cursors().load()
        return await send(records)

    play.broker.send_many = take_over
    with pytest.raises(LostRaceError):
        await play.run()
    if play.stage.deltas and play.stage.no_op:  # of levels; movements are the source's own and harmless
        assert play.facts() == {}
    await play.run()
    assert play.facts().keys() == play.stage.facts


async def test_stop_ends_it_after_the_batch_under_way(play):
    stop = asyncio.Event()
    play.broker.after = lambda what: stop.set() if what == f"send {play.stage.first}" else None
    runtime = Runtime(
        play.source(),
        cursors=play.cursors(),
        publisher=Publisher(play.broker, play.codec, play.clock, str),
        letters=DeadLetters(play.broker, play.codec, play.clock, str, lambda _company: 2),
        metrics=NoMetrics(),
        poll_interval_s=60,
    )
    await runtime.run(stop)
    assert play.broker.calls[-1] == f"send {CURSORS}"
    assert 0 < len(play.facts()) < len(play.stage.facts)


async def test_no_secret_and_no_personal_data_is_shown(play, caplog):
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as logs:
        play.broker.before = lambda what: _fail_once(play, what)
        await play.run()
    shown = [repr(logs), caplog.text, repr(play.source()), str(play.source())]
    shown += [
        repr(dict(each.headers))
        for topic in {letter[0] for letter in play.stage.letters}
        for each in play.broker.all(topic)
    ]
    shown += [repr(state) for state in play.letters().values()]
    assert not [text for text in shown if "canary" in text]
    secrets = [field for field in KINDS[play.kind].settings.model_fields.values() if field.annotation is Secret]
    assert not [field for field in secrets if field.repr and CANARY in repr(field)]


def _fail_once(play, what):
    if what == f"send {play.stage.first}" and play.broker.calls.count(what) == 1:
        raise RetriableError("not now")

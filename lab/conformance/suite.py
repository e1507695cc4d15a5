"""The tests that a connector has to pass; see `ConnectorConformance`."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog

from connectors.base.cursors import CURSORS, Cursors, LostRaceError, Position
from connectors.base.dead_letters import DeadLetters
from connectors.base.errors import RetriableError
from connectors.base.log import Outgoing
from connectors.base.metrics import NoMetrics
from connectors.base.publisher import Publisher
from connectors.base.settings import Secret
from connectors.base.source import Source
from connectors.runtime import Runtime
from lab.conformance.case import CANARY, ConformanceCase
from lab.conformance.memory import Crash, FixedClock, Immediately, MemoryBroker
from schemas.codec import Codec, embedded_codec
from schemas.events import EVENT_TYPES, identity
from schemas.letters import letter_id
from schemas.records import Cursor, DeadLetterState
from schemas.topics import FACTS


class StopWhenIdle(NoMetrics):
    """Ends a run once its source has nothing more."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def looked(self, connector: str, idle: bool) -> None:
        if idle:
            self._stop.set()


@dataclass
class Play:
    """One connector on one Kafka, run and stopped as often as a test likes."""

    case: ConformanceCase
    folder: Path
    broker: Any = field(default_factory=MemoryBroker)  # its methods are replaced here and there
    codec: Codec = field(default_factory=embedded_codec)
    clock: FixedClock = field(default_factory=FixedClock)

    def source(self) -> Source:
        table = {"company": "acme", **self.case.settings}
        context = {"folder": self.folder, "environ": self.case.environ}
        settings = self.case.settings_model.model_validate(table, context=context)
        return self.case.source("wms", settings, self.clock, self.folder)

    def cursors(self) -> Cursors:
        return Cursors("wms", self.broker, self.codec, self.clock, topic=CURSORS, partition=1)

    def runtime(self, metrics: Any, poll_interval_s: float) -> Runtime:
        return Runtime(
            self.source(),
            cursors=self.cursors(),
            publisher=Publisher(self.broker, self.codec, self.clock, str),
            letters=DeadLetters(self.broker, self.codec, self.clock, str, lambda _company: 2),
            metrics=metrics,
            poll_interval_s=poll_interval_s,
            random=Immediately(),
        )

    async def run(self) -> None:
        """One process, from its start until its source is idle."""
        stop = asyncio.Event()
        await self.runtime(StopWhenIdle(stop), 0.01).run(stop)

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


class ConnectorConformance:
    """What every connector promises. A subclass gives its `case`.

    Whatever happens (a record that cannot be taken, a broker that refuses, a crash at any await, two crashes, another
    process that takes over, a stop) every record ends as exactly one event under one identity, as a dead letter with
    its bytes, or as a counted no-op; and nothing that is shown has a secret or personal data in it.
    """

    case: ConformanceCase
    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def connector_case(self) -> ConformanceCase:
        """The case of this test; override it to run the suite over several."""
        return self.case

    @pytest_asyncio.fixture
    async def play(
        self, connector_case: ConformanceCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[Play]:
        connector_case.fill(tmp_path, monkeypatch)
        async with connector_case.serve():
            yield Play(connector_case, tmp_path)

    async def test_every_record_ends_as_an_event_a_letter_or_a_no_op(self, play: Play) -> None:
        await play.run()
        facts, case = play.facts(), play.case
        assert facts.keys() == case.facts
        deltas = {key[1]: next(iter(events)).delta for key, events in facts.items() if key[0] == "stock-adjusted"}
        assert deltas == case.deltas
        assert sum(len(play.broker.all(topic)) for topic in FACTS) == (case.published or len(case.facts))
        position = await play.position()
        assert (position.no_op, position.refused) == (case.no_op, case.refused)
        assert len(play.letters()) == len(case.letters)

    async def test_a_record_that_does_not_parse_is_a_letter_with_its_bytes_and_the_rest_goes_on(
        self, play: Play
    ) -> None:
        await play.run()
        for letter_topic, value, reason, origin in play.case.letters:
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

    async def test_the_cursor_moves_only_after_the_broker_has_everything_before_it(self, play: Play) -> None:
        source, cursor = play.source(), None
        behind, expected = set[Any](), dict[str | None, tuple[frozenset[Any], int]]({None: (frozenset(), 0)})
        refused = 0
        while not (batch := await source.read(cursor)).idle:
            cursor = batch.cursor
            behind |= {identity(event) for event in batch.events}
            refused += len(batch.refused)
            expected[cursor] = frozenset(behind), refused
        await source.close()
        play.case.refill(play.folder)
        send, written = play.broker.send_many, list[str | None]()

        async def look(records: Sequence[Outgoing]) -> Any:
            if records[0].topic == CURSORS:
                for each in records:
                    record = play.codec.decode(each.value or b"", Cursor)
                    if record.sku is None:
                        written.append(Position.from_json(record.position or "{}").cursor)
                        identities, letters = expected[written[-1]]
                        assert identities <= {key[1:] for key in play.facts()}
                        assert len(play.letters()) >= letters
            return await send(records)

        play.broker.send_many = look
        await play.run()
        assert written == list(expected)

    async def test_nothing_moves_while_the_broker_refuses(self, play: Play) -> None:
        refusals = 3

        def refuse(what: str) -> None:
            nonlocal refusals
            if what == f"send {play.case.first}" and refusals:
                refusals -= 1
                raise RetriableError("no leader", retry_after_s=0.0)

        play.broker.before = refuse
        await play.run()
        assert refusals == 0
        assert play.facts().keys() == play.case.facts
        assert all(len(events) == 1 for events in play.facts().values())

    @pytest.mark.parametrize("when", ["before", "after"])
    async def test_a_crash_at_any_await_loses_and_changes_nothing(
        self, play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
    ) -> None:
        await play.run()
        expected, letters = play.facts(), set(play.letters())
        counts = await play.position()
        points = 0
        for point in range(1, 500):
            folder = tmp_path / f"{point}"
            folder.mkdir()
            play.case.fill(folder, monkeypatch)
            run = Play(play.case, folder)
            left = point

            def count(what: str) -> None:
                nonlocal left
                left -= 1
                if left == 0:
                    raise Crash(what)

            setattr(run.broker, when, count)
            try:
                await run.run()
            except Crash:
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

    async def test_two_crashes_in_a_row_lose_and_change_nothing(
        self, play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """At every third point, and then at every third after it.

        Beyond the last one that is reached nothing is new.
        """
        await play.run()
        expected, pairs = play.facts(), 0
        for first in range(1, 40, 3):
            for second in range(1, 20, 3):
                folder = tmp_path / f"{first}-{second}"
                folder.mkdir()
                play.case.fill(folder, monkeypatch)
                run = Play(play.case, folder)
                crashes = []
                for left in (first, second):
                    remaining = [left]

                    def count(what: str, remaining: list[int] = remaining) -> None:
                        remaining[0] -= 1
                        if remaining[0] == 0:
                            raise Crash(what)

                    run.broker.after = count
                    try:
                        await run.run()
                    except Crash:
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

    async def test_what_is_read_again_says_the_same_under_the_same_identities(self, play: Play) -> None:
        first, second = play.source(), play.source()
        cursor = None
        while not (batch := await first.read(cursor)).idle:
            assert await first.read(cursor) == batch
            assert await second.read(cursor) == batch
            cursor = batch.cursor
        await first.close()
        await second.close()

    async def test_a_process_that_was_taken_over_publishes_no_level_and_moves_no_cursor(self, play: Play) -> None:
        taken = False
        send = play.broker.send_many

        async def take_over(records: Sequence[Outgoing]) -> Any:
            nonlocal taken
            if records[0].topic == CURSORS and len(play.broker.all(CURSORS)) == 1 and not taken:
                taken = True
                await play.cursors().load()
            return await send(records)

        play.broker.send_many = take_over
        with pytest.raises(LostRaceError):
            await play.run()
        if play.case.deltas and play.case.no_op:  # of levels; movements are the source's own and harmless
            assert play.facts() == {}
        await play.run()
        assert play.facts().keys() == play.case.facts

    async def test_stop_ends_it_after_the_batch_under_way(self, play: Play) -> None:
        stop = asyncio.Event()
        play.broker.after = lambda what: stop.set() if what == f"send {play.case.first}" else None
        await play.runtime(NoMetrics(), 60.0).run(stop)
        assert play.broker.calls[-1] == f"send {CURSORS}"
        assert 0 < len(play.facts()) < len(play.case.facts)

    async def test_no_secret_and_no_personal_data_is_shown(self, play: Play, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        with structlog.testing.capture_logs() as logs:
            play.broker.before = lambda what: _fail_once(play, what)
            await play.run()
        shown = [repr(logs), caplog.text, repr(play.source()), str(play.source())]
        shown += [
            repr(dict(each.headers))
            for topic in {letter[0] for letter in play.case.letters}
            for each in play.broker.all(topic)
        ]
        shown += [repr(state) for state in play.letters().values()]
        assert not [text for text in shown if "canary" in text]
        secrets = [field for field in play.case.settings_model.model_fields.values() if field.annotation is Secret]
        assert not [field for field in secrets if field.repr and CANARY in repr(field)]


def _fail_once(play: Play, what: str) -> None:
    if what == f"send {play.case.first}" and play.broker.calls.count(what) == 1:
        raise RetriableError("not now")

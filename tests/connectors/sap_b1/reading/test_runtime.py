"""What every connector promises, for readings: whatever happens, the topics say in the end what B1 says."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import structlog

from connectors.base.cursors import CURSORS, Cursors, LostRaceError
from connectors.base.dead_letters import DeadLetters
from connectors.base.errors import RetriableError
from connectors.base.publisher import Publisher
from connectors.runtime import Runtime
from lab.conformance.memory import Crash, Immediately, MemoryBroker
from lab.conformance.suite import StopWhenIdle
from schemas.codec import Codec, embedded_codec
from schemas.readings import READING_TYPES, B1Reading, subject_of
from tests.connectors.sap_b1.reading.stage import B1

TOPICS = ("item-changed", "stock-level", "order-status-changed", "delivery-posted")


@dataclass
class Play:
    """A company, and a Kafka that its readings go to."""

    b1: B1 = field(default_factory=lambda: B1(items=3))
    broker: Any = field(default_factory=MemoryBroker)
    codec: Codec = field(default_factory=embedded_codec)

    def cursors(self) -> Cursors:
        return Cursors("b1", self.broker, self.codec, self.b1.clock, topic=CURSORS, partition=1)

    def runtime(self, metrics: Any) -> Runtime:
        return Runtime(
            self.b1.source(),
            cursors=self.cursors(),
            publisher=Publisher(self.broker, self.codec, self.b1.clock, str),
            letters=DeadLetters(self.broker, self.codec, self.b1.clock, str, lambda _company: 2),
            metrics=metrics,
            poll_interval_s=0.01,
            random=Immediately(),
        )

    async def run(self) -> None:
        stop = asyncio.Event()
        await self.runtime(StopWhenIdle(stop)).run(stop)

    def known(self) -> dict[tuple[str, ...], B1Reading]:
        """What a reader of the topics knows: of a key the newest reading, wherever it lies."""
        found: dict[tuple[str, ...], B1Reading] = {}
        for topic in TOPICS:
            for stored in self.broker.all(topic):
                record = self.codec.decode(stored.value, tuple(READING_TYPES.values()))
                key = (topic, *subject_of(record))
                if key not in found or found[key].age <= record.age:
                    found[key] = record
        return found

    def said(self) -> dict[tuple[str, ...], B1Reading]:
        """The same, without when."""
        return {key: replace(each, reading=0, as_of=self.b1.clock.now()) for key, each in self.known().items()}


def day_of(b1: B1) -> None:
    """Something to read."""
    order = b1.order(U_STREAMS_KEY="k", U_STREAMS_ORDER="k")
    b1.order("A2")
    b1.deliver(order, 1, TrackingNumber="TN")
    b1.receive("A3", 7)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_crash_at_any_await_leaves_the_topics_saying_what_b1_says(
    when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.sap_b1.reading.source.MAX_RECORDS", 3)
    calm = Play()
    day_of(calm.b1)
    await calm.run()
    points = 0
    for point in range(1, 200):
        play = Play()
        day_of(play.b1)
        left = point

        def count(what: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise Crash(what)

        setattr(play.broker, when, count)
        try:
            await play.run()
        except Crash:
            points += 1
            await play.run()
        assert play.said() == calm.said()
        if left > 0:
            break
    assert points > 5


async def test_a_process_that_was_taken_over_says_nothing_newer_than_its_successor() -> None:
    """It has read, pauses, and publishes behind the one that took over: what it says is older by its own numbers."""
    play = Play()
    day_of(play.b1)
    await play.run()
    play.b1.clock.seconds += 60
    play.b1.receive("A1", 5)
    send, paused = play.broker.send_many, False

    async def pause(records: Any) -> Any:
        nonlocal paused
        if records[0].topic != CURSORS and not paused:
            paused = True
            play.b1.clock.seconds += 60
            play.b1.receive("A1", 5)
            await play.run()  # the successor: it reads what is so now
        return await send(records)

    play.broker.send_many = pause
    with pytest.raises(LostRaceError):
        await play.run()
    level: Any = play.known()["stock-level", "A1", "LON1"]
    assert level.on_hand == play.b1.company.on_hand("A1", "LON1") == 109


async def test_a_broker_that_refuses_loses_nothing() -> None:
    play = Play()
    day_of(play.b1)
    refusals = 3

    def refuse(what: str) -> None:
        nonlocal refusals
        if what in ("send item-changed", "send order-status-changed") and refusals:
            refusals -= 1
            raise RetriableError("no leader", retry_after_s=0.0)

    play.broker.before = refuse
    await play.run()
    calm = Play()
    day_of(calm.b1)
    await calm.run()
    assert refusals == 0
    assert play.said() == calm.said()


async def test_no_address_and_no_password_is_shown() -> None:
    play = Play()
    play.b1.order(CardName="Ann canary")
    with structlog.testing.capture_logs() as logs:
        await play.run()
    shown = repr(logs) + repr(play.b1.source())
    assert not [word for word in ("canary", "High St", "right'") if word in shown]

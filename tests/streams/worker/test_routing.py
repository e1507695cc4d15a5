"""Events of orders on their way to their company's queue."""

from dataclasses import replace
from typing import Any

import pytest

from connectors.base.errors import LogError, LogRefusedError, LogUnavailableError
from schemas.codec import embedded_codec
from schemas.events import FactEvent
from schemas.records import DeadLetterState, Posting
from schemas.topics import BY_NAME
from streams.chain.keys import event_key
from streams.dead_letters.publisher import DeadLetterPublisher
from streams.telemetry.metrics import Metrics
from streams.worker.routing import OrderRouter
from tests.streams.facts import NOW, dispatch, order
from tests.streams.fakes import MemoryLog
from tests.streams.records import FakeBatch, raw, two_companies

CODEC = embedded_codec()


class StoppedClock:
    def now(self) -> Any:
        return NOW

    def monotonic(self) -> float:
        return 0.0


class Road:
    """Two companies, on partitions 0 and 2."""

    def __init__(self, log: type[MemoryLog] = MemoryLog) -> None:
        self.config = two_companies(topic_prefix="t-")
        self.log = log.of(self.config)
        metrics, clock = Metrics(self.config), StoppedClock()
        letters = DeadLetterPublisher(
            self.log, CODEC, self.config.topic, lambda company: 2 if company == "beta" else 0, clock, metrics
        )
        self.router = OrderRouter(self.config, self.log, CODEC, letters, clock, metrics)

    def queue(self, partition: int = 0) -> list[Posting]:
        return [CODEC.decode(one.value or b"", Posting) for one in self.log._records["t-erp-orders", partition]]

    def states(self) -> list[DeadLetterState]:
        return [CODEC.decode(one.value or b"", DeadLetterState) for one in self.log._records["t-dead-letter-state", 0]]


def records(*events: FactEvent | bytes, partition: int = 1) -> FakeBatch:
    return FakeBatch(
        [
            raw(
                "t-order-placed",
                n,
                each if isinstance(each, bytes) else CODEC.encode(each),
                b"k",
                partition=partition,
                timestamp=50 + n,
                headers=[("trace", b"t")],
            )
            for n, each in enumerate(events)
        ]
    )


async def test_an_event_is_queued_with_its_key_its_bytes_and_where_it_lay() -> None:
    road, event = Road(), order("1001")
    batch = records(event)
    await road.router.route("order_placed", batch)
    (posting,) = road.queue()
    assert (posting.k, posting.kind, posting.company, posting.source, posting.order_id, posting.digest) == (
        event_key(event),
        "order_placed",
        "acme",
        "shop",
        "1001",
        event.digest,
    )
    assert (posting.topic, posting.partition, posting.offset, posting.timestamp_ms) == ("t-order-placed", 1, 0, 50)
    assert (posting.key, posting.value, [(h.name, h.value) for h in posting.headers]) == (
        b"k",
        CODEC.encode(event),
        [("trace", b"t")],
    )
    assert batch.finished == {0: {}}


async def test_each_company_has_its_queue_and_order_is_kept() -> None:
    road = Road()
    events = [replace(order(str(n)), company="beta" if n % 3 else "acme") for n in range(9)]
    await road.router.route("order_placed", records(*events))
    assert [posting.order_id for posting in road.queue(0)] == ["0", "3", "6"]
    assert [posting.order_id for posting in road.queue(2)] == ["1", "2", "4", "5", "7", "8"]


@pytest.mark.parametrize(
    ("value", "reason"), [(b"", "unreadable"), (b"\x00\x00\x00\x00\x00", "unknown_schema"), (b"hello", "unreadable")]
)
async def test_what_cannot_be_read_is_a_letter_and_its_neighbours_go_on(value: bytes, reason: str) -> None:
    road = Road()
    batch = records(order("1"), value, order("2"))
    await road.router.route("order_placed", batch)
    assert [posting.order_id for posting in road.queue()] == ["1", "2"]
    (letter,) = road.log._records["t-order-placed-dead-letter", 1]
    assert (letter.key, letter.value) == (b"k", value)
    (state,) = road.log._records["t-dead-letter-state", 0]
    assert CODEC.decode(state.value or b"", DeadLetterState).reason == reason
    assert batch.all_finished


async def test_an_event_of_another_type_is_unreadable_here() -> None:
    road = Road()
    await road.router.route("order_placed", records(dispatch("S", "1")))
    assert not road.queue()
    assert len(road.log._records["t-order-placed-dead-letter", 1]) == 1


async def test_nothing_is_finished_that_the_queue_does_not_have() -> None:
    road = Road()
    road.log.away = "gone"
    batch = records(order("1"), b"")
    with pytest.raises(LogError):
        await road.router.route("order_placed", batch)
    assert not batch.finished


async def test_an_empty_batch_of_a_partition_that_was_given_back_is_nothing() -> None:
    await Road().router.route("order_placed", FakeBatch([]))


class RealLimits(MemoryLog):
    """Refuses what the real topics refuse: records are counted as they lie there uncompressed."""

    async def send_many(self, sending: Any) -> Any:
        for each in sending:
            size = len(each.value or b"") + len(each.key or b"") + sum(len(n) + len(v) for n, v in each.headers)
            if size > BY_NAME[each.topic.removeprefix("t-")].max_message_bytes:
                raise LogRefusedError(f"MessageSizeTooLarge: {size}")
        return await super().send_many(sending)


@pytest.mark.parametrize("what", ["value", "key", "headers"])
async def test_a_record_that_compression_made_small_is_a_dead_letter_with_its_first_bytes(what: str) -> None:
    """6 MiB of noughts are some hundred bytes on the wire; the dead letter of all of it was larger than its topic."""
    road = Road(RealLimits)
    value, key, headers = CODEC.encode(order("1")), b"k", [("trace", b"t")]
    match what:
        case "value":
            value = bytes(6 * 1024 * 1024)
        case "key":
            key = bytes(6 * 1024 * 1024)
        case _:
            headers.append(("baggage", bytes(6 * 1024 * 1024)))
    batch = FakeBatch(
        [
            raw("t-order-placed", 0, value, key, partition=1, headers=headers),
            raw("t-order-placed", 1, CODEC.encode(order("2")), partition=1),
        ]
    )
    await road.router.route("order_placed", batch)
    assert batch.all_finished
    assert [posting.order_id for posting in road.queue()] == ["2"]
    (letter,) = road.log._records["t-order-placed-dead-letter", 1]
    assert dict(letter.headers)["b1streams.reason"] == b"unreadable"
    assert dict(letter.headers)["trace"] == b"t"
    assert value.startswith(letter.value or b"-")
    assert int(dict(letter.headers)[f"b1streams.{what}_size"]) >= 6 * 1024 * 1024
    (state,) = road.states()
    assert (state.reason, state.state, state.offset) == ("unreadable", "dead", 0)


async def test_an_identity_longer_than_the_contract_allows_is_refused_and_not_repeated() -> None:
    road, event = Road(RealLimits), replace(order("1"), order_id="9" * 500_000)
    batch = records(event)
    await road.router.route("order_placed", batch)
    (state,) = road.states()
    assert (state.reason, state.order_id) == ("invalid_event", None)
    assert batch.all_finished


async def test_neither_the_queue_nor_a_dead_letter_is_missing_of_what_is_finished() -> None:
    """Each in turn cannot be written; what is finished by then is as if nothing had been."""
    for topic, value in (("t-erp-orders", CODEC.encode(order("1"))), ("t-order-placed-dead-letter", b"")):
        road = Road()
        send = road.log.send_many

        async def failing(lot: Any, topic: str = topic, send: Any = send) -> Any:
            if any(one.topic == topic for one in lot):
                raise LogUnavailableError("away")
            return await send(lot)

        road.log.send_many = failing  # type: ignore[method-assign]
        batch = records(value)
        with pytest.raises(LogError):
            await road.router.route("order_placed", batch)
        assert not batch.finished, topic


async def test_an_event_of_a_company_that_is_not_configured_is_a_letter() -> None:
    road = Road()
    await road.router.route("order_placed", records(replace(order("1"), company="gamma")))
    (state,) = road.log._records["t-dead-letter-state", 0]
    assert CODEC.decode(state.value or b"", DeadLetterState).reason == "invalid_event"
    assert not road.queue()

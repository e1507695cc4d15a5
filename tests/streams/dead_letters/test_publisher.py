"""Original bytes and key first, then the state; only then may an offset move."""

from dataclasses import replace
from typing import Any

import pytest

from connectors.base.errors import LogError, LogUnavailableError
from schemas.codec import embedded_codec
from schemas.letters import REASONS, letter_id
from schemas.records import DeadLetterState, Header, Notice
from schemas.topics import flow_of
from streams.dead_letters.publisher import DeadLetterPublisher, Refused
from streams.telemetry.metrics import Metrics
from tests.streams.fakes import MemoryLog
from tests.streams.records import two_companies
from tests.streams.virtual import NOW

CODEC = embedded_codec()


class StoppedClock:
    def now(self) -> Any:
        return NOW

    def monotonic(self) -> float:
        return 0.0


class Desk:
    def __init__(self) -> None:
        self.config = two_companies(topic_prefix="t-")
        self.log, self.metrics = MemoryLog.of(self.config), Metrics(self.config)
        place = lambda company: self.config.company_partition(company) if company else 0  # noqa: E731
        self.letters = DeadLetterPublisher(self.log, CODEC, self.config.topic, place, StoppedClock(), self.metrics)

    def states(self, partition: int = 0) -> list[DeadLetterState]:
        return [
            CODEC.decode(one.value or b"", DeadLetterState)
            for one in self.log._records["t-dead-letter-state", partition]
        ]


def refused(**fields: Any) -> Refused:
    return Refused(
        **{
            "reason": "negative_stock",
            "state": "parked",
            "error": "too little",
            "event_type": "dispatch_confirmed",
            "company": "beta",
            "topic": "t-dispatch-confirmed",
            "partition": 1,
            "offset": 42,
            "timestamp_ms": 5,
            "key": b"1001",
            "value": b"\x00bytes",
            "headers": (Header(name="trace", value=b"t"), Header(name="b1streams.reason", value=b"an older one")),
            "source": "warehouse",
            "event_id": "S1",
            "order_id": "1001",
            "k": "dispatch_confirmed-K",
            "digest": b"d" * 16,
            "sequence": 7,
            "attempts": 2,
            "waits_for": "stock",
            **fields,
        }
    )


async def test_a_letter_is_the_original_with_headers_that_tell_the_story() -> None:
    desk = Desk()
    (state,) = await desk.letters.refuse([refused()])
    (record,) = desk.log._records["t-dispatch-confirmed-dead-letter", 1]
    assert (record.key, record.value) == (b"1001", b"\x00bytes")
    assert dict(record.headers) == {
        "trace": b"t",
        "__dlq.errors.topic": b"t-dispatch-confirmed",
        "__dlq.errors.partition": b"1",
        "__dlq.errors.offset": b"42",
        "__dlq.errors.message": b"too little",
        "__connect.errors.topic": b"t-dispatch-confirmed",
        "__connect.errors.partition": b"1",
        "__connect.errors.offset": b"42",
        "__connect.errors.exception.message": b"too little",
        "b1streams.id": state.id.encode(),
        "b1streams.reason": b"negative_stock",
        "b1streams.state": b"parked",
        "b1streams.owner": REASONS["negative_stock"].owner.encode(),
        "b1streams.event_type": b"dispatch_confirmed",
        "b1streams.event_id": b"S1",
        "b1streams.order_id": b"1001",
        "b1streams.attempts": b"2",
        "b1streams.waits_for": b"stock",
        "b1streams.first_failed_at": NOW.isoformat().encode(),
    }
    assert len(record.headers) == len(dict(record.headers))
    assert desk.states(2) == [state]
    assert (state.id, state.letter_topic, state.letter_partition, state.letter_offset) == (
        letter_id("t-dispatch-confirmed", 1, 42),
        "t-dispatch-confirmed-dead-letter",
        1,
        0,
    )


async def test_a_stock_batch_lies_on_its_companys_partition_and_each_of_an_epoch_has_its_own_id() -> None:
    desk = Desk()
    fields = {
        "event_type": "stock_batch",
        "topic": "t-stock-sealed",
        "order_id": None,
        "members": ("a", "b"),
        "sku": "A",
    }
    one, two = await desk.letters.refuse([refused(**fields, index=0), refused(**fields, index=1)])
    assert one.id != two.id
    assert [record.partition for record in desk.log._records["t-erp-stock-dead-letter", 2]] == [2, 2]
    assert one.members == ("a", "b")


async def test_a_letter_of_bytes_that_name_no_company_has_its_state_on_the_first_partition() -> None:
    desk = Desk()
    await desk.letters.refuse([refused(company="", reason="unreadable", state="dead", k=None, digest=None)])
    assert [state.company for state in desk.states(0)] == [""]


async def test_the_bytes_come_before_the_state_and_without_them_there_is_none() -> None:
    desk = Desk()
    send, sent = desk.log.send_many, list[str]()

    async def failing(records: Any) -> Any:
        sent.extend(one.topic for one in records)
        if "t-dead-letter-state" not in {one.topic for one in records}:
            raise LogUnavailableError("away")
        return await send(records)

    desk.log.send_many = failing  # type: ignore[method-assign]
    with pytest.raises(LogError):
        await desk.letters.refuse([refused()])
    assert sent == ["t-dispatch-confirmed-dead-letter"]
    assert desk.states(2) == []


async def test_a_letter_that_is_written_twice_is_one() -> None:
    """c9."""
    desk = Desk()
    (one,) = await desk.letters.refuse([refused()])
    (two,) = await desk.letters.refuse([refused(attempts=3)])
    assert one.id == two.id
    assert {record.key for record in desk.log._records["t-dead-letter-state", 2]} == {one.id.encode()}


async def test_several_letters_keep_their_order_and_find_their_bytes() -> None:
    desk = Desk()
    states = await desk.letters.refuse([refused(offset=n, value=bytes([n])) for n in range(5)])
    lying = desk.log._records["t-dispatch-confirmed-dead-letter", 1]
    assert [lying[state.letter_offset].value for state in states] == [bytes([n]) for n in range(5)]


async def test_a_transition_is_a_notice_on_the_companys_partition_in_the_send_that_carries_the_state() -> None:
    desk = Desk()
    send, sends = desk.log.send_many, list[set[str]]()

    async def watched(records: Any) -> Any:
        sends.append({one.topic for one in records})
        return await send(records)

    desk.log.send_many = watched  # type: ignore[method-assign]
    (letter,) = await desk.letters.refuse([refused()])
    await desk.letters.change([replace(letter, state="held")])
    await desk.letters.change([replace(letter, state="posted")])
    notices = [CODEC.decode(one.value or b"", Notice) for one in desk.log._records["t-notices", 2]]
    assert [(one.kind, one.letter, one.owner) for one in notices] == [
        ("parked", letter.id, REASONS["negative_stock"].owner),
        ("released", letter.id, REASONS["negative_stock"].owner),
    ]
    assert sends == [
        {"t-dispatch-confirmed-dead-letter"},
        {"t-dead-letter-state", "t-notices"},
        {"t-dead-letter-state"},
        {"t-dead-letter-state", "t-notices"},
    ]


async def test_a_state_that_is_restored_is_no_news() -> None:
    desk = Desk()
    (letter,) = await desk.letters.refuse([refused()])
    await desk.letters.restore("beta", {letter.id: letter})
    assert len(desk.log._records["t-notices", 2]) == 1


@pytest.mark.parametrize(("kind", "flow"), [("stock_batch", "stock_adjusted"), ("order_placed", "order_placed")])
def test_a_batch_belongs_to_the_flow_of_its_events(kind: str, flow: str) -> None:
    assert flow_of(kind) == flow

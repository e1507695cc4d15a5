"""The audit trail: in groups, placed by order or sku, never in anybody's way."""

import asyncio

import pytest

from connectors.base.errors import LogError
from schemas.codec import embedded_codec
from schemas.records import Outcome
from streams.kafka.log import partition_of
from streams.posting import outcomes
from streams.posting.outcomes import OutcomeLog
from tests.streams.fakes import MemoryLog, config
from tests.streams.virtual import NOW

CODEC, CONFIG = embedded_codec(), config()


def outcome(k: str, order_id: str | None = "1", sku: str | None = None) -> Outcome:
    return Outcome(
        k=k,
        kind="order_placed",
        company="acme",
        event_ids=(k,),
        order_id=order_id,
        sku=sku,
        outcome="created",
        attempts=1,
        topic="order-placed",
        partition=0,
        offset=0,
        queued_at=NOW,
        at=NOW,
    )


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog.of(CONFIG)


def lying(log: MemoryLog) -> list[tuple[int, str]]:
    return [
        (partition, CODEC.decode(one.value or b"", Outcome).k)
        for partition in (0, 1)
        for one in log._records["erp-outcomes", partition]
    ]


async def test_what_is_added_is_sent_in_groups_until_it_is_cancelled(log: MemoryLog) -> None:
    trail = OutcomeLog(log, CODEC, CONFIG.topic)
    running = asyncio.create_task(trail.run())
    for n in range(5):
        trail.add(outcome(f"k{n}"))
    await asyncio.sleep(1)
    trail.add(outcome("late"))
    await asyncio.sleep(1)
    running.cancel()
    trail.add(outcome("last"))
    await trail.flush()
    assert [k for _, k in lying(log)] == ["k0", "k1", "k2", "k3", "k4", "late", "last"]


@pytest.mark.parametrize(("order_id", "sku", "place"), [("77", None, b"77"), (None, "A", b"A"), (None, None, b"k")])
async def test_it_lies_where_its_order_its_sku_or_its_key_says(
    log: MemoryLog, order_id: str | None, sku: str | None, place: bytes
) -> None:
    trail = OutcomeLog(log, CODEC, CONFIG.topic)
    trail.add(outcome("k", order_id, sku))
    await trail.flush()
    assert lying(log) == [(partition_of(place, 2), "k")]
    (record,) = log._records["erp-outcomes", partition_of(place, 2)]
    assert record.key == b"k"


async def test_nothing_to_send_is_no_send(log: MemoryLog) -> None:
    log.away = "gone"
    await OutcomeLog(log, CODEC, CONFIG.topic).flush()


async def test_what_waits_is_bounded_and_the_oldest_goes(log: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "_MAX_WAITING", 3)
    trail = OutcomeLog(log, CODEC, CONFIG.topic)
    for n in range(9):
        trail.add(outcome(f"k{n}"))
    await trail.flush()
    assert [k for _, k in lying(log)] == ["k6", "k7", "k8"]


async def test_a_broker_that_is_away_ends_nothing(log: MemoryLog) -> None:
    """Nothing waits for the trail: it goes on when the broker is back."""
    trail = OutcomeLog(log, CODEC, CONFIG.topic)
    running = asyncio.create_task(trail.run())
    log.away = "gone"
    trail.add(outcome("a"))
    await asyncio.sleep(10)
    log.away = None
    trail.add(outcome("b"))
    await asyncio.sleep(10)
    if running.done():
        with pytest.raises(LogError):
            running.result()
        pytest.fail("the trail ended its worker")
    running.cancel()
    assert [k for _, k in lying(log)] == ["a", "b"]

"""What waits in a poster for records that are not fetched yet keeps nobody from fetching them, whatever the limits."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from faust.types import TP

from schemas.events import CancelledLine
from schemas.records import Posting
from schemas.topics import fact_topic
from streams.chain.keys import event_key
from streams.faust_host.assignment import Assignment
from streams.faust_host.batch import FetchedBatch
from streams.faust_host.watermarks import Progress
from tests import builders
from tests.streams.posting.under_test import CODEC, CONFIG, PosterUnderTest, dispatch, order
from tests.streams.records import raw
from tests.streams.virtual import NOW

QUEUE = TP("erp-orders", 0)
AT_MS = int(NOW.timestamp() * 1000)
_CAP, _FETCH = 5, 2


class Fetching(PosterUnderTest):
    """The real poster behind the real rule of what is fetched; the routers have put `erp-orders` there.

    `sent` in an order topic and routed are two things: a router may be behind.
    """

    def __init__(self) -> None:
        super().__init__()
        self.progress, self.held = Progress(0), Assignment()

    async def published(self, event: Any, kind: str, *, routed: bool = True) -> Posting:
        self.log.now_ms = AT_MS
        sent = await self.log.send(fact_topic(kind), 0, b"1", CODEC.encode(event))
        posting = builders.posting(
            kind,
            k=event_key(event),
            source=event.source,
            order_id=event.order_id,
            digest=event.digest,
            topic=fact_topic(kind),
            offset=sent.offset,
            timestamp_ms=AT_MS,
            key=b"1",
            value=CODEC.encode(event),
        )
        if routed:
            await self.routed(posting)
        return posting

    async def routed(self, posting: Posting) -> None:
        await self.log.send("erp-orders", 0, b"acme", CODEC.encode(posting))
        self.log.commit(CONFIG.group, posting.topic, 0, posting.offset + 1)

    async def fetch(self, seconds: float) -> None:
        """As the consumer does, for so long: a batch is fetched where the limits want one."""
        assert self.poster is not None
        self.held.progress[QUEUE] = self.progress
        for _ in range(int(seconds)):
            queued = self.log._records["erp-orders", 0]
            if self.offset < len(queued) and self.held.wanted({QUEUE}, _CAP, 1 << 30):
                chunk = queued[self.offset : self.offset + _FETCH]
                self.offset += len(chunk)
                batch = FetchedBatch(
                    self.held.opened,
                    QUEUE,
                    [raw("erp-orders", one.offset, one.value, b"acme") for one in chunk],
                    self.progress,
                )
                await self.poster.take(batch)
            await asyncio.sleep(1)

    async def restart(self) -> None:
        """From what is committed."""
        await self.close()
        self.offset = self.progress.next or 0
        counts = dict(self.progress.counts)
        self.progress, self.held = Progress(self.offset, counts), Assignment()
        await self.open(counts)

    @property
    def is_worked_off(self) -> bool:
        return self.progress.next == len(self.log._records["erp-orders", 0])


async def scene(behind: int, *, routed: bool) -> tuple[Fetching, Posting]:
    """An order, its cancellation, and what is queued behind it; its dispatch was published before the cancellation."""
    desk = Fetching()
    await desk.open()
    await desk.published(order("1"), "order_placed")
    sent = await desk.published(dispatch("D1", "1", quantity=1), "dispatch_confirmed", routed=False)
    await desk.published(builders.cancellation("1", event_id="c1", occurred_at=NOW), "order_cancelled")
    for number in range(behind):
        await desk.published(order(str(number % 3 + 2)), "order_placed")  # orders and their repeats
    if routed:
        await desk.routed(sent)
    return desk, sent


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_cancellation_with_more_behind_it_than_may_be_open_does_not_stop_its_company(restarts: bool) -> None:
    """What it waits for lies behind 25 others in the queue, and 5 may be open."""
    desk, _ = await scene(25, routed=True)
    await desk.fetch(5)
    if restarts:
        await desk.restart()
    await desk.fetch(120)
    assert desk.is_worked_off
    assert len(desk.b1.documents("DeliveryNotes")) == 1
    assert len(desk.b1.documents("Orders")) == 4
    assert {state.state for state in desk.states().values()} <= {"posted"}
    await desk.close()


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_cancellation_whose_router_is_far_behind_leaves_the_watermark(restarts: bool) -> None:
    desk, sent = await scene(25, routed=False)
    await desk.fetch(60)
    assert desk.is_worked_off
    (parked,) = desk.states().values()
    assert (parked.event_type, parked.state, parked.waits_for) == ("order_cancelled", "parked", "inputs")
    if restarts:
        await desk.restart()
    await asyncio.sleep(3 * CONFIG.companies["acme"].park_max_age_s)  # while it is not read, no age counts
    assert desk.states()[parked.id].state == "parked"
    await desk.routed(sent)
    await desk.fetch(200)
    # The dispatch was not held by the cancellation that waited for it
    assert len(desk.b1.documents("DeliveryNotes")) == 1
    assert desk.states()[parked.id].state == "posted"
    assert desk.is_worked_off
    await desk.close()


async def test_many_cancellations_that_wait_are_no_dam_either() -> None:
    desk = Fetching()
    await desk.open()
    late = await desk.published(dispatch("D0", "0", quantity=1), "dispatch_confirmed", routed=False)
    for number in range(25):
        await desk.published(order(str(number)), "order_placed")
        await desk.published(
            builders.cancellation(str(number), event_id=f"c{number}", occurred_at=NOW), "order_cancelled"
        )
    await desk.fetch(900)
    assert desk.is_worked_off
    await desk.routed(late)
    await desk.fetch(200)
    assert {state.state for state in desk.states().values()} == {"posted"}
    assert (len(desk.b1.documents("Orders")), len(desk.b1.documents("DeliveryNotes"))) == (25, 1)
    await desk.close()


async def test_a_cancellation_that_was_parked_has_its_place_where_it_passed() -> None:
    """It is refused, and holds what comes later: the dispatch that it waited for came before it."""
    desk = Fetching()
    await desk.open()
    await desk.published(order("1"), "order_placed")
    sent = await desk.published(dispatch("D1", "1", quantity=1), "dispatch_confirmed", routed=False)
    lines = (CancelledLine(line_id="1", quantity=Decimal(2)),)
    cancel = builders.cancellation("1", event_id="c1", occurred_at=NOW, lines=lines)
    await desk.published(cancel, "order_cancelled")
    await desk.fetch(60)
    (parked,) = desk.states().values()
    await desk.routed(sent)
    await desk.fetch(100)
    dead = desk.states()[parked.id]
    assert (dead.state, dead.reason, dead.waits_for) == ("dead", "over_cancelled", None)
    assert (parked.sequence, dead.sequence) == (1, 3)
    await desk.published(dispatch("D2", "1", quantity=1), "dispatch_confirmed")
    await desk.fetch(10)
    assert {state.event_id: state.state for state in desk.states().values()} == {"c1": "dead", "D2": "held"}
    await desk.close()


def test_bytes_that_stand_on_one_partition_starve_no_other() -> None:
    """A company whose B1 is away fills the limit; the others have one fetch each all the same."""
    held, stands, others = Assignment(), TP("erp-stock", 0), {TP("erp-stock", 1), TP("erp-orders", 1)}
    held.progress = {tp: Progress(0) for tp in (stands, *others)}
    held.progress[stands].take(range(3), 1_000)
    assert held.wanted({stands, *others}, 100, 1_000) == {stands, *others}
    held.progress[stands].take(range(3, 4), 1)
    assert held.wanted({stands, *others}, 100, 1_000) == others
    busy = next(iter(others))
    taken = held.progress[busy].take(range(1), 10)
    assert held.wanted({stands, *others}, 100, 1_000) == others - {busy}
    held.progress[busy].finish(taken, 0)
    assert held.wanted({stands, *others}, 100, 1_000) == others

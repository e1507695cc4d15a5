"""The poster of one company: admits each K once, keeps every order in sequence, and ends every posting."""

import asyncio
import itertools
from decimal import Decimal
from typing import Any

import pytest

from connectors.base.errors import LogError, LogUnavailableError
from connectors.sap_b1 import claims
from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.messages import Request
from schemas.events import OrderPlaced
from streams.chain.keys import batch_key, event_key
from streams.dead_letters.states import TERM
from streams.posting.poster import Poster
from tests import builders
from tests.streams.fakes import MemoryLog
from tests.streams.posting.b1 import MASTER_DATA, lose_answer
from tests.streams.posting.under_test import CODEC, PosterUnderTest, dispatch, endings, order
from tests.streams.records import FakeBatch, raw
from tests.streams.virtual import NOW, Clock


async def test_a_posting_is_finished_when_its_document_is_there(desk: PosterUnderTest) -> None:
    batch = await desk.take(order("1"), order("2"))
    assert not batch.finished
    await desk.ended(batch)
    assert endings(batch) == ["posted", "posted"]
    assert [one["NumAtCard"] for one in desk.b1.documents("Orders")] == ["1", "2"]


async def test_the_same_event_in_flight_follows_it_and_another_content_is_a_dead_letter(desk: PosterUnderTest) -> None:
    """Architecture section 15.2."""
    batch = await desk.take(order("1"), order("1"), order("1", currency="EUR"))
    await desk.ended(batch)
    assert endings(batch) == ["posted", "no_op", ""]
    assert [(state.reason, state.state) for state in desk.states().values()] == [("id_reuse", "dead")]
    assert len(desk.b1.change_sets) == 1


async def test_what_was_routed_twice_is_known_by_its_place_and_counts_nothing(desk: PosterUnderTest) -> None:
    first = await desk.take(order("1"))
    second = await desk.take(order("1"), again=True)
    await desk.ended(first, second)
    assert second.finished == {1: {}}
    assert len(desk.b1.change_sets) == 1


async def test_a_successor_knows_from_the_commit_how_far_its_predecessor_came(desk: PosterUnderTest) -> None:
    first = await desk.take(order("1"))
    await desk.ended(first)
    counts = {key: n for counts in first.finished.values() for key, n in counts.items()}
    assert counts == {("order-placed", "0"): 1, ("order_placed", "posted"): 1}
    await desk.close()
    await desk.open(counts)
    again = await desk.take(order("1"), again=True)
    await desk.ended(again)
    assert again.finished == {1: {}}


async def test_a_new_order_at_a_place_that_was_admitted_before_is_posted(desk: PosterUnderTest) -> None:
    """A topic that was made anew where Kafka shows no ids: 50 orders were passed over without a word."""
    await desk.close()
    await desk.open({("order-placed", "0"): 101})
    batch = await desk.take(*(order(str(n)) for n in range(1000, 1050)))
    await desk.ended(batch)
    assert len(desk.b1.documents("Orders")) == 50
    assert endings(batch) == ["posted"] * 50
    assert not desk.states()


async def test_a_redelivery_after_a_crash_counts_as_posted_and_a_repeat_as_no_op(desk: PosterUnderTest) -> None:
    batch = await desk.take(order("1"))
    await desk.ended(batch)
    await desk.close()
    await desk.open()
    redelivered = await desk.take(order("1"), again=True)
    await desk.ended(redelivered)
    repeated = await desk.take(order("1"))
    await desk.ended(repeated)
    assert (endings(redelivered), endings(repeated)) == (["posted"], ["no_op"])
    assert len(desk.b1.documents("Orders")) == 1


async def test_one_order_runs_in_sequence_and_others_beside_it(desk: PosterUnderTest) -> None:
    desk.b1.seconds = 1.0
    batch = await desk.take(order("1"), dispatch("D1", "1"), order("2", "B"), dispatch("D2", "2", "B"))
    await desk.ended(batch)
    assert endings(batch, "dispatch_confirmed") == ["", "posted", "", "posted"]
    assert desk.b1.most == 2
    assert desk.b1.clashes == []
    written = [
        one.path for requests in desk.b1.change_sets for one in requests if one.path in ("Orders", "DeliveryNotes")
    ]
    assert written == ["Orders", "Orders", "DeliveryNotes", "DeliveryNotes"]


async def test_orders_of_one_item_share_its_lane_and_not_more(desk: PosterUnderTest) -> None:
    batch = await desk.take(*(order(str(n), "AB"[n % 2]) for n in range(20)))
    await desk.ended(batch)
    assert desk.b1.clashes == []
    assert desk.b1.most == 2


async def test_a_dead_letter_lies_before_its_offset_moves_and_if_it_cannot_be_written_the_poster_fails(
    desk: PosterUnderTest,
) -> None:
    assert desk.poster is not None
    good = await desk.take(order("1"))
    await desk.ended(good)
    send = desk.log.send_many

    async def failing(records: Any) -> Any:
        if any("dead-letter" in one.topic for one in records):
            raise LogUnavailableError("away")
        return await send(records)

    desk.log.send_many = failing  # type: ignore[method-assign]
    bad = await desk.take(order("2", "NEW"))
    with pytest.raises(LogError):
        await asyncio.wait_for(asyncio.shield(desk.poster.failed), 60)
    assert not bad.finished


async def test_waits_and_holds_are_rebuilt_from_the_states(desk: PosterUnderTest) -> None:
    batch = await desk.take(order("1", "NEW"), dispatch("D1", "1", "NEW"))
    await desk.ended(batch)
    assert sorted((state.event_type, state.state) for state in desk.states().values()) == [
        ("dispatch_confirmed", "held"),
        ("order_placed", "parked"),
    ]
    await desk.close()
    desk.b1.company.load(
        {"Items": [{"ItemCode": "NEW"}], "stock": [{"item": "NEW", "warehouse": "LON1", "quantity": "5"}]}
    )
    await desk.open()
    async with asyncio.timeout(60):
        while not desk.b1.documents("Invoices"):  # noqa: ASYNC110  # virtual time
            await asyncio.sleep(0.5)
    await asyncio.sleep(1)
    assert {state.state for state in desk.states().values()} == {"posted"}


async def test_retries_of_what_waits_for_b1_come_less_and_less_often(desk: PosterUnderTest) -> None:
    """After 30 s, doubling to 10 min (architecture section 7)."""
    tries: list[float] = []
    read, clock = desk.b1.read, Clock()

    async def watched(paths: Any) -> Any:
        if any("'NEW'" in path for path in paths):
            tries.append(clock.monotonic())
        return await read(paths)

    desk.b1.read = watched  # type: ignore[method-assign]
    batch = await desk.take(order("1", "NEW"))
    await desk.ended(batch)
    await asyncio.sleep(3 * 3600)
    starts = [tries[0], *(now for before, now in itertools.pairwise(tries) if now - before > 5)]
    gaps = [round(now - before) for before, now in itertools.pairwise(starts)]
    assert all(
        abs(gap - wanted) <= 2 for gap, wanted in zip(gaps, [30, 60, 120, 240, 480, 600, 600, 600], strict=False)
    ), gaps


async def test_close_lets_what_is_under_way_end_and_starts_nothing_more(desk: PosterUnderTest) -> None:
    desk.b1.seconds = 1.0
    batch = await desk.take(*(order(str(n), "A") for n in range(10)))
    await asyncio.sleep(0.7)
    started = len(desk.b1.change_sets)
    await desk.close()
    assert desk.b1.closed == 1
    assert len(desk.b1.documents("Orders")) == len(batch.finished)
    assert len(batch.finished) <= started + 2
    await desk.open()
    rest = await desk.take(*(order(str(n), "A") for n in range(10)))
    await desk.ended(rest)
    assert len(desk.b1.documents("Orders")) == 10


async def test_a_lost_answer_of_the_invoice_makes_no_second_delivery(desk: PosterUnderTest) -> None:
    batch = await desk.take(order("1"))
    await desk.ended(batch)
    lost = lose_answer(2)
    desk.b1.after = lambda requests: lost(requests) if requests[-1].path == "Invoices" else None
    batch = await desk.take(dispatch())
    await desk.ended(batch)
    assert (len(desk.b1.documents("DeliveryNotes")), len(desk.b1.documents("Invoices"))) == (1, 1)
    assert endings(batch, "dispatch_confirmed") == ["posted"]


async def test_nothing_is_sent_before_the_claim_table_is_there() -> None:
    desk = PosterUnderTest()
    desk.b1.company = Company("SBO_ACME", clock=Clock().now, master_data=MASTER_DATA)
    await desk.open()
    batch = await desk.take(order("1"))
    await asyncio.sleep(300)
    assert not desk.b1.change_sets
    assert not batch.finished
    await claims.install(desk.b1)
    await desk.ended(batch)
    assert len(desk.b1.documents("Orders")) == 1
    await desk.close()


# ---- two posters at once: one stood still in the middle of a refusal, and its successor has gone on


class Slow(MemoryLog):
    """The log of a process that stands still whenever it is about to write a dead letter's state."""

    def __init__(self, log: MemoryLog) -> None:
        self.__dict__ = log.__dict__
        self._log, self.go_on, self.stands = log, asyncio.Event(), asyncio.Event()

    async def send_many(self, records: Any) -> Any:
        if any(one.topic == "dead-letter-state" and one.value is not None for one in records):
            self.stands.set()
            await self.go_on.wait()
        return await self._log.send_many(records)


async def paused_in_a_refusal(desk: PosterUnderTest) -> tuple[Poster, Slow, FakeBatch]:
    """A poster that has parked an order of a new item, and stands still before its state is written."""
    slow = Slow(desk.log)
    paused = await desk.open(log=slow)
    batch = await desk.take(order("1", "NEW"))
    await slow.stands.wait()
    desk.b1.company.load({"Items": [{"ItemCode": "NEW"}]})
    return paused, slow, batch


async def test_a_dead_letter_that_a_paused_poster_writes_after_its_successor_has_begun_was_never_written() -> None:
    desk = PosterUnderTest()
    paused, slow, _ = await paused_in_a_refusal(desk)
    await desk.open()
    batch = await desk.take(order("1", "NEW"), again=True)
    await desk.ended(batch)
    assert endings(batch) == ["posted"]
    slow.go_on.set()
    await asyncio.sleep(0.1)
    assert [state.state for state in desk.states().values()] == ["parked"]
    await asyncio.sleep(10)
    assert desk.states() == {}
    await paused.close()
    await desk.close()


async def test_nor_where_nobody_was_there_when_it_was_written() -> None:
    desk = PosterUnderTest()
    paused, slow, _ = await paused_in_a_refusal(desk)
    await desk.open()
    await desk.ended(await desk.take(order("1", "NEW"), again=True))
    await desk.close()
    slow.go_on.set()
    await asyncio.sleep(0.1)
    assert [state.state for state in desk.states().values()] == ["parked"]
    await desk.open()
    assert desk.states() == {}
    assert not list(desk.poster.dead_letters()) if desk.poster else False
    await paused.close()
    await desk.close()


async def test_a_state_that_a_paused_poster_writes_over_the_one_of_its_successor_is_written_over_again() -> None:
    desk = PosterUnderTest()
    paused, slow, _ = await paused_in_a_refusal(desk)
    desk.b1.company.load({"Items": [{"ItemCode": "NEW", "Valid": "tNO"}]})
    await desk.open()
    await desk.ended(await desk.take(order("1", "NEW"), again=True))
    desk.b1.company.load({"Items": [{"ItemCode": "NEW", "Valid": "tYES"}]})
    await asyncio.sleep(40)
    assert [state.state for state in desk.states().values()] == ["posted"]
    slow.go_on.set()
    await asyncio.sleep(0.1)
    assert [state.state for state in desk.states().values()] == ["parked"]
    await asyncio.sleep(10)
    assert [state.state for state in desk.states().values()] == ["posted"]
    await paused.close()
    await desk.close()


async def test_a_poster_that_has_been_replaced_takes_nothing_back() -> None:
    desk = PosterUnderTest()
    paused, slow, _ = await paused_in_a_refusal(desk)
    successor = await desk.open()
    desk.b1.company.load({"Items": [{"ItemCode": "OTHER", "Valid": "tNO"}]})
    await desk.ended(await desk.take(order("2", "OTHER")))
    slow.go_on.set()
    await asyncio.sleep(20)
    assert sorted(state.order_id or "" for state in desk.states().values()) == ["2"]
    await paused.close()
    await successor.close()


async def test_a_term_is_committed_before_it_begins_and_is_higher_than_all_before() -> None:
    desk = PosterUnderTest()
    await desk.open()
    await desk.close()
    await desk.open({TERM: 7})
    await desk.close()
    await desk.open()  # somebody has deleted the group, and the log knows of eight
    await desk.close()
    assert desk.terms == [1, 8, 9]

    async def gone(term: int) -> bool:
        return False

    before = len(desk.log._records["dead-letter-state", 0])
    opening = asyncio.create_task(desk.open(stamp=gone))
    await asyncio.sleep(100)
    assert not opening.done()
    assert len(desk.log._records["dead-letter-state", 0]) == before
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)


# ---- what a connector refuses, which knows nothing of the queue


async def connector_refuses(desk: PosterUnderTest) -> None:
    """A second dispatch of order 1, which nobody can read."""
    state = builders.dead_letter(
        id="c" * 16,
        reason="invalid_event",
        event_type="dispatch_confirmed",
        event_id="D2",
        k=None,
        digest=None,
        source="warehouse",
        topic="dispatch-confirmed",
        partition=-1,
        offset=3,
        sequence=0,
        letter_topic="dispatch-confirmed-dead-letter",
        letter_offset=0,
    )
    await desk.log.send("dead-letter-state", 0, state.id.encode(), CODEC.encode(state))


@pytest.mark.parametrize("restarts", [False, True])
async def test_what_a_connector_refuses_holds_nothing_that_arrived_before_it(
    desk: PosterUnderTest, restarts: bool
) -> None:
    waiting = await desk.take(order("9"), dispatch("D1", "1"))
    await desk.ended(waiting)
    await connector_refuses(desk)
    await asyncio.sleep(10)
    assert desk.states()["c" * 16].sequence == 2
    if restarts:
        await desk.close()
        await desk.open()
    batch = await desk.take(order("1"), dispatch("D3", "1"))
    await desk.ended(batch)
    await asyncio.sleep(70)
    states = {state.event_id: state.state for state in desk.states().values()}
    assert states == {"D1": "posted", "D2": "dead", "D3": "held"}
    await connector_refuses(desk)  # it crashed, and writes it again
    await asyncio.sleep(10)
    assert desk.states()["c" * 16].sequence == 2


@pytest.mark.parametrize("restarts", [False, True])
async def test_what_a_connector_refused_before_anything_was_queued_holds_the_first_posting(
    desk: PosterUnderTest, restarts: bool
) -> None:
    await connector_refuses(desk)
    await asyncio.sleep(10)
    if restarts:
        await desk.close()
        await desk.open()
    first = await desk.take(dispatch("D3", "1"))
    await desk.ended(first)
    await asyncio.sleep(100)
    assert {state.event_id: state.state for state in desk.states().values()} == {"D2": "dead", "D3": "held"}


async def test_what_a_connector_refused_while_no_poster_was_there_has_its_place_from_the_next_one(
    desk: PosterUnderTest,
) -> None:
    await desk.ended(await desk.take(order("9"), dispatch("D1", "1")))
    await desk.close()
    await connector_refuses(desk)
    await desk.open()
    assert desk.states()["c" * 16].sequence == 2
    await desk.ended(await desk.take(order("1")))
    await asyncio.sleep(70)
    assert {state.event_id: state.state for state in desk.states().values()} == {"D1": "posted", "D2": "dead"}


# ---- what lands in B1 after it was refused or held


def late(desk: PosterUnderTest, work: OrderPlaced) -> None:
    """Somebody's request of long ago arrives: the order is in B1 now, with its claim."""
    lines = [{"ItemCode": "A", "Quantity": Decimal(2), "WarehouseCode": "LON1", "U_STREAMS_LINE": "1"}]
    k = event_key(work)
    body = {
        "CardCode": "C-WEB",
        "NumAtCard": work.order_id,
        "U_STREAMS_KEY": k,
        "U_STREAMS_ORDER": k,
        "DocDueDate": "2026-11-21",
        "DocumentLines": lines,
    }
    claim = claims.Claim(k, "order_placed", work.digest, "1 order-placed/0/0").request()
    answers = desk.b1.company.apply([Request(claim.method, claim.path, claim.body), Request("POST", "Orders", body)])
    assert [answer.status for answer in answers] == [201, 201], answers


async def test_a_request_that_lands_after_its_event_was_refused_closes_the_dead_letter(desk: PosterUnderTest) -> None:
    event = order("1", grand_total=Decimal(1))
    batch = await desk.take(event, dispatch("D1", "1"))
    await desk.ended(batch)
    assert sorted((state.event_type, state.state) for state in desk.states().values()) == [
        ("dispatch_confirmed", "held"),
        ("order_placed", "dead"),
    ]
    sets = len(desk.b1.change_sets)
    late(desk, event)
    await asyncio.sleep(130)
    assert {state.state for state in desk.states().values()} == {"posted"}
    assert [one.path for requests in desk.b1.change_sets[sets:] for one in requests if "CLAIM" not in one.path] == [
        "DeliveryNotes",
        "Invoices",
    ]


async def test_a_dead_letter_is_looked_up_less_and_less_often_and_not_for_ever(desk: PosterUnderTest) -> None:
    looks: list[float] = []
    read, clock = desk.b1.read, Clock()

    async def watched(paths: Any) -> Any:
        if any(path.startswith(claims.ENTITY) for path in paths):
            looks.append(clock.monotonic())
        return await read(paths)

    batch = await desk.take(order("1", grand_total=Decimal(1)))
    await desk.ended(batch)
    start = clock.monotonic()
    desk.b1.read = watched  # type: ignore[method-assign]
    await asyncio.sleep(3 * 3600)
    assert [round((now - start) / 10) * 10 for now in looks] == [60, 180, 420, 900, 1500, 2100, 2700, 3300, 3900]
    assert {state.state for state in desk.states().values()} == {"dead"}


async def test_a_replaced_poster_does_not_send_what_it_has_sealed(desk: PosterUnderTest) -> None:
    old = desk.poster
    assert old is not None
    await asyncio.sleep(1)
    one = builders.batch("e", "1", "A", reason="found", posting_date=NOW.date())
    posting = builders.posting(
        "stock_batch", k=batch_key(one), order_id=None, topic="stock-sealed", value=CODEC.encode(one)
    )
    async with old.lanes.hold({"A"}):  # an order holds the item: the batch waits in the pool
        await old.take(FakeBatch([raw("erp-stock", 0, CODEC.encode(posting), b"acme")]))
        await asyncio.sleep(3)
        await desk.open()  # the company has gone to another worker
        await asyncio.sleep(1)
    await asyncio.sleep(10)
    assert not desk.b1.documents("InventoryGenEntries"), "a poster that was replaced has posted"
    await old.close()

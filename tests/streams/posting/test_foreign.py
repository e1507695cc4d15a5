"""What lies in a company's queue and is not the company's is refused as `foreign`, and never posted."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from schemas.records import Posting
from streams.chain.keys import event_key
from streams.posting.foreign import ForeignQueueError, queue_of
from tests import builders
from tests.streams.posting.under_test import CODEC, PosterUnderTest, dispatch, order
from tests.streams.records import FakeBatch, raw


def posting_of(event: Any, company: str) -> Posting:
    return builders.posting("order_placed", k=event_key(event), company=company, partition=1, value=CODEC.encode(event))


async def taken(desk: PosterUnderTest, topic: str, posting: Posting, offset: int = 0) -> FakeBatch:
    batch = FakeBatch([raw(topic, offset, CODEC.encode(posting), posting.company.encode())])
    assert desk.poster is not None
    await desk.poster.take(batch)
    await desk.ended(batch)
    return batch


@pytest.mark.parametrize(
    ("named", "inside"), [("other", "other"), ("other", "acme"), ("acme", "other")], ids=["both", "posting", "event"]
)
async def test_another_companys_order_is_never_written_into_our_b1(
    desk: PosterUnderTest, named: str, inside: str
) -> None:
    posting = posting_of(order("77", company=inside), named)
    batch = await taken(desk, "erp-orders", posting)
    await taken(desk, "erp-orders", posting, offset=1)
    assert batch.finished == {0: {}}
    assert desk.b1.documents("Orders") == []
    (state,) = desk.states().values()
    assert (state.state, state.reason, state.owner, state.event_type) == ("dead", "foreign", "platform", "order_placed")
    assert "'other'" in (state.error or "")
    (kept,) = desk.log._records["order-placed-dead-letter", 1]
    assert kept.value == posting.value


async def test_another_companys_stock_is_never_written_into_our_b1(desk: PosterUnderTest) -> None:
    stock = builders.batch(company="other")
    posting = builders.posting("stock_batch", company="other", topic="stock-sealed", value=CODEC.encode(stock))
    await taken(desk, "erp-stock", posting)
    assert desk.b1.change_sets == []
    (state,) = desk.states().values()
    assert (state.reason, state.members) == ("foreign", stock.event_ids)
    assert state.letter_topic == "erp-stock-dead-letter"


async def test_another_companys_order_of_the_same_number_holds_nothing_of_ours(desk: PosterUnderTest) -> None:
    await taken(desk, "erp-orders", posting_of(order("1", company="other"), "other"))
    batch = await desk.take(order("1"), dispatch("D1", "1"))
    await desk.ended(batch)
    assert (len(desk.b1.documents("Orders")), len(desk.b1.documents("DeliveryNotes"))) == (1, 1)


async def test_a_dead_letter_that_carries_another_companys_event_is_not_posted_either(desk: PosterUnderTest) -> None:
    await desk.ended(await desk.take(order("1", "NEW")))
    (state,) = desk.states().values()
    value = CODEC.encode(order("1", company="other"))
    sent = await desk.log.send(state.letter_topic, 0, b"k", value)
    await desk.close()
    moved = replace(state, letter_offset=sent.offset)
    await desk.log.send("dead-letter-state", 0, state.id.encode(), CODEC.encode(moved))
    poster = await desk.open()
    async with asyncio.timeout(60):
        while desk.states()[state.id].reason != "foreign":  # noqa: ASYNC110  # virtual time
            await asyncio.sleep(0.5)
    assert desk.b1.documents("Orders") == []
    assert not poster.failed.done()


async def test_a_queue_that_was_worked_off_for_another_company_is_not_taken(desk: PosterUnderTest) -> None:
    """Its partition was given away, or two numbers were swapped: the commit still names the first one."""
    await desk.close()
    with pytest.raises(ForeignQueueError, match="streams company retire other"):
        await desk.open(queue_of("other"))
    assert desk.b1.change_sets == []
    await desk.open(queue_of("acme"))


async def test_a_record_of_nobody_in_a_queues_next_log_is_a_dead_letter_of_its_own(desk: PosterUnderTest) -> None:
    """It lies at the offset of one that was refused in the log before, and would be taken for that one."""
    for number in (0, 1):
        await desk.close()
        poster = await desk.open(log_number=lambda _topic, _partition, number=number: number)  # type: ignore[misc]
        await poster.take(FakeBatch([raw("erp-orders", 0, b"?", b"acme")]))
    assert sorted(state.log for state in desk.states().values()) == [0, 1]

"""A queue that was made anew and accepted: what lay in its log before keeps its place in front."""

import asyncio

from tests.streams.posting.under_test import PosterUnderTest, dispatch, order


async def test_what_arrived_in_a_queues_log_before_is_earlier_than_all_of_its_next_one(desk: PosterUnderTest) -> None:
    """`erp-orders` was made anew and accepted: its offsets begin again, and a dead event still holds the later ones."""
    await desk.ended(await desk.take(order("1"), order("9"), dispatch("D1", "1", "NEW"), dispatch("D2", "1")))
    assert {one.event_id: one.state for one in desk.states().values()} == {"D1": "parked", "D2": "held"}
    await desk.close()
    desk.log.make_anew("erp-orders")
    desk.offset = 0
    await desk.open(log_number=lambda topic, _: int(topic == "erp-orders"))
    await desk.ended(await desk.take(dispatch("D3", "1")))
    await asyncio.sleep(200)  # what is held is looked at again and again
    found = sorted(desk.states().values(), key=lambda one: one.sequence)
    assert [(one.event_id, one.state) for one in found] == [("D1", "parked"), ("D2", "held"), ("D3", "held")]
    assert desk.b1.documents("DeliveryNotes") == []

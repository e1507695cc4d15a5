"""What was routed twice and is taken by the next poster: it ends as its first did, and counts nothing."""

import pytest

from tests import builders
from tests.streams.posting.under_test import PosterUnderTest, dispatch, endings, order


async def test_what_needed_no_document_and_comes_again_is_not_held_by_what_is_dead_since(
    desk: PosterUnderTest,
) -> None:
    """B1 has no trace of such an end, and one event would count as a no-op and as a dead letter."""
    refund = builders.refund("R1", builders.refund_line())
    await desk.ended(await desk.take(order("1")))
    (posted,) = desk.b1.documents("Orders")
    assert (await desk.b1.post(f"Orders({posted['DocEntry']})/Cancel", {})).status == 204
    first = await desk.take(refund)
    await desk.ended(first)
    assert endings(first, "refund_issued") == ["no_op"]
    await desk.ended(await desk.take(dispatch("D1", "1")))
    assert [(one.state, one.event_type) for one in desk.states().values()] == [("dead", "dispatch_confirmed")]
    counts = {key: n for counts in first.finished.values() for key, n in counts.items()}
    await desk.close()
    await desk.open(counts)
    again = await desk.take(refund, again=True)
    await desk.ended(again)
    assert list(again.finished.values()) == [{}]
    assert [one.state for one in desk.states().values()] == ["dead"]


@pytest.mark.parametrize("is_dead", [False, True], ids=["in flight", "dead"])
async def test_what_was_posted_and_comes_again_is_no_reuse_of_what_reuses_its_identity(
    desk: PosterUnderTest, is_dead: bool
) -> None:
    posted = await desk.take(order("1"))
    await desk.ended(posted)
    await desk.close()
    await desk.open({key: n for counts in posted.finished.values() for key, n in counts.items()})
    reuse = await desk.take(order("1", currency="EUR"))
    if is_dead:
        await desk.ended(reuse)
    desk.places["order_placed"] = 1
    again = await desk.take(order("1"), again=True)
    await desk.ended(reuse, again)
    assert [endings(posted), endings(again)] == [["posted"], [""]]
    assert [(one.reason, one.offset) for one in desk.states().values()] == [("id_reuse", 1)]
    assert len(desk.b1.documents("Orders")) == 1

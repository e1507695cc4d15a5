"""Writes whose answer never came, in every way it can be lost: each ends as exactly one document.

Ten thousand of them: `pytest -m long -s tests/flows/test_ambiguous_outcomes.py`.
"""

from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from tests.flows.company import INSTALLATIONS
from tests.flows.world import World, order, order_line, stock

#: Shares of the writes: nothing had happened; it had; it happens later; the answer was cut in the middle.
LOST = {
    "lost_reply_before_commit": 0.08,
    "lost_reply_after_commit": 0.08,
    "late_commit": {"rate": 0.03, "after_s": 3.0},
    "truncated_batch": 0.08,
}


@pytest.mark.parametrize("tier", INSTALLATIONS)
@pytest.mark.parametrize("ambiguous", [200, pytest.param(10_000, marks=pytest.mark.long)])
async def test_every_ambiguous_outcome_ends_as_exactly_one_document(
    open_world: Callable[..., Awaitable[World]], ambiguous: int, tier: str
) -> None:
    world = await open_world(idempotency=tier)
    world.b1.load({"stock": [{"item": item, "warehouse": "LON1", "quantity": "1000000"} for item in "ABC"]})
    before = {item: world.on_hand(item) for item in "ABC"}
    world.faults.update({"rates": LOST})
    orders = moves = resolved = 0
    while resolved < ambiguous:
        shop = [order(f"O{orders + n}", order_line(sku="ABC"[n % 3])) for n in range(500)]
        orders, moves = orders + len(shop), moves + 60
        world.writes("shop", *shop)
        world.writes("warehouse", *(stock(f"S{moves - n}", "ABC"[n % 3], "1") for n in range(60)))
        # A quiet period for each, with three items between them
        await world.settled(every_s=5, patience_s=3_600 if tier == "claim" else 36_000)
        resolved = int(
            sum(
                sample.value
                for family in world.metrics.registry.collect()
                for sample in family.samples
                if sample.name == "b1streams_ambiguous_resolutions_total"
            )
        )
    world.faults.update({"clear": True})
    await world.simulator.settle()  # what is still on its way to B1 arrives
    made = Counter(one["U_STREAMS_KEY"] for one in world.documents("Orders"))
    print(f"\n{resolved} ambiguous outcomes of {orders} orders and {moves} movements: {dict(world.faults.injected)}")  # noqa: T201
    assert len(made) == orders
    assert set(made.values()) == {1}
    assert {item: world.on_hand(item) - before[item] for item in "ABC"} == dict.fromkeys("ABC", moves / 3)
    assert await world.ends("order_placed") == {"posted": orders}
    assert await world.ends("stock_adjusted") == {"posted": moves}

"""The tiers guard and lookup: one document of each event where B1's change sets are not atomic."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from lab.simulators.sap_b1.faults import FaultKind
from streams.ports import no_crash
from streams.posting.intents import QUIET_S
from tests.flows.test_ambiguous_outcomes import LOST
from tests.flows.world import World, cancel, dispatch, order, order_line, refund, refund_line, stock

OpenWorld = Callable[..., Awaitable[World]]
LINES = [{"line_id": "1", "quantity": "1"}, {"line_id": "2", "quantity": "1"}]
TWO = (order_line("1", "A", "3", tax_amount="6.00"), order_line("2", "B", "1", tax_amount="2.00"))
BOTH = pytest.mark.parametrize("tier", ["guard", "lookup"])


async def killed_at(world: World, point: str) -> None:
    """Kill the worker when it passes a point, and start another."""
    reached, never = asyncio.Event(), asyncio.Event()

    async def stop_here(passed: str) -> None:
        if passed == point:
            reached.set()
            await never.wait()

    world.crash_point = stop_here
    await reached.wait()
    await world.kill_worker()
    world.crash_point = no_crash
    await world.start_worker()


@BOTH
async def test_a_worker_that_dies_between_intent_and_document_leaves_one_to_its_successor(
    open_world: OpenWorld, tier: str
) -> None:
    world = await open_world(idempotency=tier)
    world.faults.script(FaultKind.LOST_BEFORE, path="Orders", method="POST")
    world.writes("shop", order("1"))
    await killed_at(world, "t1" if tier == "lookup" else "c6")
    await world.settled()
    assert [one["U_STREAMS_KEY"] for one in world.documents("Orders")] == [world.k("order_placed", "shop", "1")]
    assert await world.ends("order_placed") == {"posted": 1}


@BOTH
async def test_a_document_whose_answer_is_lost_is_adopted_after_the_quiet_period(
    open_world: OpenWorld, tier: str
) -> None:
    world = await open_world(idempotency=tier)
    world.faults.script(FaultKind.LOST_AFTER, path="Orders", method="POST")
    world.writes("shop", order("1"))
    await world.passes(5)
    assert len(world.documents("Orders")) == 1
    await world.settled()
    assert len(world.documents("Orders")) == 1
    assert await world.ends("order_placed") == {"posted": 1}


async def test_under_look_up_nothing_is_sent_again_before_the_quiet_period_is_over(open_world: OpenWorld) -> None:
    """B1 applies it 200 s after its answer was lost: who had sent it again would have two."""
    world = await open_world(idempotency="lookup")
    world.faults.script(FaultKind.LATE_COMMIT, path="Orders", method="POST", after_s=QUIET_S["lookup"] - 100)
    await world.says("shop", order("1"))
    await world.simulator.settle()
    assert len(world.documents("Orders")) == 1
    assert await world.ends("order_placed") == {"posted": 1}


@BOTH
async def test_a_successor_leaves_alone_what_b1_may_be_at_for_the_one_who_died(
    open_world: OpenWorld, tier: str
) -> None:
    world = await open_world(idempotency=tier)
    world.faults.script(FaultKind.LATE_COMMIT, path="Orders", method="POST", after_s=QUIET_S[tier] - 20)
    world.writes("shop", order("1"))
    await world.passes(5)
    await world.kill_worker()
    await world.start_worker()
    await world.settled()
    await world.simulator.settle()
    assert len(world.documents("Orders")) == 1
    assert await world.ends("order_placed") == {"posted": 1}


async def test_under_look_up_a_request_that_is_applied_after_the_quiet_period_makes_a_second(
    open_world: OpenWorld,
) -> None:
    """The limit of the tier, as D2 states it."""
    world = await open_world(idempotency="lookup")
    world.faults.script(FaultKind.LATE_COMMIT, path="Orders", method="POST", after_s=QUIET_S["lookup"] + 100)
    await world.says("shop", order("1"))
    await world.simulator.settle()
    assert len(world.documents("Orders")) == 2


async def test_under_the_guard_a_document_that_was_sent_alone_and_came_late_is_adopted(open_world: OpenWorld) -> None:
    world = await open_world(idempotency="guard")
    rule = {"entity": "Orders", "breaks": True}
    world.b1.load({"rules": {"notification": [rule]}})  # the node dies between claim and document
    world.writes("shop", order("1"))
    await world.passes(1)
    assert (list(world.claims()), world.documents("Orders")) == ([world.k("order_placed", "shop", "1")], [])
    world.b1.load({"rules": {"notification": []}})
    world.faults.script(FaultKind.LATE_COMMIT, path="Orders", method="POST", after_s=QUIET_S["guard"] + 5)
    await world.settled()
    await world.simulator.settle()
    assert len(world.documents("Orders")) == 1
    assert await world.letters() == []
    assert await world.ends("order_placed") == {"posted": 1}


@BOTH
async def test_a_refused_document_takes_its_intent_back_and_is_posted_without_waiting(
    open_world: OpenWorld, tier: str
) -> None:
    world = await open_world(idempotency=tier)
    world.b1.load({"rules": {"notification": [{"entity": "DeliveryNotes", "number": 7, "text": "not today"}]}})
    await world.says("shop", order("1"))
    await world.says("warehouse", dispatch("D1", "1"))
    await world.letter("erp_refused")
    assert world.k("dispatch_confirmed", "warehouse", "D1") not in world.claims()
    assert not world.documents("DeliveryNotes")


@BOTH
async def test_a_repetition_that_meets_a_lock_leaves_the_claim_of_the_first(open_world: OpenWorld, tier: str) -> None:
    world = await open_world(idempotency=tier)
    await world.says("shop", order("1"))
    await world.stop_worker()
    await world.start_worker()  # which has forgotten it
    world.b1.lock("A", "people:ada")
    await world.says("shop", order("1", order_line(quantity="5")))
    assert [one.state.reason for one in await world.letters()] == ["id_reuse"]
    assert world.claims()[world.k("order_placed", "shop", "1")]["U_STATE"] == "intent"
    world.b1.unlock("A", "people:ada")
    await world.passes(1_200)
    assert len(world.documents("Orders")) == 1


@BOTH
@pytest.mark.parametrize("lost", [FaultKind.LOST_BEFORE, FaultKind.LOST_AFTER])
async def test_a_cancellation_whose_answer_is_lost_takes_its_units_off_once(
    open_world: OpenWorld, tier: str, lost: FaultKind
) -> None:
    world = await open_world(idempotency=tier)
    await world.says("shop", order("1", *TWO))
    world.faults.script(lost, path="Orders(*)", method="PATCH")
    await world.says("shop", cancel("X1", "1", lines=LINES))
    first, second = world.documents("Orders")[0]["DocumentLines"]
    assert (first["Quantity"], second["LineStatus"]) == ("2", "bost_Close")
    assert await world.ends("order_cancelled") == {"posted": 1}
    assert world.claims()[world.k("order_cancelled", "shop", "X1")]["U_STATE"] == "posted"


@BOTH
async def test_a_cancellation_that_may_have_been_carried_out_before_a_crash_is_a_persons(
    open_world: OpenWorld, tier: str
) -> None:
    """Its successor sees an order that is not as it was: taking the units off again would be wrong, and so may not."""
    world = await open_world(idempotency=tier)
    await world.says("shop", order("1", *TWO))
    world.faults.script(FaultKind.LOST_AFTER, path="Orders(*)", method="PATCH")
    world.writes("shop", cancel("X1", "1", lines=[{"line_id": "1", "quantity": "1"}]))
    await world.passes(5)
    await world.kill_worker()
    await world.start_worker()
    await world.settled()
    assert world.documents("Orders")[0]["DocumentLines"][0]["Quantity"] == "2"
    letter = await world.letter("key_conflict")
    assert "discard it" in letter.state.error


@BOTH
async def test_a_whole_order_is_cancelled_once_though_the_worker_dies(open_world: OpenWorld, tier: str) -> None:
    world = await open_world(idempotency=tier)
    await world.says("shop", order("1", *TWO))
    world.faults.script(FaultKind.LOST_AFTER, path="Orders(*", method="POST")
    world.writes("shop", cancel("X1", "1"))
    await world.passes(5)
    await world.kill_worker()
    await world.start_worker()
    await world.settled()
    assert world.documents("Orders")[0]["Cancelled"] == "tYES"
    assert await world.ends("order_cancelled") == {"posted": 1}
    assert world.claims()[world.k("order_cancelled", "shop", "X1")]["U_STATE"] == "posted"


@BOTH
async def test_half_a_cancellation_is_a_persons_and_not_done_twice(open_world: OpenWorld, tier: str) -> None:
    world = await open_world(idempotency=tier)
    await world.says("shop", order("1", *TWO))
    (placed,) = world.documents("Orders")
    original = world.b1.apply

    def refuses_second(requests, holder=None):  # type: ignore[no-untyped-def]
        kept = [one for one in requests if "bost_Close" not in str(one.body)]
        answers = original(kept, holder)
        if len(kept) < len(requests):
            return original([requests[-1].__class__("PATCH", f"Orders({placed['DocEntry']})", {"Nonsense": 1})], holder)
        return answers

    world.b1.apply = refuses_second  # type: ignore[method-assign]
    await world.says("shop", cancel("X1", "1", lines=LINES))
    letter = await world.letter("key_conflict")
    assert "first part" in letter.state.error
    assert world.documents("Orders")[0]["DocumentLines"][0]["Quantity"] == "2"
    assert world.claims()[world.k("order_cancelled", "shop", "X1")]["U_STATE"] == "intent"


@BOTH
@pytest.mark.parametrize("seed", range(3))
async def test_every_kind_of_event_has_one_document_whatever_is_lost_and_whoever_dies(
    open_world: OpenWorld, tier: str, seed: int
) -> None:
    world, random = await open_world(idempotency=tier), Random(seed)
    n_orders = 15
    await world.says("shop", *(order(str(n), *TWO) for n in range(n_orders)))
    world.faults.update({"rates": LOST})
    world.writes("warehouse", *(stock(f"S{n}", "C", "1") for n in range(30)))
    world.writes("warehouse", *(dispatch(f"D{n}", str(n)) for n in range(n_orders)))
    for _ in range(4):
        await world.passes(random.choice([0.5, 5, 60]))
        await world.kill_worker()
        await world.start_worker()
    await world.settled(every_s=5, patience_s=36_000)
    world.writes("shop", *(refund(f"R{n}", str(n), refund_line()) for n in range(n_orders)))
    await world.passes(random.choice([0.5, 5, 60]))
    await world.kill_worker()
    await world.start_worker()
    await world.settled(every_s=5, patience_s=36_000)
    world.faults.update({"clear": True})
    await world.simulator.settle()
    for entity in ("Orders", "DeliveryNotes", "Invoices", "CreditNotes"):
        made = Counter(one["U_STREAMS_KEY"] for one in world.documents(entity))
        assert (len(made), set(made.values())) == (n_orders, {1}), entity
    assert world.on_hand("C") == 130
    assert world.on_hand("A") == 100 - 2 * n_orders + n_orders
    assert {one.state.state for one in await world.letters()} <= {"posted"}


# ---- what is proven


@pytest.mark.parametrize(
    ("configured", "proven", "works"),
    [
        ("claim", "claim", True),
        ("claim", "guard", False),
        ("claim", "none", False),
        ("guard", "claim", True),
        ("guard", "guard", True),
        ("guard", "lookup", False),
        ("lookup", "guard", True),
        ("lookup", "lookup", True),
        ("lookup", "none", False),
    ],
)
async def test_a_company_whose_b1_gives_less_than_configured_is_held_until_it_does(
    open_world: OpenWorld, configured: str, proven: str, works: bool
) -> None:
    world = await open_world()
    await world.stop_worker()
    world.proves(proven)
    await world.start_worker(idempotency=configured)
    world.writes("shop", order("1"))
    await world.passes(60)
    assert len(world.documents("Orders")) == works
    (reported,) = (one for one in world.metrics.components.all() if one.kind == "company")
    assert reported.reason == (None if works else "tier_too_low")
    if not works:
        assert (reported.state, reported.owner) == ("held", "platform")
        assert f"idempotency is {configured}" in (reported.detail or "")
        world.proves(configured)
        await world.passes(600)
        await world.settled()
    assert await world.ends("order_placed") == {"posted": 1}


async def test_a_tier_below_the_claim_is_not_believed_before_the_doctor_has_proven_it(open_world: OpenWorld) -> None:
    world = await open_world()
    await world.stop_worker()
    await world.start_worker(idempotency="lookup")
    world.writes("shop", order("1"))
    await world.passes(60)
    assert not world.documents("Orders")

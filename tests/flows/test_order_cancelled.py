"""`order_cancelled`, from the shop's line to what it does to the order in B1."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from lab.simulators.sap_b1.faults import FaultKind
from tests.flows.world import World, cancel, dispatch, order, order_line

OpenWorld = Callable[..., Awaitable[World]]
TWO = (order_line("1", "A", "3", tax_amount="6.00"), order_line("2", "B", "1", tax_amount="2.00"))


def shipped(quantity: str, line_id: str = "1", sku: str = "A") -> dict[str, str]:
    return {"line_id": line_id, "sku": sku, "quantity": quantity}


async def test_an_untouched_order_is_cancelled_under_a_claim_and_without_a_document(world: World) -> None:
    await world.says("shop", order("1", *TWO))
    await world.says("shop", cancel("X1", "1", reason="changed my mind"))
    (placed,) = world.documents("Orders")
    assert (placed["Cancelled"], placed["DocumentStatus"]) == ("tYES", "bost_Close")
    claim = world.claims()[world.k("order_cancelled", "shop", "X1")]
    assert (claim["U_KIND"], claim["U_STATE"]) == ("order_cancelled", "posted")
    assert await world.ends("order_cancelled") == {"posted": 1}
    assert not world.b1.ledger()["committed"]


async def test_an_order_that_something_left_of_is_closed_and_what_was_delivered_stays(world: World) -> None:
    await world.says("shop", order("1", *TWO))
    await world.says("warehouse", dispatch("D1", "1", shipped("2")))
    await world.says("shop", cancel("X1", "1"))
    (placed,) = world.documents("Orders")
    assert (placed["Cancelled"], placed["DocumentStatus"]) == ("tNO", "bost_Close")
    assert len(world.documents("DeliveryNotes")) == len(world.documents("Invoices")) == 1
    assert world.on_hand("A") == 98
    assert await world.ends("order_cancelled") == {"posted": 1}


async def test_units_come_off_a_line_and_a_line_with_nothing_left_is_closed(world: World) -> None:
    await world.says("shop", order("1", *TWO))
    await world.says(
        "shop", cancel("X1", "1", lines=[{"line_id": "1", "quantity": "1"}, {"line_id": "2", "quantity": "1"}])
    )
    (placed,) = world.documents("Orders")
    first, second = placed["DocumentLines"]
    assert (first["Quantity"], first["LineTotal"], first["TaxTotal"], first["LineStatus"]) == (
        "2",
        "20",
        "4",
        "bost_Open",
    )
    assert second["LineStatus"] == "bost_Close"
    assert placed["DocumentStatus"] == "bost_Open"
    await world.says("warehouse", dispatch("D1", "1", shipped("2")))
    assert world.documents("Invoices")[0]["DocTotal"] == "24"


async def test_more_than_is_open_is_over_cancelled(world: World) -> None:
    await world.says("shop", order("1", *TWO))
    await world.says("warehouse", dispatch("D1", "1", shipped("2")))
    await world.says("shop", cancel("X1", "1", lines=[{"line_id": "1", "quantity": "2"}]))
    letter = await world.letter("over_cancelled")
    assert letter.record.topic == "order-cancelled-dead-letter"
    assert world.documents("Orders")[0]["DocumentLines"][0]["Quantity"] == "3"
    assert world.k("order_cancelled", "shop", "X1") not in world.claims()


async def test_a_cancellation_of_everything_that_left_already_is_over_cancelled(world: World) -> None:
    await world.says("shop", order("1"))
    await world.says("warehouse", dispatch("D1", "1"))
    await world.says("shop", cancel("X1", "1"))
    await world.letter("over_cancelled")


async def test_a_line_that_the_order_lacks_is_invalid(world: World) -> None:
    await world.says("shop", order("1"))
    await world.says("shop", cancel("X1", "1", lines=[{"line_id": "9", "quantity": "1"}]))
    await world.letter("invalid_event")


async def test_two_cancellations_of_one_order_are_two_and_the_same_one_again_is_a_no_op(world: World) -> None:
    one, two = (cancel(f"X{n}", "1", lines=[{"line_id": "1", "quantity": "1"}]) for n in (1, 2))
    await world.says("shop", order("1", *TWO))
    await world.says("shop", one, two, one)
    assert world.documents("Orders")[0]["DocumentLines"][0]["Quantity"] == "1"
    assert await world.ends("order_cancelled") == {"posted": 2, "no_op": 1}
    await world.kill_worker()
    await world.start_worker()
    await world.says("shop", two, cancel("X1", "1"))
    assert await world.ends("order_cancelled") == {"posted": 2, "no_op": 2, "dead": 1}
    await world.letter("id_reuse")


async def test_a_cancellation_read_twice_is_posted_once(world: World) -> None:
    """Architecture section 15.1: the units are gone because it took them itself."""
    await world.says("shop", order("1"))
    world.log.commits.setdefault(world.config.group, {})
    before = dict(world.committed())
    await world.says("shop", cancel("X1", "1", lines=[{"line_id": "1", "quantity": "2"}]))
    await world.kill_worker()
    world.log.commits[world.config.group] = before
    await world.start_worker()
    await world.settled()
    assert not await world.letters()
    assert await world.ends("order_cancelled") == {"posted": 1}


@pytest.mark.parametrize("lines", [None, [{"line_id": "1", "quantity": "1"}]])
@pytest.mark.parametrize("kind", [FaultKind.LOST_BEFORE, FaultKind.LOST_AFTER, FaultKind.LATE_COMMIT])
async def test_units_are_cancelled_once_whatever_becomes_of_the_answers(
    world: World, kind: FaultKind, lines: Any
) -> None:
    await world.says("shop", order("1", *TWO))
    world.faults.script(kind, path="Orders(*" if lines is None else "Orders(*)", after_s=45)
    await world.says("shop", cancel("X1", "1", lines=lines))
    await world.simulator.settle()
    assert world.faults.injected == {kind.value: 1}
    (placed,) = world.documents("Orders")
    assert (placed["Cancelled"], placed["DocumentLines"][0]["Quantity"]) == (
        ("tYES", "3") if lines is None else ("tNO", "2")
    )
    assert await world.ends("order_cancelled") == {"posted": 1}
    assert not await world.letters()


async def test_a_cancelled_order_cancelled_again_is_a_no_op(world: World) -> None:
    await world.says("shop", order("1"))
    await world.says("shop", cancel("X1", "1"))
    await world.says("shop", cancel("X2", "1"))
    assert await world.ends("order_cancelled") == {"posted": 1, "no_op": 1}


async def test_a_cancellation_waits_for_its_order(world: World) -> None:
    await world.says("shop", cancel("X1", "1"))
    letter = await world.letter("order_not_found")
    assert letter.state.waits_for == world.order_k("1")
    await world.says("shop", order("1"))
    await world.until(lambda: bool(world.documents("Orders")) and world.documents("Orders")[0]["Cancelled"] == "tYES")
    assert await world.ends("order_cancelled") == {"posted": 1}


async def test_a_cancellation_waits_for_dispatches_that_were_published_before_it(world: World) -> None:
    """Architecture section 15.3: the facts of one order come in several topics."""
    await world.says("shop", order("1"))
    world.writes("warehouse", dispatch("D1", "1", shipped("1")))
    await world.passes(0.6)
    world.writes("shop", cancel("X1", "1"))
    await world.settled()
    assert len(world.documents("DeliveryNotes")) == 1
    assert await world.ends("order_cancelled") == {"posted": 1}
    assert world.documents("Orders")[0]["DocumentStatus"] == "bost_Close"


async def test_a_dispatch_after_the_cancellation_is_over_delivered(world: World) -> None:
    await world.says("shop", order("1"))
    await world.says("shop", cancel("X1", "1"))
    await world.says("warehouse", dispatch("D1", "1", shipped("1")))
    await world.letter("over_delivered")
    assert not world.documents("DeliveryNotes")


async def test_a_flow_that_is_off_leaves_the_order_alone(open_world: OpenWorld) -> None:
    world = await open_world(flows={"order_cancelled": "off"})
    await world.says("shop", order("1"))
    await world.says("shop", cancel("X1", "1"))
    assert world.documents("Orders")[0]["Cancelled"] == "tNO"
    assert await world.ends("order_cancelled") == {"no_op": 1}

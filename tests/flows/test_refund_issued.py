"""`refund_issued`, from the shop's line to the credit memo in B1."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from lab.simulators.sap_b1.faults import FaultKind
from lab.simulators.sap_b1.state.messages import Request
from tests.flows.world import World, at, cancel, dispatch, order, order_line, refund, refund_line

OpenWorld = Callable[..., Awaitable[World]]


async def sold(world: World, quantity: str = "3", **fields: Any) -> None:
    """An order of A at 10.00 net, delivered and invoiced."""
    tax = str(Decimal(quantity) * 2)
    await world.says("shop", order("1", order_line(quantity=quantity, tax_amount=tax), order_number="#1", **fields))
    await world.says("warehouse", dispatch("D1", "1", {"line_id": "1", "sku": "A", "quantity": quantity}))


# ---- the document


async def test_a_refund_becomes_a_credit_memo_based_on_the_invoice(world: World) -> None:
    await sold(world)
    await world.says(
        "shop",
        refund(
            "R1", "1", refund_line(quantity="2", amount="20.00", tax_amount="4.00"), total="24.00", reason="too small"
        ),
    )
    (invoice,), (credit,) = world.documents("Invoices"), world.documents("CreditNotes")
    k = world.k("refund_issued", "shop", "R1")
    assert (credit["U_STREAMS_KEY"], credit["U_STREAMS_ORDER"], credit["NumAtCard"]) == (k, world.order_k("1"), "R1")
    assert (credit["CardCode"], credit["DocDate"][:10], credit["DocTotal"], credit["VatSum"]) == (
        "C-WEB",
        "2026-11-21",
        "24",
        "4",
    )
    (line,) = credit["DocumentLines"]
    assert (line["BaseType"], line["BaseEntry"], line["BaseLine"]) == (13, invoice["DocEntry"], 0)
    assert (line["ItemCode"], line["Quantity"], line["WarehouseCode"], line["U_STREAMS_LINE"]) == (
        "A",
        "2",
        "LON1",
        "1",
    )
    assert world.claims()[k]["U_KIND"] == "refund_issued"
    assert world.on_hand("A") == 99
    assert await world.ends("refund_issued") == {"posted": 1}


async def test_without_restock_no_stock_moves(world: World) -> None:
    await sold(world)
    await world.says("shop", refund("R1", "1", refund_line(restock=False)))
    assert world.documents("CreditNotes")[0]["DocumentLines"][0]["WithoutInventoryMovement"] == "tYES"
    assert world.on_hand("A") == 97


async def test_where_the_warehouse_counts_returns_by_adjustment_the_refund_moves_none(world: World) -> None:
    await sold(world)
    await world.says("shop", refund("R1", "1", refund_line(location="RETURNS")))
    (line,) = world.documents("CreditNotes")[0]["DocumentLines"]
    assert (line["WarehouseCode"], line["WithoutInventoryMovement"]) == ("RET1", "tYES")
    assert (world.on_hand("A"), world.on_hand("A", "RET1")) == (97, 0)


async def test_partial_refunds_never_pass_what_was_invoiced(world: World) -> None:
    await sold(world)
    await world.says("shop", *(refund(f"R{n}", "1", refund_line(quantity=str(n))) for n in (1, 2)))
    await world.says("shop", refund("R3", "1", refund_line()))
    letter = await world.letter("over_credited")
    assert (letter.state.event_id, letter.record.topic) == ("R3", "refund-issued-dead-letter")
    assert [document["DocumentLines"][0]["Quantity"] for document in world.documents("CreditNotes")] == ["1", "2"]


async def test_a_paid_invoice_is_credited_without_base_and_still_linked(world: World) -> None:
    await sold(world)
    (invoice,) = world.documents("Invoices")
    world.b1.pay(invoice["DocEntry"])
    await world.passes(1)
    await world.kill_worker()
    await world.start_worker()
    await world.says("shop", refund("R1", "1", refund_line()))
    (credit,) = world.documents("CreditNotes")
    assert credit["DocumentLines"][0]["BaseType"] in (-1, None)
    assert credit["DocumentReferences"][0]["RefDocEntr"] == invoice["DocEntry"]
    assert str(invoice["DocNum"]) in credit["Comments"]
    assert credit["DocTotal"] == "12"
    await world.says("shop", refund("R2", "1", refund_line(quantity="3")))
    await world.letter("over_credited")


async def test_shipping_and_goodwill_are_additional_expenses_of_a_refund_with_lines(world: World) -> None:
    await sold(world, shipping={"amount": "5.00", "tax_code": "GB-20", "tax_amount": "1.00"}, grand_total="42.00")
    await world.says(
        "shop",
        refund(
            "R1",
            "1",
            refund_line(),
            shipping={"amount": "5.00", "tax_amount": "1.00"},
            adjustment={"amount": "2.50", "tax_code": "GB-20", "tax_amount": "0.50"},
            total="21.00",
        ),
    )
    (credit,) = world.documents("CreditNotes")
    assert [(row["ExpenseCode"], row["LineTotal"], row["TaxSum"]) for row in credit["DocumentAdditionalExpenses"]] == [
        (1, "5", "1"),
        (2, "2.5", "0.5"),
    ]
    assert credit["DocTotal"] == "21"


async def test_goodwill_alone_is_a_service_line_on_its_account(world: World) -> None:
    await sold(world)
    await world.says(
        "shop",
        refund("R1", "1", adjustment={"amount": "5.00", "tax_code": "GB-20", "tax_amount": "1.00"}, total="6.00"),
    )
    (credit,) = world.documents("CreditNotes")
    assert (credit["DocType"], credit["DocTotal"]) == ("dDocument_Service", "6")
    assert credit["DocumentLines"][0]["AccountCode"] == "4000"
    assert credit["U_STREAMS_ORDER"] == world.order_k("1")
    assert world.on_hand("A") == 97


async def test_a_total_that_the_parts_do_not_come_to_is_refused(world: World) -> None:
    await sold(world)
    await world.says("shop", refund("R1", "1", refund_line(), total="12.01"))
    await world.letter("total_mismatch")
    assert not world.documents("CreditNotes")


async def test_an_order_in_two_invoices_is_credited_from_both(world: World) -> None:
    await world.says("shop", order("1", order_line(quantity="3", tax_amount="6.00")))
    for n in (1, 2):
        await world.says("warehouse", dispatch(f"D{n}", "1", {"line_id": "1", "sku": "A", "quantity": str(n)}))
    await world.says(
        "shop", refund("R1", "1", refund_line(quantity="3", amount="30.00", tax_amount="6.00"), total="36.00")
    )
    (credit,) = world.documents("CreditNotes")
    assert [(line["BaseEntry"], line["Quantity"]) for line in credit["DocumentLines"]] == [(1, "1"), (2, "2")]
    assert credit["DocTotal"] == "36"


async def test_goods_that_were_cancelled_and_never_invoiced_are_a_no_op(world: World) -> None:
    await world.says("shop", order("1"))
    await world.says("shop", cancel("X1", "1"))
    await world.says("shop", refund("R1", "1", refund_line(quantity="2", amount="20", tax_amount="4")))
    assert await world.ends("refund_issued") == {"no_op": 1}
    assert not world.documents("CreditNotes")


async def test_traced_goods_come_back_with_their_numbers(world: World) -> None:
    await world.says("shop", order("1", order_line("1", "LOT", "5")))
    lot = [{"number": "L1", "quantity": "5"}]
    await world.says("warehouse", dispatch("D1", "1", {"line_id": "1", "sku": "LOT", "quantity": "5", "batches": lot}))
    await world.says(
        "shop",
        refund("R1", "1", refund_line("1", "LOT", "2", "20", batches=[{"number": "L1", "quantity": "2"}])),
        refund("R2", "1", refund_line("1", "LOT", "1", "10")),
    )
    assert [row["BatchNumber"] for row in world.documents("CreditNotes")[0]["DocumentLines"][0]["BatchNumbers"]] == [
        "L1"
    ]
    await world.letter("batch_or_serial_missing")


async def test_a_credit_memo_that_needs_approval_is_one_in_the_end(world: World) -> None:
    await sold(world)
    world.needs_approval("CreditNotes")
    await world.says("shop", refund("R1", "1", refund_line()))
    await world.letter("approval_required")
    await world.passes(600)
    assert len(world.drafts()) == 1
    world.approve()
    await world.until(lambda: world.k("refund_issued", "shop", "R1") in world.claims())
    await world.letter("approval_required", "posted")
    assert len(world.documents("CreditNotes")) == 1
    await world.says("shop", refund("R2", "1", refund_line(quantity="3")))
    await world.letter("over_credited")  # what was approved counts


# ---- waiting


async def test_a_refund_before_its_invoice_waits_for_it(world: World) -> None:
    await world.says("shop", order("1"))
    await world.says("shop", refund("R1", "1", refund_line()))
    letter = await world.letter("invoice_not_found")
    assert letter.state.waits_for
    before = world.clock.monotonic()
    await world.says("warehouse", dispatch("D1", "1"))
    await world.until(lambda: bool(world.documents("CreditNotes")))
    assert world.clock.monotonic() - before < 30
    assert await world.ends("refund_issued") == {"posted": 1}


async def test_a_refund_that_overtakes_the_last_dispatch_is_posted_after_it(world: World) -> None:
    await world.says("shop", order("1", order_line(quantity="3", tax_amount="6.00")))
    await world.says("warehouse", dispatch("D1", "1", {"line_id": "1", "sku": "A", "quantity": "1"}))
    await world.says("shop", refund("R1", "1", refund_line(quantity="2", amount="20.00", tax_amount="4.00")))
    await world.letter("invoice_not_found")
    await world.says("warehouse", dispatch("D2", "1", {"line_id": "1", "sku": "A", "quantity": "2"}))
    await world.until(lambda: bool(world.documents("CreditNotes")))
    await world.letter("invoice_not_found", "posted")
    assert await world.ends("refund_issued") == {"posted": 1}


async def test_a_refund_before_its_order_waits_for_both_in_turn(world: World) -> None:
    await world.says("shop", refund("R1", "1", refund_line()))
    await world.letter("order_not_found")
    await world.says("shop", order("1"))
    await world.passes(2)
    await world.letter("invoice_not_found")
    await world.says("warehouse", dispatch("D1", "1"))
    await world.until(lambda: bool(world.documents("CreditNotes")))
    await world.says("shop", refund("R1", "1", refund_line()))
    assert await world.ends("refund_issued") == {"posted": 1, "no_op": 1}


async def test_a_waiting_refund_that_is_never_answered_is_dead_in_time(open_world: OpenWorld) -> None:
    world = await open_world(park_max_age_s=300)
    await world.says("shop", refund("R1", "1", refund_line()))
    await world.passes(400)
    await world.letter("order_not_found", "dead")


async def test_a_waiting_refund_does_not_age_while_b1_is_away(open_world: OpenWorld) -> None:
    """Architecture section 15.10."""
    world = await open_world(park_max_age_s=300)
    await world.says("shop", refund("R1", "1", refund_line()))
    world.faults.outage = "html_503"
    world.writes("shop", order("1"))
    await world.passes(2000)
    world.faults.outage = None
    await world.settled()
    assert not await world.letters("dead")


# ---- without an order, without our invoices


async def test_without_an_order_id_a_refund_is_dead_or_posted_without_base(open_world: OpenWorld) -> None:
    world = await open_world()
    await world.says("shop", refund("R1", None, refund_line(location="MAIN")))
    await world.letter("order_not_found", "dead")
    world = await open_world(refunds={"without_order": "post"})
    await world.says("shop", refund("R1", None, refund_line(location="MAIN"), total="12.00"))
    (credit,) = world.documents("CreditNotes")
    assert (credit["NumAtCard"], credit["DocTotal"], credit["CardCode"]) == ("R1", "12", "C-WEB")
    assert credit["DocumentLines"][0]["BaseType"] in (-1, None)
    assert world.on_hand("A") == 101


async def test_where_people_invoice_their_invoice_is_found_by_customer_and_number(open_world: OpenWorld) -> None:
    world = await open_world(invoices={"on": "never"})
    await sold(world)
    (delivery,) = world.documents("DeliveryNotes")
    by_hand = {
        "CardCode": "C-WEB",
        "NumAtCard": "#1",
        "DocDate": "2026-11-21",
        "DocumentLines": [{"BaseType": 15, "BaseEntry": delivery["DocEntry"], "BaseLine": 0}],
    }
    assert world.b1.apply([Request("POST", "Invoices", by_hand)])[0].status == 201
    await world.says("shop", refund("R1", "1", refund_line()))
    assert world.documents("CreditNotes")[0]["DocumentLines"][0]["BaseType"] == 13


async def test_where_nobody_invoices_the_delivery_is_the_base(open_world: OpenWorld) -> None:
    world = await open_world(invoices={"on": "never"})
    await sold(world)
    await world.says("shop", refund("R1", "1", refund_line()))
    (credit,) = world.documents("CreditNotes")
    assert credit["DocumentLines"][0]["BaseType"] == 15
    assert world.on_hand("A") == 98


# ---- repeats and holds


@pytest.mark.parametrize("forgotten", [False, True])
async def test_a_refund_again_is_a_no_op_and_another_under_its_id_is_id_reuse(world: World, forgotten: bool) -> None:
    await sold(world)
    await world.says("shop", refund("R1", "1", refund_line()))
    if forgotten:
        await world.kill_worker()
        await world.start_worker()
    await world.says(
        "shop", refund("R1", "1", refund_line(quantity="1.000")), refund("R1", "1", refund_line(quantity="2"))
    )
    assert len(world.documents("CreditNotes")) == 1
    assert await world.ends("refund_issued") == {"posted": 1, "no_op": 1, "dead": 1}
    await world.letter("id_reuse")


@pytest.mark.parametrize(
    "kind", [FaultKind.LOST_BEFORE, FaultKind.LOST_AFTER, FaultKind.LATE_COMMIT, FaultKind.DUPLICATE]
)
async def test_there_is_one_credit_memo_whatever_becomes_of_the_answers(world: World, kind: FaultKind) -> None:
    await sold(world)
    world.faults.script(kind, path="CreditNotes", method="POST", after_s=45)
    await world.says("shop", refund("R1", "1", refund_line(quantity="3")))
    await world.simulator.settle()
    assert len(world.documents("CreditNotes")) == 1
    assert await world.ends("refund_issued") == {"posted": 1}
    assert not await world.letters()


async def test_a_dead_dispatch_holds_the_refund_of_its_order_and_not_the_cancellation_of_another(world: World) -> None:
    await world.says("shop", order("1"), order("2"))
    await world.says("warehouse", dispatch("D1", "1", carrier="Pigeon"))
    await world.says("shop", refund("R1", "1", refund_line()), cancel("X2", "2"))
    dead = await world.letter("unmapped_carrier")
    (held,) = await world.letters("held")
    assert (held.state.event_id, held.state.blocked_by) == ("R1", dead.state.id)
    assert await world.ends("order_cancelled") == {"posted": 1}


async def test_a_dead_refund_holds_no_dispatch_of_its_order(world: World) -> None:
    await world.says("shop", order("1", order_line(quantity="3", tax_amount="6.00")))
    await world.says("warehouse", dispatch("D1", "1", {"line_id": "1", "sku": "A", "quantity": "1"}))
    await world.says("shop", refund("R1", "1", refund_line(quantity="9", amount="90")))
    await world.letter("over_credited")
    await world.says("warehouse", dispatch("D2", "1", {"line_id": "1", "sku": "A", "quantity": "2"}))
    assert len(world.documents("Invoices")) == 2
    await world.says("shop", refund("R2", "1", refund_line()))
    assert [one.state.event_id for one in await world.letters("held")] == ["R2"]


async def test_switched_off_or_before_the_start_refunds_are_no_ops(open_world: OpenWorld) -> None:
    world = await open_world(flows={"refund_issued": "off"})
    await sold(world)
    await world.says("shop", refund("R1", "1", refund_line()))
    assert await world.ends("refund_issued") == {"no_op": 1}
    world = await open_world(connectors={"shop": {"start_at": at(-15)}})
    await sold(world)
    await world.says("shop", refund("R1", "1", refund_line(), occurred_at=at(-20)))
    assert await world.ends("refund_issued") == {"no_op": 1}

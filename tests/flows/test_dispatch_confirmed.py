"""`dispatch_confirmed`, from the warehouse's line to delivery and invoice in B1."""

import itertools
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from connectors.sap_b1.claims import Claim
from lab.simulators.sap_b1.faults import FaultKind
from lab.simulators.sap_b1.state.messages import Request
from schemas.events import DispatchConfirmed
from tests.flows.world import World, at, cancel, dispatch, order, order_line

OpenWorld = Callable[..., Awaitable[World]]


def shipped(quantity: str = "2", line_id: str | None = "1", sku: str = "A", **fields: Any) -> dict[str, Any]:
    return {"line_id": line_id, "sku": sku, "quantity": quantity, **fields}


# ---- the documents


async def test_a_dispatch_becomes_a_delivery_and_its_invoice(world: World) -> None:
    await world.says("shop", order("1", order_number="#1", occurred_at=at(-60 * 30)))
    await world.says(
        "warehouse",
        dispatch("D1", "1", carrier="DPD", service="Next-Day", tracking_numbers=["T1", "T2", "T3"], occurred_at=at(-5)),
    )
    (placed,), (delivery,), (invoice,) = (world.documents(name) for name in ("Orders", "DeliveryNotes", "Invoices"))
    delivery_k, invoice_k = world.k("dispatch_confirmed", "warehouse", "D1"), world.k("invoice", "warehouse", "D1")
    assert (delivery["U_STREAMS_KEY"], invoice["U_STREAMS_KEY"]) == (delivery_k, invoice_k)
    for document in (delivery, invoice):
        assert (document["U_STREAMS_ORDER"], document["NumAtCard"], document["CardCode"]) == (
            world.order_k("1"),
            "#1",
            "C-WEB",
        )
        assert {document[name][:10] for name in ("DocDate", "TaxDate", "DocDueDate")} == {"2026-11-21"}
        assert document["DocTotal"] == "24"
    (line,) = delivery["DocumentLines"]
    assert (line["BaseType"], line["BaseEntry"], line["BaseLine"]) == (17, placed["DocEntry"], 0)
    assert (line["ItemCode"], line["Quantity"], line["WarehouseCode"], line["U_STREAMS_LINE"]) == (
        "A",
        "2",
        "LON1",
        "1",
    )
    (drawn,) = invoice["DocumentLines"]
    assert (drawn["BaseType"], drawn["BaseEntry"], drawn["BaseLine"], drawn["U_STREAMS_LINE"]) == (
        15,
        delivery["DocEntry"],
        0,
        "1",
    )
    assert (delivery["TrackingNumber"], delivery["TransportationCode"]) == ("T1", 3)
    assert "T2" in delivery["Comments"]
    assert "T3" in delivery["Comments"]
    assert {world.claims()[k]["U_KIND"] for k in (delivery_k, invoice_k)} == {"dispatch_confirmed", "invoice"}
    assert world.on_hand("A") == 98
    assert placed["DocumentStatus"] == "bost_Close"  # fulfilled
    assert await world.ends("dispatch_confirmed") == {"posted": 1}
    (outcome,) = [one for one in world.outcomes() if one.kind == "dispatch_confirmed"]
    assert [one.object for one in outcome.documents] == ["DeliveryNotes", "Invoices"]


async def test_partial_dispatches_are_drawn_from_what_is_open_and_their_invoices_sum_to_grand_total(
    world: World,
) -> None:
    """Three thirds of 10.00 and their tax do not divide: the last one takes the remainder.

    The first carries the freight.
    """
    await world.says(
        "shop",
        order(
            "1",
            order_line("1", "A", "3", "3.3333", tax_amount="2.00"),
            order_line("2", "B", "7", "1.11", discount="0.10", tax_amount="1.53"),
            shipping={"amount": "3.95", "tax_code": "GB-20", "tax_amount": "0.79"},
            grand_total="25.94",
        ),
    )
    parts = [shipped("1"), shipped("3", "2", "B")], [shipped("1")], [shipped("1"), shipped("4", "2", "B")]
    for n, lines in enumerate(parts):
        await world.says("warehouse", dispatch(f"D{n}", "1", *lines))
    deliveries, invoices = world.documents("DeliveryNotes"), world.documents("Invoices")
    assert len(deliveries) == len(invoices) == 3
    assert [len(document["DocumentAdditionalExpenses"]) for document in invoices] == [1, 0, 0]
    assert all(not document["DocumentAdditionalExpenses"] for document in deliveries)
    assert sum(Decimal(document["DocTotal"]) for document in invoices) == Decimal("25.94")
    taken = [line for document in invoices for line in document["DocumentLines"]]
    for line_id, net, tax in (("1", "10.00", "2.00"), ("2", "7.67", "1.53")):
        mine = [line for line in taken if line["U_STREAMS_LINE"] == line_id]
        assert sum(Decimal(line["LineTotal"]) for line in mine) == Decimal(net)
        assert sum(Decimal(line["TaxTotal"]) for line in mine) == Decimal(tax)
    assert world.documents("Orders")[0]["DocumentStatus"] == "bost_Close"


async def test_lines_without_a_line_id_are_filled_in_line_order(world: World) -> None:
    await world.says("shop", order("1", order_line("x", quantity="2"), order_line("y", quantity="3", price="11")))
    await world.says("warehouse", dispatch("D1", "1", shipped("3", None)), dispatch("D2", "1", shipped("2", None)))
    taken = [
        [(line["U_STREAMS_LINE"], line["Quantity"]) for line in document["DocumentLines"]]
        for document in world.documents("DeliveryNotes")
    ]
    assert taken == [[("x", "2"), ("y", "1")], [("y", "2")]]


async def test_a_dispatch_leaves_the_warehouse_of_its_location_whatever_the_order_said(world: World) -> None:
    world.b1.load({"stock": [{"item": "A", "warehouse": "RET1", "quantity": "5"}]})
    await world.says("shop", order("1"))
    await world.says("warehouse", dispatch("D1", "1", location="RETURNS"))
    assert world.documents("DeliveryNotes")[0]["DocumentLines"][0]["WarehouseCode"] == "RET1"
    assert (world.on_hand("A"), world.on_hand("A", "RET1")) == (100, 3)


async def test_batches_and_serials_go_with_the_goods(world: World) -> None:
    await world.says("shop", order("1", order_line("1", "LOT", "5"), order_line("2", "SER", "2")))
    await world.says(
        "warehouse",
        dispatch(
            "D1",
            "1",
            shipped("5", "1", "LOT", batches=[{"number": "L1", "quantity": "5"}]),
            shipped("2", "2", "SER", serials=["S1", "S2"]),
        ),
    )
    lot, serial = world.documents("DeliveryNotes")[0]["DocumentLines"]
    assert [(one["BatchNumber"], one["Quantity"]) for one in lot["BatchNumbers"]] == [("L1", "5")]
    assert [one["InternalSerialNumber"] for one in serial["SerialNumbers"]] == ["S1", "S2"]


@pytest.mark.parametrize(
    "line",
    [
        shipped("5", "1", "LOT"),
        shipped("5", "1", "LOT", batches=[{"number": "L1", "quantity": "4"}]),
        shipped("1", "2", "SER"),
        shipped("2", "2", "SER", serials=["S1"]),
        shipped("1", "3", "A", batches=[{"number": "L1", "quantity": "1"}]),
    ],
)
async def test_numbers_that_are_missing_or_do_not_add_up_are_named(world: World, line: dict[str, Any]) -> None:
    await world.says("shop", order("1", order_line("1", "LOT", "5"), order_line("2", "SER", "2"), order_line("3", "A")))
    await world.says("warehouse", dispatch("D1", "1", line))
    await world.letter("batch_or_serial_missing")
    assert not world.documents("DeliveryNotes")


async def test_where_people_invoice_there_is_a_delivery_only(open_world: OpenWorld) -> None:
    world = await open_world(invoices={"on": "never"})
    await world.says("shop", order("1"))
    await world.says("warehouse", dispatch("D1", "1"))
    assert len(world.documents("DeliveryNotes")) == 1
    assert not world.documents("Invoices")
    assert await world.ends("dispatch_confirmed") == {"posted": 1}


# ---- refusals


async def test_more_than_is_open_is_over_delivered_and_what_is_open_may_still_leave(world: World) -> None:
    await world.says("shop", order("1"))
    await world.says("warehouse", dispatch("D1", "1", shipped("1")), dispatch("D2", "1", shipped("2")))
    letter = await world.letter("over_delivered")
    assert (letter.state.event_id, letter.state.order_id) == ("D2", "1")
    assert [document["DocumentLines"][0]["Quantity"] for document in world.documents("DeliveryNotes")] == ["1"]
    await world.says("warehouse", dispatch("D3", "1", shipped("1")))
    assert [one.state.event_id for one in await world.letters("held")] == ["D3"]  # of the same rank: it waits


@pytest.mark.parametrize(
    ("reason", "fields", "line"),
    [
        ("unmapped_location", {"location": "NOWHERE"}, {}),
        ("unmapped_carrier", {"carrier": "Pigeon"}, {}),
        ("unmapped_carrier", {"carrier": "dpd", "service": "by boat"}, {}),
        ("invalid_event", {}, {"line_id": "9"}),
        ("invalid_event", {}, {"sku": "B"}),
    ],
)
async def test_what_stands_against_a_dispatch_is_named(
    world: World, reason: str, fields: dict[str, Any], line: dict[str, Any]
) -> None:
    await world.says("shop", order("1"))
    await world.says("warehouse", dispatch("D1", "1", {**shipped(), **line}, **fields))
    letter = await world.letter(reason)
    assert (letter.record.topic, letter.state.order_id) == ("dispatch-confirmed-dead-letter", "1")
    assert not world.documents("DeliveryNotes")
    assert set(world.claims()) == {world.order_k("1")}


async def test_stock_that_b1_lacks_parks_the_dispatch_until_it_is_there(world: World) -> None:
    await world.says("shop", order("1", order_line(sku="85123A", quantity="150")))
    await world.says("warehouse", dispatch("D1", "1", shipped("150", sku="85123A")))
    letter = await world.letter("negative_stock")
    assert letter.state.waits_for
    world.b1.load({"stock": [{"item": "85123A", "warehouse": "LON1", "quantity": "50"}]})
    await world.until(lambda: bool(world.documents("Invoices")))
    await world.letter("negative_stock", "posted")
    assert world.on_hand("85123A") == 0


async def test_an_item_that_became_inactive_is_caught_before_the_post(world: World) -> None:
    await world.says("shop", order("1"))
    world.b1.load({"Items": [{"ItemCode": "A", "Valid": "tNO", "Frozen": "tYES"}]})
    await world.passes(400)  # what is known of items is believed for five minutes
    await world.says("warehouse", dispatch("D1", "1"))
    await world.letter("inactive_item")
    world.b1.load({"Items": [{"ItemCode": "A", "Valid": "tYES", "Frozen": "tNO"}]})
    await world.until(lambda: bool(world.documents("Invoices")))


@pytest.mark.parametrize("entity", ["DeliveryNotes", "Invoices"])
async def test_a_dispatch_of_which_a_part_needs_approval_ends_with_both_documents_and_their_claims(
    world: World, entity: str
) -> None:
    await world.says("shop", order("1"))
    world.needs_approval(entity)
    await world.says("warehouse", dispatch("D1", "1"))
    await world.letter("approval_required")
    await world.passes(300)  # it is looked at again and again, and never sent again
    assert len(world.drafts()) == 1
    world.approve()
    await world.until(lambda: len(world.claims()) == 3)
    await world.letter("approval_required", "posted")
    assert len(world.documents("DeliveryNotes")) == len(world.documents("Invoices")) == len(world.drafts()) == 1
    assert {claim["U_KIND"] for claim in world.claims().values()} == {"order_placed", "dispatch_confirmed", "invoice"}
    assert await world.ends("dispatch_confirmed") == {"posted": 1}


async def test_an_invoice_that_b1_refuses_is_made_when_it_no_longer_does(world: World) -> None:
    await world.says("shop", order("1"))
    world.faults.script(FaultKind.CLOSED_PERIOD, path="Invoices", method="POST", times=2)
    await world.says("warehouse", dispatch("D1", "1"))
    await world.letter("period_closed")
    assert len(world.documents("DeliveryNotes")) == 1
    await world.until(lambda: bool(world.documents("Invoices")))
    await world.letter("period_closed", "posted")
    assert len(world.documents("DeliveryNotes")) == 1


# ---- waiting for the order


async def test_a_dispatch_before_its_order_waits_and_the_orders_outcome_releases_it(world: World) -> None:
    await world.says("warehouse", dispatch("D1", "1"))
    letter = await world.letter("order_not_found")
    assert letter.state.waits_for == world.order_k("1")
    assert letter.headers["b1streams.waits_for"] == world.order_k("1")
    before = world.clock.monotonic()
    await world.says("shop", order("1"))
    await world.until(lambda: bool(world.documents("Invoices")))
    assert world.clock.monotonic() - before < 30  # not the minute's timer
    await world.letter("order_not_found", "posted")
    assert await world.ends("dispatch_confirmed") == {"posted": 1}


async def test_a_waiting_dispatch_outlives_its_worker(world: World) -> None:
    await world.says("warehouse", dispatch("D1", "1"))
    await world.kill_worker()
    await world.start_worker()
    await world.says("shop", order("1"))
    await world.until(lambda: bool(world.documents("Invoices")))
    assert await world.ends("dispatch_confirmed") == {"posted": 1}


async def test_repeats_of_a_waiting_dispatch_are_no_ops_and_other_content_is_id_reuse(world: World) -> None:
    await world.says("warehouse", dispatch("D1", "1"), dispatch("D1", "1"), dispatch("D1", "1", shipped("1")))
    await world.letter("id_reuse")
    assert await world.ends("dispatch_confirmed") == {"parked": 1, "no_op": 1, "dead": 1}
    await world.says("shop", order("1"))
    await world.until(lambda: bool(world.documents("Invoices")))
    assert world.documents("DeliveryNotes")[0]["DocumentLines"][0]["Quantity"] == "2"


async def test_an_order_id_that_two_of_its_shops_have_is_nobodys(open_world: OpenWorld) -> None:
    market = {"kind": "ims", "company": "acme", "inbox": "in/market", "orders": {"warehouse": "LON1"}}
    world = await open_world(connectors={"market": market, "warehouse": {"order_source": ["shop", "market"]}})
    await world.says("market", order("1"), order("2"))
    await world.says("shop", order("1"))
    await world.says("warehouse", dispatch("D1", "1"), dispatch("D2", "2"))
    letter = await world.letter("order_not_found")
    assert letter.state.event_id == "D1"
    assert [document["U_STREAMS_ORDER"] for document in world.documents("DeliveryNotes")] == [
        world.order_k("2", "market")
    ]


@pytest.mark.parametrize("arrival", list(itertools.permutations(range(3))))
async def test_order_dispatch_and_cancellation_of_the_rest_come_to_the_same_in_any_order_of_arrival(
    world: World, arrival: tuple[int, ...]
) -> None:
    events = [
        ("shop", order("1", order_line(quantity="3", tax_amount="6.00"))),
        ("warehouse", dispatch("D1", "1", shipped("2"))),
        ("shop", cancel("X1", "1", lines=[{"line_id": "1", "quantity": "1"}])),
    ]
    for n in arrival:
        source, event = events[n]
        await world.says(source, event)
    await world.until(
        lambda: bool(world.documents("Invoices")) and world.documents("Orders")[0]["DocumentStatus"] == "bost_Close"
    )
    assert [document["DocumentLines"][0]["Quantity"] for document in world.documents("DeliveryNotes")] == ["2"]
    assert await world.ends("order_cancelled") == {"posted": 1}


# ---- repeats, crashes


async def test_a_dispatch_again_is_a_no_op_and_a_restart_in_the_middle_goes_on(world: World) -> None:
    await world.says("shop", order("1"))
    world.faults.script(FaultKind.HTML_503, path="Invoices", method="POST", times=50)
    world.writes("warehouse", dispatch("D1", "1"))
    while not world.documents("DeliveryNotes"):
        await world.passes(0.3)
    await world.kill_worker()  # the delivery is there, its invoice is not
    world.faults.update({"clear": True})
    await world.start_worker()
    await world.settled()
    assert len(world.documents("DeliveryNotes")) == len(world.documents("Invoices")) == 1
    assert await world.ends("dispatch_confirmed") == {"posted": 1}
    await world.says("warehouse", dispatch("D1", "1"))
    assert await world.ends("dispatch_confirmed") == {"posted": 1, "no_op": 1}
    await world.kill_worker()
    await world.start_worker()
    await world.says("warehouse", dispatch("D1", "1"), dispatch("D1", "1", shipped("1")))
    assert await world.ends("dispatch_confirmed") == {"posted": 1, "no_op": 2, "dead": 1}
    await world.letter("id_reuse")
    assert world.on_hand("A") == 98


async def test_a_dispatch_read_twice_finds_itself_and_is_not_over_delivered(world: World) -> None:
    """Architecture section 15.1: nothing is open because it is itself posted."""
    await world.says("shop", order("1"))
    world.faults.script(FaultKind.SLOW, path="Invoices", method="POST", after_s=5)
    world.writes("warehouse", dispatch("D1", "1"))
    while not world.documents("DeliveryNotes"):
        await world.passes(0.2)
    await world.passes(1)
    await world.kill_worker()
    await world.start_worker()
    await world.settled()
    assert not await world.letters()
    assert len(world.documents("DeliveryNotes")) == len(world.documents("Invoices")) == 1
    assert await world.ends("dispatch_confirmed") == {"posted": 1}


async def test_a_delivery_that_a_person_cancelled_is_never_posted_again(open_world: OpenWorld) -> None:
    world = await open_world(invoices={"on": "never"})
    await world.says("shop", order("1"))
    before = dict(world.committed())
    await world.says("warehouse", dispatch("D1", "1"))
    (answer,) = world.b1.apply([Request("POST", "DeliveryNotes(1)/Cancel")])
    assert answer.status == 204
    await world.kill_worker()
    world.log.commits[world.config.group] = before  # its offset was not committed: it comes again
    await world.start_worker()
    await world.settled()
    assert [document["Cancelled"] for document in world.documents("DeliveryNotes")] == ["tYES"]
    assert await world.ends("dispatch_confirmed") == {"posted": 1}
    assert world.outcomes()[-1].outcome == "adopted_cancelled"
    assert not await world.letters()


async def test_a_claim_without_its_document_is_told_and_never_taken_for_posted(world: World) -> None:
    """Architecture section 15.9."""
    await world.says("shop", order("1"))
    await world.stop_worker()
    world.writes("warehouse", dispatch("D1", "1", shipped("5")))
    await world.passes(2)
    event = world.codec.decode(world.facts("dispatch_confirmed")[0].value or b"", DispatchConfirmed)
    claim = Claim(
        world.k("dispatch_confirmed", "warehouse", "D1"), "dispatch_confirmed", event.digest, "1 x/0/0"
    ).request()
    assert world.b1.apply([Request(claim.method, claim.path, claim.body)])[0].status == 201
    await world.start_worker()
    await world.settled()
    await world.letter("key_conflict")


LOST = [
    {"kind": FaultKind.LOST_BEFORE},
    {"kind": FaultKind.LOST_AFTER, "times": 2},
    {"kind": FaultKind.HTML_502, "commit": True},
    {"kind": FaultKind.LATE_COMMIT, "after_s": 45},
]


@pytest.mark.parametrize("entity", ["DeliveryNotes", "Invoices"])
@pytest.mark.parametrize("fault", LOST, ids=lambda fault: str(fault["kind"]))
async def test_there_is_one_delivery_and_one_invoice_whatever_becomes_of_the_answers(
    world: World, entity: str, fault: dict[str, Any]
) -> None:
    await world.says("shop", order("1"))
    world.faults.script(**fault, path=entity, method="POST")
    await world.says("warehouse", dispatch("D1", "1"))
    await world.simulator.settle()
    assert len(world.documents("DeliveryNotes")) == len(world.documents("Invoices")) == 1
    assert await world.ends("dispatch_confirmed") == {"posted": 1}
    assert world.on_hand("A") == 98
    assert not await world.letters()


async def test_workers_that_die_at_any_time_deliver_and_invoice_everything_once(world: World) -> None:
    for n in range(10):
        world.writes("shop", *(order(f"{n}{m}") for m in range(3)))
        world.writes(
            "warehouse", *(dispatch(f"D{n}{m}{k}", f"{n}{m}", shipped("1")) for m in range(3) for k in range(2))
        )
        await world.passes(0.3 + n * 0.19)
        await world.kill_worker()
        await world.start_worker()
    await world.until(lambda: len(world.documents("Invoices")) == 60)
    await world.settled()
    assert await world.ends("dispatch_confirmed") == {"posted": 60}
    assert world.on_hand("A") == 40
    assert {document["DocumentStatus"] for document in world.documents("Orders")} == {"bost_Close"}


async def test_a_flow_that_is_off_ends_dispatches_as_no_op(open_world: OpenWorld) -> None:
    world = await open_world(flows={"dispatch_confirmed": "off"})
    await world.says("shop", order("1"))
    await world.says("warehouse", dispatch("D1", "1"))
    assert await world.ends("dispatch_confirmed") == {"no_op": 1}
    assert not world.documents("DeliveryNotes")

"""`order_placed`, from the shop's line to the order in B1."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from lab.simulators.sap_b1.faults import FaultKind
from lab.simulators.sap_b1.state.messages import Request
from schemas.letters import REASONS
from tests.flows.world import NOW, World, at, dispatch, order, order_line, refund, refund_line, stock

OpenWorld = Callable[..., Awaitable[World]]


# ---- the document


async def test_an_order_becomes_one_order_with_everything_that_the_contract_names(world: World) -> None:
    await world.says(
        "shop",
        order(
            "1001",
            order_line("b", "TSHIRT-RED", "3", "9.99", discount="1.47", tax_amount="5.70"),
            order_line("a", "A", "1.5", "10.00", tax_code="GB-0", tax_amount="0", location="RETURNS"),
            order_number="#1001",
            customer={"email": "someone@example.org", "guest": True},
            ship_to={"name": "Ada", "street": "1 Dock", "city": "London", "postcode": "E1", "country": "GB"},
            shipping={
                "method": "next-day",
                "carrier": "DPD",
                "amount": "4.00",
                "tax_code": "GB-20",
                "tax_amount": "0.80",
            },
            tax_total="6.50",
            grand_total="54.00",
            payment={"method": "card", "amount": "54.00", "reference": "ch_1"},
            note="Leave it with the porter",
        ),
    )
    (document,) = world.documents("Orders")
    k = world.order_k("1001")
    assert (document["NumAtCard"], document["CardCode"], document["U_STREAMS_KEY"], document["U_STREAMS_ORDER"]) == (
        "#1001",
        "C-WEB",
        k,
        k,
    )
    assert {document[name][:10] for name in ("DocDate", "TaxDate", "DocDueDate")} == {"2026-11-21"}
    assert [
        (
            line["U_STREAMS_LINE"],
            line["ItemCode"],
            line["Quantity"],
            line["LineTotal"],
            line["TaxTotal"],
            line["VatGroup"],
            line["WarehouseCode"],
        )
        for line in document["DocumentLines"]
    ] == [("b", "TS001-R", "3", "28.5", "5.7", "O1", "LON1"), ("a", "A", "1.5", "15", "0", "O0", "RET1")]
    assert [
        (one["ExpenseCode"], one["LineTotal"], one["TaxSum"]) for one in document["DocumentAdditionalExpenses"]
    ] == [(1, "4", "0.8")]
    assert (document["DocTotal"], document["TransportationCode"]) == ("54", 3)
    assert "porter" in document["Comments"]
    claim = world.claims()[k]
    assert (claim["U_KIND"], claim["U_STATE"]) == ("order_placed", "posted")
    assert await world.ends("order_placed") == {"posted": 1}
    (outcome,) = world.outcomes()
    assert (outcome.k, outcome.outcome, outcome.order_id) == (k, "created", "1001")
    assert [(one.object, one.doc_num) for one in outcome.documents] == [("Orders", document["DocNum"])]


async def test_the_posting_date_is_the_day_in_the_companys_time_zone(world: World) -> None:
    await world.says(
        "shop",
        order("summer", occurred_at="2026-07-01T23:30:00Z"),
        order("winter", occurred_at="2026-11-02T00:30:00+01:00"),
    )
    assert [document["DocDate"][:10] for document in world.documents("Orders")] == ["2026-07-02", "2026-11-01"]


async def test_without_an_order_number_people_quote_the_order_id(world: World) -> None:
    await world.says("shop", order("77"))
    assert world.documents("Orders")[0]["NumAtCard"] == "77"


async def test_what_the_event_leaves_out_b1_computes(world: World) -> None:
    await world.says("shop", order("1", order_line(tax_amount=None)))
    assert (world.documents("Orders")[0]["DocTotal"], world.documents("Orders")[0]["VatSum"]) == ("24", "4")


async def test_a_foreign_order_is_compared_in_its_own_currency(world: World) -> None:
    world.b1.load({"rates": {"EUR": "0.85"}})
    await world.says("shop", order("1", currency="EUR", grand_total="24.00"))
    (document,) = world.documents("Orders")
    assert (document["DocCurrency"], document["DocTotalFc"], document["DocTotal"]) == ("EUR", "24", "20.4")


async def test_a_foreign_currency_without_a_rate_waits_for_the_rate(world: World) -> None:
    await world.says("shop", order("1", currency="EUR"))
    await world.letter("rate_missing")
    assert not world.documents("Orders")


# ---- customers


async def test_policy_match_finds_the_one_customer_by_e_mail_and_refuses_to_guess(open_world: OpenWorld) -> None:
    world = await open_world(customers={"policy": "match", "card_code": None})
    await world.says(
        "shop",
        order("1", customer={"email": " ADA@example.org", "guest": False}),
        order("2", customer={"email": "nobody@example.org", "guest": False}),
        order("3"),
    )
    assert [document["CardCode"] for document in world.documents("Orders")] == ["C-ADA"]
    assert [(one.state.order_id, one.state.reason) for one in await world.letters("dead")] == [
        ("2", "customer_incomplete"),
        ("3", "customer_incomplete"),
    ]


async def test_policy_create_makes_one_card_per_customer_of_a_source_even_when_two_orders_come_together(
    open_world: OpenWorld,
) -> None:
    world = await open_world(customers={"policy": "create", "card_code": None})
    ada = {"id": "7", "email": "ada@example.org", "name": "Ada", "guest": False}
    bob = {"email": "Bob@example.org", "name": "Bob", "guest": True}
    await world.says(
        "shop",
        *(order(f"a{n}", customer=ada) for n in range(4)),
        order("b1", customer=bob),
        order("b2", customer={**bob, "email": "bob@EXAMPLE.org"}),
    )
    cards = {document["NumAtCard"]: document["CardCode"] for document in world.documents("Orders")}
    assert len({cards[f"a{n}"] for n in range(4)}) == 1
    assert cards["b1"] == cards["b2"] != cards["a0"]
    assert len(world.b1.read("BusinessPartners?$filter=startswith(CardCode,'W')").body["value"]) == 2


# ---- repeats


async def test_the_same_order_again_is_a_no_op_however_it_is_written_and_however_old(world: World) -> None:
    first = order("1", order_line(quantity="1.5", price="10"), event_id="e1")
    again = {**order("1", order_line(quantity="1.50", price="10.000")), "event_id": "e2", "note": None, "unheard_of": 1}
    await world.says("shop", first, again)
    await world.says("shop", again)
    await world.kill_worker()
    await world.start_worker()
    await world.says("shop", first)
    assert len(world.documents("Orders")) == 1
    assert await world.ends("order_placed") == {"posted": 1, "no_op": 3}
    assert not await world.letters()


@pytest.mark.parametrize("forgotten", [False, True])
async def test_an_edited_order_is_id_reuse_and_the_first_stands_also_when_only_the_claim_knows_it(
    world: World, forgotten: bool
) -> None:
    await world.says("shop", order("1"))
    if forgotten:
        await world.kill_worker()
        await world.start_worker()
    await world.says("shop", order("1", order_line(quantity="3")))
    assert [document["DocTotal"] for document in world.documents("Orders")] == ["24"]
    letter = await world.letter("id_reuse")
    assert await world.ends("order_placed") == {"posted": 1, "dead": 1}
    assert letter.state.order_id == "1"
    await world.says("warehouse", dispatch("D1", "1"))  # id_reuse holds nothing
    assert len(world.documents("DeliveryNotes")) == 1


async def test_a_repeat_of_a_dead_or_parked_order_is_a_no_op_too(world: World) -> None:
    dead, parked = order("1", order_line(location="NOWHERE")), order("2", order_line(sku="NEW"))
    await world.says("shop", dead, parked)
    await world.says("shop", dead, parked)
    assert await world.ends("order_placed") == {"dead": 1, "parked": 1, "no_op": 2}
    await world.stop_worker()
    await world.start_worker()
    await world.says("shop", dead, parked)
    assert await world.ends("order_placed") == {"dead": 1, "parked": 1, "no_op": 4}
    await world.says("shop", order("1", order_line(location="MAIN")), order("2"))
    assert [one.state.reason for one in await world.letters("dead")].count("id_reuse") == 2


async def test_a_claim_of_another_kind_under_our_code_is_key_conflict(world: World) -> None:
    row = {
        "Code": world.order_k("1"),
        "Name": world.order_k("1"),
        "U_KIND": "refund_issued",
        "U_DIGEST": "00" * 16,
        "U_VERSION": "1 x/0/0",
        "U_STATE": "posted",
    }
    assert world.b1.apply([Request("POST", "U_STREAMS_CLAIM", row)])[0].status == 201
    await world.says("shop", order("1"))
    await world.letter("key_conflict")
    assert not world.documents("Orders")


# ---- refusals


@pytest.mark.parametrize(
    ("reason", "settings", "line", "fields"),
    [
        ("unmapped_location", {}, {"location": "NOWHERE"}, {}),
        ("unmapped_item", {"items_only_mapped": True}, {}, {}),
        ("unmapped_tax_code", {}, {"tax_code": "DE-19"}, {}),
        ("unmapped_tax_code", {"tax": {"default": None}}, {"tax_code": None}, {}),
        ("unmapped_tax_code", {"tax": {"codes": {"GB-20": "O9"}}}, {}, {}),
        (
            "address_incomplete",
            {"orders": {"require_address": True}},
            {},
            {"ship_to": {"name": "Ada", "city": "London"}},
        ),
        ("customer_incomplete", {"customers": {"card_code": "C-NONE"}}, {}, {}),
        ("total_mismatch", {}, {"tax_amount": "4.00"}, {"grand_total": "24.01"}),
        ("total_mismatch", {}, {"tax_amount": "4.00"}, {"tax_total": "4.01", "grand_total": "24.01"}),
        ("total_mismatch", {}, {"tax_amount": None}, {"grand_total": "25.00"}),
        ("invalid_event", {}, {"discount": "21"}, {}),
        ("erp_refused", {"freight": {"expense_code": None}}, {}, {"shipping": {"amount": "4"}}),
    ],
)
async def test_what_stands_against_an_order_is_named_and_nothing_is_posted(
    open_world: OpenWorld, reason: str, settings: dict[str, Any], line: dict[str, Any], fields: dict[str, Any]
) -> None:
    world = await open_world(**settings)
    await world.says("shop", order("1", order_line(**line), **fields))
    letter = await world.letter(reason)
    assert letter.state.error
    assert not world.documents("Orders")
    assert not world.claims()
    assert await world.ends("order_placed") == {"dead": 1}


async def test_a_letter_carries_original_bytes_and_key_and_every_header_of_the_contract(world: World) -> None:
    await world.says("shop", order("1", order_line(location="NOWHERE"), event_id="e-7"))
    letter = await world.letter("unmapped_location")
    (fact,) = world.facts("order_placed")
    assert (letter.record.topic, letter.record.partition) == ("order-placed-dead-letter", fact.partition)
    assert (letter.record.key, letter.record.value) == (b"1", fact.value)
    assert letter.headers == {
        "__dlq.errors.topic": "order-placed",
        "__dlq.errors.partition": str(fact.partition),
        "__dlq.errors.offset": str(fact.offset),
        "__dlq.errors.message": letter.state.error,
        "__connect.errors.topic": "order-placed",
        "__connect.errors.partition": str(fact.partition),
        "__connect.errors.offset": str(fact.offset),
        "__connect.errors.exception.message": letter.state.error,
        "b1streams.id": letter.state.id,
        "b1streams.reason": "unmapped_location",
        "b1streams.state": "dead",
        "b1streams.owner": REASONS["unmapped_location"].owner,
        "b1streams.event_type": "order_placed",
        "b1streams.event_id": "e-7",
        "b1streams.order_id": "1",
        "b1streams.attempts": "1",
        "b1streams.first_failed_at": letter.state.first_failed_at.isoformat(),
    }
    assert len(letter.state.id) == 16


@pytest.mark.parametrize(
    ("reason", "fault"),
    [
        ("erp_refused", {"code": -5002, "text": "Something that B1 wants otherwise"}),
        ("not_permitted", {"code": -6006, "text": "No permission"}),
        (
            "batch_or_serial_missing",
            {"code": -4014, "text": "Cannot add row without complete selection of batch/serial numbers"},
        ),
    ],
)
async def test_what_b1_says_no_to_is_dead_under_its_reason(world: World, reason: str, fault: dict[str, Any]) -> None:
    world.faults.script(FaultKind.ERROR, path="Orders", method="POST", status=400, times=10, **fault)
    await world.says("shop", order("1"))
    assert (await world.letter(reason)).state.attempts >= 1
    assert not world.documents("Orders")
    assert not world.claims()


# ---- what cannot be read


async def test_lines_that_are_no_order_are_letters_with_their_bytes_and_the_rest_goes_on(world: World) -> None:
    broken, odd, wrong = b"{nonsense", b'{"type": "order_forgotten"}', b'{"type": "order_placed", "order_id": "9"}'
    await world.says("shop", broken, odd, wrong, order("1", occurred_at=at(60 * 25)), order("2"))
    assert [document["NumAtCard"] for document in world.documents("Orders")] == ["2"]
    dead = await world.letters("dead")
    assert sorted((one.state.reason, one.record.topic) for one in dead) == [
        ("invalid_event", "order-placed-dead-letter"),
        ("invalid_event", "order-placed-dead-letter"),
        ("unreadable", "inbox-dead-letter"),
        ("unreadable", "inbox-dead-letter"),
    ]
    assert {one.record.value for one in dead} >= {broken, odd, wrong}
    assert {one.headers["b1streams.line"] for one in dead} == {"1", "2", "3", "4"}


@pytest.mark.parametrize("text", ["\\ud800", "\\udfff\\ud800x"])
async def test_half_a_character_is_refused_and_the_rest_goes_on(world: World, text: str) -> None:
    """JSON can write what no UTF-8 can carry."""
    odd = json.dumps(order("HALF", note="HALF")).replace("HALF", text)
    await world.says("shop", odd.replace(f'"order_id": "{text}"', '"order_id": "9"').encode(), odd.encode(), order("1"))
    assert [document["NumAtCard"] for document in world.documents("Orders")][-1] == "1"
    assert {one.state.reason for one in await world.letters()} <= {"invalid_event", "unreadable"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "unreadable"),
        (b"\x01garbage", "unreadable"),
        (b"\x00\x00\x00\x00\x02\xff", "unreadable"),
        (b"\x00\x7f\xff\xff\xffxxxx", "unknown_schema"),
    ],
)
async def test_bytes_on_the_topic_that_are_no_event_are_dead_and_hold_nothing(
    world: World, value: bytes, reason: str
) -> None:
    await world.log.send("order-placed", 0, b"1", value, [("trace", b"t-1")])
    await world.says("shop", order("1"))
    letter = await world.letter(reason)
    assert (letter.record.value, letter.record.key) == (value, b"1")
    assert letter.headers["trace"] == "t-1"
    assert len(world.documents("Orders")) == 1


async def test_a_company_that_is_not_ours_is_dead_and_names_the_remedy(world: World) -> None:
    await world.says("shop", order("1"))
    (fact,) = world.facts("order_placed")
    stranger = (fact.value or b"").replace(b"acme", b"beta")
    await world.log.send("order-placed", 0, b"1", stranger)
    await world.settled()
    assert "beta" in ((await world.letter("invalid_event")).state.error or "")


async def test_a_record_on_the_queue_that_is_no_posting_is_foreign_and_the_next_goes_on(world: World) -> None:
    await world.log.send("erp-orders", 0, b"acme", b"who wrote this?")
    await world.says("shop", order("1"))
    letter = await world.letter("foreign")
    assert letter.record.value == b"who wrote this?"
    assert letter.record.topic == "inbox-dead-letter"
    assert len(world.documents("Orders")) == 1
    assert await world.ends("stock_adjusted") == {}
    assert await world.ends("inbox") == {"dead": 1}


# ---- parked


async def test_an_unknown_item_parks_the_order_and_its_appearance_releases_it(world: World) -> None:
    await world.says("shop", order("1", order_line(sku="NEW")))
    letter = await world.letter("unknown_item")
    assert letter.state.waits_for == "item:NEW"
    assert letter.headers["b1streams.waits_for"] == "item:NEW"
    assert letter.headers["b1streams.state"] == "parked"
    world.b1.load({"Items": [{"ItemCode": "NEW"}]})
    await world.until(lambda: bool(world.documents("Orders")))
    await world.settled()
    assert await world.ends("order_placed") == {"posted": 1}
    assert (await world.letter("unknown_item", "posted")).state.blocked_by is None


async def test_an_inactive_item_parks_the_order_until_it_is_active(world: World) -> None:
    await world.says("shop", order("1", order_line(sku="OLD")))
    await world.letter("inactive_item")
    world.b1.load({"Items": [{"ItemCode": "OLD", "Valid": "tYES", "Frozen": "tNO"}]})
    await world.until(lambda: bool(world.documents("Orders")))
    await world.letter("inactive_item", "posted")


async def test_b1s_own_word_for_an_inactive_item_is_the_same_reason(world: World) -> None:
    world.faults.script(
        FaultKind.ERROR,
        path="Orders",
        method="POST",
        status=400,
        code=-10,
        text="10001069 - Item 'A' is inactive",
        times=2,
    )
    await world.says("shop", order("1"))
    await world.letter("inactive_item")
    await world.until(lambda: bool(world.documents("Orders")))


async def test_a_closed_period_parks_the_order_and_is_never_dated_otherwise(world: World) -> None:
    world.b1.load({"periods": [{"start": "2026-11-01", "end": "2026-11-30", "locked": True}]})
    await world.says("shop", order("1"))
    letter = await world.letter("period_closed")
    assert letter.state.waits_for
    assert letter.state.owner == "finance"
    world.b1.load({"periods": [{"start": "2026-11-01", "end": "2026-11-30"}]})
    await world.until(lambda: bool(world.documents("Orders")))
    assert world.documents("Orders")[0]["DocDate"][:10] == "2026-11-21"


async def test_an_order_that_needs_approval_waits_for_it_and_is_one_document_then(world: World) -> None:
    world.b1.rules = world.b1.rules.changed({"approval": ["Orders"]})
    await world.says("shop", order("1"))
    letter = await world.letter("approval_required")
    assert letter.state.waits_for
    assert len(world.drafts()) == 1
    assert not world.documents("Orders")
    await world.says("warehouse", dispatch("D1", "1"))
    world.approve()
    await world.until(lambda: bool(world.documents("Invoices")))
    await world.settled()
    assert len(world.documents("Orders")) == 1
    assert len(world.drafts()) == 1
    assert world.order_k("1") in world.claims()  # so that a repeat in a year is known as well
    assert await world.ends("order_placed") == {"posted": 1}
    assert await world.ends("dispatch_confirmed") == {"posted": 1}


async def test_an_item_that_a_person_holds_parks_its_order_and_no_other(open_world: OpenWorld) -> None:
    world = await open_world(lock_park_after_s=5)
    world.b1.lock("A", "people:ann")
    await world.says("shop", order("1"), order("2", order_line(sku="B")))
    letter = await world.letter("item_locked")
    assert letter.state.order_id == "1"
    assert [document["NumAtCard"] for document in world.documents("Orders")] == ["2"]
    world.b1.unlock("A", "people:ann")
    await world.until(lambda: len(world.documents("Orders")) == 2)
    assert await world.ends("order_placed") == {"posted": 2}


async def test_what_waits_too_long_is_dead_and_keeps_its_reason(open_world: OpenWorld) -> None:
    world = await open_world(park_max_age_s=120)
    await world.says("shop", order("1", order_line(sku="NEW")))
    await world.letter("unknown_item")
    await world.passes(1200)
    letter = await world.letter("unknown_item", "dead")
    assert letter.state.first_failed_at < letter.state.at


# ---- held


async def test_a_dead_order_holds_what_comes_later_of_it_and_nothing_else(world: World) -> None:
    await world.says("shop", order("1", order_line(location="NOWHERE")), order("2"))
    await world.says("warehouse", dispatch("D1", "1"), dispatch("D2", "2"))
    await world.says("shop", refund("R1", "1", refund_line()))
    dead = await world.letter("unmapped_location")
    held = await world.letters("held")
    assert [(one.state.event_type, one.state.blocked_by) for one in held] == [
        ("dispatch_confirmed", dead.state.id),
        ("refund_issued", dead.state.id),
    ]
    assert held[0].headers["b1streams.state"] == "held"
    assert held[0].headers["b1streams.blocked_by"] == dead.state.id
    assert len(world.documents("DeliveryNotes")) == 1
    assert await world.ends("dispatch_confirmed") == {"parked": 1, "posted": 1}


async def test_held_events_run_in_order_of_arrival_when_what_held_them_is_posted(world: World) -> None:
    await world.says("shop", order("1", order_line(sku="NEW", quantity="5", tax_amount="10.00")))
    await world.says(
        "warehouse", *(dispatch(f"D{n}", "1", {"line_id": "1", "sku": "NEW", "quantity": str(n)}) for n in (2, 1))
    )
    await world.says("shop", refund("R1", "1", refund_line(sku="NEW")))
    assert [one.state.event_id for one in await world.letters("held")] == ["D2", "D1", "R1"]
    world.b1.load({"Items": [{"ItemCode": "NEW"}], "stock": [{"item": "NEW", "warehouse": "LON1", "quantity": "9"}]})
    await world.until(lambda: bool(world.documents("CreditNotes")))
    deliveries = world.documents("DeliveryNotes")
    assert [document["DocumentLines"][0]["Quantity"] for document in deliveries] == ["2", "1"]
    assert not await world.letters("held")
    assert await world.ends("refund_issued") == {"posted": 1}


@pytest.mark.parametrize("restart", [False, True])
async def test_a_line_that_the_connector_refused_holds_what_comes_later_of_its_order(
    world: World, restart: bool
) -> None:
    """Also for the worker that has been up all the time: the connector wrote that dead letter, not the poster."""
    await world.says("shop", order("2"), order("1", currency="Pounds"))
    if restart:
        await world.stop_worker()
        await world.start_worker()
    await world.says("warehouse", dispatch("D1", "1"), dispatch("D2", "2"))
    dead = await world.letter("invalid_event")
    (held,) = await world.letters("held")
    assert (held.state.event_id, held.state.blocked_by, held.state.reason) == ("D1", dead.state.id, "invalid_event")
    assert len(world.documents("DeliveryNotes")) == 1


async def test_orders_of_one_id_from_two_shops_do_not_hold_each_other(open_world: OpenWorld) -> None:
    world = await open_world(
        connectors={"market": {"kind": "ims", "company": "acme", "inbox": "in/market", "orders": {"warehouse": "LON1"}}}
    )
    await world.says("shop", order("1", order_line(location="NOWHERE")))
    await world.says("market", order("1"))
    assert [document["U_STREAMS_KEY"] for document in world.documents("Orders")] == [world.order_k("1", "market")]


# ---- switches


async def test_a_flow_that_is_off_ends_as_no_op(open_world: OpenWorld) -> None:
    world = await open_world(flows={"order_placed": "off"})
    await world.says("shop", order("1"))
    assert await world.ends("order_placed") == {"no_op": 1}
    assert not world.documents("Orders")
    assert not await world.letters()


async def test_what_occurred_before_start_at_was_keyed_by_hand(open_world: OpenWorld) -> None:
    world = await open_world(connectors={"shop": {"start_at": (NOW).isoformat()}})
    await world.says("shop", order("1", occurred_at=at(-1)), order("2", occurred_at=at(0)))
    assert [document["NumAtCard"] for document in world.documents("Orders")] == ["2"]
    assert await world.ends("order_placed") == {"no_op": 1, "posted": 1}


# ---- what the road does to it


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": FaultKind.LOST_BEFORE},
        {"kind": FaultKind.LOST_AFTER},
        {"kind": FaultKind.LOST_AFTER, "times": 3},
        {"kind": FaultKind.TRUNCATED_BATCH},
        {"kind": FaultKind.HTML_502, "commit": True},
        {"kind": FaultKind.SESSION_KILL},
        {"kind": FaultKind.DUPLICATE},
        {"kind": FaultKind.LOCKED},
        {"kind": FaultKind.LATE_COMMIT, "after_s": 45},
    ],
    ids=lambda fault: "-".join(map(str, fault.values())),
)
async def test_there_is_one_order_whatever_becomes_of_the_answers(world: World, fault: dict[str, Any]) -> None:
    world.faults.script(**fault, path="Orders", method="POST")
    await world.says("shop", order("1"))
    await world.simulator.settle()
    assert len(world.documents("Orders")) == 1
    assert len(world.claims()) == 1
    assert await world.ends("order_placed") == {"posted": 1}
    assert not await world.letters()


@pytest.mark.parametrize("mode", ["html_503", "drop"])
async def test_an_outage_dead_letters_nothing_and_everything_is_posted_after_it(world: World, mode: str) -> None:
    world.faults.outage = mode  # type: ignore[assignment]
    world.writes("shop", *(order(str(n)) for n in range(20)))
    world.writes("warehouse", *(stock(f"s{n}") for n in range(20)))
    await world.passes(900)
    assert not await world.letters()
    world.faults.outage = None
    await world.settled()
    assert len(world.documents("Orders")) == 20
    assert world.on_hand("A") == 120
    assert not await world.letters()


async def test_a_worker_that_dies_at_any_time_leaves_one_order_each(world: World) -> None:
    for n in range(8):
        world.writes("shop", *(order(f"{n}-{m}") for m in range(5)))
        await world.passes(0.2 + n * 0.13)
        await world.kill_worker()
        await world.start_worker()
    await world.settled()
    numbers = [document["NumAtCard"] for document in world.documents("Orders")]
    assert sorted(numbers) == sorted(f"{n}-{m}" for n in range(8) for m in range(5))
    assert await world.ends("order_placed") == {"posted": 40}


async def test_no_session_is_left_behind_by_a_drained_worker(world: World) -> None:
    await world.says("shop", order("1"))
    assert world.b1.counters["sessions_high_water"] <= 2
    await world.stop_worker()
    assert world.b1.counters["sessions_open"] == 0
    await world.start_worker()

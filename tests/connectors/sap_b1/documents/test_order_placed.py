import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from connectors.base.errors import Refusal
from connectors.sap_b1.documents import order_placed
from connectors.sap_b1.master import Card, Item, MasterData, TaxCode, Warehouse
from schemas.events import Address, Customer, OrderPlaced, Payment, Shipping
from tests.connectors.sap_b1.documents.world import B1, MASTER, K, company_map, order_line, placed

WHOLE = Address(name="Ada", street="1 High St", city="London", postcode="E1 1AA", country="GB")


def build(event: OrderPlaced, master: MasterData = MASTER, **settings: Any) -> dict[str, Any]:
    return dict(order_placed.build(event, K, K, company_map(**settings), master).body)


def refusal(event: OrderPlaced, master: MasterData = MASTER, **settings: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        build(event, master, **settings)
    assert ";" in caught.value.error
    return caught.value


def test_an_order_becomes_a_document_with_the_channel_s_amounts(b1: B1) -> None:
    document = b1.place(
        placed(
            order_line(
                "a",
                "TSHIRT-RED",
                "3",
                "3.335",
                discount=Decimal("0.01"),
                tax_code="GB-20",
                tax_amount=Decimal("2.01"),
                name="n" * 300,
            ),
            order_line("b", "B", "1", "5", tax_code="GB-0", tax_amount=Decimal("0"), location="MAIN"),
            order_number="#1001",
            shipping=Shipping(amount=Decimal("3.00"), tax_amount=Decimal("0.60"), carrier="DPD", method="Next-Day"),
            tax_total=Decimal("2.61"),
            grand_total=Decimal("20.61"),
            ship_to=replace(WHOLE, region="Greater London"),
            note="x" * 400,
        )
    )
    assert (document["NumAtCard"], document["CardCode"], document["DocTotal"]) == ("#1001", "C-WEB", Decimal("20.61"))
    assert document["DocDate"][:10] == document["TaxDate"][:10] == document["DocDueDate"][:10] == "2026-03-02"
    assert document["U_STREAMS_KEY"] == document["U_STREAMS_ORDER"] == K
    lines = document["DocumentLines"]
    assert [(row["ItemCode"], row["LineTotal"], row["TaxTotal"]) for row in lines] == [
        ("TS001-R", Decimal("10.00"), Decimal("2.01")),
        ("B", Decimal("5.00"), Decimal("0.00")),
    ]
    assert [(row["U_STREAMS_LINE"], row["WarehouseCode"], row["VatGroup"]) for row in lines] == [
        ("a", "LON1", "O1"),
        ("b", "LON1", "O0"),
    ]
    assert len(document["Comments"]) == 254
    assert document["TransportationCode"] == 3
    address = document["AddressExtension"]
    assert (address["ShipToStreet"], address["ShipToCounty"], address["ShipToAddress2"]) == (
        "1 High St",
        "Greater London",
        "Ada",
    )
    assert "ShipToState" not in address


def test_doc_total_is_never_sent_and_the_total_is_left_to_compare() -> None:
    event = placed(order_line(tax_amount=Decimal("4")), grand_total=Decimal("24.00"))
    plan = order_placed.build(event, K, K, company_map(), MASTER)
    assert "DocTotal" not in plan.body
    assert (plan.expected_total, plan.items) == (Decimal("24.00"), {"A"})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"grand_total": Decimal("23.99")}, "total_mismatch"),
        ({"grand_total": Decimal("24.00"), "tax_total": Decimal("3.99")}, "total_mismatch"),
        ({"tax_total": Decimal("3.99")}, "total_mismatch"),
        ({"grand_total": Decimal("24.00"), "payment": Payment(method="card", amount=Decimal("1"))}, None),
        ({"grand_total": Decimal("24.004")}, None),
    ],
)
def test_own_arithmetic_comes_first(fields: dict[str, Any], reason: str | None) -> None:
    event = placed(order_line(tax_amount=Decimal("4")), **fields)
    if reason is None:
        assert build(event)
    else:
        assert refusal(event).reason == reason


def test_a_tax_that_the_event_leaves_out_is_b1_s_to_compute(b1: B1) -> None:
    document = b1.place(placed(order_line(), grand_total=Decimal("24.00")))
    assert document["DocTotal"] == Decimal("24.00")
    assert (
        refusal(placed(order_line(), grand_total=Decimal("25.00"), tax_total=Decimal("4.00"))).reason
        == "total_mismatch"
    )


def test_a_foreign_currency_is_named(b1: B1) -> None:
    document = b1.place(replace(placed(order_line(tax_amount=Decimal("4"))), currency="EUR"))
    assert (document["DocCurrency"], document["DocTotalFc"]) == ("EUR", Decimal("24.00"))
    assert b1.order is not None
    assert (b1.order.lines[0].net, b1.order.lines[0].tax) == (Decimal("20.00"), Decimal("4.00"))
    assert "DocCurrency" not in build(placed())


@pytest.mark.parametrize(
    ("event", "settings", "reason", "waits_for"),
    [
        (placed(order_line(sku="NEW")), {}, "unknown_item", "item:NEW"),
        (placed(order_line(sku="NEW")), {"items_only_mapped": True}, "unmapped_item", None),
        (placed(order_line(tax_code="XX")), {}, "unmapped_tax_code", None),
        (placed(order_line()), {"tax": {"default": None}}, "unmapped_tax_code", None),
        (placed(order_line()), {"tax": {"default": "GONE"}}, "unmapped_tax_code", None),
        (placed(order_line(location="MOON")), {}, "unmapped_location", None),
        (placed(order_line("1"), order_line("1")), {}, "invalid_event", None),
        (placed(order_line("x" * 101)), {}, "invalid_event", None),
        (placed(order_line(discount=Decimal("21"))), {}, "invalid_event", None),
        (placed(order_number="9" * 101), {}, "invalid_event", None),
        (placed(ship_to=replace(WHOLE, city=" ")), {"orders": {"require_address": True}}, "address_incomplete", None),
        (placed(), {"orders": {"require_address": True}}, "address_incomplete", None),
        (placed(shipping=Shipping(amount=Decimal(3))), {"freight": {"expense_code": None}}, "erp_refused", None),
        (placed(), {"customers": {"card_code": "C-NONE"}}, "customer_incomplete", None),
        (placed(), {"customers": {"policy": "match"}}, "customer_incomplete", None),
        (placed(customer=Customer(email="x@y.z")), {"customers": {"policy": "match"}}, "customer_incomplete", None),
        (placed(customer=Customer(name="N")), {"customers": {"policy": "create"}}, "customer_incomplete", None),
    ],
)
def test_a_refusal_says_what_and_waits_for_what(
    event: OrderPlaced, settings: dict[str, Any], reason: str, waits_for: str | None
) -> None:
    refused = refusal(event, **settings)
    assert (refused.reason, refused.waits_for) == (reason, waits_for)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (Item("A", valid=False), "inactive_item"),
        (Item("A", frozen=True), "inactive_item"),
        (Item("A", valid_to=date(2026, 3, 1)), "inactive_item"),
        (Item("A", kit=True), "erp_refused"),
        (Item("A", sales_item=False), "erp_refused"),
        (Item("A", sales_factor=Decimal(12)), "erp_refused"),
    ],
)
def test_master_data_is_judged_before_b1_is_asked(item: Item, reason: str) -> None:
    assert refusal(placed(), replace(MASTER, items={"A": item})).reason == reason


def test_more_decimals_than_the_company_keeps_are_refused_with_the_setting() -> None:
    refused = refusal(placed(order_line(quantity="1.25")), replace(MASTER, quantity_decimals=1))
    assert refused.reason == "erp_refused"
    assert "General Settings" in refused.error
    assert build(placed(order_line(quantity="1.500000")), replace(MASTER, quantity_decimals=1))


def test_the_branch_is_the_warehouse_s_and_only_one() -> None:
    branches = {"LON1": Warehouse("LON1", branch=2), "RET1": Warehouse("RET1", branch=3)}
    master = replace(MASTER, warehouses=branches)
    assert build(placed(), master)["BPL_IDAssignedToInvoice"] == 2
    refused = refusal(placed(order_line("1"), order_line("2", location="RETURNS")), master)
    assert refused.reason == "erp_refused"
    closed = replace(MASTER, warehouses={"LON1": Warehouse("LON1", active=False)})
    assert refusal(placed(), closed).reason == "erp_refused"
    assert refusal(placed(), replace(MASTER, warehouses={})).reason == "unmapped_location"


def test_sales_tax_countries_use_the_other_field() -> None:
    body = build(placed(shipping=Shipping(amount=Decimal(1))), tax={"field": "TaxCode"})
    assert body["DocumentLines"][0]["TaxCode"] == body["DocumentAdditionalExpenses"][0]["TaxCode"] == "O1"
    assert "VatGroup" not in body["DocumentLines"][0]
    off = replace(MASTER, tax_codes={"O1": TaxCode("O1", active=False)})
    assert refusal(placed(), off).reason == "unmapped_tax_code"


def test_a_customer_is_matched_by_e_mail_whatever_its_case() -> None:
    event = placed(customer=Customer(email="ADA@example.org"))
    assert build(event, customers={"policy": "match"})["CardCode"] == "C-ADA"
    assert order_placed.codes_needed(event, company_map(customers={"policy": "match"})).emails == {"ADA@example.org"}


def test_a_new_customer_gets_one_card_however_often_it_orders(b1: B1) -> None:
    b1.map = company_map(customers={"policy": "create"})
    event = placed(customer=Customer(id="77", email="eve@example.org", name="Eve"))
    plan = order_placed.build(event, K, K, b1.map, MASTER)
    code = plan.body["CardCode"]
    assert isinstance(code, str)
    assert len(code) <= 15
    assert b1.write(plan)["CardCode"] == code
    assert order_placed.codes_needed(event, b1.map).cards == {code}
    again = order_placed.build(event, K, K, b1.map, replace(MASTER, cards={code: Card(code)}))
    assert (again.before, again.body["CardCode"]) == ((), code)


def test_a_card_depends_on_the_source_and_the_customer_alone() -> None:
    by_id = order_placed.card_code(Customer(id="77", email="a@b.c"), "shop", "acme")
    assert by_id == order_placed.card_code(Customer(id="77", name="other"), "shop", "acme")
    guest = order_placed.card_code(Customer(email="A@b.c ", guest=True), "shop", "acme")
    assert guest == order_placed.card_code(Customer(email="a@B.C"), "shop", "acme")
    others = {
        order_placed.card_code(Customer(id="77"), "shop2", "acme"),
        order_placed.card_code(Customer(id="77"), "shop", "b"),
    }
    assert len({by_id, guest, *others}) == 4


def test_codes_needed_never_refuses() -> None:
    event = placed(order_line(sku="NEW", tax_code="XX", location="MOON"), shipping=Shipping(amount=Decimal(1)))
    codes = order_placed.codes_needed(event, company_map(items_only_mapped=True, tax={"default": None}))
    assert (codes.items, codes.warehouses, codes.tax_codes, codes.cards) == (set(), set(), set(), {"C-WEB"})


def test_errors_hold_no_personal_data() -> None:
    customer = Customer(id="77", email="eve@example.org", name="Eve Adams")
    for policy in ("match", "create"):
        master = replace(
            MASTER, cards={c: Card(c, active=False) for c in [order_placed.card_code(customer, "shop", "acme") or ""]}
        )
        error = refusal(placed(customer=customer), master, customers={"policy": policy}).error
        assert "eve" not in error.lower()


def test_control_characters_do_not_reach_b1() -> None:
    body = build(placed(note="a\x00b\x1b[2Jc\nd"))
    assert body["Comments"] == "a b [2Jc\nd"
    json.dumps(body["Comments"]).encode("ascii")


def test_an_order_with_a_gift_in_it_is_compared_with_its_total() -> None:
    gift = order_line("2", "B", price="0.00")
    event = placed(order_line(tax_amount=Decimal("4")), gift, grand_total=Decimal("23.00"))
    assert refusal(event).reason == "total_mismatch"

"""The company's rules, on the ledger itself: no HTTP."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.messages import Answer, Request
from lab.simulators.sap_b1.state.rules import Rules

D = Decimal


def clock() -> datetime:
    return datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


MASTER: dict[str, Any] = {
    "VatGroups": [{"Code": "O1", "Rate": 20}, {"Code": "O0", "Rate": 0}, {"Code": "OX", "Rate": 5, "Inactive": "tYES"}],
    "SalesTaxCodes": [{"Code": "NY", "Rate": D("8.875")}],
    "Warehouses": [
        {"WarehouseCode": "LON1", "BusinessPlaceID": 1},
        {"WarehouseCode": "MAN1", "BusinessPlaceID": 2},
        {"WarehouseCode": "OLD", "Inactive": "tYES"},
    ],
    "BusinessPartners": [
        {"CardCode": "C-WEB", "CardName": "Web"},
        {"CardCode": "C-EUR", "Currency": "EUR"},
        {"CardCode": "C-OFF", "Valid": "tNO"},
        {"CardCode": "S-1", "CardType": "cSupplier"},
    ],
    "Items": [
        {"ItemCode": "A1", "ItemName": "Mug", "SalesVATGroup": "O1"},
        {"ItemCode": "A2", "ItemName": "Cup"},
        {"ItemCode": "BAT", "ManageBatchNumbers": "tYES"},
        {"ItemCode": "SER", "ManageSerialNumbers": "tYES"},
        {"ItemCode": "DEAD", "Valid": "tNO"},
        {"ItemCode": "COLD", "Frozen": "tYES"},
        {"ItemCode": "FEE", "InventoryItem": "tNO"},
    ],
    "ShippingTypes": [{"Code": 3, "Name": "DPD"}],
    "AdditionalExpenses": [{"ExpensCode": 1, "Name": "Freight", "OutputVATGroup": "O1"}, {"ExpensCode": 2}],
    "ChartOfAccounts": [{"Code": "4000"}, {"Code": "5100"}],
    "rates": {"EUR": "0.85"},
    "stock": [
        {"item": "A1", "warehouse": "LON1", "quantity": "100"},
        {"item": "A2", "warehouse": "LON1", "quantity": "50"},
        {"item": "BAT", "warehouse": "LON1", "quantity": "10", "batch": "B-1"},
        {"item": "SER", "warehouse": "LON1", "quantity": "2", "serials": ["S1", "S2"]},
    ],
}


@pytest.fixture
def company() -> Company:
    return Company(clock=clock, with_claims=True, master_data=MASTER)


def post(company: Company, entity: str, body: dict[str, Any] | None = None, **headers: str) -> Answer:
    return company.apply([Request("POST", entity, body, headers=headers)])[0]


def made(answer: Answer) -> dict[str, Any]:
    assert answer.status in (200, 201), answer.text
    body: dict[str, Any] = answer.body
    return body


def line(item: str = "A1", quantity: object = 1, **more: Any) -> dict[str, Any]:
    return {"ItemCode": item, "Quantity": quantity, "WarehouseCode": "LON1", **more}


def order(*lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"CardCode": "C-WEB", "DocDueDate": "2026-11-21", "DocumentLines": list(lines or (line(),)), **more}


def based(kind: int, entry: int, number: int = 0, **more: Any) -> dict[str, Any]:
    return {"BaseType": kind, "BaseEntry": entry, "BaseLine": number, **more}


def document(*lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"CardCode": "C-WEB", "DocumentLines": list(lines), **more}


def claim(code: str) -> dict[str, Any]:
    return {
        "Code": code,
        "Name": code,
        "U_KIND": "order_placed",
        "U_DIGEST": "00",
        "U_VERSION": "1",
        "U_STATE": "posted",
    }


def deliver_order(company: Company, quantity: int = 5, **more: Any) -> tuple[int, int]:
    entry = made(post(company, "Orders", order(line(quantity=quantity, UnitPrice=10), **more)))["DocEntry"]
    delivery = made(post(company, "DeliveryNotes", document(based(17, entry))))["DocEntry"]
    return entry, delivery


# ---- payload --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (order(OrderDate="2026-01-01"), "Property 'OrderDate' of 'Document' is invalid"),
        (order(line(Qty=1)), "Property 'Qty' of 'DocumentLine' is invalid"),
        (order(line(BatchNumbers=[{"Batch": "x"}])), "Property 'Batch' of 'BatchNumber' is invalid"),
        (order(AddressExtension={"Street": "x"}), "Property 'Street' of 'AddressExtension' is invalid"),
        (order(U_OTHER="x"), "Property 'U_OTHER' of 'Document' is invalid"),
    ],
)
def test_an_unknown_property_is_refused_with_minus_1000(company: Company, body: dict[str, Any], text: str) -> None:
    answer = post(company, "Orders", body)
    assert (400, -1000, text) == (answer.status, answer.code, answer.text)


def test_a_transfer_knows_due_date_but_not_doc_due_date(company: Company) -> None:
    lines = [{"ItemCode": "A1", "Quantity": 1, "FromWarehouseCode": "LON1", "WarehouseCode": "MAN1"}]
    assert post(company, "StockTransfers", {"DocDueDate": "2026-11-21", "StockTransferLines": lines}).code == -1000
    assert post(company, "StockTransfers", {"DueDate": "2026-11-21", "StockTransferLines": lines}).status == 201


def test_read_only_properties_in_a_body_are_ignored(company: Company) -> None:
    body = made(post(company, "Orders", order(DocEntry=999, DocumentStatus="bost_Close", VatSum=5)))
    assert (body["DocEntry"], body["DocumentStatus"]) == (1, "bost_Open")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"CardCode": "NOBODY"}, -2028),
        ({"CardCode": "C-OFF"}, -10),
        ({"CardCode": "S-1"}, -10),
        ({"CardCode": None}, -5002),
        ({"DocDueDate": None}, -5002),
        ({"TransportationCode": 99}, -5002),
        ({"DocumentAdditionalExpenses": [{"ExpenseCode": 9, "LineTotal": 1}]}, -5002),
        ({"DocumentAdditionalExpenses": [{"ExpenseCode": 1, "LineTotal": 1, "VatGroup": "NO"}]}, -5002),
        ({"DocumentReferences": [{"RefObjType": "rot_SalesInvoice", "RefDocEntr": 7}]}, -2028),
        ({"DocumentLines": []}, -5002),
        ({"DocDate": "21.11.2026"}, -1000),
        ({"DocumentLines": [line("NONE")]}, -2028),
        ({"DocumentLines": [line(WarehouseCode="NONE")]}, -2028),
        ({"DocumentLines": [line(WarehouseCode="OLD")]}, -10),
        ({"DocumentLines": [line(VatGroup="NONE")]}, -5002),
        ({"DocumentLines": [line(VatGroup="OX")]}, -5002),
        ({"DocumentLines": [line(TaxCode="NONE")]}, -5002),
        ({"DocumentLines": [line(AccountCode="NONE")]}, -5002),
        ({"DocumentLines": [line(quantity=0)]}, -10),
        ({"DocumentLines": [line(quantity=-1)]}, -10),
        ({"DocumentLines": [line(quantity="many")]}, -1000),
    ],
)
def test_an_unknown_or_unusable_code_is_refused(company: Company, change: dict[str, Any], code: int) -> None:
    assert code == post(company, "Orders", {**order(), **change}).code


def test_numbers_may_come_as_text(company: Company) -> None:
    assert D("2.5") == made(post(company, "Orders", order(line(quantity="2.5"))))["DocumentLines"][0]["Quantity"]


def test_a_float_is_a_mistake_of_the_caller(company: Company) -> None:
    with pytest.raises(TypeError, match="Quantity is a float"):
        post(company, "Orders", order(line(quantity=1.5)))


def test_comments_over_254_characters_are_refused_not_cut(company: Company) -> None:
    assert post(company, "Orders", order(Comments="x" * 254)).status == 201
    assert "Value too long" in post(company, "Orders", order(Comments="x" * 255)).text


@pytest.mark.parametrize("item", ["DEAD", "COLD"])
def test_an_inactive_or_frozen_item_is_refused_in_both_known_texts(company: Company, item: str) -> None:
    answer = post(company, "Orders", order(line(), line(item)))
    assert (answer.code, "is inactive" in answer.text, "[line: 2]" in answer.text) == (-10, True, True)
    company.rules = Rules(inactive_code=-5002)
    answer = post(company, "Orders", order(line(item)))
    assert (answer.code, "Invalid Item" in answer.text) == (-5002, True)


def test_an_items_validity_window_decides_by_the_posting_date(company: Company) -> None:
    company.load({"Items": [{"ItemCode": "A2", "ValidFrom": "2026-11-01T00:00:00Z"}]})
    assert "inactive" in post(company, "Orders", order(line("A2"), DocDate="2026-10-31")).text
    assert post(company, "Orders", order(line("A2"), DocDate="2026-11-01")).status == 201


def test_a_locked_period_is_minus_4013_and_no_period_is_out_of_range(company: Company) -> None:
    october = {"start": "2026-10-01", "end": "2026-10-31", "locked": True}
    company.load({"periods": [october, {"start": "2026-11-21", "end": "2026-11-21"}]})
    assert post(company, "Orders", order(DocDate="2026-10-05")).code == -4013
    assert "deviates from permissible range" in post(company, "Orders", order(DocDate="2026-09-05")).text
    assert post(company, "Orders", order(DocDate="2026-11-21")).status == 201


def test_a_multi_branch_company_needs_the_branch_of_the_warehouse(company: Company) -> None:
    company.rules = Rules(multi_branch=True)
    answer = post(company, "Orders", order())
    assert (answer.code, "Specify an active branch" in answer.text) == (-5002, True)
    assert post(company, "Orders", order(BPL_IDAssignedToInvoice=2)).code == -5002
    assert post(company, "Orders", order(BPL_IDAssignedToInvoice=1)).status == 201


# ---- totals ---------------------------------------------------------------------------------------------------------


def test_totals_are_computed_from_quantity_price_discount_and_vat_rounded_half_up(company: Company) -> None:
    body = made(post(company, "Orders", order(line(quantity=3, UnitPrice=D("3.335"), DiscountPercent=10))))
    row = body["DocumentLines"][0]
    # 3 x 3.335 x 0.9 = 9.0045 -> 9.00; 20 % = 1.80
    assert (D("9.00"), D("1.80"), D("10.80"), D("1.80")) == (
        row["LineTotal"], row["TaxTotal"], body["DocTotal"], body["VatSum"],
    )  # fmt: skip


def test_half_a_penny_is_rounded_up_also_to_an_odd_penny(company: Company) -> None:
    row = made(post(company, "Orders", order(line(UnitPrice=D("0.125")))))["DocumentLines"][0]
    assert row["LineTotal"] == D("0.13")


def test_line_total_tax_total_and_freight_tax_are_taken_as_sent(company: Company) -> None:
    freight = [{"ExpenseCode": 1, "LineTotal": D("4.17"), "TaxSum": D("0.83")}]
    sent = line(quantity=3, UnitPrice=D("3.33"), LineTotal=D("9.50"), TaxTotal=D("1.91"))
    body = made(post(company, "Orders", order(sent, DocumentAdditionalExpenses=freight)))
    assert D("16.41") == body["DocTotal"]
    assert (D("9.50"), D("1.91")) == (body["DocumentLines"][0]["LineTotal"], body["DocumentLines"][0]["TaxTotal"])
    assert D("2.74") == body["VatSum"]


def test_freight_without_tax_takes_its_vat_group(company: Company) -> None:
    freight = [{"ExpenseCode": 1, "LineTotal": D("5")}, {"ExpenseCode": 2, "LineTotal": D("1")}]
    body = made(post(company, "Orders", order(line("A2", UnitPrice=10), DocumentAdditionalExpenses=freight)))
    assert D("17.00") == body["DocTotal"]


def test_a_doc_total_that_is_sent_bends_the_discount(company: Company) -> None:
    body = made(post(company, "Orders", order(line("A2", UnitPrice=100), DocTotal=99)))
    assert (D("99.00"), D("1")) == (body["DocTotal"], body["DiscountPercent"])


def test_a_tax_code_of_a_sales_tax_country_taxes_too(company: Company) -> None:
    assert D("108.88") == made(post(company, "Orders", order(line("A2", UnitPrice=100, TaxCode="NY"))))["DocTotal"]


def test_a_foreign_currency_needs_a_rate_and_totals_in_both(company: Company) -> None:
    assert "exchange rate" in post(company, "Orders", order(DocCurrency="USD")).text
    body = made(post(company, "Orders", order(line(UnitPrice=10, LineTotal=10, TaxTotal=2), DocCurrency="EUR")))
    assert (D("12.00"), D("10.20")) == (body["DocTotalFc"], body["DocTotal"])
    answer = post(company, "Orders", {**order(DocCurrency="USD"), "CardCode": "C-EUR"})
    assert "not the partner's" in answer.text


def test_preview_answers_totals_and_leaves_nothing(company: Company) -> None:
    before = company.ledger()
    body = made(post(company, "OrdersService_Preview", {"Document": order(line(UnitPrice=10))}))
    after = company.ledger()
    before.pop("counters")
    after.pop("counters")
    assert (D("12.00"), before) == (body["DocTotal"], after)
    assert post(company, "OrdersService_Preview", {"Document": order(line("NONE"))}).code == -2028


def test_a_service_document_has_account_lines_and_moves_nothing(company: Company) -> None:
    lines = [{"AccountCode": "4000", "ItemDescription": "goodwill", "LineTotal": D("5"), "TaxTotal": D("1")}]
    body = made(post(company, "CreditNotes", document(*lines, DocType="dDocument_Service")))
    assert D("6.00") == body["DocTotal"]
    assert post(company, "CreditNotes", document({"LineTotal": 5}, DocType="dDocument_Service")).code == -5002
    assert post(company, "CreditNotes", document(line(), DocType="dDocument_Service")).code == -5002
    assert D(100) == company.on_hand("A1", "LON1")


# ---- base documents -------------------------------------------------------------------------------------------------


def test_partial_deliveries_keep_the_order_open_until_nothing_is_left(company: Company) -> None:
    entry = made(post(company, "Orders", order(line(quantity=5), line("A2", 1))))["DocEntry"]
    made(post(company, "DeliveryNotes", document(based(17, entry, Quantity=2))))
    body = company.read(f"Orders({entry})").body
    assert D(3) == body["DocumentLines"][0]["RemainingOpenQuantity"]
    made(post(company, "DeliveryNotes", document(based(17, entry, Quantity=3), based(17, entry, 1))))
    body = company.read(f"Orders({entry})").body
    assert [body["DocumentStatus"], *(row["LineStatus"] for row in body["DocumentLines"])] == ["bost_Close"] * 3
    answer = post(company, "DeliveryNotes", document(based(17, entry, Quantity=1)))
    assert (answer.code, "One of the base documents has already been closed" in answer.text) == (-10, True)
    assert (D(95), D(49)) == (company.on_hand("A1", "LON1"), company.on_hand("A2", "LON1"))


def test_more_than_the_open_quantity_is_refused_also_when_split_over_lines(company: Company) -> None:
    entry = made(post(company, "Orders", order(line(quantity=5))))["DocEntry"]
    assert post(company, "DeliveryNotes", document(based(17, entry, Quantity=6))).code == -10
    twice = document(based(17, entry, Quantity=3), based(17, entry, Quantity=3))
    assert post(company, "DeliveryNotes", twice).code == -10
    assert D(100) == company.on_hand("A1", "LON1")


def test_a_base_without_its_type_is_an_internal_error(company: Company) -> None:
    entry = made(post(company, "Orders", order()))["DocEntry"]
    answer = post(company, "DeliveryNotes", document({"BaseEntry": entry, "BaseLine": 0}))
    assert (answer.code, answer.text) == (-5002, "Internal error (-5002) occurred")


def test_another_item_than_the_bases_is_refused(company: Company) -> None:
    entry = made(post(company, "Orders", order()))["DocEntry"]
    assert "does not match" in post(company, "DeliveryNotes", document(based(17, entry, ItemCode="A2"))).text


def test_an_invoice_on_a_delivery_moves_no_stock_and_carries_freight(company: Company) -> None:
    _, delivery = deliver_order(company)
    freight = [{"ExpenseCode": 1, "LineTotal": D("5"), "TaxSum": D("1")}]
    sent = document(based(15, delivery), DocumentAdditionalExpenses=freight)
    assert D("66.00") == made(post(company, "Invoices", sent))["DocTotal"]
    assert D(95) == company.on_hand("A1", "LON1")
    assert company.read(f"DeliveryNotes({delivery})").body["DocumentStatus"] == "bost_Close"


def test_an_invoice_without_a_delivery_moves_stock(company: Company) -> None:
    made(post(company, "Invoices", document(line(quantity=4))))
    assert D(96) == company.on_hand("A1", "LON1")


def test_a_credit_memo_on_an_open_invoice_brings_stock_back_and_closes_it(company: Company) -> None:
    _, delivery = deliver_order(company)
    invoice = made(post(company, "Invoices", document(based(15, delivery))))["DocEntry"]
    made(post(company, "CreditNotes", document(based(13, invoice, Quantity=2))))
    assert D(97) == company.on_hand("A1", "LON1")
    made(post(company, "CreditNotes", document(based(13, invoice, Quantity=3, WithoutInventoryMovement="tYES"))))
    assert D(97) == company.on_hand("A1", "LON1")
    assert company.read(f"Invoices({invoice})").body["DocumentStatus"] == "bost_Close"


def test_a_paid_invoice_cannot_be_credited_though_its_lines_show_open_quantity(company: Company) -> None:
    invoice = made(post(company, "Invoices", document(line(quantity=4))))["DocEntry"]
    company.pay(invoice)
    assert D(4) == company.read(f"Invoices({invoice})").body["DocumentLines"][0]["RemainingOpenQuantity"]
    assert "already been closed" in post(company, "CreditNotes", document(based(13, invoice))).text
    reference = [{"RefObjType": "rot_SalesInvoice", "RefDocEntr": invoice}]
    assert post(company, "CreditNotes", document(line(quantity=4), DocumentReferences=reference)).status == 201


def test_a_credit_memo_may_be_based_on_a_delivery_unless_the_rules_say_no(company: Company) -> None:
    _, delivery = deliver_order(company)
    company.rules = Rules(credit_on_delivery=False)
    assert post(company, "CreditNotes", document(based(15, delivery, Quantity=1))).code == -5002
    company.rules = Rules()
    assert post(company, "CreditNotes", document(based(15, delivery, Quantity=1))).status == 201
    assert D(96) == company.on_hand("A1", "LON1")


# ---- stock ----------------------------------------------------------------------------------------------------------


def test_receipts_issues_and_transfers_move_stock(company: Company) -> None:
    made(post(company, "InventoryGenEntries", {"DocumentLines": [line(quantity=5, AccountCode="4000")]}))
    made(post(company, "InventoryGenExits", {"DocumentLines": [line(quantity=2, AccountCode="5100")]}))
    lines = [{"ItemCode": "A1", "Quantity": 3}]
    sent = {"FromWarehouse": "LON1", "ToWarehouse": "MAN1", "StockTransferLines": lines}
    made(post(company, "StockTransfers", sent))
    assert (D(100), D(3)) == (company.on_hand("A1", "LON1"), company.on_hand("A1", "MAN1"))
    moved = [(m["warehouse"], m["quantity"], m["object"]) for m in company.ledger()["movements"] if m["object"]]
    assert moved == [("LON1", "5", 59), ("LON1", "-2", 60), ("LON1", "-3", 67), ("MAN1", "3", 67)]


def test_an_item_without_stock_is_refused_in_stock_documents(company: Company) -> None:
    answer = post(company, "InventoryGenEntries", {"DocumentLines": [line("FEE")]})
    assert (answer.code, "not defined as an inventory item" in answer.text) == (-10, True)


def test_negative_stock_is_refused_with_minus_10_where_the_company_blocks_it(company: Company) -> None:
    answer = post(company, "InventoryGenExits", {"DocumentLines": [line(quantity=101)]})
    assert (answer.code, "Quantity falls into negative inventory" in answer.text) == (-10, True)
    company.rules = Rules(block_negative_stock=False)
    made(post(company, "InventoryGenExits", {"DocumentLines": [line(quantity=101)]}))
    assert D(-1) == company.on_hand("A1", "LON1")


@pytest.mark.parametrize(
    ("sent", "code", "text"),
    [
        (line("BAT", 2), -4014, "complete selection"),
        (line("BAT", 2, BatchNumbers=[{"BatchNumber": "B-1", "Quantity": 1}]), -4014, "complete selection"),
        (line("BAT", 2, BatchNumbers=[{"BatchNumber": "B-9", "Quantity": 2}]), -10, "480000112"),
        (line("BAT", 11, BatchNumbers=[{"BatchNumber": "B-1", "Quantity": 11}]), -10, "10001153"),
        (line("BAT", 1, BatchNumbers=[{"BatchNumber": "B-1", "Quantity": 1, "BaseLineNumber": 4}]), -10, "BaseLineN"),
        (line("SER", 2, SerialNumbers=[{"InternalSerialNumber": "S1"}]), -4014, "complete selection"),
        (line("SER", 2, SerialNumbers=[{"InternalSerialNumber": "S1"}] * 2), -4014, "complete selection"),
        (line("SER", 1, SerialNumbers=[{"InternalSerialNumber": "S9"}]), -10, "480000112"),
        (line("A1", 1, BatchNumbers=[{"BatchNumber": "B-1", "Quantity": 1}]), -10, "not managed"),
    ],
)
def test_batches_and_serials_must_be_complete_and_exist_on_issue(
    company: Company, sent: dict[str, Any], code: int, text: str
) -> None:
    answer = post(company, "InventoryGenExits", {"DocumentLines": [sent]})
    assert (code, True) == (answer.code, text in answer.text)


def test_batches_and_serials_are_followed_from_receipt_to_issue(company: Company) -> None:
    two = [{"BatchNumber": "B-1", "Quantity": D("1.5")}, {"BatchNumber": "B-2", "Quantity": D("0.5")}]
    made(post(company, "InventoryGenEntries", {"DocumentLines": [line("BAT", 2, BatchNumbers=two)]}))
    made(post(company, "DeliveryNotes", document(line("BAT", 2, BatchNumbers=two))))
    assert D(10) == company.on_hand("BAT", "LON1")
    serial = [{"InternalSerialNumber": "S1"}]
    made(post(company, "DeliveryNotes", document(line("SER", 1, SerialNumbers=serial))))
    assert post(company, "DeliveryNotes", document(line("SER", 1, SerialNumbers=serial))).code == -10
    made(post(company, "CreditNotes", document(line("SER", 1, SerialNumbers=serial))))
    again = post(company, "InventoryGenEntries", {"DocumentLines": [line("SER", 1, SerialNumbers=serial)]})
    assert "already exists" in again.text


def test_an_order_needs_batches_only_where_the_rules_say_so(company: Company) -> None:
    assert post(company, "Orders", order(line("BAT", 1))).status == 201
    company.rules = Rules(batches_on_orders=True)
    assert post(company, "Orders", order(line("BAT", 1))).code == -4014


def test_an_order_commits_stock_until_it_is_delivered_closed_or_cancelled(company: Company) -> None:
    def committed() -> Decimal:
        number: Decimal = company.read("Items('A1')").body["QuantityOrderedByCustomers"]
        return number

    entry = made(post(company, "Orders", order(line(quantity=5))))["DocEntry"]
    assert D(5) == committed()
    made(post(company, "DeliveryNotes", document(based(17, entry, Quantity=2))))
    assert D(3) == committed()
    assert post(company, f"Orders({entry})/Close").status == 204
    assert D(0) == committed()


# ---- actions, changes -----------------------------------------------------------------------------------------------


def test_an_untouched_order_can_be_cancelled_a_delivered_one_only_closed(company: Company) -> None:
    entry = made(post(company, "Orders", order(line(quantity=5))))["DocEntry"]
    assert post(company, f"Orders({entry})/Cancel").status == 204
    body = company.read(f"Orders({entry})").body
    assert (body["Cancelled"], body["CancelStatus"], body["DocumentStatus"]) == ("tYES", "csYes", "bost_Close")
    assert post(company, f"Orders({entry})/Cancel").code == -10
    other, _ = deliver_order(company)
    assert post(company, f"Orders({other})/Cancel").code == -10
    entry = made(post(company, "Orders", order(line(quantity=5))))["DocEntry"]
    made(post(company, "DeliveryNotes", document(based(17, entry, Quantity=2))))
    assert post(company, f"Orders({entry})/Cancel").code == -10
    assert post(company, f"Orders({entry})/Close").status == 204
    assert post(company, "DeliveryNotes", document(based(17, entry, Quantity=1))).code == -10


def test_cancelling_a_posted_document_makes_a_mirror_and_gives_everything_back(company: Company) -> None:
    entry, delivery = deliver_order(company)
    assert post(company, f"DeliveryNotes({delivery})/Cancel").status == 204
    assert D(100) == company.on_hand("A1", "LON1")
    original, mirror = company.ledger()["documents"][1:]
    assert (original["CancelStatus"], mirror["CancelStatus"]) == ("csYes", "csCancellation")
    body = company.read(f"Orders({entry})").body
    assert ("bost_Open", D(5)) == (body["DocumentStatus"], body["DocumentLines"][0]["RemainingOpenQuantity"])
    assert post(company, "DeliveryNotes", document(based(17, entry))).status == 201


def patch(company: Company, entry: int, body: dict[str, Any], **headers: str) -> Answer:
    return company.apply([Request("PATCH", f"Orders({entry})", body, headers=headers)])[0]


def test_order_lines_are_merged_by_line_num_and_totals_follow(company: Company) -> None:
    rows = [line(quantity=5, UnitPrice=10), line("A2", 2, UnitPrice=1)]
    entry = made(post(company, "Orders", order(*rows)))["DocEntry"]
    assert patch(company, entry, {"DocumentLines": [{"LineNum": 0, "Quantity": 3}]}).status == 204
    body = company.read(f"Orders({entry})").body
    assert [D(3), D(2)] == [row["Quantity"] for row in body["DocumentLines"]]
    assert D("38.00") == body["DocTotal"]
    assert patch(company, entry, {"DocumentLines": [{"LineNum": 1, "LineStatus": "bost_Close"}]}).status == 204
    assert company.read(f"Orders({entry})").body["DocumentStatus"] == "bost_Open"
    assert patch(company, entry, {"DocumentLines": [{"LineNum": 0, "LineStatus": "bost_Close"}]}).status == 204
    assert company.read(f"Orders({entry})").body["DocumentStatus"] == "bost_Close"
    assert patch(company, entry, {"DocumentLines": [{"LineNum": 0, "Quantity": 1}]}).code == -1029


def test_a_line_cannot_shrink_below_what_was_delivered_and_closes_at_it(company: Company) -> None:
    entry = made(post(company, "Orders", order(line(quantity=5), line("A2"))))["DocEntry"]
    made(post(company, "DeliveryNotes", document(based(17, entry, Quantity=2))))
    assert patch(company, entry, {"DocumentLines": [{"LineNum": 0, "Quantity": 1}]}).code == -10
    assert patch(company, entry, {"DocumentLines": [{"LineNum": 0, "Quantity": 2}]}).status == 204
    assert company.read(f"Orders({entry})").body["DocumentLines"][0]["LineStatus"] == "bost_Close"


def test_a_line_without_its_number_is_inserted_and_the_replace_header_deletes(company: Company) -> None:
    entry = made(post(company, "Orders", order()))["DocEntry"]
    assert patch(company, entry, {"DocumentLines": [line("A2")]}).status == 204
    assert [row["ItemCode"] for row in company.read(f"Orders({entry})").body["DocumentLines"]] == ["A1", "A2"]
    keep = {"DocumentLines": [{"LineNum": 1}]}
    assert patch(company, entry, keep, **{"b1s-replacecollectionsonpatch": "true"}).status == 204
    assert [row["ItemCode"] for row in company.read(f"Orders({entry})").body["DocumentLines"]] == ["A2"]


def test_a_closed_document_takes_user_fields_and_comments_only(company: Company) -> None:
    entry, _ = deliver_order(company)
    assert patch(company, entry, {"Comments": "x", "U_STREAMS_KEY": "k"}).status == 204
    assert len(company.read("Orders?$filter=U_STREAMS_KEY eq 'k'").body["value"]) == 1
    assert patch(company, entry, {"DocDueDate": "2026-12-01"}).code == -1029
    assert patch(company, entry, {}).status == 204


def test_orders_cannot_be_deleted(company: Company) -> None:
    made(post(company, "Orders", order()))
    assert company.apply([Request("DELETE", "Orders(1)")])[0].code == -5006
    assert company.apply([Request("PATCH", "Orders(9)", {})])[0].status == 404


def test_a_stale_if_match_is_412_and_minus_2039(company: Company) -> None:
    made(post(company, "Orders", order()))
    etag = company.read("Orders(1)").headers["ETag"]
    assert etag == 'W/"356A192B7913B04C54574D18C28D46E6395428AB"'
    assert patch(company, 1, {"Comments": "a"}, **{"if-match": etag}).status == 204
    answer = patch(company, 1, {"Comments": "b"}, **{"if-match": etag})
    assert (answer.status, answer.code) == (412, -2039)


def test_return_no_content_answers_204_with_location(company: Company) -> None:
    answer = post(company, "Orders", order(), prefer="return-no-content")
    assert (answer.status, answer.body, answer.headers["Location"]) == (204, None, "Orders(1)")


# ---- master data, user tables ---------------------------------------------------------------------------------------


def test_items_and_partners_that_exist_are_refused_in_their_own_words(company: Company) -> None:
    assert "Item code 'A1' already exists" in post(company, "Items", {"ItemCode": "A1"}).text
    assert "1320000140" in post(company, "BusinessPartners", {"CardCode": "C-WEB"}).text
    assert post(company, "BusinessPartners", {"CardCode": "C-NEW", "EmailAddress": "a@b.example"}).status == 201
    found = company.read("BusinessPartners?$filter=EmailAddress eq 'a@b.example'").body["value"]
    assert [row["CardCode"] for row in found] == ["C-NEW"]


def test_claim_table_and_fields_exist_only_after_they_are_created() -> None:
    company = Company(clock=clock, master_data=MASTER)
    assert post(company, "U_STREAMS_CLAIM", {"Code": "K"}).status == 404
    assert post(company, "Orders", order(U_STREAMS_KEY="K")).code == -1000
    assert company.read("Orders?$filter=U_STREAMS_KEY eq 'K'").code == 201
    field = {"TableName": "@STREAMS_CLAIM", "Name": "KIND", "Type": "db_Alpha", "EditSize": 30, "Description": "kind"}
    assert post(company, "UserFieldsMD", field).code == -2028
    table = {"TableName": "STREAMS_CLAIM", "TableDescription": "claims", "TableType": "bott_NoObject"}
    assert post(company, "UserTablesMD", table).status == 201
    assert post(company, "UserTablesMD", table).code == -2035
    assert post(company, "UserFieldsMD", field).status == 201
    assert post(company, "UserFieldsMD", field).code == -2035
    assert post(company, "UserFieldsMD", {**field, "TableName": "ORDR", "Name": "STREAMS_KEY"}).status == 201
    assert post(company, "UserFieldsMD", {**field, "TableName": "RDR1", "Name": "STREAMS_LINE"}).status == 201
    assert post(company, "U_STREAMS_CLAIM", {"Code": "K", "Name": "K", "U_KIND": "x"}).status == 201
    body = order(line(U_STREAMS_LINE="1"), U_STREAMS_KEY="K")
    assert post(company, "Orders", body).status == 201
    assert post(company, "InventoryGenEntries", {"DocumentLines": [line()], "U_STREAMS_KEY": "K2"}).status == 201
    lines = [{"ItemCode": "A1", "Quantity": 1, "FromWarehouseCode": "LON1", "WarehouseCode": "MAN1"}]
    assert post(company, "StockTransfers", {"StockTransferLines": lines, "U_STREAMS_KEY": "K3"}).status == 201
    names = company.read("UserFieldsMD?$filter=TableName eq 'ORDR' and Name eq 'STREAMS_KEY'").body["value"]
    assert len(names) == 1


def test_a_second_row_of_one_code_is_minus_2035(company: Company) -> None:
    made(post(company, "U_STREAMS_CLAIM", claim("K")))
    answer = post(company, "U_STREAMS_CLAIM", claim("K"))
    assert (answer.code, "already exists" in answer.text) == (-2035, True)
    assert company.read("U_STREAMS_CLAIM('K')").body["U_KIND"] == "order_placed"
    assert company.read("U_STREAMS_CLAIM('L')").status == 404


def test_a_unique_user_key_is_enforced(company: Company) -> None:
    elements = [{"ColumnAlias": "DIGEST"}]
    key = {"TableName": "@STREAMS_CLAIM", "KeyName": "D", "Unique": "tYES", "UserKeysMD_Elements": elements}
    made(post(company, "UserKeysMD", key))
    made(post(company, "U_STREAMS_CLAIM", claim("K")))
    assert post(company, "U_STREAMS_CLAIM", claim("L")).code == -2035


def test_a_user_fields_length_and_values_are_enforced(company: Company) -> None:
    values = [{"Value": "a", "Description": "A"}]
    field = {"TableName": "OINV", "Name": "STATE", "Description": "s", "EditSize": 1, "ValidValuesMD": values}
    made(post(company, "UserFieldsMD", field))
    assert post(company, "Orders", order(U_STATE="b")).code == -1004
    assert "too long" in post(company, "Orders", order(U_STREAMS_KEY="k" * 51)).text


# ---- change sets ----------------------------------------------------------------------------------------------------


def test_claim_and_document_stand_or_fall_together(company: Company) -> None:
    both = [Request("POST", "U_STREAMS_CLAIM", claim("K"), "1"), Request("POST", "Orders", order(line("NONE")), "2")]
    assert [answer.code for answer in company.apply(both)] == [-2028]
    assert company.ledger()["claims"] == []
    both[1] = Request("POST", "Orders", order(U_STREAMS_KEY="K"), "2")
    assert [answer.status for answer in company.apply(both)] == [201, 201]
    assert [answer.code for answer in company.apply(both)] == [-2035]
    assert (len(company.ledger()["claims"]), len(company.ledger()["documents"])) == (1, 1)


def test_a_failing_change_set_gives_the_base_documents_their_open_quantities_back(company: Company) -> None:
    entry = made(post(company, "Orders", order(line(quantity=5))))["DocEntry"]
    before = state(company)
    delivery = Request("POST", "DeliveryNotes", document(based(17, entry)))
    assert len(company.apply([delivery, Request("POST", "Orders", order(line("NONE")))])) == 1
    assert state(company) == before
    assert company.apply([delivery])[0].status == 201


def test_a_later_request_names_an_earlier_ones_document(company: Company) -> None:
    requests = [Request("POST", "Orders", order(), "1"), Request("POST", "/b1s/v2/$1/Cancel", None, "2")]
    assert [answer.status for answer in company.apply(requests)] == [201, 204]
    assert company.read("Orders(1)").body["Cancelled"] == "tYES"


def test_a_get_in_a_change_set_is_refused(company: Company) -> None:
    assert company.apply([Request("GET", "Orders")])[0].code == -1000


def test_approval_makes_a_draft_and_answers_minus_2028(company: Company) -> None:
    company.rules = Rules(approval=frozenset({"Orders"}))
    both = [
        Request("POST", "U_STREAMS_CLAIM", claim("K"), "1"),
        Request("POST", "Orders", order(U_STREAMS_KEY="K"), "2"),
    ]
    assert [(answer.status, answer.code) for answer in company.apply(both)] == [(404, -2028)]
    drafts = company.read("Drafts?$filter=U_STREAMS_KEY eq 'K'").body["value"]
    assert [(row["DocObjectCode"], row["AuthorizationStatus"]) for row in drafts] == [("oOrders", "dasPending")]
    assert company.ledger()["claims"] == []
    assert post(company, "DraftsService_SaveDraftToDocument", {"Document": {"DocEntry": "1"}}).status == 204
    assert len(company.read("Orders?$filter=U_STREAMS_KEY eq 'K'").body["value"]) == 1
    assert post(company, "Orders", order(), prefer="return-no-content").status == 204
    company.rules = Rules(approval=frozenset({"Orders"}), approval_keeps_draft=False)
    company.apply(both)
    assert len(company.ledger()["drafts"]) == 2


def test_an_item_held_by_another_is_locked_and_counted_by_cause(company: Company) -> None:
    exit_ = [Request("POST", "InventoryGenExits", {"DocumentLines": [line()]})]
    assert company.lock("A1", "people:anna")
    assert not company.lock("A1", "worker")
    assert [answer.code for answer in company.apply(exit_)] == [-2039]
    company.rules = Rules(locked_code=-2035)
    answer = company.apply(exit_)[0]
    assert (answer.code, "locked" in answer.text) == (-2035, True)
    company.unlock("A1", "people:anna")
    company.lock("A1", "worker")
    assert [answer.code for answer in company.apply(exit_, "other")] == [-2035]
    assert [answer.status for answer in company.apply(exit_, "worker")] == [201]
    assert (company.counters["lock_refusals_people"], company.counters["lock_refusals_own"]) == (2, 1)


def test_documents_that_move_no_stock_lock_no_item(company: Company) -> None:
    _, delivery = deliver_order(company)
    invoice = Request("POST", "Invoices", document(based(15, delivery)))
    assert frozenset() == company.work([invoice]).items
    quiet = Request("POST", "CreditNotes", document(line(WithoutInventoryMovement="tYES")))
    assert frozenset() == company.work([quiet]).items
    assert frozenset({"A1"}) == company.work([Request("POST", "Orders", order())]).items
    company.rules = Rules(orders_lock_items=False)
    assert frozenset() == company.work([Request("POST", "Orders", order())]).items


def test_a_backup_brings_back_what_was(company: Company) -> None:
    image = company.backup()
    made(post(company, "Invoices", document(line(quantity=4))))
    company.restore(image)
    assert (D(100), []) == (company.on_hand("A1", "LON1"), company.ledger()["documents"])


# ---- the property ---------------------------------------------------------------------------------------------------

ITEMS = st.sampled_from(["A1", "A2", "BAT", "SER", "FEE"])
LINES = st.lists(
    st.one_of(
        st.builds(line, ITEMS, st.integers(1, 8), UnitPrice=st.integers(0, 9)),
        st.builds(
            lambda n: line("BAT", n, BatchNumbers=[{"BatchNumber": "B-1", "Quantity": n}]), st.integers(1, 4)
        ),
        st.builds(lambda s: line("SER", 1, SerialNumbers=[{"InternalSerialNumber": s}]), st.sampled_from(["S1", "S2"])),
        st.builds(
            lambda kind, entry, number, n: based(kind, entry, number, Quantity=n),
            st.sampled_from([13, 15, 17]), st.integers(1, 4), st.integers(0, 1), st.integers(1, 6),
        ),
    ),
    min_size=1,
    max_size=3,
)  # fmt: skip
REQUESTS = st.one_of(
    st.builds(
        lambda entity, lines, key: Request(
            "POST", entity, {**order(*lines), "U_STREAMS_KEY": key, "NumAtCard": key}
        ),
        st.sampled_from(["Orders", "DeliveryNotes", "Invoices", "CreditNotes"]), LINES, st.sampled_from(["K1", "K2"]),
    ),
    st.builds(
        lambda entity, lines: Request("POST", entity, {"DocumentLines": lines}),
        st.sampled_from(["InventoryGenEntries", "InventoryGenExits"]), LINES,
    ),
    st.builds(lambda code: Request("POST", "U_STREAMS_CLAIM", claim(code)), st.sampled_from(["K1", "K2", "K3"])),
    st.builds(
        lambda entity, entry, action: Request("POST", f"{entity}({entry})/{action}"),
        st.sampled_from(["Orders", "DeliveryNotes", "Invoices", "InventoryGenEntries"]), st.integers(1, 3),
        st.sampled_from(["Cancel", "Close"]),
    ),
    st.builds(
        lambda entry, change: Request(
            "PATCH", f"Orders({entry})", {"NumAtCard": "P", "DocumentLines": [{"LineNum": 0, **change}]}
        ),
        st.integers(1, 3),
        st.one_of(st.just({"LineStatus": "bost_Close"}), st.builds(lambda n: {"Quantity": n}, st.integers(1, 6))),
    ),
)  # fmt: skip


def begun() -> Company:
    """A company in which base references of random requests often lead somewhere."""
    company = Company(clock=clock, with_claims=True, master_data=MASTER)
    for _ in range(3):
        entry = made(post(company, "Orders", order(line(quantity=6), line("A2", 6))))["DocEntry"]
        delivery = made(post(company, "DeliveryNotes", document(based(17, entry, Quantity=4), based(17, entry, 1))))
        made(post(company, "Invoices", document(based(15, delivery["DocEntry"], Quantity=2))))
    return company


def state(company: Company) -> dict[str, Any]:
    ledger = company.ledger()
    ledger["documents_counted"] = ledger.pop("counters")["documents"]
    found = [company.read(f"Orders?$filter=NumAtCard eq '{name}'").body["value"] for name in ("K1", "K2", "P")]
    return {**ledger, "found": found, "items": company.read("Items").body["value"]}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(REQUESTS, min_size=1, max_size=4), min_size=1, max_size=8))
def test_a_failing_change_set_leaves_everything_exactly_as_it_was(sets: list[list[Request]]) -> None:
    company = begun()
    for requests in sets:
        before = state(company)
        answers = company.apply(requests)
        if answers[0].status >= 400:
            assert (1, before) == (len(answers), state(company))
        else:
            assert len(requests) == len(answers)
        broken = [*requests, Request("POST", "Orders", order(line("NONE")))]
        before = state(company)
        assert len(company.apply(broken)) == 1
        assert before == state(company)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(REQUESTS, min_size=1, max_size=3), min_size=1, max_size=10))
def test_stock_is_always_the_sum_of_its_movements_and_commitments_of_open_order_lines(
    sets: list[list[Request]],
) -> None:
    company = begun()
    for requests in sets:
        company.apply(requests)
    ledger = company.ledger()
    sums: dict[tuple[str, str], Decimal] = {}
    for move in ledger["movements"]:
        slot = (move["item"], move["warehouse"])
        sums[slot] = sums.get(slot, D(0)) + D(move["quantity"])
    assert sums == {(row["item"], row["warehouse"]): D(row["quantity"]) for row in ledger["on_hand"]}
    committed: dict[tuple[str, str], Decimal] = {}
    for one in ledger["documents"]:
        for row in one["DocumentLines"] if one["object"] == 17 else ():
            if row["LineStatus"] == "bost_Open" and row["ItemCode"] != "FEE":
                slot = (row["ItemCode"], row["WarehouseCode"])
                committed[slot] = committed.get(slot, D(0)) + D(row["RemainingOpenQuantity"])
    assert committed == {(row["item"], row["warehouse"]): D(row["quantity"]) for row in ledger["committed"]}

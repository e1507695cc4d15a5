"""Stock, batch and serial numbers, committed quantities."""

from decimal import Decimal
from typing import Any

import pytest

from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.rules import Rules
from tests.lab.simulators.sap_b1.company import D, based, document, line, made, order, post


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


def test_an_item_that_a_stock_count_holds_moves_neither_in_nor_out_of_that_warehouse(company: Company) -> None:
    company.load({"frozen": [{"item": "A1", "warehouse": "LON1"}]})
    for entity in ("InventoryGenEntries", "InventoryGenExits"):
        answer = post(company, entity, {"DocumentLines": [line(AccountCode="4000")]})
        assert (answer.code, answer.text) == (-10, "131 - Item A1 is frozen in warehouse LON1")
    made(post(company, "Orders", order(line())))
    made(post(company, "InventoryGenEntries", {"DocumentLines": [line("A2", AccountCode="4000")]}))
    company.load({"frozen": []})
    made(post(company, "InventoryGenExits", {"DocumentLines": [line(AccountCode="5100")]}))


def test_a_kit_has_no_stock_and_a_warehouse_with_bins_wants_them_named_or_chosen(company: Company) -> None:
    company.load({"Items": [{"ItemCode": "KIT", "InventoryItem": "tNO", "TreeType": "iSalesTree"}]})
    entry = made(post(company, "Orders", order(line("KIT"))))["DocEntry"]
    answer = post(company, "DeliveryNotes", document(based(17, entry)))
    assert (answer.code, "Quantity falls into negative inventory" in answer.text) == (-10, True)
    company.load({"Warehouses": [{"WarehouseCode": "LON1", "EnableBinLocations": "tYES"}]})
    received = line(quantity=1, AccountCode="4000")
    text = '1470000341 - Fully allocate item "A1" to bin locations in warehouse "LON1"'
    assert post(company, "InventoryGenEntries", {"DocumentLines": [received]}).text == text
    bins = {"DocumentLinesBinAllocations": [{"BinAbsEntry": 1, "Quantity": 1}]}
    made(post(company, "InventoryGenEntries", {"DocumentLines": [{**received, **bins}]}))
    company.load({"Warehouses": [{"WarehouseCode": "LON1", "DefaultBin": 1}]})
    made(post(company, "InventoryGenEntries", {"DocumentLines": [received]}))


def test_a_text_is_as_long_as_its_utf_16_units(company: Company) -> None:
    made(post(company, "Orders", {**order(line()), "Comments": "\U0001f600" * 127}))
    answer = post(company, "Orders", {**order(line()), "Comments": "\U0001f600" * 128})
    assert (answer.code, "Comments" in answer.text) == (-1003, True)


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

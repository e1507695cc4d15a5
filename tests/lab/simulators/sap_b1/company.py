"""A company with master data, and the documents that its tests post."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.messages import LedgerAnswer, Request

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


def post(company: Company, entity: str, body: dict[str, Any] | None = None, **headers: str) -> LedgerAnswer:
    return company.apply([Request("POST", entity, body, headers=headers)])[0]


def made(answer: LedgerAnswer) -> dict[str, Any]:
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


def state(company: Company) -> dict[str, Any]:
    ledger = company.ledger()
    ledger["documents_counted"] = ledger.pop("counters")["documents"]
    found = [company.read(f"Orders?$filter=NumAtCard eq '{name}'").body["value"] for name in ("K1", "K2", "P")]
    return {**ledger, "found": found, "items": company.read("Items").body["value"]}

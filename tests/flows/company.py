"""The company of these tests: its configuration, its master data in B1, and what its installation of B1 may be like."""

from typing import Any

MASTER_DATA: dict[str, Any] = {
    "BusinessPartners": [
        {"CardCode": "C-WEB", "CardName": "Web", "CardType": "cCustomer"},
        {"CardCode": "C-ADA", "CardName": "Ada", "CardType": "cCustomer", "EmailAddress": "ada@example.org"},
    ],
    "Warehouses": [{"WarehouseCode": code} for code in ("LON1", "RET1", "SHO1")],
    "VatGroups": [{"Code": "O1", "Rate": "20"}, {"Code": "O0", "Rate": "0"}],
    "Items": [
        *({"ItemCode": code} for code in ("A", "B", "C", "TS001-R", "85123A", "85123a")),
        {"ItemCode": "LOT", "ManageBatchNumbers": "tYES"},
        {"ItemCode": "SER", "ManageSerialNumbers": "tYES"},
        {"ItemCode": "OLD", "Valid": "tNO", "Frozen": "tYES"},
    ],
    "AdditionalExpenses": [{"ExpensCode": 1, "Name": "Freight"}, {"ExpensCode": 2, "Name": "Goodwill"}],
    "ShippingTypes": [{"Code": 3, "Name": "Next day"}, {"Code": 4, "Name": "Post"}],
    "ChartOfAccounts": [{"Code": code, "Name": code} for code in ("4000", "4900", "5100")],
    "stock": [
        *(
            {"item": code, "warehouse": "LON1", "quantity": "100"}
            for code in ("A", "B", "C", "TS001-R", "85123A", "85123a")
        ),
        {"item": "LOT", "warehouse": "LON1", "quantity": "50", "batch": "L1"},
        {"item": "SER", "warehouse": "LON1", "quantity": "2", "serials": ["S1", "S2"]},
    ],
}

COMPANY: dict[str, Any] = {
    "window": {"length_s": 2},
    "shipping_types": {"dpd/next-day": 3, "Royal Mail": 4},
    "warehouses": {
        "RET1": {"owner": "warehouse", "location": "RETURNS", "returns_by": "adjustment"},
        "SHO1": {"owner": "till", "location": "STORE"},
    },
}
CONNECTORS: dict[str, Any] = {
    "till": {"kind": "ims", "company": "acme", "inbox": "in/till", "orders": {"warehouse": "SHO1"}},
}


#: The rules of an installation that each tier of idempotency is for.
INSTALLATIONS: dict[str, dict[str, Any]] = {
    "claim": {},
    "guard": {"atomic_change_sets": False, "guard": True},
    "lookup": {"atomic_change_sets": False},
}

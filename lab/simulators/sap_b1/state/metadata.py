"""What B1 knows of its types: keys, defaults, parts, read-only properties and column lengths."""

import functools
import json
from decimal import Decimal
from pathlib import Path
from typing import Final

from lab.simulators.sap_b1.state.messages import Json
from lab.simulators.sap_b1.state.values import ZERO

# Entity set -> (entity type, key property).
MASTERS: Final = {
    "Items": ("Item", "ItemCode"),
    "Warehouses": ("Warehouse", "WarehouseCode"),
    "BusinessPartners": ("BusinessPartner", "CardCode"),
    "VatGroups": ("VatGroup", "Code"),
    "SalesTaxCodes": ("SalesTaxCode", "Code"),
    "ShippingTypes": ("ShippingType", "Code"),
    "AdditionalExpenses": ("AdditionalExpense", "ExpensCode"),
    "ChartOfAccounts": ("ChartOfAccount", "Code"),
    "SQLQueries": ("SQLQuery", "SqlCode"),
    "UserTablesMD": ("UserTablesMD", "TableName"),
    "UserFieldsMD": ("UserFieldMD", ""),
    "UserKeysMD": ("UserKeysMD", ""),
}
DEFAULTS: Final[dict[str, Json]] = {
    "Items": {
        "ItemType": "itItems",
        "InventoryItem": "tYES",
        "TreeType": "iNotATree",
        "SalesItem": "tYES",
        "PurchaseItem": "tYES",
        "ManageBatchNumbers": "tNO",
        "ManageSerialNumbers": "tNO",
        "SRIAndBatchManageMethod": "bomm_OnEveryTransaction",
        "Valid": "tYES",
        "ValidFrom": None,
        "ValidTo": None,
        "Frozen": "tNO",
        "FrozenFrom": None,
        "FrozenTo": None,
        "SalesItemsPerUnit": Decimal(1),
        "SalesVATGroup": None,
        "DefaultWarehouse": None,
        "BarCode": None,
        "InventoryUOM": None,
        "ItemPrices": [],
    },
    "Warehouses": {"Inactive": "tNO", "BusinessPlaceID": None, "DropShip": "tNO", "EnableBinLocations": "tNO"},
    "BusinessPartners": {"CardType": "cCustomer", "Currency": "##", "Valid": "tYES", "Frozen": "tNO", "VatGroup": None},
    "VatGroups": {"Category": "bovcOutputTax", "Inactive": "tNO", "VatGroups_Lines": []},
    "SalesTaxCodes": {"Rate": ZERO, "ValidForAR": "tYES", "Freight": "tNO", "Inactive": "tNO"},
    "ShippingTypes": {},
    "AdditionalExpenses": {"OutputVATGroup": None},
    "ChartOfAccounts": {"ActiveAccount": "tYES"},
    "SQLQueries": {"ParamList": None},
    "UserTablesMD": {"TableType": "bott_NoObject"},
    "UserFieldsMD": {"Type": "db_Alpha", "SubType": "st_None", "Mandatory": "tNO", "DefaultValue": None},
    "UserKeysMD": {"Unique": "tNO"},
}
PARTS: Final[dict[str, dict[str, str]]] = {
    "Document": {
        "DocumentLines": "DocumentLine",
        "DocumentAdditionalExpenses": "DocumentAdditionalExpense",
        "DocumentReferences": "DocumentReference",
        "TaxExtension": "TaxExtension",
        "AddressExtension": "AddressExtension",
    },
    "DocumentLine": {
        "BatchNumbers": "BatchNumber",
        "SerialNumbers": "SerialNumber",
        "DocumentLinesBinAllocations": "DocumentLinesBinAllocation",
        "DocumentLineAdditionalExpenses": "DocumentLineAdditionalExpense",
    },
    "StockTransfer": {"StockTransferLines": "StockTransferLine", "DocumentReferences": "DocumentReference"},
    "StockTransferLine": {"BatchNumbers": "BatchNumber", "SerialNumbers": "SerialNumber"},
    "Item": {"ItemWarehouseInfoCollection": "ItemWarehouseInfo", "ItemPrices": "ItemPrice"},
    "BusinessPartner": {"BPAddresses": "BPAddress"},
    "VatGroup": {"VatGroups_Lines": "VatGroups_Line"},
    "UserFieldMD": {"ValidValuesMD": "ValidValueMD"},
    "UserKeysMD": {"UserKeysMD_Elements": "UserKeysMD_Element"},
}
READ_ONLY: Final[dict[str, frozenset[str]]] = {
    "Document": frozenset(
        {
            "DocEntry",
            "DocNum",
            "DocumentStatus",
            "Cancelled",
            "CancelStatus",
            "VatSum",
            "VatSumFc",
            "DocTotalSys",
            "CreationDate",
            "UpdateDate",
            "UpdateTime",
            "TransNum",
            "FinancialPeriod",
            "PeriodIndicator",
            "TotalDiscount",
            "AuthorizationStatus",
            "DocObjectCode",
            "PaidToDate",
        }
    ),
    "DocumentLine": frozenset(
        {
            "DocEntry",
            "RemainingOpenQuantity",
            "RemainingOpenInventoryQuantity",
            "OpenAmount",
            "BaseOpenQuantity",
            "NetTaxAmount",
            "UoMCode",
            "PickQuantity",
        }
    ),
    "StockTransfer": frozenset(
        {
            "DocEntry",
            "DocNum",
            "DocumentStatus",
            "CreationDate",
            "UpdateDate",
            "TransNum",
            "FinancialPeriod",
            "DocObjectCode",
            "AuthorizationStatus",
        }
    ),
    "StockTransferLine": frozenset({"DocEntry", "RemainingOpenQuantity", "RemainingOpenInventoryQuantity", "UoMCode"}),
    "Item": frozenset(
        {
            "QuantityOnStock",
            "QuantityOrderedByCustomers",
            "QuantityOrderedFromVendors",
            "CreateDate",
            "CreateTime",
            "UpdateDate",
            "UpdateTime",
            "ItemWarehouseInfoCollection",
        }
    ),
    "BusinessPartner": frozenset({"CreateDate", "UpdateDate", "UpdateTime", "CurrentAccountBalance"}),
}
# Column lengths of 10.0 in UTF-16 units; too long is refused, not cut (field notes). The code of that refusal is not
# public.
LENGTHS: Final[dict[str, dict[str, int]]] = {
    "Document": {"Comments": 254, "JournalMemo": 50, "NumAtCard": 100, "TrackingNumber": 30, "CardName": 100},
    "DocumentLine": {"FreeText": 100, "ItemDescription": 200, "ItemCode": 50},
    "StockTransfer": {"Comments": 254, "JournalMemo": 50},
    "StockTransferLine": {"ItemDescription": 200, "ItemCode": 50},
    "BatchNumber": {"BatchNumber": 36},
    "SerialNumber": {"InternalSerialNumber": 36},
    "DocumentReference": {"Remark": 100},
    "DocumentAdditionalExpense": {"Remarks": 50},
    "BusinessPartner": {"CardCode": 15, "CardName": 100, "EmailAddress": 100},
    "BPAddress": {"AddressName": 50, "Street": 100, "City": 100, "ZipCode": 20, "Country": 3, "State": 3},
    "AddressExtension": {
        f"{kind}To{part}": size
        for kind in ("Ship", "Bill")
        for part, size in (("Street", 100), ("City", 100), ("ZipCode", 20), ("Country", 3), ("State", 3))
    },
    "UserTablesMD": {"TableName": 19, "TableDescription": 30},
    "UserFieldMD": {"Name": 18, "Description": 80},
}
DOCUMENT_DATES: Final = frozenset(
    {"DocDate", "DocDueDate", "TaxDate", "DueDate", "SpecifiedClosingDate", "ClosingDate"}
)
# What may still change on a posted or closed document, besides user fields.
ALWAYS_OPEN: Final = frozenset({"Comments", "JournalMemo", "NumAtCard", "TrackingNumber", "OpeningRemarks"})
INDEXED: Final = frozenset({"NumAtCard", "CardCode"})
CLAIM_TABLE: Final = "U_STREAMS_CLAIM"


@functools.cache
def property_names() -> dict[str, frozenset[str]]:
    text = Path(__file__).with_name("b1_properties.json").read_text(encoding="utf-8")
    return {name: frozenset(properties) for name, properties in json.loads(text).items()}

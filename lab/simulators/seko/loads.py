"""What the hub takes: web orders and product masters, as strict as SEKO's field lists.

Lengths, mandatory fields and wording are those of the wiki's pages "Load Web Sales Orders", "Load Product Masters" and
"Response codes" (read 2026-11-21). What the lists do not name is refused: SEKO may ignore it, and a client must not
depend on that.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

Row: TypeAlias = dict[str, Any]

_TEXTS: Final[Mapping[str, int]] = {
    "SalesOrderNumber": 50,
    "SalesOrderReference": 50,
    "SalesInvoiceNumber": 100,
    "ProductCode": 100,
    "ProductDescription": 200,
    "EAN": 50,
    "LotNo": 100,
    "GUID": 100,
    "Channel": 100,
    "CourierName": 100,
    "CourierService": 100,
    "Notes": 4000,
    "SpecialInstructions": 400,
    "GiftMessage": 500,
    **dict.fromkeys(("FirstName", "LastName", "City", "County"), 50),
    **dict.fromkeys(("Line1", "Line2", "Line3", "Line4"), 100),
    **dict.fromkeys(("PostcodeZip", "PhoneNumber"), 20),
    "EmailAddress": 150,
    "CountryCode": 2,
}
_ORDER: Final = (
    *("SalesOrderNumber", "SalesOrderReference", "SalesInvoiceNumber", "SalesOrderDate", "OrderType", "CurrencyCode"),
    *("SubTotal", "TaxTotal", "ShippingTotal", "ShippingExVAT", "ShippingVAT", "DiscountPriceTotal", "CourierName"),
    *("CourierService", "OnHold", "DoNotPushToDC", "GiftWrap", "GUID", "Channel", "Notes", "SpecialInstructions"),
    "GiftMessage",
)
_ADDRESS: Final = (
    *("FirstName", "LastName", "Line1", "Line2", "Line3", "Line4", "City", "County", "PostcodeZip", "CountryCode"),
    *("PhoneNumber", "EmailAddress"),
)
_LINE: Final = (
    *("LineNumber", "ProductCode", "Quantity", "UnitPrice", "UnitDiscountPrice", "VAT", "CurrencyCode", "LotNo", "EAN"),
    *("GUID", "CustomsValue"),
)
_PRODUCT: Final = (
    *("ProductCode", "ProductDescription", "EAN", "HTSCode", "GrossWeight", "GrossWeightUOM", "CountryOfOrigin"),
    *("LotControlled", "DateControlled", "SerialNumberControlled", "Hazardous", "UnitPrice", "Currency"),
)
#: What an update cannot change.
_FIXED: Final = ("LotControlled", "DateControlled", "SerialNumberControlled")


def body_of(content: bytes) -> Row:
    """A call's body, with or without the root of v1.

    Raises:
        ValueError: It is no JSON, or has a raw quote mark in a text, which has broken the hub's parser.
    """
    try:
        given = json.loads(content)
    except ValueError:
        given = None
    found = given.get("Request", given) if isinstance(given, dict) else None
    if isinstance(found, dict) and '\\"' not in content.decode():
        return found
    raise ValueError("The JSON cannot be processed.")


def check_order(given: Row) -> None:
    """Raises ValueError with every fault of a field, as the hub joins them; business rules are the warehouse's."""
    faults: list[str] = []
    _only(given, ("WebSalesOrder", "SalesOrderHeader", "DeliveryDetails", "BillingDetails", "List"), faults)
    order = _table(given, "WebSalesOrder", faults)
    _fields(order, _ORDER, ("SalesOrderNumber",), faults)
    if "SalesOrderDate" in order and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", str(order["SalesOrderDate"])):
        faults.append("The SalesOrderDate field is not a date.")
    _fields(_table(given, "SalesOrderHeader", faults), ("DCCode",), ("DCCode",), faults)
    address = _table(given, "DeliveryDetails", faults)
    _fields(address, _ADDRESS, ("City", "CountryCode", "Line1"), faults)
    if "BillingDetails" in given:
        _fields(_table(given, "BillingDetails", faults), _ADDRESS, (), faults)
    rows = _table(given, "List", faults).get("SalesOrderLineItem")
    if not isinstance(rows, list) or not rows:
        faults.append("The SalesOrderLineItem field is required.")
        rows = []
    for row in rows:
        _fields(row, _LINE, ("LineNumber", "ProductCode", "Quantity"), faults)
        faults += [
            f"The {name} field must be an integer." for name in ("LineNumber", "Quantity") if not _is_int(row, name)
        ]
    _raise(faults)


class ProductCatalogue:
    """The client's products by code, case-folded: SEKO compares so."""

    def __init__(self) -> None:
        self.records: dict[str, Row] = {}

    def submit(self, given: Row) -> None:
        """Raises ValueError as the hub would say it."""
        _check_product(given)
        record: Row = given["ProductMaster"]
        code, ean = record["ProductCode"], record.get("EAN")
        if code.casefold() in self.records:
            raise ValueError(f"Error Submitting Product: {code} - Error. Product Code already exists.")
        if ean and any(each.get("EAN") == ean for each in self.records.values()):
            raise ValueError(f"Error Submitting Product: {code} - Error. EAN is another product's.")
        self.records[code.casefold()] = dict(record)

    def update(self, given: Row) -> None:
        """A field that is left out is cleared; raises ValueError as the hub would say it."""
        _check_product(given)
        record: Row = given["ProductMaster"]
        code = record["ProductCode"]
        known = self.records.get(code.casefold())
        if known is None:
            raise ValueError(f"Error Updating Product: {code} - Error. Product {code} does not exist.")
        if any(bool(known.get(name)) != bool(record.get(name)) for name in _FIXED):
            raise ValueError(f"Error Updating Product: {code} - Error. Its controls cannot be changed.")
        self.records[code.casefold()] = dict(record)


def _check_product(given: Row) -> None:
    """Raises ValueError with every fault of a field."""
    faults: list[str] = []
    _only(given, ("ProductMaster", "List"), faults)
    product = _table(given, "ProductMaster", faults)
    _fields(product, _PRODUCT, ("ProductCode", "ProductDescription", "GrossWeight", "GrossWeightUOM"), faults)
    if product.get("GrossWeightUOM") not in (None, "KG", "LB"):
        faults.append("The GrossWeightUOM field must be KG or LB.")
    if not str(product.get("HTSCode") or "0").isdigit():
        faults.append("The HTSCode field must be digits.")
    _raise(faults)


def _table(given: Mapping[str, Any], name: str, faults: list[str]) -> Row:
    found = given.get(name)
    if isinstance(found, dict):
        return found
    faults.append(f"The {name} field is required.")
    return {}


def _fields(row: Any, known: Iterable[str], needed: Iterable[str], faults: list[str]) -> None:
    if not isinstance(row, dict):
        faults.append("The JSON cannot be processed.")
        return
    _only(row, known, faults)
    faults += [f"The {name} field is required." for name in needed if row.get(name) in (None, "")]
    for name, longest in _TEXTS.items():
        value = row.get(name)
        if value is not None and not isinstance(value, str):
            faults.append(f"The {name} field must be a string.")
        elif isinstance(value, str) and len(value) > longest:
            faults.append(f"The field {name} must be a string with a maximum length of {longest}.")


def _only(row: Mapping[str, Any], known: Iterable[str], faults: list[str]) -> None:
    faults += [f"The {name} field is not known." for name in sorted(row.keys() - set(known))]


def _is_int(row: Any, name: str) -> bool:
    return isinstance(row, dict) and type(row.get(name)) is int


def _raise(faults: list[str]) -> None:
    if faults:
        raise ValueError("; ".join(dict.fromkeys(faults)))

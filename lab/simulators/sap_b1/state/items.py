"""Items, warehouses, quantities and accounts of document lines."""

from collections.abc import Mapping
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from lab.simulators.sap_b1.state.database import Database
from lab.simulators.sap_b1.state.messages import Json, RefusedError
from lab.simulators.sap_b1.state.values import column, day_stamp, read_number


def _is_active(item: Json, day: date) -> bool:
    """Valid and not frozen on a day; the windows narrow the flags."""
    stamp = day_stamp(day)
    if item["Valid"] != "tYES" or not _within(stamp, item["ValidFrom"], item["ValidTo"]):
        return False
    return not (item["Frozen"] == "tYES" and _within(stamp, item["FrozenFrom"], item["FrozenTo"]))


def _within(stamp: str, start: str | None, end: str | None) -> bool:
    return (start is None or start[:10] <= stamp[:10]) and (end is None or stamp[:10] <= end[:10])


def find_item(db: Database, code: object, where: str, number: int, day: date) -> Json:
    item = db.masters["Items"].get(code) if isinstance(code, str) else None
    if item is None:
        raise RefusedError(-2028, f"No matching records found (ODBC -2028){column(where, 'ItemCode', number)}")
    if not _is_active(item, day):
        if db.rules.inactive_code == -5002:
            raise RefusedError(-5002, f"Invalid Item '{code}'{column(where, 'ItemCode', number)}")
        text = f"10001069 - Item '{code}' is inactive{column(where, 'ItemCode', number)}"
        raise RefusedError(db.rules.inactive_code, text)
    return item


def find_warehouse(db: Database, code: object, where: str, number: int, name: str = "WarehouseCode") -> str:
    row = db.masters["Warehouses"].get(code) if isinstance(code, str) else None
    if row is None or not isinstance(code, str):
        raise RefusedError(-2028, f"No matching records found (ODBC -2028){column(where, name, number)}")
    if row["Inactive"] == "tYES":
        raise RefusedError(-10, f"Warehouse '{code}' is inactive{column(where, name, number)}")
    return code


def read_quantity(db: Database, sent: Mapping[str, Any], default: Decimal, where: str, number: int) -> Decimal:
    value = sent.get("Quantity")
    quantity = default if value is None else read_number(value, "Quantity")
    rounded = quantity.quantize(Decimal(1).scaleb(-db.rules.quantity_decimals), ROUND_HALF_UP)
    if rounded <= 0:
        raise RefusedError(-10, f"Quantity must be greater than zero{column(where, 'Quantity', number)}")
    return quantity if rounded == quantity else rounded


def check_account(db: Database, code: object, where: str, number: int) -> None:
    if code is not None and code not in db.masters["ChartOfAccounts"]:
        raise RefusedError(-5002, f"G/L account code undefined{column(where, 'AccountCode', number)}")

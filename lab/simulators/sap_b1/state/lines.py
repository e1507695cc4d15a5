"""Lines of documents."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from lab.simulators.sap_b1.state.base_documents import draw, find_base
from lab.simulators.sap_b1.state.database import Database
from lab.simulators.sap_b1.state.items import check_account, find_item, find_warehouse, read_quantity
from lab.simulators.sap_b1.state.kinds import DocumentKind
from lab.simulators.sap_b1.state.messages import Json, RefusedError
from lab.simulators.sap_b1.state.stock import commit, move, read_lots
from lab.simulators.sap_b1.state.values import column


def item_line(
    db: Database, kind: DocumentKind, document: Json, sent: Mapping[str, Any], number: int, day: date
) -> Json:
    where = kind.table + "1"
    line = db.with_defaults("DocumentLine", sent)
    base = find_base(db, kind, document, sent, number) if kind.bases else None
    origin = base[2] if base else None
    code = sent.get("ItemCode")
    if origin is not None:
        if code is not None and code != origin.get("ItemCode"):
            text = f"Target item number does not match base item number{column(where, 'ItemCode', number)}"
            raise RefusedError(-5002, text)
        code = origin.get("ItemCode")
    item = find_item(db, code, where, number, day)
    if kind.partner and item["SalesItem"] != "tYES":
        raise RefusedError(-10, f"Item '{code}' is not a sales item{column(where, 'ItemCode', number)}")
    if not kind.partner and item["InventoryItem"] != "tYES":
        raise RefusedError(-10, f"Item is not defined as an inventory item{column(where, 'ItemCode', number)}")
    quantity = read_quantity(db, sent, origin["RemainingOpenQuantity"] if origin else Decimal(1), where, number)
    default = origin["WarehouseCode"] if origin else item["DefaultWarehouse"]
    warehouse = find_warehouse(db, sent.get("WarehouseCode") or default, where, number)
    check_account(db, sent.get("AccountCode"), where, number)
    line["LineNum"] = number
    line["ItemCode"] = code
    line["ItemDescription"] = sent.get("ItemDescription") or item.get("ItemName")
    line["Quantity"] = line["InventoryQuantity"] = line["RemainingOpenQuantity"] = quantity
    line["WarehouseCode"] = warehouse
    line["LineStatus"] = "bost_Close" if kind.number in (59, 60) else "bost_Open"
    line["DocEntry"] = document["DocEntry"]
    if base is not None:
        draw(db, kind, base, quantity, number)
    else:
        line["BaseType"], line["BaseEntry"], line["BaseLine"] = -1, None, None
    still = (base is not None and kind.number == 13 and base[0].number == 15) or (
        kind.number == 14 and sent.get("WithoutInventoryMovement") == "tYES"
    )
    if kind.number == 17:
        commit(db, line, quantity)
        if db.rules.batches_on_orders and item["InventoryItem"] == "tYES":
            read_lots(db, item, sent, quantity, number, where, inward=False)
    elif item["TreeType"] == "iSalesTree" and not still:
        # A kit has no stock; its components do, and are lines of their own (public note)
        raise RefusedError(-10, f"Quantity falls into negative inventory{column(where, 'ItemCode', number)}")
    elif item["InventoryItem"] == "tYES" and not still:
        move(db, kind, document, item, warehouse, quantity, sent, number, inward=kind.sign > 0)
    return line


def service_line(db: Database, kind: DocumentKind, document: Json, sent: Mapping[str, Any], number: int) -> Json:
    where = kind.table + "1"
    if sent.get("ItemCode") is not None or sent.get("Quantity") not in (None, 1, "1"):
        raise RefusedError(-5002, f"A service line has no item{column(where, 'ItemCode', number)}")
    base = find_base(db, kind, document, sent, number) if kind.bases else None
    account = sent.get("AccountCode") or (base[2].get("AccountCode") if base else None)
    if account is None:
        raise RefusedError(-5002, f"G/L account missing{column(where, 'AccountCode', number)}")
    check_account(db, account, where, number)
    line = db.with_defaults("DocumentLine", sent)
    line.update(
        LineNum=number,
        AccountCode=account,
        Quantity=Decimal(1),
        RemainingOpenQuantity=Decimal(1),
        LineStatus="bost_Open",
        DocEntry=document["DocEntry"],
        ItemCode=None,
        WarehouseCode=None,
    )
    if base is not None:
        draw(db, kind, base, Decimal(1), number)
    return line


def transfer_line(db: Database, kind: DocumentKind, document: Json, sent: Mapping[str, Any], number: int) -> Json:
    where = "WTR1"
    day = date.fromisoformat(document["DocDate"][:10])
    item = find_item(db, sent.get("ItemCode"), where, number, day)
    if item["InventoryItem"] != "tYES":
        raise RefusedError(-10, f"Item is not defined as an inventory item{column(where, 'ItemCode', number)}")
    given = sent.get("FromWarehouseCode") or document.get("FromWarehouse")
    giver = find_warehouse(db, given, where, number, "FromWarehouseCode")
    taker = find_warehouse(db, sent.get("WarehouseCode") or document.get("ToWarehouse"), where, number)
    if giver == taker:
        raise RefusedError(-10, f"Warehouses must differ{column(where, 'WarehouseCode', number)}")
    quantity = read_quantity(db, sent, Decimal(1), where, number)
    line = db.with_defaults("StockTransferLine", sent)
    line.update(
        LineNum=number,
        Quantity=quantity,
        InventoryQuantity=quantity,
        FromWarehouseCode=giver,
        WarehouseCode=taker,
        LineStatus="bost_Close",
        DocEntry=document["DocEntry"],
        ItemDescription=sent.get("ItemDescription") or item.get("ItemName"),
    )
    move(db, kind, document, item, giver, quantity, sent, number, inward=False)
    move(db, kind, document, item, taker, quantity, sent, number, inward=True)
    return line

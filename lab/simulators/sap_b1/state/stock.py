"""Stock levels, batch and serial numbers, committed quantities, movements."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from lab.simulators.sap_b1.state.database import Database
from lab.simulators.sap_b1.state.kinds import DocumentKind
from lab.simulators.sap_b1.state.messages import Json, RefusedError
from lab.simulators.sap_b1.state.values import ZERO, column, read_number


def commit(db: Database, line: Json, quantity: Decimal) -> None:
    code = line.get("ItemCode")
    if code and db.masters["Items"][code]["InventoryItem"] == "tYES":
        key = (code, line["WarehouseCode"])
        db.set(db.committed, key, db.committed.get(key, ZERO) + quantity)


def read_lots(
    db: Database, item: Json, sent: Mapping[str, Any], quantity: Decimal, number: int, where: str, *, inward: bool
) -> list[tuple[str | None, str | None, Decimal]]:
    """The batch and serial numbers of a line, checked for completeness: (batch, serial, quantity)."""
    batched, serialised = item["ManageBatchNumbers"] == "tYES", item["ManageSerialNumbers"] == "tYES"
    batches, serials = sent.get("BatchNumbers") or (), sent.get("SerialNumbers") or ()
    if not batched and not serialised:
        if batches or serials:
            text = f"Item '{item['ItemCode']}' is not managed by batch or serial numbers"
            raise RefusedError(-10, text + column(where, "ItemCode", number))
        return [(None, None, quantity)]
    if inward and item["SRIAndBatchManageMethod"] == "bomm_OnReleaseOnly" and not batches and not serials:
        return [(None, None, quantity)]
    lots: list[tuple[str | None, str | None, Decimal]] = []
    for row in batches if batched else serials:
        if row.get("BaseLineNumber") not in (None, number, str(number)):
            raise RefusedError(-10, f"BaseLineNumber is not this line{column(where, 'BaseLineNumber', number)}")
        if batched:
            lots.append((row.get("BatchNumber"), None, read_number(row.get("Quantity", 0), "Quantity")))
        else:
            name = row.get("InternalSerialNumber") or row.get("ManufacturerSerialNumber")
            lots.append((None, name, read_number(row.get("Quantity", 1), "Quantity")))
    whole = all((batch or serial) and amount > 0 for batch, serial, amount in lots)
    single = batched or (all(lot[2] == 1 for lot in lots) and len({lot[1] for lot in lots}) == len(lots))
    if not whole or not single or sum((lot[2] for lot in lots), ZERO) != quantity:
        text = f"Cannot add row without complete selection of batch/serial numbers{column(where, 'ItemCode', number)}"
        raise RefusedError(-4014, text)
    return lots


def move(
    db: Database,
    kind: DocumentKind,
    document: Json,
    item: Json,
    warehouse: str,
    quantity: Decimal,
    sent: Mapping[str, Any],
    number: int,
    *,
    inward: bool,
) -> None:
    where = kind.table + "1"
    _require_bins(db, item, warehouse, sent)
    for batch, serial, amount in read_lots(db, item, sent, quantity, number, where, inward=inward):
        book(db, kind, document, item, warehouse, amount if inward else -amount, batch, serial, number)


def _require_bins(db: Database, item: Json, warehouse: str, sent: Mapping[str, Any]) -> None:
    """Where a warehouse has bin locations, the line names them, or B1 chooses by the warehouse's own settings."""
    row = db.masters["Warehouses"].get(warehouse, {})
    chooses = any(row.get(name) not in (None, "") for name in ("DefaultBin", "AutoAllocOnIssue", "AutoAllocOnReceipt"))
    named = sent.get("DocumentLinesBinAllocations") or sent.get("StockTransferLinesBinAllocations")
    if row.get("EnableBinLocations") == "tYES" and not chooses and not named:
        text = f'1470000341 - Fully allocate item "{item["ItemCode"]}" to bin locations in warehouse "{warehouse}"'
        raise RefusedError(-10, text)


def book(
    db: Database,
    kind: DocumentKind,
    document: Json,
    item: Json,
    warehouse: str,
    change: Decimal,
    batch: str | None,
    serial: str | None,
    number: int,
) -> None:
    """One stock movement: `change` > 0 comes in, < 0 goes out."""
    code, where = item["ItemCode"], kind.table + "1"
    if (code, warehouse) in db.frozen:
        raise RefusedError(-10, f"131 - Item {code} is frozen in warehouse {warehouse}")
    if batch is not None and item["SRIAndBatchManageMethod"] != "bomm_OnReleaseOnly":
        key = (code, warehouse, batch)
        held = db.batches.get(key)
        if change < 0 and held is None:
            text = f"480000112 - Batch number '{batch}' chosen in row {number + 1} does not exist"
            raise RefusedError(-10, text + column(where, "ItemCode", number))
        after = (held or ZERO) + change
        if after < 0:
            text = f"10001153 - Insufficient quantity for item {code} with batch {batch} in warehouse {warehouse}"
            raise RefusedError(-10, text + column(where, "ItemCode", number))
        db.set(db.batches, key, after)
    if serial is not None and item["SRIAndBatchManageMethod"] != "bomm_OnReleaseOnly":
        place = db.serials.get((code, serial))
        if change < 0 and place != warehouse:
            text = f"480000112 - Serial number '{serial}' chosen in row {number + 1} does not exist"
            raise RefusedError(-10, text + column(where, "ItemCode", number))
        if change > 0 and place is not None:
            text = f"Serial number '{serial}' already exists{column(where, 'ItemCode', number)}"
            raise RefusedError(-10, text)
        db.set(db.serials, (code, serial), warehouse if change > 0 else None)
    slot = (code, warehouse)
    level = db.stock.get(slot, ZERO) + change
    if level < 0 and change < 0 and db.rules.block_negative_stock:
        raise RefusedError(-10, f"Quantity falls into negative inventory{column(where, 'ItemCode', number)}")
    db.set(db.stock, slot, level)
    db.append(
        db.movements,
        (
            code,
            warehouse,
            change,
            kind.number,
            document["DocEntry"],
            number,
            batch,
            serial,
            db.clock().isoformat(),
        ),
    )

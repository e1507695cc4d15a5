"""A netted movement of stock becomes a line of `InventoryGenEntries`, `InventoryGenExits` or `StockTransfers`.

`resolve` checks one batch and says where it goes, `merge` makes lines of those that go together (equal `group`),
`build` writes the sealed document. A sealed document is only written down: what it is was decided before it was sealed.
"""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

from connectors.base.errors import Refusal
from connectors.sap_b1.documents import DocumentPlan
from connectors.sap_b1.documents.fields import (
    Lots,
    at,
    branch_of,
    check_quantity,
    check_warehouse,
    dates,
    find_item,
    find_lots,
    given,
)
from connectors.sap_b1.mapping import CompanyMap
from connectors.sap_b1.master import Codes, MasterData
from connectors.sap_b1.service_layer import B1Request
from schemas.events import BatchQuantity
from schemas.records import DocumentLine, StockBatch, StockDocument

ENTRY, EXIT, TRANSFER = "entry", "exit", "transfer"
ENTITY_SETS = {ENTRY: "InventoryGenEntries", EXIT: "InventoryGenExits", TRANSFER: "StockTransfers"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedBatch:
    """A stock batch in B1's words. `quantity` > 0, in inventory units; `direction` says which way."""

    item_code: str
    warehouse: str
    to_warehouse: str | None
    direction: str
    posting_date: date
    account: str | None
    branch: int | None
    reason: str
    quantity: Decimal
    batches: tuple[BatchQuantity, ...] = ()
    serials: tuple[str, ...] = ()

    @property
    def group(self) -> tuple[str, date, str | None, int | None]:
        """Batches of one group may share a document: one direction, date, account and branch."""
        return self.direction, self.posting_date, self.account, self.branch

    @property
    def line(self) -> DocumentLine:
        return DocumentLine(
            item_code=self.item_code,
            warehouse=self.warehouse,
            to_warehouse=self.to_warehouse,
            reason=self.reason,
            quantity=self.quantity,
            batches=self.batches,
            serials=self.serials,
        )


def codes_needed(batch: StockBatch | StockDocument, map: CompanyMap) -> Codes:
    """What `resolve`, or `build`, looks up. Refuses nothing: what is not mapped is left for `resolve` to refuse."""
    if isinstance(batch, StockDocument):
        places = (place for line in batch.lines for place in (line.warehouse, line.to_warehouse))
        return Codes(warehouses=frozenset(place for place in places if place is not None))
    items, warehouses = set(), set()
    with contextlib.suppress(Refusal):
        items.add(map.item_code(batch.sku))
    for location in (batch.location, batch.to_location):
        with contextlib.suppress(Refusal):
            if location is not None:
                warehouses.add(map.stock_warehouse(batch.source, location))
    return Codes(frozenset(items), frozenset(warehouses))


def resolve(batch: StockBatch, map: CompanyMap, master: MasterData) -> ResolvedBatch:
    """Where a batch goes and what it moves.

    Raises:
        Refusal: Whatever of contract section 6 stands against it.
        ValueError: A net of zero, which moves nothing and is not to be posted.
    """
    if not batch.net:
        raise ValueError("a batch whose net is 0 is recorded, not posted")
    transfer = batch.reason == TRANSFER
    if transfer != (batch.to_location is not None) or (transfer and batch.net > 0):
        raise Refusal(
            "invalid_event",
            "a transfer has a to_location and a delta below 0, nothing else has a to_location; correct it and replay",
        )
    with at(f"sku {batch.sku!r} at {batch.location!r}"):
        warehouse = check_warehouse(master, map.stock_warehouse(batch.source, batch.location))
        to_warehouse = None
        if batch.to_location is not None:
            to_warehouse = check_warehouse(master, map.stock_warehouse(batch.source, batch.to_location))
            if to_warehouse == warehouse:
                raise Refusal("invalid_event", f"a transfer from {warehouse} to itself; correct to_location and replay")
        incoming = batch.net > 0
        quantity = abs(batch.net)
        item = find_item(master, map.item_code(batch.sku), batch.posting_date, sold=False)
        check_quantity(master, quantity)
        lots = find_lots(item, quantity, batch.batches, batch.serials, incoming=incoming)
        # B1 takes a transfer between branches; the document's is the giver's.
        return ResolvedBatch(
            item_code=item.code,
            warehouse=warehouse,
            to_warehouse=to_warehouse,
            direction=TRANSFER if transfer else ENTRY if incoming else EXIT,
            posting_date=batch.posting_date,
            account=None if transfer else map.account(warehouse, batch.reason),
            branch=branch_of(master, (warehouse,)),
            reason=batch.reason,
            quantity=quantity,
            batches=tuple(lots.batches),
            serials=tuple(lots.serials),
        )


def merge(resolved: Iterable[ResolvedBatch]) -> tuple[DocumentLine, ...]:
    """The lines of one document: one per item, warehouse, reason and lot, in order of first appearance.

    Raises:
        ValueError: The batches are not of one group.
    """
    lines: dict[object, DocumentLine] = {}
    groups = set()
    for batch in resolved:
        groups.add(batch.group)
        numbers = tuple(lot.number for lot in batch.batches)
        # Units with serial numbers are each their own; they share the line of their item.
        key = (batch.item_code, batch.warehouse, batch.to_warehouse, batch.reason, numbers, bool(batch.serials))
        other = lines.get(key)
        if other is None:
            lines[key] = batch.line
            continue
        lots = tuple(
            BatchQuantity(number=a.number, quantity=a.quantity + b.quantity, expires_on=a.expires_on or b.expires_on)
            for a, b in zip(other.batches, batch.batches, strict=True)
        )
        lines[key] = replace(
            other, quantity=other.quantity + batch.quantity, batches=lots, serials=(*other.serials, *batch.serials)
        )
    if len(groups) > 1:
        raise ValueError("a document never mixes directions, posting dates, accounts or branches")
    return tuple(lines.values())


def build(document: StockDocument, map: CompanyMap, master: MasterData) -> DocumentPlan:
    """The document, as it was sealed. Receipts carry no price: B1's cost setting decides.

    Raises:
        Refusal: `erp_refused`: its warehouses were moved to different branches since it was sealed.
    """
    transfer = document.direction == TRANSFER
    branch = branch_of(master, (line.warehouse for line in document.lines))
    dated = dates(document.posting_date)
    if transfer:
        dated["DueDate"] = dated.pop("DocDueDate")
    rows = [_row(line, position, document) for position, line in enumerate(document.lines)]
    body: dict[str, Any] = {
        **dated,
        **given(**{"BPLID" if transfer else "BPL_IDAssignedToInvoice": branch}),
        "U_STREAMS_KEY": document.k,
        "StockTransferLines" if transfer else "DocumentLines": rows,
    }
    if transfer:
        body |= {"FromWarehouse": document.lines[0].warehouse, "ToWarehouse": document.lines[0].to_warehouse}
    return DocumentPlan(
        requests=(B1Request("POST", ENTITY_SETS[document.direction], body),),
        items=frozenset(line.item_code for line in document.lines),
    )


def _row(line: DocumentLine, position: int, document: StockDocument) -> dict[str, Any]:
    lots = Lots(list(line.batches), list(line.serials)).fields(position, incoming=document.direction == ENTRY)
    row: dict[str, Any] = {"ItemCode": line.item_code, "Quantity": line.quantity}
    if document.direction == TRANSFER:
        return row | {"FromWarehouseCode": line.warehouse, "WarehouseCode": line.to_warehouse} | lots
    row |= {"WarehouseCode": line.warehouse, "FreeText": line.reason}
    return row | given(AccountCode=document.account) | lots

"""The kinds of document that the simulator knows, as one table."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class DocumentKind:
    entity: str
    number: int
    enum: str
    table: str
    sign: int
    bases: frozenset[int] = frozenset()
    partner: bool = True
    transfer: bool = False

    @property
    def type_name(self) -> str:
        return "StockTransfer" if self.transfer else "Document"

    @property
    def lines(self) -> str:
        return "StockTransferLines" if self.transfer else "DocumentLines"


KINDS: Final = {
    kind.entity: kind
    for kind in (
        DocumentKind("Orders", 17, "oOrders", "RDR", 0),
        DocumentKind("DeliveryNotes", 15, "oDeliveryNotes", "DLN", -1, frozenset({17})),
        DocumentKind("Invoices", 13, "oInvoices", "INV", -1, frozenset({17, 15})),
        DocumentKind("CreditNotes", 14, "oCreditNotes", "RIN", 1, frozenset({13, 15})),
        DocumentKind("InventoryGenEntries", 59, "oInventoryGenEntry", "IGN", 1, partner=False),
        DocumentKind("InventoryGenExits", 60, "oInventoryGenExit", "IGE", -1, partner=False),
        DocumentKind("StockTransfers", 67, "oStockTransfer", "WTR", 0, partner=False, transfer=True),
    )
}
KIND_BY_NUMBER: Final = {kind.number: kind for kind in KINDS.values()}
KIND_BY_ENUM: Final = {kind.enum: kind for kind in KINDS.values()} | {str(k.number): k for k in KINDS.values()}
REFERENCE_TYPES: Final = {
    "rot_SalesInvoice": 13,
    "rot_SalesCreditNote": 14,
    "rot_DeliveryNotes": 15,
    "rot_SalesOrder": 17,
    "rot_GoodsReceipt": 59,
    "rot_GoodsIssue": 60,
    "rot_InventoryTransfer": 67,
}

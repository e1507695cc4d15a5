"""The invoice of a dispatch (`Invoices`), drawn from its delivery; an order's first one carries its freight."""

from typing import Any

from connectors.base.errors import Refusal
from connectors.base.money import part
from connectors.sap_b1.documents import DocumentPlan
from connectors.sap_b1.documents.fields import branch_of, given, order_header
from connectors.sap_b1.documents.order_cancelled import order_not_found
from connectors.sap_b1.mapping import CompanyMap
from connectors.sap_b1.master import Codes, MasterData
from connectors.sap_b1.order import DELIVERY, DocumentView, FreightView, LineView, OrderView, Taken
from connectors.sap_b1.service_layer import B1Request
from schemas.events import DispatchConfirmed


def codes_needed(event: DispatchConfirmed, map: CompanyMap, order: OrderView | None = None) -> Codes:
    """The warehouses of the order's deliveries: they decide the branch."""
    documents = order.deliveries if order else ()
    return Codes(warehouses=frozenset(line.warehouse for d in documents for line in d.lines if line.warehouse))


def build(
    event: DispatchConfirmed,
    k: str,
    order_k: str,
    map: CompanyMap,
    master: MasterData,
    order: OrderView | None,
    *,
    delivery_k: str,
) -> DocumentPlan:
    """The invoice of the delivery with K `delivery_k`; its date is the dispatch's. It moves no stock.

    Raises:
        Refusal: `order_not_found`; `erp_refused` when the delivery no longer stands.
    """
    if order is None:
        raise order_not_found(event.order_id, order_k)
    delivery = next((d for d in order.deliveries if d.k == delivery_k), None)
    if delivery is None:
        raise Refusal(
            "erp_refused",
            f"shipment {event.shipment_id!r}: its delivery was cancelled in B1, there is nothing to invoice; discard "
            f"it, or invoice by hand",
        )
    currency = order.currency or map.settings.currency
    lines = [_line(order, delivery, line, currency) for line in delivery.lines if line.open and not delivery.closed]
    if not lines:
        return DocumentPlan(no_op="the delivery is already invoiced in B1")
    header = {
        **order_header(map, order, k, map.posting_date(event.occurred_at)),
        **given(BPL_IDAssignedToInvoice=branch_of(master, (w for line in lines if (w := line.get("WarehouseCode"))))),
        "DocumentLines": lines,
    }
    if order.freight and not any(invoice.freight for invoice in order.invoices):
        header["DocumentAdditionalExpenses"] = [_freight(freight, map) for freight in order.freight]
    return DocumentPlan(requests=(B1Request("POST", "Invoices", header),))


def _line(order: OrderView, delivery: DocumentView, line: LineView, currency: str) -> dict[str, Any]:
    earlier = Taken()  # what somebody invoiced by hand
    for invoice in order.invoices:
        for drawn in invoice.lines:
            if (drawn.base_type, drawn.base_entry, drawn.base_line) == (DELIVERY, delivery.doc_entry, line.line_num):
                earlier = earlier.plus(drawn)
    reached = line.quantity if line.open + earlier.quantity >= line.quantity else line.open + earlier.quantity
    return {
        "BaseType": DELIVERY,
        "BaseEntry": delivery.doc_entry,
        "BaseLine": line.line_num,
        **given(
            ItemCode=line.item_code,
            Quantity=line.open,
            LineTotal=part(line.net, reached, line.quantity, earlier.net, currency),
            TaxTotal=None if line.tax is None else part(line.tax, reached, line.quantity, earlier.tax, currency),
            WarehouseCode=line.warehouse,
            U_STREAMS_LINE=line.line_id,
        ),
    }


def _freight(freight: FreightView, map: CompanyMap) -> dict[str, Any]:
    row = given(ExpenseCode=freight.code, LineTotal=freight.net, TaxSum=freight.tax)
    return row | ({map.settings.tax.field: freight.tax_code} if freight.tax_code else {})

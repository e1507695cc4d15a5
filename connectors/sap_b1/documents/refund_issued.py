"""`refund_issued` becomes a credit memo (`CreditNotes`), drawn from the order's invoices where they are open."""

import contextlib
from collections.abc import Sequence
from typing import Any

from connectors.base.errors import Refusal
from connectors.sap_b1.documents import DocumentPlan
from connectors.sap_b1.documents.fields import (
    MAX_COMMENTS,
    at,
    branch_of,
    check_identity,
    comments,
    cut,
    dates,
    find_tax_code,
    foreign_currency,
    given,
)
from connectors.sap_b1.documents.order_cancelled import order_not_found
from connectors.sap_b1.documents.order_placed import customer_codes, find_card
from connectors.sap_b1.documents.refund_amounts import RefundAmounts, refund_amounts
from connectors.sap_b1.documents.refund_lines import (
    CreditLine,
    check_never_invoiced,
    creditable_documents,
    credits_of_order,
    credits_without_order,
)
from connectors.sap_b1.mapping import CompanyMap
from connectors.sap_b1.master import Codes, MasterData
from connectors.sap_b1.order import BASE_TYPES, DocumentView, OrderView
from connectors.sap_b1.service_layer import B1Request
from schemas.events import RefundIssued

_REFERENCES = {"Invoices": "rot_SalesInvoice", "DeliveryNotes": "rot_DeliveryNotes", "Orders": "rot_SalesOrder"}


def codes_needed(event: RefundIssued, map: CompanyMap, order: OrderView | None = None) -> Codes:
    """What `build` looks up, the warehouses of the order's documents included. Refuses nothing."""
    items, warehouses, taxes = set(), set(), set()
    for line in event.lines:
        with contextlib.suppress(Refusal):
            items.add(map.item_code(line.sku))
        with contextlib.suppress(Refusal):
            warehouses.add(map.line_warehouse(event.source, line.location))
    named = [*(line.tax_code for line in event.lines), event.adjustment.tax_code if event.adjustment else None, None]
    for code in named:
        with contextlib.suppress(Refusal):
            taxes.add(map.tax_code(code))
    codes = Codes(frozenset(items), frozenset(warehouses), frozenset(taxes))
    if order is None:
        return codes | customer_codes(None, event.source, map)
    documents = (*order.deliveries, *order.invoices)
    return codes | Codes(warehouses=frozenset(line.warehouse for d in documents for line in d.lines if line.warehouse))


def needs_invoices(map: CompanyMap, order: OrderView | None) -> bool:
    """Whether `order.invoice_query` is to be asked before `build`: where people make the invoices."""
    return order is not None and map.settings.invoices.on == "never"


def build(
    event: RefundIssued,
    k: str,
    order_k: str | None,
    map: CompanyMap,
    master: MasterData,
    order: OrderView | None = None,
    *,
    found: Sequence[DocumentView] = (),
) -> DocumentPlan:
    """The credit memo.

    Args:
        event: What the customer got back.
        k: Its K.
        order_k: The order's K; None when the event names no order.
        map: The configuration.
        master: What `codes_needed` asked for.
        order: The order; None when B1 has none.
        found: Invoices by `order.invoice_query`, where `needs_invoices` says so.

    Raises:
        Refusal: `order_not_found` (waits for `order_k`; without an order id it waits for nothing and is dead),
            `invoice_not_found` (waits for `invoice:<order_k>`), `over_credited`, `total_mismatch`, or whatever else of
            contract section 6.
    """
    check_identity("refund_id", event.refund_id)
    if not event.lines and event.shipping is None and event.adjustment is None:
        raise Refusal(
            "invalid_event", "the refund has neither lines nor shipping nor adjustment; send what was refunded"
        )
    if event.order_id is None and map.settings.refunds.without_order == "refuse":
        raise Refusal(
            "order_not_found",
            f"the refund names no order; add order_id and replay, or set companies.{map.company}.refunds.without_order "
            f"to post",
        )
    if event.order_id is not None and order is None:
        raise order_not_found(event.order_id, order_k or "")
    if order is not None and order.currency and order.currency != event.currency:
        raise Refusal(
            "invalid_event",
            f"the refund is in {event.currency} and its order in {order.currency}; send it in the order's currency",
        )
    money = refund_amounts(event)
    if order is None:
        credits = credits_without_order(event, money, map, master)
        card, before = find_card(None, event.source, map, master)
        return _plan(event, k, None, card, before, credits, money, [], map, master)
    documents = creditable_documents(order, found, map)
    if not documents:
        check_never_invoiced(event, order, map)
        return DocumentPlan(no_op="cancelled and never invoiced")
    credits = credits_of_order(event, money, order, documents, map, master)
    if not credits and not (money.shipping or money.adjustment):
        return DocumentPlan(no_op="cancelled and never invoiced")
    return _plan(
        event, k, order, documents[0].card_code or order.card_code or "", (), credits, money, documents, map, master
    )


def _plan(
    event: RefundIssued,
    k: str,
    order: OrderView | None,
    card: str,
    before: tuple[B1Request, ...],
    credits: Sequence[CreditLine],
    money: RefundAmounts,
    documents: Sequence[DocumentView],
    map: CompanyMap,
    master: MasterData,
) -> DocumentPlan:
    referred: dict[tuple[str, int], DocumentView] = {}
    lines: list[dict[str, Any]] = []
    for position, credit in enumerate(credits):
        lines.append(_line(credit, position, map, master))
        if credit.basis is not None and "BaseType" not in lines[-1]:
            referred[credit.basis.document.object, credit.basis.document.doc_entry] = credit.basis.document
    if not credits and documents:
        referred[documents[0].object, documents[0].doc_entry] = documents[0]
    header: dict[str, Any] = {
        **given(
            CardCode=card,
            NumAtCard=event.refund_id,
            DocCurrency=foreign_currency(map, event.currency),
            BPL_IDAssignedToInvoice=branch_of(
                master, {credit.warehouse for credit in credits} or _warehouses(documents)
            ),
            AddressExtension=(dict(order.address) or None) if order else None,
            Comments=comments(_about(event, order, list(referred.values())), cut(event.reason, MAX_COMMENTS)),
        ),
        **dates(map.posting_date(event.occurred_at)),
        "U_STREAMS_KEY": k,
        **({"U_STREAMS_ORDER": order.k} if order else {}),
        "DocumentLines": lines,
    }
    if referred:
        header["DocumentReferences"] = [
            {"RefObjType": _REFERENCES[name], "RefDocEntr": entry} for name, entry in referred
        ]
    extras = _extras(event, money, map, master, _shipping_code(order, credits), as_lines=not lines)
    if lines and extras:
        header["DocumentAdditionalExpenses"] = extras
    elif not lines:
        header |= {"DocType": "dDocument_Service", "DocumentLines": extras}
    return DocumentPlan(
        requests=(B1Request("POST", "CreditNotes", header),),
        before=before,
        items=frozenset(credit.item.code for credit in credits if credit.restock),
    )


def _line(credit: CreditLine, position: int, map: CompanyMap, master: MasterData) -> dict[str, Any]:
    basis = credit.basis
    row: dict[str, Any] = {}
    tax_code = credit.tax_code
    if basis is not None and not basis.document.closed and basis.line.open >= credit.quantity:
        row = {
            "BaseType": BASE_TYPES[basis.document.object],
            "BaseEntry": basis.document.doc_entry,
            "BaseLine": basis.line.line_num,
        }
    elif tax_code is None:
        tax_code = (basis.line.tax_code if basis else None) or find_tax_code(map, master, None).code
    row |= given(
        ItemCode=credit.item.code,
        Quantity=credit.quantity,
        LineTotal=credit.net,
        TaxTotal=credit.tax,
        WarehouseCode=credit.warehouse,
        U_STREAMS_LINE=basis.line_id if basis else None,
    )
    if tax_code is not None:
        row[map.settings.tax.field] = tax_code
    if not credit.restock:
        row["WithoutInventoryMovement"] = "tYES"
    return row | credit.lots.fields(position, incoming=True)


def _shipping_code(order: OrderView | None, credits: Sequence[CreditLine]) -> str | None:
    """B1's code for shipping that is paid back: that of the order's freight, else of the goods; None: not one of them.

    A refund names none, and the company's default may be of another rate.
    """
    freight = {each.tax_code for each in order.freight} if order else set[str | None]()
    goods = {each.tax_code or (each.basis.line.tax_code if each.basis else None) for each in credits}
    return next((next(iter(codes)) for codes in (freight, goods) if len(codes) == 1), None)


def _extras(
    event: RefundIssued,
    money: RefundAmounts,
    map: CompanyMap,
    master: MasterData,
    shipping_code: str | None,
    *,
    as_lines: bool,
) -> list[dict[str, Any]]:
    """Shipping and goodwill: additional expenses of a document with lines, else the lines of a service document."""
    settings, rows = map.settings, []
    code = event.adjustment.tax_code if event.adjustment else None
    for name, amounts, tax_code, expense, key in (
        ("Shipping", money.shipping, None, settings.freight.expense_code, "freight.expense_code"),
        (
            "Adjustment",
            money.adjustment,
            code,
            settings.refunds.adjustment_expense_code,
            "refunds.adjustment_expense_code",
        ),
    ):
        if amounts is None:
            continue
        net, tax = amounts
        with at(name.lower()):
            account = settings.refunds.adjustment_account
            target = account if as_lines else expense
            if target is None:
                missing = "refunds.adjustment_account" if as_lines else key
                raise Refusal("erp_refused", f"its amount has no place in B1; set companies.{map.company}.{missing}")
            if as_lines and net < 0:
                raise Refusal("invalid_event", "a refund of less than nothing; correct the amount and replay")
            row = (
                given(AccountCode=account, ItemDescription=name, LineTotal=net, TaxTotal=tax)
                if as_lines
                else given(ExpenseCode=expense, LineTotal=net, TaxSum=tax)
            )
            known = shipping_code if name == "Shipping" else None
            rows.append(row | {settings.tax.field: known or find_tax_code(map, master, tax_code).code})
    return rows


def _about(event: RefundIssued, order: OrderView | None, referred: Sequence[DocumentView]) -> str:
    if order is None:
        return f"Refund of order {event.order_id}" if event.order_id else "Refund without an order"
    names = {"Invoices": "invoice", "DeliveryNotes": "delivery"}
    to = ", ".join(f"{names[document.object]} {document.doc_num}" for document in referred)
    return f"Refund of order {order.number}" + (f", {to}" if to else "")


def _warehouses(documents: Sequence[DocumentView]) -> set[str]:
    """Of the first document: a service document has no warehouse of its own and still belongs to a branch."""
    return {line.warehouse for document in documents[:1] for line in document.lines if line.warehouse}

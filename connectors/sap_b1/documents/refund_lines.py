"""Which lines of which documents a refund credits, and whether goods that are not invoiced may still be."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from connectors.base.errors import Refusal
from connectors.base.money import ZERO, split
from connectors.sap_b1.documents.allocation import OpenLine, Want, check_line, fill
from connectors.sap_b1.documents.fields import (
    Lots,
    at,
    check_quantity,
    check_warehouse,
    find_item,
    find_lots,
    find_tax_code,
    line_at,
)
from connectors.sap_b1.documents.refund_amounts import RefundAmounts
from connectors.sap_b1.mapping import CompanyMap
from connectors.sap_b1.master import Item, MasterData
from connectors.sap_b1.order import BASE_TYPES, DocumentView, LineView, OrderView
from schemas.events import RefundIssued, RefundLine


@dataclass(frozen=True, slots=True)
class CreditableLine:
    """A line that may be credited: of an invoice, or of a delivery where nobody invoices through us.

    `order_line` is the LineNum of the order's line it comes from; `free` what is not yet credited.
    """

    document: DocumentView
    line: LineView
    line_id: str | None
    order_line: int | None
    free: Decimal


@dataclass(frozen=True, slots=True)
class CreditLine:
    """One line of the credit memo."""

    item: Item
    quantity: Decimal
    net: Decimal
    tax: Decimal | None
    tax_code: str | None
    warehouse: str
    restock: bool
    lots: Lots
    basis: CreditableLine | None


def creditable_documents(order: OrderView, found: Sequence[DocumentView], map: CompanyMap) -> list[DocumentView]:
    """The documents that a credit memo may be drawn from, first made first."""
    entries = {invoice.doc_entry for invoice in order.invoices}
    invoices = [*order.invoices, *(invoice for invoice in found if invoice.doc_entry not in entries)]
    if not invoices and map.settings.invoices.on == "never":
        return [d for d in order.deliveries if d.lines]
    return sorted(invoices, key=lambda invoice: invoice.doc_entry)


def check_never_invoiced(event: RefundIssued, order: OrderView, map: CompanyMap) -> None:
    """Without any invoice a refund is of goods that will never leave, or it came before its invoice."""
    left = {line.line_num: order.cancelled_quantity(line) for line in order.lines}
    if all(left[line.line_num] >= line.quantity for line in order.lines):
        return
    for want in _wants(event, map):
        _check_named(want, order)
        if not _take_cancelled(want, order, left):
            raise _not_invoiced(want, order)
    if not event.lines or event.shipping or event.adjustment:
        raise _invoice_not_found(order)


def _invoice_not_found(order: OrderView) -> Refusal:
    return Refusal(
        "invoice_not_found",
        f"order {order.number!r} is not invoiced so far yet; it is tried again when the order is invoiced",
        waits_for=f"invoice:{order.k}",
    )


def _not_invoiced(want: Want, order: OrderView) -> Refusal:
    """Goods without an invoice: it may still come for as many as were ordered and not taken off since."""
    lines = [line for line in order.lines if _suits(want, line)]
    ordered = sum((line.quantity + line.cancelled for line in lines), ZERO)
    leaving = ordered - sum((order.cancelled_quantity(line) for line in lines), ZERO)
    if want.quantity <= ordered and leaving > 0:
        return _invoice_not_found(order)
    return Refusal(
        "over_credited",
        f"{line_at(want.position, want.sku)}: {want.quantity} refunded, {ordered} ordered and {leaving} of "
        f"them still to be invoiced; correct the quantity and replay, or discard it",
    )


def _wants(event: RefundIssued, map: CompanyMap) -> list[Want]:
    wants: list[Want] = []
    for position, line in enumerate(event.lines):
        with at(line_at(position, line.sku)):
            wants.append(Want(position, line.line_id, line.sku, map.item_code(line.sku), line.quantity))
    return wants


def _check_named(want: Want, order: OrderView) -> None:
    if want.line_id is not None:
        check_line(want, [line.item_code for line in order.lines if line.line_id == want.line_id])


def _suits(want: Want, line: LineView) -> bool:
    return OpenLine(line.line_id, line.item_code, ZERO).suits(want)


def _take_cancelled(want: Want, order: OrderView, left: dict[int, Decimal]) -> bool:
    """Take a refund's line from what was cancelled, if there is enough of it."""
    lines = [line.line_num for line in order.lines if _suits(want, line)]
    if sum((left[n] for n in lines), ZERO) < want.quantity:
        return False
    needed = want.quantity
    for n in lines:
        part = min(needed, left[n])
        left[n] -= part
        needed -= part
    return True


def _creditable_lines(order: OrderView, documents: Sequence[DocumentView]) -> list[CreditableLine]:
    """The lines of the documents by order line, less what credit memos took, based on the line or without a base."""
    based: dict[tuple[int, int, int], Decimal] = {}
    loose: dict[int | None, Decimal] = {}
    known = {(BASE_TYPES[d.object], d.doc_entry, line.line_num) for d in documents for line in d.lines}
    for credit in order.credits:
        for line in credit.lines:
            base = (line.base_type or 0, line.base_entry or 0, line.base_line or 0)
            if base in known:
                based[base] = based.get(base, ZERO) + line.quantity
            else:
                number = order.line_num_of(line)
                loose[number] = loose.get(number, ZERO) + line.quantity
    creditable: list[CreditableLine] = []
    ids = {line.line_num: line.line_id for line in order.lines}
    places = {line.line_num: position for position, line in enumerate(order.lines)}
    for document in documents:
        for line in document.lines:
            if line.item_code is None:
                continue
            number = order.line_num_of(line)
            free = line.quantity - based.get((BASE_TYPES[document.object], document.doc_entry, line.line_num), ZERO)
            creditable.append(
                CreditableLine(document, line, ids.get(number) if number is not None else None, number, max(ZERO, free))
            )
    creditable.sort(
        key=lambda basis: places.get(basis.order_line, len(places)) if basis.order_line is not None else len(places)
    )
    for position, basis in enumerate(creditable):
        taken = min(basis.free, loose.get(basis.order_line, ZERO)) if basis.order_line is not None else ZERO
        if taken:
            loose[basis.order_line] -= taken
            creditable[position] = replace(basis, free=basis.free - taken)
    return creditable


def credits_of_order(
    event: RefundIssued,
    money: RefundAmounts,
    order: OrderView,
    documents: Sequence[DocumentView],
    map: CompanyMap,
    master: MasterData,
) -> list[CreditLine]:
    creditable = _creditable_lines(order, documents)
    left = {line.line_num: order.cancelled_quantity(line) for line in order.lines}
    wants: list[Want] = []
    for want in _wants(event, map):
        _check_named(want, order)
        if any(_comes_from(want, basis) for basis in creditable):
            wants.append(want)
        elif not _take_cancelled(want, order, left):
            raise _not_invoiced(want, order)
    places = [OpenLine(basis.line_id, basis.line.item_code, basis.free) for basis in creditable]
    try:
        pieces = fill(wants, places, "over_credited", "invoiced and not yet credited")
    except Refusal as refusal:
        if refusal.reason == "over_credited" and _may_come(wants, places, creditable, order):
            raise _invoice_not_found(order) from refusal
        raise
    credits: list[CreditLine] = []
    for i, want in enumerate(wants):
        line = event.lines[want.position]
        mine = [piece for piece in pieces if piece.want == i]
        net, tax = money.lines[want.position]
        weights = [piece.quantity for piece in mine]
        nets = split(net, weights, event.currency)
        taxes = [None] * len(mine) if tax is None else split(tax, weights, event.currency)
        with at(line_at(want.position, want.sku)):
            item = _item(event, line, want.item_code, map, master)
            numbers: Lots | None = None
            for piece, piece_net, piece_tax in zip(mine, nets, taxes, strict=True):
                basis = creditable[piece.place]
                warehouse = _warehouse(event, line, basis, map, master)
                moves = line.restock and map.returns_by_refund(warehouse)
                if moves and numbers is None:
                    numbers = find_lots(item, line.quantity, line.batches, line.serials, incoming=True)
                lots = numbers.take(piece.quantity) if moves and numbers else Lots([], [])
                tax_code = find_tax_code(map, master, line.tax_code).code if line.tax_code else None
                credits.append(
                    CreditLine(item, piece.quantity, piece_net, piece_tax, tax_code, warehouse, moves, lots, basis)
                )
    return _merged(credits)


def _may_come(
    wants: Sequence[Want], places: Sequence[OpenLine], creditable: Sequence[CreditableLine], order: OrderView
) -> bool:
    """Whether the order can still cover a refund: then it has overtaken a later invoice of partly invoiced lines."""
    taken: dict[int | None, Decimal] = {}
    for basis in creditable:
        taken[basis.order_line] = taken.get(basis.order_line, ZERO) + basis.line.quantity
    leaving = {line.line_num: line.quantity + line.cancelled - order.cancelled_quantity(line) for line in order.lines}
    to_come = [
        OpenLine(line.line_id, line.item_code, max(ZERO, leaving[line.line_num] - taken.get(line.line_num, ZERO)))
        for line in order.lines
    ]
    try:
        fill(wants, [*places, *to_come], "over_credited", "ordered")
    except Refusal:
        return False
    return True


def _comes_from(want: Want, basis: CreditableLine) -> bool:
    return basis.line_id == want.line_id if want.line_id is not None else basis.line.item_code == want.item_code


def credits_without_order(
    event: RefundIssued, money: RefundAmounts, map: CompanyMap, master: MasterData
) -> list[CreditLine]:
    credits: list[CreditLine] = []
    for position, line in enumerate(event.lines):
        with at(line_at(position, line.sku)):
            item = _item(event, line, map.item_code(line.sku), map, master)
            warehouse = check_warehouse(master, map.line_warehouse(event.source, line.location))
            moves = line.restock and map.returns_by_refund(warehouse)
            empty = Lots([], [])
            lots = find_lots(item, line.quantity, line.batches, line.serials, incoming=True) if moves else empty
            code = find_tax_code(map, master, line.tax_code).code
            credits.append(CreditLine(item, line.quantity, *money.lines[position], code, warehouse, moves, lots, None))
    return credits


def _item(event: RefundIssued, line: RefundLine, code: str, map: CompanyMap, master: MasterData) -> Item:
    check_quantity(master, line.quantity)
    return find_item(master, code, map.posting_date(event.occurred_at), sold=True)


def _warehouse(
    event: RefundIssued, line: RefundLine, basis: CreditableLine, map: CompanyMap, master: MasterData
) -> str:
    """Where the goods come back to: where the event says, else where they left from."""
    if line.location is None and basis.line.warehouse is not None:
        return basis.line.warehouse
    return check_warehouse(master, map.line_warehouse(event.source, line.location))


def _merged(credits: Sequence[CreditLine]) -> list[CreditLine]:
    """One line per base line, warehouse and way of restocking, in the order of the event."""
    merged: dict[object, CreditLine] = {}
    for credit in credits:
        basis = credit.basis
        base = (basis.document.object, basis.document.doc_entry, basis.line.line_num) if basis else None
        key = (base, credit.warehouse, credit.restock, credit.tax_code, credit.tax is None)
        other = merged.get(key)
        if other is None:
            merged[key] = credit
            continue
        tax = None if other.tax is None or credit.tax is None else other.tax + credit.tax
        other.lots.add(credit.lots)
        merged[key] = replace(other, quantity=other.quantity + credit.quantity, net=other.net + credit.net, tax=tax)
    return list(merged.values())

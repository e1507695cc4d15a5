"""`refund_issued` becomes a credit memo (`CreditNotes`), drawn from the order's invoices where they are open."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from connectors.base.errors import Refusal
from connectors.base.money import ZERO, rounded, split
from connectors.sap_b1.documents import Plan
from connectors.sap_b1.documents.allocation import Place, Want, check_line, fill
from connectors.sap_b1.documents.fields import (
    MAX_COMMENTS,
    Lots,
    at,
    branch_of,
    check_identity,
    check_quantity,
    check_warehouse,
    comments,
    cut,
    dates,
    find_item,
    find_lots,
    find_tax_code,
    foreign_currency,
    given,
    line_at,
)
from connectors.sap_b1.documents.order_cancelled import order_not_found
from connectors.sap_b1.documents.order_placed import customer_codes, find_card
from connectors.sap_b1.mapping import CompanyMap
from connectors.sap_b1.master import Codes, Item, MasterData
from connectors.sap_b1.order import BASE_TYPES, DocumentView, LineView, OrderView
from connectors.sap_b1.service_layer import Request
from schemas.events import RefundIssued, RefundLine

_REFERENCES = {"Invoices": "rot_SalesInvoice", "DeliveryNotes": "rot_DeliveryNotes", "Orders": "rot_SalesOrder"}


@dataclass(frozen=True, slots=True)
class _Money:
    """The event's amounts, rounded; a tax is None where it is B1's to compute."""

    lines: tuple[tuple[Decimal, Decimal | None], ...]
    shipping: tuple[Decimal, Decimal | None] | None
    adjustment: tuple[Decimal, Decimal | None] | None


@dataclass(frozen=True, slots=True)
class _Slot:
    """A line that may be credited: of an invoice, or of a delivery where nobody invoices through us.

    `order_line` is the LineNum of the order's line it comes from; `free` what is not yet credited.
    """

    document: DocumentView
    line: LineView
    line_id: str | None
    order_line: int | None
    free: Decimal


@dataclass(frozen=True, slots=True)
class _Credit:
    """One line of the credit memo."""

    item: Item
    quantity: Decimal
    net: Decimal
    tax: Decimal | None
    tax_code: str | None
    warehouse: str
    restock: bool
    lots: Lots
    slot: _Slot | None


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
) -> Plan:
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
    money = _amounts(event)
    if order is None:
        credits = _credits_alone(event, money, map, master)
        card, before = find_card(None, event.source, map, master)
        return _plan(event, k, None, card, before, credits, money, [], map, master)
    documents = _creditable(order, found, map)
    if not documents:
        _check_never_invoiced(event, order, map)
        return Plan(no_op="cancelled and never invoiced")
    credits = _credits(event, money, order, documents, map, master)
    if not credits and not (money.shipping or money.adjustment):
        return Plan(no_op="cancelled and never invoiced")
    return _plan(
        event, k, order, documents[0].card_code or order.card_code or "", (), credits, money, documents, map, master
    )


# ---- money ----------------------------------------------------------------------------------------------------------


def _amounts(event: RefundIssued) -> _Money:
    """The event's amounts, checked against its total.

    Where the event names a total and leaves a tax out, the tax is what is missing to the total: so the credit memo
    comes to what the customer got. It must be possible: none below zero, none above the net.
    """
    parts: list[tuple[Decimal, Decimal | None]] = [(line.amount, line.tax_amount) for line in event.lines]
    parts += [(extra.amount, extra.tax_amount) for extra in (event.shipping, event.adjustment) if extra is not None]
    amounts = [
        (rounded(net, event.currency), None if tax is None else rounded(tax, event.currency)) for net, tax in parts
    ]
    amounts = [(net, ZERO if tax is None and not net else tax) for net, tax in amounts]
    if event.total is not None:
        amounts = _completed(amounts, rounded(event.total, event.currency), event.currency)
    count = len(event.lines)
    rest = iter(amounts[count:])
    shipping = next(rest) if event.shipping is not None else None
    adjustment = next(rest) if event.adjustment is not None else None
    return _Money(
        tuple(amounts[:count]),
        shipping if shipping and any(shipping) else None,
        adjustment if adjustment and any(adjustment) else None,
    )


def _completed(
    amounts: list[tuple[Decimal, Decimal | None]], total: Decimal, currency: str
) -> list[tuple[Decimal, Decimal | None]]:
    open_nets = [net for net, tax in amounts if tax is None]
    rest = total - sum((net + (tax or ZERO) for net, tax in amounts), ZERO)
    if (rest and not open_nets) or not ZERO <= rest <= max(ZERO, sum(open_nets, ZERO)):
        raise Refusal(
            "total_mismatch",
            f"the parts of the refund come to {total - rest} {currency}{' without tax' if open_nets else ''}, total is "
            f"{total}; correct the refund and replay",
        )
    taxes = iter(split(rest, [max(ZERO, net) for net in open_nets], currency))
    return [(net, next(taxes) if tax is None else tax) for net, tax in amounts]


# ---- what is credited -----------------------------------------------------------------------------------------------


def _creditable(order: OrderView, found: Sequence[DocumentView], map: CompanyMap) -> list[DocumentView]:
    """The documents that a credit memo may be drawn from, first made first."""
    entries = {invoice.doc_entry for invoice in order.invoices}
    invoices = [*order.invoices, *(invoice for invoice in found if invoice.doc_entry not in entries)]
    if not invoices and map.settings.invoices.on == "never":
        return [d for d in order.deliveries if d.lines]
    return sorted(invoices, key=lambda invoice: invoice.doc_entry)


def _check_never_invoiced(event: RefundIssued, order: OrderView, map: CompanyMap) -> None:
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
    return Place(line.line_id, line.item_code, ZERO).suits(want)


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


def _slots(order: OrderView, documents: Sequence[DocumentView]) -> list[_Slot]:
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
    slots: list[_Slot] = []
    ids = {line.line_num: line.line_id for line in order.lines}
    places = {line.line_num: position for position, line in enumerate(order.lines)}
    for document in documents:
        for line in document.lines:
            if line.item_code is None:
                continue
            number = order.line_num_of(line)
            free = line.quantity - based.get((BASE_TYPES[document.object], document.doc_entry, line.line_num), ZERO)
            slots.append(
                _Slot(document, line, ids.get(number) if number is not None else None, number, max(ZERO, free))
            )
    slots.sort(
        key=lambda slot: places.get(slot.order_line, len(places)) if slot.order_line is not None else len(places)
    )
    for position, slot in enumerate(slots):
        taken = min(slot.free, loose.get(slot.order_line, ZERO)) if slot.order_line is not None else ZERO
        if taken:
            loose[slot.order_line] -= taken
            slots[position] = replace(slot, free=slot.free - taken)
    return slots


def _credits(
    event: RefundIssued,
    money: _Money,
    order: OrderView,
    documents: Sequence[DocumentView],
    map: CompanyMap,
    master: MasterData,
) -> list[_Credit]:
    slots = _slots(order, documents)
    left = {line.line_num: order.cancelled_quantity(line) for line in order.lines}
    wants: list[Want] = []
    for want in _wants(event, map):
        _check_named(want, order)
        if any(_of(want, slot) for slot in slots):
            wants.append(want)
        elif not _take_cancelled(want, order, left):
            raise _not_invoiced(want, order)
    places = [Place(slot.line_id, slot.line.item_code, slot.free) for slot in slots]
    try:
        pieces = fill(wants, places, "over_credited", "invoiced and not yet credited")
    except Refusal as refusal:
        if refusal.reason == "over_credited" and _may_come(wants, places, slots, order):
            raise _invoice_not_found(order) from refusal
        raise
    credits: list[_Credit] = []
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
                slot = slots[piece.place]
                warehouse = _warehouse(event, line, slot, map, master)
                moves = line.restock and map.returns_by_refund(warehouse)
                if moves and numbers is None:
                    numbers = find_lots(item, line.quantity, line.batches, line.serials, incoming=True)
                lots = numbers.take(piece.quantity) if moves and numbers else Lots([], [])
                tax_code = find_tax_code(map, master, line.tax_code).code if line.tax_code else None
                credits.append(
                    _Credit(item, piece.quantity, piece_net, piece_tax, tax_code, warehouse, moves, lots, slot)
                )
    return _merged(credits)


def _may_come(wants: Sequence[Want], places: Sequence[Place], slots: Sequence[_Slot], order: OrderView) -> bool:
    """Whether the order can still cover a refund: then it has overtaken a later invoice of partly invoiced lines."""
    taken: dict[int | None, Decimal] = {}
    for slot in slots:
        taken[slot.order_line] = taken.get(slot.order_line, ZERO) + slot.line.quantity
    leaving = {line.line_num: line.quantity + line.cancelled - order.cancelled_quantity(line) for line in order.lines}
    to_come = [
        Place(line.line_id, line.item_code, max(ZERO, leaving[line.line_num] - taken.get(line.line_num, ZERO)))
        for line in order.lines
    ]
    try:
        fill(wants, [*places, *to_come], "over_credited", "ordered")
    except Refusal:
        return False
    return True


def _of(want: Want, slot: _Slot) -> bool:
    return slot.line_id == want.line_id if want.line_id is not None else slot.line.item_code == want.item_code


def _credits_alone(event: RefundIssued, money: _Money, map: CompanyMap, master: MasterData) -> list[_Credit]:
    credits: list[_Credit] = []
    for position, line in enumerate(event.lines):
        with at(line_at(position, line.sku)):
            item = _item(event, line, map.item_code(line.sku), map, master)
            warehouse = check_warehouse(master, map.line_warehouse(event.source, line.location))
            moves = line.restock and map.returns_by_refund(warehouse)
            empty = Lots([], [])
            lots = find_lots(item, line.quantity, line.batches, line.serials, incoming=True) if moves else empty
            code = find_tax_code(map, master, line.tax_code).code
            credits.append(_Credit(item, line.quantity, *money.lines[position], code, warehouse, moves, lots, None))
    return credits


def _item(event: RefundIssued, line: RefundLine, code: str, map: CompanyMap, master: MasterData) -> Item:
    check_quantity(master, line.quantity)
    return find_item(master, code, map.posting_date(event.occurred_at), sold=True)


def _warehouse(event: RefundIssued, line: RefundLine, slot: _Slot, map: CompanyMap, master: MasterData) -> str:
    """Where the goods come back to: where the event says, else where they left from."""
    if line.location is None and slot.line.warehouse is not None:
        return slot.line.warehouse
    return check_warehouse(master, map.line_warehouse(event.source, line.location))


def _merged(credits: Sequence[_Credit]) -> list[_Credit]:
    """One line per base line, warehouse and way of restocking, in the order of the event."""
    merged: dict[object, _Credit] = {}
    for credit in credits:
        slot = credit.slot
        base = (slot.document.object, slot.document.doc_entry, slot.line.line_num) if slot else None
        key = (base, credit.warehouse, credit.restock, credit.tax_code, credit.tax is None)
        other = merged.get(key)
        if other is None:
            merged[key] = credit
            continue
        tax = None if other.tax is None or credit.tax is None else other.tax + credit.tax
        other.lots.add(credit.lots)
        merged[key] = replace(other, quantity=other.quantity + credit.quantity, net=other.net + credit.net, tax=tax)
    return list(merged.values())


# ---- the document ---------------------------------------------------------------------------------------------------


def _plan(
    event: RefundIssued,
    k: str,
    order: OrderView | None,
    card: str,
    before: tuple[Request, ...],
    credits: Sequence[_Credit],
    money: _Money,
    documents: Sequence[DocumentView],
    map: CompanyMap,
    master: MasterData,
) -> Plan:
    referred: dict[tuple[str, int], DocumentView] = {}
    lines: list[dict[str, Any]] = []
    for position, credit in enumerate(credits):
        lines.append(_line(credit, position, map, master))
        if credit.slot is not None and "BaseType" not in lines[-1]:
            referred[credit.slot.document.object, credit.slot.document.doc_entry] = credit.slot.document
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
    extras = _extras(event, money, map, master, as_lines=not lines)
    if lines and extras:
        header["DocumentAdditionalExpenses"] = extras
    elif not lines:
        header |= {"DocType": "dDocument_Service", "DocumentLines": extras}
    return Plan(
        requests=(Request("POST", "CreditNotes", header),),
        before=before,
        items=frozenset(credit.item.code for credit in credits if credit.restock),
    )


def _line(credit: _Credit, position: int, map: CompanyMap, master: MasterData) -> dict[str, Any]:
    slot = credit.slot
    row: dict[str, Any] = {}
    tax_code = credit.tax_code
    if slot is not None and not slot.document.closed and slot.line.open >= credit.quantity:
        row = {
            "BaseType": BASE_TYPES[slot.document.object],
            "BaseEntry": slot.document.doc_entry,
            "BaseLine": slot.line.line_num,
        }
    elif tax_code is None:
        tax_code = (slot.line.tax_code if slot else None) or find_tax_code(map, master, None).code
    row |= given(
        ItemCode=credit.item.code,
        Quantity=credit.quantity,
        LineTotal=credit.net,
        TaxTotal=credit.tax,
        WarehouseCode=credit.warehouse,
        U_STREAMS_LINE=slot.line_id if slot else None,
    )
    if tax_code is not None:
        row[map.settings.tax.field] = tax_code
    if not credit.restock:
        row["WithoutInventoryMovement"] = "tYES"
    return row | credit.lots.fields(position, incoming=True)


def _extras(
    event: RefundIssued, money: _Money, map: CompanyMap, master: MasterData, *, as_lines: bool
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
            rows.append(row | {settings.tax.field: find_tax_code(map, master, tax_code).code})
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

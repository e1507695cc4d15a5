"""Refunds: credit notes, each of the orders that it gives back."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC
from decimal import Decimal

from lab.feed.company import CURRENCY, PLACES, VAT
from lab.feed.context import FeedContext, GivenRefund, SoldLine, SoldOrder
from lab.feed.feed import FeedEntry
from lab.feed.rows import Row, kind_of_code
from lab.feed.texts import decimal_text, json_line, round_to_pence, share_of


def refunds_of(context: FeedContext, notes: list[list[Row]], orders: list[SoldOrder]) -> Iterator[FeedEntry]:
    bought: dict[tuple[str, str, Decimal], list[tuple[SoldOrder, SoldLine]]] = defaultdict(list)
    for order in sorted(orders, key=lambda order: (order.at, order.id)):
        for line in order.lines:
            if line.row.customer:  # a guest's note does not say whose order it was
                bought[line.row.customer, line.row.item, line.row.price].append((order, line))
    for rows in notes:
        yield from _refunds_of_note(context, rows, bought)


def _refunds_of_note(
    context: FeedContext, rows: list[Row], bought: Mapping[tuple[str, str, Decimal], list[tuple[SoldOrder, SoldLine]]]
) -> Iterator[FeedEntry]:
    head = rows[0]
    at = head.at.astimezone(UTC)
    restock = (
        share_of(context.seed, "restock", head.invoice) >= 0.1
    )  # one note in ten: the customer keeps or breaks the goods
    parts: dict[str | None, GivenRefund] = {}
    carriage = Decimal(0)
    carriage_rows = 0
    _, rate = VAT[head.country == "United Kingdom"]
    for row in rows:
        if row.is_carriage and row.price > 0:
            carriage += round_to_pence(-row.quantity * row.price)
            carriage_rows += 1
            continue
        if not row.is_item:
            context.left_out[f"no item: {kind_of_code(row.code)}"] += 1
            continue
        if row.quantity >= 0 or row.price <= 0:
            context.left_out["credit note rows that give nothing back"] += 1
            continue
        context.note_item(row, row.text)
        wanted = -row.quantity
        key = (row.customer, row.item, row.price)
        for order, line in reversed(bought.get(key, [])):
            taken = min(wanted, line.left)
            if taken and order.at <= at:
                part = parts.setdefault(order.id, GivenRefund(head.invoice, order))
                _give_back(context, part, order, line, taken, restock=restock)
                order.refunded_at = min(order.refunded_at or at, at)
                wanted -= taken
            if not wanted:
                break
        if wanted:
            part = parts.setdefault(None, GivenRefund(head.invoice, None))
            net = round_to_pence(wanted * row.price)
            _add_line(part, row, None, wanted, net, round_to_pence(net * rate / 100), restock=restock, place="LON1")
    shipping = _refunded_carriage(context, parts, carriage, carriage_rows, rate)
    for number, part in enumerate(parts.values()):
        refund_id = head.invoice if number == 0 else f"{head.invoice}-{number}"
        event: dict[str, object] = {
            "type": "refund_issued",
            "refund_id": refund_id,
            "order_id": part.order.id if part.order else None,
            "occurred_at": context.written(at),
            "currency": CURRENCY,
            "lines": part.lines,
            "reason": "credit note",
        }
        total = part.total
        if shipping is not None and shipping[0] is part:
            _, net, tax = shipping
            event["shipping"] = {"amount": decimal_text(net), "tax_amount": decimal_text(tax)}
            total += net + tax
        event["total"] = decimal_text(total)
        context.counts["refund_issued"] += 1
        context.counts["refund_lines"] += len(part.lines)
        context.counts["refunds of an order"] += part.order is not None
        yield FeedEntry(at, refund_id, json_line(event))


def _refunded_carriage(
    context: FeedContext, parts: Mapping[str | None, GivenRefund], net: Decimal, rows: int, rate: Decimal
) -> tuple[GivenRefund, Decimal, Decimal] | None:
    if not rows:
        return None
    part = parts.get(None) or next((p for p in parts.values() if p.order and p.order.carriage_left >= net), None)
    if part is None or net <= 0:
        context.left_out["carriage given back without goods"] += rows
        return None
    if part.order:
        part.order.carriage_left -= net
    return part, net, round_to_pence(net * rate / 100)


def _give_back(
    context: FeedContext, part: GivenRefund, order: SoldOrder, line: SoldLine, quantity: Decimal, *, restock: bool
) -> None:
    # The last piece takes what is left, so that the pieces of a line never give back a penny more than it cost.
    if quantity == line.left:
        net, tax = line.net_left, line.tax_left
    else:
        net = round_to_pence(line.net * quantity / line.row.quantity)
        tax = round_to_pence(line.tax * quantity / line.row.quantity)
    line.left -= quantity
    line.net_left -= net
    line.tax_left -= tax
    _add_line(part, line.row, line.line_id, quantity, net, tax, restock=restock, place=order.warehouse)


def _add_line(
    part: GivenRefund,
    row: Row,
    line_id: str | None,
    quantity: Decimal,
    net: Decimal,
    tax: Decimal,
    *,
    restock: bool,
    place: str,
) -> None:
    part.total += net + tax
    part.lines.append(
        {
            "line_id": line_id,
            "sku": row.code,
            "quantity": decimal_text(quantity),
            "amount": decimal_text(net),
            "tax_code": VAT[row.country == "United Kingdom"][0],
            "tax_amount": decimal_text(tax),
            "restock": restock,
            "location": PLACES[place],
        }
    )

"""Orders: an invoice's priced rows, with carriage as shipping."""

from datetime import UTC
from decimal import Decimal

from lab.feed.company import COUNTRIES, CURRENCY, PLACES, VAT
from lab.feed.context import FeedContext, SoldLine, SoldOrder
from lab.feed.feed import FeedEntry
from lab.feed.rows import Row, kind_of_code
from lab.feed.texts import decimal_text, json_line, round_to_pence


def make_order(context: FeedContext, rows: list[Row]) -> tuple[SoldOrder, FeedEntry] | None:
    priced = [row for row in rows if row.price > 0 and row.quantity > 0]
    context.left_out["priced rows of a negative quantity or price"] += sum(
        1 for row in rows if row.price < 0 or (row.price > 0 and row.quantity < 0)
    )
    for row in priced:
        if not (row.is_item or row.is_carriage):
            context.left_out[f"no item: {kind_of_code(row.code)}"] += 1
    kept = [row for row in priced if row.is_item]
    carriage = [row for row in priced if row.is_carriage]
    if not kept:
        if carriage:
            context.left_out["carriage without goods"] += len(carriage)
        return None
    head = kept[0]
    warehouse = "WEB1" if any(row.code.upper() == "DOT" for row in carriage) else "LON1"
    code, rate = VAT[head.country == "United Kingdom"]
    lines = []
    for number, row in enumerate(kept, 1):
        net = round_to_pence(row.quantity * row.price)
        tax = round_to_pence(net * rate / 100)
        lines.append(SoldLine(str(number), row, net, tax, row.quantity, tax, net))
        context.note_item(row, row.text)
    shipping = sum((round_to_pence(row.quantity * row.price) for row in carriage), Decimal(0))
    shipping_tax = round_to_pence(shipping * rate / 100)
    tax_total = sum((line.tax for line in lines), shipping_tax)
    total = sum((line.net for line in lines), shipping) + tax_total
    order = SoldOrder(head.invoice, head.at.astimezone(UTC), warehouse, lines, shipping)
    event: dict[str, object] = {
        "type": "order_placed",
        "order_id": order.id,
        "channel": "dotcomgiftshop" if warehouse == "WEB1" else "wholesale",
        "occurred_at": context.written(order.at),
        "currency": CURRENCY,
        "customer": {"id": head.customer, "guest": False} if head.customer else {"guest": True},
        "lines": [
            {
                "line_id": line.line_id,
                "sku": line.row.code,
                "name": line.row.text or None,
                "quantity": decimal_text(line.row.quantity),
                "unit_price": decimal_text(line.row.price),
                "tax_code": code,
                "tax_rate": decimal_text(rate),
                "tax_amount": decimal_text(line.tax),
                # The shop's default is LON1, so only the other one is named.
                "location": PLACES[warehouse] if warehouse != "LON1" else None,
            }
            for line in lines
        ],
        "tax_total": decimal_text(tax_total),
        "grand_total": decimal_text(total),
        "payment": {"method": "card", "amount": decimal_text(total)},
    }
    if country := COUNTRIES.get(head.country):
        event["ship_to"] = {"country": country}
    if shipping:
        event["shipping"] = {
            "method": "/".join(sorted({row.code.upper() for row in carriage})),
            "amount": decimal_text(shipping),
            "tax_code": code,
            "tax_amount": decimal_text(shipping_tax),
        }
    context.counts["order_placed"] += 1
    context.counts["order_lines"] += len(lines)
    context.counts["orders_with_carriage"] += bool(shipping)
    return order, FeedEntry(order.at, order.id, json_line(event))

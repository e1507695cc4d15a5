"""What an order's lines and its delivery cost, reconciled with Veeqo's own totals. Pure.

Totals outrank rates: the published sample order and marketplace orders have a rate on the line and a total tax of 0
(VeeqoAPI/api-docs, orders/show.json, read 2026-11-30). Veeqo gives no tax per line and none of the delivery: the
lines' is computed, what remains of the total tax is the delivery's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext

from connectors.base.errors import RecordError
from connectors.base.money import ZERO, rounded, smallest_unit, split
from connectors.base.values import STEP
from connectors.veeqo.records import VeeqoOrder, VeeqoOrderLine

_PERCENT_DECIMALS = range(5)


@dataclass(slots=True)
class LineAmounts:
    """One line's.

    Attributes:
        price: Of one unit, net, up to 6 decimals.
        discount: Off the whole line, net, up to 6 decimals.
        rate: Percent, up to 6 decimals, as Veeqo has it or as the totals correct it; None: it has none.
        named_rate: The percent that a tax code is named by: of a rate that somebody divided out, the plain one behind
            it.
        tax: Of the whole line; None: B1 computes it.
    """

    price: Decimal
    discount: Decimal
    rate: Decimal | None
    named_rate: Decimal | None
    tax: Decimal | None


@dataclass(frozen=True, slots=True)
class OrderAmounts:
    """An order's.

    Attributes:
        lines: In the order of the lines.
        delivery: Net, its discount taken off.
        delivery_tax: None: B1 computes it.
        delivery_rate: Percent, to name its tax code by; None: no line has a rate.
    """

    lines: tuple[LineAmounts, ...]
    delivery: Decimal
    delivery_tax: Decimal | None
    delivery_rate: Decimal | None


def amounts_of(order: VeeqoOrder, lines: Sequence[VeeqoOrderLine], currency: str) -> OrderAmounts:
    """What the order comes to.

    Differences of rounding (half a minor unit per line) go to the largest line; a larger difference stays, and is B1's
    `total_mismatch`.

    Args:
        order: Its totals and its delivery.
        lines: Those with a quantity.
        currency: Its minor unit is what amounts are rounded to.

    Raises:
        RecordError: A discount is above what it is taken from.
    """
    with localcontext(prec=60):
        step = smallest_unit(currency)
        tolerance = step * (len(lines) + 1) / 2
        rows = _priced(order, lines, currency, tolerance)
        nets = [
            rounded(row.price * line.quantity - row.discount, currency) for row, line in zip(rows, lines, strict=True)
        ]
        delivery = _delivery(order, sum(nets, ZERO), tolerance)
        total_tax = _total_tax(order, sum(nets, ZERO), delivery, currency)
        for row, line, net in zip(rows, lines, nets, strict=True):
            rate = ZERO if total_tax == ZERO else line.tax_rate
            if rate is not None:
                row.rate, row.named_rate = _to_six_places(rate * 100), _plain_percent(rate, net, step)
                row.tax = rounded(net * rate, currency)
        tax = _delivery_tax(rows, total_tax, delivery, tolerance)
        return OrderAmounts(tuple(rows), delivery, tax, _delivery_rate(rows, delivery, tax))


def _to_six_places(amount: Decimal) -> Decimal:
    return amount.quantize(STEP, ROUND_HALF_UP)


def _priced(order: VeeqoOrder, lines: Sequence[VeeqoOrderLine], currency: str, tolerance: Decimal) -> list[LineAmounts]:
    """Prices and discounts, whose rounded nets add up to the subtotal where only rounding stands between them."""
    gross = [line.price_per_unit * line.quantity for line in lines]
    discounts = [line.taxless_discount_per_unit * line.quantity for line in lines]
    before = [rounded(whole - off, currency) for whole, off in zip(gross, discounts, strict=True)]
    if any(net < 0 for net in before):
        raise RecordError("a discount is above the price of its line; fix it in Veeqo")
    shared = split(rounded(order.additional_order_level_taxless_discount, currency), before, currency)
    discounts = [_to_six_places(off) + share for off, share in zip(discounts, shared, strict=True)]
    rows = [
        LineAmounts(line.price_per_unit, discount, None, None, None)
        for line, discount in zip(lines, discounts, strict=True)
    ]
    nets = [rounded(whole - off, currency) for whole, off in zip(gross, discounts, strict=True)]
    if any(net < 0 for net in nets):
        raise RecordError("a discount is above the price of its line; fix it in Veeqo")
    at = max(range(len(nets)), key=lambda n: nets[n])
    short = ZERO if order.subtotal_price is None else rounded(order.subtotal_price, currency) - sum(nets, ZERO)
    if short and abs(short) <= tolerance and nets[at] + short >= 0:
        net = nets[at] + short
        if short < 0:
            rows[at].discount = _to_six_places(gross[at] - net)
        else:
            rows[at].price = _to_six_places((net + rows[at].discount) / lines[at].quantity)
    return rows


def _delivery(order: VeeqoOrder, goods: Decimal, tolerance: Decimal) -> Decimal:
    """What the delivery costs. Whether a total has its discount taken off is not documented: the arithmetic says it."""
    discount = order.shipping_discount
    if not discount:
        return order.delivery_cost
    if discount > order.delivery_cost:
        raise RecordError("shipping_discount is above delivery_cost; fix it in Veeqo")
    if order.total_price is not None and order.total_tax is not None:
        undiscounted = goods + order.delivery_cost + order.total_tax
        if abs(order.total_price - undiscounted) <= tolerance:
            return order.delivery_cost
    return order.delivery_cost - discount


def _total_tax(order: VeeqoOrder, goods: Decimal, delivery: Decimal, currency: str) -> Decimal | None:
    """The order's tax; where Veeqo leaves it out, a total that goods and delivery explain leaves nothing for one."""
    if order.total_tax is not None:
        return rounded(order.total_tax, currency)
    if order.total_price is not None and rounded(order.total_price, currency) == goods + rounded(delivery, currency):
        return ZERO
    return None


def _plain_percent(rate: Decimal, net: Decimal, step: Decimal) -> Decimal:
    """The shortest percent that explains a rate which was divided out of rounded amounts."""
    percent = rate * 100
    if rate == _to_six_places(rate) or not net:
        return percent
    for decimals in _PERCENT_DECIMALS:
        plain = percent.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
        if abs(plain - percent) * net <= step * 100:
            return plain
    return _to_six_places(percent)


def _delivery_tax(
    rows: Sequence[LineAmounts], total: Decimal | None, delivery: Decimal, tolerance: Decimal
) -> Decimal | None:
    """What remains of the order's tax; pennies that cannot be the delivery's go to the largest tax (changes `rows`)."""
    taxes = [row.tax for row in rows if row.tax is not None]
    if total is None or len(taxes) < len(rows):
        return ZERO if total == ZERO else None
    remains = total - sum(taxes, ZERO)
    highest = max((row.rate or ZERO for row in rows), default=ZERO) / 100
    too_small_to_tell = any(taxes) and ZERO < delivery * highest <= tolerance * 2
    if abs(remains) <= tolerance and (remains < 0 or not too_small_to_tell):
        largest = max(rows, key=lambda row: row.tax or ZERO)
        tax = (largest.tax or ZERO) + remains
        if tax >= 0:
            largest.tax = tax
            return ZERO
    return remains if 0 <= remains <= delivery else ZERO


def _delivery_rate(rows: Sequence[LineAmounts], delivery: Decimal, tax: Decimal | None) -> Decimal | None:
    """Of the lines' rates the one that comes nearest: the delivery has none of its own."""
    seen = [row.named_rate for row in rows if row.named_rate is not None]
    if tax is None:
        return max(seen, default=None)
    return min(seen, key=lambda rate: abs(delivery * rate / 100 - tax), default=None) if tax else ZERO

"""The orders within an order: as it was placed, what each edit added, what each exchange sold.

Shopify states sales by agreements: one of reason ORDER, then one for each edit, return and refund. Goods that a
customer gets for those sent back are sales of an agreement of reason RETURN (shopify.dev changelog, "Return Sales and
Exchange APIs", 2024-04); the order's own lines and total then hold them as if they had always been there. An order that
has no other sales than its first is stated by its own lines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from connectors.shopify import records
from connectors.shopify.settings import ShopifySettings
from connectors.shopify.translate.context import ZERO, NetTax
from connectors.shopify.translate.taxes import Charge

#: The key of the order as it was placed.
FIRST = "p"
_PROMISED = frozenset({"AUTHORIZATION", "SALE", "CAPTURE"})
PAID = frozenset({"SALE", "CAPTURE"})
_CHARGES = frozenset({"SHIPPING", "DUTY", "ADDITIONAL_FEE"})


@dataclass(frozen=True, slots=True)
class Sales:
    """What an agreement sold.

    Attributes:
        amounts: By line.
        charges: Freight, duties and fees.
        duties: Duties and fees among them.
    """

    amounts: Mapping[str, NetTax] = field(default_factory=dict)
    charges: tuple[Charge, ...] = ()
    duties: NetTax = field(default_factory=NetTax)


@dataclass(frozen=True, slots=True)
class OrderPart:
    """An order of its own for B1.

    Attributes:
        order_id: Of the event.
        number: What people quote.
        key: Of the change, see `OrderChange`.
        moment: When it came to be.
        quantities: Units by line.
        sales: What an agreement states of its money; None: the order's own lines do.
        exchange: Whether a return brought it.
    """

    order_id: str
    number: str
    key: str
    moment: datetime
    quantities: Mapping[str, int]
    sales: Sales | None = None
    exchange: bool = False


def placed_at(order: records.Order, settings: ShopifySettings) -> datetime | None:
    """When the order became one by `place_on`; None: not yet."""
    if settings.place_on == "placed":
        return order.created_at
    status = order.display_financial_status
    states = {"PAID", "PARTIALLY_REFUNDED", "REFUNDED"}
    kinds = PAID
    if settings.place_on == "authorized":
        states |= {"AUTHORIZED", "PARTIALLY_PAID"}
        kinds = _PROMISED
    times = [time_of(each) for each in order.transactions if each.status == "SUCCESS" and each.kind in kinds]
    if status not in states and not (settings.place_on == "authorized" and times):
        return None
    if not times:
        return order.created_at
    return max(order.created_at, min(times) if settings.place_on == "authorized" else max(times))


def time_of(transaction: records.Transaction) -> datetime:
    """When its money moved."""
    return transaction.processed_at or transaction.created_at


def parts_of(order: records.Order, since: datetime) -> tuple[list[OrderPart], list[records.Agreement]]:
    """The order's parts, and the edits that changed a price, which no event can say.

    Args:
        order: With its agreements, if it has more than its first.
        since: Nothing happens to an order before it is one.
    """
    number = order.name or order.id
    agreements = sorted(order.agreements or (), key=lambda each: (each.happened_at, each.id))
    first = next((each for each in agreements if each.reason == "ORDER"), None)
    if first is None:
        return [OrderPart(order.id, number, FIRST, since, {line.id: line.quantity for line in order.line_items})], []
    parts = [OrderPart(order.id, number, FIRST, since, *_sold(first))]
    repriced: list[records.Agreement] = []
    counts = {"E": 0, "X": 0}
    for each in agreements:
        if each is first or each.reason == "REFUND":
            continue
        kind = "X" if each.reason == "RETURN" else "E"
        counts[kind] += 1
        quantities, sales = _sold(each)
        if quantities or sum((charge.amount.gross for charge in sales.charges), ZERO) > 0:
            parts.append(
                OrderPart(
                    f"{order.id}-{each.id}",
                    f"{number}-{kind}{counts[kind]}",
                    f"{FIRST}{each.id}",
                    max(since, each.happened_at),
                    quantities,
                    sales,
                    exchange=kind == "X",
                )
            )
        if kind == "E" and any(_is_repricing(sale) for sale in each.sales):
            repriced.append(each)
    return parts, repriced


def fees_of(order: records.Order) -> NetTax:
    """What returns cost the customer: fees that are kept back from refunds."""
    fees = NetTax()
    for agreement in order.agreements or ():
        if agreement.reason in ("RETURN", "REFUND"):
            for sale in agreement.sales:
                if sale.line_type == "FEE":
                    fees += _amount(sale)
    return fees


def _sold(agreement: records.Agreement) -> tuple[dict[str, int], Sales]:
    quantities: dict[str, int] = {}
    amounts: dict[str, NetTax] = {}
    charges: list[Charge] = []
    duties = NetTax()
    for sale in agreement.sales:
        # Of a return these are what is given back: the refund states it.
        if agreement.reason == "RETURN" and sale.action_type == "RETURN":
            continue
        if sale.line_item is not None and sale.quantity is not None and sale.quantity > 0:
            line = sale.line_item.id
            quantities[line] = quantities.get(line, 0) + sale.quantity
            amounts[line] = amounts.get(line, NetTax()) + _amount(sale)
        elif sale.line_type in _CHARGES:
            charges.append(Charge(_amount(sale)))
            if sale.line_type != "SHIPPING":
                duties += _amount(sale)
    return quantities, Sales(amounts, tuple(charges), duties)


def _amount(sale: records.Sale) -> NetTax:
    tax = sale.total_tax_amount.amount
    return NetTax(sale.total_amount.amount - tax, tax)


def _is_repricing(sale: records.Sale) -> bool:
    return not sale.quantity and bool(sale.total_amount.amount) and sale.line_type not in _CHARGES


def may_hide_an_exchange(order: records.Order) -> bool:
    """Whether goods came back for less money than they cost, and nobody has read which lines were sold by that."""
    if order.agreements is not None or len(order.line_items) < 2:
        return False
    for refund in order.refunds:
        returned = [row.subtotal_set.amount for row in refund.refund_line_items if row.restock_type == "RETURN"]
        paid: Sequence[Decimal] = [each.amount_set.amount for each in refund.transactions if each.kind == "REFUND"]
        if sum(paid, ZERO) < sum(returned, ZERO) and not refund.order_adjustments:
            return True
    return False

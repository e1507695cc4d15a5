"""Refunds, as Shopify shows them: whatever their money, and whatever explains it."""

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import TypeAlias

from lab.simulators.shopify.rows import CENT, Row, RowMaker, gross_of, tax_of

#: Place of the line in the order, units, restock type, location.
RefundLine: TypeAlias = tuple[int, int, str, str | None]


def refund_row(
    rows: RowMaker,
    order: Row,
    lines: Sequence[RefundLine],
    locations: Mapping[str, Row],
    stamp: str,
    *,
    shipping: str | None = None,
    shipping_twice: bool = False,
    adjustment: str | None = None,
    duties: str | None = None,
    money: str | None = None,
    explained: bool = True,
    status: str = "SUCCESS",
    gateways: Sequence[str] = ("shopify_payments",),
    note: str | None = None,
) -> Row:
    """A Refund.

    Args:
        rows: Makes its parts.
        order: Which one.
        lines: What comes back, or will not be sent.
        locations: By number.
        stamp: When.
        shipping: Freight that is paid back.
        shipping_twice: It is an adjustment as well (REST fixtures of Shopify/shopify-api-js, 2023-07 to 2026-01).
        adjustment: An amount beside the lines.
        duties: Duties that are paid back, without their tax.
        money: What is paid, in place of the sum.
        explained: Whether what `money` differs by is an adjustment; it is not where an amount is given without rows,
            where fees and exchanges are netted, and where a shop of several currencies rounds twice.
        status: Of the payment.
        gateways: It is paid through, in equal parts.
        note: Of people.
    """
    found, total = [], Decimal(0)
    for at, quantity, restock, location in lines:
        line = order["lineItems"][at]
        share = Decimal(quantity) / line["quantity"]
        subtotal = (gross_of(line) * share).quantize(CENT, ROUND_HALF_UP)
        tax = (tax_of(line) * share).quantize(CENT, ROUND_HALF_UP)
        total += subtotal + (0 if order["taxesIncluded"] else tax)
        found.append(
            {
                "id": rows.gid("RefundLineItem"),
                "quantity": quantity,
                "restockType": restock,
                "lineItem": line,
                "restocked": restock != "NO_RESTOCK",
                "priceSet": line["originalUnitPriceSet"],
                "location": locations[location] if location is not None else None,
                "subtotalSet": rows.bag(subtotal),
                "totalTaxSet": rows.bag(tax),
            }
        )
    freight: list[Row] = []
    adjustments: list[Row] = []
    if shipping is not None:
        its_tax = _tax_of_freight(Decimal(shipping), order)
        paid = Decimal(shipping) + (0 if order["taxesIncluded"] else its_tax)
        total += paid
        amounts = {"subtotalAmountSet": rows.bag(shipping), "taxAmountSet": rows.bag(its_tax)}
        freight = [{"id": rows.gid("RefundShippingLine"), **amounts}]
        if shipping_twice:
            adjustments.append(_adjustment(rows, "SHIPPING_REFUND", paid - its_tax, its_tax))
    extra = Decimal(adjustment or 0)
    total += extra + Decimal(duties or 0)
    if money is not None:
        extra += Decimal(money) - total if explained else 0
        total = Decimal(money)
    if extra:
        adjustments.append(_adjustment(rows, "REFUND_DISCREPANCY", extra, Decimal(0)))
    parts = [(total / len(gateways)).quantize(CENT) for _ in gateways]
    parts[-1] = total - sum(parts[:-1], Decimal(0))
    paid_rows = [
        rows.transaction("REFUND", str(part), gateway, status)
        for part, gateway in zip(parts, gateways, strict=True)
        if part
    ]
    return {
        "id": rows.gid("Refund"),
        "createdAt": stamp,
        "updatedAt": stamp,
        "note": note,
        "duties": [{"amountSet": rows.bag(duties)}] if duties else [],
        "totalRefundedSet": rows.bag(total),
        "refundLineItems": found,
        "refundShippingLines": freight,
        "orderAdjustments": adjustments,
        "transactions": paid_rows,
    }


def _adjustment(rows: RowMaker, reason: str, net: Decimal, tax: Decimal) -> Row:
    """Below zero: it goes to the customer."""
    return {
        "id": rows.gid("OrderAdjustment"),
        "reason": reason,
        "amountSet": rows.bag(-net),
        "taxAmountSet": rows.bag(-tax),
    }


def _tax_of_freight(amount: Decimal, order: Row) -> Decimal:
    row = order["shippingLines"][0]
    return (tax_of(row) * amount / gross_of(row)).quantize(CENT, ROUND_HALF_UP)

"""Looking at events."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from schemas.events import OrderPlaced

TEA = {"sku": "TEA", "quantity": 3, "price": "24.00", "discount": "4.80"}
MUG = {"sku": "MUG", "quantity": 1, "price": "9.99"}


def of(kind: type, items: list[Any]) -> list[Any]:
    """Those of a kind."""
    return [each for each in items if isinstance(each, kind)]


def cents(amount: Decimal) -> Decimal:
    """As B1 rounds it."""
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def gross(part: Any) -> Decimal:
    """With tax."""
    found: Decimal = part.amount + (part.tax_amount or 0)
    return found


def total_of(order: OrderPlaced) -> Decimal:
    """What an order's lines and freight come to."""
    nets = sum((cents(line.quantity * line.unit_price - (line.discount or 0)) for line in order.lines), Decimal(0))
    taxes = sum((line.tax_amount or Decimal(0) for line in order.lines), Decimal(0))
    return nets + taxes + (gross(order.shipping) if order.shipping else 0)

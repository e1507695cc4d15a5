"""Money and sums."""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

ZERO = Decimal(0)
_PENNY = Decimal("0.01")


def round_to_pence(amount: Decimal) -> Decimal:
    return amount.quantize(_PENNY, ROUND_HALF_UP)


def net_of(line: Mapping[str, Any]) -> Decimal:
    return round_to_pence(Decimal(line["quantity"]) * Decimal(line["unit_price"]) - Decimal(line.get("discount") or 0))

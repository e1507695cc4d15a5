"""Amounts of money: rounding to a currency's minor unit, and shares that add up. Pure, Decimal only."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal, localcontext
from functools import lru_cache

from iso4217 import Currency

ZERO = Decimal(0)

_PRECISION = 60  # 13 + 6 digits times 13 + 6 digits, divided: nothing is rounded twice


@lru_cache(maxsize=512)
def minor_units(currency: str) -> int:
    """How many decimals amounts of a currency have, by ISO 4217; two for a code that the list does not have."""
    try:
        digits: int | None = Currency(currency).exponent
    except ValueError:
        digits = None
    return 2 if digits is None else digits  # metals and test codes are in the list without a number


def smallest_unit(currency: str) -> Decimal:
    """The smallest amount of a currency, as 0.01."""
    return Decimal(1).scaleb(-minor_units(currency))


def rounded(amount: Decimal, currency: str) -> Decimal:
    """Half up (away from zero), to the currency's minor unit."""
    with localcontext(prec=_PRECISION):
        return amount.quantize(smallest_unit(currency), ROUND_HALF_UP)


def line_net(quantity: Decimal, unit_price: Decimal, discount: Decimal | None, currency: str) -> Decimal:
    """What a line costs without tax: quantity x price - discount, rounded."""
    with localcontext(prec=_PRECISION):
        return rounded(quantity * unit_price - (discount or ZERO), currency)


def part(total: Decimal, reached: Decimal, whole: Decimal, taken: Decimal, currency: str) -> Decimal:
    """The next partial share of `total`: what `reached` of `whole` comes to, less what earlier shares took.

    However a quantity is split, the shares add up to `total` exactly once `reached` is `whole`; none is negative
    while `0 <= taken <= total`.
    """
    if reached >= whole:
        return total - taken
    with localcontext(prec=_PRECISION):
        return max(ZERO, rounded(total * reached / whole, currency) - taken)


def split(total: Decimal, weights: Sequence[Decimal], currency: str) -> tuple[Decimal, ...]:
    """Shares of `total` in proportion to `weights` (>= 0), that add up to it; without weights the last has it all."""
    whole = sum(weights, ZERO)
    shares: list[Decimal] = []
    reached = taken = ZERO
    for weight in weights:
        reached += weight
        share = part(total, reached, whole, taken, currency) if whole else ZERO
        shares.append(share)
        taken += share
    if shares and not whole:
        shares[-1] = total
    return tuple(shares)

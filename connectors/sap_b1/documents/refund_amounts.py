"""What a refund comes to: its amounts, rounded, and the taxes that its total implies."""

from dataclasses import dataclass
from decimal import Decimal

from connectors.base.errors import Refusal
from connectors.base.money import ZERO, rounded, split
from schemas.events import RefundIssued


@dataclass(frozen=True, slots=True)
class RefundAmounts:
    """The event's amounts, rounded; a tax is None where it is B1's to compute."""

    lines: tuple[tuple[Decimal, Decimal | None], ...]
    shipping: tuple[Decimal, Decimal | None] | None
    adjustment: tuple[Decimal, Decimal | None] | None


def refund_amounts(event: RefundIssued) -> RefundAmounts:
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
    return RefundAmounts(
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

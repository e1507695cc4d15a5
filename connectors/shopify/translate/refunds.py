"""Refunds: units that were not sent are `order_cancelled`, the others and all other money are `refund_issued`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from connectors.base.context import sealed
from connectors.base.money import split
from connectors.shopify import records
from connectors.shopify.translate.balance import Balance, RefundRows, Settlement
from connectors.shopify.translate.context import (
    REMEDY,
    ZERO,
    NetTax,
    ShopifyContext,
    is_charge,
    money_of,
    sku_of,
    sum_of,
)
from connectors.shopify.translate.parts import OrderPart
from connectors.shopify.translate.taxes import ShopifyTaxCodes
from connectors.shopify.translate.units import UnitLedger
from schemas.events import Adjustment, CancelledLine, OrderCancelled, RefundIssued, RefundLine, RefundShipping

_UNDER_WAY = frozenset({"PENDING", "AWAITING_RESPONSE"})


@dataclass(slots=True)
class RefundedUnits:
    """Units of a refund by part of the order, and what its lines come to.

    Attributes:
        cancelled: Units that were not sent: by part, then by line.
        returned: Units that were.
        unsent: Money of the former.
        charged: Money of lines without goods.
    """

    cancelled: dict[int, dict[str, int]] = field(default_factory=dict)
    returned: dict[int, list[RefundLine]] = field(default_factory=dict)
    unsent: Decimal = ZERO
    charged: NetTax = field(default_factory=NetTax)

    @property
    def goods(self) -> Decimal:
        """Money of what is returned."""
        return sum((gross_of(line) for lines in self.returned.values() for line in lines), ZERO)


def gross_of(line: RefundLine) -> Decimal:
    """With tax."""
    return line.amount + (line.tax_amount or ZERO)


def is_under_way(step: records.Refund) -> bool:
    """Whether its money's way is not over."""
    return any(each.status in _UNDER_WAY for each in step.transactions)


class RefundBuilder:
    """Makes the events of one order's refunds."""

    def __init__(
        self, order: records.Order, parts: Sequence[OrderPart], taxes: ShopifyTaxCodes, context: ShopifyContext
    ) -> None:
        self._order, self._parts, self._taxes, self._context = order, parts, taxes, context
        self._lines = {line.id: line for line in order.line_items}
        self._currency = order.total_price_set.shop_money.currency_code
        self._subtotals_hold_tax = order.taxes_included and context.settings.refund_subtotals == "as_order"

    def units(self, step: records.Refund, ledger: UnitLedger) -> RefundedUnits:
        """Which of its units were not sent, and what each line comes to."""
        found = RefundedUnits()
        for row in step.refund_line_items:
            line = self._lines.get(row.line_item.id)
            amount = self._amount(row.subtotal_set, row.total_tax_set)
            if line is None or is_charge(line):
                found.charged += amount
                continue
            if row.quantity <= 0:
                continue
            cancelled: list[tuple[int, int]] = []
            if row.restock_type != "RETURN":
                cancelled = ledger.cancel(line.id, row.quantity, beyond=row.restock_type == "CANCEL")
            for part, quantity in cancelled:
                lines = found.cancelled.setdefault(part, {})
                lines[line.id] = lines.get(line.id, 0) + quantity
            left = row.quantity - sum(quantity for _, quantity in cancelled)
            shares = ledger.bring_back(line.id, left) if left > 0 else []
            # What came back has its share of the money; what never left has the rest, and no invoice to credit.
            weights = [Decimal(number) for number in (*(units for _, units in shares), row.quantity - left)]
            paid, taxes = split(amount.gross, weights, self._currency), split(amount.tax, weights, self._currency)
            found.unsent += paid[-1]
            for (part, quantity), its_paid, its_tax in zip(shares, paid, taxes, strict=False):
                found.returned.setdefault(part, []).append(
                    RefundLine(
                        line_id=line.id,
                        sku=sku_of(line, self._context.settings) or line.id,
                        quantity=Decimal(quantity),
                        amount=its_paid - its_tax,
                        tax_amount=its_tax,
                        restock=row.restock_type in ("RETURN", "LEGACY_RESTOCK"),
                        location=row.location.id if row.location else None,
                    )
                )
        return found

    def cancelled(self, step: records.Refund, units: RefundedUnits) -> list[OrderCancelled]:
        """What will not be sent.

        Raises:
            RecordError: It is no event.
        """
        events: list[OrderCancelled] = []
        for part in sorted(units.cancelled):
            event_id = f"{self._parts[part].order_id}-refund-{step.id}"
            lines = sorted(units.cancelled[part].items())
            event = OrderCancelled(
                **self._context.header(event_id, step.created_at),
                order_id=self._parts[part].order_id,
                reason=step.note,
                lines=tuple(CancelledLine(line_id=line, quantity=Decimal(number)) for line, number in lines),
            )
            events.append(sealed(event, REMEDY))
        return events

    def credited(
        self, step: records.Refund, units: RefundedUnits, balance: Balance, *, was_sent: bool
    ) -> list[RefundIssued]:
        """What the customer gets back for goods that were sent, and beside goods.

        Raises:
            RecordError: It is no event.
            UnexplainedMoneyError: Its money and its rows differ.
        """
        shipping = sum(
            (self._amount(row.subtotal_amount_set, row.tax_amount_set) for row in step.refund_shipping_lines), NetTax()
        )
        money = [each.amount_set for each in step.transactions if each.kind == "REFUND" and each.status == "SUCCESS"]
        rows = RefundRows(
            paid=sum_of(money),
            goods=units.goods,
            unsent=units.unsent,
            shipping=shipping,
            charged=units.charged,
            duties=sum_of([each.amount_set for each in step.duties or ()]),
            adjustments=tuple(
                -NetTax(each.amount_set.amount, each.tax_amount_set.amount) for each in step.order_adjustments
            ),
        )
        if not rows.paid and not (units.returned or shipping or rows.charged or rows.duties):
            # An edit: what its adjustment evens out never left, so there is nothing to credit.
            balance.credited += rows.unsent
            return []
        settlement = balance.settle(rows, step.created_at, was_sent=was_sent)
        if not (units.returned or shipping or settlement.adjustment):
            return []
        return self._events(step, units.returned or {0: []}, shipping, settlement)

    def _events(
        self,
        step: records.Refund,
        returned: Mapping[int, Sequence[RefundLine]],
        shipping: NetTax,
        settlement: Settlement,
    ) -> list[RefundIssued]:
        lines, shipping, adjustment = _with_rounding(returned, shipping, settlement)
        first = min(lines)
        events: list[RefundIssued] = []
        for part in sorted(lines):
            # Money beside the goods goes with the first part that has any.
            extra = (shipping, adjustment) if part == first else (NetTax(), NetTax())
            refund_id = step.id if part == first else f"{step.id}-{part}"
            event = RefundIssued(
                **self._context.header(refund_id, step.created_at),
                refund_id=refund_id,
                order_id=self._parts[part].order_id,
                currency=self._currency,
                lines=tuple(lines[part]),
                shipping=RefundShipping(amount=extra[0].net, tax_amount=extra[0].tax) if extra[0] else None,
                adjustment=self._adjustment(extra[1], settlement) if extra[1] else None,
                total=sum((gross_of(line) for line in lines[part]), extra[0].gross + extra[1].gross),
                reason=step.note,
            )
            events.append(sealed(event, REMEDY))
        return events

    def _adjustment(self, amount: NetTax, settlement: Settlement) -> Adjustment:
        code = self._context.settings.adjustment_tax_code
        if code is None and not settlement.untaxed:
            code = self._taxes.code_of_amount(amount)
        # Where nobody stated its tax and none is configured, none is stated.
        tax = None if settlement.untaxed and not amount.tax else amount.tax
        return Adjustment(amount=amount.net, tax_code=code, tax_amount=tax)

    def _amount(self, subtotal: records.MoneyBag, tax: records.MoneyBag) -> NetTax:
        return money_of(subtotal.amount, tax.amount, includes_tax=self._subtotals_hold_tax)


def _with_rounding(
    returned: Mapping[int, Sequence[RefundLine]], shipping: NetTax, settlement: Settlement
) -> tuple[dict[int, list[RefundLine]], NetTax, NetTax]:
    """The rows, the largest of them with the cents by which the money differs."""
    lines = {part: list(rows) for part, rows in returned.items()}
    cents, adjustment = NetTax(settlement.rounding), settlement.adjustment
    if not cents:
        return lines, shipping, adjustment
    places = [(row.amount, part, index) for part, rows in lines.items() for index, row in enumerate(rows)]
    if places:
        amount, part, index = max(places)
        lines[part][index] = replace(lines[part][index], amount=amount + cents.net)
    elif shipping:
        shipping += cents
    else:
        adjustment += cents
    return lines, shipping, adjustment

"""A refund's money explained: by its rows, by what the customer owed, or not at all.

What arrived at the customer (`paid`) and what the rows say rarely differ, and each way they do is known:

    paid is                    because                                        becomes
    some cents off             a shop of several currencies rounds twice      the largest row takes it
    less by one shipping       its refund is stated twice, in two lists         stated once
    less by a return's fees    they are kept back (agreements, FEE)           an adjustment below zero
    less                       the customer owed it: goods of an exchange,    nothing: the credit settles it
                               an order that is not paid
    more                       the customer had paid too much                 nothing: no invoice has it
    more by the tax of duties  refunds state duties without it                 the adjustment's tax
    more, and there are no     the shop gives an amount                       an adjustment
    rows
    anything else              nobody knows                                   a dead letter

"Netted in the refund's money": shopify.dev changelog, 2024-07, "Return fees and exchanges".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from connectors.base.money import rounded
from connectors.shopify import records
from connectors.shopify.settings import ShopifySettings
from connectors.shopify.translate.context import ZERO, NetTax
from connectors.shopify.translate.parts import PAID, OrderPart, time_of


class UnexplainedMoneyError(Exception):
    """A refund's money and its rows differ, and nothing says why; says how."""


@dataclass(frozen=True, slots=True)
class RefundRows:
    """What a refund says of money.

    Attributes:
        paid: What the customer got.
        goods: For units that had been sent, with tax.
        unsent: For units that had not, with tax: there is no invoice to credit.
        shipping: Freight.
        charged: Tips, fees: lines without goods.
        duties: Without their tax.
        adjustments: Amounts beside the rows; below zero: less was paid.
    """

    paid: Decimal
    goods: Decimal
    unsent: Decimal
    shipping: NetTax
    charged: NetTax
    duties: Decimal
    adjustments: tuple[NetTax, ...]

    @property
    def is_money_only(self) -> bool:
        """Whether there are no rows."""
        return not (self.goods or self.unsent or self.shipping or self.charged or self.duties or self.adjustments)


@dataclass(frozen=True, slots=True)
class Settlement:
    """What is to be credited beside the goods.

    Attributes:
        adjustment: Tips, duties, fees, goodwill.
        rounding: Cents for the largest row.
        untaxed: Whether nothing at all is stated of the adjustment's tax.
    """

    adjustment: NetTax
    rounding: Decimal = ZERO
    untaxed: bool = False


@dataclass(slots=True)
class Balance:
    """The customer's account with one order, refund by refund in the order in which they happened.

    Attributes:
        order: The order.
        ordered: Its parts, and what each comes to.
        fees: Of returns, not kept back yet.
        duty_tax_rate: Tax of the order's duties for each unit of money of them.
        tolerance: In the order's currency.
        settings: The connector's.
        credited: What earlier refunds took off the order.
        refunded: What they paid.
    """

    order: records.Order
    ordered: Sequence[tuple[OrderPart, Decimal]]
    fees: NetTax
    duty_tax_rate: Decimal
    tolerance: Decimal
    settings: ShopifySettings
    credited: Decimal = ZERO
    refunded: Decimal = ZERO

    @property
    def currency(self) -> str:
        """The shop's."""
        return self.order.total_price_set.shop_money.currency_code

    def owed(self, at: datetime, *, was_sent: bool) -> Decimal:
        """What the customer had still to pay; below zero: what was paid too much."""
        received = sum(
            (
                each.amount_set.amount
                for each in self.order.transactions
                if each.kind in PAID and each.status == "SUCCESS" and time_of(each) <= at
            ),
            ZERO,
        )
        # Goods of an exchange are owed from the moment in which the others come back, whichever is written first.
        ordered = sum((total for part, total in self.ordered if part.exchange or part.moment <= at), ZERO)
        if self.order.cancelled_at is not None and not was_sent:
            return self.refunded - received
        owed = ordered - self.credited - received + self.refunded
        return owed if abs(owed) > self.tolerance else ZERO

    def settle(self, rows: RefundRows, at: datetime, *, was_sent: bool) -> Settlement:
        """Explain a refund's money.

        Raises:
            UnexplainedMoneyError: Nothing explains it.
        """
        owed = self.owed(at, was_sent=was_sent)
        adjustments = self._stated_once(rows)
        kept = -sum((each.gross for each in adjustments if each.gross < 0), ZERO)
        if kept and self._has_exchange():
            # What Shopify writes off as a discrepancy is what the other goods cost.
            adjustments = tuple(each for each in adjustments if each.gross >= 0)
        else:
            kept = ZERO
        adjustment = sum(adjustments, rows.charged + NetTax(rows.duties))
        value = rows.goods + rows.unsent + rows.shipping.gross + adjustment.gross
        rest = rows.paid - value
        self.credited += value
        self.refunded += rows.paid
        untaxed = False
        if rest < -self.tolerance:
            if self.fees.gross > 0 and -rest >= self.fees.gross - self.tolerance:
                adjustment += -self.fees
                rest += self.fees.gross
                self.credited -= self.fees.gross
                self.fees = NetTax()
            rest += min(-rest, max(owed, ZERO)) if rest < 0 else ZERO
            if rest < -self.tolerance and -rest <= kept + self.tolerance:
                adjustment += NetTax(rest)
                self.credited += rest
                rest = ZERO
        elif rest > self.tolerance:
            duty_tax = rounded(rows.duties * self.duty_tax_rate, self.currency)
            if duty_tax and abs(rest - duty_tax) <= self.tolerance:
                adjustment += NetTax(ZERO, rest)
                self.credited += rest
                rest = ZERO
            rest -= min(rest, max(-owed, ZERO))
            if rest > self.tolerance and rows.is_money_only:
                adjustment += self._split(rest)
                self.credited += rest
                rest, untaxed = ZERO, True
        if abs(rest) > self.tolerance:
            stated, paid = rounded(value, self.currency), rounded(rows.paid, self.currency)
            raise UnexplainedMoneyError(f"its rows come to {stated}, its money to {paid}, and nothing says why")
        return Settlement(adjustment, rest, untaxed)

    def _stated_once(self, rows: RefundRows) -> tuple[NetTax, ...]:
        """The adjustments without a shipping refund that is a row already, where the money has it only once."""
        shipping, adjustments = rows.shipping.gross, rows.adjustments
        if not shipping:
            return adjustments
        value = rows.goods + rows.unsent + shipping + rows.charged.gross + rows.duties
        value += sum((each.gross for each in adjustments), ZERO)
        for index, each in enumerate(adjustments):
            same = min(abs(each.gross - shipping), abs(each.net - shipping)) <= self.tolerance
            if same and abs(value - each.gross - rows.paid) < abs(value - rows.paid):
                return (*adjustments[:index], *adjustments[index + 1 :])
        return adjustments

    def _has_exchange(self) -> bool:
        return any(part.exchange for part, _ in self.ordered)

    def _split(self, gross: Decimal) -> NetTax:
        """An amount of which Shopify does not state the tax."""
        rate = self.settings.adjustment_tax_rate / 100
        net = rounded(gross / (1 + rate), self.currency)
        return NetTax(net, gross - net)

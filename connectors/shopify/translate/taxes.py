"""Tax codes of lines, charges and adjustments.

A rate that Shopify states is never left to the company's default code: where the country is not known (a sale at a till
has no address), the code is the rate alone, as `20`, which somebody maps or B1 refuses. A rate is believed only as far
as the
tax agrees with it: buyers who are exempt have tax lines of 20 % that come to nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from connectors.base.money import rounded, smallest_unit
from connectors.shopify import records
from connectors.shopify.settings import ShopifySettings
from connectors.shopify.translate.context import ZERO, NetTax

_STEP = Decimal("0.000001")
#: The code where there is a tax and its rate cannot be stated.
UNKNOWN = "unknown"
#: The code of what is not taxed, where codes are the titles of taxes.
UNTAXED = "none"


@dataclass(frozen=True, slots=True)
class Charge:
    """Money of an order that is no goods: freight, a duty, a fee, a tip.

    Attributes:
        amount: What it comes to.
        taxes: As Shopify states them; None: it does not, and the amount has to say it.
    """

    amount: NetTax
    taxes: Sequence[records.TaxLine] | None = None


class ShopifyTaxCodes:
    """The tax codes of one order."""

    def __init__(self, order: records.Order, settings: ShopifySettings) -> None:
        self._kind = settings.tax_codes
        self._currency = order.total_price_set.shop_money.currency_code
        addresses = (order.shipping_address, order.billing_address)
        self._country = next(
            (each.country_code_v2 for each in addresses if each and each.country_code_v2), settings.home_country
        )
        self._known: dict[Decimal, Sequence[records.TaxLine]] = {}
        rows = [line.tax_lines for line in order.line_items] + [line.tax_lines for line in order.shipping_lines]
        for taxes in rows:
            if stated := _stated_rate(taxes):
                self._known.setdefault(stated, taxes)

    def rate(self, taxes: Sequence[records.TaxLine], amount: NetTax) -> Decimal | None:
        """The rate in percent, 0 where nothing is taxed; None: there is a tax, and its rate is not stated."""
        stated = _stated_rate(taxes)
        if stated and not amount.tax and rounded(abs(amount.net) * stated / 100, self._currency):
            return ZERO
        return stated

    def code(self, taxes: Sequence[records.TaxLine], amount: NetTax) -> str:
        """The code of a line."""
        rate = self.rate(taxes, amount)
        if self._kind != "title":
            return self._of_rate(rate)
        return "+".join(each.title or UNKNOWN for each in taxes) if taxes and rate != 0 else UNTAXED

    def code_of_charges(self, charges: Iterable[Charge]) -> str | None:
        """The code of charges that become one amount; several, as `GB-0+GB-20`, where they are taxed differently."""
        codes = {
            self.code_of_amount(each.amount) if each.taxes is None else self.code(each.taxes, each.amount)
            for each in charges
        }
        return "+".join(sorted(codes)) or None

    def code_of_amount(self, amount: NetTax) -> str:
        """The code of an amount that states its tax and not its rate: that of an order's rate which comes to it."""
        if not amount.tax:
            return self.code((), amount)
        slack = 2 * smallest_unit(self._currency)
        for rate, taxes in self._known.items():
            if abs(amount.net * rate / 100 - amount.tax) <= slack:
                return self.code(taxes, amount)
        return UNKNOWN if self._kind == "title" else self._of_rate(None)

    def _of_rate(self, rate: Decimal | None) -> str:
        text = UNKNOWN if rate is None else format(rate.normalize(), "f")
        return f"{self._country}-{text}" if self._country and self._kind == "country-rate" else text


def tax_of(taxes: Sequence[records.TaxLine]) -> Decimal:
    """What they come to."""
    return sum((each.price_set.amount for each in taxes), ZERO)


def _stated_rate(taxes: Sequence[records.TaxLine]) -> Decimal | None:
    """The rates of a row together, in percent; None where one is not stated."""
    rates = [each.rate for each in taxes]
    if any(rate is None for rate in rates):
        return None
    return (sum((rate for rate in rates if rate is not None), ZERO) * 100).quantize(_STEP)

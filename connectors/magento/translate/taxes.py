"""Which tax code a row, the shipping or an adjustment has. What the amounts say wins over what a rate says."""

from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal

from connectors.base.money import ZERO, smallest_unit
from connectors.magento.records import OrderItemRecord, OrderRecord
from connectors.magento.settings import MagentoSettings
from connectors.magento.translate.amounts import NetAndTax, tolerance_of

_PERCENT_STEP = Decimal("0.01")


class MagentoTaxCodes:
    """The tax codes of one order, as `tax_codes` wants them.

    A rate is never left to the company's default: where no country is known its code is the rate alone, as `20`. So it
    is with `none`, where lines have their rate beside them, and shipping and adjustments cannot.

    Args:
        order: Whose rows they are.
        country: Where it goes, or is billed; None: unknown.
        settings: The connector's.
    """

    def __init__(self, order: OrderRecord, country: str | None, settings: MagentoSettings) -> None:
        self._order, self._country, self._kind = order, country, settings.tax_codes
        self._unit = smallest_unit(order.currency)
        self._tolerance = tolerance_of(settings, order.currency)
        self._percents = sorted({item.tax_percent for item in order.items if item.tax_percent})
        self._applied: dict[int, str] = {}
        self._shipping_code: str | None = None
        self._shipping_percent: Decimal | None = None
        for taxed in order.item_applied_taxes:
            codes = "+".join(tax.code for tax in taxed.applied_taxes if tax.code)
            if taxed.type == "shipping":
                self._shipping_code = self._shipping_code or codes or None
                percents = [tax.percent for tax in taxed.applied_taxes if tax.percent is not None]
                self._shipping_percent = sum(percents, ZERO) if percents else self._shipping_percent
            # Taxes of a fixed product tax or of gift wrapping name the row that they belong to as well.
            elif codes and taxed.item_id is not None and taxed.type in (None, "product"):
                self._applied.setdefault(taxed.item_id, codes)

    def rate_of(self, row: OrderItemRecord) -> Decimal | None:
        """A row's percent, as stated where its amounts bear it out, else as they come to; None: nobody can say."""
        net = row.row_total - row.discount_amount + row.discount_tax_compensation_amount
        # Tax may be computed before the discount, by unit, or on the total and then spread over the rows.
        slack = row.qty_ordered * self._unit / 2 + (self._tolerance if self._order.tax_amount else ZERO)
        return _charged_percent(row.tax_amount, (net, row.row_total), row.tax_percent, self._percents, slack)

    def of_row(self, row: OrderItemRecord) -> str | None:
        if self._kind == "none":
            return None
        rate = self.rate_of(row)
        applied = self._applied.get(row.item_id) if row.tax_percent in (None, rate) else None
        return self._code(rate, applied)

    def of_shipping(self, shipping: NetAndTax) -> str | None:
        """The percentage in the shop's applied taxes; without one, what the amounts come to."""
        order, stated = self._order, self._shipping_percent
        amount, tax = order.shipping_amount, shipping.tax
        if self._kind == "none" and not (shipping.net or tax):
            return None
        full_tax = ZERO if order.shipping_incl_tax is None else order.shipping_incl_tax - amount
        rate = stated
        if full_tax and amount:  # what it is without its discount
            rate = _charged_percent(full_tax, (amount,), stated, self._percents, self._unit)
        if shipping.net or tax:
            rate = _charged_percent(tax, (shipping.net, amount), rate, self._percents, self._unit)
        return self._code(ZERO if rate is None else rate, self._shipping_code if stated in (None, rate) else None)

    def of_rate(self, rate: Decimal) -> str | None:
        return self._code(rate, None)

    def _code(self, rate: Decimal | None, applied: str | None) -> str | None:
        if self._kind == "applied" and applied is not None:
            return applied
        if rate is None:
            return None
        number = format(rate.normalize(), "f") if rate else "0"
        return number if self._country is None or self._kind == "none" else f"{self._country}-{number}"


def _charged_percent(
    tax: Decimal, bases: Sequence[Decimal], stated: Decimal | None, others: Iterable[Decimal], slack: Decimal
) -> Decimal | None:
    """The percent that an amount of tax comes to; None: there is nothing that it could be the tax of.

    Args:
        tax: As charged.
        bases: Nets that it may have been charged on, the likelier first.
        stated: The percent that it is said to be; None: nothing is said.
        others: Percents that are known otherwise.
        slack: By how much rounding may miss.
    """

    def miss(percent: Decimal) -> Decimal:
        return min(abs(base * percent / 100 - tax) for base in bases)

    if stated is not None and miss(stated) <= slack:
        return stated
    if not tax:
        return ZERO
    fitting = [percent for percent in others if miss(percent) <= slack]
    if fitting:
        return min(fitting, key=miss)
    base = next((base for base in bases if base > 0), None)
    return None if base is None else (tax * 100 / base).quantize(_PERCENT_STEP, ROUND_HALF_UP)

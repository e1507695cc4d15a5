"""`order_placed`: lines net of tax, and what else the customer pays as freight, summing to the order's total."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, ROUND_UP, Decimal

from connectors.base.context import sealed
from connectors.base.money import rounded, smallest_unit
from connectors.shopify import records
from connectors.shopify.settings import ShopifySettings
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
from connectors.shopify.translate.parts import FIRST, PAID, OrderPart, time_of
from connectors.shopify.translate.taxes import Charge, ShopifyTaxCodes, tax_of
from schemas.events import Address, Customer, OrderLine, OrderPlaced, Payment, Shipping

_STEP = Decimal("0.000001")
#: Below it a line rounds to the same amount in every currency.
_LEAST_AMOUNT = Decimal("0.0005")


class PartMoney:
    """What a part of an order comes to.

    Attributes:
        amounts: By line, charges without goods among them.
        charges: Freight, duties and fees.
        duties: Duties and fees among them.
        tax: Together; None: Shopify does not state it.
        total: With tax.
    """

    def __init__(self, order: records.Order, part: OrderPart, settings: ShopifySettings) -> None:
        self.amounts: dict[str, NetTax]
        self.charges: list[Charge]
        self.duties = NetTax()
        self.tax: Decimal | None = None
        if part.sales is None:
            self._read_order(order)
            self._settle_rounding(settings.rounding_tolerance * smallest_unit(_currency(order)))
            return
        self.amounts, self.charges = dict(part.sales.amounts), list(part.sales.charges)
        self.duties = part.sales.duties
        if part.key == FIRST:
            if not self.duties:
                duties = _duties(order)
                self.charges += duties
                self.duties = sum((each.amount for each in duties), NetTax())
            self.tax = sum((each.tax for each in self._all()), ZERO)
        self.total = sum((each.gross for each in self._all()), ZERO)

    def _all(self) -> list[NetTax]:
        return [*self.amounts.values(), *(each.amount for each in self.charges)]

    def _read_order(self, order: records.Order) -> None:
        """As it stands in the order itself."""
        included = order.taxes_included
        self.amounts = {}
        for line in order.line_items:
            price = line.quantity * line.original_unit_price_set.amount
            paid = price - sum_of([each.allocated_amount_set for each in line.discount_allocations])
            self.amounts[line.id] = money_of(paid, tax_of(line.tax_lines), includes_tax=included)
        self.charges = []
        for row in order.shipping_lines:
            paid = row.original_price_set.amount
            paid -= sum_of([each.allocated_amount_set for each in row.discount_allocations])
            self.charges.append(Charge(money_of(paid, tax_of(row.tax_lines), includes_tax=included), row.tax_lines))
        self.total = order.total_price_set.amount
        self.tax = order.total_tax_set.amount if order.total_tax_set is not None else None
        duties = _duties(order)
        if not duties:
            return
        without = self._all()
        rest = self.total - sum((each.gross for each in without), ZERO)
        goods_tax = sum((each.tax for each in without), ZERO)
        duties = _with_tax(duties, rest, None if self.tax is None else self.tax - goods_tax, _currency(order))
        self.charges += duties
        self.duties = sum((each.amount for each in duties), NetTax())
        if self.tax is not None and self.tax == goods_tax:
            # Whether the order's tax holds that of its duties is not documented; its total does.
            self.tax += self.duties.tax

    def _settle_rounding(self, tolerance: Decimal) -> None:
        """Let the largest line take the cents by which a shop of several currencies misses its own total.

        More than that is left for B1 to refuse.
        """
        if not self.amounts:
            return
        if self.tax is not None:
            rest = self.tax - sum((each.tax for each in self._all()), ZERO)
            line = max(self.amounts, key=lambda name: self.amounts[name].tax)
            if rest and abs(rest) <= tolerance and self.amounts[line].tax + rest >= 0:
                self.amounts[line] += NetTax(ZERO, rest)
        rest = self.total - sum((each.gross for each in self._all()), ZERO)
        line = max(self.amounts, key=lambda name: self.amounts[name].net)
        if rest and abs(rest) <= tolerance and self.amounts[line].net + rest >= 0:
            self.amounts[line] += NetTax(rest)


def _duties(order: records.Order) -> list[Charge]:
    """Duties and additional fees as they were charged, one by one where Shopify states them so."""
    found: list[Charge] = []
    rows: list[records.TaxedPrice] = [duty for line in order.line_items for duty in line.duties]
    for whole, stated in (
        (order.original_total_duties_set, rows),
        (order.original_total_additional_fees_set, order.additional_fees),
    ):
        if whole is None or not whole.amount:
            continue
        if sum_of([each.price for each in stated]) == whole.amount:
            found += [Charge(NetTax(each.price.amount, tax_of(each.tax_lines)), each.tax_lines) for each in stated]
        else:
            tax = sum((tax_of(each.tax_lines) for each in stated), ZERO)
            found.append(Charge(NetTax(whole.amount, tax)))
    return found


def _with_tax(duties: list[Charge], rest: Decimal, tax_rest: Decimal | None, currency: str) -> list[Charge]:
    """Duties with their tax, where the order's totals know it better than they do.

    Args:
        duties: One or more.
        rest: What the order's total is above everything else.
        tax_rest: The same of its tax; None: not stated.
        currency: Of all of it.
    """
    net = sum((each.amount.net for each in duties), ZERO)
    tax = sum((each.amount.tax for each in duties), ZERO)
    slack = smallest_unit(currency) * len(duties)
    if not tax:
        tax = rest - net if rest > net + slack else tax_rest or ZERO
        if not ZERO < tax <= net:
            return duties
        duties = [Charge(NetTax(net, tax))]
    if abs(rest - net) > slack:
        return duties
    # Their prices hold it.
    return [Charge(NetTax(each.amount.net - each.amount.tax, each.amount.tax), each.taxes) for each in duties]


def order_placed(
    order: records.Order, part: OrderPart, money: PartMoney, taxes: ShopifyTaxCodes, context: ShopifyContext
) -> OrderPlaced:
    """The event of a part that has goods, all of them with a sku.

    Raises:
        RecordError: It is no event.
    """
    lines = [line for line in order.line_items if part.quantities.get(line.id)]
    charges = [
        *money.charges,
        *(Charge(money.amounts[line.id], line.tax_lines) for line in lines if is_charge(line)),
    ]
    first = part.key == FIRST
    event = OrderPlaced(
        **context.header(part.order_id, order.processed_at or order.created_at if first else part.moment),
        order_id=part.order_id,
        order_number=part.number,
        channel=order.source_name,
        currency=_currency(order),
        customer=_customer(order),
        ship_to=_address(order.shipping_address),
        bill_to=_address(order.billing_address),
        lines=tuple(
            _line(order, line, part.quantities[line.id], money.amounts[line.id], taxes, context.settings)
            for line in lines
            if not is_charge(line)
        ),
        shipping=_shipping(order.shipping_lines[0] if order.shipping_lines and first else None, charges, taxes),
        tax_total=money.tax,
        grand_total=money.total,
        payment=_payment(order, context.settings) if first else None,
        note=order.note,
    )
    return sealed(event, REMEDY)


def _line(
    order: records.Order,
    line: records.LineItem,
    units: int,
    amount: NetTax,
    taxes: ShopifyTaxCodes,
    settings: ShopifySettings,
) -> OrderLine:
    currency, quantity, net = _currency(order), Decimal(units), amount.net
    gross_price = quantity * line.original_unit_price_set.amount
    paid = amount.gross if order.taxes_included else net
    discount = max(ZERO, gross_price - paid)
    if order.taxes_included and paid > 0:
        discount = rounded(discount * net / paid, currency)
    price = ((net + discount) / quantity).quantize(_STEP, ROUND_HALF_UP)
    if abs(quantity * price - discount - net) >= _LEAST_AMOUNT:
        # So many units that the price's sixth digit shows in the total: the discount takes it.
        price = ((net + discount) / quantity).quantize(_STEP, ROUND_UP)
        discount = quantity * price - net
    return OrderLine(
        line_id=line.id,
        sku=sku_of(line, settings) or "",
        name=line.name,
        quantity=quantity,
        unit_price=price,
        discount=discount or None,
        tax_code=taxes.code(line.tax_lines, amount),
        tax_rate=taxes.rate(line.tax_lines, amount),
        tax_amount=amount.tax,
    )


def _shipping(first: records.ShippingLine | None, charges: Sequence[Charge], taxes: ShopifyTaxCodes) -> Shipping | None:
    """Freight, and what else is charged and never sent: duties, fees, tips."""
    amount = sum((each.amount for each in charges), NetTax())
    if first is None and not amount:
        return None
    return Shipping(
        method=first.title if first else None,
        carrier=first.source if first else None,
        amount=amount.net,
        tax_code=taxes.code_of_charges([each for each in charges if each.amount] or charges),
        tax_amount=amount.tax,
    )


def _customer(order: records.Order) -> Customer:
    address = order.billing_address or order.shipping_address
    name = order.customer.display_name if order.customer else None
    return Customer(
        id=order.customer.id if order.customer else None,
        email=order.email,
        name=name or (address.name if address else None),
        guest=order.customer is None,
    )


def _payment(order: records.Order, settings: ShopifySettings) -> Payment | None:
    """The first payment; only where orders wait for one, since elsewhere it may come after the event."""
    if settings.place_on != "paid":
        return None
    paid = [each for each in order.transactions if each.status == "SUCCESS" and each.kind in PAID]
    first = min(paid, key=lambda each: (time_of(each), each.id), default=None)
    if first is None:
        return None
    return Payment(method=first.gateway or "unknown", amount=first.amount_set.amount, reference=first.id)


def _currency(order: records.Order) -> str:
    return order.total_price_set.shop_money.currency_code


def _address(address: records.ShopifyAddress | None) -> Address | None:
    if address is None:
        return None
    return Address(
        name=address.name,
        company=address.company,
        street=address.address1,
        street2=address.address2,
        city=address.city,
        postcode=address.zip,
        region=address.province_code,
        country=address.country_code_v2,
        phone=address.phone,
    )

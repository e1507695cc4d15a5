"""Net and tax of lines and shipping, as the shop computed them, made to add up to the document's totals."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from connectors.base.money import ZERO, rounded, smallest_unit, split
from connectors.base.values import STEP
from connectors.magento.records import CreditmemoRecord, OrderItemRecord, OrderRecord, RefundedItemRecord
from connectors.magento.settings import MagentoSettings
from connectors.magento.translate.items import ItemGroup

PricedRow = OrderItemRecord | RefundedItemRecord


@dataclass(slots=True)
class NetAndTax:
    """Net (after discount) and tax of one line, or of the shipping, in whole minor units."""

    net: Decimal
    tax: Decimal


@dataclass(frozen=True, slots=True)
class DocumentAmounts:
    """The money of an order or a credit memo.

    Attributes:
        lines: By line_id.
        shipping: Net of its discount.
        total: Gross, with what was paid by gift card and the like, without adjustments.
        tax_total: Contained in it.
    """

    lines: Mapping[int, NetAndTax]
    shipping: NetAndTax
    total: Decimal
    tax_total: Decimal

    @property
    def unexplained(self) -> Decimal:
        """By how much lines and shipping miss the total."""
        return self.total - sum((each.net + each.tax for each in (*self.lines.values(), self.shipping)), ZERO)


def tolerance_of(settings: MagentoSettings, currency: str) -> Decimal:
    """`rounding_tolerance` is in a currency with two decimals; in another it is as many of its smallest units."""
    return settings.rounding_tolerance * 100 * smallest_unit(currency)


def document_amounts(
    document: OrderRecord | CreditmemoRecord,
    groups: Iterable[ItemGroup],
    rows: Mapping[int, OrderItemRecord] | Mapping[int, RefundedItemRecord],
    moved: Mapping[int, Decimal],
    settings: MagentoSettings,
) -> DocumentAmounts:
    """The money of a document's lines and shipping.

    Args:
        document: The order, or a credit memo of it.
        groups: The order's.
        rows: The document's own rows, by item_id of the order.
        moved: Which lines it is about, and how many of each.
        settings: The connector's.
    """
    currency = document.currency
    lines: dict[int, NetAndTax] = {}
    priced: list[PricedRow] = []
    for group in groups:
        lines |= _line_amounts(group, rows, moved, currency)
        priced += [rows[row.item_id] for row in group.priced if row.item_id in rows]
    total = document.grand_total + document.credited
    if isinstance(document, CreditmemoRecord):
        total -= document.adjustment
    total, tax_total = rounded(total, currency), rounded(document.tax_amount, currency)
    left_net = total - tax_total - sum((each.net for each in lines.values()), ZERO)
    # The shop says nowhere on which basis a discount was computed: it is the one that comes to its total.
    nets, tolerance = list(_shipping_nets(document, priced)), tolerance_of(settings, currency)
    net = min(nets, key=lambda net: abs(net - left_net))
    if abs(net - left_net) > tolerance:
        net = nets[0]
    shipping = NetAndTax(rounded(net, currency), rounded(document.shipping_tax_amount, currency))
    amounts = DocumentAmounts(lines, shipping, total, tax_total)
    _settle(amounts, tolerance)
    return amounts


def _row_amounts(row: PricedRow, currency: str) -> NetAndTax:
    """A row's money. In a shop whose prices include tax the discount does too, and the compensation is that tax.

    So net = row_total - discount + compensation holds in both tax modes.
    """
    net = row.row_total - row.discount_amount + row.discount_tax_compensation_amount
    return NetAndTax(rounded(net, currency), rounded(row.tax_amount, currency))


def _line_amounts(
    group: ItemGroup,
    rows: Mapping[int, OrderItemRecord] | Mapping[int, RefundedItemRecord],
    moved: Mapping[int, Decimal],
    currency: str,
) -> dict[int, NetAndTax]:
    """The money of a group's lines that moved."""
    lines = [line.item_id for line in group.lines if line.item_id in moved]
    if not lines:
        return {}
    found = {item_id: _row_amounts(row, currency) for item_id, row in rows.items()}
    parts = [found.get(line_id, NetAndTax(ZERO, ZERO)) for line_id in lines]
    if group.is_priced_by_parts and any(part.net or part.tax for part in parts):
        return dict(zip(lines, parts, strict=True))
    top = found.get(group.top.item_id)
    if top is None and not group.is_bundle:
        top = next((found[child.item_id] for child in group.children if child.item_id in found), None)
    if top is None:
        top = NetAndTax(ZERO, ZERO)
    weights = [moved[line_id] for line_id in lines]
    nets, taxes = split(top.net, weights, currency), split(top.tax, weights, currency)
    return {line_id: NetAndTax(net, tax) for line_id, net, tax in zip(lines, nets, taxes, strict=True)}


def _shipping_nets(document: OrderRecord | CreditmemoRecord, rows: Iterable[PricedRow]) -> Iterator[Decimal]:
    """What shipping may cost net of its discount, the likelier first.

    A discount is with tax where the shop computes it so, up to the whole of `shipping_incl_tax`, and the compensation
    is the tax in it. An order says both by themselves; a credit memo says them only within the document's.
    """
    row_discounts = row_compensations = ZERO
    for row in rows:
        row_discounts += row.discount_amount
        row_compensations += row.discount_tax_compensation_amount
    own = document.shipping_discount_amount
    rest = -document.discount_amount - row_discounts
    discounts = [*([] if own is None else [own]), *([rest] if rest > 0 else []), ZERO]
    compensations = (
        document.shipping_discount_tax_compensation_amount,
        document.discount_tax_compensation_amount - row_compensations,
    )
    for discount in discounts:
        for compensation in compensations:
            yield document.shipping_amount - discount + compensation
        if discount and document.shipping_incl_tax is not None:
            yield document.shipping_incl_tax - discount - document.shipping_tax_amount
        if discount > document.shipping_amount:
            yield ZERO  # with tax, and all of it


def _settle(amounts: DocumentAmounts, tolerance: Decimal) -> None:
    """Let the largest part take what the parts differ by from the totals; a larger difference is left for all to see.

    The shop may compute tax on the total and spread it over the rows, and its rows then miss by a cent or two: the
    document's totals are the truth.
    """
    lines = list(amounts.lines.values())
    every, candidates = [*lines, amounts.shipping], lines or [amounts.shipping]
    rest = amounts.tax_total - sum((each.tax for each in every), ZERO)
    if rest and abs(rest) <= tolerance:
        largest = max(candidates, key=lambda each: each.tax)
        if largest.tax + rest >= 0:
            largest.tax += rest
    rest = amounts.total - amounts.tax_total - sum((each.net for each in every), ZERO)
    if rest and abs(rest) <= tolerance:
        largest = max(candidates, key=lambda each: each.net)
        if largest.net + rest >= 0:
            largest.net += rest


def unit_price(quantity: Decimal, price: Decimal, net: Decimal) -> tuple[Decimal, Decimal | None]:
    """A unit price and a discount that come to a net exactly: the shop's own price wherever it does."""
    discount = (quantity * price - net).quantize(STEP)
    if discount < 0:
        price = (net / quantity).quantize(STEP, ROUND_CEILING)
        discount = (quantity * price - net).quantize(STEP)
    return price, discount or None

"""Credit memos: goods that will not leave any more, and money back for those that had left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from connectors.base.context import sealed
from connectors.base.errors import RecordError
from connectors.base.money import ZERO, rounded, split
from connectors.base.validate import exactly
from connectors.magento.records import CreditmemoRecord, OrderRecord, ShipmentRecord
from connectors.magento.settings import MagentoSettings
from connectors.magento.translate.amounts import DocumentAmounts, document_amounts
from connectors.magento.translate.context import REMEDY, MagentoContext, country_of
from connectors.magento.translate.items import cancelled_lines, item_groups, moved_lines
from connectors.magento.translate.taxes import MagentoTaxCodes
from schemas.events import Adjustment, CancelledLine, OrderCancelled, RefundIssued, RefundLine, RefundShipping


@dataclass(frozen=True, slots=True)
class History:
    """What else happened to the order of a credit memo: all of its shipments and credit memos, that one included."""

    shipments: Sequence[ShipmentRecord]
    creditmemos: Sequence[CreditmemoRecord]


@exactly
def refunded(
    memo: CreditmemoRecord, order: OrderRecord, history: History, context: MagentoContext
) -> tuple[OrderCancelled | RefundIssued, ...]:
    """What a credit memo means: goods that will not leave any more, and money back for those that had left.

    The shop takes a refund off what it has still to ship, as long as there is something
    (qty_to_ship = ordered - shipped - refunded - cancelled). B1 has not invoiced those goods, so there they are
    cancelled and not credited. Where nothing had left and nothing will, the refund is emitted as it is, for the
    record: it ends as a no-op.

    Raises:
        RecordError: It names rows that the order does not have, or money that none of its parts explains.
    """
    if not any((memo.items, memo.adjustment_positive, memo.adjustment_negative, memo.shipping_amount)):
        raise RecordError(f"the credit memo has neither items nor shipping nor adjustment; {REMEDY}")
    groups, currency = item_groups(order), memo.currency
    moved = moved_lines(order, memo.items)
    unshipped, leaves = _unshipped(memo, order, history, context.settings)
    rows = {row.order_item_id: row for row in memo.items}
    amounts = document_amounts(memo, groups, rows, moved, context.settings)
    if amounts.unexplained:
        raise RecordError(
            "grand_total is not what the items, the shipping and the adjustments come to; "
            "see what else was given back (a fixed product tax, gift wrapping), and book it in B1, or edit and replay"
        )
    events: list[OrderCancelled | RefundIssued] = []
    if unshipped:
        cancelled = OrderCancelled(
            **context.header(f"creditmemo-{memo.entity_id}", memo.created_at),
            order_id=str(memo.order_id),
            reason=f"refunded before it left: credit memo {memo.increment_id}",
            lines=tuple(CancelledLine(line_id=str(i), quantity=q) for i, q in unshipped.items()),
        )
        events.append(sealed(cancelled, REMEDY))
    lines = _refund_lines(order, moved, amounts, unshipped if leaves else {}, memo, context.settings)
    freight = amounts.shipping
    shipping = RefundShipping(amount=freight.net, tax_amount=freight.tax) if freight.net or freight.tax else None
    adjustment = _adjustment(memo, order, context.settings)
    if lines or shipping or adjustment:
        parts: list[RefundLine | RefundShipping | Adjustment | None] = [*lines, shipping, adjustment]
        refund = RefundIssued(
            **context.header(str(memo.entity_id), memo.created_at),
            refund_id=str(memo.entity_id),
            order_id=str(memo.order_id),
            currency=currency,
            lines=lines,
            shipping=shipping,
            adjustment=adjustment,
            total=sum((part.amount + (part.tax_amount or ZERO) for part in parts if part is not None), ZERO),
            reason=f"credit memo {memo.increment_id}",
        )
        events.append(sealed(refund, REMEDY))
    return tuple(events)


def _unshipped(
    memo: CreditmemoRecord, order: OrderRecord, history: History, settings: MagentoSettings
) -> tuple[dict[int, Decimal], bool]:
    """Which of the refunded units had not left, and whether any of the order has left or still will.

    Shipments and credit memos do not change once made, so the answer is the same whenever it is worked out.
    """
    if "shipments" not in settings.flows:
        return {}, True
    groups = item_groups(order)
    virtual = {line.item_id for group in groups for line in group.lines if group.is_virtual(line)}
    open_: dict[int, Decimal] = {line.item_id: line.qty_ordered for group in groups for line in group.lines}
    for line_id, quantity in cancelled_lines(order).items():
        open_[line_id] -= quantity
    has_left = bool(virtual)
    steps: list[tuple[datetime, int, int, ShipmentRecord | CreditmemoRecord]] = [
        *((each.created_at, 0, each.entity_id, each) for each in history.shipments),
        *((each.created_at, 1, each.entity_id, each) for each in history.creditmemos if each.state != 3),
    ]
    taken: dict[int, Decimal] = {}
    for _, _, entity_id, step in sorted(steps, key=lambda step: step[:3]):
        taken = {}
        for line_id, quantity in moved_lines(order, step.items).items():
            if line_id in virtual:
                continue
            taken[line_id] = min(quantity, max(ZERO, open_[line_id]))
            open_[line_id] -= taken[line_id]
        if isinstance(step, ShipmentRecord):
            has_left = has_left or any(taken.values())
        elif entity_id == memo.entity_id:
            break
    leaves = has_left or any(quantity > 0 for line_id, quantity in open_.items() if line_id not in virtual)
    return {line_id: quantity for line_id, quantity in taken.items() if quantity}, leaves


def _refund_lines(
    order: OrderRecord,
    moved: Mapping[int, Decimal],
    amounts: DocumentAmounts,
    left_out: Mapping[int, Decimal],
    memo: CreditmemoRecord,
    settings: MagentoSettings,
) -> tuple[RefundLine, ...]:
    lines: list[RefundLine] = []
    for group in item_groups(order):
        for line in group.lines:
            cancelled = left_out.get(line.item_id, ZERO)
            quantity = moved.get(line.item_id, ZERO) - cancelled
            if quantity <= 0:
                continue
            of_line = amounts.lines[line.item_id]
            lines.append(
                RefundLine(
                    line_id=str(line.item_id),
                    sku=group.sku(line),
                    quantity=quantity,
                    amount=split(of_line.net, [cancelled, quantity], memo.currency)[1],
                    tax_amount=split(of_line.tax, [cancelled, quantity], memo.currency)[1],
                    restock=settings.restock and not group.is_virtual(line),
                )
            )
    return tuple(lines)


def _adjustment(memo: CreditmemoRecord, order: OrderRecord, settings: MagentoSettings) -> Adjustment | None:
    """Goodwill less fee; the shop knows no tax on it, but the law may: the setting says how much it contains."""
    gross = rounded(memo.adjustment, memo.currency)
    if not gross:
        return None
    rate = settings.adjustment_tax_rate
    net = rounded(gross * 100 / (100 + rate), memo.currency)
    code = settings.adjustment_tax_code or MagentoTaxCodes(order, country_of(order), settings).of_rate(rate)
    return Adjustment(amount=net, tax_code=code, tax_amount=gross - net)

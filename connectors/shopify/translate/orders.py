"""An order, with all that happened to it, to what is emitted for it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from connectors.base.context import sealed
from connectors.base.loop_guard import LoopGuard
from connectors.base.money import smallest_unit
from connectors.base.source import RefusedRecord
from connectors.base.validate import exactly
from connectors.shopify import records
from connectors.shopify.marks import MadeFulfillment, marks_of, reported
from connectors.shopify.settings import ShopifySettings
from connectors.shopify.translate.balance import Balance, UnexplainedMoneyError
from connectors.shopify.translate.context import (
    REMEDY,
    ZERO,
    OrderChange,
    ShopifyContext,
    is_charge,
    refused,
    sku_of,
)
from connectors.shopify.translate.dispatches import DispatchBuilder
from connectors.shopify.translate.parts import (
    OrderPart,
    fees_of,
    may_hide_an_exchange,
    parts_of,
    placed_at,
)
from connectors.shopify.translate.placed import PartMoney, order_placed
from connectors.shopify.translate.refunds import RefundBuilder, is_under_way
from connectors.shopify.translate.taxes import ShopifyTaxCodes
from connectors.shopify.translate.units import UnitLedger
from schemas.events import DispatchConfirmed, FactEvent, OrderCancelled, OrderPlaced, RefundIssued, StockAdjusted

_OPEN_STATES = frozenset({"PENDING", "OPEN", "IN_PROGRESS"})


def is_ours(order: records.Order, settings: ShopifySettings) -> bool:
    """Whether the order is none of the shop's own: written by us, or a test."""
    return LoopGuard.of(*settings.ignore_tags).is_own(tags=order.tags) or (order.test and not settings.test_orders)


@exactly
def changes_of(order: records.Order, raw: Mapping[str, Any], context: ShopifyContext) -> list[OrderChange]:
    """All that has happened to an order, oldest first.

    Args:
        order: With every line, fulfilment, refund and (if it has more than its first) agreement.
        raw: What it was read from, for a dead letter.
        context: In whose name.

    Raises:
        RecordError: What it comes to is no event.
    """
    since = placed_at(order, context.settings)
    if since is None or is_ours(order, context.settings):
        return []
    builder = OrderEventBuilder(order, raw, context, since)
    # Nothing happens to an order before it is one: what came earlier is emitted with it.
    changes = [
        replace(
            each,
            moment=max(each.moment, since),
            items=tuple(item for item in each.items if _is_wanted(item, context)),
        )
        for each in builder.changes()
    ]
    return sorted((each for each in changes if each.items or not each.final), key=lambda each: each.moment)


class OrderEventBuilder:
    """Makes the changes of one order."""

    def __init__(self, order: records.Order, raw: Mapping[str, Any], context: ShopifyContext, since: datetime) -> None:
        self._order, self._raw, self._context = order, raw, context
        self._parts, self._repriced = parts_of(order, since)
        self._taxes = ShopifyTaxCodes(order, context.settings)
        self._money = [PartMoney(order, part, context.settings) for part in self._parts]
        lines = {line.id: line for line in order.line_items}
        self._dispatches = DispatchBuilder(lines, self._parts, context)
        self._refunds = RefundBuilder(order, self._parts, self._taxes, context)
        self._ours = _ours(order)

    def changes(self) -> list[OrderChange]:
        """All of them, in no order."""
        found = [self._placed(part, money) for part, money in zip(self._parts, self._money, strict=True)]
        found += [self._repricing(agreement) for agreement in self._repriced]
        found += self._moved()
        if self._order.cancelled_at is not None:
            found += [self._cancelled(part, self._order.cancelled_at) for part in self._parts]
        return found

    def _placed(self, part: OrderPart, money: PartMoney) -> OrderChange:
        goods = [line for line in self._order.line_items if part.quantities.get(line.id) and not is_charge(line)]
        nameless = next((line for line in goods if sku_of(line, self._context.settings) is None), None)
        what = None
        if nameless is not None:
            kind = "gift_card" if nameless.is_gift_card else "custom"
            what = (
                f"has line {nameless.id} without a sku; give its product one, or set "
                f"connectors.{self._context.source}.skus.{kind}, then edit and replay"
            )
        elif not goods:
            what = "has no goods, only charges; key it in B1 by hand, and discard this"
        elif may_hide_an_exchange(self._order):
            what = (
                "has goods that came back for less than they cost, and its agreements are not there to say which lines "
                "were exchanged for them; key it in B1 by hand, and discard this"
            )
        items: tuple[FactEvent | RefusedRecord, ...]
        if what is not None:
            items = (self._refusal("order_placed", part.key, what, part.order_id),)
        else:
            items = (order_placed(self._order, part, money, self._taxes, self._context),)
        return OrderChange(part.key, part.moment, items)

    def _repricing(self, agreement: records.Agreement) -> OrderChange:
        what = (
            "was edited and a price changed, which cannot be posted; change the order in B1 by hand, and discard this"
        )
        key = f"e{agreement.id}"
        return OrderChange(key, agreement.happened_at, (self._refusal("order_placed", key, what, self._order.id),))

    def _cancelled(self, part: OrderPart, at: datetime) -> OrderChange:
        reason = self._order.cancel_reason
        event = OrderCancelled(
            **self._context.header(f"{part.order_id}-cancelled", at),
            order_id=part.order_id,
            reason=reason.lower() if reason else None,
        )
        return OrderChange(f"c{part.key}", max(at, part.moment), (sealed(event, REMEDY),))

    def _moved(self) -> list[OrderChange]:
        """Fulfilments and refunds, worked through in the order in which they happened."""
        ledger, balance, found = UnitLedger(self._parts), self._balance(), list[OrderChange]()
        steps: list[records.Fulfillment | records.Refund] = [*self._order.fulfillments, *self._order.refunds]
        # Of one second the fulfilment comes first: what is refunded as sent has been sent.
        steps.sort(key=lambda step: (step.created_at, isinstance(step, records.Refund), step.id))
        for step in steps:
            if isinstance(step, records.Refund):
                found.append(self._refunded(step, ledger, balance))
            else:
                found.append(self._fulfilled(step, ledger))
        return found

    def _balance(self) -> Balance:
        currency = self._order.total_price_set.shop_money.currency_code
        settings = self._context.settings
        totals = [money.total for money in self._money]
        duties = self._money[0].duties
        return Balance(
            order=self._order,
            ordered=list(zip(self._parts, totals, strict=True)),
            fees=fees_of(self._order),
            duty_tax_rate=duties.tax / duties.net if duties.net else ZERO,
            tolerance=settings.rounding_tolerance * smallest_unit(currency),
            settings=settings,
        )

    def _fulfilled(self, step: records.Fulfillment, ledger: UnitLedger) -> OrderChange:
        key = f"f{step.id}"
        if step.status == "SUCCESS":
            items = tuple(self._dispatches.dispatched(step, ledger))
            if step.id in self._ours:  # B1 told us; what the count takes off with it is still to be evened out
                items = tuple(item for item in items if not isinstance(item, DispatchConfirmed))
            return OrderChange(key, step.created_at, items)
        if step.status != "CANCELLED" or step.updated_at <= step.created_at:
            return OrderChange(key, step.created_at, final=step.status not in _OPEN_STATES)
        key = f"f{step.id}-cancelled"
        what = (
            f"had fulfilment {step.id}, which was cancelled after it was made; if B1 has its delivery, return it "
            "there by hand, "
            "then discard this"
        )
        letter = self._refusal("dispatch_confirmed", key, what, self._order.id)
        undone: list[FactEvent | RefusedRecord] = [letter, *self._dispatches.counted(step, -1)]
        return OrderChange(key, step.updated_at, tuple(undone), undoes=(f"f{step.id}", step.created_at))

    def _refunded(self, step: records.Refund, ledger: UnitLedger, balance: Balance) -> OrderChange:
        key = f"r{step.id}"
        units = self._refunds.units(step, ledger)
        if is_under_way(step):
            # What it says of goods can wait with its money.
            return OrderChange(key, step.created_at, final=False)
        items: list[FactEvent | RefusedRecord] = []
        if self._order.cancelled_at is None:
            items += self._refunds.cancelled(step, units)
        try:
            items += self._refunds.credited(step, units, balance, was_sent=ledger.was_sent)
        except UnexplainedMoneyError as error:
            what = f"has refund {step.id}, which cannot be posted: {error}; credit it in B1 by hand, and discard this"
            items.append(self._refusal("refund_issued", key, what, self._order.id, reason="total_mismatch"))
        return OrderChange(key, step.created_at, tuple(items))

    def _refusal(
        self, event_type: str, key: str, what: str, order_id: str, *, reason: str = "invalid_event"
    ) -> RefusedRecord:
        digest = f"order-{self._order.id}-{key}"
        return refused(event_type, digest, self._raw, f"the order {what}", reason=reason, order_id=order_id)


def _ours(order: records.Order) -> frozenset[str]:
    """Ids of the fulfilments that we made ourselves; a metafield that is not as we write it names none."""
    made = [
        MadeFulfillment(
            each.id,
            each.status,
            tuple(info.number for info in each.tracking_info if info.number),
            {row.line_item.id: row.quantity for row in each.fulfillment_line_items if row.quantity > 0},
        )
        for each in order.fulfillments
    ]
    try:
        marks = marks_of(order.metafield.value if order.metafield else None)
    except ValueError:
        return frozenset()
    return frozenset(one.id for each in reported(marks, made).values() for one in each.fulfillments)


def _is_wanted(item: FactEvent | RefusedRecord, context: ShopifyContext) -> bool:
    names = {
        OrderPlaced: "order_placed",
        OrderCancelled: "order_cancelled",
        DispatchConfirmed: "dispatch_confirmed",
        RefundIssued: "refund_issued",
        StockAdjusted: "dispatch_confirmed",  # it goes with one
    }
    name = item.event_type if isinstance(item, RefusedRecord) else names.get(type(item))
    return name in context.settings.events

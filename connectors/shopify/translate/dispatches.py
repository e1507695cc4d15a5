"""`dispatch_confirmed` of fulfilments, and the plus that keeps a counted location's stock right."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from connectors.base.context import sealed
from connectors.shopify import records
from connectors.shopify.translate.context import (
    NO_LOCATION,
    REMEDY,
    ShopifyContext,
    is_charge,
    sku_of,
)
from connectors.shopify.translate.parts import OrderPart
from connectors.shopify.translate.units import UnitLedger
from schemas.events import DispatchConfirmed, DispatchLine, StockAdjusted


class DispatchBuilder:
    """Makes the dispatches of one order."""

    def __init__(
        self, lines: Mapping[str, records.LineItem], parts: Sequence[OrderPart], context: ShopifyContext
    ) -> None:
        self._parts, self._context = parts, context
        self._lines = {name: line for name, line in lines.items() if not is_charge(line)}

    def dispatched(self, step: records.Fulfillment, ledger: UnitLedger) -> list[DispatchConfirmed | StockAdjusted]:
        """A fulfilment: one event for each part of the order that has units in it.

        Raises:
            RecordError: It is no event.
        """
        sent: dict[int, list[DispatchLine]] = {}
        for row in step.fulfillment_line_items:
            line = self._lines.get(row.line_item.id)
            if line is None or row.quantity <= 0:
                continue
            for part, quantity in ledger.send(line.id, row.quantity):
                sent.setdefault(part, []).append(
                    DispatchLine(line_id=line.id, sku=self._sku(line), quantity=Decimal(quantity))
                )
        numbers = dict.fromkeys(each.number for each in step.tracking_info if each.number)
        events: list[DispatchConfirmed | StockAdjusted] = []
        for part in sorted(sent):
            shipment_id = step.id if part == min(sent) else f"{step.id}-{part}"
            event = DispatchConfirmed(
                **self._context.header(shipment_id, step.created_at),
                shipment_id=shipment_id,
                order_id=self._parts[part].order_id,
                location=step.location.id if step.location else NO_LOCATION,
                carrier=next((each.company for each in step.tracking_info if each.company), None),
                tracking_numbers=tuple(numbers),
                lines=tuple(sent[part]),
            )
            events.append(sealed(event, REMEDY))
        return [*events, *self.counted(step, 1)]

    def counted(self, step: records.Fulfillment, sign: int) -> list[StockAdjusted]:
        """What a dispatch from a counted location must not take off twice.

        B1's delivery takes the units off, and so does the next count, which knows no deliveries. So each dispatch comes
        with the same units as a plus: it and the count's minus are nothing together, mostly within one window.

        Args:
            step: The fulfilment.
            sign: 1: it was made; -1: it was cancelled after that.
        """
        context = self._context
        since = context.counted_since.get(step.location.id) if step.location else None
        if since is None or step.location is None or step.created_at <= since:
            return []
        units: dict[str, int] = {}
        for row in step.fulfillment_line_items:
            line = self._lines.get(row.line_item.id)
            if line is not None and row.quantity > 0:
                units[self._sku(line)] = units.get(self._sku(line), 0) + row.quantity
        name, at = ("dispatched", step.created_at) if sign > 0 else ("undispatched", step.updated_at)
        return [
            sealed(
                StockAdjusted(
                    **context.header(f"{step.id}-{name}", at),
                    sku=sku,
                    location=step.location.id,
                    delta=Decimal(sign * quantity),
                    reason="other",
                    note=f"fulfilment {step.id}, which its delivery takes off and the count takes off as well",
                ),
                REMEDY,
            )
            for sku, quantity in sorted(units.items())
        ]

    def _sku(self, line: records.LineItem) -> str:
        return sku_of(line, self._context.settings) or line.id

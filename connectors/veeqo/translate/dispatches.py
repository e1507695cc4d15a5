"""A shipment, and a count of stock."""

from datetime import datetime
from decimal import Decimal

from connectors.base.context import sealed
from connectors.base.errors import RecordError
from connectors.base.money import ZERO
from connectors.base.source import StockLevel
from connectors.veeqo.records import REMEDY, VeeqoAllocation, VeeqoOrder
from connectors.veeqo.translate.orders import VeeqoContext
from schemas.events import DispatchConfirmed, DispatchLine

#: Carriers by id, where a shipment names only that (api-docs, "Create a Shipment"; 3 is "Other").
CARRIERS = {
    "1": "Royal Mail",
    "2": "FedEx",
    "3": "Other",
    "4": "DPD",
    "5": "UPS",
    "6": "CityLink",
    "7": "USPS",
    "8": "Interlink",
    "9": "DHL",
    "10": "MyHermes",
    "11": "Australia Post",
    "12": "Parcelforce",
    "13": "TNT",
    "14": "Yodel",
    "15": "APC",
    "16": "DX",
    "17": "UK Mail",
    "18": "Israel Post",
    "19": "Canada Post",
    "23": "Hermes World",
    "24": "DHL DE",
}


def dispatch_confirmed(
    allocation: VeeqoAllocation, order: VeeqoOrder, order_id: str, context: VeeqoContext
) -> DispatchConfirmed:
    """One allocation's shipment. Its lines name no line of the order: by sellable, where only one line has it.

    Args:
        allocation: With its shipment.
        order: It belongs to.
        order_id: The order's id at whoever reports it.
        context: Whose event it is.

    Raises:
        RecordError: Nothing is in it.
    """
    shipment = allocation.shipment
    of_sellable: dict[str, list[str]] = {}
    for line in order.line_items:
        of_sellable.setdefault(line.sellable.id, []).append(line.id)
    lines: dict[str, DispatchLine] = {}
    for item in allocation.line_items:
        if not item.quantity:
            continue
        ids = of_sellable.get(item.sellable.id, []) if order_id == order.id else []
        known = lines.get(item.sellable.id)
        lines[item.sellable.id] = DispatchLine(
            line_id=ids[0] if len(ids) == 1 else None,
            sku=item.sellable.sku_code,
            quantity=item.quantity + (known.quantity if known else ZERO),
        )
    if not lines:
        raise RecordError("the shipment has no units in it; fix its allocation in Veeqo")
    carrier = shipment.carrier.name if shipment.carrier else None
    event = DispatchConfirmed(
        **context.header(shipment.id, shipment.created_at),
        shipment_id=shipment.id,
        order_id=order_id,
        location=allocation.warehouse.id,
        carrier=carrier or CARRIERS.get(shipment.carrier_id or ""),
        tracking_numbers=tuple(each.tracking_number for each in shipment.tracking_number if each.tracking_number),
        lines=tuple(lines.values()),
    )
    return sealed(event, REMEDY)


def stock_level(
    sku: str, warehouse: str, level: Decimal, sequence: int, at: datetime, context: VeeqoContext
) -> StockLevel:
    """What was counted of a sku in a warehouse.

    Args:
        sku: Veeqo's sku_code.
        warehouse: Its id.
        level: Units on the shelf, and those that shipments have taken from it: B1 takes these by their deliveries.
        sequence: Grows with every report of the place.
        at: When it was read, by Veeqo's clock.
        context: Whose event it is.
    """
    return StockLevel(
        source=context.source,
        company=context.company,
        event_id=f"{sequence}:{format(level.normalize(), 'f')}",
        occurred_at=min(at, context.observed_at),
        observed_at=context.observed_at,
        sku=sku,
        location=warehouse,
        level=level,
        sequence=sequence,
        reason=context.settings.stock_reason,
    )

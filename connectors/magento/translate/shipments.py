"""Goods that left: shipments, and invoices of what never ships."""

from collections.abc import Mapping
from decimal import Decimal

from connectors.base.context import sealed
from connectors.base.errors import RecordError
from connectors.base.validate import exactly
from connectors.magento.records import InvoiceRecord, OrderRecord, ShipmentRecord
from connectors.magento.settings import MagentoSettings
from connectors.magento.translate.context import REMEDY, MagentoContext
from connectors.magento.translate.items import item_groups, moved_lines
from schemas.events import DispatchConfirmed, DispatchLine


@exactly
def dispatch_confirmed(
    shipment: ShipmentRecord, order: OrderRecord, context: MagentoContext
) -> DispatchConfirmed | None:
    """The shipment by lines of its order; None: nothing left with it.

    Raises:
        RecordError: It names no place, or rows that the order does not have.
    """
    location = shipment.source_code or context.settings.source
    if location is None:
        raise RecordError(
            "extension_attributes.source_code is missing and the connector's setting source is not set; "
            "set it to the place that shipments leave from, and replay"
        )
    tracks = shipment.tracks
    carriers = [carrier for track in tracks if (carrier := _carrier(track.carrier_code, track.title, context.settings))]
    lines = _dispatch_lines(order, moved_lines(order, shipment.items))
    if not lines:
        return None
    return sealed(
        DispatchConfirmed(
            **context.header(str(shipment.entity_id), shipment.created_at),
            shipment_id=str(shipment.entity_id),
            order_id=str(shipment.order_id),
            location=location,
            carrier=carriers[0] if carriers else None,
            tracking_numbers=tuple(dict.fromkeys(track.track_number for track in tracks if track.track_number)),
            lines=lines,
        ),
        REMEDY,
    )


def _carrier(code: str | None, title: str | None, settings: MagentoSettings) -> str | None:
    custom = code in (None, "custom")
    for name in (title, code) if custom else (code, title):
        if name in settings.carriers:
            return settings.carriers[name]
    return title if custom else code


def _dispatch_lines(order: OrderRecord, moved: Mapping[int, Decimal]) -> tuple[DispatchLine, ...]:
    return tuple(
        DispatchLine(
            line_id=str(line.item_id),
            sku=group.sku(line),
            quantity=moved[line.item_id],
        )
        for group in item_groups(order)
        for line in group.lines
        if line.item_id in moved
    )


@exactly
def virtual_dispatched(invoice: InvoiceRecord, order: OrderRecord, context: MagentoContext) -> DispatchConfirmed | None:
    """What never ships leaves with its invoice; None: the invoice has nothing of that kind, or does not count.

    Raises:
        RecordError: It names rows that the order does not have.
    """
    location = context.settings.virtual_source
    if location is None or invoice.state == 3:
        return None
    virtual = {line.item_id for group in item_groups(order) for line in group.lines if group.is_virtual(line)}
    moved = {line_id: q for line_id, q in moved_lines(order, invoice.items).items() if line_id in virtual}
    lines = _dispatch_lines(order, moved)
    if not lines:
        return None
    return sealed(
        DispatchConfirmed(
            **context.header(f"invoice-{invoice.entity_id}", invoice.created_at),
            shipment_id=f"invoice-{invoice.entity_id}",
            order_id=str(invoice.order_id),
            location=location,
            lines=lines,
        ),
        REMEDY,
    )

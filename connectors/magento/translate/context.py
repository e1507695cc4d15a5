"""In whose name a shop's events are made."""

from typing import TypeAlias

from connectors.base.context import EventContext
from connectors.magento.records import OrderRecord
from connectors.magento.settings import MagentoSettings

MagentoContext: TypeAlias = EventContext[MagentoSettings]

#: What to do about a record that cannot be an event.
REMEDY = "fix it in the shop, or edit and replay"


def country_of(order: OrderRecord) -> str | None:
    """Where the goods go; where the order is billed if nothing ships, since the shop taxes it there."""
    ship_to = order.shipping.address if order.shipping else None
    return (ship_to and ship_to.country_id) or (order.billing_address and order.billing_address.country_id) or None

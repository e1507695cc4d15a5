"""Deliveries that B1 made of Veeqo's orders, brought to Veeqo as shipments: allocations that have left."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.base.errors import OutcomeUnknownError
from connectors.base.sending import ChannelRefusedError
from connectors.base.sink import ChannelEffect, Delivered
from connectors.veeqo.catalogue import Catalogue
from connectors.veeqo.client import VeeqoClient
from connectors.veeqo.placing import refused, units_by_place
from connectors.veeqo.settings import VeeqoSettings
from connectors.veeqo.translate.dispatches import CARRIERS

_OTHER_CARRIER = 3
_CARRIER_IDS = {name.casefold(): int(number) for number, name in CARRIERS.items()}


@dataclass(frozen=True, slots=True)
class _Allocation:
    """Attributes: id; warehouse id; units by sellable; its shipment, as Veeqo has it, None: it waits."""

    id: int
    warehouse: str
    units: Mapping[int, int]
    shipment: Mapping[str, Any] | None

    def has_left_as(self, tracking: str) -> bool:
        number = (self.shipment or {}).get("tracking_number")
        number = number.get("tracking_number") if isinstance(number, Mapping) else number
        return self.shipment is not None and str(number or "").strip() == tracking


class OrderShipping:
    """Args: the connector's client, its settings."""

    def __init__(self, client: VeeqoClient, settings: VeeqoSettings) -> None:
        self._client, self._settings = client, settings

    async def ship(self, effect: ChannelEffect, catalogue: Catalogue) -> Delivered:
        """Ship what B1 has delivered, once; a part that was shipped by an earlier try is found again.

        Raises:
            ChannelRefusedError: Veeqo does not take it.
        """
        content = effect.content
        order_id = str(content["order_id"])
        if content.get("corrected"):
            raise ChannelRefusedError(
                f"order {order_id}: Veeqo cannot change the number of a shipment; correct it there, then discard this"
            )
        places = units_by_place(content["lines"], catalogue)
        inside = sorted(place for place in places if not place or self._settings.ships(place))
        if inside or not places:
            where = ", ".join(inside) or "no warehouse"
            raise ChannelRefusedError(
                f"order {order_id}: it left {where}, which out.ships_from does not name, so that Veeqo ships there "
                "itself; name it, or discard this"
            )
        tracking = str(content["tracking_numbers"][0]).strip()
        shipped = [await self._ship_from(place, units, order_id, tracking, effect) for place, units in places.items()]
        return Delivered(k=effect.k, outcome="sent", ref=" ".join(shipped))

    async def _ship_from(
        self, warehouse: str, units: Mapping[int, int], order_id: str, tracking: str, effect: ChannelEffect
    ) -> str:
        allocations = await self._allocations(order_id)
        here = [each for each in allocations if each.warehouse == warehouse and each.units == units]
        done = next((each for each in here if each.has_left_as(tracking)), None)
        if done is not None:
            return str((done.shipment or {}).get("id"))
        waiting = next((each for each in here if each.shipment is None), None)
        if waiting is None:
            await self._allocate(order_id, warehouse, units, allocations, effect)
            found = await self._allocations(order_id)
            waiting = next(
                (
                    each
                    for each in found
                    if each.warehouse == warehouse and each.units == units and each.shipment is None
                ),
                None,
            )
            if waiting is None:
                raise OutcomeUnknownError(f"veeqo: order {order_id} was allocated, and does not show it")
        return await self._ship(order_id, waiting, tracking, effect)

    async def _allocate(
        self,
        order_id: str,
        warehouse: str,
        units: Mapping[int, int],
        allocations: list[_Allocation],
        effect: ChannelEffect,
    ) -> None:
        """Reserve exactly what has left; where Veeqo has reserved it by its own rules, that becomes ours."""
        rows = [{"sellable_id": each, "quantity": quantity} for each, quantity in units.items()]
        allocation = {"warehouse_id": int(warehouse), "line_items_attributes": rows}
        taken = next(
            (
                each
                for each in allocations
                if each.shipment is None and all(each.units.get(one, 0) >= units[one] for one in units)
            ),
            None,
        )
        if taken is not None:
            answer = await self._client.write("PUT", f"/orders/{order_id}/allocations/{taken.id}", allocation)
        else:
            body = {"allocation": allocation}
            answer = await self._client.write("POST", f"/orders/{order_id}/allocations", body)
        if not answer.is_done:
            raise refused(f"order {order_id}", answer, effect)

    async def _ship(self, order_id: str, waiting: _Allocation, tracking: str, effect: ChannelEffect) -> str:
        out = self._settings.out
        carrier = str(effect.content.get("carrier") or "").replace("-", " ").casefold()
        shipment = {
            "tracking_number_attributes": {"tracking_number": tracking},
            "carrier_id": _CARRIER_IDS.get(carrier, _OTHER_CARRIER),
            "notify_customer": out is not None and out.notify_customer,
            "update_remote_order": out is not None and out.update_remote_order,
        }
        body = {"shipment": shipment, "allocation_id": waiting.id, "order_id": int(order_id)}
        answer = await self._client.write("POST", "/shipments", body)
        if not answer.is_done:
            raise refused(f"order {order_id}", answer, effect)
        return str(answer.fields.get("id") or "")

    async def _allocations(self, order_id: str) -> list[_Allocation]:
        order = await self._client.show(f"/orders/{order_id}") if order_id.isascii() and order_id.isdigit() else None
        if order is None:
            raise ChannelRefusedError(f"Veeqo has no order {order_id}; discard this")
        try:
            return [_allocation(each) for each in order.get("allocations") or ()]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ChannelRefusedError(
                f"order {order_id}: its allocations cannot be read; look at it in Veeqo"
            ) from None


def _allocation(row: Mapping[str, Any]) -> _Allocation:
    units: dict[int, int] = {}
    for line in row["line_items"]:
        sellable = int(line["sellable"]["id"])
        units[sellable] = units.get(sellable, 0) + int(line["quantity"])
    return _Allocation(int(row["id"]), str(row["warehouse"]["id"]), units, row.get("shipment"))

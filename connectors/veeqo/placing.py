"""Orders of other channels and of people, brought to Veeqo to be picked and packed; and taken back from it.

Veeqo does not promise that a number is unique, and knows no key of a call. An order that we make carries the K of its
effect as the reference of its payment: it is looked for under its number before it is made, and after.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator

from connectors.base.errors import OutcomeUnknownError, RecordError
from connectors.base.sending import ChannelRefusedError, channel_words
from connectors.base.sink import ChannelEffect, Delivered
from connectors.veeqo.catalogue import MAX_SEARCH_PAGES, PAGE_SIZE, Catalogue
from connectors.veeqo.client import VeeqoAnswer, VeeqoClient
from connectors.veeqo.records import Identity, VeeqoOrderHead, VeeqoPayment, first_of, validate
from connectors.veeqo.settings import VeeqoOutSettings

_MARK = "order_released-"


class _MarkedOrder(VeeqoOrderHead):
    """Of an order what tells whose it is."""

    status: Identity
    payment: Annotated[VeeqoPayment | None, BeforeValidator(first_of)] = None

    @property
    def mark(self) -> str:
        """The K of the effect that made it, where that was one of ours."""
        found = (self.payment.reference_number if self.payment else None) or ""
        return found if found.startswith(_MARK) else ""


class OrderPlacing:
    """Args: the connector's client, its settings of what goes out."""

    def __init__(self, client: VeeqoClient, out: VeeqoOutSettings) -> None:
        self._client, self._out = client, out

    async def place(self, effect: ChannelEffect, catalogue: Catalogue) -> Delivered:
        """Make the order, once.

        Raises:
            ChannelRefusedError: Veeqo does not take it, or has it from another channel.
        """
        number = str(effect.content["order_id"])
        body = self._body(effect, catalogue)
        ours = await self._open_orders(number, effect)
        if not ours:
            answer = await self._client.write("POST", "/orders", {"order": body})
            if not answer.is_done:
                raise refused(f"order {number}", answer, effect)
            made = answer.fields.get("id")
            ours = {*await self._open_orders(number, effect), *([made] if isinstance(made, int) else [])}
        if not ours:
            raise OutcomeUnknownError(f"veeqo: order {number} was made, and does not show")
        # Two processes may have made it at the same time: each of them keeps the same one.
        first, *others = sorted(ours)
        for other in others:
            await self._cancel(other, "made twice", effect)
        if self._out.allocates:
            await self._allocate(first, effect.content["lines"], catalogue)
        return Delivered(k=effect.k, outcome="sent", ref=str(first))

    async def withdraw(self, effect: ChannelEffect) -> Delivered:
        """Cancel the order that we made.

        Raises:
            ChannelRefusedError: Something of it has left.
        """
        number = str(effect.content["order_id"])
        ids = [int(effect.ref)] if effect.ref else [int(each.id) for each in await self._search(number) if each.mark]
        for each in ids:
            await self._cancel(each, str(effect.content.get("reason") or "withdrawn"), effect)
        return Delivered(k=effect.k, outcome="sent", ref=effect.ref)

    async def _cancel(self, order_id: int, reason: str, effect: ChannelEffect) -> None:
        order = await self._client.show(f"/orders/{order_id}")
        if order is None or order.get("status") == "cancelled":
            return
        if order.get("status") == "shipped" and reason == "closed":
            return  # all that Veeqo had of it has left; B1 has closed the rest
        if any(each.get("shipment") for each in order.get("allocations") or ()):
            raise ChannelRefusedError(f"order {order_id} has left Veeqo, in whole or in part; book its return")
        body = {"id": order_id, "send_veeqo_email": False, "cancel_reason": reason}
        answer = await self._client.write("PUT", f"/orders/{order_id}/cancel", body)
        if not answer.is_done and answer.status != 404:
            raise refused(f"cancellation of order {order_id}", answer, effect)

    async def _open_orders(self, number: str, effect: ChannelEffect) -> set[int]:
        """Ids of the orders that this effect has made; an order of that number that another channel brought is none."""
        found = [each for each in await self._search(number) if each.status != "cancelled"]
        others = [each.id for each in found if each.mark != effect.k]
        if others:
            raise ChannelRefusedError(
                f"Veeqo has an order {number} already ({', '.join(others)}), which this is not; if its shop brings it "
                "there, take its warehouses off this connector, else cancel it there, then retry"
            )
        return {int(each.id) for each in found}

    async def _search(self, number: str) -> list[_MarkedOrder]:
        """The orders of exactly this number; the search is free text."""
        found: dict[str, _MarkedOrder] = {}
        for page_number in range(1, MAX_SEARCH_PAGES + 1):
            page = await self._client.page("/orders", {"query": number, "page": page_number, "page_size": PAGE_SIZE})
            rows = [row for row in page.rows if isinstance(row, Mapping) and str(row.get("number")).strip() == number]
            try:
                orders = [validate(_MarkedOrder, row) for row in rows]
                found |= {each.id: each for each in orders}
            except RecordError as error:
                raise ChannelRefusedError(f"an order {number} of Veeqo's cannot be read: {error}") from None
            if len(page.rows) < (page.per_page or PAGE_SIZE):
                break
        return list(found.values())

    async def _allocate(self, order_id: int, lines: Sequence[Mapping[str, Any]], catalogue: Catalogue) -> None:
        """Reserve the lines where B1 has them, unless Veeqo has done so by its own rules; it may lack the goods."""
        order = await self._client.show(f"/orders/{order_id}")
        if order is None or order.get("allocations"):
            return
        for warehouse, units in units_by_place(lines, catalogue).items():
            if not warehouse:
                continue
            rows = [{"sellable_id": each, "quantity": quantity} for each, quantity in units.items()]
            allocation = {"warehouse_id": int(warehouse), "line_items_attributes": rows}
            await self._client.write("POST", f"/orders/{order_id}/allocations", {"allocation": allocation})

    def _body(self, effect: ChannelEffect, catalogue: Catalogue) -> dict[str, Any]:
        content = effect.content
        units: dict[int, int] = {}
        prices: dict[int, Decimal] = {}
        for at, line in enumerate(content["lines"]):
            sellable = catalogue.sellable(str(line.get("sku") or ""))
            units[sellable.id] = units.get(sellable.id, 0) + whole_units(line, f"lines[{at}]")
            # B1 keeps the money; here it is a figure on a packing list.
            prices[sellable.id] = sellable.price or Decimal(0)
        body: dict[str, Any] = {
            "channel_id": int(self._out.channel),
            "customer_id": self._out.customer_id,
            "number": str(content["order_id"]),
            "deliver_to_attributes": _address(content.get("ship_to") or {}),
            "line_items_attributes": [
                {"sellable_id": each, "quantity": quantity, "price_per_unit": prices[each]}
                for each, quantity in units.items()
            ],
            "payment_attributes": {"payment_type": self._out.payment_type, "reference_number": effect.k},
            "send_notification_email": False,
        }
        method = self._delivery_method(content)
        if method is not None:
            body["delivery_method_id"] = method
        note = _note(content["lines"])
        if note:
            body["customer_note_attributes"] = {"text": note}
        return body

    def _delivery_method(self, content: Mapping[str, Any]) -> int | None:
        carrier, service = str(content.get("carrier") or ""), str(content.get("service") or "")
        methods = {name.casefold(): method for name, method in self._out.delivery_methods.items()}
        return methods.get(f"{carrier}/{service}".casefold(), methods.get(carrier.casefold()))


def refused(subject: str, answer: VeeqoAnswer, effect: ChannelEffect) -> ChannelRefusedError:
    words = channel_words(answer.message, effect)
    return ChannelRefusedError(
        f'{subject}: Veeqo answers {answer.status}, "{words}"; correct it in B1 or Veeqo, then retry'
    )


def whole_units(line: Mapping[str, Any], where: str) -> int:
    """Raises ChannelRefusedError for parts of a unit, of which Veeqo knows none."""
    quantity = Decimal(str(line["quantity"]))
    if quantity != quantity.to_integral_value():
        raise ChannelRefusedError(
            f"quantity ({where}.quantity) has parts of a unit, and Veeqo takes none; correct it in B1", "format_refused"
        )
    return int(quantity)


def units_by_place(lines: Sequence[Mapping[str, Any]], catalogue: Catalogue) -> dict[str, dict[int, int]]:
    """By warehouse id, units by sellable; "": of lines that name no warehouse of Veeqo's."""
    places: dict[str, dict[int, int]] = {}
    for at, line in enumerate(lines):
        place = str(line.get("location") or "")
        units = places.setdefault(place if re.fullmatch("[0-9]{1,18}", place) else "", {})
        sellable = catalogue.sellable(str(line.get("sku") or ""))
        units[sellable.id] = units.get(sellable.id, 0) + whole_units(line, f"lines[{at}]")
    return places


def _address(ship_to: Mapping[str, Any]) -> dict[str, str]:
    first, _, last = str(ship_to.get("name") or "").strip().rpartition(" ")
    return {
        "first_name": first,
        "last_name": last,
        "company": str(ship_to.get("company") or ""),
        "address1": str(ship_to.get("street") or ""),
        "address2": str(ship_to.get("street2") or ""),
        "city": str(ship_to.get("city") or ""),
        "state": str(ship_to.get("region") or ""),
        "zip": str(ship_to.get("postcode") or ""),
        "country": str(ship_to.get("country") or ""),
        "phone": str(ship_to.get("phone") or ""),
    }


def _note(lines: Sequence[Mapping[str, Any]]) -> str:
    """The lots that are to be picked: Veeqo has no field for them."""
    parts = [f"{line['sku']}: {', '.join(map(_lot, line['batches']))}" for line in lines if line.get("batches")]
    return f"lots of {'; '.join(parts)}" if parts else ""


def _lot(batch: Mapping[str, Any]) -> str:
    return f"{batch['number']} x {batch['quantity']}"

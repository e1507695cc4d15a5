"""Veeqo told what B1 says: items by the fields that B1 owns, prices, stock, orders to pack, and shipments."""

from collections.abc import Mapping, Sequence
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import httpx

from connectors.base.clock import Clock
from connectors.base.errors import FatalError, OutcomeUnknownError
from connectors.base.sending import ChannelRefusedError, one_by_one
from connectors.base.sink import ChannelEffect, Delivered
from connectors.veeqo.catalogue import Catalogue, Sellable
from connectors.veeqo.client import VeeqoClient
from connectors.veeqo.placing import OrderPlacing, refused
from connectors.veeqo.settings import VeeqoSettings
from connectors.veeqo.shipping import OrderShipping


class VeeqoSink:
    """A Veeqo account as a `Sink`.

    Everything is looked at before it is written, so that nothing is done twice and nothing is written that is so
    already. What an effect names is read once for all effects of a call.

    Args:
        name: The connector's.
        settings: Its own; `out` is there.
        clock: For the rate, and dates in `Retry-After`.
        transport: In place of the network.
    """

    def __init__(
        self, name: str, settings: VeeqoSettings, clock: Clock, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        if settings.out is None:
            raise FatalError(f"{name} receives nothing; add [connectors.{name}.out]")
        self._name, self._settings, self._out = name, settings, settings.out
        self._client = VeeqoClient(settings, clock, transport)
        self._placing = OrderPlacing(self._client, settings.out)
        self._shipping = OrderShipping(self._client, settings)

    async def deliver(self, effects: Sequence[ChannelEffect]) -> Sequence[Delivered]:
        catalogue = Catalogue(self._client)
        await catalogue.read(_skus(effects))

        async def tell(effect: ChannelEffect) -> Delivered:
            match effect.type:
                case "stock_level":
                    return await self._set_level(effect, catalogue)
                case "price_changed":
                    return await self._set_price(effect, catalogue)
                case "item_changed":
                    return await self._set_item(effect, catalogue)
                case "order_released" if effect.order_source == self._name:
                    raise ChannelRefusedError(f"order {effect.content['order_id']} is Veeqo's own")
                case "order_released":
                    return await self._placing.place(effect, catalogue)
                case "order_withdrawn":
                    return await self._placing.withdraw(effect)
                case "delivery_posted":
                    return await self._shipping.ship(effect, catalogue)

        return await one_by_one(effects, tell)

    async def current(self, effects: Sequence[ChannelEffect]) -> Mapping[str, str | None]:
        asked = [each for each in effects if each.type in ("stock_level", "price_changed")]
        catalogue = Catalogue(self._client)
        await catalogue.read(_skus(asked))
        figures: dict[str, str | None] = {}
        for effect in asked:
            try:
                sellable = catalogue.find(str(effect.content["sku"]))
            except ChannelRefusedError:
                continue  # which of them is meant, nobody knows
            figure = None
            if sellable is not None:
                is_price = effect.type == "price_changed"
                figure = sellable.price if is_price else sellable.stock.get(self._warehouse(effect))
            figures[effect.k] = None if figure is None else _plain(figure)
        return figures

    async def close(self) -> None:
        await self._client.close()

    # ---- stock: an absolute set without a comparison (read, set, read back)

    def _warehouse(self, effect: ChannelEffect) -> str:
        return str(effect.content.get("location") or self._out.warehouse)

    async def _set_level(self, effect: ChannelEffect, catalogue: Catalogue) -> Delivered:
        sku, warehouse = str(effect.content["sku"]), self._warehouse(effect)
        if self._settings.counts(warehouse):
            raise ChannelRefusedError(
                f"warehouse {warehouse or '(none)'} is counted by Veeqo: a level of B1's would come back as a count; "
                "name it in ignored_warehouses, or take it off sellable_on"
            )
        sellable = catalogue.sellable(sku)
        # Veeqo counts whole units; what is sold must be there, so a part of one is not.
        level = int(Decimal(effect.content["sellable"]).to_integral_value(ROUND_FLOOR))
        sent = Delivered(k=effect.k, outcome="sent", ref=str(sellable.id))
        if sellable.stock.get(warehouse) == level:
            return sent
        path = f"/sellables/{sellable.id}/warehouses/{warehouse}/stock_entry"
        # A level that is limited again has to say so: an entry may be infinite.
        body = {"stock_entry": {"physical_stock_level": level, "infinite": False}}
        answer = await self._client.write("PUT", path, body)
        if not answer.is_done:
            raise refused(f"level of {sku} in warehouse {warehouse}", answer, effect)
        shown = answer.fields if "physical_stock_level" in answer.fields else await self._client.show(path)
        if shown is None or Decimal(str(shown.get("physical_stock_level"))) != level:
            raise OutcomeUnknownError(
                f"veeqo: the level of {sku} in warehouse {warehouse} was set, and another is shown"
            )
        return sent

    # ---- products: the fields that B1 owns, and no other

    async def _set_price(self, effect: ChannelEffect, catalogue: Catalogue) -> Delivered:
        sku = str(effect.content["sku"])
        sellable = catalogue.sellable(sku)
        price = Decimal(effect.content["price"])
        if sellable.price != price:
            await self._update(effect, sellable, {}, {"price": price})
        return Delivered(k=effect.k, outcome="sent", ref=str(sellable.id))

    async def _set_item(self, effect: ChannelEffect, catalogue: Catalogue) -> Delivered:
        content = effect.content
        sku, name, barcode = str(content["sku"]), str(content.get("name") or content["sku"]), content.get("barcode")
        sellable = catalogue.find(sku)
        if sellable is None:
            await self._make_item(effect, sku, name, barcode)
            await catalogue.read([sku])  # its price and its levels may be among the effects
            sellable = catalogue.find(sku)
            return Delivered(k=effect.k, outcome="sent", ref=None if sellable is None else str(sellable.id))
        product: dict[str, Any] = {}
        variant: dict[str, Any] = {}
        if "title" in self._out.owned and sellable.is_alone and sellable.title != name:
            product["title"] = name
        if "upc_code" in self._out.owned and barcode and sellable.upc_code != barcode:
            variant["upc_code"] = barcode
        if product or variant:
            await self._update(effect, sellable, product, variant)
        return Delivered(k=effect.k, outcome="sent", ref=str(sellable.id))

    async def _make_item(self, effect: ChannelEffect, sku: str, name: str, barcode: object) -> None:
        if not effect.content.get("active", True):
            return  # Veeqo has no such product, and needs none
        if not self._out.creates:
            raise ChannelRefusedError(f"Veeqo has no sellable of SKU {sku}, and out.creates is false; make it there")
        price = effect.content.get("prices", {}).get(str(self._out.prices))
        variant = {"title": name, "sku_code": sku, "price": Decimal(price or 0)}
        if barcode:
            variant["upc_code"] = barcode
        body = {"product": {"title": name, "product_variants_attributes": [variant]}}
        answer = await self._client.write("POST", "/products", body)
        if not answer.is_done:
            raise refused(f"item {sku}", answer, effect)

    async def _update(
        self, effect: ChannelEffect, sellable: Sellable, product: Mapping[str, Any], variant: Mapping[str, Any]
    ) -> None:
        body = dict(product)
        if variant:
            # Without its id a second variant would be made.
            body["product_variants_attributes"] = [{"id": sellable.id, **variant}]
        answer = await self._client.write("PUT", f"/products/{sellable.product_id}", {"product": body})
        if not answer.is_done:
            raise refused(f"item {effect.content['sku']}", answer, effect)


def _skus(effects: Sequence[ChannelEffect]) -> set[str]:
    found = {str(effect.content["sku"]) for effect in effects if "sku" in effect.content}
    lines = (line for effect in effects for line in effect.content.get("lines") or ())
    return found | {str(line["sku"]) for line in lines if line.get("sku")}


def _plain(number: Decimal) -> str:
    return format(number.normalize(), "f") if number else "0"

"""Base prices, and the attributes of products that B1 owns: what differs is written.

Each price that is written uses up a `value_id`, which has run out in shops: one that is shown already is not sent.
Names, descriptions and images are the shop's (R9); no request of ours names them.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from connectors.base.errors import OutcomeUnknownError, RetriableError
from connectors.base.money import rounded
from connectors.base.sending import ChannelRefusedError, away, chunks, refused, sent, unknown
from connectors.base.sink import ChannelEffect, Delivered
from connectors.magento.client import MagentoClient, ShopRefusedError, filled
from connectors.magento.outbound.catalogue import SINGLE_TYPES, ShownCatalogue, ShownProduct, missing
from connectors.magento.settings import MagentoOutSettings

ROWS = 100
_ALL_STORES = 0
_LIMIT = Decimal(10) ** 12


class ProductWriter:
    """Writes prices and attributes of one shop.

    Args:
        out: The connector's settings.
        client: Asks the shop.
        catalogue: What the shop shows.
    """

    def __init__(self, out: MagentoOutSettings, client: MagentoClient, catalogue: ShownCatalogue) -> None:
        self._out, self._client, self._catalogue = out, client, catalogue

    # ---- prices

    async def write_prices(self, effects: Sequence[ChannelEffect]) -> list[Delivered]:
        """Write base prices that differ.

        Raises:
            RetriableError, FatalError: Nothing was done.
        """
        shown = await self._catalogue.products(str(each.content["sku"]) for each in effects)
        results, due = list[Delivered](), list[tuple[ChannelEffect, Decimal]]()
        for effect in effects:
            sku = str(effect.content["sku"])
            try:
                price = self._price(effect, shown.get(sku))
            except ChannelRefusedError as error:
                results.append(refused(effect, error))
                continue
            if shown[sku].price == price:
                results.append(sent(effect, sku))
            else:
                due.append((effect, price))
        for some in chunks(due, ROWS):
            results += await self._set(some)
        return results

    async def current_prices(self, effects: Sequence[ChannelEffect]) -> dict[str, str | None]:
        """By K, what the shop shows."""
        shown = await self._catalogue.products(str(each.content["sku"]) for each in effects)
        found: dict[str, str | None] = {}
        for each in effects:
            product = shown.get(str(each.content["sku"]))
            found[each.k] = None if product is None or product.price is None else format(product.price, "f")
        return found

    def _price(self, effect: ChannelEffect, product: ShownProduct | None) -> Decimal:
        """The price; one that is below zero would fail all others of its call."""
        sku, currency = str(effect.content["sku"]), str(effect.content.get("currency") or "")
        if product is None:
            raise missing(sku)
        if product.type_id not in {*SINGLE_TYPES, "bundle"}:
            raise ChannelRefusedError(f"{sku} is a {product.type_id} product, whose parts have the prices; map those")
        try:
            price = Decimal(str(effect.content["price"]))
        except InvalidOperation:
            price = Decimal(-1)
        if not price.is_finite() or not 0 <= price < _LIMIT:
            raise ChannelRefusedError("the price is below zero, or none; correct it in B1", "format_refused")
        if currency and self._out.price_currency not in (None, currency):
            words = f"the price is in {currency} and the shop's are in {self._out.price_currency}; see out.prices"
            raise ChannelRefusedError(words)
        return rounded(price, currency) if currency else price

    async def _set(self, due: Sequence[tuple[ChannelEffect, Decimal]]) -> list[Delivered]:
        rows = [{"sku": effect.content["sku"], "price": float(price), "store_id": _ALL_STORES} for effect, price in due]
        try:
            answer = await self._client.write("POST", "products/base-prices", {"prices": rows})
        except ShopRefusedError as error:
            if len(due) > 1:
                middle = len(due) // 2
                return [*await self._set(due[:middle]), *await self._set(due[middle:])]
            return [refused(due[0][0], f"{error}; see the product's price in the shop, then replay")]
        except OutcomeUnknownError as error:
            return [unknown(effect, error) for effect, _ in due]
        except RetriableError as error:
            return [away(effect, error) for effect, _ in due]
        errors = [each for each in answer if isinstance(each, dict)] if isinstance(answer, list) else []
        if not errors:
            return [sent(effect, str(effect.content["sku"])) for effect, _ in due]
        return await self._after(errors, due)

    async def _after(
        self, errors: Sequence[Mapping[str, Any]], due: Sequence[tuple[ChannelEffect, Decimal]]
    ) -> list[Delivered]:
        """Of a call with bad rows: what of it the shop shows now was taken, whatever names the errors give."""
        try:
            shown = await self._catalogue.products(str(effect.content["sku"]) for effect, _ in due)
        except RetriableError as error:
            return [unknown(effect, OutcomeUnknownError(str(error))) for effect, _ in due]
        results: list[Delivered] = []
        for effect, price in due:
            sku = str(effect.content["sku"])
            product = shown.get(sku)
            if product is not None and product.price == price:
                results.append(sent(effect, sku))
                continue
            own = [text for each in errors if sku in (text := filled(each))]
            words = (own or [filled(errors[0])])[0]
            results.append(refused(effect, f"{words}; see the product's price in the shop, then replay"))
        return results

    # ---- attributes

    async def attributes(self, effects: Sequence[ChannelEffect]) -> dict[str, ShownProduct]:
        """What the shop shows of items, for `write_item`."""
        return await self._catalogue.products(str(each.content["sku"]) for each in effects)

    async def write_item(self, effect: ChannelEffect, shown: Mapping[str, ShownProduct]) -> Delivered:
        """Write the owned attributes of one item that differ.

        Raises:
            ChannelRefusedError, RetriableError, OutcomeUnknownError, FatalError: As `Sink`.
        """
        sku = str(effect.content["sku"])
        product = shown.get(sku)
        if product is None:
            raise missing(sku)  # the shop would make a product of it
        wanted = {
            code: str(value)
            for field, code in self._out.item_attributes.items()
            if (value := effect.content.get(field)) is not None
        }
        differing = [
            {"attribute_code": code, "value": value}
            for code, value in wanted.items()
            if product.attributes.get(code) != value
        ]
        if differing:
            await self._client.write("POST", "products", {"product": {"sku": sku, "custom_attributes": differing}})
        return sent(effect, sku)

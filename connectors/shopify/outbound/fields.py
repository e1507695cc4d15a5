"""Prices of variants, and of items the fields that B1 owns: read, compared, written product by product.

Descriptions, images and all else are the channel's, and no request of ours names them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from connectors.base.clock import Clock
from connectors.base.errors import FatalError, OutcomeUnknownError, RetriableError
from connectors.base.money import rounded
from connectors.base.sending import ChannelRefusedError, away, chunks, refused, sent, unknown
from connectors.base.sink import ChannelEffect, Delivered
from connectors.shopify.client import ShopifyClient
from connectors.shopify.errors import wait_s_of
from connectors.shopify.outbound.documents import UPDATE_VARIANTS, UserError, user_errors
from connectors.shopify.outbound.variants import REMEMBERED_S, Variant, Variants
from connectors.shopify.queries import CURRENCY, VARIANT_FIELDS
from connectors.shopify.settings import ShopifyOutSettings, ShopifySettings

#: shopify.dev, `productVariantsBulkUpdate`: 2,048 variants of one product a call; a call of 250 stays small.
MAX_ROWS = 250
VARIANTS_AT_ONCE = 100
#: Codes of what we believed of a sku and is out of date.
_GONE = frozenset({"PRODUCT_DOES_NOT_EXIST", "PRODUCT_VARIANT_DOES_NOT_EXIST"})


@dataclass(frozen=True, slots=True)
class FieldChange:
    """What a variant is to have; names as `VariantFields` shows them."""

    effect: ChannelEffect
    variant: Variant
    fields: Mapping[str, Any]

    def differs(self, shown: Mapping[str, Any]) -> bool:
        return any(shown.get(name) != value for name, value in self.fields.items())


class FieldWriter:
    """Writes prices and owned fields of one shop.

    Args:
        settings: The connector's; `out` is there.
        client: Asks the shop.
        variants: Finds skus.
        clock: For how long the shop's currency is believed.
    """

    def __init__(self, settings: ShopifySettings, client: ShopifyClient, variants: Variants, clock: Clock) -> None:
        self._client, self._variants, self._clock = client, variants, clock
        self._out = settings.out or ShopifyOutSettings()
        self._currency: tuple[float, str] | None = None

    async def write(self, effects: Sequence[ChannelEffect]) -> list[Delivered]:
        """Write what differs.

        Raises:
            RetriableError, FatalError: Nothing was done.
        """
        results, changes = await self._changes(effects)
        shown = await self._shown(changes)
        by_product: dict[str, list[FieldChange]] = {}
        for change in changes:
            fields = shown.get(change.variant.id)
            if fields is None:
                self._variants.forget(str(change.effect.content["sku"]))
                results.append(away(change.effect, RetriableError("shopify: the variant was made anew")))
            elif change.differs(fields):
                by_product.setdefault(change.variant.product_id, []).append(change)
            else:
                results.append(sent(change.effect, change.variant.id))
        for product_id, some in by_product.items():
            for rows in chunks(some, MAX_ROWS):
                results += await self._update(product_id, rows)
        return results

    async def current_prices(self, effects: Sequence[ChannelEffect]) -> dict[str, str | None]:
        """By K, what the shop shows."""
        variants = await self._variants.find(str(each.content["sku"]) for each in effects)
        changes = [
            FieldChange(each, variant, {})
            for each in effects
            if isinstance(variant := variants[str(each.content["sku"])], Variant)
        ]
        shown = await self._shown(changes)
        prices = {each.effect.k: shown.get(each.variant.id, {}).get("price") for each in changes}
        return {each.k: None for each in effects} | {
            k: None if price is None else format(price, "f") for k, price in prices.items()
        }

    async def _changes(self, effects: Sequence[ChannelEffect]) -> tuple[list[Delivered], list[FieldChange]]:
        variants = await self._variants.find(str(each.content["sku"]) for each in effects)
        results, changes = list[Delivered](), list[FieldChange]()
        for effect in effects:
            variant = variants[str(effect.content["sku"])]
            try:
                if isinstance(variant, ChannelRefusedError):
                    raise variant
                fields = await (self._price(effect) if effect.type == "price_changed" else self._owned(effect))
                changes.append(FieldChange(effect, variant, fields))
            except ChannelRefusedError as error:
                results.append(refused(effect, error))
        return results, changes

    async def _price(self, effect: ChannelEffect) -> dict[str, Any]:
        try:
            price = Decimal(str(effect.content["price"]))
        except InvalidOperation:
            price = Decimal(-1)
        currency, own = str(effect.content.get("currency") or ""), await self._shop_currency()
        if currency and currency != own:
            raise ChannelRefusedError(f"the price is in {currency} and the shop sells in {own}; see out.prices")
        if not price.is_finite() or price < 0:
            raise ChannelRefusedError("the price is below zero; correct it in B1", "format_refused")
        return {"price": rounded(price, own)}

    async def _owned(self, effect: ChannelEffect) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        if "barcode" in self._out.item_fields and effect.content.get("barcode"):
            fields["barcode"] = str(effect.content["barcode"])
        if "tracked" in self._out.item_fields:
            fields["tracked"] = True
        return fields

    async def _shop_currency(self) -> str:
        now = self._clock.monotonic()
        if self._currency is None or self._currency[0] < now:
            found = (await self._client.query(CURRENCY, {})).data.get("shop") or {}
            if not isinstance(found.get("currencyCode"), str):
                raise FatalError("shopify: the shop does not say its currency; report it")
            self._currency = (now + REMEMBERED_S, found["currencyCode"])
        return self._currency[1]

    async def _shown(self, changes: Sequence[FieldChange]) -> dict[str, dict[str, Any]]:
        """What the shop shows of each variant that is there."""
        shown: dict[str, dict[str, Any]] = {}
        for some in chunks(list(dict.fromkeys(each.variant.id for each in changes)), VARIANTS_AT_ONCE):
            answer = await self._client.query(VARIANT_FIELDS, {"ids": list(some)})
            for row in answer.data.get("nodes") or ():
                if row:
                    tracked = (row.get("inventoryItem") or {}).get("tracked")
                    price = Decimal(str(row["price"]))
                    shown[row["id"]] = {"price": price, "barcode": row.get("barcode"), "tracked": tracked}
        return shown

    async def _update(self, product_id: str, changes: Sequence[FieldChange]) -> list[Delivered]:
        """Update variants of one product; what of them is refused leaves the others as they are to be."""
        rows: dict[str, dict[str, Any]] = {}
        for change in changes:
            rows.setdefault(change.variant.id, {"id": change.variant.id}).update(_as_input(change.fields))
        try:
            payload = await self._client.mutate(
                UPDATE_VARIANTS, {"product": product_id, "variants": list(rows.values())}
            )
        except OutcomeUnknownError as error:
            return [unknown(each.effect, error, retry_after_s=wait_s_of(error)) for each in changes]
        except RetriableError as error:
            return [away(each.effect, error) for each in changes]
        places = {variant_id: at for at, variant_id in enumerate(rows)}
        errors = user_errors(payload)
        return [self._result(each, errors, places[each.variant.id]) for each in changes]

    def _result(self, change: FieldChange, errors: Sequence[UserError], at: int) -> Delivered:
        found = next((each for each in errors if each.row in (None, at)), None)
        if found is None:
            return sent(change.effect, change.variant.id)
        if found.code in _GONE:
            self._variants.forget(str(change.effect.content["sku"]))
        return refused(change.effect, f"{found}; see the variant in the shop, then replay")


def _as_input(fields: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in fields.items() if name != "tracked"}
    if "price" in shown:
        shown["price"] = format(shown["price"], "f")
    return {**shown, **({"inventoryItem": {"tracked": fields["tracked"]}} if "tracked" in fields else {})}

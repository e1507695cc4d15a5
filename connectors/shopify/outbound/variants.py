"""What a sku is called in the shop."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.base.clock import Clock
from connectors.base.sending import ChannelRefusedError, chunks
from connectors.shopify.client import ShopifyClient
from connectors.shopify.pages import id_of
from connectors.shopify.queries import VARIANTS
from connectors.shopify.settings import ShopifySettings

#: A search is for words: so many skus, and rows enough for those that only look like them.
SKUS_AT_ONCE = 20
ROWS = 40
#: How long it is believed that a sku has the same variant. One that was made anew is found out by its refusal.
REMEMBERED_S = 3600.0
#: Some 300 bytes each.
MAX_REMEMBERED = 200_000


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant, by full ids."""

    id: str
    product_id: str
    item_id: str


class Variants:
    """Finds variants by sku, a few queries for many, and remembers them for an hour.

    Args:
        name: The connector's.
        settings: Its.
        client: Asks the shop.
        clock: For how long.
    """

    def __init__(self, name: str, settings: ShopifySettings, client: ShopifyClient, clock: Clock) -> None:
        self._name, self._client, self._clock = name, client, clock
        self._item_of = {sku: f"gid://shopify/InventoryItem/{item}" for item, sku in settings.inventory_skus.items()}
        self._known: OrderedDict[str, tuple[float, Variant]] = OrderedDict()

    def forget(self, sku: str) -> None:
        """The shop no longer knows what we believed."""
        self._known.pop(sku, None)

    async def find(self, skus: Iterable[str]) -> dict[str, Variant | ChannelRefusedError]:
        """Each sku's variant, or why it has none.

        Raises:
            ConnectorError: The shop cannot be asked.
        """
        wanted, now = list(dict.fromkeys(skus)), self._clock.monotonic()
        asked = [sku for sku in wanted if (known := self._known.get(sku)) is None or known[0] < now]
        missing: dict[str, ChannelRefusedError] = {}
        for some in chunks(asked, SKUS_AT_ONCE):
            rows = await self._search(some)
            for sku in some:
                found = self._chosen(sku, [row for row in rows if row.get("sku") == sku])
                if isinstance(found, Variant):
                    self._known[sku] = (now + REMEMBERED_S, found)
                    self._known.move_to_end(sku)
                else:
                    missing[sku] = found
        found_now = {sku: missing[sku] if sku in missing else self._known[sku][1] for sku in wanted}
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return found_now

    async def _search(self, skus: Sequence[str]) -> list[dict[str, Any]]:
        query = " OR ".join(f"sku:{quoted(sku)}" for sku in skus)
        return await self._client.pages(VARIANTS, {"query": query}, ("productVariants",), ROWS) or []

    def _chosen(self, sku: str, rows: Sequence[dict[str, Any]]) -> Variant | ChannelRefusedError:
        variants = [Variant(id_of(row), id_of(row.get("product")), id_of(row.get("inventoryItem"))) for row in rows]
        item_id = self._item_of.get(sku)
        if item_id is not None and any(each.item_id == item_id for each in variants):
            variants = [each for each in variants if each.item_id == item_id]
        if len(variants) == 1:
            return variants[0]
        if variants:
            return ChannelRefusedError(
                f"{len(variants)} variants of the shop have the sku {sku}; give each its own, or name the inventory "
                f"item that is meant in connectors.{self._name}.inventory_skus"
            )
        return ChannelRefusedError(
            f"the shop has no variant with the sku {sku}; add it there, or map the item's sku, then replay"
        )


def quoted(text: str) -> str:
    r"""A text in Shopify's search syntax; `'` and `\` are escaped by `\`."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"

"""What the shop shows of its products and sources, by sku."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from connectors.base.clock import Clock
from connectors.base.sending import ChannelRefusedError, chunks
from connectors.magento.client import Filter, MagentoClient

#: 50 skus of 64 characters in one `in` filter are at most 10 kB of URL, and mostly 1 kB.
SKUS_AT_ONCE = 50
#: How long it is believed that the shop has a sku: the shop itself takes levels of skus that it lacks, without a word.
REMEMBERED_S = 3600.0
MAX_REMEMBERED = 200_000
#: Types of products that have a quantity and a price of their own.
SINGLE_TYPES = frozenset({"simple", "virtual", "downloadable", "giftcard"})


@dataclass(frozen=True, slots=True)
class ShownProduct:
    """A product as the shop shows it; `attributes` are the custom ones, as texts."""

    type_id: str
    price: Decimal | None
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ShownQuantity:
    """What a source has of a sku."""

    quantity: Decimal
    status: int


class ShownCatalogue:
    """Asks one shop for products and quantities.

    Args:
        client: Asks the shop.
        clock: For how long a sku is believed to be there.
    """

    def __init__(self, client: MagentoClient, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._types: dict[str, tuple[float, str]] = {}

    async def products(self, skus: Iterable[str]) -> dict[str, ShownProduct]:
        """Products that the shop has under exactly these skus."""
        found: dict[str, ShownProduct] = {}
        now = self._clock.monotonic()
        for groups in _by_sku(skus):
            listing = await self._client.search("products", groups, ("entity_id",), 2 * SKUS_AT_ONCE, store="all")
            for row in listing.rows:
                sku = str(row.fields.get("sku"))
                found[sku] = _product(row.fields)
                self._types.pop(sku, None)
                self._types[sku] = (now + REMEMBERED_S, found[sku].type_id)
        while len(self._types) > MAX_REMEMBERED:
            self._types.pop(next(iter(self._types)))
        return found

    async def types(self, skus: Iterable[str]) -> dict[str, str]:
        """Types of the products that the shop has; asked once an hour."""
        wanted, now = list(dict.fromkeys(skus)), self._clock.monotonic()
        known = {sku: kept[1] for sku in wanted if (kept := self._types.get(sku)) is not None and kept[0] >= now}
        asked = await self.products(sku for sku in wanted if sku not in known)
        return known | {sku: each.type_id for sku, each in asked.items() if sku in wanted}

    async def quantities(self, places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], ShownQuantity]:
        """What sources have, by sku and source code; a place without a row is not there."""
        skus: dict[str, list[str]] = {}
        for sku, source in places:
            skus.setdefault(source, []).append(sku)
        found: dict[tuple[str, str], ShownQuantity] = {}
        for source, some in skus.items():
            for groups in _by_sku(some):
                criteria = [*groups, [("source_code", "eq", source)]]
                listing = await self._client.search("inventory/source-items", criteria, (), 2 * SKUS_AT_ONCE)
                for row in listing.rows:
                    shown = ShownQuantity(Decimal(str(row.fields["quantity"])), int(str(row.fields.get("status", 0))))
                    found[str(row.fields.get("sku")), source] = shown
        return found


def missing(sku: str) -> ChannelRefusedError:
    """Why a sku that the shop lacks is told nothing of."""
    return ChannelRefusedError(f"the shop has no product {sku}; add it there, or map the item's sku, then replay")


def _by_sku(skus: Iterable[str]) -> Iterable[list[list[Filter]]]:
    """Filters that find some skus; in a list of them a comma would end one."""
    wanted = list(dict.fromkeys(skus))
    for some in chunks([sku for sku in wanted if "," not in sku], SKUS_AT_ONCE):
        yield [[("sku", "in", ",".join(some))]]
    for sku in wanted:
        if "," in sku:
            yield [[("sku", "eq", sku)]]


def _product(fields: Mapping[str, Any]) -> ShownProduct:
    rows: Sequence[Mapping[str, Any]] = fields.get("custom_attributes") or ()
    attributes = {
        str(row["attribute_code"]): str(row["value"]) for row in rows if isinstance(row.get("value"), str | int)
    }
    price = fields.get("price")
    return ShownProduct(str(fields.get("type_id")), None if price is None else Decimal(str(price)), attributes)

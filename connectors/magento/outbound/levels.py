"""Quantities of sources: what differs is set, many in a call.

What is published is what lies there: the shop keeps back what its open orders have reserved, and its own safety stock
(the out-of-stock threshold) is its own affair (R91).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from connectors.base.errors import OutcomeUnknownError, RetriableError
from connectors.base.sending import ChannelRefusedError, away, chunks, refused, sent, unknown
from connectors.base.sink import ChannelEffect, Delivered
from connectors.magento.client import MagentoClient, ShopRefusedError
from connectors.magento.outbound.catalogue import SINGLE_TYPES, ShownCatalogue, ShownQuantity, missing
from connectors.magento.settings import MagentoOutSettings

#: A shop may limit arrays to 20 (input limiting); a call that it refuses is cut in two until it is taken.
ROWS = 100
_STEP = Decimal("0.0001")  # decimal(12,4)
_LIMIT = Decimal(10) ** 8


@dataclass(frozen=True, slots=True)
class SourceItem:
    """One quantity that is to be."""

    effect: ChannelEffect
    sku: str
    source: str
    quantity: Decimal
    status: int | None  # None: as it is

    @property
    def place(self) -> tuple[str, str]:
        return self.sku, self.source

    def is_shown(self, shown: ShownQuantity | None) -> bool:
        return shown is not None and shown.quantity == self.quantity and self.status in (None, shown.status)

    def as_input(self, shown: ShownQuantity | None) -> dict[str, Any]:
        status = self.status if self.status is not None else shown.status if shown is not None else 0
        return {
            "sku": self.sku,
            "source_code": self.source,
            "quantity": float(self.quantity),
            "status": status,
        }


class SourceItemWriter:
    """Sets quantities of one shop.

    Args:
        name: The connector's.
        out: Its settings.
        client: Asks the shop.
        catalogue: What the shop shows.
    """

    def __init__(self, name: str, out: MagentoOutSettings, client: MagentoClient, catalogue: ShownCatalogue) -> None:
        self._name, self._out, self._client, self._catalogue = name, out, client, catalogue

    async def write(self, effects: Sequence[ChannelEffect]) -> list[Delivered]:
        """Set what differs.

        Raises:
            RetriableError, FatalError: Nothing was done.
        """
        results, items = await self._items(effects)
        shown = await self._catalogue.quantities(item.place for item in items)
        results += [sent(item.effect, _ref(item)) for item in items if item.is_shown(shown.get(item.place))]
        due = [(item, shown.get(item.place)) for item in items if not item.is_shown(shown.get(item.place))]
        for some in chunks(due, ROWS):
            results += await self._set(some)
        return results

    async def current(self, effects: Sequence[ChannelEffect]) -> dict[str, str | None]:
        """By K, what the shop shows."""
        _, items = await self._items(effects)
        shown = await self._catalogue.quantities(item.place for item in items)
        figures = {item.effect.k: shown.get(item.place) for item in items}
        return {each.k: None for each in effects} | {
            k: None if each is None else _text(each.quantity) for k, each in figures.items()
        }

    async def _items(self, effects: Sequence[ChannelEffect]) -> tuple[list[Delivered], list[SourceItem]]:
        types = await self._catalogue.types(str(each.content["sku"]) for each in effects)
        results, items = list[Delivered](), list[SourceItem]()
        for effect in effects:
            try:
                items.append(self._item(effect, types.get(str(effect.content["sku"]))))
            except ChannelRefusedError as error:
                results.append(refused(effect, error))
        return results, items

    def _item(self, effect: ChannelEffect, type_id: str | None) -> SourceItem:
        sku, source = str(effect.content["sku"]), effect.content.get("location") or self._out.source
        if type_id is None:
            raise missing(sku)
        if type_id not in SINGLE_TYPES:
            raise ChannelRefusedError(f"{sku} is a {type_id} product, which has no quantity; map the item to its parts")
        if not source:
            raise ChannelRefusedError(f"no source is named; set connectors.{self._name}.out.source")
        quantity = Decimal(str(effect.content["sellable"])).quantize(_STEP, ROUND_FLOOR)
        if not 0 <= quantity < _LIMIT:
            raise ChannelRefusedError(f"{quantity} is no quantity that the shop takes; see the item's stock in B1")
        status = 1 if quantity else None if self._out.backorders else 0
        return SourceItem(effect, sku, str(source), quantity, status)

    async def _set(self, due: Sequence[tuple[SourceItem, ShownQuantity | None]]) -> list[Delivered]:
        """Set some; one bad row fails a whole call, and is found by halves."""
        body = {"sourceItems": [item.as_input(shown) for item, shown in due]}
        try:
            await self._client.write("POST", "inventory/source-items", body)
        except ShopRefusedError as error:
            if len(due) > 1:
                middle = len(due) // 2
                return [*await self._set(due[:middle]), *await self._set(due[middle:])]
            (item, _), words = (
                due[0],
                f"{error}; see source {due[0][0].source} and the product in the shop, then replay",
            )
            return [refused(item.effect, words)]
        except OutcomeUnknownError as error:
            return [unknown(item.effect, error) for item, _ in due]
        except RetriableError as error:
            return [away(item.effect, error) for item, _ in due]
        return [sent(item.effect, _ref(item)) for item, _ in due]


def _ref(item: SourceItem) -> str:
    return f"{item.sku}@{item.source}"


def _text(value: Decimal) -> str:
    return format(value.normalize(), "f") if value else "0"

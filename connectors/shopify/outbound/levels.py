"""Figures of items at locations: read, compared, set.

What is published is the physical count (`on_hand`): Shopify keeps back what its own orders have committed. Where
`reserves` is false, they are off the figure already, and it is `available`.
"""

import hashlib
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from connectors.base.errors import OutcomeUnknownError, RetriableError
from connectors.base.sending import ChannelRefusedError, away, chunks, refused, sent, unknown
from connectors.base.sink import ChannelEffect, Delivered
from connectors.shopify.client import ShopifyClient
from connectors.shopify.errors import wait_s_of
from connectors.shopify.outbound.documents import SET_QUANTITIES, UserError, user_errors
from connectors.shopify.outbound.variants import Variant, Variants
from connectors.shopify.queries import QUANTITIES
from connectors.shopify.settings import ShopifyOutSettings, ShopifySettings

#: shopify.dev, `inventorySetQuantities`; one limit of 50,000 quantities in all lies behind it.
MAX_ROWS = 250
MAX_QUANTITY = 1_000_000_000
ITEMS_AT_ONCE = 100
#: A stale row is decided anew once, and refused rows leave the others to be sent again without them.
ROUNDS = 4
#: From then on an item is stocked at a location by setting its quantity there (shopify.dev changelog, 2026-10).
STOCKED_BY_SETTING = "2026-10"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "b1-streams/shopify/levels")
_STALE = frozenset({"CHANGE_FROM_QUANTITY_STALE", "COMPARE_QUANTITY_STALE"})
_CONCURRENT = "IDEMPOTENCY_CONCURRENT_REQUEST"
#: What we believed of a sku is out of date.
_GONE = frozenset({"INVALID_INVENTORY_ITEM"})


@dataclass(frozen=True, slots=True)
class LevelRow:
    """One figure that is to be."""

    effect: ChannelEffect
    variant: Variant
    location: str
    quantity: int

    @property
    def place(self) -> tuple[str, str]:
        return self.variant.item_id, self.location


@dataclass(frozen=True, slots=True)
class ShownLevel:
    """What the shop shows; `quantity` None: the item is not stocked there."""

    tracked: bool
    quantity: int | None


class LevelWriter:
    """Sets levels of one shop.

    Args:
        name: The connector's.
        settings: Its; `out` is there.
        client: Asks the shop.
        variants: Finds skus.
    """

    def __init__(self, name: str, settings: ShopifySettings, client: ShopifyClient, variants: Variants) -> None:
        self._name, self._settings, self._client, self._variants = name, settings, client, variants
        self._out = settings.out or ShopifyOutSettings()
        self._quantity = "on_hand" if self._out.reserves else "available"

    async def write(self, effects: Sequence[ChannelEffect]) -> list[Delivered]:
        """Set what differs.

        Raises:
            RetriableError, FatalError: Nothing was done.
        """
        results, rows = await self._rows(effects)
        for some in chunks(rows, MAX_ROWS):
            try:
                results += await self._set(some)
            except RetriableError as error:
                if not results:
                    raise
                results += [away(row.effect, error) for row in some]
        return results

    async def current(self, effects: Sequence[ChannelEffect]) -> dict[str, str | None]:
        """By K, what the shop shows."""
        refusals, rows = await self._rows(effects)
        shown = await self._shown(rows)
        figures = {row.effect.k: shown[row.place].quantity if row.place in shown else None for row in rows}
        return {each.k: None for each in refusals} | {
            k: None if figure is None else str(figure) for k, figure in figures.items()
        }

    async def _rows(self, effects: Sequence[ChannelEffect]) -> tuple[list[Delivered], list[LevelRow]]:
        variants = await self._variants.find(str(each.content["sku"]) for each in effects)
        results, rows = list[Delivered](), list[LevelRow]()
        for effect in effects:
            try:
                rows.append(self._row(effect, variants[str(effect.content["sku"])]))
            except ChannelRefusedError as error:
                results.append(refused(effect, error))
        return results, rows

    def _row(self, effect: ChannelEffect, variant: Variant | ChannelRefusedError) -> LevelRow:
        if isinstance(variant, ChannelRefusedError):
            raise variant
        location = str(effect.content.get("location") or self._out.location or "")
        if not location.isdigit():
            raise ChannelRefusedError(
                f"{location or 'no location'} is no id of a location; name it in connectors.{self._name}.locations or "
                "out.location"
            )
        if location in self._settings.stock_locations:
            raise ChannelRefusedError(
                f"Shopify owns the count of location {location}, which is read as connectors.{self._name}."
                "stock_locations; take it out there, or sell from another warehouse"
            )
        quantity = int(Decimal(str(effect.content["sellable"])).to_integral_value(ROUND_FLOOR))
        if not 0 <= quantity <= MAX_QUANTITY:
            raise ChannelRefusedError(f"{quantity} is no quantity that Shopify takes; see the item's stock in B1")
        return LevelRow(effect, variant, f"gid://shopify/Location/{location}", quantity)

    async def _shown(self, rows: Sequence[LevelRow]) -> dict[tuple[str, str], ShownLevel]:
        """What the shop shows of each row; a row whose item is gone is not there."""
        items: defaultdict[str, list[str]] = defaultdict(list)
        for row in rows:
            items[row.location].append(row.variant.item_id)
        shown: dict[tuple[str, str], ShownLevel] = {}
        for location, ids in items.items():
            for some in chunks(list(dict.fromkeys(ids)), ITEMS_AT_ONCE):
                variables = {"ids": list(some), "location": location, "names": [self._quantity]}
                answer = await self._client.query(QUANTITIES, variables)
                for item in answer.data.get("nodes") or ():
                    if item:
                        shown[item["id"], location] = _level_of(item, self._quantity)
        return shown

    async def _set(self, rows: Sequence[LevelRow]) -> list[Delivered]:
        results, left = list[Delivered](), list(rows)
        stale: set[str] = set()
        for _ in range(ROUNDS):
            shown = await self._shown(left)
            due: list[tuple[LevelRow, int | None]] = []
            for row in left:
                level = shown.get(row.place)
                done = self._without_writing(row, level)
                if done is not None:
                    results.append(done)
                elif level is not None:
                    due.append((row, level.quantity))
            if not due:
                return results
            try:
                errors = user_errors(await self._client.mutate(SET_QUANTITIES, self._request(due)))
            except OutcomeUnknownError as error:
                return [*results, *(unknown(row.effect, error, retry_after_s=wait_s_of(error)) for row, _ in due)]
            if not errors:
                return [*results, *(sent(row.effect, row.variant.item_id) for row, _ in due)]
            if any(each.code == _CONCURRENT for each in errors):
                # The same request is under way: what it comes to is read at the next try.
                under_way = OutcomeUnknownError("shopify: the same request is being carried out")
                return [*results, *(unknown(row.effect, under_way, retry_after_s=5.0) for row, _ in due)]
            left = self._after(errors, [row for row, _ in due], stale, results)
        others = RetriableError("shopify: the levels beside it were refused again and again; it was not sent")
        return [*results, *(away(row.effect, others) for row in left)]

    def _without_writing(self, row: LevelRow, level: ShownLevel | None) -> Delivered | None:
        """What becomes of a row that is not to be written; None: it is."""
        sku = row.effect.content["sku"]
        if level is None:
            self._variants.forget(str(sku))
            return away(row.effect, RetriableError(f"shopify: the variant of {sku} was made anew"))
        if not level.tracked:
            return refused(
                row.effect, f"the shop does not track the quantity of {sku}; switch it on there, then replay"
            )
        if level.quantity is None and self._settings.api_version < STOCKED_BY_SETTING:
            place = row.location.rpartition("/")[2]
            return refused(row.effect, f"{sku} is not stocked at location {place}; stock it there, then replay")
        return sent(row.effect, row.variant.item_id) if level.quantity == row.quantity else None

    def _request(self, due: Sequence[tuple[LevelRow, int | None]]) -> dict[str, Any]:
        """The request, and its key: of the same rows compared with the same figures it is the same."""
        quantities = [
            {
                "inventoryItemId": row.variant.item_id,
                "locationId": row.location,
                "quantity": row.quantity,
                "changeFromQuantity": compared,
            }
            for row, compared in due
        ]
        named = "\n".join(f"{row.effect.k} {row.quantity} {compared}" for row, compared in due)
        key = str(uuid.uuid5(_NAMESPACE, hashlib.sha256(named.encode()).hexdigest()))
        return {
            "key": key,
            "input": {
                "name": self._quantity,
                "reason": "correction",
                "referenceDocumentUri": f"gid://b1-streams/StockLevel/{key}",
                "quantities": quantities,
            },
        }

    def _after(
        self, errors: Sequence[UserError], rows: Sequence[LevelRow], stale: set[str], results: list[Delivered]
    ) -> list[LevelRow]:
        """Sort out what was refused; what is left is decided anew."""
        by_row: dict[int, UserError] = {}
        for error in errors:
            for at in range(len(rows)) if error.row is None else (error.row,):
                by_row.setdefault(at, error)
        left: list[LevelRow] = []
        for at, row in enumerate(rows):
            found = by_row.get(at)
            if found is None:
                left.append(row)
            elif found.code in _STALE and row.effect.k not in stale:
                stale.add(row.effect.k)
                left.append(row)
            else:
                if found.code in _GONE:
                    self._variants.forget(str(row.effect.content["sku"]))
                results.append(refused(row.effect, f"{found}; see the item's inventory in the shop, then replay"))
        return left


def _level_of(item: Mapping[str, Any], name: str) -> ShownLevel:
    level = item.get("inventoryLevel")
    rows = level["quantities"] if level else ()
    return ShownLevel(bool(item["tracked"]), next((row["quantity"] for row in rows if row["name"] == name), None))

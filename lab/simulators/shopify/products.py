"""Products, their variants and inventory items."""

import re
from typing import Final

from lab.simulators.shopify.rows import Row, RowMaker

_SKU: Final = re.compile(r"sku:'((?:[^'\\]|\\.)*)'")


class ProductShelf:
    """What a shop has to sell.

    Attributes:
        items: Inventory items, by sku.
        variants: All, several of which may share a sku, and with it their item.
    """

    def __init__(self, rows: RowMaker) -> None:
        self._rows = rows
        self.items: dict[str, Row] = {}
        self.variants: list[Row] = []

    def item(self, sku: str) -> Row:
        """The inventory item of a sku, made where there is none."""
        if sku not in self.items:
            self.items[sku] = {
                "id": self._rows.gid("InventoryItem"),
                "sku": sku,
                "tracked": True,
                "duplicateSkuCount": 0,
            }
        return self.items[sku]

    def add(self, *skus: str, price: str = "12.00") -> str:
        """A product with a variant for each sku; the product's id."""
        product = {"id": self._rows.gid("Product")}
        for sku in skus:
            self.variants.append(
                {
                    "id": self._rows.gid("ProductVariant"),
                    "sku": sku,
                    "price": price,
                    "barcode": None,
                    "product": product,
                    "inventoryItem": self.item(sku),
                }
            )
        return str(product["id"])

    def variant(self, sku: str) -> Row:
        """The first with that sku."""
        return next(each for each in self.variants if each["sku"] == sku)

    def search(self, query: str | None) -> list[Row]:
        """What a search for skus finds: those that begin with one of them too, whatever their case."""
        wanted = [re.sub(r"\\(.)", r"\1", text).lower() for text in _SKU.findall(query or "")]
        return [
            {**each, "_key": [at]}
            for at, each in enumerate(self.variants)
            if any(str(each["sku"]).lower().startswith(sku) for sku in wanted)
        ]

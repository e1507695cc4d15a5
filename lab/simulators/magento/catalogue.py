"""Products, source items and what is written: prices, quantities, attributes, shipments, tracks.

From the vendor's documentation and the code of magento/magento2 (`BasePriceStorage`, `ShipmentDocumentFactory`, read
2026-12-01): one bad row fails a whole call of source items; base prices answer with their bad rows, whose parameters
have lost their names, but one below zero fails the call; a sku that is not there gets a source item all the same in
most versions; a product that is not there is made.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from lab.simulators.magento.faults import MagentoHabits
from lab.simulators.magento.prices import Fields
from lab.simulators.magento.state import ActionRefusedError, MagentoShop
from lab.simulators.magento.wire import encoded, message

PRODUCT_COLUMNS = ("entity_id", "sku", "type_id", "status", "updated_at")
SOURCE_ITEM_COLUMNS = ("sku", "source_code", "quantity", "status")
_SHIP = re.compile(r"order/(\d+)/ship")
_TRACK = re.compile(r"shipment/track/(\d+)")


@dataclass
class ShopCatalogue:
    """What the shop sells, and what a client changes.

    Attributes:
        products: By sku.
        quantities: By sku and source code: quantity and status.
        sources: Codes of sources.
        done: What was carried out, by call and subject.
        value_ids: How many rows of prices were ever written: each used one up.
        notified: Customers that were written to, by order.
    """

    shop: MagentoShop
    products: dict[str, Fields] = field(default_factory=dict)
    quantities: dict[tuple[str, str], tuple[Decimal, int]] = field(default_factory=dict)
    sources: set[str] = field(default_factory=lambda: {"default", "wh-uk", "wh-de"})
    done: Counter[tuple[str, str]] = field(default_factory=Counter)
    value_ids: int = 0
    notified: Counter[int] = field(default_factory=Counter)

    def add(self, *skus: str, type_id: str = "simple", price: str = "12") -> None:
        """Products that the shop has."""
        for sku in skus:
            self.products[sku] = {
                "entity_id": len(self.products) + 1,
                "sku": sku,
                "name": f"All about {sku}",
                "type_id": type_id,
                "price": Decimal(price),
                "custom_attributes": [{"attribute_code": "description", "value": "Long"}],
            }

    def rows(self, path: str) -> tuple[list[Fields], Sequence[str]] | None:
        """Rows of a list and the columns that one may search; None: it is none of ours."""
        if path == "products":
            return list(self.products.values()), PRODUCT_COLUMNS
        if path == "inventory/source-items":
            rows: list[Fields] = [
                {"sku": sku, "source_code": source, "quantity": quantity, "status": status}
                for (sku, source), (quantity, status) in self.quantities.items()
            ]
            return rows, SOURCE_ITEM_COLUMNS
        return None

    def write(self, method: str, path: str, body: bytes, habits: MagentoHabits) -> bytes | None:
        """The answer of a write; None: there is no such call.

        Raises:
            MagentoReply: It is refused.
        """
        track = _TRACK.fullmatch(path)
        if method == "DELETE" and track is not None:
            return encoded(self._delete_track(int(track[1])))
        if method != "POST":
            return None
        try:
            asked = json.loads(body, parse_float=Decimal)
        except ValueError:
            raise message(400, "Decoding error.") from None
        if shipped := _SHIP.fullmatch(path):
            return encoded(self._ship(int(shipped[1]), asked))
        match path:
            case "inventory/source-items":
                self._limit(asked["sourceItems"], habits)
                return encoded(self._set_quantities(asked["sourceItems"], habits))
            case "products/base-prices":
                self._limit(asked["prices"], habits)
                return encoded(self._set_prices(asked["prices"]))
            case "products":
                return encoded(self._save_product(asked["product"]))
            case "shipment/track":
                return encoded(self._add_track(asked["entity"]))
            case _:
                return None

    def _limit(self, rows: Sequence[Fields], habits: MagentoHabits) -> None:
        if habits.array_limit is not None and len(rows) > habits.array_limit:
            raise message(400, "Maximum items of type %type is %max", type="row", max=str(habits.array_limit))

    # ---- quantities

    def _set_quantities(self, rows: Sequence[Fields], habits: MagentoHabits) -> list[Any]:
        if not rows:
            raise message(400, "Input data is empty")
        for row in rows:
            if not all(isinstance(row.get(name), int | Decimal) for name in ("quantity", "status")):
                raise message(400, '"%field" should be numeric.', field="quantity")
            if row["source_code"] not in self.sources:
                raise message(400, "Could not save Source Item")
            if row["sku"] != row["sku"].strip() or not row["sku"]:
                raise message(400, 'Validation Failed: "%field" can not be empty.', field="sku")
            if row["sku"] not in self.products and not habits.orphans:
                raise message(400, "Could not save Source Item")
        for row in rows:
            self.quantities[row["sku"], row["source_code"]] = (Decimal(row["quantity"]), int(row["status"]))
            self.done["source-items", f"{row['sku']}@{row['source_code']}"] += 1
        return []

    # ---- prices

    def _set_prices(self, rows: Sequence[Fields]) -> list[Fields]:
        if any(Decimal(row["price"]) < 0 for row in rows):
            raise message(400, "Invalid attribute %fieldName = %fieldValue.", fieldName="Price", fieldValue="-1")
        errors: list[Fields] = []
        for row in rows:
            product = self.products.get(row["sku"])
            if product is None or product["type_id"] == "configurable" or product.get("_dynamic"):
                text = "Invalid attribute %fieldName = %fieldValue."
                errors.append({"message": text, "parameters": ["SKU", row["sku"]]})
                continue
            product["price"] = Decimal(row["price"])
            self.value_ids += 1
            self.done["base-prices", row["sku"]] += 1
        return errors

    # ---- products

    def _save_product(self, wanted: Fields) -> Fields:
        sku = wanted["sku"]
        if sku not in self.products:
            if "name" not in wanted:
                raise message(400, 'The "%1" attribute value is empty. Set the attribute and try again.')
            self.add(sku)
        product = self.products[sku]
        for row in wanted.get("custom_attributes", ()):
            kept = [each for each in product["custom_attributes"] if each["attribute_code"] != row["attribute_code"]]
            product["custom_attributes"] = [*kept, row]
        product.update({name: value for name, value in wanted.items() if name != "custom_attributes"})
        self.done["products", sku] += 1
        return product

    # ---- shipments

    def _ship(self, order_id: int, asked: Mapping[str, Any]) -> int:
        if order_id not in self.shop.lists["orders"]:
            raise message(404, "The entity that was requested doesn't exist. Verify the entity and try again.")
        quantities = {int(row["order_item_id"]): Decimal(row["qty"]) for row in asked.get("items") or ()}
        source = ((asked.get("arguments") or {}).get("extension_attributes") or {}).get("source_code")
        if source is not None and source not in self.sources:
            raise message(400, 'Source with code "%1" does not exist.')
        rows = [(row["track_number"], row["title"], row["carrier_code"]) for row in asked.get("tracks") or ()]
        known = {item["item_id"] for item in self.shop.order(order_id)["items"]}
        if quantities.keys() - known:
            raise message(400, "The shipment contains product item that is not part of the original order.")
        try:
            shipment_id = self.shop.ship(order_id, quantities or None, tracks=rows, source_code=source)
        except ActionRefusedError as error:
            raise message(400, "Shipment Document Validation Error(s):\n%1".replace("%1", str(error))) from None
        shipment = self.shop.lists["shipments"][shipment_id]
        if comment := asked.get("comment"):
            shipment["comments"] = [{"comment": comment["comment"], "is_visible_on_front": 0, "parent_id": shipment_id}]
        for row in shipment["items"]:
            place = (row["sku"], source or "default")
            if place in self.quantities:
                quantity, status = self.quantities[place]
                self.quantities[place] = (quantity - row["qty"], status)
        self._number_tracks(shipment)
        self.notified[order_id] += bool(asked.get("notify"))
        self.done["ship", str(order_id)] += 1
        return shipment_id

    def _number_tracks(self, shipment: Fields) -> None:
        for at, row in enumerate(shipment["tracks"], 1):
            row["entity_id"] = row.get("_numbered") or shipment["entity_id"] * 100 + at
            row["_numbered"] = row["entity_id"]

    def _add_track(self, entity: Mapping[str, Any]) -> Fields:
        needed = {"order_id", "parent_id", "track_number", "title", "carrier_code", "qty", "weight", "description"}
        if lacking := needed - entity.keys():
            raise message(400, '"%fieldName" is required. Enter and try again.', fieldName=min(lacking))
        shipment = self.shop.lists["shipments"].get(int(entity["parent_id"]))
        if shipment is None or shipment["order_id"] != entity["order_id"]:
            raise message(404, "The entity that was requested doesn't exist. Verify the entity and try again.")
        self.shop.track(shipment["entity_id"], entity["track_number"], entity["title"])
        self._number_tracks(shipment)
        self.done["track", entity["track_number"]] += 1
        row: Fields = shipment["tracks"][-1]
        return row

    def _delete_track(self, track_id: int) -> bool:
        for shipment in self.shop.lists["shipments"].values():
            kept = [row for row in shipment["tracks"] if row.get("entity_id") != track_id]
            if len(kept) < len(shipment["tracks"]):
                shipment["tracks"] = kept
                self.shop.touch("shipments", shipment["entity_id"])
                return True
        raise message(404, "The entity that was requested doesn't exist. Verify the entity and try again.")

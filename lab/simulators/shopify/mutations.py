"""Mutations: quantities, variants, metafields, fulfilments; each done whole or refused by `userErrors`.

From the mutations' pages of shopify.dev, "GraphQL Admin API reference", 2026-04, and "Implementing idempotency" (read
2026-11-30): a quantity is compared with what is there, or explicitly with null; a key lives 24 h, is bound to its
parameters, and gives the same answer again; a metafield is compared by its digest.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Protocol

from lab.simulators.shopify.faults import RefusedQueryError
from lab.simulators.shopify.products import ProductShelf
from lab.simulators.shopify.rows import Row, RowMaker, number_of

KEY_LIVES: Final = timedelta(hours=24)
MAX_QUANTITIES: Final = 250
#: From then on setting a quantity stocks an item at a location.
STOCKS: Final = "2026-10"
_REASONS: Final = ("correction", "cycle_count_available", "received", "restock", "shrinkage", "other")


class ShopToChange(Protocol):
    """What mutations change."""

    orders: dict[str, Row]
    levels: dict[tuple[str, str], Row]
    locations: dict[str, Row]
    products: ProductShelf
    rows: RowMaker

    def now(self) -> datetime: ...

    def touch(self, number: str, topic: str = ..., **fields: Any) -> None: ...

    def set_level(self, sku: str, location: str, quantity: int, /, **item: Any) -> None: ...

    def fulfil(self, number: str, location: str | None, lines: Mapping[int, int]) -> str: ...


def _error(message: str, code: str | None = None, *field: object) -> Row:
    return {"field": [str(each) for each in field] or None, "message": message, "code": code}


class ShopMutations:
    """Carries mutations out.

    Attributes:
        done: What was done, by mutation and subject: the id of a level, a variant, an order's line.
        notified: How often a customer was written to, by order.
    """

    def __init__(self, shop: ShopToChange) -> None:
        self._shop = shop
        self._keys: dict[str, tuple[datetime, str, Row]] = {}
        self.done: Counter[tuple[str, str]] = Counter()
        self.notified: Counter[str] = Counter()

    def run(self, name: str, arguments: Mapping[str, Any], version: str) -> Row:
        """The payload of a mutation.

        Raises:
            RefusedQueryError: It is refused as a whole.
        """
        match name:
            case "inventorySetQuantities":
                return self._set_quantities(arguments["input"], arguments["_key"], version)
            case "productVariantsBulkUpdate":
                return self._update_variants(arguments)
            case "metafieldsSet":
                return self._set_metafields(arguments["metafields"])
            case "fulfillmentCreate":
                return self._fulfil(arguments["fulfillment"])
            case _:
                return self._track(arguments)

    # ---- quantities

    def _set_quantities(self, wanted: Row, key: str | None, version: str) -> Row:
        rows = wanted["quantities"]
        if not key:
            raise RefusedQueryError("The @idempotent directive is required for this mutation.", "BAD_REQUEST")
        if any("changeFromQuantity" not in row for row in rows):
            raise RefusedQueryError("changeFromQuantity is required; pass null to skip the check.", "INVALID_VARIABLE")
        if len(rows) > MAX_QUANTITIES:
            raise RefusedQueryError(f"quantities must be at most {MAX_QUANTITIES}", "MAX_INPUT_SIZE_EXCEEDED")
        fingerprint = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
        known = self._keys.get(key)
        if known is not None and known[0] + KEY_LIVES > self._shop.now():
            if known[1] != fingerprint:
                return _payload(_error("other parameters", "IDEMPOTENCY_KEY_PARAMETER_MISMATCH"))
            if known[2]["userErrors"]:
                return _payload(_error("it failed before", "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED"))
            return known[2]
        errors = [
            error
            for at, row in enumerate(rows)
            if (error := self._quantity_error(wanted["name"], row, at, version)) is not None
        ]
        if wanted["reason"] not in _REASONS:
            errors.append(_error("The specified reason is invalid.", "INVALID_REASON", "input", "reason"))
        if not errors:
            for row in rows:
                self._set_quantity(wanted["name"], row)
        made = None if errors else {"id": self._shop.rows.gid("InventoryAdjustmentGroup")}
        answer = {**_payload(*errors), "inventoryAdjustmentGroup": made}
        self._keys[key] = (self._shop.now(), fingerprint, answer)
        return answer

    def _place(self, row: Row) -> tuple[Row | None, str]:
        items = self._shop.products.items.values()
        item = next((each for each in items if each["id"] == row["inventoryItemId"]), None)
        return item, str(row["locationId"]).rpartition("/")[2]

    def _quantity_error(self, name: str, row: Row, at: int, version: str) -> Row | None:
        path = ("input", "quantities", at)
        item, location = self._place(row)
        if name not in ("on_hand", "available"):
            return _error("The quantity name is invalid.", "INVALID_NAME", "input", "name")
        if item is None:
            return _error("The specified inventory item could not be found.", "INVALID_INVENTORY_ITEM", *path)
        if location not in self._shop.locations:
            return _error("The specified location could not be found.", "INVALID_LOCATION", *path)
        if row["quantity"] < 0:
            return _error("The quantity can't be negative.", "INVALID_QUANTITY_NEGATIVE", *path, "quantity")
        level = self._shop.levels.get((item["sku"], location))
        if level is None and version < STOCKS:
            return _error("The item is not stocked at the location.", "ITEM_NOT_STOCKED_AT_LOCATION", *path)
        there = _shown(level, name) if level is not None else 0
        if row["changeFromQuantity"] not in (None, there):
            return _error("The quantity has changed.", "CHANGE_FROM_QUANTITY_STALE", *path, "changeFromQuantity")
        return None

    def _set_quantity(self, name: str, row: Row) -> None:
        item, location = self._place(row)
        sku = str(item["sku"]) if item is not None else ""
        level = self._shop.levels.get((sku, location))
        committed = level.get("committed", 0) if level is not None and name == "available" else 0
        self._shop.set_level(sku, location, row["quantity"] + committed)
        self.done["inventorySetQuantities", f"{sku}/{location}"] += 1

    # ---- variants

    def _update_variants(self, arguments: Mapping[str, Any]) -> Row:
        by_id = {each["id"]: each for each in self._shop.products.variants}
        if all(each["product"]["id"] != arguments["productId"] for each in by_id.values()):
            return _payload(
                _error("Product does not exist", "PRODUCT_DOES_NOT_EXIST", "productId"), productVariants=None
            )
        errors: dict[int, Row] = {}
        for at, row in enumerate(arguments["variants"]):
            known = by_id.get(row.get("id"))
            if known is None or known["product"]["id"] != arguments["productId"]:
                errors[at] = _error("Variant does not exist", "PRODUCT_VARIANT_DOES_NOT_EXIST", "variants", at, "id")
            elif Decimal(row.get("price", 0)) < 0:
                errors[at] = _error("Price must be at least 0", "GREATER_THAN_OR_EQUAL_TO", "variants", at, "price")
            elif len(row.get("barcode", "")) > 255:
                errors[at] = _error("Barcode is too long", "INVALID_INPUT", "variants", at, "barcode")
        if errors and not arguments.get("allowPartialUpdates"):
            return _payload(*errors.values(), productVariants=None)
        done = []
        for at, row in enumerate(arguments["variants"]):
            if at in errors:
                continue
            variant = by_id[row["id"]]
            variant.update({name: row[name] for name in ("price", "barcode") if name in row})
            variant["inventoryItem"].update(row.get("inventoryItem", {}))
            self.done["productVariantsBulkUpdate", str(variant["sku"])] += 1
            done.append(variant)
        return _payload(*errors.values(), productVariants=done)

    # ---- metafields

    def _set_metafields(self, rows: Sequence[Row]) -> Row:
        done = []
        for at, row in enumerate(rows):
            order = self._shop.orders.get(str(row["ownerId"]).rpartition("/")[2])
            if order is None:
                return _payload(_error("Owner does not exist", "INVALID", "metafields", at, "ownerId"), metafields=None)
            known = order["metafield"]
            if "compareDigest" in row and row["compareDigest"] != (known["compareDigest"] if known else None):
                error = _error(
                    "The resource has been updated since it was last loaded.", "STALE_OBJECT", "metafields", at
                )
                return _payload(error, metafields=None)
            if row.get("type") != "json":
                return _payload(_error("Type is not json", "INVALID_TYPE", "metafields", at, "type"), metafields=None)
            json.loads(row["value"])
            order["metafield"] = {
                "id": self._shop.rows.gid("Metafield"),
                "namespace": row["namespace"],
                "key": row["key"],
                "value": row["value"],
                "compareDigest": hashlib.sha256(row["value"].encode()).hexdigest(),
            }
            self._shop.touch(number_of(order))
            done.append(order["metafield"])
        return _payload(metafields=done)

    # ---- fulfilments

    def _fulfil(self, wanted: Row) -> Row:
        units: dict[int, int] = {}
        order, locations = None, set[str]()
        for rows in wanted["lineItemsByFulfillmentOrder"]:
            gid = rows["fulfillmentOrderId"]
            order, one = next(
                (
                    (each, found)
                    for each in self._shop.orders.values()
                    for found in fulfillment_orders(each, self._shop.locations)
                    if found["id"] == gid
                ),
                (None, None),
            )
            if order is None or one is None:
                return _payload(_error("Fulfillment order does not exist."), fulfillment=None)
            if one["status"] not in ("OPEN", "IN_PROGRESS"):
                status = str(one["status"]).lower()
                return _payload(
                    _error(f"Fulfillment order {number_of(one)} has an unfulfillable status= {status}."),
                    fulfillment=None,
                )
            locations.add(number_of(one["assignedLocation"]["location"]))
            by_id = {line["id"]: line for line in one["lineItems"]}
            asked = rows.get("fulfillmentOrderLineItems") or [
                {"id": line["id"], "quantity": line["remainingQuantity"]} for line in one["lineItems"]
            ]
            for each in asked:
                line = by_id.get(each["id"])
                if line is None or not 0 < each["quantity"] <= line["remainingQuantity"]:
                    message = "Invalid fulfillment order line item quantity requested."
                    return _payload(_error(message, None, "fulfillment"), fulfillment=None)
                units[order["lineItems"].index(line["lineItem"])] = each["quantity"]
        if order is None or len(locations) != 1:
            return _payload(_error("All fulfillment orders must be at one location."), fulfillment=None)
        number = self._shop.fulfil(number_of(order), locations.pop(), units)
        made: Row = order["fulfillments"][-1]
        made["trackingInfo"] = _tracking(wanted.get("trackingInfo") or {})
        for at, quantity in units.items():
            self.done["fulfillmentCreate", number_of(order["lineItems"][at])] += quantity
        self.notified[number_of(order)] += bool(wanted.get("notifyCustomer"))
        return _payload(fulfillment={**made, "id": f"gid://shopify/Fulfillment/{number}"})

    def _track(self, arguments: Mapping[str, Any]) -> Row:
        for order in self._shop.orders.values():
            for one in order["fulfillments"]:
                if one["id"] == arguments["fulfillmentId"]:
                    one["trackingInfo"] = _tracking(arguments["trackingInfoInput"])
                    self._shop.touch(number_of(order), "fulfillments/update")
                    self.done["fulfillmentTrackingInfoUpdate", number_of(one)] += 1
                    self.notified[number_of(order)] += bool(arguments.get("notifyCustomer"))
                    return _payload(fulfillment=one)
        return _payload(_error("Fulfillment does not exist.", None, "fulfillmentId"), fulfillment=None)


def _payload(*errors: Row, **fields: Any) -> Row:
    return {"inventoryAdjustmentGroup": None, **fields, "userErrors": list(errors)}


def _shown(level: Row, name: str) -> int:
    taken = level.get("committed", 0) if name == "available" else 0
    return int(level["on_hand"]) - int(taken)


def _tracking(info: Row) -> list[Row]:
    numbers = info.get("numbers") or list(filter(None, [info.get("number")]))
    return [{"company": info.get("company"), "number": number, "url": None} for number in numbers]


def fulfillment_orders(order: Row, locations: Mapping[str, Row]) -> list[Row]:
    """What is to be fulfilled, one for each location that lines are `_assigned` to: by default the first.

    `_fulfillment_status` of an order stands for that of those which have something left.
    """
    first = next(iter(locations), None)
    assigned = order.get("_assigned", {})
    places = dict.fromkeys(assigned.get(at, first) for at in range(len(order["lineItems"])))
    found = []
    for number, place in enumerate(places, 1):
        lines = [
            {
                "id": row["id"].replace("LineItem", "FulfillmentOrderLineItem"),
                "totalQuantity": row["quantity"],
                "remainingQuantity": row["unfulfilledQuantity"],
                "lineItem": row,
            }
            for at, row in enumerate(order["lineItems"])
            if assigned.get(at, first) == place
        ]
        is_open = any(line["remainingQuantity"] for line in lines) and order["cancelledAt"] is None
        found.append(
            {
                "id": f"gid://shopify/FulfillmentOrder/{number_of(order)}{number}",
                "status": order.get("_fulfillment_status", "OPEN") if is_open else "CLOSED",
                "assignedLocation": {"location": locations[place]} if place is not None else None,
                "lineItems": lines,
            }
        )
    return found

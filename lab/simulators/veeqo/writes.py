"""What Veeqo takes: orders and products, with the attributes of its documentation and no others (another is 500).

Read 2026-11-21: "Create an Order", "Cancel an Order", "Create a Product", "Update a Product", "Update an Allocation".
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from lab.simulators.veeqo.state import Account, Line
from lab.simulators.veeqo.wire import Json, VeeqoRefusedError, object_in

_ORDER: Final = frozenset(
    {"channel_id", "customer_id", "customer_attributes", "deliver_to_id", "deliver_to_attributes", "delivery_method_id"}
    | {"number", "due_date", "line_items_attributes", "delivery_cost", "total_tax", "total_discounts"}
    | {"additional_order_level_taxless_discount", "payment_attributes", "customer_note_attributes"}
    | {"send_notification_email"}
)
_LINE: Final = frozenset({"sellable_id", "price_per_unit", "quantity", "tax_rate", "taxless_discount_per_unit"})
_ADDRESS: Final = frozenset(
    {"first_name", "last_name", "company", "address1", "address2", "city", "state", "zip", "country", "phone", "email"}
)
_PAYMENT: Final = frozenset({"payment_type", "reference_number"})
_PAYMENT_TYPES: Final = frozenset(
    {"none", "cash", "credit_card", "bank_transfer", "paypal", "paypal_express", "sagepay", "checkmo", "online_finance"}
)
_PRODUCT: Final = frozenset({"title", "description", "product_variants_attributes", "images_attributes"})
_VARIANT: Final = frozenset(
    {"id", "title", "sku_code", "price", "cost_price", "tax_rate", "upc_code", "weight_grams", "min_reorder_level"}
)
_ALLOCATION: Final = frozenset({"warehouse_id", "line_items_attributes"})


def create_order(account: Account, body: Json) -> Json:
    """Make an order; its number may be that of another one."""
    given = object_in(body, "order", _ORDER)
    channel = given.get("channel_id")
    if channel not in account.channels:
        raise VeeqoRefusedError(400, "Channel must exist")
    if not given.get("customer_id") and not given.get("customer_attributes"):
        raise VeeqoRefusedError(400, "Customer must exist")
    address = _known(given.get("deliver_to_attributes") or {}, _ADDRESS)
    payment = _known(given.get("payment_attributes") or {}, _PAYMENT)
    if payment and payment.get("payment_type") not in _PAYMENT_TYPES:
        raise VeeqoRefusedError(400, "Payment type is not included in the list")
    rows = given.get("line_items_attributes")
    if not isinstance(rows, list) or not rows:
        raise VeeqoRefusedError(400, "Line items can't be blank")
    lines = [
        Line(
            sellable_of(account, row["sellable_id"])["sku_code"],
            _units(row),
            str(_money(row.get("price_per_unit", 0))),
            str(_money(row.get("tax_rate", 0))),
        )
        for row in (_known(each, _LINE) for each in rows)
    ]
    changes: Json = {
        "channel_id": channel,
        "status": "awaiting_fulfillment" if payment else "awaiting_payment",
        "deliver_to": {**dict.fromkeys(sorted(_ADDRESS)), **address},
        "payment": payment or None,
        "customer_note": given.get("customer_note_attributes"),
    }
    if given.get("number"):
        changes["number"] = str(given["number"])
    if given.get("delivery_method_id"):
        changes["delivery_method"] = {"id": given["delivery_method_id"], "name": "Method", "cost": Decimal(0)}
    return account.orders[account.place_order(*lines, **changes)]


def create_product(account: Account, body: Json) -> Json:
    """Make a product with its variants; SKUs need not be unique."""
    given = object_in(body, "product", _PRODUCT)
    if not given.get("title"):
        raise VeeqoRefusedError(400, "Title can't be blank")
    first, *more = given.get("product_variants_attributes") or [{}]
    if not first.get("sku_code"):
        raise VeeqoRefusedError(400, "Sku code can't be blank")
    number = account.add_product(str(first["sku_code"]))
    product = account.products[0]
    product["title"] = given["title"]
    _write_variant(product, {**first, "id": number})
    for each in more:
        _write_variant(product, each)
    return product


def update_product(account: Account, product_id: int, body: Json) -> Json:
    """Change what is named; a variant without its id is a new one."""
    product = next((each for each in account.products if each["id"] == product_id), None)
    if product is None:
        raise VeeqoRefusedError(404, "Not Found")
    given = object_in(body, "product", _PRODUCT)
    product |= {name: given[name] for name in ("title", "description") if name in given}
    for each in given.get("product_variants_attributes") or ():
        _write_variant(product, each)
    product["updated_at"] = account.now()
    return product


def _write_variant(product: Json, given: Json) -> None:
    given = _known(given, _VARIANT)
    variant = next((each for each in product["sellables"] if each["id"] == given.get("id")), None)
    if variant is None:
        variant = {
            **product["sellables"][0],
            "id": product["id"] * 100 + len(product["sellables"]),
            "stock_entries": [],
        }
        product["sellables"].append(variant)
    changes = {name: each for name, each in given.items() if name != "id"}
    if "price" in changes:
        changes["price"] = _money(changes["price"])
    variant |= changes


def change_allocation(account: Account, order_id: int, allocation_id: int, body: Json) -> None:
    """Put an allocation that waits into another warehouse, or with other units."""
    given = _known(body.get("allocation", body), _ALLOCATION)
    order = account.orders[order_id]
    allocation = next((each for each in order["allocations"] if each["id"] == allocation_id), None)
    if allocation is None:
        raise VeeqoRefusedError(404, "Not Found")
    if allocation["shipment"] is not None:
        raise VeeqoRefusedError(400, "Allocation has already been shipped")
    account.release(allocation)
    order["allocations"].remove(allocation)
    account.allocate(order_id, given["warehouse_id"], units_of(account, given), allocation_id=allocation_id)


def units_of(account: Account, given: Mapping[str, Any]) -> dict[str, int]:
    """Units by SKU of an allocation's lines."""
    return {
        sellable_of(account, each["sellable_id"])["sku_code"]: _units(each) for each in given["line_items_attributes"]
    }


def sellable_of(account: Account, sellable_id: object) -> Json:
    for product in account.products:
        for sellable in product["sellables"]:
            if sellable["id"] == sellable_id:
                found: Json = sellable
                return found
    raise VeeqoRefusedError(404, "Not Found")


def _known(given: Any, names: frozenset[str]) -> Json:
    if not isinstance(given, dict):
        raise VeeqoRefusedError(400, "the body is not an object")
    if given.keys() - names:
        raise VeeqoRefusedError(500, "unknown attribute")  # as Veeqo does
    return given


def _units(row: Json) -> int:
    units = row.get("quantity")
    if type(units) is not int or units <= 0:
        raise VeeqoRefusedError(400, "Quantity must be greater than 0")
    return units


def _money(value: object) -> Decimal:
    """A number, or its text."""
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise VeeqoRefusedError(400, "Price is not a number") from None

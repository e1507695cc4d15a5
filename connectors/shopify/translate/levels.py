"""Counts of items at locations."""

from collections.abc import Mapping
from decimal import Decimal

from connectors.base.source import RefusedRecord, StockLevel
from connectors.shopify import records
from connectors.shopify.translate.context import ShopifyContext, refused


def unreadable_level(location: str, raw: object, error: str) -> RefusedRecord:
    """The dead letter of a count that cannot be read."""
    item = raw.get("item") if isinstance(raw, Mapping) else None
    name = str(item.get("id")) if isinstance(item, Mapping) else "unknown"
    return refused("stock_adjusted", f"level-{location}-{name[-60:]}", raw, error)


def level_of(
    level: records.InventoryLevel, location: str, raw: object, context: ShopifyContext
) -> StockLevel | RefusedRecord | None:
    """The count of one item at one location; None where it is not counted, or not by this name."""
    item, settings = level.item, context.settings
    quantity = next((each.quantity for each in level.quantities if each.name == settings.stock_quantity), None)
    if not item.tracked or quantity is None:
        return None
    sku = settings.inventory_skus.get(item.id) or item.sku
    mapped = item.id in settings.inventory_skus
    # Whether Shopify counts the item itself is not documented, so one other already is too many.
    shared = item.duplicate_sku_count > 1 and not mapped
    if sku is None or shared:
        what = "shares its sku with another" if shared else "has no sku"
        return refused(
            "stock_adjusted",
            f"item-{item.id}",
            raw,
            f"inventory item {item.id} {what}, so its count is nobody's; give it its own in the shop, or name it in "
            f"connectors.{context.source}.inventory_skus",
            sku=sku,
        )
    seconds = int(level.updated_at.timestamp())
    return StockLevel(
        source=context.source,
        company=context.company,
        event_id=f"{item.id}-{location}-{seconds}",
        occurred_at=level.updated_at,
        observed_at=context.observed_at,
        sku=sku,
        location=location,
        level=Decimal(quantity),
        sequence=seconds,
        reason="other",
    )

"""Counted stock: a sweep over all products, then a comparison with what shipments explain."""

from collections.abc import Mapping
from datetime import UTC, datetime

from connectors.base.errors import RecordError
from connectors.base.source import Item
from connectors.veeqo.client import VeeqoClient
from connectors.veeqo.memory import KnownCount, Memory
from connectors.veeqo.reading import Reading
from connectors.veeqo.records import VeeqoId, VeeqoSellableStock, VeeqoStockEntry, validate
from connectors.veeqo.translate.dispatches import stock_level
from connectors.veeqo.walk import is_last

#: Levels per batch; their pending deltas are records of their own.
LEVELS_PER_BATCH = 500


async def sweep(client: VeeqoClient, reading: Reading) -> tuple[list[Item], bool]:
    """Read one page of products; what is refused, and whether the sweep has come to its end.

    Raises:
        ConnectorError: Veeqo did not answer.
    """
    memory, size = reading.memory, reading.settings.page_size
    page = await client.page("/products", {"page": memory.page, "page_size": size})
    items: list[Item] = []
    for row in page.rows:
        sellables = row.get("sellables") if isinstance(row, Mapping) else None
        if not isinstance(sellables, list):
            items += reading.refused("stock_adjusted", VeeqoId, row, "products", "the product has no list of sellables")
            continue
        for sellable in sellables:
            items += _sellable(reading, sellable, page.at_ms)
    if not is_last(reading, page):
        memory.page += 1
        return items, False
    for count in memory.counts.values():
        if not count.found:
            # No longer there: its sku may come back on another sellable.
            count.sellable, count.seen, count.seen_ms = "", None, 0
        count.found = False
    return items, True


def _sellable(reading: Reading, row: object, at_ms: int) -> list[Item]:
    try:
        sellable = validate(VeeqoSellableStock, row)
    except RecordError as error:
        return reading.refused("stock_adjusted", VeeqoSellableStock, row, "products", str(error))
    items: list[Item] = []
    for entry in sellable.stock_entries:
        warehouse = entry.warehouse_id or (entry.warehouse.id if entry.warehouse else None)
        if warehouse is None:
            items += reading.refused(
                "stock_adjusted",
                VeeqoSellableStock,
                row,
                "products",
                "a stock entry names no warehouse",
                sku=sellable.sku_code,
            )
        elif reading.settings.counts(warehouse) and not entry.infinite:
            items += _counted(reading, sellable, warehouse, entry, at_ms)
    return items


def _counted(
    reading: Reading, sellable: VeeqoSellableStock, warehouse: str, entry: VeeqoStockEntry, at_ms: int
) -> list[Item]:
    memory, sku = reading.memory, sellable.sku_code
    count = memory.counts.setdefault((sku, warehouse), KnownCount())
    if count.sellable not in ("", sellable.id):
        what = {"sku": sku, "warehouse": warehouse, "sellables": sorted([count.sellable, sellable.id])}
        return reading.refused(
            "stock_adjusted",
            None,
            what,
            "products",
            f"sellables {count.sellable} and {sellable.id} have the same SKU, and only the first is counted; give "
            "each its own SKU in Veeqo",
            sku=sku,
        )
    count.sellable, count.found = sellable.id, True
    level = entry.physical_stock_level
    is_news = count.reported is None or level + count.shipped != count.reported
    count.seen, count.seen_ms = (level, at_ms) if is_news else (None, 0)
    return []


def has_news(memory: Memory) -> bool:
    """Drop the counts that shipments explain; whether others are left to report."""
    for count in memory.counts.values():
        if count.seen is not None and count.seen + count.shipped == count.reported:
            count.seen, count.seen_ms = None, 0
    return any(each.seen is not None for each in memory.counts.values())


def report(reading: Reading) -> tuple[list[Item], bool]:
    """The counts that have changed, shipments aside, and whether that is all.

    The shipments up to them must be known.
    """
    memory = reading.memory
    items: list[Item] = []
    sequence = max(memory.sequence + 1, reading.now_ms)
    for (sku, warehouse), count in sorted(memory.counts.items()):
        if count.seen is None:
            continue
        if len(items) >= LEVELS_PER_BATCH:
            return items, False
        level, at = count.seen + count.shipped, datetime.fromtimestamp(count.seen_ms / 1000, UTC)
        count.reported, count.seen, count.seen_ms = level, None, 0
        memory.sequence = sequence
        items.append(stock_level(sku, warehouse, level, sequence, at, reading.context))
    return items, True

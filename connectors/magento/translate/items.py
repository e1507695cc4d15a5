"""The rows of an order: which belong together, which of them are lines, and what a document moves of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from connectors.base.errors import RecordError
from connectors.base.money import ZERO
from connectors.base.values import STEP
from connectors.magento.records import MovedItemRecord, OrderItemRecord, OrderRecord, RefundedItemRecord

_VIRTUAL = frozenset({"virtual", "downloadable"})


@dataclass(frozen=True, slots=True)
class ItemGroup:
    """A top row of an order and the rows below it: what the buyer chose as one.

    Goods are the children's. Money is the top row's, but for a bundle that is priced by its parts: there the parts have
    their own, and the top row repeats the sum.
    """

    top: OrderItemRecord
    children: tuple[OrderItemRecord, ...]

    @property
    def is_bundle(self) -> bool:
        return bool(self.children) and (self.top.product_type == "bundle" or len(self.children) > 1)

    @property
    def is_priced_by_parts(self) -> bool:
        return self.is_bundle and any(child.row_total or child.tax_amount for child in self.children)

    @property
    def priced(self) -> tuple[OrderItemRecord, ...]:
        """The rows that have the money."""
        return self.children if self.is_priced_by_parts else (self.top,)

    @property
    def lines(self) -> tuple[OrderItemRecord, ...]:
        """The rows whose item_id is a line_id: shipments and credit memos name them, or the top row for all of them."""
        return self.children if self.is_bundle else (self.top,)

    def sku(self, line: OrderItemRecord) -> str:
        """A line's; the child of a configurable product is what leaves."""
        return line.sku if self.is_bundle or not self.children else self.children[0].sku

    def is_virtual(self, line: OrderItemRecord) -> bool:
        goods = self.children[0] if self.children and not self.is_bundle else line
        return goods.is_virtual or goods.product_type in _VIRTUAL

    def moved(self, quantities: Mapping[int, Decimal]) -> dict[int, Decimal]:
        """Quantities by row as a document has them, to quantities by line; rows of nothing are left out."""
        if not self.is_bundle:
            only = self.children[0].item_id if self.children else 0
            quantity = quantities.get(self.top.item_id) or quantities.get(only) or ZERO
            return {self.top.item_id: quantity} if quantity else {}
        named = {child.item_id: q for child in self.children if (q := quantities.get(child.item_id))}
        whole = quantities.get(self.top.item_id)
        if named or not whole or not self.top.qty_ordered:
            return named
        shares = {
            child.item_id: (whole * child.qty_ordered / self.top.qty_ordered).quantize(STEP) for child in self.children
        }
        return {line_id: share for line_id, share in shares.items() if share}


def item_groups(order: OrderRecord) -> tuple[ItemGroup, ...]:
    ids = {item.item_id for item in order.items}
    children: dict[int, list[OrderItemRecord]] = {}
    tops: list[OrderItemRecord] = []
    for item in order.items:
        if item.parent_item_id is not None and item.parent_item_id in ids and item.parent_item_id != item.item_id:
            children.setdefault(item.parent_item_id, []).append(item)
        else:
            tops.append(item)
    return tuple(ItemGroup(top, tuple(children.get(top.item_id, ()))) for top in tops)


def moved_lines(order: OrderRecord, rows: Iterable[MovedItemRecord | RefundedItemRecord]) -> dict[int, Decimal]:
    """What a document moves, by line of the order.

    Raises:
        RecordError: It names a row that the order does not have.
    """
    quantities: dict[int, Decimal] = {}
    for row in rows:
        quantities[row.order_item_id] = quantities.get(row.order_item_id, ZERO) + row.qty
    unknown = quantities.keys() - {item.item_id for item in order.items}
    if any(quantities[each] for each in unknown):
        raise RecordError("an order_item_id is not one of its order's; fix it in the shop, or edit and replay")
    moved: dict[int, Decimal] = {}
    for group in item_groups(order):
        moved |= group.moved(quantities)
    return moved


def cancelled_lines(order: OrderRecord) -> dict[int, Decimal]:
    """What the shop has cancelled of an order, by line."""
    cancelled = {item.item_id: item.qty_canceled for item in order.items if item.qty_canceled}
    lines: dict[int, Decimal] = {}
    for group in item_groups(order):
        lines |= group.moved(cancelled)
    return lines

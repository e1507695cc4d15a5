"""What a cart costs, by the shop's own arithmetic: both tax modes, discounts, bundles, base currency."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

Fields = dict[str, Any]
ZERO = Decimal(0)
_CENT = Decimal("0.01")
STEP = Decimal("0.0001")
ROW_AMOUNTS = ("row_total", "tax_amount", "discount_amount", "discount_tax_compensation_amount")


SHIPPING_COMPENSATION = "shipping_discount_tax_compensation_amount"


def base_column(name: str) -> str:
    """The column of an amount in the base currency; one name is shortened."""
    return f"base_{name.removesuffix('amount')}amnt" if name == SHIPPING_COMPENSATION else f"base_{name}"


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(_CENT, ROUND_HALF_UP)


@dataclass(frozen=True, kw_only=True)
class BundlePart:
    """A product inside a bundle: so many in each."""

    sku: str
    quantity: Decimal = Decimal(1)
    price: Decimal = ZERO


@dataclass(frozen=True, kw_only=True)
class CartItem:
    """What a buyer puts into the cart; `price` as in the catalogue: with tax where prices include it.

    `kind` is simple, virtual, configurable, or bundle: with a price of its own (fixed), or without (priced by its
    parts).
    """

    sku: str
    quantity: Decimal = Decimal(1)
    price: Decimal = ZERO
    rate: Decimal = Decimal(20)
    discount_percent: Decimal = ZERO
    kind: str = "simple"
    parts: tuple[BundlePart, ...] = ()


class PriceRules:
    """How a shop computes; see `state.MagentoShop` for the attributes."""

    prices_include_tax: bool
    tax_on_total: bool
    base_rate: Decimal

    def shipping_amounts(self, net: Decimal, rate: Decimal, share: Decimal) -> Fields:
        """Shipping and its discount: of the price with tax where catalogue prices include it (CommonTaxCollector)."""
        full = cents(net * rate / 100)
        if self.prices_include_tax:
            discount = cents((net + full) * share)
            tax = cents((net + full - discount) * rate / (100 + rate))
            compensation = full - tax
        else:
            discount, compensation = cents(net * share), ZERO
            tax = cents((net - discount) * rate / 100)
        header: Fields = {
            "shipping_amount": net,
            "shipping_incl_tax": net + full,
            "shipping_tax_amount": tax,
            "shipping_discount_amount": discount,
            SHIPPING_COMPENSATION: compensation,
        }
        return header | {base_column(name): cents(value * self.base_rate) for name, value in header.items()}

    def cart_rows(self, order_id: int, cart_item: CartItem, next_id: Callable[[], int]) -> Iterator[Fields]:
        fixed = cart_item.kind == "bundle" and bool(cart_item.price)
        parts = cart_item.parts if cart_item.kind == "bundle" else ()
        top = _row(next_id(), order_id, cart_item.sku, cart_item.quantity, cart_item.kind)
        rows = [top]
        for part in parts or ((BundlePart(sku=cart_item.sku),) if cart_item.kind == "configurable" else ()):
            child = _row(next_id(), order_id, part.sku, cart_item.quantity * part.quantity, "simple")
            child |= {
                "parent_item_id": top["item_id"],
                **self.row_amounts(ZERO if fixed else part.price, child, cart_item),
            }
            rows.append(child)
        if cart_item.kind != "bundle" or fixed:
            top |= self.row_amounts(cart_item.price, top, cart_item)
        else:
            # Priced by its parts: the parent repeats their sum, but not their tax and discount.
            for name in ("row_total", "base_row_total"):
                top[name] = sum((row[name] for row in rows[1:]), ZERO)
            top |= {
                "price": (top["row_total"] / cart_item.quantity).quantize(STEP),
                "tax_amount": ZERO,
                "discount_amount": ZERO,
            }
        yield from rows

    def row_amounts(self, price: Decimal, row: Fields, cart_item: CartItem) -> Fields:
        quantity, rate, share = row["qty_ordered"], cart_item.rate, cart_item.discount_percent / 100
        if self.prices_include_tax:
            gross = cents(price * quantity)
            full = cents(gross * rate / (100 + rate))
            discount = cents(gross * share)
            tax = cents((gross - discount) * rate / (100 + rate))
            net, hidden = gross - full, full - tax
            unit = (price / (1 + rate / 100)).quantize(STEP)
        else:
            net, unit, hidden = cents(price * quantity), price, ZERO
            discount = cents(net * share)
            tax = cents((net - discount) * rate / 100)
        money = {"price": unit, **dict(zip(ROW_AMOUNTS, (net, tax, discount, hidden), strict=True))}
        money["row_total_incl_tax"] = net + tax
        return {
            **money,
            **{f"base_{name}": cents(value * self.base_rate) for name, value in money.items()},
            "tax_percent": rate,
        }

    def order_totals(self, items: Sequence[Fields], header: Fields, prefix: str, gift_card: Decimal) -> Fields:
        priced = [row for row in items if not repeats_its_parts(row, items)]
        net, tax, discount, hidden = (sum((row.get(prefix + n, ZERO) for row in priced), ZERO) for n in ROW_AMOUNTS)
        if self.tax_on_total and not self.prices_include_tax:
            rates = {row.get("tax_percent", ZERO) for row in priced}
            tax = sum((cents(self._taxable(priced, rate, prefix) * rate / 100) for rate in rates), ZERO)
        tax += header[f"{prefix}shipping_tax_amount"]
        discount += header[f"{prefix}shipping_discount_amount"]
        compensation = header[base_column(SHIPPING_COMPENSATION) if prefix else SHIPPING_COMPENSATION]
        card = gift_card if not prefix else cents(gift_card * self.base_rate)
        total = net - discount + hidden + compensation + tax + header[f"{prefix}shipping_amount"] - card
        names = ("subtotal", "discount_amount", "tax_amount", "discount_tax_compensation_amount", "grand_total")
        return {prefix + n: v for n, v in zip(names, (net, -discount, tax, hidden, total), strict=True)}

    def _taxable(self, rows: Sequence[Fields], rate: Decimal, prefix: str) -> Decimal:
        of = [row for row in rows if row.get("tax_percent", ZERO) == rate]
        return sum(
            (row[f"{prefix}row_total"] - row[f"{prefix}discount_amount"] for row in of if "row_total" in row), ZERO
        )


def _row(item_id: int, order_id: int, sku: str, quantity: Decimal, kind: str) -> Fields:
    none = dict.fromkeys(("qty_invoiced", "qty_shipped", "qty_refunded", "qty_canceled"), ZERO)
    row: Fields = {"item_id": item_id, "order_id": order_id, "parent_item_id": None, "product_type": kind}
    return (
        row
        | {"sku": sku, "name": f"{sku} by name", "qty_ordered": quantity, "is_virtual": int(kind == "virtual")}
        | none
    )


def applied_tax(kind: str, item_id: int | None, country: str | None, percent: Decimal, amount: Decimal) -> Fields:
    tax = {"code": f"{country}-*-{percent.normalize():f}", "percent": percent, "amount": amount}
    return {"type": kind, "item_id": item_id, "applied_taxes": [tax]}


def repeats_its_parts(row: Fields, rows: Sequence[Fields]) -> bool:
    """Whether it is the parent of a bundle that is priced by its parts."""
    return row["product_type"] == "bundle" and any(
        each["parent_item_id"] == row["item_id"] and each.get("row_total") for each in rows
    )

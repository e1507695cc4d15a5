"""What several documents are made of: checked items, warehouses and tax codes, lots, dates, texts, addresses."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from connectors.base.errors import Refusal
from connectors.base.money import ZERO
from connectors.sap_b1.mapping import CompanyMap
from connectors.sap_b1.master import Item, MasterData, TaxCode
from connectors.sap_b1.order import OrderView
from schemas.events import Address, BatchQuantity

# Column lengths of B1 10.0 in UTF-16 units (field notes and metadata, read 2026-11-21): more is refused, not cut.
MAX_IDENTITY = 100
MAX_LOT = 36
MAX_COMMENTS = 254
MAX_TRACKING = 30
MAX_LINE_TEXT = 100
MAX_NAME = 100

# Countries whose states B1 knows from the start; elsewhere a region is free text, which only County takes (inference).
_STATES = frozenset({"AU", "BR", "CA", "IN", "MX", "US"})
_ADDRESS_LENGTHS = {
    "Street": 100,
    "Block": 100,
    "City": 100,
    "ZipCode": 20,
    "County": 100,
    "State": 3,
    "Country": 3,
    "Address2": 50,
    "Address3": 50,
}


@contextmanager
def at(where: str) -> Iterator[None]:
    """Name the place in the refusals of what is done inside."""
    try:
        yield
    except Refusal as refusal:
        raise Refusal(refusal.reason, f"{where}: {refusal.error}", waits_for=refusal.waits_for) from refusal


def line_at(position: int, sku: str) -> str:
    return f"line {position + 1} (sku {sku!r})"


def utf16_units(text: str) -> int:
    """How long a text is to B1, whose nvarchar columns count UTF-16 units: most emoji have two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def check_identity(name: str, value: str | None, length: int = MAX_IDENTITY) -> None:
    """Identities are never cut: two of them could become one."""
    if value is not None and (units := utf16_units(value)) > length:
        raise Refusal(
            "invalid_event",
            f"{name} has {units} characters (UTF-16 units), B1 takes {length}; send a shorter one",
        )


def cut(text: str | None, length: int) -> str | None:
    """Free text as B1 takes it: no control characters but line breaks, and no longer than `length` UTF-16 units."""
    if text is None:
        return None
    clean = "".join(c if c == "\n" or c.isprintable() else " " for c in text).strip()
    fitting = clean.encode("utf-16-le")[: 2 * length].decode("utf-16-le", "ignore")  # half a character goes as well
    return fitting.rstrip() or None


def comments(*parts: str | None) -> str | None:
    return cut("\n".join(part for part in parts if part), MAX_COMMENTS)


def given(**fields: Any) -> dict[str, Any]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def dates(day: date) -> dict[str, str]:
    """A document happened on one day: B1's posting, tax and due date are the same."""
    return {"DocDate": day.isoformat(), "TaxDate": day.isoformat(), "DocDueDate": day.isoformat()}


def foreign_currency(map: CompanyMap, currency: str | None) -> str | None:
    """DocCurrency, which a document in the company's own currency does not name."""
    return currency if currency and currency != map.settings.currency else None


def find_item(master: MasterData, code: str, day: date, *, sold: bool) -> Item:
    """The item, checked for being there and active (R58, R79), no kit, and for counting as the events do.

    `sold`: for a sales document, which counts in sales units; else for a stock document.

    Raises:
        Refusal: `unknown_item` or `inactive_item`, which wait for `item:CODE`; `erp_refused`.
    """
    item = master.items.get(code)
    if item is None:
        raise Refusal(
            "unknown_item",
            f"item {code!r} is not in B1; create it there, or map the sku to another",
            waits_for=f"item:{code}",
        )
    if not item.active_on(day):
        raise Refusal(
            "inactive_item", f"item {code!r} is inactive in B1 on {day}; set it active there", waits_for=f"item:{code}"
        )
    if item.kit:
        raise Refusal(
            "erp_refused",
            f"item {code!r} is a kit (Items.TreeType is iSalesTree): it has no stock, B1 moves its components, which "
            f"no event names; send the components, or map the sku to an item with stock of its own",
        )
    if sold and not item.sales_item:
        raise Refusal("erp_refused", f"item {code!r} is no sales item; set Sales Item (Items.SalesItem) in B1")
    if sold and item.sales_factor != 1:
        raise Refusal(
            "erp_refused",
            f"item {code!r} is sold in units of {item.sales_factor} (Items.SalesItemsPerUnit), events count "
            f"inventory units; set Items per Sales Unit to 1 in B1",
        )
    if not sold and not item.inventory_item:
        raise Refusal(
            "erp_refused", f"item {code!r} is no inventory item; set Inventory Item (Items.InventoryItem) in B1"
        )
    return item


def check_quantity(master: MasterData, quantity: Decimal) -> None:
    """B1 would round what it does not keep, and stock would drift."""
    decimals = -int(quantity.normalize().as_tuple().exponent)
    if decimals > master.quantity_decimals:
        raise Refusal(
            "erp_refused",
            f"quantity {quantity} has {decimals} decimals, the company keeps {master.quantity_decimals}; raise "
            f"Decimal Places, Quantities in B1's General Settings (Display), or send fewer decimals",
        )


def check_warehouse(master: MasterData, code: str) -> str:
    warehouse = master.warehouses.get(code)
    if warehouse is None:
        raise Refusal(
            "unmapped_location", f"warehouse {code!r} is not in B1; create it there, or fix companies.*.warehouses"
        )
    if not warehouse.active:
        raise Refusal("erp_refused", f"warehouse {code!r} is inactive; set it active in B1 (Warehouses.Inactive)")
    return code


def find_tax_code(map: CompanyMap, master: MasterData, code: str | None, rate: Decimal | None = None) -> TaxCode:
    """B1's tax code for a channel's, checked for being there (R33)."""
    name = map.tax_code(code, rate)
    found = master.tax_codes.get(name)
    if found is None or not found.active:
        state = "is not in B1" if found is None else "is inactive in B1"
        raise Refusal(
            "unmapped_tax_code",
            f"tax code {name!r} {state}; define it there, or fix companies.{map.company}.tax",
        )
    return found


def branch_of(master: MasterData, warehouses: Iterable[str]) -> int | None:
    """The branch of a document's warehouses.

    Raises:
        Refusal: `erp_refused`: B1 keeps a document to one branch.
    """
    found = {code: master.warehouses[code].branch for code in warehouses if code in master.warehouses}
    branches = set(found.values())
    if len(branches) > 1:
        raise Refusal(
            "erp_refused",
            f"warehouses {', '.join(sorted(found))} are in different branches; one document has one: send them "
            f"apart, or fix the warehouses' branch in B1",
        )
    return next(iter(branches), None)


# ---- lots -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Lots:
    """The batch and serial numbers of one event line, handed out to the document lines that it becomes."""

    batches: list[BatchQuantity]
    serials: list[str]

    def take(self, quantity: Decimal) -> "Lots":
        """The next numbers, for so many units."""
        taken = Lots([], self.serials[: int(quantity)])
        del self.serials[: int(quantity)]
        while quantity > 0 and self.batches:
            first = self.batches[0]
            part = min(first.quantity, quantity)
            taken.batches.append(BatchQuantity(number=first.number, quantity=part, expires_on=first.expires_on))
            quantity -= part
            if part == first.quantity:
                del self.batches[0]
            else:
                rest = first.quantity - part
                self.batches[0] = BatchQuantity(number=first.number, quantity=rest, expires_on=first.expires_on)
        return taken

    def add(self, other: "Lots") -> None:
        self.batches.extend(other.batches)
        self.serials.extend(other.serials)

    def fields(self, position: int, *, incoming: bool) -> dict[str, Any]:
        """The sub-collections of the document line at `position` (0 is the first)."""
        batches: dict[str, Decimal] = {}
        expires: dict[str, date | None] = {}
        for batch in self.batches:
            batches[batch.number] = batches.get(batch.number, ZERO) + batch.quantity
            expires.setdefault(batch.number, batch.expires_on)
        rows: dict[str, Any] = {}
        if batches:
            rows["BatchNumbers"] = [
                {
                    "BatchNumber": number,
                    "Quantity": quantity,
                    "BaseLineNumber": position,
                    # Goods that leave carry the date that they came with.
                    **({"ExpiryDate": day.isoformat()} if incoming and (day := expires[number]) else {}),
                }
                for number, quantity in batches.items()
            ]
        if self.serials:
            rows["SerialNumbers"] = [
                {"InternalSerialNumber": serial, "Quantity": 1, "BaseLineNumber": position} for serial in self.serials
            ]
        return rows


def find_lots(
    item: Item, quantity: Decimal, batches: Iterable[BatchQuantity], serials: Iterable[str], *, incoming: bool
) -> Lots:
    """The line's numbers, checked against how B1 traces the item (R141-R149).

    Raises:
        Refusal: `batch_or_serial_missing`: none where B1 wants some, some where B1 keeps none, or they do not add up.
    """
    lots = Lots(list(batches), list(serials))
    if not item.batch_managed and not item.serial_managed:
        if lots.batches or lots.serials:
            raise _lots_refusal(
                item,
                "has numbers in the event and B1 keeps none for it; set Manage Item By in B1, or replay without them",
            )
        return lots
    if incoming and item.on_release_only and not lots.batches and not lots.serials:
        return lots
    if item.batch_managed:
        total = sum((batch.quantity for batch in lots.batches), ZERO)
        if lots.serials or total != quantity:
            raise _lots_refusal(
                item,
                f"is managed by batches, which add up to {total} and not to {quantity}; replay with all batch numbers",
            )
    elif lots.batches or len(lots.serials) != quantity or len(set(lots.serials)) != len(lots.serials):
        raise _lots_refusal(
            item,
            f"is managed by serial numbers, the event has {len(set(lots.serials))} for {quantity} units; "
            f"replay with one serial number per unit",
        )
    for number in (*(batch.number for batch in lots.batches), *lots.serials):
        check_identity("a batch or serial number", number, MAX_LOT)
    return lots


def _lots_refusal(item: Item, what: str) -> Refusal:
    return Refusal("batch_or_serial_missing", f"item {item.code!r} {what}")


# ---- addresses ------------------------------------------------------------------------------------------------------


def missing_of(address: Address | None) -> list[str]:
    """What a parcel needs and the address lacks."""
    needed = ("name", "street", "city", "postcode", "country")
    return [name for name in needed if not (address and (getattr(address, name) or "").strip())]


def address_fields(ship_to: Address | None, bill_to: Address | None) -> dict[str, str] | None:
    """AddressExtension; it has no field for a name, so name and company stand in the second and third address lines."""
    fields: dict[str, str] = {}
    for prefix, address in (("ShipTo", ship_to), ("BillTo", bill_to)):
        if address is None:
            continue
        country = (address.country or "").strip().upper()
        region = (address.region or "").strip()
        is_state = country in _STATES and 2 <= len(region) <= 3
        values: Mapping[str, str | None] = {
            "Street": address.street,
            "Block": address.street2,
            "City": address.city,
            "ZipCode": address.postcode,
            "State": region.upper() if is_state else None,
            "County": None if is_state else region,
            "Country": country,
            "Address2": address.name,
            "Address3": address.company,
        }
        for part, value in values.items():
            text = cut(value, _ADDRESS_LENGTHS[part])
            if text:
                fields[prefix + part] = text
    return fields or None


def order_header(map: CompanyMap, order: OrderView, k: str, day: date) -> dict[str, Any]:
    """What a delivery or an invoice takes from its order; `NumAtCard` is the number that people quote."""
    return {
        **given(
            CardCode=order.card_code,
            NumAtCard=order.number,
            DocCurrency=foreign_currency(map, order.currency),
            AddressExtension=dict(order.address) or None,
        ),
        **dates(day),
        "U_STREAMS_KEY": k,
        "U_STREAMS_ORDER": order.k,
    }

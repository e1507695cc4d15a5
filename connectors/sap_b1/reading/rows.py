"""B1's rows as records. Pure; `reading` is set when a record is published.

Quantities are inventory units: where B1 shows a line in another unit beside them, the inventory one is taken.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from connectors.base.errors import RecordError
from connectors.base.money import ZERO
from connectors.base.values import encodable
from connectors.sap_b1.change_set import decimal_of
from connectors.sap_b1.master_data import item_of
from connectors.sap_b1.order import ORDER
from connectors.sap_b1.reading.settings import ReleaseSettings, SapB1Settings
from schemas.events import Address, BatchQuantity
from schemas.readings import (
    B1Reading,
    DeliveryLineRead,
    DeliveryPosted,
    ItemChanged,
    ItemPrice,
    OrderLineRead,
    OrderStatusChanged,
    StockLevelRead,
)

Row = Mapping[str, Any]

BARE_ITEM_FIELDS = (
    "ItemCode,ItemName,BarCode,InventoryUOM,Valid,ValidFrom,ValidTo,Frozen,FrozenFrom,FrozenTo,InventoryItem,SalesItem,"
    "ManageBatchNumbers,ManageSerialNumbers,SRIAndBatchManageMethod,SalesItemsPerUnit,TreeType,UpdateDate,UpdateTime,"
    "CreateDate,CreateTime,ItemPrices"
)
ITEM_FIELDS = f"{BARE_ITEM_FIELDS},ItemWarehouseInfoCollection"
_DOCUMENT_FIELDS = (
    "DocEntry,DocNum,NumAtCard,CardName,DocumentStatus,Cancelled,CancelStatus,TransportationCode,TrackingNumber,"
    "CreationDate,DocTime,UpdateDate,UpdateTime,U_STREAMS_KEY,U_STREAMS_ORDER,DocumentLines"
)
DELIVERY_FIELDS = _DOCUMENT_FIELDS


def order_fields(release: ReleaseSettings) -> str:
    """What is asked of an order, with what the release rule looks at."""
    fields = f"{_DOCUMENT_FIELDS},AddressExtension,Confirmed,AuthorizationStatus"
    return f"{fields},{release.user_field}" if release.user_field else fields


@dataclass(frozen=True, slots=True)
class Look:
    """One question to B1: whose it is, when it was asked, and the company's time zone."""

    company: str
    as_of: datetime
    zone: ZoneInfo

    @property
    def local(self) -> datetime:
        """When it was asked, as the company's clocks show it."""
        return self.as_of.astimezone(self.zone).replace(tzinfo=None)

    def moment(self, stamp: datetime | None) -> datetime:
        """A local time of B1's as UTC; where B1 has none, when it was asked."""
        return self.as_of if stamp is None else stamp.replace(tzinfo=self.zone).astimezone(UTC)


def records_of(entity: str, row: Row, look: Look, settings: SapB1Settings) -> tuple[B1Reading, ...]:
    """All that a row says: the record of the row itself first, the stock of an item behind it.

    Args:
        entity: `Orders`, `DeliveryNotes`, `Items`, or `OITW` for rows of the stored query.
        row: As JSON has it.
        look: When it was asked for.
        settings: The connector's: its release rule, price lists and its company's warehouses.

    Raises:
        RecordError: The row is not what B1's metadata says it is.
    """
    try:
        match entity:
            case "Orders":
                return (order_record(row, look, settings.release),)
            case "DeliveryNotes":
                return (delivery_record(row, look),)
            case "OITW":
                return (stock_record(str(row["ItemCode"]), str(row["WhsCode"]), _level(row), look),)
            case _:
                item = item_record(row, look, settings.price_lists)
                return item, *stock_records(row, look, settings.b1.warehouses)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        raise RecordError(f"a row of {entity} is not as B1's metadata has it") from None


def item_record(row: Row, look: Look, price_lists: Iterable[int]) -> ItemChanged:
    """An item's master data. A price of 0 is what B1 shows where a list has none: it is left out."""
    item, lists = item_of(row), frozenset(price_lists)
    prices = tuple(
        ItemPrice(price_list=int(each["PriceList"]), amount=amount, currency=_text(each, "Currency"))
        for each in row.get("ItemPrices") or ()
        if each.get("PriceList") in lists and (amount := decimal_of(each.get("Price")))
    )
    return ItemChanged(
        company=look.company,
        reading=0,
        as_of=look.as_of,
        item_code=item.code,
        name=item.name or None,
        barcode=_text(row, "BarCode"),
        unit=_text(row, "InventoryUOM"),
        is_sold=item.sales_item,
        is_stocked=item.inventory_item and not item.kit,
        is_active=item.active_on(look.local.date()),
        batch_managed=item.batch_managed,
        serial_managed=item.serial_managed,
        prices=tuple(sorted(prices, key=lambda price: price.price_list)),
    )


def stock_records(row: Row, look: Look, warehouses: Iterable[str]) -> Iterator[StockLevelRead]:
    """An item's stock in each of the warehouses; none of them where B1 shows none at all."""
    places = {each.get("WarehouseCode"): each for each in row.get("ItemWarehouseInfoCollection") or ()}
    if places:
        for code in warehouses:
            yield stock_record(str(row["ItemCode"]), code, places.get(code, {}), look)


def stock_record(item: str, warehouse: str, place: Row, look: Look) -> StockLevelRead:
    on_hand, committed, ordered = (decimal_of(place.get(name)) or ZERO for name in ("InStock", "Committed", "Ordered"))
    return StockLevelRead(
        company=look.company,
        reading=0,
        as_of=look.as_of,
        item_code=item,
        warehouse=warehouse,
        on_hand=on_hand,
        committed=committed,
        ordered=ordered,
    )


def deleted_item(code: str, look: Look, warehouses: Iterable[str]) -> tuple[ItemChanged, tuple[StockLevelRead, ...]]:
    """What remains to be said of an item that B1 has no more."""
    item = ItemChanged(
        company=look.company,
        reading=0,
        as_of=look.as_of,
        item_code=code,
        is_sold=False,
        is_stocked=False,
        is_active=False,
        batch_managed=False,
        serial_managed=False,
    )
    return item, tuple(stock_record(code, warehouse, {}, look) for warehouse in warehouses)


def order_record(row: Row, look: Look, release: ReleaseSettings) -> OrderStatusChanged:
    """A sales order; its service lines, which have no item, are left out."""
    status = "cancelled" if _is_cancelled(row) else "closed" if _is_closed(row.get("DocumentStatus")) else "open"
    return OrderStatusChanged(
        company=look.company,
        reading=0,
        as_of=look.as_of,
        doc_entry=int(row["DocEntry"]),
        doc_num=int(row["DocNum"]),
        k=_text(row, "U_STREAMS_KEY"),
        number=_text(row, "NumAtCard"),
        status=status,
        is_released=status == "open" and _holds(release, row),
        ship_to=_ship_to(row),
        shipping_type=_shipping_type(row),
        lines=tuple(_order_line(line) for line in row.get("DocumentLines") or () if line.get("ItemCode")),
        changed_at=look.moment(stamp_of(row)),
    )


def delivery_record(row: Row, look: Look) -> DeliveryPosted:
    """A delivery; the mirror document of a cancellation is a cancelled one, too."""
    tracking = _text(row, "TrackingNumber")
    return DeliveryPosted(
        company=look.company,
        reading=0,
        as_of=look.as_of,
        doc_entry=int(row["DocEntry"]),
        doc_num=int(row["DocNum"]),
        k=_text(row, "U_STREAMS_KEY"),
        order_k=_text(row, "U_STREAMS_ORDER"),
        is_cancelled=_is_cancelled(row),
        tracking_numbers=(tracking,) if tracking else (),
        shipping_type=_shipping_type(row),
        lines=tuple(_delivery_line(line) for line in row.get("DocumentLines") or () if line.get("ItemCode")),
        created_at=look.moment(_stamp(row, "CreationDate", "DocTime") or stamp_of(row)),
    )


def stamp_of(row: Row) -> datetime | None:
    """When it changed last, in the company's local time; what never changed has the time of its creation."""
    return (
        _stamp(row, "UpdateDate", "UpdateTime")
        or _stamp(row, "CreationDate", "DocTime")
        or _stamp(row, "CreateDate", "CreateTime")
    )


def items_of(row: Row) -> Iterator[str]:
    """The items that a document's lines name."""
    for line in _lines(row):
        if code := line.get("ItemCode"):
            yield str(code)


def orders_of(row: Row) -> Iterator[int]:
    """The orders that a document's lines are drawn from."""
    for line in _lines(row):
        entry = decimal_of(line.get("BaseEntry"))
        if line.get("BaseType") == ORDER and entry is not None:
            yield int(entry)


def _lines(row: Row) -> Iterator[Row]:
    for name in ("DocumentLines", "StockTransferLines"):
        lines = row.get(name)
        yield from (line for line in lines if isinstance(line, Mapping)) if isinstance(lines, list) else ()


def _stamp(row: Row, day: str, clock_time: str) -> datetime | None:
    # The Z behind a date is no time zone: dates and times are the company's own (live notes)
    try:
        found = date.fromisoformat(str(row.get(day) or "")[:10])
    except ValueError:
        return None
    try:
        at = time.fromisoformat(str(row.get(clock_time) or "00:00"))
    except ValueError:
        at = time()
    return datetime.combine(found, at.replace(microsecond=0, tzinfo=None))


def _text(row: Row, name: str) -> str | None:
    """A text without what surrounds it; none where there is nothing in it, or nothing that UTF-8 has."""
    value = row.get(name)
    return None if value is None else encodable(str(value).strip()) or None


def _is_closed(status: object) -> bool:
    return status in ("bost_Close", "C")


def _is_cancelled(row: Row) -> bool:
    return row.get("Cancelled") in ("tYES", "Y") or row.get("CancelStatus") in ("csYes", "csCancellation", "Y", "C")


def _holds(release: ReleaseSettings, row: Row) -> bool:
    """Whether the release rule holds for an open order."""
    if release.user_field and str(row.get(release.user_field) or "") != release.value:
        return False
    if not release.approved:
        return True
    waits = row.get("AuthorizationStatus") in ("dasPending", "dasRejected", "W", "N")
    return row.get("Confirmed") in ("tYES", "Y") and not waits


def _shipping_type(row: Row) -> int | None:
    code = decimal_of(row.get("TransportationCode"))
    return int(code) if code is not None and code > 0 else None


def _ship_to(row: Row) -> Address:
    """The reverse of `documents.fields.address_fields`; a name that we did not write is the customer's."""
    found = row.get("AddressExtension") or {}

    def text(part: str) -> str | None:
        return _text(found, f"ShipTo{part}")

    return Address(
        name=text("Address2") or _text(row, "CardName"),
        company=text("Address3"),
        street=text("Street"),
        street2=text("Block"),
        city=text("City"),
        postcode=text("ZipCode"),
        region=text("State") or text("County"),
        country=text("Country"),
    )


def _level(row: Row) -> Row:
    """A row of OITW, with the names of `ItemWarehouseInfoCollection`."""
    return {"InStock": row["OnHand"], "Committed": row["IsCommited"], "Ordered": row["OnOrder"]}


def _quantity(line: Row, inventory: str, own: str) -> Decimal:
    found = decimal_of(line.get(inventory))
    return (decimal_of(line.get(own)) if found is None else found) or ZERO


def _order_line(line: Row) -> OrderLineRead:
    return OrderLineRead(
        line_num=int(line["LineNum"]),
        line_id=_text(line, "U_STREAMS_LINE"),
        item_code=str(line["ItemCode"]),
        warehouse=_text(line, "WarehouseCode"),
        quantity=_quantity(line, "InventoryQuantity", "Quantity"),
        open=_quantity(line, "RemainingOpenInventoryQuantity", "RemainingOpenQuantity"),
        is_closed=_is_closed(line.get("LineStatus")),
        batches=tuple(
            BatchQuantity(number=str(batch["BatchNumber"]), quantity=decimal_of(batch.get("Quantity")) or ZERO)
            for batch in line.get("BatchNumbers") or ()
            if batch.get("BatchNumber")
        ),
    )


def _delivery_line(line: Row) -> DeliveryLineRead:
    drawn = line.get("BaseType") == ORDER and line.get("BaseEntry") is not None
    return DeliveryLineRead(
        line_id=_text(line, "U_STREAMS_LINE"),
        item_code=str(line["ItemCode"]),
        warehouse=_text(line, "WarehouseCode"),
        quantity=_quantity(line, "InventoryQuantity", "Quantity"),
        order_entry=int(line["BaseEntry"]) if drawn else None,
        order_line=int(line["BaseLine"]) if drawn and line.get("BaseLine") is not None else None,
    )

"""B1's rows as records, on rows as a Service Layer writes them (v2, 10.0)."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from connectors.base.errors import RecordError
from connectors.sap_b1.change_set import decode_body
from connectors.sap_b1.documents.fields import address_fields
from connectors.sap_b1.reading.rows import Look, items_of, orders_of, records_of, stamp_of
from schemas.codec import embedded_codec
from schemas.events import Address, BatchQuantity
from schemas.readings import READING_TYPES
from tests.connectors.sap_b1.reading.stage import settings_of

LOOK = Look("acme", datetime(2026, 7, 1, 12, tzinfo=UTC), ZoneInfo("Europe/London"))
ORDER = b"""{"@odata.etag": "W/\\"DA39A3EE5E6B4B0D3255BFEF95601890AFD80709\\"", "DocEntry": 412, "DocNum": 100398,
 "NumAtCard": "#1001", "CardName": "Web shop", "DocumentStatus": "bost_Open", "Cancelled": "tNO",
 "CancelStatus": "csNo",
 "TransportationCode": 3, "TrackingNumber": null, "CreationDate": "2026-06-30T00:00:00Z", "DocTime": "23:40:00",
 "UpdateDate": "2026-07-01T00:00:00Z", "UpdateTime": "09:32:42", "U_STREAMS_KEY": "order_placed-AB",
 "U_STREAMS_ORDER": "order_placed-AB", "Confirmed": "tYES", "AuthorizationStatus": "dasWithout", "U_RELEASED": "Y",
 "AddressExtension": {"ShipToStreet": "1 High St", "ShipToBlock": "Flat 2", "ShipToCity": "Leeds",
  "ShipToZipCode": "LS1 1AA", "ShipToCounty": "West Yorkshire", "ShipToState": null, "ShipToCountry": "GB",
  "ShipToAddress2": "Ann Lee", "ShipToAddress3": null, "DocEntry": 412},
 "DocumentLines": [
  {"LineNum": 0, "ItemCode": "TS001-R", "WarehouseCode": "LON1", "Quantity": 2.5, "InventoryQuantity": 5.0,
   "RemainingOpenQuantity": 1.0, "RemainingOpenInventoryQuantity": 2.0, "LineStatus": "bost_Open",
   "U_STREAMS_LINE": "l1", "BaseType": -1, "BaseEntry": null,
   "BatchNumbers": [{"BatchNumber": "B-7", "Quantity": 5.0, "BaseLineNumber": 0}]},
  {"LineNum": 1, "ItemCode": null, "ItemDescription": "Engraving", "Quantity": 1.0, "LineStatus": "bost_Open"},
  {"LineNum": 3, "ItemCode": "MUG", "WarehouseCode": "LON1", "Quantity": 1.0, "RemainingOpenQuantity": 1.0,
   "LineStatus": "bost_Close", "U_STREAMS_LINE": null, "BatchNumbers": []}]}"""
DELIVERY = b"""{"DocEntry": 77, "DocNum": 150077, "DocumentStatus": "bost_Open", "Cancelled": "tNO",
 "CancelStatus": "csNo",
 "TransportationCode": -1, "TrackingNumber": " 1Z999 ", "CreationDate": "2026-01-15T00:00:00Z", "DocTime": "16:05:00",
 "UpdateDate": "2026-01-15T00:00:00Z", "UpdateTime": "16:05:09", "U_STREAMS_KEY": null, "U_STREAMS_ORDER": "k",
 "DocumentLines": [
  {"LineNum": 0, "ItemCode": "MUG", "WarehouseCode": "LON1", "Quantity": 3.0, "InventoryQuantity": 3.0,
   "BaseType": 17, "BaseEntry": 412, "BaseLine": 3, "U_STREAMS_LINE": "l2"},
  {"LineNum": 1, "ItemCode": "MUG", "WarehouseCode": "LON1", "Quantity": 1.0, "BaseType": -1, "BaseEntry": null}]}"""
ITEM = b"""{"ItemCode": "TS001-R", "ItemName": "T-shirt red", "BarCode": "5012345678900", "InventoryUOM": "pcs",
 "Valid": "tYES", "ValidFrom": null, "ValidTo": null, "Frozen": "tNO", "FrozenFrom": null, "FrozenTo": null,
 "InventoryItem": "tYES", "SalesItem": "tYES", "ManageBatchNumbers": "tYES", "ManageSerialNumbers": "tNO",
 "SRIAndBatchManageMethod": "bomm_OnEveryTransaction", "SalesItemsPerUnit": 1.0, "TreeType": "iNotATree",
 "UpdateDate": null, "UpdateTime": null, "CreateDate": "2020-02-03T00:00:00Z", "CreateTime": "10:11:00",
 "ItemPrices": [{"PriceList": 1, "Price": 12.5, "Currency": "GBP", "Factor": 1.0},
  {"PriceList": 2, "Price": 0.0, "Currency": "GBP"}, {"PriceList": 3, "Price": null, "Currency": null},
  {"PriceList": 4, "Price": 14.95, "Currency": "EUR"}],
 "ItemWarehouseInfoCollection": [
  {"WarehouseCode": "LON1", "InStock": 10.0, "Committed": 2.0, "Ordered": 40.0, "Locked": "tNO"},
  {"WarehouseCode": "QUAR", "InStock": 3.0, "Committed": 0.0, "Ordered": 0.0, "Locked": "tNO"}]}"""


def row_of(text: bytes, **changes: Any) -> dict[str, Any]:
    return {**(decode_body(text) or {}), **changes}


def read(entity: str, text: bytes, release: Any = None, **changes: Any) -> Any:
    table = {"price_lists": [1, 2, 3, 4]} | ({"release": release} if release else {})
    return records_of(entity, row_of(text, **changes), LOOK, settings_of(**table))


def test_an_order_as_it_stands() -> None:
    (order,) = read("Orders", ORDER)
    assert (order.doc_entry, order.doc_num, order.k, order.number) == (412, 100398, "order_placed-AB", "#1001")
    assert (order.status, order.is_released, order.shipping_type) == ("open", True, 3)
    assert order.changed_at == datetime(2026, 7, 1, 8, 32, 42, tzinfo=UTC), "B1's times are London's, in summer"
    first, second = order.lines
    assert (first.quantity, first.open, first.line_id) == (Decimal(5), Decimal(2), "l1"), "inventory units"
    assert first.batches == (BatchQuantity(number="B-7", quantity=Decimal(5)),)
    assert (second.line_num, second.is_closed, second.open) == (3, True, Decimal(1))


def test_a_delivery_as_it_stands() -> None:
    (delivery,) = read("DeliveryNotes", DELIVERY)
    assert (delivery.tracking_numbers, delivery.shipping_type, delivery.is_cancelled) == (("1Z999",), None, False)
    assert (delivery.k, delivery.order_k) == (None, "k")
    assert delivery.created_at == datetime(2026, 1, 15, 16, 5, tzinfo=UTC)
    assert [(line.order_entry, line.order_line, line.quantity) for line in delivery.lines] == [
        (412, 3, Decimal(3)),
        (None, None, Decimal(1)),
    ]


@pytest.mark.parametrize("status", ["csYes", "csCancellation"])
def test_both_halves_of_a_cancelled_delivery_are_cancelled(status: str) -> None:
    (delivery,) = read("DeliveryNotes", DELIVERY, CancelStatus=status)
    assert delivery.is_cancelled


def test_an_item_with_its_prices_and_the_stock_of_our_warehouses() -> None:
    item, london, manchester = read("Items", ITEM)
    assert (item.name, item.barcode, item.unit) == ("T-shirt red", "5012345678900", "pcs")
    assert (item.is_sold, item.is_stocked, item.is_active, item.batch_managed) == (True, True, True, True)
    assert [(price.price_list, price.amount, price.currency) for price in item.prices] == [
        (1, Decimal("12.5"), "GBP"),
        (4, Decimal("14.95"), "EUR"),
    ]
    assert (london.warehouse, london.on_hand, london.committed, london.ordered) == ("LON1", 10, 2, 40)
    assert (manchester.warehouse, manchester.on_hand) == ("MAN1", 0)


@pytest.mark.parametrize("shown", [None, []])
def test_an_item_without_its_warehouses_says_nothing_of_stock(shown: Any) -> None:
    (item,) = read("Items", ITEM, ItemWarehouseInfoCollection=shown)
    assert item.item_code == "TS001-R"


@pytest.mark.parametrize(
    ("changes", "active", "stocked"),
    [
        ({"Frozen": "tYES"}, False, True),
        ({"Frozen": "tYES", "FrozenFrom": "2026-07-02T00:00:00Z"}, True, True),
        ({"ValidTo": "2026-06-30T00:00:00Z"}, False, True),
        ({"TreeType": "iSalesTree"}, True, False),
        ({"InventoryItem": "tNO"}, True, False),
    ],
)
def test_what_is_active_and_what_is_stocked(changes: Any, active: bool, stocked: bool) -> None:
    item, *_ = read("Items", ITEM, **changes)
    assert (item.is_active, item.is_stocked) == (active, stocked)


@pytest.mark.parametrize(
    ("release", "changes", "released"),
    [
        (None, {"DocumentStatus": "bost_Close"}, False),
        (None, {"Cancelled": "tYES"}, False),
        ({"user_field": "U_RELEASED"}, {}, True),
        ({"user_field": "U_RELEASED"}, {"U_RELEASED": None}, False),
        ({"user_field": "U_RELEASED", "value": "2"}, {"U_RELEASED": 2}, True),
        ({"approved": True}, {}, True),
        ({"approved": True}, {"Confirmed": "tNO"}, False),
        ({"approved": True}, {"AuthorizationStatus": "dasPending"}, False),
        ({"approved": True, "user_field": "U_RELEASED"}, {"U_RELEASED": "N"}, False),
    ],
)
def test_all_that_the_release_rule_names_must_hold(release: Any, changes: Any, released: bool) -> None:
    (order,) = read("Orders", ORDER, release, **changes)
    assert order.is_released is released


@pytest.mark.parametrize(
    "address",
    [
        Address(name="Ann Lee", company="Lee Ltd", street="1 High St", street2="Flat 2", city="Leeds", country="GB"),
        Address(name="Bo", street="2 Low St", city="Austin", postcode="73301", region="TX", country="US"),
        Address(name="Cy", city="Leeds", region="West Yorkshire", country="GB"),
    ],
)
def test_an_address_that_we_wrote_is_read_as_it_was(address: Address) -> None:
    (order,) = read("Orders", ORDER, AddressExtension=address_fields(address, None))
    assert order.ship_to == address


def test_an_address_without_a_name_has_its_customers() -> None:
    (order,) = read("Orders", ORDER, AddressExtension=None)
    assert order.ship_to == Address(name="Web shop")


@pytest.mark.parametrize(
    ("entity", "text", "changes"),
    [
        ("Orders", ORDER, {"DocNum": None}),
        ("Orders", ORDER, {"DocumentLines": [{"ItemCode": "A"}]}),
        ("DeliveryNotes", DELIVERY, {"DocumentLines": 7}),
        ("Items", ITEM, {"ItemPrices": ["x"]}),
        ("Items", ITEM, {"ItemName": "\ud800", "BarCode": "\ud800"}),
    ],
)
def test_a_row_that_is_none_is_a_record_error_without_its_values(entity: str, text: bytes, changes: Any) -> None:
    with pytest.raises(RecordError) as caught:
        read(entity, text, **changes)
    assert "Ann" not in str(caught.value)


def test_what_a_document_names() -> None:
    assert list(items_of(row_of(ORDER))) == ["TS001-R", "MUG"]
    assert list(orders_of(row_of(DELIVERY))) == [412]
    assert list(items_of({"StockTransferLines": [{"ItemCode": "A"}, 7]})) == ["A"]


def test_what_never_changed_has_the_time_of_its_creation() -> None:
    assert stamp_of(row_of(ITEM)) == datetime(2020, 2, 3, 10, 11)  # noqa: DTZ001 -- B1's own, without a zone
    assert stamp_of({"UpdateDate": "soon"}) is None


def test_every_record_can_be_published() -> None:
    codec = embedded_codec()
    for entity, text in (("Orders", ORDER), ("DeliveryNotes", DELIVERY), ("Items", ITEM)):
        for record in read(entity, text):
            assert codec.decode(codec.encode(record), tuple(READING_TYPES.values())) == record

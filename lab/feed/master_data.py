"""Master data that B1 must have."""

from lab.feed.company import CURRENCY, PLACES
from lab.feed.context import FeedContext
from lab.feed.texts import decimal_text


def master_data(context: FeedContext) -> dict[str, object]:
    """What B1 must have, by the Service Layer's names.

    An item's stock is all that will ever leave, so that it never goes short, whatever comes first.
    """
    return {
        "Items": [{"ItemCode": item, "ItemName": name or item} for item, name in sorted(context.names.items())],
        "Warehouses": [{"WarehouseCode": code, "WarehouseName": name} for code, name in PLACES.items()],
        "VatGroups": [{"Code": "O1", "Rate": "20"}, {"Code": "O0", "Rate": "0"}],
        "BusinessPartners": [
            {"CardCode": "C-WEB", "CardName": "Shop customers", "CardType": "cCustomer", "Currency": CURRENCY}
        ],
        "ShippingTypes": [
            {"Code": 1, "Name": "Royal Mail Tracked 48"},
            {"Code": 2, "Name": "DPD Next Day"},
            {"Code": 3, "Name": "DHL"},
        ],
        "AdditionalExpenses": [{"ExpensCode": 1, "Name": "Carriage"}, {"ExpensCode": 2, "Name": "Goodwill"}],
        "stock": [
            {"item": item, "warehouse": code, "quantity": decimal_text(quantity)}
            for (item, code), quantity in sorted(context.taken.items())
            if quantity
        ],
        "ChartOfAccounts": [{"Code": "4900", "Name": "Stock found"}, {"Code": "5100", "Name": "Stock lost"}],
    }

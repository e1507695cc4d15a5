"""The vendors, their names for warehouses, and what goes wrong at each."""

from collections.abc import Mapping

from lab.feed.company import PLACES as SHOP_PLACES

TILL = "till"
SHOPS = ("magento", "shopify", "veeqo")
VENDORS = (*SHOPS, "seko")
#: What goes wrong at each, as shares of its requests (Shopify's `twice` and `lost`: of its webhooks).
FAULTS: Mapping[str, Mapping[str, float]] = {
    "magento": {"throttled": 0.02, "maintenance": 0.01, "internal": 0.01, "dropped": 0.02, "truncated": 0.01},
    "shopify": {"html": 0.01, "drop": 0.02, "twice": 0.3, "lost": 0.3},
    "veeqo": {"throttle": 0.02, "html_503": 0.01, "drop": 0.02, "cut": 0.01},
    "seko": {"lost": 0.1, "twice": 0.2, "reorder": 0.3, "no_answer": 0.1, "throttle": 0.02, "down": 0.02, "drop": 0.02},
}
#: WhsCode -> each vendor's own name for it. Veeqo's warehouse is its own.
VENDOR_PLACES: Mapping[str, Mapping[str, str]] = {
    "magento": {"LON1": "main", "WEB1": "dotcom"},
    "shopify": {"LON1": "31", "WEB1": "32"},
    "veeqo": {"VEQ1": "11"},
    "seko": {"LON1": "DCLON1", "WEB1": "DCWEB1"},
    TILL: {"LON1": "MAIN", "WEB1": "DOTCOM"},
}
UNMAPPED_FACILITY = "DCAMZ1"
CODE_OF_LOCATION = {location: code for code, location in SHOP_PLACES.items()}
DISPATCHERS = ("veeqo", "seko")

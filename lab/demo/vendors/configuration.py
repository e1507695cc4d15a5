"""Configurations: the vendors' simulators, and the connectors of `streams.toml`."""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.demo.vendors.names import TILL, UNMAPPED_FACILITY, VENDOR_PLACES
from lab.demo.vendors.plan import SalesPlan
from lab.feed.configuration import warehouse_toml

CARRIER_CODES = {"royal-mail": 1, "royal mail": 1, "dpd": 2, "dhl": 3}
_SECRET_NAMES = {
    "magento": ("consumer_key", "consumer_secret", "token", "token_secret"),
    "shopify": ("token", "secret"),
    "veeqo": ("key",),
    "seko": ("key", "secret"),
}


def connectors_toml(urls: Mapping[str, str]) -> str:
    """Warehouses and connectors of the configuration."""
    places = {
        vendor: ", ".join(f'"{name}" = "{code}"' for code, name in own.items()) for vendor, own in VENDOR_PLACES.items()
    }
    return f"""\
{warehouse_toml("LON1", "seko", VENDOR_PLACES["seko"]["LON1"], ["magento", "shopify"])}
{warehouse_toml("WEB1", "seko", VENDOR_PLACES["seko"]["WEB1"], ["magento", "shopify"])}
{warehouse_toml("VEQ1", "veeqo", "11", ["veeqo"], "adjustment")}
[webhooks]
port = 0
[connectors.magento]
kind = "magento"
company = "acme"
base_url = "{urls["magento"]}"
consumer_key = "file:secrets/magento-consumer_key"
consumer_secret = "file:secrets/magento-consumer_secret"
access_token = "file:secrets/magento-token"
access_token_secret = "file:secrets/magento-token_secret"
flows = ["orders", "creditmemos"]
poll_interval_s = 1
overlap_s = 60
orders = {{ warehouse = "LON1" }}
locations = {{ {places["magento"]} }}
[connectors.shopify]
kind = "shopify"
company = "acme"
shop = "acme.myshopify.com"
url = "{urls["shopify"]}"
access_token = "file:secrets/shopify-token"
webhook_secrets = ["file:secrets/shopify-secret"]
events = ["order_placed", "order_cancelled", "refund_issued"]
poll_interval_s = 5
overlap_s = 20
orders = {{ warehouse = "LON1" }}
locations = {{ {places["shopify"]} }}
[connectors.veeqo]
kind = "veeqo"
company = "acme"
url = "{urls["veeqo"]}"
api_key = "file:secrets/veeqo-key"
poll_interval_s = 1
stock_interval_s = 5
stock_reason = "count"
overlap_s = 20
memory_days = 1
requests_per_s = 10
burst = 30
orders = {{ warehouse = "VEQ1" }}
locations = {{ {places["veeqo"]} }}
[connectors.seko]
kind = "seko"
company = "acme"
url = "{urls["seko"]}/hub/api"
api_key = "file:secrets/seko-key"
push_secrets = ["file:secrets/seko-secret"]
order_source = ["magento", "shopify"]
order_id = "SalesOrderReference"
poll_interval_s = 4
overlap_s = 30
slice_s = 600
first_look_s = 60
gap_patience_s = 60
dcs = {json.dumps([*VENDOR_PLACES["seko"].values(), UNMAPPED_FACILITY])}
reasons = {{ DMG = "damaged", LST = "lost", FND = "found", CC = "count" }}
locations = {{ {places["seko"]} }}
[connectors.{TILL}]
kind = "ims"
company = "acme"
inbox = "in/{TILL}"
poll_interval_s = 0.2
orders = {{ warehouse = "LON1" }}
locations = {{ {places[TILL]} }}
"""


def write_simulator_files(folder: Path, plan: SalesPlan) -> None:
    """Write each simulator's configuration, with secrets that are files of their own."""
    keys: dict[str, dict[str, str]] = {}
    for vendor, names in _SECRET_NAMES.items():
        keys[vendor] = {name: secrets.token_urlsafe(18) for name in names}
        for name, value in keys[vendor].items():
            (folder / "secrets" / f"{vendor}-{name}").write_text(value, encoding="utf-8")
    skus = sorted({sku for sku, code in plan.opening if code == "VEQ1"})
    settings: dict[str, dict[str, Any]] = {
        "magento": {"credentials": keys["magento"], "late": 0.1},
        "shopify": {
            **keys["shopify"],
            "domain": "acme.myshopify.com",
            "locations": {"31": "Main", "32": "Dotcom"},
            "restore": 1000,
            "index_lag_s": 1,
            "skew_s": 2,
        },
        "veeqo": {
            **keys["veeqo"],
            "warehouses": {"11": "Veeqo"},
            "behaviour": {"capacity": 40, "drain_per_s": 10},
            "products": [[sku, {"11": str(plan.opening[sku, "VEQ1"])}] for sku in skus],
        },
        "seko": {
            **keys["seko"],
            "dcs": [*VENDOR_PLACES["seko"].values(), UNMAPPED_FACILITY],
            "cadence_s": 2,
            "lag_s": 1,
            "stock": [
                [VENDOR_PLACES["seko"][code], sku, str(units)]
                for (sku, code), units in plan.opening.items()
                if code in VENDOR_PLACES["seko"]
            ],
        },
    }
    for vendor, each in settings.items():
        (folder / f"{vendor}.json").write_text(json.dumps(each), encoding="utf-8")

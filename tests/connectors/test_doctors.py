"""What each vendor's doctor finds, and that it writes nothing there."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from connectors.base.doctor import Finding, look
from connectors.base.errors import FatalError, OutcomeUnknownError, RetriableError
from connectors.ims import doctor as ims
from connectors.magento import doctor as magento
from connectors.registry import KINDS
from connectors.seko import doctor as seko
from connectors.shopify import doctor as shopify
from connectors.veeqo import doctor as veeqo
from lab.simulators.magento.app import build_app
from lab.simulators.magento.faults import MagentoHabits
from lab.simulators.magento.prices import CartItem
from lab.simulators.magento.state import MagentoShop
from lab.simulators.seko.app import Hub
from lab.simulators.shopify.app import Shop
from lab.simulators.veeqo.app import VeeqoServer
from lab.simulators.veeqo.faults import Behaviour
from lab.simulators.veeqo.state import Account, Line

CANARY = "canary-5ecret"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class Clock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0


class Reads(httpx.AsyncBaseTransport):
    """A vendor in process; says what was asked."""

    def __init__(self, app: Any) -> None:
        self._inner = httpx.ASGITransport(app)
        self.asked: list[tuple[str, str]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.method, (await request.aread()).decode()))
        return await self._inner.handle_async_request(request)


async def examine(kind: str, module: Any, app: Any, wanted: set[str], **table: Any) -> tuple[dict[str, Finding], Reads]:
    row = KINDS[kind]
    assert row.doctor is module.examine
    settings = row.settings.model_validate(
        {"kind": kind, "company": "acme", **table}, context={"environ": {"KEY": CANARY}}
    )
    reads = Reads(app)
    found = await module.examine("shop", settings, frozenset(wanted), Clock(), transport=reads)
    assert len({each.name for each in found}) == len(found)
    assert all(each.ok or each.remedy for each in found)
    assert CANARY not in repr(found)
    return {each.name: each for each in found}, reads


def bad(found: dict[str, Finding]) -> set[str]:
    return {name for name, each in found.items() if not each.ok}


# ---- shopify


def a_shop(**options: Any) -> Shop:
    shop = Shop(clock=lambda: NOW, token=CANARY, **options)
    shop.add_location("31", "Main")
    shop.add_location("32", "Side")
    return shop


SHOP = {
    "shop": "demo.myshopify.com",
    "access_token": "env:KEY",
    "stock_locations": ["31"],
    "webhook_secrets": ["env:KEY"],
}


async def test_a_shop_that_lets_us_see_everything_is_well_and_nothing_is_written():
    shop = a_shop()
    shop.set_level("A", "31", 5)
    found, reads = await examine("shopify", shopify, shop, {"31", "none"}, **SHOP)
    assert not bad(found)
    assert set(found) == {"credentials", "scopes", "api_version", "clock", "places", "webhooks", "counts"}
    assert "no query shows" in found["webhooks"].detail
    assert "by time" in found["counts"].detail
    assert all("mutation" not in body for _, body in reads.asked)


async def test_a_wrong_token_is_the_one_finding():
    shop = a_shop()
    shop.token = "another"
    found, _ = await examine("shopify", shopify, shop, set(), **SHOP)
    assert (bad(found), set(found)) == ({"credentials"}, {"credentials"})


async def test_a_shop_names_what_is_lacking():
    shop = a_shop(skew_s=400)
    shop.scopes -= {"read_all_orders", "read_products", "write_products"}
    shop.versions = ("2026-07",)
    shop.subscriptions = {"orders/create"}
    found, _ = await examine("shopify", shopify, shop, {"31", "77"}, **SHOP)
    assert bad(found) == {"scopes", "api_version", "clock", "places", "webhooks"}
    assert found["scopes"].detail == "lacking: read_all_orders, read_products"
    assert "77" in found["places"].detail
    assert "31 (Main), 32 (Side)" in found["places"].detail
    assert "400 s ahead" in found["clock"].detail
    assert "ORDERS_EDITED" in found["webhooks"].detail
    assert "ORDERS_CREATE" not in found["webhooks"].detail


async def test_a_location_that_sleeps_and_locations_that_may_not_be_seen_are_findings():
    shop = a_shop()
    shop.locations["31"]["isActive"] = False
    found, _ = await examine("shopify", shopify, shop, set(), **SHOP)
    assert "not active: 31" in found["places"].detail
    shop.scopes -= {"read_locations"}
    found, _ = await examine("shopify", shopify, shop, set(), **SHOP)
    assert bad(found) == {"scopes", "places"}


# ---- veeqo


def an_account() -> Account:
    account = Account(lambda: NOW - timedelta(hours=1), canary="not-for-you")
    account.add_warehouse(11, "Main")
    account.add_product("A", {11: 5})
    account.place_order(Line("A", 1, "2.00"))
    return account


async def test_an_account_is_well_and_nothing_is_written():
    server = VeeqoServer(an_account(), frozenset({CANARY}), lambda: 0.0)
    found, reads = await examine("veeqo", veeqo, server, {"11"}, api_key="env:KEY", poll_interval_s=90)
    assert bad(found) == {"clock"}  # its clock is an hour behind
    assert "3600 s behind" in found["clock"].detail
    assert "means UTC" in found["updated_at_min"].detail
    assert "has 1" in found["orders"].detail
    assert "within 90 s" in found["webhooks"].detail
    assert {method for method, _ in reads.asked} == {"GET"}


async def test_a_wrong_key_and_an_unknown_warehouse_are_named():
    found, _ = await examine(
        "veeqo", veeqo, VeeqoServer(an_account(), frozenset({"x"}), lambda: 0.0), set(), api_key="env:KEY"
    )
    assert bad(found) == {"credentials"}
    server = VeeqoServer(
        an_account(), frozenset({CANARY}), lambda: 0.0, Behaviour(tells_totals=False, tells_date=False)
    )
    found, _ = await examine("veeqo", veeqo, server, {"12"}, api_key="env:KEY", ignored_warehouses=["11"])
    assert bad(found) == {"places"}
    assert "12" in found["places"].detail
    assert "does not say" in found["orders"].detail
    assert "no Date" in found["clock"].detail


async def test_a_bound_that_is_not_utc_is_found_out(monkeypatch):
    server = VeeqoServer(an_account(), frozenset({CANARY}), lambda: 0.0)
    for hours, word in ((1, "not UTC"), (-1, "later than it says")):
        original = VeeqoServer._orders

        def shifted(self: VeeqoServer, query: Any, hours: int = hours, original: Any = original) -> Any:
            if "updated_at_min" in query:
                at = datetime.fromisoformat(query["updated_at_min"]) + timedelta(hours=hours)
                query = {**query, "updated_at_min": at.strftime("%Y-%m-%d %H:%M:%S")}
            return original(self, query)

        with monkeypatch.context() as patch:
            patch.setattr(VeeqoServer, "_orders", shifted)
            found, _ = await examine("veeqo", veeqo, server, {"11"}, api_key="env:KEY")
        assert word in found["updated_at_min"].detail


# ---- magento

MAGENTO = {"base_url": "https://shop.example", "auth": "bearer", "token": "env:KEY"}


def a_magento(**habits: Any) -> Any:
    shop = MagentoShop(lambda: NOW)
    for _ in range(3):
        order = shop.place(CartItem(sku="A", quantity=Decimal(2), price=Decimal(5)), state="processing")
        shop.invoice(order)
        shop.ship(order)
    app = build_app(shop, settings=MagentoHabits(bearer=True, **habits))
    app.credentials.token = CANARY
    return app


async def test_a_magento_shop_is_well_and_nothing_is_written():
    found, reads = await examine("magento", magento, a_magento(), {"wh-uk"}, **MAGENTO)
    assert not bad(found)
    assert set(found) == {"orders", "shipments", "creditmemos", "clock", "places", "webhooks"}
    assert "3 in all" in found["orders"].detail
    assert "by 3 shipments" in found["places"].detail
    assert {method for method, _ in reads.asked} == {"GET"}
    found, _ = await examine(
        "magento", magento, a_magento(sources={"wh-uk": "UK", "wh-us": "US"}), {"wh-uk"}, **MAGENTO
    )
    assert "wh-us (US)" in found["places"].detail


async def test_what_a_shop_is_told_needs_more_that_is_looked_at_too():
    out = {"stock": True, "source": "default"}
    found, reads = await examine("magento", magento, a_magento(), {"wh-uk"}, **MAGENTO, out=out)
    assert {"products", "inventory/source-items"} <= found.keys()
    assert {method for method, _ in reads.asked} == {"GET"}
    shop = a_shop()
    shop.scopes -= {"write_inventory", "read_inventory"}
    found, _ = await examine("shopify", shopify, shop, {"31"}, **SHOP, out={"stock": True, "location": "77"})
    assert "write_inventory" in found["scopes"].detail
    assert "77" in found["places"].detail


async def test_refused_lists_pages_that_are_too_large_and_places_that_nothing_maps_are_named():
    found, _ = await examine("magento", magento, a_magento(page_limit=50), {"other"}, **MAGENTO)
    assert bad(found) == {"orders", "shipments", "creditmemos"}
    assert all("page_size" in found[name].remedy for name in bad(found))
    found, _ = await examine("magento", magento, a_magento(), {"other"}, **MAGENTO)
    assert bad(found) == {"places"}
    assert "wh-uk, which nothing maps" in found["places"].detail
    found, _ = await examine("magento", magento, a_magento(sources={"wh-us": "US"}), {"wh-uk"}, **MAGENTO)
    assert "unknown to the vendor: wh-uk" in found["places"].detail
    app = a_magento()
    app.credentials.token = "another"
    found, _ = await examine("magento", magento, app, {"wh-uk"}, **MAGENTO)
    assert bad(found) == {"orders", "shipments", "creditmemos"}
    assert "places" not in found


# ---- seko

SEKO = {"api_key": "env:KEY", "locations": {"DCCL01": "LON1"}, "push_secrets": ["env:KEY"]}


def a_hub() -> Hub:
    hub = Hub(clock=lambda: NOW - timedelta(hours=1), key=CANARY)
    hub.stock = {("DCCL01", "Available Stock", sku, ""): 100 for sku in "AB"}
    hub.load_order("W-1", {"A": 2})
    hub.dispatch("W-1")
    hub.adjust("A", -3)
    return hub


async def test_a_hub_is_well_and_its_messages_can_be_taken():
    found, reads = await examine("seko", seko, a_hub(), {"DCCL01"}, **SEKO)
    assert not bad(found)
    assert "1 messages of the last day, all can be taken, 1 have" in found["adjustment"].detail
    assert "/shop" in found["webhooks"].detail
    assert {method for method, _ in reads.asked} == {"GET"}


async def test_a_hub_names_what_cannot_be_taken_and_what_nothing_maps():
    hub = a_hub()
    hub.adjust("A", -1).row["List"]["StockAdjustmentLineItem"][0]["Quantity"] = "some"
    found, _ = await examine("seko", seko, hub, {"OTHER"}, **SEKO)
    assert bad(found) == {"adjustment", "places"}
    assert "1 of 2 messages" in found["adjustment"].detail
    hub.key = "another"
    found, _ = await examine("seko", seko, hub, {"DCCL01"}, **SEKO)
    assert bad(found) == {"dispatch", "adjustment", "movement"}


@pytest.mark.parametrize(
    ("paths", "told"), [({}, "can be asked for an order"), ({"status": "orders/{guid}"}, "cannot be looked for")]
)
async def test_a_hub_that_we_write_to_is_asked_whether_it_finds_our_orders(paths, told):
    out = {"orders": True, "paths": paths}
    found, reads = await examine("seko", seko, a_hub(), {"DCCL01"}, **SEKO, out=out)
    assert told in found["out"].detail
    assert {method for method, _ in reads.asked} == {"GET"}
    hub = a_hub()
    hub.key = "another"
    assert "out" in bad((await examine("seko", seko, hub, {"DCCL01"}, **SEKO, out=out))[0])


# ---- ims


async def test_an_inbox_that_is_there_says_what_waits_and_one_that_is_not_is_a_finding(tmp_path):
    row = KINDS["ims"]
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jsonl").write_text(json.dumps({"type": "x"}))
    table = {"kind": "ims", "company": "acme", "inbox": "in"}
    settings = row.settings.model_validate(table, context={"folder": tmp_path, "environ": {}})
    (found,) = await ims.examine("shop", settings, frozenset(), Clock())
    assert (found.ok, found.detail) == (True, "answers; 1 files wait")
    (tmp_path / "in/a.jsonl").unlink()
    (tmp_path / "in").rmdir()
    (found,) = await ims.examine("shop", settings, frozenset(), Clock())
    assert (found.ok, (tmp_path / "in").exists()) == (True, False)
    (tmp_path / "in").write_text("no folder")
    (found,) = await ims.examine("shop", settings, frozenset(), Clock())
    assert not found.ok


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_a_doctor(kind):
    assert KINDS[kind].doctor is not None


@pytest.mark.parametrize(
    ("error", "ok"),
    [
        (RetriableError("the shop does not answer"), None),
        (OutcomeUnknownError("no answer"), None),
        (FatalError("the shop refuses the token; make another"), False),
    ],
)
async def test_what_could_not_be_asked_is_neither_well_nor_wrong(error, ok):
    async def ask():
        raise error

    found = await look("credentials", ask)
    assert (found.ok, bool(found.remedy)) == (ok, True)

"""The simulated Veeqo does what the reference says of the real one."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from lab.simulators.veeqo.app import VeeqoServer
from lab.simulators.veeqo.faults import Behaviour, VeeqoFault
from lab.simulators.veeqo.state import Account, Line

AT = datetime(2026, 11, 21, 9, tzinfo=UTC)


class Stand:
    def __init__(self) -> None:
        self.second = 0.0
        self.account = Account(lambda: AT)
        self.account.add_warehouse(11, "Main")
        self.account.add_product("TEA", {11: 10})
        self.server = VeeqoServer(self.account, frozenset({"k"}), lambda: self.second, Behaviour())

    async def ask(self, method: str, path: str, key: str = "k", **more: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.server), base_url="http://veeqo") as client:
            return await client.request(method, path, headers={"x-api-key": key}, **more)


@pytest.fixture
def stand() -> Stand:
    return Stand()


async def test_the_bucket_holds_a_hundred_and_drains_five_a_second(stand):
    codes = [(await stand.ask("GET", "/warehouses")).status_code for _ in range(101)]
    assert codes == [200] * 100 + [429]
    stand.second = 1.0
    codes = [(await stand.ask("GET", "/warehouses")).status_code for _ in range(6)]
    assert codes == [200] * 5 + [429]
    assert "retry-after" not in (await stand.ask("GET", "/warehouses")).headers


async def test_lists_are_newest_first_in_pages_of_twelve_with_their_length(stand):
    orders = [stand.account.place_order(Line("TEA", 1, "1")) for _ in range(15)]
    answer = await stand.ask("GET", "/orders")
    assert [row["id"] for row in answer.json()] == orders[:2:-1]
    assert (answer.headers["x-total-count"], answer.headers["x-per-page"]) == ("15", "12")
    answer = await stand.ask("GET", "/orders", params={"page": 2, "page_size": 500})
    assert (answer.json(), answer.headers["x-per-page"]) == ([], "100")


async def test_it_is_strict_about_keys_parameters_and_attributes(stand):
    assert (await stand.ask("GET", "/orders", key="x")).status_code == 401
    assert (await stand.ask("GET", "/orders", params={"since": "1"})).status_code == 400
    assert (await stand.ask("GET", "/orders", params={"updated_at_min": "yesterday"})).status_code == 400
    assert (await stand.ask("GET", "/nothing")).status_code == 404
    order = stand.account.place_order(Line("TEA", 1, "1"))
    body = {"shipment": {"carrier": "DPD"}, "order_id": order, "allocation_id": 1}
    assert (await stand.ask("POST", "/shipments", json=body)).status_code == 500


async def test_allocating_shipping_and_unshipping_move_the_shelf(stand):
    order = stand.account.place_order(Line("TEA", 3, "1"))
    sellable = stand.account.products[0]["id"]
    asked = {"allocation": {"warehouse_id": 11, "line_items_attributes": [{"sellable_id": sellable, "quantity": 2}]}}
    answer = await stand.ask("POST", f"/orders/{order}/allocations", json=asked)
    assert answer.status_code == 201
    allocation = answer.json()["allocations"][0]["id"]
    entry = stand.account.entry("TEA", 11)
    assert (entry["physical_stock_level"], entry["available_stock_level"]) == (10, 8)
    body = {"shipment": {"carrier_id": 4}, "order_id": order, "allocation_id": allocation}
    shipment = (await stand.ask("POST", "/shipments", json=body)).json()["id"]
    assert (entry["physical_stock_level"], entry["available_stock_level"]) == (8, 8)
    assert stand.account.orders[order]["status"] == "awaiting_fulfillment"
    assert stand.account.shipped() == {(order, "TEA", 11): 2}
    assert (await stand.ask("POST", "/shipments", json=body)).status_code == 400
    assert (await stand.ask("DELETE", f"/shipments/{shipment}")).status_code == 204
    assert stand.account.physical("TEA", 11) == 10
    put = {"stock_entry": {"physical_stock_level": 200}}
    path = f"/sellables/{sellable}/warehouses/11/stock_entry"
    assert (await stand.ask("PUT", path, json=put)).json()["physical_stock_level"] == 200


async def test_totals_are_those_of_the_published_sample(stand):
    order = stand.account.orders[
        stand.account.place_order(Line("TEA", 2, "20.0", "0.2", "2.0"), delivery_cost=Decimal("3.0"))
    ]
    assert [order[name] for name in ("subtotal_price", "total_discounts", "total_tax", "total_price")] == [
        Decimal("36"),
        Decimal("4"),
        Decimal("7.8"),
        Decimal("46.8"),
    ]


async def test_faults_come_in_order_and_end(stand):
    stand.server.faults = [VeeqoFault("html_503", "/orders", times=2), VeeqoFault("throttle", "/products")]
    codes = [(await stand.ask("GET", path)).status_code for path in ("/orders", "/products", "/orders", "/orders")]
    assert codes == [503, 429, 503, 200]

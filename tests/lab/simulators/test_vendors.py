"""The vendors as they are served: one vocabulary of actions, their ledgers, faults by name, webhooks that go out."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from lab.simulators.vendors.actions import SimulatedVendor
from lab.simulators.vendors.registry import VENDORS, build_vendor
from lab.simulators.vendors.server import VendorServer

DATA: dict[str, dict[str, Any]] = {
    "magento": {},
    "shopify": {"locations": {"31": "Main"}, "restore": 1000},
    "veeqo": {"warehouses": {"11": "Main"}, "products": [["A", {"11": "50"}], ["B", {"11": "9"}]]},
    "seko": {"dcs": ["DC1"], "stock": [["DC1", "A", "50"], ["DC1", "B", "9"]], "cadence_s": 0},
}
PLACES = {"magento": "main", "shopify": "31", "veeqo": "11", "seko": "DC1"}
ORDER = {
    "action": "order",
    "number": "536365",
    "country": "GB",
    "rate": "20",
    "shipping": "3.00",
    "lines": [
        {"sku": "A", "name": "Tea", "quantity": "6", "price": "2.55", "rate": "20"},
        {"sku": "B", "name": "Cup", "quantity": "2", "price": "3.39", "rate": "20"},
    ],
}
GONE = {"action": "dispatch", "order": "536365", "carrier": "DPD", "tracking": "T1", "lines": [[0, "6"], [1, "1"]]}
BACK = {"action": "refund", "order": "536365", "restock": True, "shipping": "0", "lines": [[0, "2"]]}
SHOPS = ("magento", "shopify", "veeqo")


def served(name: str, **data: Any) -> tuple[SimulatedVendor, httpx.AsyncClient]:
    vendor = build_vendor(name, {**DATA[name], **data})
    return vendor, httpx.AsyncClient(transport=httpx.ASGITransport(VendorServer(vendor)), base_url="http://vendor")


async def do(client: httpx.AsyncClient, *actions: dict[str, Any]) -> Any:
    answer = await client.post("/_simulator/actions", json=list(actions))
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("name", SHOPS)
async def test_an_order_is_sold_and_sent_in_every_shop_by_the_same_actions(name: str) -> None:
    _, client = served(name)
    async with client:
        (first, second) = await do(client, ORDER, GONE | {"place": PLACES[name]})
        ledger = (await client.get("/_simulator/ledger")).json()
    assert first != second
    (order,) = ledger["orders"]
    total = {"magento": "grand_total", "veeqo": "total_price"}.get(name)
    assert (order[total] if total else order["totalPriceSet"]["shopMoney"]["amount"]) == "30.10"
    assert "536365" in json.dumps(order)
    assert "_taken" not in json.dumps(ledger)


@pytest.mark.parametrize("name", ["magento", "shopify"])
async def test_a_refund_gives_a_part_back(name: str) -> None:
    _, client = served(name)
    async with client:
        await do(client, ORDER, GONE | {"place": PLACES[name]}, BACK | {"place": PLACES[name]})
        text = (await client.get("/_simulator/ledger")).text
    assert '"6.12"' in text  # 2 x 2.55 and a fifth


@pytest.mark.parametrize("name", ["magento", "shopify"])
async def test_a_shop_has_products_with_prices_and_levels_and_says_what_was_written(name: str) -> None:
    _, client = served(name, products=[["A", "2.55", {PLACES[name]: "50"}]])
    async with client:
        ledger = (await client.get("/_simulator/ledger")).json()
    assert [(each["sku"], each["place"], str(each["level"])) for each in ledger["stock"]] == [("A", PLACES[name], "50")]
    assert [each["price"] for each in ledger["variants" if name == "shopify" else "products"]] == ["2.55"]
    assert (ledger["written"], ledger["notified"]) == ([], {})


@pytest.mark.parametrize("name", ["veeqo", "seko"])
async def test_a_count_moves_the_shelf_by_so_much(name: str) -> None:
    _, client = served(name)
    async with client:
        count = {"action": "count", "sku": "A", "place": PLACES[name], "reason": "damaged", "delta": "-4"}
        await do(client, count)
        ledger = (await client.get("/_simulator/ledger")).json()
    assert [int(row["level"]) for row in ledger["stock"] if row["sku"] == "A"] == [46]


async def test_the_warehouse_is_told_of_parcels_by_the_shops_own_id_of_the_order() -> None:
    _, client = served("seko")
    parcel = {
        "action": "dispatch",
        "order": 451,
        "place": "DC1",
        "carrier": "DPD",
        "tracking": "T1",
        "lines": [["A", "6"]],
    }
    async with client:
        await do(client, parcel, parcel | {"tracking": "T2", "lines": [["B", "1"], ["B", "2"]]})
        messages = (await client.get("/_simulator/ledger")).json()["messages"]
    assert [one["Dispatch"]["SalesOrderReference"] for one in messages] == ["451", "451"]
    assert [row["Quantity"] for row in messages[1]["List"]["DispatchLineItem"]] == [3]


@pytest.mark.parametrize(
    ("name", "body"), [("magento", {"action": "count"}), ("shopify", {"action": "sing"}), ("veeqo", {})]
)
async def test_what_a_vendor_cannot_do_is_refused_with_a_reason(name: str, body: dict[str, Any]) -> None:
    _, client = served(name)
    async with client:
        answer = await client.post("/_simulator/actions", json=[body])
    assert answer.status_code == 400
    assert answer.json()["error"]


@pytest.mark.parametrize("name", sorted(VENDORS))
async def test_a_fault_that_the_vendor_does_not_know_is_refused(name: str) -> None:
    vendor, client = served(name)
    with pytest.raises(ValueError, match="sunshine"):
        vendor.fail({"sunshine": 1})
    async with client:
        assert (await client.post("/_simulator/faults", json={"sunshine": 1})).status_code == 400


@pytest.mark.parametrize(
    ("name", "kind", "method", "path"),
    [
        ("magento", "dropped", "GET", "/rest/all/V1/orders"),
        ("shopify", "drop", "POST", "/admin/api/2026-04/graphql.json"),
        ("veeqo", "drop", "GET", "/orders"),
        ("seko", "drop", "GET", "/api/echo/v1/x"),
    ],
)
async def test_a_dropped_connection_is_dropped_and_counted(name: str, kind: str, method: str, path: str) -> None:
    vendor = build_vendor(name, {**DATA[name], "faults": {kind: 1}})
    closed: list[bool] = []
    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [],
        "extensions": {"simulator.drop": lambda: closed.append(True)},
    }
    messages = iter([{"type": "http.request", "body": b"{}"}])

    async def receive() -> dict[str, Any]:
        return next(messages, {"type": "http.disconnect"})

    async def send(_message: Any) -> None:
        raise AssertionError("nothing is answered")

    await VendorServer(vendor)(scope, receive, send)
    assert closed == [True]
    assert (vendor.tally()["requests"], vendor.tally()["dropped"]) == (1, 1)


@pytest.mark.parametrize("name", ["shopify", "seko"])
async def test_webhooks_go_out_while_it_is_up_and_it_goes_down_in_order(name: str) -> None:
    came: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        await came.put(head)

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/{name}"
        vendor, client = served(name)
        server_app = VendorServer(vendor, url=url, push_s=0.01)
        inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        sent: list[str] = []

        async def send(message: Any) -> None:
            sent.append(message["type"])

        living = asyncio.create_task(server_app({"type": "lifespan"}, inbox.get, send))
        await inbox.put({"type": "lifespan.startup"})
        async with client:
            told = (
                ORDER
                if name == "shopify"
                else {"action": "count", "sku": "A", "place": "DC1", "reason": "", "delta": "1"}
            )
            await do(client, told)
        head = await asyncio.wait_for(came.get(), 10)
        await inbox.put({"type": "lifespan.shutdown"})
        await asyncio.wait_for(living, 10)
    assert head.startswith(f"POST /{name} ".encode())
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_vendor_is_a_process_with_faults_by_options(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lab.simulators", "veeqo", "--fault", "html_503=1", "--fault", "drop=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{line.split()[-1]}", timeout=10, trust_env=False) as client:
                answer = client.get("/orders", headers={"x-api-key": "veeqo-key"})
                assert answer.status_code == 503
                assert answer.headers.get_list("date") == [answer.headers["date"]]  # the vendor's, and no server's
                client.post("/_simulator/faults", json={})
                assert client.get("/orders", headers={"x-api-key": "veeqo-key"}).json() == []
        finally:
            process.terminate()
        assert process.wait(10) == 0


@pytest.mark.parametrize("options", [["magento", "--fault", "rain=0.5"], ["veeqo", "--fault", "drop=2"], ["sap_b1"]])
def test_a_wrong_command_line_says_what_is_wrong(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    from lab.simulators.__main__ import main

    with pytest.raises(SystemExit) as ended:
        main(options)
    assert ended.value.code == 2
    assert "error" in capsys.readouterr().err

"""The simulator keeps SEKO's habits, so that what passes against it has met them."""

import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from lab.simulators.seko.app import Hub
from lab.simulators.seko.state import AVAILABLE
from tests.connectors.seko.conftest import Time


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def hub(time) -> Hub:
    hub = Hub(clock=time.now, key="k", dcs=("DC1", "DC2"))
    hub.stock = {(dc, AVAILABLE, sku, ""): 10 for dc in hub.dcs for sku in "AB"}
    return hub


@pytest.fixture
async def call(hub):
    transport = httpx.ASGITransport(hub)
    async with httpx.AsyncClient(transport=transport, base_url="http://hub/hub/api/") as client:

        async def ask(path, method="GET", body=None, key="k"):
            answer = await client.request(method, path, params={"token": key} if "?" not in path else None, json=body)
            return answer.status_code, answer

        yield ask


class Receiver:
    def __init__(self, *statuses: int) -> None:
        self.statuses, self.bodies = list(statuses), []

    async def __call__(self, _headers, body) -> int:
        self.bodies.append(json.loads(body)["Responses"])
        return self.statuses.pop(0) if self.statuses else 200


async def test_it_pushes_every_15_minutes_and_never_nothing(hub, time):
    post = Receiver()
    await hub.push(post)
    hub.adjust("A", 1)
    time.at += timedelta(minutes=14)
    assert await hub.push(post) == 0
    time.at += timedelta(minutes=1)
    assert await hub.push(post) == 1
    assert len(post.bodies) == 1


async def test_a_push_has_at_most_500_messages_of_one_service_and_one_facility(hub):
    for _ in range(501):
        hub.adjust("A", 1)
    hub.adjust("A", 1, dc="DC2")
    hub.receive("ASN", [("A", 1, "")])
    post = Receiver()
    await hub.push(post)
    assert sorted(map(len, post.bodies)) == [1, 1, 1, 500]


async def test_three_tries_15_minutes_apart_and_none_after_a_400(hub, time):
    hub.adjust("A", 1)
    post = Receiver(503, 0, 503, 200)
    for _ in range(5):
        await hub.push(post)
        time.at += timedelta(minutes=15)
    assert (len(post.bodies), hub.messages[0].ended) == (3, "given_up")
    hub.adjust("A", 1)
    await hub.push(Receiver(400))
    assert hub.messages[1].ended == "given_up"


async def test_numbers_grow_by_one_for_each_service(hub):
    for _ in range(2):
        hub.adjust("A", 1)
        hub.receive("ASN", [("A", 1, "")])
    assert [each.sequence for each in hub.messages] == [1, 1, 2, 2]


async def test_an_order_is_refused_whole_with_status_200(hub, call):
    def order(number, *lines):
        return {
            "WebSalesOrder": {"SalesOrderNumber": number},
            "SalesOrderHeader": {"DCCode": "DC1"},
            "DeliveryDetails": {"Line1": "4 Lime Row", "City": "Leeds", "CountryCode": "GB"},
            "List": {
                "SalesOrderLineItem": [
                    {"LineNumber": at, "ProductCode": sku, "Quantity": units}
                    for at, (sku, units) in enumerate(lines, start=1)
                ]
            },
        }

    async def load(*given):
        status, answer = await call("salesorders/v4/websubmit", "POST", order(*given))
        assert status == 200
        return answer.json()["CallStatus"]

    assert (await load("W1", ("A", 4)))["Success"] is True
    for given, told in (
        (("W1", ("A", 1)), "already exists"),
        (("W2", ("B", 1), ("X", 1)), "Product X does not exist"),
        (("W2", ("A", 7)), "Product A has no free stock"),
        (("W2", ("A", 1), ("a", 1)), "not valid"),
    ):
        status = await load(*given)
        assert (status["Success"], status["Code"]) == (False, 100)
        assert told in status["Message"]
    assert hub.allocated == {("DC1", "A"): 4}


async def test_what_is_wrong_with_a_call_is_told_as_seko_does(hub, call):
    movement = "stock/v1/movement/2026-11-21T00:00:00Z/2026-11-22T00:00:00Z.json"
    assert (await call(movement, key="wrong"))[0] == 401
    assert (await call("no/such"))[0] == 404
    for path, told in (
        (movement, "dc field is required"),
        (f"{movement}?token=k&dc=DC9", "DC DC9 does not exist"),
        (f"{movement}?token=k&dc=DC1&page=2", "not known"),
        ("stock/v1/movement/2026-11-21/2026-11-22.json?token=k&dc=DC1", "YYYY-MM-DD"),
        ("dispatches/v1/status/2026-11-21T00:00:00Z/2026-11-22T00:00:00Z.json?token=k&dc=DC1", "status field"),
    ):
        status, answer = await call(path)
        assert status == 200
        assert told in answer.json()["CallStatus"]["Message"]


async def test_free_stock_leaves_out_what_is_allocated_and_skus_at_nought(hub, call):
    hub.load_order("W1", {"A": 10, "B": 4}, dc="DC1")
    _, answer = await call("stock/v3/quantity?token=k&productCodes=A,B&dc=DC1")
    rows = answer.json()["List"]["StockQuantityLineItem"]
    assert [(row["ProductCode"], row["Quantity"]) for row in rows] == [("B", 6)]


def test_the_night_has_parts_of_100_lines_and_no_sku_that_is_nowhere(hub):
    hub.stock |= {("DC1", AVAILABLE, f"S{n}", ""): 1 for n in range(150)}
    hub.stock["DC1", AVAILABLE, "EMPTY", ""] = 0
    parts = [each.row["StockOvernightSummary"] for each in hub.end_day("2026-11-21")]
    rows = [row for each in hub.messages for row in each.row["List"]["StockOvernightSummaryLineItem"]]
    assert [(each["MessagePart"], each["MessageTotal"]) for each in parts] == [(1, 2), (2, 2)]
    assert len({each["MessageGroupId"] for each in parts}) == 1
    assert len(rows) == 152


def test_its_clock_may_be_off(hub):
    hub.skew_s = 90
    assert hub.now() == datetime(2026, 11, 21, 12, 1, 30, tzinfo=UTC)


async def test_every_fault_of_a_field_is_told_and_what_the_field_lists_lack_is_refused(call):
    given = {
        "WebSalesOrder": {"SalesOrderNumber": "W" * 51, "Colour": "red"},
        "SalesOrderHeader": {"DCCode": "DC1"},
        "DeliveryDetails": {"Line1": "4 Lime Row"},
        "List": {"SalesOrderLineItem": [{"LineNumber": "1", "ProductCode": "A", "Quantity": 1.5}]},
    }
    _, answer = await call("salesorders/v4/websubmit", "POST", given)
    assert answer.json()["CallStatus"]["Message"].split("; ") == [
        "The Colour field is not known.",
        "The field SalesOrderNumber must be a string with a maximum length of 50.",
        "The City field is required.",
        "The CountryCode field is required.",
        "The LineNumber field must be an integer.",
        "The Quantity field must be an integer.",
    ]


async def test_an_update_clears_what_it_leaves_out_and_controls_stay(hub, call):
    record = {"ProductCode": "T", "ProductDescription": "Tea", "GrossWeight": 1, "GrossWeightUOM": "KG"}

    async def told(path, **changes):
        _, answer = await call(f"products/v4/{path}", "POST", {"ProductMaster": record | changes, "List": {}})
        return answer.json()["CallStatus"]["Message"]

    assert "does not exist" in await told("update")
    assert await told("submit", EAN="5") == ""
    assert "already exists" in await told("submit", ProductCode="t")
    assert "EAN is another product's" in await told("submit", ProductCode="U", EAN="5")
    assert "GrossWeightUOM field must be" in await told("update", GrossWeightUOM="ST")
    assert "controls cannot be changed" in await told("update", LotControlled=True)
    assert await told("update") == ""
    assert hub.products.records["t"] == record

"""Bulk operations: everything, row by row, from the place where it was left, and the token goes to nobody else."""

import json
import tracemalloc

import httpx
import pytest

from connectors.base.errors import FatalError, RetriableError
from connectors.shopify.bulk import BulkOperations
from connectors.shopify.queries import ORDERS_IN_BULK
from lab.simulators.shopify.app import Shop
from tests.connectors.shopify.conftest import TOKEN, Time

LINES = """{ orders { edges { node { id name
  shippingLines { edges { node { id title } } } lineItems { edges { node { id sku } } } } } } }"""


async def ended(operations, operation):
    """Looks until the operation has ended, as a source does."""
    while (found := await operations.look(operation)).status in ("CREATED", "RUNNING"):
        pass
    return found


async def bulk(operations, query=LINES, start=0):
    found = await ended(operations, await operations.start(query))
    return [row async for row in operations.rows(found.url, start=start)]


async def test_a_bulk_operation_gives_every_order_with_its_lines(play):
    numbers = [
        play.shop.place_order(*[{"sku": f"S{n}", "quantity": 1, "price": "1.00"} for n in range(count)])
        for count in (1, 3, 2)
    ]
    rows = [row for row, _ in await bulk(play.operations)]
    assert [row["id"].rpartition("/")[2] for row in rows] == numbers
    assert [[line["sku"] for line in row["LineItem"]] for row in rows] == [["S0"], ["S0", "S1", "S2"], ["S0", "S1"]]
    assert all(len(row["ShippingLine"]) == 1 for row in rows)
    assert play.shop.leaked == []


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_result_goes_on_behind_every_object(play, monkeypatch, ranges):
    if not ranges:
        serve = play.shop.bulk.serve
        monkeypatch.setattr(play.shop.bulk, "serve", lambda path, _wanted, now: serve(path, "", now))
    for _ in range(5):
        play.shop.place_order({"sku": "A", "quantity": 1, "price": "1.00"})
    operations = play.operations
    found = await ended(operations, await operations.start(LINES))
    rows = [row async for row in operations.rows(found.url)]
    for at, (_, end) in enumerate(rows):
        assert [row async for row in operations.rows(found.url, start=end)] == rows[at + 1 :]


async def test_an_empty_shop_is_an_empty_result(play):
    operations = play.operations
    found = await ended(operations, await operations.start(ORDERS_IN_BULK % ""))
    assert (found.status, found.url) == ("COMPLETED", None)


@pytest.mark.parametrize(("version", "at_once"), [("2025-10", 1), ("2026-04", 5)])
async def test_more_operations_at_once_than_shopify_runs_wait(make_play, version, at_once):
    shop = Shop(clock=Time().now, token=TOKEN)
    shop.versions = ("2025-10", *shop.versions)
    operations = make_play(shop=shop, api_version=version).operations
    for _ in range(at_once):
        await operations.start(ORDERS_IN_BULK % "")
    with pytest.raises(RetriableError, match="another bulk"):
        await operations.start(ORDERS_IN_BULK % "")


@pytest.mark.parametrize(
    "query",
    [
        "{ orders { edges { node { id refunds { refundLineItems { edges { node { quantity } } } } } } } }",
        "{ orders { edges { node { name lineItems { edges { node { id } } } } } } }",
        "{ orders { edges { node { id } } } locations: orders { edges { node { id } } } }",
        '{ order(id: "gid://shopify/Order/1") { id } }',
    ],
)
async def test_what_bulk_operations_do_not_take_is_refused(play, query):
    play.shop.place_order({"sku": "A", "quantity": 1, "price": "1.00"})
    with pytest.raises(FatalError, match="refuses the bulk"):
        await play.operations.start(query)


@pytest.mark.parametrize("body", [b"{", b"[]\n", b"\xff\n"])
async def test_a_damaged_result_is_no_crash(play, body):
    operations = play.operations
    play.shop.place_order({"sku": "A", "quantity": 1, "price": "1.00"})
    found = await ended(operations, await operations.start(LINES))
    play.shop.bulk.files = dict.fromkeys(play.shop.bulk.files, body)
    with pytest.raises(RetriableError):
        _ = [row async for row in operations.rows(found.url)]


async def test_a_result_whose_rows_are_not_grouped_is_not_put_together_wrongly(play):
    for _ in range(2):
        play.shop.place_order({"sku": "A", "quantity": 1, "price": "1.00"})
    operations = play.operations
    started = play.shop.bulk.start(LINES, "2026-04", play.shop.stamp(), grouped=None)
    found = await ended(operations, started["bulkOperation"]["id"])
    with pytest.raises(FatalError, match="not grouped"):
        _ = [row async for row in operations.rows(found.url)]


class Endless(httpx.AsyncBaseTransport):
    """A result of many orders that is made while it is read."""

    def __init__(self, orders: int) -> None:
        self._orders = orders

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert request.method == "GET"
        return httpx.Response(200, content=self._rows())

    async def _rows(self):
        for order in range(self._orders):
            rows = [{"id": f"gid://shopify/Order/{order}", "note": "x" * 200}]
            rows += [{"id": f"gid://shopify/LineItem/{order}-{line}", "__parentId": rows[0]["id"]} for line in range(3)]
            yield b"".join(json.dumps(row).encode() + b"\n" for row in rows)


async def test_memory_does_not_grow_with_the_shop(play):
    async def peak(orders: int) -> int:
        operations = BulkOperations(play.source._client, play.settings, transport=Endless(orders))
        tracemalloc.start()
        count = 0
        async for row, _ in operations.rows("https://storage.example/result.jsonl"):
            count += len(row["LineItem"])
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await operations.close()
        assert count == 3 * orders
        return found

    await peak(10)
    few = await peak(50)
    assert await peak(3000) < few + 200_000


async def test_a_result_that_is_not_behind_https_is_not_fetched(play):
    with pytest.raises(FatalError, match="https"):
        _ = [row async for row in play.operations.rows("http://169.254.169.254/latest")]

"""Bulk operations: everything, row by row, from the place where it was left, and the token goes to nobody else."""

import json
import tracemalloc

import httpx
import pytest

from connectors.base.errors import FatalError, RetriableError
from connectors.shopify.client import ORDERS_IN_BULK, ShopifyClient

LINES = """{ orders { edges { node { id name
  shippingLines { edges { node { id title } } } lineItems { edges { node { id sku } } } } } } }"""


async def bulk(client, query=LINES, skip=0):
    operation = await client.start_bulk(query)
    return [row async for row in client.bulk(operation, skip=skip)]


async def test_a_bulk_operation_gives_every_order_with_its_lines(play):
    numbers = [
        play.shop.place_order(*[{"sku": f"S{n}", "quantity": 1, "price": "1.00"} for n in range(count)])
        for count in (1, 3, 2)
    ]
    rows = await bulk(play.source._client)
    assert [row["id"].rpartition("/")[2] for row in rows] == numbers
    assert [[line["sku"] for line in row["LineItem"]] for row in rows] == [["S0"], ["S0", "S1", "S2"], ["S0", "S1"]]
    assert all(len(row["ShippingLine"]) == 1 for row in rows)
    assert play.shop.leaked == []


async def test_a_bulk_operation_goes_on_where_it_was_left(play):
    numbers = [play.shop.place_order({"sku": "A", "quantity": 1, "price": "1.00"}) for _ in range(5)]
    rows = await bulk(play.source._client, skip=3)
    assert [row["id"].rpartition("/")[2] for row in rows] == numbers[3:]


async def test_an_empty_shop_is_an_empty_result_and_two_at_once_are_refused(play):
    client = play.source._client
    operation = await client.start_bulk(ORDERS_IN_BULK % "")
    with pytest.raises(RetriableError, match="another bulk"):
        await client.start_bulk(ORDERS_IN_BULK % "")
    assert [row async for row in client.bulk(operation)] == []


@pytest.mark.parametrize("status", ["FAILED", "CANCELED", "EXPIRED"])
async def test_a_bulk_operation_that_failed_is_tried_again(play, status):
    client = play.source._client
    operation = await client.start_bulk(LINES)
    play.shop._bulk[operation]["status"] = status
    with pytest.raises(RetriableError, match=status):
        _ = [row async for row in client.bulk(operation)]


async def test_a_connection_inside_a_list_is_refused(play):
    play.shop.place_order({"sku": "A", "quantity": 1, "price": "1.00"})
    with pytest.raises(FatalError):
        await play.source._client.start_bulk(
            "{ orders { edges { node { id refunds { refundLineItems { edges { node { quantity } } } } } } } }"
        )


@pytest.mark.parametrize("body", [b"{", b"[]\n", b'{"id": "a", "__parentId": "b"}\n', b"\xff\n"])
async def test_a_damaged_result_is_no_crash(play, body):
    client = play.source._client
    play.shop.place_order({"sku": "A", "quantity": 1, "price": "1.00"})
    operation = await client.start_bulk(LINES)
    play.shop._files = dict.fromkeys(play.shop._files, body)
    with pytest.raises(RetriableError):
        _ = [row async for row in client.bulk(operation)]


class Endless(httpx.AsyncBaseTransport):
    """A result of many orders that is made while it is read."""

    def __init__(self, orders: int) -> None:
        self._orders = orders

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, content=self._rows())
        one = {"status": "COMPLETED", "url": "https://storage.example/result.jsonl"}
        return httpx.Response(200, json={"data": {"node": one}})

    async def _rows(self):
        for order in range(self._orders):
            rows = [{"id": f"gid://shopify/Order/{order}", "note": "x" * 200}]
            rows += [{"id": f"gid://shopify/LineItem/{order}-{line}", "__parentId": rows[0]["id"]} for line in range(3)]
            yield b"".join(json.dumps(row).encode() + b"\n" for row in rows)


async def test_memory_does_not_grow_with_the_shop(play):
    async def peak(orders: int) -> int:
        client = ShopifyClient(play.settings, play.time, transport=Endless(orders), sleep=play.time.sleep)
        tracemalloc.start()
        count = 0
        async for row in client.bulk("gid://shopify/BulkOperation/1"):
            count += len(row["LineItem"])
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await client.close()
        assert count == 3 * orders
        return found

    await peak(10)
    few = await peak(50)
    assert await peak(3000) < few + 200_000


async def test_a_result_that_is_not_behind_https_is_not_fetched(play):
    client = play.source._client
    play.shop.place_order({"sku": "A", "quantity": 1, "price": "1.00"})
    operation = await client.start_bulk(LINES)
    play.shop._bulk[operation]["url"] = "http://169.254.169.254/latest"
    with pytest.raises(RetriableError, match="https"):
        _ = [row async for row in client.bulk(operation)]


async def test_a_token_is_sent_to_the_shop_only(play):
    play.shop.token = "other"
    with pytest.raises(FatalError):
        await play.source._client.query("{ orders(first: 1) { nodes { id } } }", {})

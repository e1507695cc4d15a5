"""The wire: how fast, with which credentials, and what is told of what goes wrong."""

import asyncio
from datetime import UTC, datetime

import httpx
import pytest

from connectors.base.errors import FatalError, RetriableError
from connectors.veeqo.client import LeakyBucket, VeeqoClient
from lab.simulators.veeqo.state import Line
from tests.connectors.veeqo.conftest import KEY, Hand, settings


def answering(status: int = 200, body: bytes = b"[]", **headers: str) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _request: httpx.Response(status, content=body, headers=headers))


async def get(transport: httpx.AsyncBaseTransport, **changes: object):
    client = VeeqoClient(settings(**changes), Hand(), transport)
    try:
        return await client.page("/orders", {"page": 1})
    finally:
        await client.close()


def test_the_bucket_lets_a_burst_through_and_then_no_more_than_its_rate():
    clock = Hand()
    bucket = LeakyBucket(5, 50, clock)
    waits = [bucket.take() for _ in range(60)]
    assert waits[:50] == [0.0] * 50
    assert waits[50:] == pytest.approx([0.2 * n for n in range(1, 11)])
    clock.pass_s(12)
    assert [bucket.take() for _ in range(50)] == [0.0] * 50
    assert bucket.take() > 0


async def test_veeqos_bucket_never_overflows_however_much_there_is_to_read(make_stand, monkeypatch):
    stand = make_stand(capacity=51, page_cap=1000)

    async def sleep(seconds):
        stand.clock.pass_s(seconds)

    for _ in range(150):
        stand.account.place_order(Line("TEA", 1, "20"))
    source = stand.source(page_size=1, page_cap=1000)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    await stand.look(source)
    assert len(stand.said) == 150
    assert stand.server.throttled == 0
    assert stand.clock.monotonic() > 15


@pytest.mark.parametrize(("auth", "header"), [("key", "x-api-key"), ("bearer", "authorization")])
async def test_the_key_goes_where_the_account_wants_it(auth, header):
    seen = []

    def answer(request):
        seen.append(request.headers[header])
        return httpx.Response(200, content=b"[]")

    await get(httpx.MockTransport(answer), auth=auth)
    assert seen == [KEY if auth == "key" else f"Bearer {KEY}"]


@pytest.mark.parametrize(
    ("status", "headers", "error", "retry_after_s"),
    [
        (429, {}, RetriableError, 1.0),
        (429, {"retry-after": "7"}, RetriableError, 7.0),
        (503, {}, RetriableError, None),
        (500, {}, RetriableError, None),
        (302, {"location": "http://elsewhere.test"}, RetriableError, 30.0),
        (404, {}, RetriableError, 30.0),
        (401, {}, FatalError, None),
        (403, {}, FatalError, None),
    ],
)
async def test_every_refusal_says_what_to_do_and_shows_no_body(status, headers, error, retry_after_s):
    with pytest.raises(error) as caught:
        await get(answering(status, b"<html>canary", **headers))
    assert "canary" not in repr(caught.value)
    assert getattr(caught.value, "retry_after_s", None) == retry_after_s


@pytest.mark.parametrize("body", [b"", b"{", b"[NaN]", b"\xff", b"[" * 100_000, b'{"a": 1}'])
async def test_what_is_no_list_of_json_is_tried_again(body):
    with pytest.raises(RetriableError):
        await get(answering(200, body))


async def test_a_body_without_end_is_cut_off(monkeypatch):
    monkeypatch.setattr("connectors.veeqo.client.MAX_BODY_BYTES", 1000)
    with pytest.raises(RetriableError, match="more than"):
        await get(answering(200, b"[" + b" " * 2000 + b"]"))


async def test_time_is_veeqos_where_it_tells_it():
    page = await get(answering(200, date="Sat, 21 Nov 2026 10:00:00 GMT", **{"x-total-count": "7", "x-per-page": "3"}))
    assert page.at_ms == int(datetime(2026, 11, 21, 10, tzinfo=UTC).timestamp()) * 1000
    assert (page.total, page.per_page) == (7, 3)
    page = await get(answering(200, date="soon", **{"x-total-count": "many"}))
    assert (page.at_ms, page.total) == (int(Hand().now().timestamp()) * 1000, None)

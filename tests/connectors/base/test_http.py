"""The client that every vendor's is made of: what it asks, what it refuses to read, what its errors say."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest

from connectors.base import http
from connectors.base.errors import FatalError, OutcomeUnknownError, RetriableError
from connectors.base.http import (
    MAX_RETRY_AFTER_S,
    AnswerTooLargeError,
    HttpAnswer,
    HttpClient,
    StatusRule,
    http_date,
    raise_for_status,
    retry_after_s,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
CANARY = "canary-5ecret"


def client_of(answer, **options) -> HttpClient:
    return HttpClient(
        "shop", base_url=f"https://shop.test/api/{CANARY}", transport=httpx.MockTransport(answer), **options
    )


async def test_it_asks_with_parameters_beside_those_of_the_address():
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, content=b"[]", headers={"Date": "Sat, 21 Nov 2026 12:00:00 GMT"})

    client = client_of(answer, headers={"x-key": "k"})
    found = await client.get("orders?status=open", params={"page": 2}, headers={"accept": "application/json"})
    await client.close()
    assert (found.status, found.body, found.date) == (200, b"[]", NOW)
    assert dict(asked[0].url.params) == {"status": "open", "page": "2"}
    assert (asked[0].headers["x-key"], asked[0].headers["accept"]) == ("k", "application/json")


async def test_an_answer_that_is_too_large_is_not_read_to_its_end():
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield bytes(100)

    client = client_of(
        lambda _: httpx.Response(200, content=endless()), max_body_bytes=1000, too_large_remedy="ask for less"
    )
    with pytest.raises(AnswerTooLargeError, match="shop: orders answers more than 1000 bytes; ask for less"):
        await client.get("orders")
    assert read < 15


async def test_an_answer_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr(http, "ANSWER_DEADLINE_S", 0.05)

    async def drops() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.005)
            yield b"x"

    with pytest.raises(RetriableError, match="did not answer in"):
        await client_of(lambda _: httpx.Response(200, content=drops())).get("orders")


@pytest.mark.parametrize(
    "error", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError, httpx.DecodingError]
)
async def test_no_error_quotes_the_address(error):
    def answer(request: httpx.Request) -> httpx.Response:
        raise error(f"{request.url}", request=request)

    with pytest.raises(RetriableError) as caught:
        await client_of(answer).get("orders")
    assert str(caught.value) == f"shop: orders did not answer ({error.__name__})"
    assert caught.value.__cause__ is None
    assert CANARY not in repr(client_of(answer))


async def test_a_redirect_is_an_answer_like_any_other():
    client = client_of(lambda _: httpx.Response(301, headers={"location": "https://elsewhere.test/"}))
    assert (await client.get("orders")).status == 301


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": " 7 "}, 7.0),
        ({"retry-after": "99999"}, MAX_RETRY_AFTER_S),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "\u0665"}, None),
        ({"retry-after": "later"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:00 GMT"}, MAX_RETRY_AFTER_S),
        # By the server's own clock, which is an hour behind ours.
        ({"retry-after": "Sat, 21 Nov 2026 11:00:30 GMT", "date": "Sat, 21 Nov 2026 11:00:00 GMT"}, 30.0),
    ],
)
def test_how_long_the_server_asks_us_to_wait(headers, seconds):
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert retry_after_s(httpx.Headers(raw), NOW) == seconds


@pytest.mark.parametrize(
    "text", [None, "", "yesterday", "Sat, 99 Nov 2026 12:00:00 GMT", "1", "Sat, 21 Nov 99999 12:00:00 GMT"]
)
def test_what_is_no_date_is_none(text):
    assert http_date(text) is None


def test_a_date_without_a_zone_is_utc():
    assert http_date("Sat, 21 Nov 2026 12:00:00 -0000") == NOW == http_date("Sat, 21 Nov 2026 13:00:00 +0100")


RULES = {
    401: StatusRule(FatalError, "the key is refused", "fix api_key"),
    429: StatusRule(wait_s=30.0),
    4: StatusRule(FatalError, remedy="fix url"),
}


@pytest.mark.parametrize(
    ("status", "kind", "text", "seconds"),
    [
        (401, FatalError, "shop: orders answered 401, the key is refused; fix api_key", None),
        (404, FatalError, "shop: orders answered 404; fix url", None),
        (429, RetriableError, "shop: orders answered 429", 30.0),
        (503, RetriableError, "shop: orders answered 503", None),
        (
            302,
            RetriableError,
            "shop: orders answered 302, which it never should; see that the configured address is right",
            30.0,
        ),
        (
            204,
            RetriableError,
            "shop: orders answered 204, which it never should; see that the configured address is right",
            30.0,
        ),
    ],
)
def test_what_a_status_means(status, kind, text, seconds):
    with pytest.raises(kind) as caught:
        raise_for_status("shop: orders", HttpAnswer(status, httpx.Headers()), RULES, NOW)
    assert str(caught.value) == text
    assert getattr(caught.value, "retry_after_s", None) == seconds


def test_what_the_server_asks_goes_before_the_rule_and_nothing_is_an_answer_too():
    for asked, seconds in (("0", 0.0), ("5", 5.0)):
        with pytest.raises(RetriableError) as caught:
            raise_for_status("shop: orders", HttpAnswer(429, httpx.Headers({"retry-after": asked})), RULES, NOW)
        assert caught.value.retry_after_s == seconds
    raise_for_status("shop: orders", HttpAnswer(200, httpx.Headers()), RULES, NOW)


@pytest.mark.parametrize(
    ("happens", "error"),
    [
        (httpx.ConnectError("x"), RetriableError),
        (httpx.ConnectTimeout("x"), RetriableError),
        (httpx.PoolTimeout("x"), RetriableError),
        (httpx.ReadTimeout("x"), OutcomeUnknownError),
        (httpx.WriteError("x"), OutcomeUnknownError),
        (httpx.RemoteProtocolError("x"), OutcomeUnknownError),
        (httpx.Response(503), OutcomeUnknownError),
        (httpx.Response(200, content=bytes(2000)), OutcomeUnknownError),
    ],
)
async def test_a_write_that_may_have_reached_the_server_is_unknown_and_one_that_never_left_is_not(happens, error):
    def answer(_request: httpx.Request) -> httpx.Response:
        if isinstance(happens, Exception):
            raise happens
        return happens

    client = client_of(answer, max_body_bytes=1000)
    with pytest.raises(error) as caught:
        await client.write("POST", "orders", what="orders", content=b"{}")
    assert CANARY not in str(caught.value)
    assert isinstance(caught.value, OutcomeUnknownError) == (error is OutcomeUnknownError)
    await client.close()


async def test_a_write_that_is_answered_is_the_answer_whatever_it_says():
    client = client_of(lambda _: httpx.Response(429))
    assert (await client.write("POST", "orders", what="orders")).status == 429
    await client.close()

import logging
from datetime import timedelta

import httpx
import pytest
import structlog

from connectors.base import http
from connectors.base.errors import FatalError, RetriableError
from connectors.magento import oauth
from connectors.magento.client import MagentoClient, search_params
from connectors.magento.oauth import signature
from lab.simulators.magento.faults import MagentoFault, MagentoFaultKind
from tests.connectors.magento.conftest import ENVIRON, settings_of
from tests.connectors.wire import Wire

BEARER = {"auth": "bearer", "token": "env:TOKEN"}


@pytest.fixture
async def make(stall):
    made = []

    def client(transport=None, **fields):
        settings = settings_of(**fields)
        made.append(MagentoClient("shop", settings, stall.clock, transport=transport or Wire(stall.app)))
        return made[-1]

    yield client
    for each in made:
        await each.close()


async def ask(client):
    return await client.search("orders", [[("updated_at", "gteq", "2026-01-01 00:00:00")]], ("updated_at",), 10)


def test_a_signature_is_that_of_rfc_5849():
    """The base string of the RFC's section 3.4.1.1 (method and order of parameters).

    Worked out with another program.
    """
    params = [
        ("b5", "=%3D"),
        ("a3", "a"),
        ("c@", ""),
        ("a2", "r b"),
        ("c2", ""),
        ("a3", "2 q"),
        ("oauth_consumer_key", "9djdj82h48djs9d2"),
        ("oauth_token", "kkk9d7dh3k39sjv7"),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", "137131201"),
        ("oauth_nonce", "7d8f3e4a"),
    ]
    seen = []
    real = oauth.hmac.new

    def spy(key, message, digest):
        seen.append((key, message))
        return real(key, message, digest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oauth.hmac, "new", spy)
        signature("post", "http://EXAMPLE.com:80/request", params, "j49sk3j29djd", "dh893hdasih9")
    ((key, message),) = seen
    assert key == b"j49sk3j29djd&dh893hdasih9"
    assert message == (
        b"POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26c2"
        b"%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26"
        b"oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
    )


async def test_a_signed_request_is_taken_and_its_nonce_never_used_again(make, stall):
    client = make()
    for _ in range(3):
        assert (await ask(client)).rows == ()
    assert len(stall.app.nonces) == 3


@pytest.mark.parametrize("name", ["consumer_key", "consumer_secret", "access_token", "access_token_secret"])
async def test_every_wrong_credential_is_fatal_and_none_is_shown(make, name, monkeypatch):
    monkeypatch.setitem(ENVIRON, "WRONG", "canary-5ecret")
    with pytest.raises(FatalError, match="four credentials") as caught:
        await ask(make(**{name: "env:WRONG"}))
    assert "canary" not in str(caught.value)


async def test_a_bearer_token_counts_where_the_shop_allows_it(make, stall):
    with pytest.raises(FatalError, match="enable_integration_as_bearer"):
        await ask(make(**BEARER))
    stall.app.settings.bearer = True
    assert (await ask(make(**BEARER))).rows == ()


async def test_a_missing_permission_is_named(make, stall):
    stall.app.faults.append(MagentoFault(MagentoFaultKind.EXPIRED))
    with pytest.raises(FatalError, match="asks for Magento_Sales::actions_view"):
        await ask(make())


async def test_a_nonce_that_was_used_is_no_fault_of_the_credentials(stall):
    client = MagentoClient("shop", settings_of(), stall.clock, transport=Wire(stall.app), nonce=lambda: "again")
    await ask(client)
    with pytest.raises(RetriableError, match="nonce"):
        await ask(client)
    await client.close()


async def test_a_clock_ahead_of_the_shop_signs_with_the_shops_time(make, stall):
    stall.shop.clock = lambda: stall.clock.now() - timedelta(hours=1)
    client = make()
    with pytest.raises(RetriableError, match="signed with the shop's"):
        await ask(client)
    assert (await ask(client)).rows == ()


@pytest.mark.parametrize(
    ("kind", "after"),
    [
        (MagentoFaultKind.THROTTLED, 7),
        (MagentoFaultKind.MAINTENANCE, 7),
        (MagentoFaultKind.INTERNAL, None),
        (MagentoFaultKind.DROPPED, None),
        (MagentoFaultKind.TRUNCATED, None),
        (MagentoFaultKind.HTML_200, None),
    ],
)
async def test_what_passes_is_tried_again_after_as_long_as_was_asked(make, stall, kind, after):
    stall.app.faults.append(MagentoFault(kind, retry_after_s=7))
    with pytest.raises(RetriableError) as caught:
        await ask(make())
    assert caught.value.retry_after_s == after


def answers(status, body=b"", headers=None):
    return httpx.MockTransport(lambda _request: httpx.Response(status, content=body, headers=headers or {}))


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("120", 120),
        ("99999", 3600),
        ("Sat, 21 Nov 2026 12:01:00 GMT", 60),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0),
        ("soon", None),
        ("", None),
    ],
)
async def test_retry_after_may_be_seconds_or_a_date(make, asked, seconds):
    with pytest.raises(RetriableError) as caught:
        await ask(make(answers(503, headers={"Retry-After": asked})))
    assert caught.value.retry_after_s == seconds


JSON = b'{"message":"canary@example.test %1","parameters":{"resources":"canary <b>"}}'


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (301, b"", FatalError, "redirect"),
        (302, b"", FatalError, "base_url"),
        (400, JSON, FatalError, "page_size"),
        (403, JSON, FatalError, "permission"),
        (404, JSON, FatalError, "store_code"),
        (418, JSON, FatalError, "log"),
        (403, b"<html>", RetriableError, "firewall"),
        (404, b"<html>", RetriableError, "firewall"),
        (401, b"<html>", FatalError, "refused"),
        (401, b"\xff\xfe[[[", FatalError, "refused"),
        (502, b"", RetriableError, "502"),
        (200, b"", RetriableError, "no list"),
        (200, b"[]", RetriableError, "no list"),
        (200, b"{}", RetriableError, "no list"),
        (200, b'{"items":[', RetriableError, "no list"),
        (200, b"\xff", RetriableError, "no list"),
        (200, b'{"items":' + b"[" * 100_000, RetriableError, "no list"),
    ],
)
async def test_every_answer_has_one_meaning_and_shows_nothing_of_its_body(make, status, body, error, said):
    with pytest.raises(error, match=said) as caught:
        await ask(make(answers(status, body)))
    assert "canary" not in str(caught.value)


async def test_an_endless_answer_is_cut_off(make):
    client = make(answers(200, b"x" * 1001))
    client._http._max_body_bytes = 1000
    with pytest.raises(http.AnswerTooLargeError, match="page_size"):
        await ask(client)


async def test_a_transport_error_shows_no_address(make):
    def fail(request):
        raise httpx.ConnectTimeout(f"canary {request.url}")

    with pytest.raises(RetriableError) as caught:
        await ask(make(httpx.MockTransport(fail)))
    assert str(caught.value) == "shop: orders did not answer (ConnectTimeout)"


async def test_no_secret_is_shown_anywhere(make, caplog):
    caplog.set_level(logging.DEBUG)
    client = make()
    with structlog.testing.capture_logs() as logs:
        await ask(client)
    shown = f"{client!r} {client!s} {logs} {caplog.text} {client._settings!r}"
    assert not [value for value in ENVIRON.values() if value in shown]


def test_a_search_is_written_as_the_shop_reads_it():
    groups = [[("a", "gt", "1"), ("b", "gt", "2")], [("c", "in", "3,4")]]
    names = dict(search_params(groups, ("a",), 5))
    assert names["searchCriteria[filter_groups][0][filters][1][condition_type]"] == "gt"
    assert names["searchCriteria[filter_groups][1][filters][0][value]"] == "3,4"
    assert names["searchCriteria[sortOrders][0][direction]"] == "ASC"

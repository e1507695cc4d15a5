"""The hub's answers: success is in the body, the key in nobody's log, a wait is the hub's."""

import logging
from datetime import timedelta

import pytest

from connectors.base.errors import FatalError, RetriableError
from connectors.seko.client import SekoClient, SekoServiceError
from lab.simulators.seko.faults import HubFault
from tests.connectors.seko.conftest import KEY, settings_of
from tests.connectors.wire import Wire


@pytest.fixture
async def ask(play):
    client = SekoClient(play.settings, play.time, Wire(play.hub))
    yield lambda: client.between("adjustment", play.time.at - timedelta(hours=1), play.time.at)
    await client.close()


async def test_rows_of_a_time_are_messages(play, ask):
    play.hub.adjust("A", -1)
    assert [message.sequence for message in await ask()] == [1]
    assert play.hub.calls == ["/hub/api/stock/v1/adjustment/2026-11-21T11:00:00Z/2026-11-21T12:00:00Z.json"]


@pytest.mark.parametrize("says_so", [True, False])
async def test_nothing_is_no_messages_however_the_hub_says_it(play, ask, says_so):
    play.hub.reports_nothing_found = says_so
    assert await ask() == ()


@pytest.mark.parametrize(
    ("fault", "error", "wait_s"),
    [
        (HubFault("http", 429, {"Retry-After": "9"}), RetriableError, 9),
        (HubFault("http", 429), RetriableError, 30),
        (HubFault("http", 503), RetriableError, 30),
        (HubFault("http", 400), SekoServiceError, 300),
        (HubFault("http", 302, {"Location": "https://elsewhere.example/"}), SekoServiceError, 300),
        (HubFault("refused"), SekoServiceError, 300),
        (HubFault("html"), RetriableError, 30),
        (HubFault("drop"), RetriableError, None),
    ],
)
async def test_what_goes_wrong_is_retried_after_its_time(play, ask, fault, error, wait_s):
    play.hub.faults.next.append(fault)
    with pytest.raises(error) as caught:
        await ask()
    assert caught.value.retry_after_s == wait_s
    assert await ask() == ()


async def test_a_wrong_key_ends_it(play, ask):
    play.hub.key = "other"
    with pytest.raises(FatalError, match="fix api_key"):
        await ask()


@pytest.mark.parametrize("fault", [HubFault("http", 503), HubFault("drop"), HubFault("refused"), None])
async def test_the_key_is_in_no_log_and_no_error(play, ask, caplog, fault):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="httpx")
    if fault is not None:
        play.hub.faults.next.append(fault)
        with pytest.raises(RetriableError) as caught:
            await ask()
        assert KEY not in repr(caught.value) + str(caught.value.__context__)
    await ask()
    assert "HTTP Request" in caplog.text
    assert KEY not in caplog.text


async def test_the_newer_name_of_the_key_is_a_setting(play):
    client = SekoClient(settings_of(key_parameter="api_key"), play.time, Wire(play.hub))
    assert await client.between("movement", play.time.at, play.time.at) == ()
    await client.close()

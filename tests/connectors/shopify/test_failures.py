"""Whatever goes wrong between us and Shopify, nothing is lost, and no secret is shown."""

import logging
from datetime import timedelta

import pytest
import structlog

from connectors.base.errors import FatalError, RetriableError
from connectors.shopify import client
from connectors.shopify.client import LOST_PAUSES_S
from connectors.shopify.cursor import ShopifyCursor
from lab.simulators.shopify.faults import InjectedAnswer
from schemas.events import identity
from tests.connectors.shopify.events import MUG, TEA


async def test_the_bucket_is_obeyed(make_play):
    play = make_play()
    play.shop.maximum = play.shop.available = 700
    numbers = [play.shop.place_order(TEA) for _ in range(40)]
    said = await play.look()
    assert len(said) == len(numbers)
    # The first query of a kind may meet an empty bucket; after that its cost is known and waited for.
    assert play.shop.throttled <= 3


async def test_a_query_that_costs_too_much_is_asked_for_fewer_rows(play, monkeypatch):
    monkeypatch.setattr("lab.simulators.shopify.app.MAX_QUERY_COST", 450)
    number = play.shop.place_order(*[{"sku": f"S{n}", "quantity": 1, "price": "1.00"} for n in range(60)])
    play.shop.fulfil(number, "31", dict.fromkeys(range(60), 1))
    placed, sent = await play.look()
    assert len(placed.lines) == len(sent.lines) == 60


@pytest.mark.parametrize(
    ("fault", "error", "retry_after_s"),
    [
        (InjectedAnswer("http", 401), FatalError, None),
        (InjectedAnswer("http", 403), FatalError, None),
        (InjectedAnswer("http", 404), FatalError, None),
        (InjectedAnswer("http", 302, headers={"location": "https://evil.example/"}), FatalError, None),
        (InjectedAnswer("http", 402), RetriableError, 600),
        (InjectedAnswer("http", 423), RetriableError, 600),
        (InjectedAnswer("http", 429, headers={"retry-after": "2.5"}), RetriableError, 2.5),
        (InjectedAnswer("http", 430), RetriableError, 60),
        (InjectedAnswer("html", 502), RetriableError, None),
        (InjectedAnswer("html", 200), RetriableError, None),
        (InjectedAnswer("drop"), RetriableError, None),
        (InjectedAnswer("graphql", code="INTERNAL_SERVER_ERROR"), RetriableError, None),
        (InjectedAnswer("graphql", code="ACCESS_DENIED"), FatalError, None),
        (InjectedAnswer("graphql", code="undefinedField"), FatalError, None),
    ],
)
async def test_every_answer_says_what_to_do_next_and_shows_no_secret(play, fault, error, retry_after_s):
    play.shop.faults.extend([fault] * (1 + len(LOST_PAUSES_S)))  # a lost answer is asked for again
    with pytest.raises(error) as raised:
        await play.look()
    assert getattr(raised.value, "retry_after_s", None) == retry_after_s
    assert "canary" not in repr(raised.value) + str(raised.value.__cause__) + str(raised.value.__context__)


async def test_a_lost_answer_is_asked_for_again_before_the_batch_is_given_up(play):
    play.shop.place_order(TEA)
    play.shop.faults.extend([InjectedAnswer("html", 502), InjectedAnswer("drop")])
    assert len(await play.look()) == 1


async def test_a_wrong_token_and_a_missing_scope_name_the_remedy(play):
    play.shop.scopes.discard("read_orders")
    with pytest.raises(FatalError, match="access denied to orders"):
        await play.look()
    play.shop.token = "another"
    with pytest.raises(FatalError, match="access token"):
        await play.look()


async def test_nothing_is_lost_or_changed_by_a_bad_network_and_restarts(make_play, monkeypatch):
    """Connections drop, answers are a proxy's page, and after each failure somebody else goes on from the cursor."""
    monkeypatch.setattr(client, "LOST_PAUSES_S", ())
    calm, rough = make_play(), make_play()
    for play in (calm, rough):
        play.shop.rates = {}
        for step in range(12):
            number = play.shop.place_order(TEA, MUG)
            if step % 2:
                play.shop.fulfil(number, "31", {0: 2})
            if step % 3 == 0:
                play.time.at += timedelta(seconds=3)
                play.shop.refund(number, [(0, 1, "NO_RESTOCK", None)])
    await calm.look()
    rough.shop.rates = {"drop": 0.1, "html": 0.1}
    failures = 0
    for _ in range(300):
        try:
            rough.items += (batch := await rough.source.read(rough.cursor)).items
        except RetriableError:
            failures += 1
            continue
        rough.cursor = batch.cursor
        if batch.idle:
            break
    assert failures > 3
    assert {identity(each): each.digest for each in rough.items} == {identity(each): each.digest for each in calm.items}


async def test_a_shop_whose_clock_is_wrong_loses_nothing(make_play):
    for skew_s in (-7200, 7200):
        play = make_play(skew_s=skew_s)
        numbers = []
        for _ in range(5):
            numbers.append(play.shop.place_order(TEA))
            await play.look(400)
        assert [each.order_id for each in play.items] == numbers


async def test_a_version_that_was_retired_is_told(make_play):
    play = make_play(api_version="2025-01")
    with structlog.testing.capture_logs() as logs:
        await play.look()
    assert [each["event"] for each in logs] == ["api_version_differs"]


async def test_no_secret_and_no_personal_data_is_shown(play, caplog):
    caplog.set_level(logging.DEBUG)
    play.shop.place_order(TEA, email="canary@example.test")
    with structlog.testing.capture_logs() as logs:
        await play.look()
        play.shop.rates = {"drop": 1.0}
        with pytest.raises(RetriableError):
            await play.look()
    shown = [
        repr(logs),
        caplog.text,
        repr(play.source),
        repr(play.settings),
        play.settings.model_dump_json(),
        str(play.cursor),
    ]
    assert not [text for text in shown if "canary" in text]


@pytest.mark.parametrize("text", ["", "{}", "null", "[]", '{"file": "a"}', '{"since": 5}'])
def test_a_cursor_of_another_kind_is_refused(text):
    with pytest.raises(FatalError, match="cursor"):
        ShopifyCursor.from_text(text)

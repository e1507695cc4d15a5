"""Whatever Shopify sends is a record or a dead letter, and quickly."""

import copy
import random
import time
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.base.errors import RecordError
from connectors.base.values import validate
from connectors.shopify import records
from connectors.shopify.settings import ShopifySettings
from connectors.shopify.translate.context import ShopifyContext
from connectors.shopify.translate.levels import level_of
from connectors.shopify.translate.orders import changes_of


async def raw_order(play: Any) -> dict[str, Any]:
    number = play.shop.place_order({"sku": "TEA", "quantity": 3, "price": "24.00", "discount": "4.80"})
    play.shop.fulfil(number, "31", {0: 2}, company="DPD", tracking="1")
    play.shop.add_line(number, {"sku": "CUP", "quantity": 1, "price": "5.00"})
    play.shop.refund(number, [(0, 1, "RETURN", "31")], shipping="1.00")
    found: dict[str, Any] = await play.source._fetch_order(f"gid://shopify/Order/{number}")
    return found


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in _places(each, (*path, key)))]


ODD = [
    None,
    True,
    0,
    -1,
    10**30,
    "",
    "x",
    "gid://shopify/Order/1",
    "\ud800",
    "9" * 50,
    "-5",
    Decimal("NaN"),
    Decimal("1e400"),
    1.5,
    [],
    {},
    [None],
    {"nodes": None},
    {"nodes": [1]},
    "2026-13-01T00:00:00Z",
    "2026-11-21T00:00:00",
    "CANCELLED",
]


async def test_no_change_of_a_record_is_a_crash_or_slow(play):
    raw = await raw_order(play)
    draw, read, refused = random.Random(1), 0, 0
    places = _places(raw)[1:]
    for _ in range(3000):
        changed = copy.deepcopy(raw)
        for _ in range(draw.randint(1, 3)):
            *path, last = draw.choice(places)
            at: Any = changed
            try:
                for step in path:
                    at = at[step]
                if draw.random() < 0.2:
                    del at[last]
                else:
                    at[last] = copy.deepcopy(draw.choice(ODD))
            except (KeyError, IndexError, TypeError):
                continue
        started = time.process_time()
        try:
            order = validate(records.Order, changed)
            found = changes_of(order, changed, ShopifyContext("shop", "acme", play.settings, play.time.now()))
            read += len(found) > 0
        except RecordError as error:
            assert "9999" not in str(error)
            refused += 1
        assert time.process_time() - started < 0.2
    assert read > 100
    assert refused > 100


async def test_amounts_are_exact_and_floats_are_refused():
    money = {"shopMoney": {"amount": "0.1", "currencyCode": "GBP"}}
    assert validate(records.MoneyBag, money).amount == Decimal("0.1")
    for amount in (0.1, "1e3", "0.1234567", "NaN", True, None, "12345678901234"):
        money["shopMoney"]["amount"] = amount
        with pytest.raises(RecordError):
            validate(records.MoneyBag, money)


def test_a_count_of_what_is_not_counted_is_nothing(play):
    level = {
        "updatedAt": "2026-11-21T12:00:00Z",
        "quantities": [{"name": "on_hand", "quantity": 5}],
        "item": {"id": "gid://shopify/InventoryItem/1", "sku": "A", "tracked": False, "duplicateSkuCount": 0},
    }
    context = ShopifyContext("shop", "acme", play.settings, play.time.now())
    assert level_of(validate(records.InventoryLevel, level), "31", level, context) is None


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"shop": "evil.example"}, "shop"),
        ({"url": "http://shop.example"}, "https"),
        ({"url": "https://a:b@shop.example"}, "url"),
        ({"access_token": "shpat_literal"}, "secret"),
        ({"webhook_secrets": ["env:T", "env:T", "env:T"]}, "webhook_secrets"),
        ({"api_version": "2026-05"}, "api_version"),
        ({"events": ["everything"]}, "events"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, word):
    table = {"kind": "shopify", "company": "acme", "shop": "demo.myshopify.com", "access_token": "env:T", **changes}
    with pytest.raises(ValidationError, match=word) as raised:
        ShopifySettings.model_validate(table, context={"environ": {"T": "x"}})
    assert "shpat_literal" not in str(raised.value)

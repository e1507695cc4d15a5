"""Whatever stands in a record, it becomes events or a dead letter, and the page goes on."""

import copy
import json
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from connectors.base.errors import RecordError
from connectors.veeqo.records import VeeqoAllocation, VeeqoOrder, VeeqoOrderLine, VeeqoSellable, kept, validate
from connectors.veeqo.source import VeeqoSource
from lab.simulators.veeqo.state import Account, Line
from lab.simulators.veeqo.wire import dump
from tests.connectors.veeqo.conftest import Hand, settings

ODD = [
    "",
    " ",
    "x" * 101,
    "\u0000",
    "\ud800",
    "9" * 5000,
    "1e9999999",
    "-1",
    "NaN",
    "2026-13-01",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    None,
    True,
    [],
    [[]],
    {},
    [None],
    {"id": {}},
    -1,
    0,
    10**13,
    10**39,
    Decimal("1e-7"),
    Decimal("1e9999999"),
    Decimal("0.1234567"),
]


def an_account() -> tuple[dict[str, Any], dict[str, Any]]:
    account = Account(Hand().now)
    account.add_warehouse(11, "Main")
    account.add_product("TEA", {11: 5})
    order = account.place_order(Line("TEA", 2, "20"), Line("TEA", 1, "18"), customer_note={"text": "ring twice"})
    account.dispatch(order, 11, {"TEA": 1})
    return account.orders[order], account.products[0]


def paths(value: object, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, each in pairs for path in paths(each, (*at, key)))]


def put(value: Any, path: tuple[Any, ...], odd: object) -> Any:
    if not path:
        return odd
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = odd
    return None


ORDER, PRODUCT = an_account()


@examples(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.sampled_from(paths(ORDER)[1:]), st.sampled_from(ODD)), min_size=1, max_size=3),
    st.lists(st.tuples(st.sampled_from(paths(PRODUCT)[1:]), st.sampled_from(ODD)), max_size=2),
    st.sampled_from([None, *ODD]),
)
async def test_odd_values_anywhere_stop_neither_the_page_nor_the_good_records_on_it(orders, products, row):
    good, product = copy.deepcopy(ORDER), copy.deepcopy(PRODUCT)
    bad = {**copy.deepcopy(ORDER), "id": 1}
    for target, changes in ((bad, orders), (product, products)):
        for path, odd in changes:
            try:
                put(target, path, copy.deepcopy(odd))  # a later change may be put into it
            except (KeyError, IndexError, TypeError):
                continue  # an earlier change has taken the place
    answers = {"/orders": [bad, good, row], "/products": [product, row]}

    def answer(request: httpx.Request) -> httpx.Response:
        rows = answers[request.url.path] if request.url.params["page"] == "1" else []
        return httpx.Response(200, content=dump(rows).encode())

    source, cursor = VeeqoSource("vq", settings(), Hand(), transport=httpx.MockTransport(answer)), None
    said, refused = [], []
    while not (batch := await source.read(cursor)).idle:
        cursor = batch.cursor
        said += batch.events
        refused += batch.refused
    await source.close()
    assert str(ORDER["id"]) in {event.order_id for event in said if event.event_id == event.order_id}
    assert all(letter.reason == "invalid_event" and len(letter.value) < 20_000 for letter in refused)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("price_per_unit", "twenty", "price_per_unit must be a number"),
        ("price_per_unit", -1, "must not be below 0"),
        ("quantity", Decimal("0.1234567"), "more than 6 digits"),
        ("tax_rate", 20, "a fraction"),
        ("sellable", {"id": 1, "sku_code": None}, "sellable.sku_code is missing"),
        ("sellable", None, "sellable"),
        ("id", "\n", "must not be empty"),
    ],
)
def test_a_fault_names_its_field_and_what_is_wrong_and_not_the_value(field, value, told):
    with pytest.raises(RecordError, match=told) as caught:
        validate(VeeqoOrderLine, {**copy.deepcopy(ORDER["line_items"][0]), field: value})
    assert "twenty" not in str(caught.value)


def test_numbers_are_exact_whether_they_come_as_numbers_or_as_texts():
    line = copy.deepcopy(ORDER["line_items"][0])
    for price in (Decimal("0.1"), "0.1", " 0.10 "):
        assert validate(VeeqoOrderLine, {**line, "price_per_unit": price}).price_per_unit == Decimal("0.1")


def test_what_is_kept_is_what_is_read_and_no_more():
    order = {**ORDER, "unknown": {"token": "t"}, "status": {"api_key": "t"}}
    text = kept(VeeqoOrder, order).decode()
    assert "not-for-you" in dump(ORDER)
    assert "not-for-you" not in text
    assert '"t"' not in text
    found = json.loads(text)
    assert (found["line_items"][0]["price_per_unit"], found["channel"]["type_code"]) == ("20", "direct")
    assert "user" not in json.loads(kept(VeeqoAllocation, ORDER["allocations"][0]))["warehouse"]
    assert json.loads(kept(VeeqoSellable, "x" * 5000)) == "x" * 1000
